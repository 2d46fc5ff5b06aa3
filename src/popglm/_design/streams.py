"""Data that are read when they are sliced, and reading ahead in a thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np


def prefetch(items: Iterator) -> Iterator:
    """The same items, the next one being made in a thread while one is used."""
    precise = jax.config.jax_enable_x64  # which `with jax.enable_x64` sets for one thread

    def make():
        with jax.enable_x64(precise):
            return next(items, None)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(make)
            yield item


def is_stream(values) -> bool:
    """Whether these are rows that are read when they are sliced: a data set in a file, virtual counts, a memmap."""
    in_memory = isinstance(values, np.ndarray | jax.Array) and not isinstance(values, np.memmap)
    in_memory |= type(values).__module__.split(".")[0] in ("pandas", "scipy")  # tables and sparse matrices
    if in_memory or not all(hasattr(values, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    try:
        return np.dtype(values.dtype).kind != "O"
    except TypeError:  # a tensor of another library
        return False


def read_rows(values, start, stop) -> np.ndarray:
    """Some rows, as an array of two dimensions in this machine's byte order."""
    try:
        some = np.asarray(values[start:stop])
    except OSError as error:  # HDF5 does not say that its file is closed
        error.add_note(
            f"Rows {start} to {stop} were to be read from a file. It must be open, and so stay until the end."
        )
        raise
    some = some if some.dtype.isnative else some.astype(some.dtype.newbyteorder("="))
    return some[:, None] if some.ndim == 1 else some
