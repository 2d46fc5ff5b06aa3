"""Mean and standard deviation of columns, and the center of columns that lie far from 0."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from popglm._checks.arrays import require_small_offset, split_for_cache
from popglm._design.streams import is_stream, read_rows


def column_center(values: Any) -> np.ndarray | None:
    """Return the means of columns too far from 0 for float32 to keep their variation (0 for others); None if no such column."""
    mean, sd = column_mean_sd(values)
    require_small_offset(mean, sd)
    far = (np.abs(mean) > 10 * sd) & (sd > 0)
    return np.where(far, mean, 0) if far.any() else None


def column_mean_sd(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, from a sample of rows unless it shows a column far from 0."""
    n_rows = values.shape[0]
    sample = np.concatenate([read_rows(values, start, start + 20) for start in range(0, n_rows, max(n_rows // 50, 20))])
    mean, sd = pooled_mean_sd([sample], pooled_mean_sd([sample], 0)[0])
    if (np.abs(mean) > 10 * sd).any() and not is_stream(values):
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
