"""Checks of arrays: what X, y and inputs hold."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from popglm._checks.values import INT32
from popglm._pynapple import as_plain_array, is_events


def require_binned(name, x):
    """Values of bins, no spike times."""
    if is_events(x):
        raise TypeError(f"`{name}` holds spike times; expected counts per bin. Write {name}.count(bin_size).")


def as_real_array(name, x, n_dims):
    """A real numeric array with one of `n_dims` dimensions, without copying if it can be helped."""
    require_binned(name, x)
    if sys.modules.get("scipy.sparse") is not None and sys.modules["scipy.sparse"].issparse(x):
        raise TypeError(f"`{name}` is sparse; expected a dense array. Write {name}.toarray().")
    if isinstance(x, jax.core.Tracer):
        raise TypeError(
            f"`{name}` is being traced by JAX; popglm compiles for itself. Call it outside jit, grad and vmap."
        )
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        x = x.astype(float).filled(np.nan)
    try:
        values = np.asarray(as_plain_array(x))
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


def require_sliceable(name, values, n_dims=(1, 2)):
    """Rows that are read when they are needed: their number, and numbers. What they hold is checked when it is read."""
    if len(values.shape) not in n_dims or np.dtype(values.dtype).kind not in "biuf" or 0 in values.shape:
        raise ValueError(
            f"`{name}` must have {' or '.join(map(str, n_dims))} axes, time first, and hold real numbers; got "
            f"{type(values).__name__} of shape {tuple(values.shape)} and dtype {values.dtype}."
        )
    return values


def require_rows(name, x):
    """At least one row."""
    if not len(x):
        raise ValueError(f"`{name}` must not be empty; got shape {x.shape}.")


def require_y(y):
    """A y."""
    if y is None:
        raise ValueError("this method requires y to be passed, but the target y is None. Give the counts as y.")


def as_input_matrix(x):
    """Inputs of a convolution as (time, inputs)."""
    values = as_real_array("inputs", x, (1, 2))
    require_finite("inputs", values)
    return values[:, None] if values.ndim == 1 else values


def require_finite(name, values, first=0):
    """No infinite entry, none whose square overflows; NaN marks a missing value and is allowed. Return the range.

    `first` is the number of the first row, where the values are a part of more.
    """
    if values.dtype == bool:
        return 0, 1
    low, high, row = np.inf, -np.inf, first
    dtype = jnp.result_type(float)
    limit = float(jnp.finfo(dtype).max) ** 0.4
    for piece in split_for_cache(values):
        least, most = _min_and_max(piece)
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


def _min_and_max(values):
    """Least and largest entry, of none if all are NaN."""
    low, high = float(values.min()), float(values.max())
    if np.isnan(low):
        some = values[~np.isnan(values)]
        low, high = (float(some.min()), float(some.max())) if some.size else (np.inf, -np.inf)
    return low, high


def split_for_cache(values):
    """Rows that fit into a processor's cache together: what is done to a piece costs one way through memory."""
    rows = max(2**18 // max(values[:1].size, 1), 1)
    return (values[start : start + rows] for start in range(0, len(values), rows))


def require_in_support(values, model, first=0):
    """y in the support of the observation model; NaN is allowed."""
    least, most = require_finite("y", values, first)
    support = model.support
    if not (support.outside(np.array([least, most])).any() or (support.ends_only and values.dtype != bool)):
        return
    outside = support.outside(values).reshape(len(values), -1)
    if outside.any():
        row = int(np.argmax(outside.any(1)))
        came = values.reshape(len(values), -1)[row][outside[row]][0]
        raise ValueError(f"`y` must hold {support.name} for {type(model).__name__}; row {first + row} holds {came}.")


def require_whole_numbers(name, values):
    """Whole numbers; NaN is allowed."""
    broken = (values != np.floor(values)) & ~np.isnan(values) if values.dtype.kind == "f" else np.zeros(1, bool)
    if broken.any():
        raise ValueError(
            f"`{name}` must hold whole numbers, of spikes in a bin; got {values[broken][0]}. A signal has no spikes to take "
            "intervals of."
        )
    return values


def require_valid_bins(counted):
    """At least one bin that counts."""
    if not counted:
        raise ValueError(
            "no bin is valid: every row holds a NaN in X or in y. Of every epoch the first `window_size` rows of "
            "features are NaN, so a batch must be longer than the window."
        )


def require_small_offset(mean, sd):
    """Features whose variation survives beside their offset."""
    lost = (np.abs(mean) * jnp.finfo(jnp.result_type(float)).eps > 0.002 * sd) & (sd > 0)
    if lost.any():
        feature = int(np.argmax(lost))
        raise ValueError(
            f"feature {feature} of X lies {abs(mean[feature]) / sd[feature]:.1g} standard deviations from 0, more than "
            f"{jnp.result_type(float)} can tell apart. Subtract its mean."
        )


def require_constant(X, y, features):
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


def as_finite_array(name, value, n_dims, *, missing=False):
    """Finite numbers, as floats; NaN too where something may be missing."""
    values = as_real_array(name, value, n_dims).astype(float)
    if np.isinf(values).any() or (np.isnan(values).any() and not missing):
        raise ValueError(f"`{name}` must be finite; got {values[~np.isfinite(values)][0]}. Leave such values out.")
    return values


def require_shares(name, values):
    """Numbers from 0 to 1."""
    if (values < 0).any() or (values > 1).any():
        raise ValueError(
            f"`{name}` must lie between 0 and 1: rescaled intervals t as 1 - exp(-t); got {values.min():.4g} to "
            f"{values.max():.4g}."
        )
    return values
