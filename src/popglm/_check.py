"""Every check of what a user gives, one function per fact. A message says what was expected, what came, and the fix."""

import difflib
import numbers
import sys
import warnings
from collections.abc import Hashable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from popglm import _pynapple

INT32 = np.iinfo(np.int32)


def option(name, value, choices):
    """One of the names in `choices`; a near miss is answered with the name that was meant."""
    if isinstance(value, str) and value in choices:
        return value
    close = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}.{hint}")


def positive_integer(name, value, unit="", hint=""):
    """A whole number of at least 1."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= 1:
        return int(value)
    raise ValueError(f"`{name}` must be a positive integer{unit}; got {value!r}.{hint}")


def number(name, value, low=-np.inf, *, strict=False):
    """A finite real number of at least `low` (above it, if strict)."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if real and np.isfinite(value) and (value > low if strict else value >= low):
        return float(value)
    bound = "" if low == -np.inf else f" {'above' if strict else 'of at least'} {low:g}"
    raise ValueError(f"`{name}` must be a finite number{bound}; got {value!r}.")


def window_size(value):
    """A window in bins; a fraction is most likely meant in seconds."""
    hint = " If this is seconds, divide by the bin size." if isinstance(value, numbers.Real) else ""
    return positive_integer("window_size", value, " number of bins", hint)


def raised_cosine(n_basis_funcs, width, time_scaling, decay):
    """Number, width and stretch of raised cosines."""
    n = positive_integer("n_basis_funcs", n_basis_funcs)
    if n == 1 and not decay:
        raise ValueError("`n_basis_funcs` must be at least 2 with enforce_decay_to_zero=False; got 1.")
    width = number("width", width, 1, strict=True)
    if 2 * width != round(2 * width):
        raise ValueError(f"`width` must be a multiple of 0.5, so that the functions sum to a constant; got {width}.")
    return n, width, number("time_scaling", 50.0 if time_scaling is None else time_scaling, 0, strict=True)


def array(name, x, n_dims):
    """A real numeric array with one of `n_dims` dimensions, without copying if it can be helped."""
    if _pynapple.is_events(x):
        raise TypeError(f"`{name}` holds spike times; expected counts per bin. Write {name}.count(bin_size).")
    if sys.modules.get("scipy.sparse") is not None and sys.modules["scipy.sparse"].issparse(x):
        raise TypeError(f"`{name}` is sparse; expected a dense array. Write {name}.toarray().")
    try:
        values = np.asarray(x)
    except ValueError as error:
        raise TypeError(f"`{name}` must be an array of numbers; its rows have different lengths.") from error
    if values.dtype.kind not in "biuf":
        raise TypeError(f"`{name}` must hold real numbers; got {type(x).__name__} of dtype {values.dtype}.")
    if values.dtype == np.float16 or values.dtype == np.longdouble:
        values = values.astype(np.float32 if values.itemsize == 2 else np.float64)
    if values.dtype.kind in "iu" and values.size and (values.max() > INT32.max or values.min() < INT32.min):
        values = values.astype(np.float64)  # JAX would wrap them around
    if values.ndim not in n_dims:
        wanted = " or ".join(f"{n}-D" for n in n_dims)
        raise ValueError(f"`{name}` must be {wanted}; got shape {values.shape}.{_dimension_hint(values, n_dims)}")
    if 0 in values.shape:
        what = "sample(s)" if len(values) == 0 else "feature(s)" if name == "X" else "column(s)"
        raise ValueError(
            f"`{name}` must not be empty: 0 {what} (shape={values.shape}) while a minimum of 1 is required."
        )
    return values


def _dimension_hint(values, n_dims):
    if values.ndim == 1 and 2 in n_dims:
        return " Reshape your data: x[:, None] is one column."
    if values.ndim == 2 and n_dims == (1,):
        return " Several neurons are fitted by PopulationGLM; one column is taken by y[:, 0]."
    return ""


def inputs(x):
    """Inputs of a convolution as (time, inputs)."""
    values = array("inputs", x, (1, 2))
    finite("inputs", values)
    return values[:, None] if values.ndim == 1 else values


