"""Counter of the rows for which a fit by batches computes losses, gradients or curvatures, for `benchmarks/ruler.py`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_COUNTER: ContextVar["RowCounter | None"] = ContextVar("row_counter", default=None)


class RowCounter:
    """Number of rows computed so far; a row computed twice counts twice."""

    def __init__(self) -> None:
        self.n_rows = 0


@contextmanager
def count_rows() -> Iterator[RowCounter]:
    """Count rows inside a block of code: ``with count_rows() as counter``."""
    counter = RowCounter()
    token = _COUNTER.set(counter)
    try:
        yield counter
    finally:
        _COUNTER.reset(token)


def record_rows(y: Any = None, weight: Any = None) -> None:
    """Add the rows of a batch `y`, or those of a block whose `weight` is positive, to the active counter."""
    counter = _COUNTER.get()
    if counter is not None:
        counter.n_rows += len(y) if weight is None else int((np.asarray(weight) > 0).any(1).sum())
