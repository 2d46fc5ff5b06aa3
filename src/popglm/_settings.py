"""Checks of settings: solvers, links, penalties, simulations. Messages are as in `_check`."""

import inspect
import numbers
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import is_dataclass

import jax
import jax.numpy as jnp
import numpy as np

from popglm import _check, _check_arrays, _check_penalties


def instance(name, value, classes, kind):
    """An object of a kind, made from the name of a class if need be."""
    if isinstance(value, str):
        cls = classes[_check.option(name, value, tuple(classes))]
        needed = [key for key, known in inspect.signature(cls).parameters.items() if known.default is known.empty]
        if needed:
            raise ValueError(
                f"{value} needs to know its {needed[0]}, so the name is not enough. Give {name}={value}(...)."
            )
        return cls()
    if isinstance(value, kind):
        if not is_dataclass(value):
            raise TypeError(
                f"`{name}` must be a frozen dataclass; got {value!r}. Write @dataclass(frozen=True) above its class."
            )
        return value
    raise TypeError(f"`{name}` must be a name ({', '.join(classes)}) or an object of that kind; got {value!r}.")


def link(value, known):
    """An inverse link function, or the name of one."""
    names = tuple(key for key in known if isinstance(key, str))
    if isinstance(value, str):
        return _check.option("inverse_link_function", value, names)
    if not callable(value) or not isinstance(value, Hashable):
        raise TypeError(f"`inverse_link_function` must be a function or one of {', '.join(names)}; got {value!r}.")
    return value


def increasing(function, low, high):
    """A function that JAX can trace, element by element, from linear predictors to means that increase above `low`."""
    name = "`inverse_link_function`"
    if isinstance(function, np.ufunc):
        raise TypeError(f"{name} must be a JAX function of an array; got NumPy's {function.__name__}. Write jax.numpy.")
    predictor = jnp.asarray([-30.0, -4.0, -2.0, 0.0, 2.0, 4.0, 30.0])  # the ends may be flat
    try:
        run = jax.jit(lambda eta: function(eta))
        means, some = np.asarray(run(predictor)), np.asarray(run(predictor[:2]))
    except Exception as error:
        raise TypeError(
            f"{name} must be a JAX function of an array, such as jnp.exp; got {function!r}, which JAX cannot trace "
            f"({type(error).__name__})."
        ) from error
    if means.shape != predictor.shape or means.dtype != predictor.dtype or not np.array_equal(means[:2], some):
        raise ValueError(
            f"{name} must give one real mean for every linear predictor, by itself; for an array of shape "
            f"{predictor.shape} it gives shape {means.shape} of dtype {means.dtype}."
        )
    inner = means[1:-1]
    if not (
        np.isfinite(inner).all()
        and means.min() > low
        and means.max() <= high
        and (np.diff(inner) > 0).all()
        and (np.diff(means) >= 0).all()
    ):
        raise ValueError(
            f"{name} must give {_between(low, high)} means that increase; at {np.asarray(predictor).tolist()} it gives "
            f"{np.round(means, 4).tolist()}. {_known(low, high)}"
        )


def _between(low, high):
    return "finite" if low == -np.inf else "positive" if high == np.inf else f"between {low:g} and {high:g}"


def _known(low, high):
    if low == -np.inf:
        return "Without a link it is 'identity'."
    return (
        "For counts use 'exp' or 'softplus'." if high == np.inf else "For a spike or none use 'logistic' or 'cloglog'."
    )


def inside(link, low, high, known):
    """A link whose means the observation model can have."""
    if link.low < low or link.high > high:
        raise ValueError(
            f"`inverse_link_function` must give {_between(low, high)} means for this observation model; {link.name!r} gives "
            f"{_between(link.low, link.high)} ones. Use one of {', '.join(known)}."
        )


def scale(model):
    """A scale that is positive, or is to be estimated."""
    if np.ndim(model.scale):
        raise ValueError(
            f"`scale` must be one number, for all neurons; got shape {np.shape(model.scale)}. Leave it out, and each neuron's "
            "is estimated, or fit a GLM for each."
        )
    if model.scale is not None:
        _check.number("scale", model.scale, 0, strict=True)
    return model


def known_scale(model, fitted, why):
    """A scale, given or estimated."""
    if (model.divides or model.shapes) and model.scale is None and not fitted:
        name = type(model).__name__
        raise ValueError(
            f"{why} needs the scale of {name}. The default solver estimates it, in `fit` and `fit_batches`: leave out "
            f"`solver_name` and `solver`, or give the scale: {name}(scale=0.5)."
        )


def spikes(score_type, model):
    """A model of counts, for a score per spike."""
    if score_type == "bits-per-spike" and not model.support.counts:
        raise ValueError(
            f"bits per spike need spikes; the y of {type(model).__name__} holds {model.support.name}. Compare models of it by "
            '"pseudo-r2-Cohen" or by their log-likelihood.'
        )


def born(model, models):
    """What is kept for the first of these kinds of observation models that this one is."""
    for kind, kept in models.items():
        if isinstance(model, kind):
            return kept
    known = ", ".join(kind.__name__ for kind in models)
    raise ValueError(
        f"time can be rescaled for {known}, whose y are counts of events in time; got {type(model).__name__}. For other "
        "models look at `deviance_residuals`."
    )


def reached(low, high, mean):
    """A mean that an inverse link function takes between two linear predictors."""
    missed = ~((low <= mean) & (mean <= high))
    if missed.any():
        raise ValueError(
            f"`inverse_link_function` does not reach a mean of {np.asarray(mean)[missed].flat[0]:.4g} per bin, which the "
            "data have. For counts use 'exp' or 'softplus'."
        )


