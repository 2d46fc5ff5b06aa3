"""Mean and standard deviation of columns, the center of columns that lie far from 0, and y without it and its offset."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from popglm._checks.arrays import require_small_offset, split_for_cache
from popglm._design.streams import is_stream, read_rows
from popglm.parallel._share import agree

# Columns whose mean is more standard deviations from 0 are centred; all others keep their numbers.
MIN_OFFSET = 10
CENTERS = "centers features"  # what a process is at


def column_center(values: Any) -> np.ndarray | None:
    """Return the means of columns too far from 0 for float32 to keep their variation (0 for others); None if no such column."""
    mean, sd = column_mean_sd(values)
    require_small_offset(mean, sd)
    far = (np.abs(mean) > MIN_OFFSET * sd) & (sd > 0)
    return agree(np.where(far, mean, 0) if far.any() else None, CENTERS)


class ReducedStream:
    """Two-dimensional y minus the center of each column, or an offset of each row, when it is sliced."""

    def __init__(self, values: Any, center: np.ndarray | float = 0.0, offset: Any = None) -> None:
        self.values, self.center, self.shape, self.dtype = values, center, values.shape, np.dtype(float)
        self.offset = offset

    @property
    def made_of(self) -> tuple[Any, ...]:
        """Arrays that this reads from."""
        return (self.values,) if self.offset is None else (self.values, self.offset)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        values = read_rows(self.values, rows.start, rows.stop) - np.asarray(self.center, float)
        return values if self.offset is None else values - read_rows(self.offset, rows.start, rows.stop)


def center_y(y: Any, model: Any, offset: Any = None) -> tuple[Any, np.ndarray, Any]:
    """Subtract from y its offset and the means of neurons far from 0, in double precision, if the model allows it.

    Return also these means, and the offset that is left: None where it was subtracted.
    """
    center = np.zeros(y.shape[1])
    if not model.location_family:
        return y, center, offset
    if offset is not None:
        streamed = is_stream(y) or is_stream(offset)
        y = ReducedStream(y, offset=offset) if streamed else np.subtract(y, offset, dtype=float)
    mean, sd = column_mean_sd(y)
    center = agree(np.where((np.abs(mean) > MIN_OFFSET * sd) & (sd > 0), mean, 0), "centers y")
    if not center.any():
        return y, center, None
    return ReducedStream(y, center) if is_stream(y) else y - center, center, None


def shift_intercept(intercept: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Add to each intercept what the data were shifted by; it stays in double precision, unless nothing was shifted."""
    return intercept + shift if np.any(shift) else intercept


def column_mean_sd(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, from a sample of rows unless it shows a column far from 0."""
    n_rows = values.shape[0]
    sample = np.concatenate([read_rows(values, start, start + 20) for start in range(0, n_rows, max(n_rows // 50, 20))])
    mean, sd = pooled_mean_sd([sample], pooled_mean_sd([sample], 0)[0])
    if (np.abs(mean) > MIN_OFFSET * sd).any() and not is_stream(values):
        mean, sd = pooled_mean_sd(split_for_cache(values), mean)
    return mean, sd


def pooled_mean_sd(parts: Iterable[np.ndarray], shift: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column without its NaN; `shift`, near the mean, keeps the digits of the variance."""
    n, first, second = 0, 0.0, 0.0
    for part in parts:
        off = np.asarray(part, float) - shift
        valid = ~np.isnan(off)
        off = np.where(valid, off, 0)
        n, first, second = n + valid.sum(0), first + off.sum(0), second + (off**2).sum(0)
    n = np.maximum(n, 1)
    mean = shift + first / n
    sd = np.sqrt(np.maximum(second / n - (first / n) ** 2, 0))
    # A constant column leaves round-off.
    return mean, np.where(sd > 1e-12 * np.abs(mean), sd, 0)
