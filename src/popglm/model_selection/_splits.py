"""Training and test rows of a recording, by blocks of time or whole epochs, that share no bin.

Row t of history features is computed from the counts in bins t - 1 to t - W, and its target is bin t. So the W rows after a
test block see its counts, and the first W test rows see the counts before the block. Both splitters follow one rule: training
leaves out rows that lie W bins or less from a test row. Then no bin, as history or as target, is in both sets. A wider margin
would waste rows, a narrower one would share a bin.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from popglm._checks.times import require_interval_set, require_same_n_rows
from popglm._checks.values import as_nonnegative_integer, as_positive_integer
from popglm._design.lazy import LazyFeatures
from popglm._pynapple import as_frame
from popglm._types import Counts, Features


@dataclass(frozen=True)
class Splitter(ABC):
    """Base of the splitters: scikit-learn's protocol, and the rule that training and test rows share no bin."""

    n_splits: Any = 5
    _: KW_ONLY
    window: Any = None

    def __post_init__(self) -> None:
        """Check the settings that all splitters have."""
        if as_positive_integer("n_splits", self.n_splits) < 2:
            raise ValueError("`n_splits` must be at least 2, so that every fold leaves something to train on; got 1.")
        if self.window is not None:
            as_nonnegative_integer("window", self.window)

    @abstractmethod
    def _folds(self, X, positions) -> np.ndarray:
        """Number of the fold that tests each row; -1 for rows that are not used at all."""

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of folds, for scikit-learn."""
        return self.n_splits

    def split(
        self, X: Features, y: Counts | None = None, groups: Any = None
    ) -> Iterator[tuple[Int[np.ndarray, " _train"], Int[np.ndarray, " _test"]]]:
        """Yield the row numbers of training and test of each fold, both increasing.

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
            If neither `window` nor lazy features give the window, or if there are too few rows for the folds.
        """
        X, y = as_frame(X), as_frame(y)
        n_rows = np.shape(X.values)[0]
        if y.values is not None:
            require_same_n_rows(n_rows, np.shape(y.values)[0])
        X = X if X.times is not None else X._replace(times=y.times, epochs=y.epochs)
        positions, window = _row_positions(X, n_rows)
        window = window if self.window is None else self.window
        if window is None:
            name = type(self).__name__
            raise ValueError(
                f"{name} needs `window`, the bins of the past that a row of X sees, since X is not lazy and cannot say. "
                f"Write {name}(window=basis.window_size){self._hint}."  # type: ignore[attr-defined]
            )
        fold = self._folds(X, positions)
        for k in range(self.n_splits):
            test = fold == k
            train = (fold >= 0) & ~test & (_distance_to_nearest(positions, positions[test]) > window)
            if not train.any():
                fix = "Use fewer and longer blocks, or a shorter window."
                why = f"all lie within the window of {window} bins of a test row"
                raise ValueError(f"fold {k} leaves no row to train on: {why}. {fix}")
            yield np.flatnonzero(train), np.flatnonzero(test)


@dataclass(frozen=True, kw_only=True)
class BlockSplit(Splitter):
    r"""Split into contiguous blocks of time; every row is tested once, and training leaves out rows near a test block.

    The rows, in the order of time, are cut into ``n_splits * n_blocks`` blocks of equal length, and fold i modulo `n_splits`
    tests block i. Fold k trains on the rows

    .. math:: \{\, t : |t - s| > W \text{ for every test row } s \,\},

    so that W rows are left out on either side of each test block: the counts of the block are the history of the rows after
    it, and the rows before it are the history of its first rows. Training and test then share neither a count nor a history.

    Parameters
    ----------
    n_splits
        Number of folds.
    window
        W, in bins: from the earliest to the latest bin that a row of X is computed from, so the window of the longest basis,
        plus the bins that another basis looks `ahead`. None takes it from lazy features; any other X needs it.
    n_blocks
        Test blocks per fold. With several, spread over the recording, slow drift is nearly the same in training and test,
        and the score says how well the model predicts within this recording. With 1, each fold predicts a part of
        the recording from the others, drift included. Each block costs 2 W training rows.

    Notes
    -----
    Where X or y is a pynapple object, times give the distance of rows, whatever the epochs: restricted features keep the
    history from before an epoch. Lazy features know where their history starts anew, and no row is left out across such a
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

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        as_positive_integer("n_blocks", self.n_blocks)

    def _folds(self, X, positions):
        n_blocks = self.n_splits * self.n_blocks
        if len(positions) < n_blocks:
            came = f"n_splits x n_blocks = {n_blocks} blocks need as many rows; got {len(positions)}"
            raise ValueError(f"{came}. Use fewer of one, or of both.")
        fold = np.empty(len(positions), int)
        for i, rows in enumerate(np.array_split(np.argsort(positions, kind="stable"), n_blocks)):
            fold[rows] = i % self.n_splits
        return fold