def steps(function):
    """A step size as a function of the iteration that JAX can trace."""
    try:
        first = np.asarray(jax.jit(lambda i: function(i))(0))
    except Exception as error:
        raise TypeError(
            f"`stepsize` must be a number, or a JAX function of the iteration that gives one; {function!r} cannot be "
            f"traced ({type(error).__name__}). Use jax.numpy, and jax.numpy.where instead of if."
        ) from error
    if first.shape != () or not np.isfinite(first) or first <= 0:
        raise ValueError(f"`stepsize` must give a positive number at every iteration; at 0 it gives {first}.")


def samples(value):
    """What an aggregate returns: numbers."""
    try:
        values = np.asarray(value)
    except ValueError:
        values = np.asarray(None)
    if values.dtype.kind not in "biuf":
        raise TypeError(
            f"`aggregate_sample_scores` must return a number or an array of numbers; got {type(value).__name__}."
        )
    return values


def strength(value, penalty):
    """The strength of a penalty, neurons first if there are several; there is none to be given without one."""
    if value is None:
        return np.asarray(penalty.default_strength)
    strengths = _check_penalties.given(value)
    if not penalty.default_strength and strengths.any():
        raise ValueError(f'`regularizer_strength` is {value!r} but there is no penalty. Set regularizer="Ridge".')
    return strengths.T


def options(value):
    """Options of a solver."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"`solver_kwargs` must be a dictionary of options; got {value!r}.")


SPELLED = {  # options that are words
    "linesearch": ("zoom", "backtracking", "hager-zhang"),
    "linesearch_init": ("increase", "max", "current"),
    "condition": ("wolfe", "strong-wolfe", "armijo", "goldstein"),
    "method": ("polak-ribiere", "fletcher-reeves", "hestenes-stiefel"),
}


def settings(solver, options, defaults):
    """Options that a solver knows, each of the type of its default."""
    for name, value in options.items():
        _check.option(f"solver_kwargs of {solver}", name, tuple(defaults))
        default = defaults[name]
        if value is None and default is None:
            continue
        if name in SPELLED:
            _check.option(name, value, SPELLED[name])
        elif isinstance(default, bool):
            if not isinstance(value, bool | np.bool_):
                raise ValueError(f"`{name}` must be True or False; got {value!r}.")
        elif isinstance(default, int):
            _check.positive_integer(name, value)
        elif name == "stepsize" and callable(value):
            steps(value)
        elif name == "decrease_factor":
            share(name, _check.number(name, value, 0, strict=True))
        else:
            _check.number(name, value, 0)


def function(name, value, of):
    """A function, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"`{name}` must be a function of {of}, or None; got {value!r}.")


def trained(estimator):
    """An estimator that knows the rates of its training data."""
    if not hasattr(estimator, "_train_mean"):
        raise ValueError(
            'null="train" needs the rates of the training data, which `update` does not keep. Call `fit`, or give '
            "the rates: null=counts.mean(0)."
        )


def null_means(value, n_neurons, support):
    """Means per bin of the null model, one per neuron, that the observation model can have."""
    means = _check_arrays.array("null", value, (0, 1))
    means = means.astype(float) if means.dtype != bool else np.full(means.shape, np.nan)
    if (
        means.shape not in ((), (n_neurons,))
        or not (np.isfinite(means) & (means > support.low) & (means < support.high)).all()
    ):
        raise ValueError(
            f"`null` must be 'scored', 'train' or {n_neurons} {_between(*support[:2])} means per bin; got an array of shape "
            f"{means.shape} with values from {means.min():g} to {means.max():g}."
        )
    return np.broadcast_to(means, n_neurons)


def coupling(coef, intercept, n_basis):
    """Couplings (neurons * basis, neurons) and intercepts (neurons,) that fit the basis."""
    coef, intercept = (
        _check_arrays.array("coef", coef, (2,)).astype(float),
        _check_arrays.array("intercept", intercept, (1,)).astype(float),
    )
    n = len(intercept)
    if coef.shape != (n * n_basis, n):
        raise ValueError(
            f"`coef` must have shape (neurons * n_basis_funcs, neurons) = ({n * n_basis}, {n}); got {coef.shape}."
        )
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        raise ValueError("`coef` and `intercept` must be finite.")
    return coef, intercept


def whole_bins(duration, bin_size):
    """Number of bins of a duration, both in seconds."""
    duration, bin_size = (
        _check.number("duration", duration, 0, strict=True),
        _check.number("bin_size", bin_size, 0, strict=True),
    )
    n_bins = round(duration / bin_size)
    if n_bins < 1 or abs(n_bins * bin_size - duration) > 1e-6 * bin_size * max(n_bins, 1):
        raise ValueError(f"`duration` must be a whole number of bins of {bin_size} s; got {duration} s.")
    return n_bins


def key(value):
    """A random key of JAX."""
    dtype = getattr(value, "dtype", None)
    new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and value.shape == ()
    if not (new or (dtype == np.uint32 and value.shape == (2,))):
        seed = value if isinstance(value, numbers.Integral) else 0
        raise TypeError(f"`key` must be a JAX key; got {value!r}. Write jax.random.key({seed}).")
    return value


def two(name, value):
    """A pair of positive numbers, the lower first."""
    if not isinstance(value, Sequence | np.ndarray) or len(value) != 2:
        raise TypeError(f"`{name}` must be a pair (lowest, highest); got {value!r}.")
    low, high = (_check.number(name, end, 0, strict=True) for end in value)
    if low > high:
        raise ValueError(f"`{name}` must be a pair (lowest, highest); got {low:g} before {high:g}.")
    return low, high


def share(name, value):
    """A number from 0 to 1."""
    value = _check.number(name, value, 0)
    if value > 1:
        raise ValueError(f"`{name}` must be a share from 0 to 1; got {value}.")
    return value
