"""Checks of simulations: what is drawn anew and what is given, history, rates that run away. Messages are as in `_check`."""

import numpy as np

from popglm import _check, _check_arrays, _pynapple

# what mends a population that explodes: of parameters, and of a fit
WEAKER = (
    "Weaken the couplings, or lower the intercepts; if these balance inhibition, which silence before the first bin lacks, "
    "begin from a `history`."
)
CALMER = (
    "Fit with a Ridge penalty, a longer history of each neuron, or the link softplus; or simulate short epochs from the "
    "`history` of the data."
)


def no_explosion(means, limit, times, rows, support, ids, mend):
    """Means in these rows that stay below each neuron's limit; `mend` says what to do about others."""
    some = means[rows]
    wild = ~(np.abs(some) < limit)
    if not wild.any():
        return
    first = int(np.argmax(wild.any(1)))
    neuron = int(np.argmax(wild[first]))
    if np.isnan(some[first, neuron]):
        raise ValueError(
            "the rates become NaN. Check `inverse_link_function`, the couplings and the kernel of the basis."
        )
    unit = "spikes per bin" if support.counts else "per bin"
    raise ValueError(
        f"the population explodes: neuron {_check.listed([neuron], ids)} passes {limit[neuron]:g} {unit} at "
        f"{times[rows[first]]:.3f} s. {mend}"
    )


def drawable(means, limit, support, ids):
    """Means of which activity can be drawn."""
    wild = ~(np.abs(means) < (limit if support.counts else np.inf))
    if wild.any():
        row, neuron = (int(i) for i in np.argwhere(wild)[0])
        raise ValueError(
            f"neuron {_check.listed([neuron], ids)} has a mean of {means[row, neuron]:.3g} in row {row}, of which "
            "nothing can be drawn. Look at the features of that row, and at the coefficients."
        )


def features(expected, made, model):
    """As many features as the model has."""
    if made != expected:
        raise ValueError(
            f"`basis` and `inputs` make {made} features, and the {model} has {expected}. Give the basis of its fit, and "
            "inputs with as many columns."
        )


def basis(value, kind):
    """A basis, alone or a sum."""
    if not isinstance(value, kind):
        raise TypeError(
            f"`basis` must be the basis of the model's features; got {value!r}. For example history + stimulus."
        )


def inputs(value, n_bases):
    """One input for each basis, None where the activity that is drawn goes, which is everywhere by default."""
    if value is None:
        return [None] * n_bases
    if not isinstance(value, list | tuple):
        raise TypeError(
            "`inputs` must be a list with one input for each basis, None for the activity that is drawn; got "
            f"{type(value).__name__}. For example [None, stimulus]."
        )
    if len(value) != n_bases:
        raise ValueError(
            f"`inputs` must have one entry for each of the {n_bases} bases, None for the activity that is drawn; got "
            f"{len(value)}."
        )
    if all(x is not None for x in value):
        raise ValueError(
            "no entry of `inputs` is None, so nothing depends on what is drawn. Write model.simulate(key, X)."
        )
    return value


def recurrent(term, conv):
    """A basis whose input is drawn bin by bin: a convolution over the past, by itself."""
    if not isinstance(term, conv):
        raise ValueError(
            "the activity that is drawn must go into a convolution over the past, alone or in a sum; got None as an input of "
            f"{term!r}. Give that basis an input that is known beforehand."
        )


def clock(frame, duration, bin_size):
    """How long, and in which bins: what the inputs tell, else what is given."""
    if frame is not None and duration is not None:
        raise ValueError(
            f"`duration` must be left out where inputs say how long the simulation is; got {duration!r}. Shorten the inputs."
        )
    if frame is None and duration is None:
        raise ValueError("`duration` must be given, in seconds, where no input says how long the simulation is.")
    timed = frame is not None and frame.times is not None
    if timed == (bin_size is not None):
        raise ValueError(
            f"`bin_size` must be {'left out where inputs have times' if timed else 'given, in seconds'}; got {bin_size!r}. "
            "It is that of the counts of the fit."
        )


def history(value, window, n_neurons):
    """Activity before the first bin as (window, neurons), the latest bin last; zeros before what is given."""
    out = np.zeros((window, n_neurons))
    if value is None:
        return out
    values = _check_arrays.array("history", _pynapple.unwrap(value).values, (1, 2))
    values = values[:, None] if values.ndim == 1 else values
    if values.shape[1] != n_neurons:
        raise ValueError(
            f"`history` must have shape (bins, neurons) with {n_neurons} neurons, the latest bin last; got {values.shape}."
        )
    values = values[-window:].astype(float)
    if not np.isfinite(values).all():
        raise ValueError(f"the last {window} bins of `history` must be finite. Fill them, or start earlier.")
    out[window - len(values) :] = values
    return out
