"""Checks of simulations: kernels, inputs, histories, durations, explosions."""

import numpy as np

from popglm._checks.arrays import as_finite_array, as_real_array, require_shape
from popglm._checks.names import require_same_names
from popglm._checks.values import as_number, count_bins_ahead, list_names
from popglm._pynapple import as_frame

# Advice for a population that explodes, by where its parameters come from.
EXPLODING_PARAMS_FIX = (
    "Weaken the couplings, or lower the intercepts; if these balance inhibition, which silence before the first bin lacks, "
    "begin from a `history`."
)
EXPLODING_FIT_FIX = (
    "Fit with a Ridge penalty, a longer history of each neuron, or the link softplus; or simulate short epochs from the "
    "`history` of the data."
)


def require_causal_kernel(value):
    """Return the kernel over lags of a basis that sees only the past."""
    kernel = getattr(value, "kernel", None)
    if not isinstance(kernel, np.ndarray):
        raise TypeError(f"`basis` must be a convolution basis; got {value!r}. For example RaisedCosineLogConv(5, 40).")
    if count_bins_ahead(getattr(value, "predictor_causality", "causal"), len(kernel)):
        raise ValueError(f"`basis` must see the past only, predictor_causality='causal'; got {value!r}.")
    return kernel


def require_no_explosion(means, limit, times, rows, support, ids, fix):
    """Require the means in these rows to stay below each neuron's limit; `fix` is advice for the message."""
    wild = ~(np.abs(means[rows]) < limit)
    if not wild.any():
        return
    first = int(np.argmax(wild.any(1)))
    neuron = int(np.argmax(wild[first]))
    if np.isnan(means[rows[first], neuron]):
        causes = "`inverse_link_function`, the couplings and the kernel of the basis"
        raise ValueError(f"the rates become NaN. Check {causes}.")
    unit = "spikes per bin" if support.counts else "per bin"
    came = f"neuron {list_names([neuron], ids)} passes {limit[neuron]:g} {unit} at {times[rows[first]]:.3f} s"
    raise ValueError(f"the population explodes: {came}. {fix}")


def as_simulation_inputs(value, n_bases):
    """One input for each basis, None for the drawn activity, which is the default."""
    if value is None:
        return [None] * n_bases
    expected = f"a list with one input for each of the {n_bases} bases, None for the activity that is drawn"
    if not isinstance(value, list | tuple):
        raise TypeError(f"`inputs` must be {expected}; got {type(value).__name__}. For example [None, stimulus].")
    if len(value) != n_bases:
        raise ValueError(f"`inputs` must be {expected}; got {len(value)}.")
    if all(x is not None for x in value):
        fix = "Write model.simulate(key, X)."
        raise ValueError(f"no entry of `inputs` is None, so nothing depends on what is drawn. {fix}")
    return value


def require_time_grid(frame, duration, bin_size):
    """Require duration and bin size, each either from the inputs or from its argument."""
    if frame is not None and duration is not None:
        expected = "left out where inputs say how long the simulation is"
        raise ValueError(f"`duration` must be {expected}; got {duration!r}. Shorten the inputs.")
    if frame is None and duration is None:
        raise ValueError("`duration` must be given, in seconds, where no input says how long the simulation is.")
    timed = frame is not None and frame.times is not None
    if timed == (bin_size is not None):
        expected = "left out where inputs have times" if timed else "given, in seconds"
        raise ValueError(f"`bin_size` must be {expected}; got {bin_size!r}. It is that of the counts of the fit.")


def as_history(value, window, n_neurons, names=None):
    """Activity before the first bin as (window, neurons), the latest bin last, with zeros before it.

    `names` are those of the neurons, if they are known.
    """
    out = np.zeros((window, n_neurons))
    if value is None:
        return out
    frame = as_frame(value)
    values = as_real_array("history", frame.values, (1, 2))
    values = values[:, None] if values.ndim == 1 else values
    if values.shape[1] != n_neurons:
        expected = f"shape (bins, neurons) with {n_neurons} neurons, the latest bin last"
        raise ValueError(f"`history` must have {expected}; got {values.shape}.")
    require_same_names(names, frame.columns, "`history` must have the neurons of the fit as columns")
    values = values[-window:].astype(float)
    if not np.isfinite(values).all():
        raise ValueError(f"the last {window} bins of `history` must be finite. Fill them, or start earlier.")
    out[window - len(values) :] = values
    return out


def as_coupling_params(coef, intercept, n_basis):
    """Couplings (neurons * functions, neurons) and intercepts (neurons,) that fit the basis."""
    coef = as_finite_array("coef", coef, (2,), fix="Write 0 where there is no coupling.")
    intercept = as_finite_array("intercept", intercept, (1,), fix="Give every neuron a finite one.")
    n = len(intercept)
    return require_shape("coef", coef, (n * n_basis, n), "neurons * n_basis_funcs, neurons"), intercept


def as_n_bins(duration, bin_size):
    """Number of bins of a duration, both in seconds."""
    duration = as_number("duration", duration, 0, strict=True)
    bin_size = as_number("bin_size", bin_size, 0, strict=True)
    n_bins = round(duration / bin_size)
    if n_bins < 1 or abs(n_bins * bin_size - duration) > 1e-6 * bin_size * max(n_bins, 1):
        raise ValueError(f"`duration` must be a whole number of bins of {bin_size} s; got {duration} s.")
    return n_bins
