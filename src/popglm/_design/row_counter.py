"""Counts the rows that a fit by batches computes losses, gradients or curvatures of; `benchmarks/ruler.py` asks for it."""

from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_COUNTER = ContextVar("row_counter", default=None)


class RowCounter:
    """Number of rows computed so far; a row that is computed twice counts twice."""

    def __init__(self):
        self.n_rows = 0


@contextmanager
def count_rows():
    """Count rows in this context: ``with count_rows() as counter``."""
    counter = RowCounter()
    token = _COUNTER.set(counter)
    try:
        yield counter
    finally:
        _COUNTER.reset(token)


def record_rows(y=None, weight=None):
    """Count the rows of a batch `y`, or those of a block whose `weight` is above 0."""
    counter = _COUNTER.get()
    if counter is not None:
        counter.n_rows += len(y) if weight is None else int((np.asarray(weight) > 0).any(1).sum())
