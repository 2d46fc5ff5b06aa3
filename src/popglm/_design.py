"""The one notion of data, a design that makes block i of its rows, and `total`, the only loop over them."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from popglm import _check

BLOCK_ROWS = 2048


class Block(NamedTuple):
    """Rows of a design. Weight 0 marks padding, NaN in X (all neurons) or in y (that neuron), the start of an epoch."""

    X: Float[Array, "rows features"]
    y: Float[Array, "rows neurons"]
    weight: Float[Array, "rows #neurons"]


class Dense(NamedTuple):
    """X and y in memory, cut into blocks of one shape. Blocks from `n_blocks` on are padding that is never visited."""

    X: Float[Array, "blocks rows features"]
    y: Float[Array, "blocks rows neurons"]
    weight: Float[Array, "blocks rows #neurons"]
    n_blocks: Int[Array, ""]

    def block(self, i):
        take = partial(jax.lax.dynamic_index_in_dim, index=i, keepdims=False)
        return Block(take(self.X), take(self.y), take(self.weight))

    def rows(self):
        """All rows as one block, padding included."""
        return Block(*(a.reshape(-1, a.shape[-1]) for a in (self.X, self.y, self.weight)))


@partial(jax.jit, static_argnums=0)
def total(f, design, *args):
    """Sum of ``f(block, *args)`` over all blocks. Never differentiate through it: that would store every X."""
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(lambda: f(design.block(0), *args)))
    add = lambda i, acc: jax.tree.map(jnp.add, acc, f(design.block(i), *args))
    return jax.lax.fori_loop(0, design.n_blocks, add, zero)


def dense(
    X: Shaped[np.ndarray, "time features"], y: Shaped[np.ndarray, "time neurons"], block_rows=BLOCK_ROWS, center=None
) -> Dense:
    """Copy X and y into blocks; rows with NaN get weight 0 and are set to 0, so that no sum ever meets a NaN.

    `center` is subtracted from the features before they are rounded to the precision of JAX.
    """
    dtype = jax.dtypes.canonicalize_dtype(float)
    length = len(X)
    rows = min(block_rows, grid(length))
    used = max(-(-length // rows), 1)
    blocks = grid(used)
    missing_y = np.isnan(y) if np.issubdtype(y.dtype, np.floating) else np.zeros(y.shape, bool)
    weight = ~missing_rows(X)[:, None]
    if missing_y.any():
        weight = weight & ~missing_y

    def cut(values, counted, center=None):
        out = np.zeros((blocks * rows, values.shape[1]), dtype)
        if center is None:
            out[:length] = values
        else:
            np.subtract(values, center, out=out[:length], casting="same_kind")
        if not counted.all():
            np.copyto(out[:length], 0, where=~counted)
        return jnp.asarray(out.reshape(blocks, rows, -1))

    everything = np.True_
    return Dense(
        cut(X, weight.any(1, keepdims=True), center),
        cut(y, ~missing_y),
        cut(weight, everything),
        jnp.asarray(used, jnp.int32),
    )


def valid(X, y) -> np.ndarray:
    """Which bins of which neurons have all their features and a count, (time, neurons)."""
    return ~missing_rows(X)[:, None] & ~np.isnan(y)


def missing_rows(X) -> np.ndarray:
    """Which rows of X hold a NaN. One matrix-vector product finds the few rows that need a closer look."""
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = ~np.isfinite(X @ np.ones(X.shape[1], X.dtype))
    suspect[suspect] = np.isnan(X[suspect]).any(1)
    return suspect


def origin(X) -> np.ndarray | None:
    """Where the features lie, if one lies so far from 0 that float32 would keep its offset and lose its variation."""
    some = np.asarray(X[:: max(len(X) // 1000, 1)], float)
    some = some[~missing_rows(some)]
    if not len(some):
        return None
    mean = some.mean(0)
    _check.near(mean, some.std(0))
    far = np.abs(mean) > 10 * some.std(0)
    return np.where(far, mean, 0) if far.any() else None


def grid(n: int) -> int:
    """Round n up to four significant bits or so: lengths that differ a little share one compilation, wasting < 1/16."""
    step = 1 << max((max(n, 1) - 1).bit_length() - 5, 0)
    return max(-(-n // step) * step, 1)
