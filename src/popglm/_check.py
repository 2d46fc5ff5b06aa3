"""Every check of what a user gives, one function per fact. A message says what was expected, what came, and the fix."""

import difflib
import numbers
import sys
import warnings

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
    """A whole number of at least 1, and one that 32 bits hold."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and 1 <= value <= INT32.max:
        return int(value)
    raise ValueError(f"`{name}` must be a positive integer{unit}; got {value!r}.{hint}")


def whole_number(name, value):
    """A whole number that is not negative."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= 0:
        return int(value)
    raise ValueError(f"`{name}` must be a whole number, 0 or above; got {value!r}.")


def number(name, value, low=-np.inf, *, strict=False):
    """A finite real number of at least `low` (above it, if strict)."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            real = float(value)
        except OverflowError:
            real = np.inf
        if abs(real) <= float(jnp.finfo(jnp.result_type(float)).max) and (real > low if strict else real >= low):
            return real
    bound = "" if low == -np.inf else f" {'above' if strict else 'of at least'} {low:g}"
    raise ValueError(f"`{name}` must be a finite number{bound}; got {value!r}.")


def array(name, x, n_dims):
    """A real numeric array with one of `n_dims` dimensions, without copying if it can be helped."""
    if _pynapple.is_events(x):
        raise TypeError(f"`{name}` holds spike times; expected counts per bin. Write {name}.count(bin_size).")
    if sys.modules.get("scipy.sparse") is not None and sys.modules["scipy.sparse"].issparse(x):
        raise TypeError(f"`{name}` is sparse; expected a dense array. Write {name}.toarray().")
    if isinstance(x, jax.core.Tracer):
        raise TypeError(
            f"`{name}` is being traced by JAX; popglm compiles for itself. Call it outside jit, grad and vmap."
        )
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        x = x.astype(float).filled(np.nan)
    try:
        values = np.asarray(_pynapple.plain(x))
    except Exception as error:
        ragged = isinstance(error, ValueError) and isinstance(x, list | tuple)
        why = "its rows have different lengths" if ragged else f"NumPy cannot read {type(x).__name__}: {error}"
        raise TypeError(f"`{name}` must be an array of numbers; {why}.") from error
    if values.dtype.kind not in "biuf":
        raise TypeError(
            f"`{name}` must hold real numbers; got {type(x).__name__} of dtype {values.dtype}. If these are numbers, "
            f"convert them: numpy.asarray({name}, float)."
        )
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
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


def sliceable(name, values, n_dims=(1, 2)):
    """Rows that are read when they are needed: their number, and numbers. What they hold is checked when it is read."""
    if len(values.shape) not in n_dims or np.dtype(values.dtype).kind not in "biuf" or 0 in values.shape:
        raise ValueError(
            f"`{name}` must have {' or '.join(map(str, n_dims))} axes, time first, and hold real numbers; got "
            f"{type(values).__name__} of shape {tuple(values.shape)} and dtype {values.dtype}."
        )
    return values


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


def finite(name, values, first=0):
    """No infinite entry, none whose square overflows; NaN marks a missing value and is allowed. Return the range.

    `first` is the number of the first row, where the values are a part of more.
    """
    if values.dtype == bool:
        return 0, 1
    low, high, row = np.inf, -np.inf, first
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
    if frame.times is None:
        return
    step = np.diff(frame.times)
    if not (step > 0).all():
        row = int(np.argmin(step > 0))
        raise ValueError(f"times must increase; {frame.times[row]:.6f} s is followed by {frame.times[row + 1]:.6f} s.")
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
            "indexing; bring irregular samples to bins with `bin_average`."
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
    lost = (np.abs(mean) * jnp.finfo(jnp.result_type(float)).eps > 0.002 * sd) & (sd > 0)
    if lost.any():
        feature = int(np.argmax(lost))
        raise ValueError(
            f"feature {feature} of X lies {abs(mean[feature]) / sd[feature]:.1g} standard deviations from 0, more than "
            f"{jnp.result_type(float)} can tell apart. Subtract its mean."
        )


def some_duration(frame):
    """Epochs that hold all rows: pynapple drops those without duration, and their rows with them."""
    if frame.epochs is not None and len(frame.times) and not len(frame.epochs):
        raise ValueError(
            f"the epochs of a pynapple object must have a duration; got {len(frame.times)} row(s) in none. Give its "
            "time_support, or a plain array."
        )


def same_names(fitted, got):
    """Features in the order of the fit, where both have names."""
    if fitted is None or got is None or list(fitted) == list(got):
        return
    pairs = [(a, b) for a, b in zip(fitted, got, strict=False) if a != b]
    raise ValueError(
        "The feature names should match those that were passed during fit, in the same order; "
        f"expected {pairs[0][0]!r} where {pairs[0][1]!r} came."
    )


def whole_blocks(inputs, functions, n_basis):
    """Columns in whole blocks, one for each input, with all functions in order."""
    blocks = np.asarray(inputs).reshape(-1, n_basis)
    whole = (blocks == blocks[:, :1]).all() and (np.reshape(functions, (-1, n_basis)) == np.arange(n_basis)).all()
    if not whole or len(set(blocks[:, 0].tolist())) < len(blocks):
        raise ValueError(
            f"columns must be whole blocks of {n_basis} functions, one for every input with a name of its own; got "
            f"{[f'{i}:{f}' for i, f in zip(inputs, functions, strict=True)][:12]}. Split before you choose columns."
        )


def constant(X, y, features):
    """Features that single precision took for constant do not vary in the bins that count. Read a part at a time."""
    if not len(features):
        return
    low, high = np.full(len(features), np.inf), np.full(len(features), -np.inf)
    for start in range(0, X.shape[0], 8192):
        some = np.asarray(X[start : start + 8192])
        known = ~np.isnan(some).any(1) & ~np.isnan(np.asarray(y[start : start + 8192])).all(1)
        some = some[known][:, features].astype(float)
        low, high = np.minimum(low, some.min(0, initial=np.inf)), np.maximum(high, some.max(0, initial=-np.inf))
    round_off = 0 if isinstance(X, np.ndarray) else 1e-6 * np.abs(high)  # lazy features are sums in single precision
    varies = high - low > round_off
    if varies.any():
        feature, least, most = features[varies][0], low[varies][0], high[varies][0]
        raise ValueError(
            f"feature {feature} of X varies by {most - least:.3g} only, at {most:.6g}, in the bins that count; "
            f"{jnp.result_type(float)} cannot tell it from a constant. Subtract its mean there."
        )


def long_enough(starts, window):
    """Some epoch longer than the window, so that some row has a complete one."""
    longest = int(np.diff(starts).max())
    if longest <= window:
        raise ValueError(
            f"an epoch must be longer than the window of {window} bins to have a row with a complete history; "
            f"the longest has {longest}. Use a shorter window or longer epochs (rows are bins, columns are inputs)."
        )


def aligned(X, y, one="X", other="y"):
    """X and y have one row per bin, and, where both carry times, the same times to the microsecond."""
    rows = X.values.shape[0], y.values.shape[0]
    if rows[0] != rows[1]:
        raise ValueError(
            f"{one} and {other} must have the same number of rows; got {rows[0]} and {rows[1]}. "
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


def intervals(X, epochs):
    """Epochs, for features that have a time axis."""
    if X.t is None:
        raise ValueError("`restrict` needs features with a time axis, made of a pynapple object; these have none.")
    return interval_set(epochs)


def interval_set(epochs):
    """Epochs of pynapple."""
    if not _pynapple.is_epochs(epochs):
        raise TypeError(f"`epochs` must be a pynapple IntervalSet; got {type(epochs).__name__}.")
    return epochs


def group(units):
    """Spike times of several neurons."""
    if not _pynapple.is_group(units):
        raise TypeError(f"`units` must be a pynapple TsGroup of spike times; got {type(units).__name__}.")
    if not len(units):
        raise ValueError("`units` must hold at least one neuron; got an empty TsGroup.")
    return units


def row_and_column(key, shape, what="lazy features", *, twice=False):
    """Rows, None for all, and columns, None for all, of an index into a lazy matrix; rows may come twice if allowed."""
    key = key if isinstance(key, tuple) else (key,)
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    rows, *columns = (*key[:at], *[slice(None)] * (2 - len(key) + (at < len(key))), *key[at + 1 :])
    columns = [c for c in columns if not (isinstance(c, slice) and c == slice(None))]
    if len(columns) > 1 or any(k is None for k in (rows, *columns)):
        raise IndexError(f"{what} have two axes, time and {what.split()[1]}; got the index {key!r}.")
    if isinstance(rows, slice):
        return (None if rows == slice(None) else rows), (columns[0] if columns else None)
    index = np.asarray(rows)
    if (
        (index.dtype == bool and index.shape != shape[:1])
        or index.ndim > 1
        or (index.dtype.kind not in "biu" and index.size)
    ):
        raise IndexError(
            f"rows of {what} must be given by a slice, whole numbers or a mask of length {shape[0]}; got "
            f"{type(rows).__name__} of dtype {index.dtype} and shape {index.shape}."
        )
    if columns and index.ndim == 1 and np.ndim(columns[0]) == 1:
        raise IndexError(
            f"{what} take an array of rows or one of columns, not both; index numpy.asarray of it instead."
        )
    index = np.flatnonzero(index) if index.dtype == bool else index.astype(int).reshape(-1)
    if not len(index):
        return slice(0, 0), (columns[0] if columns else None)
    if index.min() < -shape[0] or index.max() >= shape[0]:
        raise IndexError(f"row {index[(index < -shape[0]) | (index >= shape[0])][0]} of {shape[0]} rows was asked for.")
    index = index % shape[0]
    if not twice and len(np.unique(index)) < len(index):
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
        raise ValueError("this method requires y to be passed, but the target y is None. Give the counts as y.")


def targets(values, model, first=0):
    """y in the support of the observation model; NaN is allowed."""
    least, most = finite("y", values, first)
    support = model.support
    if not (support.outside(np.array([least, most])).any() or (support.ends_only and values.dtype != bool)):
        return
    outside = support.outside(values).reshape(len(values), -1)
    if outside.any():
        row = int(np.argmax(outside.any(1)))
        came = values.reshape(len(values), -1)[row][outside[row]][0]
        raise ValueError(f"`y` must hold {support.name} for {type(model).__name__}; row {first + row} holds {came}.")


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
        dtype = part.dtype if isinstance(part, np.ndarray | jax.Array) else None
        if dtype is None or jax.dtypes.canonicalize_dtype(dtype) != jnp.result_type(float):
            raise TypeError(
                f"`params` must hold arrays of {jnp.result_type(float)}; got {dtype or type(part).__name__}. "
                "Start from `initialize_params`."
            )
    return params


def state(value):
    """What a solver passes from step to step."""
    arrays = all(isinstance(leaf, np.ndarray | np.generic | jax.Array) for leaf in jax.tree.leaves(value))
    if not isinstance(value, tuple) or not arrays:
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
