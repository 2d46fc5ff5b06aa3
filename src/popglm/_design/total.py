"""The only loop over a design: sums over all blocks, and entries of all rows.

Inside a chunk the loop is compiled; over the chunks it is Python's, and sums are added in double precision.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from popglm._checks.arrays import require_valid_bins
from popglm._design.arrays import empty_aligned
from popglm._design.blocks import Chunk
from popglm._design.design import Design


@partial(jax.jit, static_argnums=0)
def chunk_total(f, chunk: Chunk, *args):
    """Sum of ``f(block, *args)`` over the blocks of a chunk. Never differentiate through it: it would store every X."""
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(lambda: f(chunk.block(0), *args)))
    add = lambda i, acc: jax.tree.map(jnp.add, acc, f(chunk.block(chunk.block_indices[i]), *args))
    return jax.lax.fori_loop(0, chunk.n_valid_blocks, add, zero)


def total(f, design, *args):
    """Sum of ``f(block, *args)`` over all blocks, as NumPy arrays of double precision."""
    sums, waiting = None, None
    for _, chunk in design:
        started = chunk_total(f, chunk, *args)  # computes while the one before is added
        sums, waiting = _add_sums(sums, waiting), started
    require_valid_bins(waiting is not None)
    return _add_sums(sums, waiting)


def _add_sums(sums, new):
    if new is None:
        return None
    new = jax.tree.map(lambda a: np.asarray(a, float), new)
    with np.errstate(invalid="ignore"):  # a trial point may be so far away that parts are inf and -inf
        return new if sums is None else jax.tree.map(np.add, sums, new)


@partial(jax.jit, static_argnums=0)
def _block_entries(f, chunk: Chunk, i, *args):
    return f(chunk.block(i), *args)


def collect_entries(f, design: Design, n_columns: int, *args) -> np.ndarray:
    """``f(block, *args)``, an array (rows, columns), of all rows; NaN where X does not count."""
    out, waiting = empty_aligned((design.length, n_columns), jnp.result_type(float)), None
    done = 0  # rows before it are written, or will be by what is waiting
    for start, chunk in design:
        out[done:start] = np.nan
        for i in range(len(chunk.block_indices)):
            row = start + i * chunk.block_rows
            if row < design.length:
                ready, waiting = waiting, (row, _block_entries(f, chunk, i, *args))  # computes while the last is copied
                _write_rows(out, ready)
        done = min(start + len(chunk.y), design.length)
        _write_rows(out, waiting)
        out[start:done][~np.asarray(chunk.valid)[: done - start]] = np.nan
        waiting = None
    out[done:] = np.nan
    return out


def _write_rows(out, ready):
    if ready is not None:
        row, some = ready
        out[row : row + len(some)] = np.asarray(some)[: len(out) - row]
