"""Streams, which are read when they are sliced, and reading ahead in a thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np


def prefetch(items: Iterator) -> Iterator:
    """Yield the items; a thread makes the next one while one is used."""
    # `with jax.enable_x64` acts on one thread only.
    double = jax.config.jax_enable_x64

    def make() -> Any:
        with jax.enable_x64(double):
            return next(items, None)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(make)
            yield item


def is_stream(values: Any) -> bool:
    """Return whether `values` are read when they are sliced: a data set in a file, counts on demand, a memmap."""
    in_memory = isinstance(values, np.ndarray | jax.Array) and not isinstance(values, np.memmap)
    in_memory |= type(values).__module__.split(".")[0] in ("pandas", "scipy")  # tables and sparse matrices
    if in_memory or not all(hasattr(values, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    try:
        return np.dtype(values.dtype).kind != "O"
    except TypeError:  # a tensor of another library
        return False


def read_rows(values: Any, start: int, stop: int) -> np.ndarray:
    """Read rows as a 2-D array in this machine's byte order."""
    try:
        rows = np.asarray(values[start:stop])
    except OSError as error:  # HDF5 does not say that its file is closed
        error.add_note(
            f"Rows {start} to {stop} could not be read from a file. Keep the file open until the call returns."
        )
        raise
    rows = rows if rows.dtype.isnative else rows.astype(rows.dtype.newbyteorder("="))
    return rows[:, None] if rows.ndim == 1 else rows