def whole_inputs(shape, axis, n_basis):
    """Number of inputs along an axis that holds all functions of each."""
    if not isinstance(axis, numbers.Integral) or not -len(shape) <= axis < len(shape):
        raise ValueError(f"`axis` must be an axis of the array of shape {shape}; got {axis!r}.")
    if shape[axis] % n_basis:
        raise ValueError(
            f"axis {axis} must hold n_basis_funcs = {n_basis} entries of every input; got {shape[axis]} in shape {shape}. "
            "For coefficients write axis=0."
        )
    return shape[axis] // n_basis


def finite(name, values):
    """No infinite entry, none whose square overflows; NaN marks a missing value and is allowed. Return the range."""
    if values.dtype == bool:
        return 0, 1
    low, high, row = np.inf, -np.inf, 0
    dtype = jnp.result_type(float)
    limit = float(jnp.finfo(dtype).max) ** 0.4
    for piece in pieces(values):
        least, most = _range(piece)
        if least < -limit or most > limit:
            flat = np.abs(piece.reshape(len(piece), -1))
            if np.isinf(flat).any():
                row += int(np.argmax(np.isinf(flat).any(1)))
                raise ValueError(
                    f"`{name}` must be finite; row {row} holds an infinite value. Mark missing values by NaN."
                )
            row += int(np.argmax((flat > limit).any(1)))
            raise ValueError(
                f"`{name}` holds a value too large for {dtype}: row {row} reaches {max(-least, most):.3g}, more than "
                f"{limit:.1g}. Rescale it."
            )
        low, high, row = min(low, least), max(high, most), row + len(piece)
    return low, high


def _range(values):
    """Least and largest entry, of none if all are NaN."""
    low, high = float(values.min()), float(values.max())
    if np.isnan(low):
        some = values[~np.isnan(values)]
        low, high = (float(some.min()), float(some.max())) if some.size else (np.inf, -np.inf)
    return low, high


