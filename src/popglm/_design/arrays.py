"""Arrays for JAX: padded, aligned in memory, small numbers as bytes; missing rows; the precision."""

import jax
import jax.numpy as jnp
import numpy as np

from popglm._checks.arrays import split_for_cache


def zero_pad(values, size, dtype=None) -> np.ndarray:
    """A copy with zeros up to the length `size`."""
    out = empty_aligned((size, *values.shape[1:]), dtype or values.dtype)
    out[: len(values)], out[len(values) :] = values, 0
    return out


def empty_aligned(shape, dtype) -> np.ndarray:
    """An empty array at an address that XLA on a processor takes as it is; it copies the others."""
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(n_bytes + 64, np.uint8)
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + n_bytes].view(dtype).reshape(shape)


def to_device(values):
    """An array for JAX, which shares the memory of this one where it can: nobody may write to it meanwhile."""
    return jax.device_put(values, may_alias=True)


def compact_integers(values, *, keep=False) -> np.ndarray:
    """Small whole numbers as bytes, until a block needs them.

    Anything else is in the precision of JAX, or as it is, if it is to `keep` its digits.
    """
    with np.errstate(invalid="ignore"):  # NaN, and numbers that are no byte
        whole = values.dtype.kind in "biu" or all((p == p.astype(np.uint8)).all() for p in split_for_cache(values))
    if whole and values.size and (values.dtype == bool or (values.min() >= 0 and values.max() <= 255)):
        return values.astype(np.uint8, copy=False)
    return values if keep else values.astype(jnp.result_type(float), copy=False)


def rows_with_nan(X) -> np.ndarray:
    """Which rows of X hold a NaN. One matrix-vector product finds the few rows that need a closer look."""
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = ~np.isfinite(X @ np.ones(X.shape[1], X.dtype))
    suspect[suspect] = np.isnan(X[suspect]).any(1)
    return suspect


def machine_epsilon() -> float:
    """Relative round-off of JAX's precision."""
    return float(jnp.finfo(jnp.result_type(float)).eps)


def round_up_length(n: int) -> int:
    """Round n up to four significant bits or so: lengths that differ a little share one compilation, wasting < 1/16."""
    step = 1 << max((max(n, 1) - 1).bit_length() - 5, 0)
    return max(-(-n // step) * step, 1)
