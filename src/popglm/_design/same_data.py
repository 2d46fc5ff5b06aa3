"""Comparison of the data that the processes of a job have: of one recording, or rows of their own of the same columns."""

import zlib
from typing import Any

import numpy as np

from popglm._design.streams import is_stream, read_rows
from popglm.parallel._share import SAME_SCRIPT, SHARE, ProcessError, gather

N_PLACES, N_ROWS = 8, 20  # places of a recording that all processes look at, and rows at each


def require_same_data(X: Any, y: Any, weight: Any, offset: Any) -> None:
    """Require the same columns in all processes, and of shared rows the same number, type, and values at a few places."""
    share = SHARE.get()
    if share.rows is None:
        return
    mine = {
        "number of features": X.values.shape[1],
        "number of neurons": y.values.shape[1],
        "names of features": _as_list(X.columns),
        "names of neurons": _as_list(y.columns),
        "sample_weight given": weight is not None,
        "offset given": offset is not None,
    }
    if share.rows == "shared":
        mine["number of rows"] = X.values.shape[0]
        parts = (X.values, y.values, weight, offset)
        mine["checksum of some rows"] = [_rows_checksum(part) for part in parts if part is not None]
    every = gather(mine, "compares data")
    for rank, other in enumerate(every):
        for name, value in every[0].items():
            if other[name] != value:
                came = f"{name}: {value} in process 0 and {other[name]} in process {rank}"
                raise ProcessError(f"the processes have other data; {came}. {SAME_SCRIPT}")


def _as_list(columns: Any) -> list[str] | None:
    return None if columns is None else [str(column) for column in columns]


def _rows_checksum(values: Any) -> str:
    """Checksum of the type and some rows of an array, or of the arrays that it is made of."""
    if hasattr(values, "made_of"):
        return " ".join(_rows_checksum(part) for part in values.made_of)
    values = values if is_stream(values) else np.asarray(values)
    last = max(values.shape[0] - N_ROWS, 0)
    checksum = zlib.crc32(f"{values.dtype} {tuple(values.shape)}".encode())
    for start in np.unique(np.linspace(0, last, N_PLACES).astype(int)).tolist():
        checksum = zlib.crc32(np.ascontiguousarray(read_rows(values, start, start + N_ROWS)), checksum)  # type: ignore[arg-type]
    return f"{checksum:08x}"
