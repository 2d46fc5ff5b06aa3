"""The only loops over a design: sums over all blocks, and entries of all rows.

The loop inside a chunk is compiled; the loop over chunks is in Python and adds sums in double precision.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from popglm._checks.arrays import require_valid_bins
from popglm._checks.progress import watch_pass
from popglm._design.arrays import empty_aligned
from popglm._design.blocks import Chunk
from popglm._design.design import Design
from popglm._design.devices import sums_on_devices
from popglm.parallel._share import SHARE, describe_sum, gather, in_order_of_rows


def _chunk_sums(f: Callable, chunk: Chunk, *args: Any) -> Any:
    """Sum ``f(block, *args)`` over the blocks of a chunk. Do not differentiate through it: that would store every X."""
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(lambda: f(chunk.block(0), *args)))
    add = lambda i, acc: jax.tree.map(jnp.add, acc, f(chunk.block(chunk.block_indices[i]), *args))
    return jax.lax.fori_loop(0, chunk.n_valid_blocks, add, zero)


chunk_total = jax.jit(_chunk_sums, static_argnums=0)


def total(f: Callable, design: Iterable[tuple[int, Chunk]], *args: Any) -> Any:
    """Sum ``f(block, *args)`` over all blocks, as NumPy arrays in double precision.

    This is the one place where devices and processes share the rows (`popglm.parallel`). Whoever sums a chunk, chunks are added
    in the order of rows.
    """
    sums, chunks = None, watch_pass(design, getattr(design, "length", None))
    for new in in_order_of_rows(_sums_of_chunks(f, chunks, args), partial(describe_sum, f, args)):
        sums = _add_sums(sums, new)
    require_valid_bins(sums is not None)
    return sums


def has_valid_rows(design: Design) -> bool:
    """Return whether any block has a valid row."""
    return any(gather(next(iter(design), None) is not None, "looks for valid rows"))


def _sums_of_chunks(f: Callable, design: Iterable[tuple[int, Chunk]], args: tuple) -> Iterator[tuple[int, Any]]:
    """Yield first row and sums of every chunk of this process; the next is computed while one is used."""
    devices, waiting = SHARE.get().devices, None
    if devices:
        yield from sums_on_devices(_chunk_sums, f, design, devices, args)
        return
    for start, chunk in design:
        started = start, chunk_total(f, chunk, *args)
        if waiting is not None:
            yield waiting
        waiting = started
    if waiting is not None:
        yield waiting


def _add_sums(sums: Any, new: Any) -> Any:
    new = jax.tree.map(lambda a: np.asarray(a, float), new)
    # Far trial points may give both inf and -inf.
    with np.errstate(invalid="ignore"):
        return new if sums is None else jax.tree.map(np.add, sums, new)


@partial(jax.jit, static_argnums=0)
def _block_entries(f: Callable, chunk: Chunk, i: Any, *args: Any) -> Float[Array, "rows columns"]:
    return f(chunk.block(i), *args)


def collect_entries(f: Callable, design: Design, n_columns: int, *args: Any) -> Float[np.ndarray, "rows columns"]:
    """Collect ``f(block, *args)``, arrays (rows, columns), for all rows; NaN where X is not valid, for all columns or each.

    Every process makes all entries of its rows, on one device.
    """
    out, waiting = empty_aligned((design.length, n_columns), jnp.result_type(float)), None
    done = 0  # rows before it are written, or `waiting` to be
    for start, chunk in design.all_chunks():
        out[done:start] = np.nan
        for i in range(len(chunk.block_indices)):
            row = start + i * chunk.block_rows
            if row < design.length:
                # Compute this block while the previous one is copied.
                ready, waiting = waiting, (row, _block_entries(f, chunk, i, *args))
                _write_rows(out, ready)
        done = min(start + len(chunk.y), design.length)
        _write_rows(out, waiting)
        invalid = ~np.asarray(chunk.valid)[: done - start]
        out[start:done][invalid if invalid.shape[1] > 1 else invalid[:, 0]] = np.nan
        waiting = None
    out[done:] = np.nan
    return out


def _write_rows(out: np.ndarray, ready: tuple[int, Array] | None) -> None:
    if ready is not None:
        row, entries = ready
        out[row : row + len(entries)] = np.asarray(entries)[: len(out) - row]
