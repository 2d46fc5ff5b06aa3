"""Training and test rows of a recording: blocks of time or whole epochs, and no bin that both are made of.

Row t of history features is made of the counts in bins t - 1 to t - W, and its target is bin t. So the W rows after a test
block see its counts, and the first W test rows see those before the block. Both splitters follow one rule: a row that lies
W bins or less from a test row is not trained on. Then no bin at all, as history or as target, is in both. A row more than that
would be wasted, a row less would share a bin.
"""

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from popglm._checks.times import require_interval_set, require_same_n_rows
from popglm._checks.values import as_nonnegative_integer, as_positive_integer
from popglm._design.lazy import LazyFeatures
from popglm._pynapple import as_frame
from popglm.model_selection._checks import (
    require_enough_epochs,
    require_enough_rows,
    require_n_splits,
    require_time_axis,
    require_training_rows,
    require_window,
    require_window_or_none,
)


@dataclass(frozen=True)
class Splitter(ABC):
    """What the splitters share: scikit-learn's protocol, and the rule."""

    n_splits: Any = 5
    _: KW_ONLY
    window: Any = None

    @abstractmethod
    def _folds(self, X, at) -> np.ndarray:
        """The fold that tests each row; -1 for rows that are not used at all."""

    def get_n_splits(self, X=None, y=None, groups=None):
        """Number of folds, for scikit-learn."""
        return self.n_splits

    def split(self, X, y=None, groups=None):
        """Yield the row numbers of training and test, both increasing, of each fold.

        Parameters
        ----------
        X
            Features, shape (time, features): TsdFrame, array, or `LazyFeatures`.
        y
            Activity; its times are used where X has none.
        groups
            Not used; for scikit-learn.

        Yields
        ------
        train, test
            Arrays of row numbers.

        Raises
        ------
        ValueError
            If the window is not known, or if there are too few rows for the folds.
        """
        X, y = as_frame(X), as_frame(y)
        n_rows = np.shape(X.values)[0]
        if y.values is not None:
            require_same_n_rows(n_rows, np.shape(y.values)[0])
        X = X if X.times is not None else X._replace(times=y.times, epochs=y.epochs)
        at, known = _row_positions(X, n_rows)
        window = require_window(known if self.window is None else self.window, type(self).__name__, self._hint)
        fold = self._folds(X, at)
        for k in range(self.n_splits):
            test = fold == k
            train = (fold >= 0) & ~test & (_distance_to_nearest(at, at[test]) > window)
            require_training_rows(train, k, window)
            yield np.flatnonzero(train), np.flatnonzero(test)


@dataclass(frozen=True, kw_only=True)
class BlockSplit(Splitter):
    r"""Contiguous blocks of time; every row is tested once, and rows near a test block are not trained on.

    The rows, in the order of time, are cut into ``n_splits * n_blocks`` blocks of equal length, and block i is tested in fold
    i modulo `n_splits`. Of the other rows, fold k trains on

    .. math:: \{\, t : |t - s| > W \text{ for every test row } s \,\},

    so that W rows are left out on either side of each test block. Those after it have its counts as their history. Those
    before it are the history of the first test rows. Neither a count nor a history is then shared by training and test.

    Parameters
    ----------
    n_splits
        Number of folds.
    window
        W, in bins: from the earliest to the latest bin that a row of X is made of, so the window of the longest basis, plus
        what another basis looks `ahead`. None takes it from lazy features; any other X needs it.
    n_blocks
        Test blocks per fold. With several, spread over the recording, slow drift is much the same in training and test,
        and the score says how well the model predicts within this recording. With 1, each fold predicts a part of
        the recording from the others, drift included. Each block costs 2 W training rows.

    Notes
    -----
    Rows lie apart by their times where X or y is a pynapple object, whatever the epochs: features that were restricted keep the
    history from before an epoch. Lazy features know where their history starts anew, and nothing is left out across such a
    gap. Rows of plain arrays follow each other.

    Raises
    ------
    ValueError
        If a number is not a positive integer (`window`: 0 or above), or `n_splits` is 1.

    References
    ----------
    Burman, Chow and Nolan (1994), *Biometrika* 81:351-358; Roberts et al. (2017), *Ecography* 40:913-929.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.model_selection import BlockSplit
    >>> X = np.zeros((10, 1))
    >>> for train, test in BlockSplit(2, window=2).split(X):
    ...     print(train, test)
    [7 8 9] [0 1 2 3 4]
    [0 1 2] [5 6 7 8 9]
    """

    n_blocks: Any = 1
    _hint = ""

    def __post_init__(self):
        """Check the numbers."""
        require_n_splits(self.n_splits)
        require_window_or_none(self.window)
        as_positive_integer("n_blocks", self.n_blocks)

    def _folds(self, X, at):
        n_blocks = self.n_splits * self.n_blocks
        require_enough_rows(len(at), n_blocks)
        fold = np.empty(len(at), int)
        for i, rows in enumerate(np.array_split(np.argsort(at, kind="stable"), n_blocks)):
            fold[rows] = i % self.n_splits
        return fold


