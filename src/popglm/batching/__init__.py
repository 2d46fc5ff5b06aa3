"""Recordings in parts: counts that are binned when they are sliced, windows of a recording, and the fit by batches.

The fit is a loop over checked batches (`_run`, `_batches`) in which a stepper takes in one batch after another: the default
solver (`_default_solver`) or one of the user (`_user_solver`).
"""

from popglm._public import export
from popglm.batching._lazy_counts import LazyCounts, count_lazily
from popglm.batching._windows import Windows, random_windows, sequential_blocks

__all__ = ["LazyCounts", "Windows", "count_lazily", "random_windows", "sequential_blocks"]
export(__name__, globals())


def __dir__():
    return __all__