@dataclass(frozen=True, kw_only=True)
class EpochSplit(Splitter):
    """Split into whole epochs, such as trials: one fold tests all rows of an epoch, and once.

    The epochs that hold rows are assigned to the folds in turn, epoch i to fold i modulo `n_splits`, or after a shuffle. Rows
    outside all epochs are not used. Training leaves out rows that lie `window` bins or less from a test row, as for
    `BlockSplit`.

    Parameters
    ----------
    n_splits
        Number of folds.
    window
        In bins, as for `BlockSplit`. 0 is right where history starts anew in every epoch, as in features computed from counts
        with these epochs. Where history from before an epoch is kept (features restricted to the epochs, or `epochs` within a
        continuous recording) it is the window of the basis. None takes the right one from lazy features; any other X needs
        it.
    epochs
        A pynapple IntervalSet; None takes the time support of X, or of y if X has none.
    seed
        A number shuffles the epochs before they are assigned: for an order with a period of its own, such as conditions that
        alternate. None takes them in turn.

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

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.epochs is not None:
            require_interval_set(self.epochs)
        if self.seed is not None:
            as_nonnegative_integer("seed", self.seed)

    def __repr__(self) -> str:
        """Constructor call, with the number of epochs in place of their times."""
        epochs = None if self.epochs is None else f"<{len(self.epochs)} epochs>"
        return f"EpochSplit(n_splits={self.n_splits}, window={self.window}, epochs={epochs}, seed={self.seed})"

    def _folds(self, X, positions):
        if X.times is None:
            raise ValueError(
                "EpochSplit needs the times of the rows: give X or y as a pynapple object, or as lazy features of one. For "
                "plain arrays number the trials, and use GroupKFold of scikit-learn with `groups`."
            )
        epochs = X.epochs if self.epochs is None else self.epochs
        epoch = np.searchsorted(epochs.start, X.times, side="right") - 1
        epoch[X.times > epochs.end[epoch]] = -1
        labels, number = np.unique(epoch[epoch >= 0], return_inverse=True)
        if len(labels) < self.n_splits:
            came = f"`n_splits` is {self.n_splits}, but rows lie in {len(labels)} epoch(s) only"
            raise ValueError(f"{came}. Use fewer splits, or BlockSplit, which cuts epochs.")
        turn = np.arange(len(labels))
        if self.seed is not None:
            turn = np.random.default_rng(self.seed).permutation(len(labels))
        fold = np.full(len(positions), -1)
        fold[epoch >= 0] = turn[number] % self.n_splits
        return fold


def _row_positions(X, n_rows):
    """Position of each row, in bins; and the window, None unless X is lazy."""
    if isinstance(X.values, LazyFeatures):
        return X.values.reach()
    if X.times is None or n_rows < 2:
        return np.arange(n_rows), None
    times = np.asarray(X.times)
    return np.rint((times - times.min()) / np.median(np.diff(np.sort(times)))).astype(int), None


def _distance_to_nearest(positions, targets):
    """Distance of each position to the nearest target."""
    targets = np.sort(targets)
    i = np.searchsorted(targets, positions)
    after, before = targets[np.minimum(i, len(targets) - 1)], targets[np.maximum(i - 1, 0)]
    return np.minimum(np.abs(after - positions), np.abs(positions - before))