def pieces(values):
    """Rows that fit into a processor's cache together: what is done to a piece costs one way through memory."""
    rows = max(2**18 // max(values[:1].size, 1), 1)
    return (values[start : start + rows] for start in range(0, len(values), rows))


def regular(frame):
    """Bins of one size inside every epoch: a removed bin would make neighbours of bins that are not."""
    if frame.times is None or len(frame.times) < 3:
        return
    step = np.diff(frame.times)
    inside = ~np.isin(np.arange(1, len(frame.times)), _pynapple.epoch_starts(frame, len(frame.times)))
    if not inside.any():
        return
    size = np.median(step[inside])
    odd = inside & (np.abs(step - size) > 0.01 * size)
    if odd.any():
        row = int(np.argmax(odd))
        raise ValueError(
            f"bins inside an epoch must follow each other at one distance; after {frame.times[row]:.6f} s comes "
            f"{frame.times[row + 1]:.6f} s, where {size:.6g} s is usual. Leave out time with `restrict(epochs)`, not by "
            "indexing."
        )


def full_rank(kernel):
    """Functions that differ on the lags of the window; else coefficients are not unique, and a warning says so."""
    rank = int(np.linalg.matrix_rank(kernel))
    if rank < kernel.shape[1]:
        warnings.warn(
            f"the {kernel.shape[1]} functions of this basis have rank {rank} over a window of {len(kernel)} bins: their "
            "coefficients are not unique. Use fewer functions or a longer window.",
            UserWarning,
            stacklevel=3,
        )


def near(mean, sd):
    """Features whose variation survives beside their offset."""
    lost = np.abs(mean) * jnp.finfo(jnp.result_type(float)).eps > 0.1 * sd
    if (lost & (sd > 0)).any():
        feature = int(np.argmax(lost & (sd > 0)))
        raise ValueError(
            f"feature {feature} of X lies {abs(mean[feature]) / sd[feature]:.1g} standard deviations from 0, more than "
            f"{jnp.result_type(float)} can tell apart. Subtract its mean."
        )


def long_enough(starts, window):
    """Some epoch longer than the window, so that some row has a complete one."""
    longest = int(np.diff(starts).max())
    if longest <= window:
        raise ValueError(
            f"an epoch must be longer than the window of {window} bins to have a row with a complete history; "
            f"the longest has {longest}. Use a shorter window or longer epochs."
        )


def aligned(X, y, one="X", other="y"):
    """X and y have one row per bin, and, where both carry times, the same times to the microsecond."""
    if len(X.values) != len(y.values):
        raise ValueError(
            f"{one} and {other} must have the same number of rows; got {len(X.values)} and {len(y.values)}. "
            "Restrict both to the same epochs."
        )
    if X.times is None or y.times is None:
        return
    off = np.abs(X.times - y.times)
    if off.max() > 1e-6:
        row = int(np.argmax(off > 1e-6))
        raise ValueError(
            f"{one} and {other} must share their times; row {row} is at {X.times[row]:.6f} s in {one} and at "
            f"{y.times[row]:.6f} s in {other}. Count both with one bin size in the same epochs."
        )


def basis(value, kind):
    """A basis that can be added to another."""
    if not isinstance(value, kind):
        raise TypeError(f"a basis can be added to a basis only; got {value!r}.")


def one_each(bases, inputs):
    """As many inputs as bases."""
    if len(bases) != len(inputs):
        raise ValueError(f"this sum of {len(bases)} bases needs as many inputs, in the same order; got {len(inputs)}.")


def intervals(X, epochs):
    """Epochs, for features that have a time axis."""
    if X.t is None:
        raise ValueError("`restrict` needs features with a time axis, made of a pynapple object; these have none.")
    if not _pynapple.is_epochs(epochs):
        raise TypeError(f"`epochs` must be a pynapple IntervalSet; got {type(epochs).__name__}.")
    return epochs


def row_and_column(key, shape):
    """Rows, None for all, and columns, None for all, of an index into a matrix of lazy features."""
    rows, *columns = [k for k in (key if isinstance(key, tuple) else (key,)) if k is not Ellipsis] or [slice(None)]
    columns = [c for c in columns if not (isinstance(c, slice) and c == slice(None))]
    if len(columns) > 1 or any(k is None for k in (rows, *columns)):
        raise IndexError(f"lazy features have two axes, time and features; got the index {key!r}.")
    if isinstance(rows, slice):
        return (None if rows == slice(None) else rows), (columns[0] if columns else None)
    index = np.asarray(rows)
    if index.dtype == bool and index.shape != shape[:1] or index.ndim > 1 or index.dtype.kind not in "biu" and index.size:
        raise IndexError(
            f"rows of lazy features must be given by a slice, whole numbers or a mask of length {shape[0]}; got "
            f"{type(rows).__name__} of dtype {index.dtype} and shape {index.shape}."
        )
    index = np.flatnonzero(index) if index.dtype == bool else index.astype(int).reshape(-1)
    if not len(index):
        return slice(0, 0), (columns[0] if columns else None)
    if index.min() < -shape[0] or index.max() >= shape[0]:
        raise IndexError(f"row {index[(index < -shape[0]) | (index >= shape[0])][0]} of {shape[0]} rows was asked for.")
    index = index % shape[0]
    if len(np.unique(index)) < len(index):
        raise ValueError("lazy features hold each row once; rows were asked for twice. Index numpy.asarray(X) instead.")
    return index, (columns[0] if columns else None)


def not_empty(name, x):
    """At least one row."""
    if not len(x):
        raise ValueError(f"`{name}` must not be empty; got shape {x.shape}.")


def flag(name, value):
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False; got {value!r}.")


def given(y):
    """A y."""
    if y is None:
        raise ValueError("`fit` requires y to be passed, but the target y is None. Give the counts as y.")


def targets(values, model):
    """y in the support of the observation model; NaN is allowed."""
    least, most = finite("y", values)
    low, high = model.support
    if least < low or most > high:
        outside = ((values < low) | (values > high)).reshape(len(values), -1)
        row = int(np.argmax(outside.any(1)))
        came = values.reshape(len(values), -1)[row][outside[row]][0]
        raise ValueError(f"`y` must hold {model.support_name} for {type(model).__name__}; row {row} holds {came}.")


def some_valid(counted):
    """At least one bin that counts."""
    if not counted:
        raise ValueError(
            "no bin is valid: every row holds a NaN in X or in y. Of every epoch the first `window_size` rows of "
            "features are NaN, so a batch must be longer than the window."
        )


def fitted(estimator):
    """An estimator with coefficients."""
    if not (hasattr(estimator, "coef_") and hasattr(estimator, "intercept_")):
        from sklearn.exceptions import NotFittedError

        name = type(estimator).__name__
        raise NotFittedError(f"this {name} has no coefficients yet. Call `fit` or `update` first.")


def n_features(expected, got, who="model"):
    """As many features as before."""
    if expected != got:
        raise ValueError(
            f"X has {got} features, but {who} is expecting {expected} features as input. Use the same basis and the "
            "same inputs."
        )


def n_neurons(expected, got):
    """As many neurons as before."""
    if expected != got:
        raise ValueError(f"y has {got} neurons, but the model has {expected}. Keep the neurons and their order.")


def feature_mask(mask, n_features, n_neurons):
    """A matrix of 0 and 1 as (neurons, features); all 1 if there is none."""
    if mask is None:
        return np.ones((n_neurons, n_features))
    values = array("feature_mask", mask, (2,))
    if values.shape != (n_features, n_neurons):
        raise ValueError(
            f"`feature_mask` must have shape (features, neurons) = ({n_features}, {n_neurons}); got {values.shape}."
        )
    if not np.isin(values, (0, 1)).all():
        raise ValueError("`feature_mask` must hold 0 (leave out) and 1 (use) only.")
    return values.T.astype(float)


def pair(params):
    """A pair (coef, intercept) of arrays."""
    if not isinstance(params, tuple | list) or len(params) != 2:
        raise TypeError(
            f"`params` must be a pair (coef, intercept); got {type(params).__name__}. Start from `initialize_params`."
        )
    for part in params:
        dtype = getattr(part, "dtype", None)
        if dtype is None or jax.dtypes.canonicalize_dtype(dtype) != jnp.result_type(float):
            raise TypeError(
                f"`params` must hold arrays of {jnp.result_type(float)}; got {dtype or type(part).__name__}. "
                "Start from `initialize_params`."
            )
    return params


def state(value):
    """What a solver passes from step to step."""
    if not isinstance(value, tuple):
        raise TypeError(f"`state` must come from `initialize_state` or the last `update`; got {type(value).__name__}.")


def parameters(params, coef_shape, intercept_shape):
    """A pair (coef, intercept) of the shapes that the data ask for."""
    coef, intercept = pair(params)
    shapes = np.shape(coef), np.shape(intercept)
    if len(shapes[0]) == len(coef_shape) and shapes[1] and shapes[0][1:] == (shapes[1] if len(coef_shape) == 2 else ()):
        n_features(shapes[0][0], coef_shape[0])
        n_neurons(shapes[1][0], intercept_shape[0])
    if shapes != (coef_shape, intercept_shape):
        raise ValueError(
            f"`params` must have coefficients of shape {coef_shape} and intercepts of shape {intercept_shape}; "
            f"got {shapes[0]} and {shapes[1]}."
        )
    return coef, intercept


def finite_parameters(params):
    """Coefficients and intercepts without NaN or infinity."""
    if not all(np.isfinite(part).all() for part in params):
        raise ValueError("`params` must be finite; got NaN or an infinite value. Start from `initialize_params`.")


def instance(name, value, classes):
    """An object of one of the classes, made from its name if need be."""
    if isinstance(value, str):
        return classes[option(name, value, tuple(classes))]()
    if type(value) in classes.values():
        return value
    raise TypeError(f"`{name}` must be a name ({', '.join(classes)}) or an object of that kind; got {value!r}.")


def link(value, known):
    """An inverse link function, or the name of one."""
    names = tuple(key for key in known if isinstance(key, str))
    if isinstance(value, str):
        return option("inverse_link_function", value, names)
    if not callable(value) or not isinstance(value, Hashable):
        raise TypeError(f"`inverse_link_function` must be a function or one of {', '.join(names)}; got {value!r}.")
    return value


def increasing(function, predictor=(-4.0, -2.0, 0.0, 2.0, 4.0)):
    """A function that JAX can trace, from linear predictors to means that are positive and increase."""
    try:
        means = np.asarray(jax.jit(function)(jnp.asarray(predictor)))
    except Exception as error:
        raise TypeError(
            f"`inverse_link_function` must be a JAX function of an array, such as jnp.exp; got {function!r}, which "
            f"JAX cannot trace ({type(error).__name__})."
        ) from error
    if means.shape != np.shape(predictor) or not (
        np.isfinite(means).all() and means.min() > 0 and np.all(np.diff(means) > 0)
    ):
        raise ValueError(
            f"`inverse_link_function` must give positive means that increase; at {predictor} it gives "
            f"{np.round(means, 4).tolist()}. For counts use 'exp' or 'softplus'."
        )


def strength(value, penalty):
    """The strength of a penalty; there is none to be given without one."""
    if value is None:
        return penalty.default_strength
    if not penalty.default_strength and number("regularizer_strength", value, 0):
        raise ValueError(f'`regularizer_strength` is {value!r} but there is no penalty. Set regularizer="Ridge".')
    return number("regularizer_strength", value, 0)


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
        option(f"solver_kwargs of {solver}", name, tuple(defaults))
        default = defaults[name]
        if value is None and default is None:
            continue
        if name in SPELLED:
            option(name, value, SPELLED[name])
        elif isinstance(default, bool):
            if not isinstance(value, bool | np.bool_):
                raise ValueError(f"`{name}` must be True or False; got {value!r}.")
        elif isinstance(default, int):
            positive_integer(name, value)
        elif not (name == "stepsize" and callable(value)):
            number(name, value, 0)


def function(name, value):
    """A function, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"`{name}` must be a function of an array (time, neurons) or None; got {value!r}.")


def trained(estimator):
    """An estimator that knows the rates of its training data."""
    if not hasattr(estimator, "_train_mean"):
        raise ValueError(
            'null="train" needs the rates of the training data, which `update` does not keep. Call `fit`, or give '
            "the rates: null=counts.mean(0)."
        )


def null_means(value, n_neurons):
    """Mean counts per bin for the null model, one per neuron."""
    means = array("null", value, (0, 1)).astype(float)
    if means.shape not in ((), (n_neurons,)) or not (np.isfinite(means) & (means > 0)).all():
        raise ValueError(
            f"`null` must be 'scored', 'train' or {n_neurons} positive mean counts per bin; got an array of shape "
            f"{means.shape} with values from {means.min():g} to {means.max():g}."
        )
    return np.broadcast_to(means, n_neurons)


def coupling(coef, intercept, n_basis):
    """Couplings (neurons * basis, neurons) and intercepts (neurons,) that fit the basis."""
    coef, intercept = array("coef", coef, (2,)).astype(float), array("intercept", intercept, (1,)).astype(float)
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
    duration, bin_size = number("duration", duration, 0, strict=True), number("bin_size", bin_size, 0, strict=True)
    n_bins = round(duration / bin_size)
    if n_bins < 1 or abs(n_bins * bin_size - duration) > 1e-6 * bin_size * max(n_bins, 1):
        raise ValueError(f"`duration` must be a whole number of bins of {bin_size} s; got {duration} s.")
    return n_bins


def no_explosion(means, limit, bin_size):
    """Rates that stay below a limit."""
    wild = ~(means < limit).all(1)
    if wild.any():
        t, neuron = int(np.argmax(wild)), int(np.argmax(~(means[np.argmax(wild)] < limit)))
        raise ValueError(
            f"the population explodes: neuron {neuron} passes {limit:g} spikes per bin at {t * bin_size:.3f} s. "
            "Weaken the excitatory couplings, or lower the intercepts."
        )


def key(value):
    """A random key of JAX."""
    dtype = getattr(value, "dtype", None)
    new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and value.shape == ()
    if not (new or (dtype == np.uint32 and value.shape == (2,))):
        seed = value if isinstance(value, numbers.Integral) else 0
        raise TypeError(f"`key` must be a JAX key; got {value!r}. Write jax.random.key({seed}).")
    return value


def convolution(value):
    """A basis with a kernel over lags."""
    kernel = getattr(value, "kernel", None)
    if not isinstance(kernel, np.ndarray):
        raise TypeError(f"`basis` must be a convolution basis; got {value!r}. For example RaisedCosineLogConv(5, 40).")
    return kernel


def two(name, value):
    """A pair of positive numbers, the lower first."""
    if not isinstance(value, Sequence | np.ndarray) or len(value) != 2:
        raise TypeError(f"`{name}` must be a pair (lowest, highest); got {value!r}.")
    low, high = (number(name, end, 0, strict=True) for end in value)
    if low > high:
        raise ValueError(f"`{name}` must be a pair (lowest, highest); got {low:g} before {high:g}.")
    return low, high


def share(name, value):
    """A number from 0 to 1."""
    value = number(name, value, 0)
    if value > 1:
        raise ValueError(f"`{name}` must be a share from 0 to 1; got {value}.")
    return value
