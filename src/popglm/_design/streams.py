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
    require_open_file(values)
    in_memory = isinstance(values, np.ndarray | jax.Array) and not isinstance(values, np.memmap)
    in_memory |= type(values).__module__.split(".")[0] in ("pandas", "scipy")  # tables and sparse matrices
    if in_memory or not all(hasattr(values, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    try:
        return np.dtype(values.dtype).kind != "O"
    except TypeError:  # a tensor of another library
        return False


def require_open_file(values: Any) -> None:
    """Require that the HDF5 file of a data set is open: h5py's own error does not say that it is closed."""
    if type(values).__module__.split(".")[0] == "h5py" and not values:
        fix = "Open it again, take the data set from it, make features and windows anew, and keep it open until the end"
        raise ValueError(f"the HDF5 file of this data set is closed, so that its rows cannot be read. {fix}.")


def read_rows(values: Any, start: int, stop: int) -> np.ndarray:
    """Read rows as a 2-D array in this machine's byte order."""
    try:
        rows = np.asarray(values[start:stop])
    except (OSError, ValueError) as error:
        require_open_file(values)
        if isinstance(error, OSError):
            error.add_note(f"Rows {start} to {stop} could not be read from a file. Is it there, and readable?")
        raise
    rows = rows if rows.dtype.isnative else rows.astype(rows.dtype.newbyteorder("="))
    return rows[:, None] if rows.ndim == 1 else rows
