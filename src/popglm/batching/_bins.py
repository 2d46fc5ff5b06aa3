"""Bins of epochs and where their edges lie, without an array of all edges."""

from typing import NamedTuple

import numpy as np

from popglm._checks.times import TOLERANCE

NANOSECOND = 1e-9  # pynapple rounds edges of bins to it
MAX_ROUNDED = 2**53 * NANOSECOND  # later times have no digit for a nanosecond


class Bins(NamedTuple):
    r"""Bins of one size in pieces, each a run of neighbouring bins of one epoch.

    Bin k of an epoch that starts at a begins at :math:`a + k\,\Delta`. If the bin size is a whole number of nanoseconds, this
    is rounded to nanoseconds, as in pynapple. Other bins begin a nanosecond early, so that a time on an edge belongs to the
    later bin, however it was rounded.
    """

    size: float
    rounded: bool
    start: np.ndarray  # of the epoch of each piece
    end: np.ndarray
    skipped: np.ndarray  # bins of the epoch before the piece
    row: np.ndarray  # first row of each piece, and the number of rows

    def edges(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Edges of the bins of the rows from `start` to `stop`: a time t is in one if begin <= t < end."""
        piece, number = self._locate(np.arange(start, stop))
        after_epoch = np.nextafter(self.end[piece], np.inf)  # the end of an epoch belongs to it
        return self._begin(piece, number), np.minimum(self._begin(piece, number + 1), after_epoch)

    def centers(self) -> np.ndarray:
        """Centres of all bins."""
        piece, number = self._locate(np.arange(self.row[-1]))
        return self._sums(piece, number) + self.size / 2

    def _locate(self, rows):
        """Piece of each row, and its number among the bins of the epoch."""
        piece = np.searchsorted(self.row, rows, side="right") - 1
        return piece, rows + (self.skipped - self.row[:-1])[piece]

    def _begin(self, piece, number):
        early = 0 if self.rounded else NANOSECOND
        return self._sums(piece, number) - np.where(number > 0, early, 0)

    def _sums(self, piece, number):
        start = self.start[piece]
        sums = start + number * self.size
        return np.where(number > 0, np.round(sums, 9), start) if self.rounded else sums

    def select(self, rows: np.ndarray) -> "Bins":
        """Bins of some rows, in increasing order."""
        piece, number = self._locate(rows)
        row = np.flatnonzero((np.diff(number, prepend=-1) != 1) | (np.diff(piece, prepend=-1) != 0))
        piece, number = piece[row], number[row]
        row = np.append(row, len(rows))
        return self._replace(start=self.start[piece], end=self.end[piece], skipped=number, row=row)


def make_bins(begin: np.ndarray, end: np.ndarray, size: float) -> Bins:
    """Bins of epochs: those whose centre lies in the epoch, as pynapple makes them."""
    whole = abs(size / NANOSECOND - round(size / NANOSECOND)) < 1e-3
    rounded = bool(whole and np.abs(end).max(initial=0) < MAX_ROUNDED)
    pieces, none = np.arange(len(begin)), np.zeros(len(begin) + 1, int)
    bins = Bins(size, rounded, begin, end, none[:-1], none)
    n_bins = ((end - begin) / size).astype(int)
    n_bins += bins._begin(pieces, n_bins) + size / 2 <= end
    return bins._replace(row=np.append(0, np.cumsum(n_bins)))


def missing_shares(bins: Bins) -> np.ndarray:
    """Share of the last bin of each epoch that lies after its end; 0 for less than the tolerance of clocks."""
    missing = np.diff(bins.row) - (bins.end - bins.start) / bins.size
    return np.where(missing > TOLERANCE, missing, 0)


def drop_partial(bins: Bins) -> Bins:
    """Bins without those that the end of an epoch cuts."""
    n_bins = np.diff(bins.row) - (missing_shares(bins) > 0)
    return bins._replace(row=np.append(0, np.cumsum(n_bins)))
