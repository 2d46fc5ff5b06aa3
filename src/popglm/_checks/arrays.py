"""Checks of arrays: types, shapes and values of X, y and inputs."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from popglm._checks.values import INT32, warn_user
from popglm._pynapple import as_plain_array, is_events
from popglm.parallel._share import SHARE, gather

MIN_SPIKE_TIMES = 100


def require_binned(name: str, x: Any) -> None:
    """Require values per bin, not spike times."""
    if is_events(x):
        raise TypeError(f"`{name}` holds spike times; expected counts per bin. Write {name}.count(bin_size).")


def as_real_array(name: str, x: Any, n_dims: tuple[int, ...]) -> np.ndarray:
    """Convert to a real array with one of `n_dims` dimensions, without a copy where possible."""
    require_binned(name, x)
    if type(x).__module__.startswith("scipy.sparse"):
        raise TypeError(f"`{name}` is sparse; expected a dense array. Write {name}.toarray().")
    if isinstance(x, jax.core.Tracer):
        fix = "Call popglm, which compiles itself, outside jit, grad and vmap."
        raise TypeError(f"`{name}` is being traced by JAX. {fix}")
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        x = x.astype(float).filled(np.nan)  # type: ignore[attr-defined]
    try:
        values = np.asarray(as_plain_array(x))
    except Exception as error:
        ragged = isinstance(error, ValueError) and isinstance(x, list | tuple)
        why = "its rows have different lengths" if ragged else f"NumPy cannot read {type(x).__name__}: {error}"
        raise TypeError(f"`{name}` must be an array of numbers; {why}.") from error
    if values.dtype.kind not in "biuf":
        fix = f"If these are numbers, convert them: numpy.asarray({name}, float)."
        raise TypeError(f"`{name}` must hold real numbers; got {type(x).__name__} of dtype {values.dtype}. {fix}")
    # JAX would wrap integers of more than 32 bits around.
    wide = values.dtype.kind in "iu" and values.size and (values.max() > INT32.max or values.min() < INT32.min)
    casts = {np.float16: np.float32, np.longdouble: np.float64}
    dtype = np.float64 if wide else casts.get(values.dtype.type, values.dtype.newbyteorder("="))
    values = values.astype(dtype, copy=False)
    if values.ndim not in n_dims:
        expected = " or ".join(f"{n}-D" for n in n_dims)
        one_neuron = " Several neurons are fitted by PopulationGLM; one column is taken by y[:, 0]."
        hints = {1: " Reshape your data: x[:, None] is one column.", 2: one_neuron if name == "y" else ""}
        raise ValueError(f"`{name}` must be {expected}; got shape {values.shape}.{hints.get(values.ndim, '')}")
    require_entries(name, values)
    return values


def require_sliceable(name: str, values: Any, n_dims: tuple[int, ...] = (1, 2)) -> Any:
    """Require a stream of rows of real numbers; their values are checked when they are read."""
    if len(values.shape) not in n_dims or np.dtype(values.dtype).kind not in "biuf" or 0 in values.shape:
        expected = f"{' or '.join(map(str, n_dims))} axes, time first, and hold real numbers"
        came = f"{type(values).__name__} of shape {tuple(values.shape)} and dtype {values.dtype}"
        raise ValueError(f"`{name}` must have {expected}; got {came}.")
    return values


def require_entries(name: str, x: Any) -> None:
    """Require at least one row and one column; scikit-learn expects these words."""
    if 0 in x.shape:
        axis = "sample(s)" if x.shape[0] == 0 else "feature(s)" if name == "X" else "column(s)"
        raise ValueError(f"`{name}` must not be empty: 0 {axis} (shape={x.shape}) while a minimum of 1 is required.")


def require_y(y: Any) -> None:
    """Require y."""
    if y is None:
        raise ValueError("this method requires y to be passed, but the target y is None. Give the counts as y.")


def as_input_matrix(x: Any) -> Shaped[np.ndarray, "time inputs"]:
    """Convert inputs to a finite array (time, inputs)."""
    values = as_real_array("inputs", x, (1, 2))
    require_finite("inputs", values)
    return values[:, None] if values.ndim == 1 else values


INFINITE_FIX = {
    "offset": "Leave out rows without exposure by NaN: `np.log(np.where(exposure > 0, exposure, np.nan))`.",
}


def require_finite(name: str, values: np.ndarray, first: int = 0) -> tuple[float, float]:
    """Require entries that are finite and whose squares do not overflow, or NaN (missing); return minimum and maximum.

    `first` is the number of the first row, for messages about a part of a longer array. If all entries are NaN, the minimum
    is infinity and the maximum minus infinity.
    """
    if values.dtype == bool:
        return 0, 1
    low, high, row, dtype = np.inf, -np.inf, first, jnp.result_type(float)
    limit = float(jnp.finfo(dtype).max) ** 0.4
    for piece in split_for_cache(values):
        minimum, maximum = float(np.fmin.reduce(piece, None)), float(np.fmax.reduce(piece, None))
        if minimum < -limit or maximum > limit:
            flat, largest = np.abs(piece.reshape(len(piece), -1)), max(-minimum, maximum)
            row += int(np.argmax((flat > limit if np.isfinite(largest) else np.isinf(flat)).any(1)))
            if np.isinf(largest):
                fix = INFINITE_FIX.get(name, "Mark missing values by NaN.")
                raise ValueError(f"`{name}` must be finite; row {row} holds an infinite value. {fix}")
            came = f"row {row} reaches {largest:.3g}, more than {limit:.1g}"
            raise ValueError(f"`{name}` holds a value too large for {dtype}: {came}. Rescale it.")
        # a comparison with NaN is false, so that NaN changes neither
        low, high, row = min(low, minimum), max(high, maximum), row + len(piece)
    return low, high


def require_at_least(name: str, values: np.ndarray, low: float, first: int = 0) -> None:
    """Require finite entries that are not below `low`, or NaN; `first` is the number of the first row."""
    minimum, _ = require_finite(name, values, first)
    if minimum < low:
        row = first + int(np.argmax((values.reshape(len(values), -1) < low).any(1)))
        fix = "Give 0 to rows that should not count."
        raise ValueError(f"`{name}` must not be below {low:g}; row {row} holds {minimum:g}. {fix}")


def split_for_cache(values: np.ndarray) -> Iterator[np.ndarray]:
    """Split rows into pieces that fit into a processor's cache, so that several operations read memory once."""
    rows = max(2**18 // max(values[:1].size, 1), 1)
    return (values[start : start + rows] for start in range(0, len(values), rows))


def require_in_support(values: np.ndarray, model: Any, first: int = 0) -> None:
    """Require y in the support of the observation model, or NaN."""
    extremes, support = require_finite("y", values, first), model.support
    if not (support.outside(np.array(extremes)).any() or (support.kind == "binary" and values.dtype != bool)):
        return
    outside = support.outside(values).reshape(len(values), -1)
    if outside.any():
        row = int(np.argmax(outside.any(1)))
        came = values.reshape(len(values), -1)[row][outside[row]][0]
        raise ValueError(f"`y` must hold {support.name} for {type(model).__name__}; row {first + row} holds {came}.")


def warn_spike_times(name: str, values: np.ndarray) -> None:
    """Warn of counts that look like times of spikes: at least `MIN_SPIKE_TIMES` numbers that increase, with fractions."""
    first = values[:MIN_SPIKE_TIMES]
    if len(first) < MIN_SPIKE_TIMES or values.dtype.kind != "f":
        return
    columns = np.flatnonzero((np.diff(first, axis=0) > 0).all(0) & (first % 1 > 0).any(0))
    if any((np.diff(values[:, column]) > 0).all() for column in columns):
        came = f"{len(values):,} numbers with fractions, of which each is above the one before"
        fix = "If these are spike times, count them: units.count(bin_size) of a pynapple TsGroup, or numpy.histogram."
        warn_user(f"`{name}` must hold counts per bin, and holds {came}, as spike times are. {fix}")


def require_whole_numbers(name: str, values: np.ndarray) -> np.ndarray:
    """Require whole numbers, or NaN."""
    broken = values[values % 1 > 0]
    if len(broken):
        fix = "Intervals between spikes are not defined for other signals."
        raise ValueError(f"`{name}` must hold whole numbers of spikes per bin; got {broken[0]}. {fix}")
    return values


def require_valid_bins(has_valid_bins: Any) -> None:
    """Require at least one valid bin."""
    if not has_valid_bins:
        fix = "The first `window_size` rows of features of an epoch are NaN: a batch must be longer than the window."
        raise ValueError(
            f"no bin is valid: every row holds a NaN in X, y, `sample_weight` or `offset`, or has zero weight. {fix}"
        )


def require_small_offset(mean: np.ndarray, sd: np.ndarray) -> None:
    """Require features that do not lie so far from 0 that round-off hides their variation."""
    dtype = jnp.result_type(float)
    unresolved = (np.abs(mean) * jnp.finfo(dtype).eps > 0.002 * sd) & (sd > 0)
    if unresolved.any():
        feature = int(np.argmax(unresolved))
        distance = f"{abs(mean[feature]) / sd[feature]:.1g} standard deviations from 0"
        raise ValueError(
            f"feature {feature} of X lies {distance}, more than {dtype} can tell apart. Subtract its mean."
        )


def find_ranges(
    X: Any, y: Any, features: np.ndarray, weight: Any = None, offset: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smallest and largest value of features in the valid bins, and whether they differ; X is read in parts."""
    low, high = np.full(len(features), np.inf), np.full(len(features), -np.inf)
    for number, start in enumerate(range(0, X.shape[0], 8192)):
        if not SHARE.get().takes(number):
            continue
        part = slice(start, start + 8192)
        rows = np.asarray(X[part])
        counted = ~np.isnan(np.asarray(y[part])) & (True if weight is None else np.asarray(weight[part]) > 0)
        counted = counted & (True if offset is None else ~np.isnan(np.asarray(offset[part])))
        valid = ~np.isnan(rows).any(1) & counted.any(1)
        rows = rows[valid][:, features].astype(float)
        low, high = np.minimum(low, rows.min(0, initial=np.inf)), np.maximum(high, rows.max(0, initial=-np.inf))
    lows, highs = zip(*gather((low, high), "finds the ranges of features"), strict=True)
    low, high = np.min(lows, 0), np.max(highs, 0)
    round_off = 0 if isinstance(X, np.ndarray) else 1e-6 * np.abs(high)  # lazy features are sums in single precision
    return low, high, high - low > round_off


def require_constant(X: Any, y: Any, features: np.ndarray, weight: Any = None, offset: Any = None) -> None:
    """Require that features which looked constant in single precision are constant in the valid bins."""
    if not len(features):
        return
    low, high, varies = find_ranges(X, y, features, weight, offset)
    if varies.any():
        feature, minimum, maximum = features[varies][0], low[varies][0], high[varies][0]
        came = f"{maximum - minimum:.3g} only, at {maximum:.6g}, in the bins that count"
        fix = f"{jnp.result_type(float)} cannot tell it from a constant. Subtract its mean there."
        raise ValueError(f"feature {feature} of X varies by {came}; {fix}")


def as_finite_array(
    name: str, value: Any, n_dims: tuple[int, ...], *, missing: bool = False, fix: str = "Leave such values out."
) -> Float[np.ndarray, "..."]:
    """Convert to an array of finite floats; NaN is allowed if values may be `missing`."""
    values = as_real_array(name, value, n_dims).astype(float)
    if np.isinf(values).any() or (np.isnan(values).any() and not missing):
        raise ValueError(f"`{name}` must be finite; got {values[~np.isfinite(values)][0]}. {fix}")
    return values


def require_increasing(name: str, values: np.ndarray, low: float = -np.inf, fix: str = "Sort them.") -> np.ndarray:
    """Require values above `low` of which each is above the one before, and return them."""
    if (values <= low).any() or (np.diff(values) <= 0).any():
        bound = "" if low == -np.inf else f" above {low:g}"
        came = np.array2string(values, threshold=8)
        raise ValueError(f"`{name}` must be numbers{bound} that increase; got {came}. {fix}")
    return values


def require_shape(name: str, values: Any, shape: tuple[int, ...], axes: str, fix: str = "") -> np.ndarray:
    """Require an array of this shape, and return it."""
    require_equal_shapes(name, np.shape(values), shape, axes, fix)
    return np.asarray(values)


def require_one_per_row(name: str, values: Any, n_rows: int) -> None:
    """Require an array of rows, not one number for all of them."""
    if np.isscalar(values) or getattr(values, "shape", None) == ():
        fix = f"Write `np.full({n_rows}, value)` for one value in all rows."
        raise ValueError(f"`{name}` must hold a number for each row, (time,) or (time, neurons); got one number. {fix}")


def require_equal_shapes(name: str, came: tuple[int, ...], shape: tuple[int, ...], axes: str, fix: str = "") -> None:
    """Require the shape of an array, which may be a stream, to be this one."""
    if came != shape:
        raise ValueError(f"`{name}` must have shape ({axes}) = {shape}; got {came}.{fix}")


def require_shares(name: str, values: np.ndarray, fix: str = "") -> np.ndarray:
    """Require numbers from 0 to 1, or NaN, and return them."""
    low, high = np.fmin.reduce(values, None), np.fmax.reduce(values, None)
    if low < 0 or high > 1:
        raise ValueError(f"`{name}` must lie between 0 and 1; got {low:.4g} to {high:.4g}.{fix}")
    return values


def as_rescaled_intervals(z: Any) -> Float[np.ndarray, " intervals"]:
    """Convert rescaled intervals of one unit, which lie between 0 and 1."""
    fix = " Transform rescaled intervals t to 1 - exp(-t)."
    return require_shares("z", as_finite_array("z", z, (1,)), fix)
