"""A recording in parts: counts that are made of spike times when they are sliced, and windows for a fit by batches."""

from popglm._public import export
from popglm.batching._lazy_counts import LazyCounts, count_lazily
from popglm.batching._windows import Windows, random_windows, sequential_blocks

__all__ = ["LazyCounts", "Windows", "count_lazily", "random_windows", "sequential_blocks"]
export(__name__, globals())


def __dir__():
    return __all__
