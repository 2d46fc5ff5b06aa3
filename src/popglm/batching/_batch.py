"""One batch: X and y with the weights and offsets of their rows, as arrays in memory."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from popglm._design.arrays import rows_with_nan
from popglm._design.design import Design, MatrixRows


class Batch(NamedTuple):
    """Rows that one step takes in. Weights and offsets have one column for all neurons, or one for each; None if not given."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None
    offset: np.ndarray | None = None

    def design(self) -> Design:
        """Rows cut into chunks of blocks, for sums over them."""
        return Design(MatrixRows(self.X), self.y, self.weight, self.offset)

    def map(self, f: Callable) -> "Batch":
        """Apply a function to all parts that are given."""
        return Batch(*(None if part is None else f(part) for part in self))

    @property
    def columns(self) -> tuple[int, int]:
        """Columns of the weight and of the offset; 0 if not given."""
        count = lambda part: 0 if part is None else part.shape[1]
        return count(self.weight), count(self.offset)

    def select_counted(self) -> "Batch":
        """Select the rows with all features that count for any neuron; y becomes NaN where a row does not count."""
        if self.columns == (0, 0):
            complete = ~rows_with_nan(self.X)
            return self.map(lambda part: part[complete])
        counted = ~np.isnan(self.y)
        counted = counted if self.weight is None else counted & (self.weight > 0)
        counted = counted if self.offset is None else counted & ~np.isnan(self.offset)
        rows = ~rows_with_nan(self.X) & counted.any(1)
        y = np.where(counted, self.y, np.nan)[rows]
        return self.map(lambda part: np.nan_to_num(part[rows]))._replace(y=y)
