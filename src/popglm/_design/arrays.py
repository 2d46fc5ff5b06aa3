"""Arrays prepared for JAX: padding, memory alignment, small integers as bytes, rows with NaN, precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Shaped

from popglm._checks.arrays import split_for_cache


def zero_pad(values: np.ndarray, size: int, dtype: Any = None) -> np.ndarray:
    """Copy an array, padded with zeros to `size` rows."""
    out = empty_aligned((size, *values.shape[1:]), dtype or values.dtype)
    out[: len(values)], out[len(values) :] = values, 0
    return out


def empty_aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Allocate an array at a multiple of 64 bytes, which XLA on a CPU uses in place; others it copies."""
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(n_bytes + 64, np.uint8)
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + n_bytes].view(dtype).reshape(shape)


def to_device(values: Any) -> jax.Array:
    """Convert to a JAX array, which shares memory with `values` where possible: do not write to `values` afterwards."""
    return jax.device_put(values, may_alias=True)


def compact_integers(values: np.ndarray, *, keep: bool = False) -> np.ndarray:
    """Store integers from 0 to 255 as bytes; blocks convert them to floats.

    Other values are cast to the precision of JAX, or returned unchanged with `keep`.
    """
    if values.dtype in (bool, np.uint8):
        return values.astype(np.uint8, copy=False)
    with np.errstate(invalid="ignore"):  # casts of NaN and of numbers above 255
        whole = values.dtype.kind in "biu" or all((p == p.astype(np.uint8)).all() for p in split_for_cache(values))
    if whole and values.size and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8, copy=False)
    return values if keep else values.astype(jnp.result_type(float), copy=False)


def rows_with_nan(X: Shaped[np.ndarray, "time features"]) -> Bool[np.ndarray, " time"]:
    """Mark the rows of X with a NaN. One matrix-vector product finds the few rows that must be searched."""
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = ~np.isfinite(X @ np.ones(X.shape[1], X.dtype))
    suspect[suspect] = np.isnan(X[suspect]).any(1)
    return suspect


def as_divisor(sums: np.ndarray) -> np.ndarray:
    """Return sums of weights to divide by: 1 where a sum is 0."""
    return np.where(sums > 0, sums, 1)


def as_whole(sums: np.ndarray) -> np.ndarray:
    """Return sums of weights as integers if they all are; sums with fractions stay as they are."""
    return sums.astype(int) if (sums % 1 == 0).all() else sums


def machine_epsilon() -> float:
    """Relative round-off of the precision that JAX uses."""
    return float(jnp.finfo(jnp.result_type(float)).eps)


def round_up_length(n: int) -> int:
    """Round n up to about four significant bits, so that similar lengths share one compilation; wastes less than 1/16."""
    step = 1 << max((max(n, 1) - 1).bit_length() - 5, 0)
    return max(-(-n // step) * step, 1)
