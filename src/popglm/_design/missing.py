"""Missing values of features: the rows that count for each neuron, and the values that stand for NaN in sums.

A row counts for a neuron if all features that it uses are known. Elsewhere the means of the features stand for NaN, so that a
constant feature stays constant, and collinear features that are missing together stay collinear.
"""

from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from popglm._checks.arrays import split_for_cache
from popglm._design.centering import column_mean_sd, pooled_mean_sd
from popglm._design.streams import is_stream
from popglm.parallel._share import agree


class Uses:
    """Features that each neuron uses, some of which it does not, as groups of features that are known together.

    `groups` holds, for each source of features, the group of each feature, -1 for features of other sources.
    """

    def __init__(self, mask: Bool[np.ndarray, "neurons features"], groups: list[Int[np.ndarray, " features"]]) -> None:
        self.n_columns = len(mask)
        self._used = [_used_groups(mask, numbers).astype(np.float32) for numbers in groups]

    def rows(self, known: list[np.ndarray]) -> Bool[np.ndarray, "rows neurons"]:
        """Mark the rows in which all features that a neuron uses are known."""
        counted = np.ones((len(known[0]), self.n_columns), bool)
        for groups, used in zip(known, self._used, strict=True):
            used = used if groups.shape[1] == len(used) else used.max(0, keepdims=True)
            counted &= (~groups).astype(np.float32) @ used == 0
        return counted


class EachFeature:
    """Every feature by itself, as `Uses` of as many neurons, each of one feature."""

    def __init__(self, groups: list[Int[np.ndarray, " features"]]) -> None:
        self.n_columns, self._groups = len(groups[0]), groups

    def rows(self, known: list[np.ndarray]) -> Bool[np.ndarray, "rows features"]:
        """Mark the rows in which each feature is known."""
        counted = np.ones((len(known[0]), self.n_columns), bool)
        for groups, numbers in zip(known, self._groups, strict=True):
            inside = numbers >= 0
            counted[:, inside] &= groups[:, numbers[inside] if groups.shape[1] > 1 else [0]]
        return counted


def _used_groups(mask: np.ndarray, numbers: np.ndarray) -> Bool[np.ndarray, "groups neurons"]:
    used, inside = np.zeros((numbers.max(initial=0) + 1, len(mask)), bool), numbers >= 0
    np.logical_or.at(used, numbers[inside], mask.T[inside])
    return used


def as_uses(mask: Any, groups: list[Int[np.ndarray, " features"]]) -> Uses | None:
    """Return which features each neuron uses by a mask (neurons, features); None if each uses all."""
    return None if mask is None or np.all(mask) else Uses(np.asarray(mask) > 0, groups)


def counted_rows(
    known: list[np.ndarray], asked: Bool[np.ndarray, " time"], uses: Uses | EachFeature | None
) -> Bool[np.ndarray, " time #neurons"]:
    """Mark the rows that were asked for and count, for each neuron if they differ, else for all in one column."""
    complete = reduce(np.logical_and, (groups.all(1) for groups in known))
    some = np.flatnonzero(asked & ~complete)
    if uses is None or not len(some):
        return (asked & complete)[:, None]
    partly = uses.rows([groups[some] for groups in known])
    counted = (asked & complete)[:, None]
    if (partly != partly[:, :1]).any():
        counted = np.repeat(counted, uses.n_columns, 1)
    counted[some] = partly[:, : counted.shape[1]]
    return counted


def column_fill(values: Any) -> Float[np.ndarray, " columns"]:
    """Means of columns without their NaN; 0 for all if none is missing. Of a stream, those of a sample of rows."""
    if is_stream(values):
        return column_mean_sd(values)[0]
    values = np.asarray(values).reshape(len(values), -1)
    if values.dtype.kind != "f" or not any(np.isnan(part).any() for part in split_for_cache(values)):
        return np.zeros(values.shape[1])
    return pooled_mean_sd(split_for_cache(values), column_mean_sd(values)[0])[0]


def agree_on_fill(fill: Any) -> Any:
    """Values that all processes put in for NaN: those of the first that has any."""
    fill = agree(fill if np.any(fill) else None, "fills in missing values")
    return 0.0 if fill is None else fill


def fill_missing(out: np.ndarray, complete: np.ndarray, known: np.ndarray, fill: Any, center: Any) -> None:
    """Write `fill`, less the center, where entries of `out` are not known."""
    rows = np.flatnonzero(~complete.ravel())
    if len(rows):
        out[rows] = np.where(known[rows], out[rows], fill if center is None else fill - center)