@dataclass(frozen=True, kw_only=True)
class EpochSplit(Splitter):
    """Whole epochs, such as trials: all rows of an epoch are tested in the same fold, and once.

    The epochs that hold rows are dealt out in turn, epoch i to fold i modulo `n_splits`, or after a shuffle. Rows outside all
    epochs are neither trained on nor tested. Rows of other epochs that lie `window` bins or less from a test row
    are not trained on, as for `BlockSplit`.

    Parameters
    ----------
    n_splits
        Number of folds.
    window
        In bins, as for `BlockSplit`. 0 is right where history starts anew in every epoch: features that were computed from
        counts with these epochs. Where history from before an epoch is kept (features that were restricted to the epochs, or
        `epochs` within a continuous recording) it is the window of the basis. None takes what is right from lazy features;
        any other X needs it.
    epochs
        A pynapple IntervalSet; None takes the time support of X, or of y if X has none.
    seed
        A number shuffles the epochs before they are dealt out, where their order has a period of its own, such as conditions
        that alternate. None takes them in turn.

    Raises
    ------
    ValueError
        If a number is not valid, as for `BlockSplit`; in `split`, if rows have no times or lie in fewer epochs than folds.
    TypeError
        If `epochs` is not an IntervalSet.

    References
    ----------
    Roberts et al. (2017), *Ecography* 40:913-929.

    Examples
    --------
    >>> import numpy as np
    >>> import pynapple as nap
    >>> from popglm.model_selection import EpochSplit
    >>> trials = nap.IntervalSet([0, 10, 20], [3, 13, 23])
    >>> y = nap.Tsd([1, 2, 11, 12, 21, 22], np.zeros(6), time_support=trials)
    >>> [test.tolist() for train, test in EpochSplit(3, window=0).split(y, y)]
    [[0, 1], [2, 3], [4, 5]]
    """

    epochs: Any = None
    seed: Any = None
    _hint = ", or window=0 if history starts anew in every epoch"

    def __post_init__(self):
        """Check the numbers."""
        require_n_splits(self.n_splits)
        require_window_or_none(self.window)
        if self.epochs is not None:
            require_interval_set(self.epochs)
        if self.seed is not None:
            as_nonnegative_integer("seed", self.seed)

    def _folds(self, X, at):
        require_time_axis(X.times)
        epochs = X.epochs if self.epochs is None else self.epochs
        epoch = np.searchsorted(epochs.start, X.times, side="right") - 1
        epoch[X.times > epochs.end[epoch]] = -1
        held, number = np.unique(epoch[epoch >= 0], return_inverse=True)
        require_enough_epochs(len(held), self.n_splits)
        turn = np.arange(len(held))
        if self.seed is not None:
            turn = np.random.default_rng(self.seed).permutation(len(held))
        fold = np.full(len(at), -1)
        fold[epoch >= 0] = turn[number] % self.n_splits
        return fold


def _row_positions(X, n_rows):
    """Where each row lies, in bins, and the window if it is known."""
    if isinstance(X.values, LazyFeatures):
        return X.values.reach()
    if X.times is None or n_rows < 2:
        return np.arange(n_rows), None
    times = np.asarray(X.times)
    return np.rint((times - times.min()) / np.median(np.diff(np.sort(times)))).astype(int), None


def _distance_to_nearest(at, others):
    """Distance of each place to the nearest of the others."""
    others = np.sort(others)
    i = np.searchsorted(others, at)
    after, before = others[np.minimum(i, len(others) - 1)], others[np.maximum(i - 1, 0)]
    return np.minimum(np.abs(after - at), np.abs(at - before))
