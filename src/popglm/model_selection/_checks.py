"""Checks of splits into training and test data."""

import numpy as np

from popglm._checks.values import as_nonnegative_integer, as_positive_integer


def require_n_splits(value):
    """Two folds at least."""
    if as_positive_integer("n_splits", value) < 2:
        raise ValueError("`n_splits` must be at least 2, so that every fold leaves something to train on; got 1.")


def require_window_or_none(value):
    """A number of bins, or None."""
    if value is not None:
        as_nonnegative_integer("window", value)


def require_window(value, name, hint):
    """A window, from the user or from lazy features."""
    if value is None:
        raise ValueError(
            f"{name} needs `window`, the bins of the past that a row of X sees, since X is not lazy and cannot say. "
            f"Write {name}(window=basis.window_size){hint}."
        )
    return int(value)


def require_enough_rows(n_rows, n_blocks):
    """A row for every block."""
    if n_rows < n_blocks:
        raise ValueError(
            f"n_splits x n_blocks = {n_blocks} blocks need as many rows; got {n_rows}. Use fewer of one, or of both."
        )


def require_enough_epochs(n_epochs, n_folds):
    """An epoch for every fold."""
    if n_epochs < n_folds:
        raise ValueError(
            f"`n_splits` is {n_folds}, but rows lie in {n_epochs} epoch(s) only. Use fewer splits, or BlockSplit, which "
            "cuts epochs."
        )


def require_time_axis(times):
    """Times of the rows, to find their epochs."""
    if times is None:
        raise ValueError(
            "EpochSplit needs the times of the rows: give X or y as a pynapple object, or as lazy features of one. For plain "
            "arrays number the trials, and use GroupKFold of scikit-learn with `groups`."
        )


def require_training_rows(train, fold, window):
    """Rows that are left to train on."""
    if not np.any(train):
        raise ValueError(
            f"fold {fold} leaves no row to train on: all lie within the window of {window} bins of a test row. Use fewer "
            "and longer blocks, or a shorter window."
        )


def as_train_test_pairs(splits, n_rows):
    """Yield pairs of row numbers of training and test."""
    if isinstance(splits, str) or not hasattr(splits, "__iter__"):
        raise TypeError(
            f"`splits` must be a splitter such as BlockSplit, a number of folds, or pairs (train, test); got {splits!r}."
        )
    splits = list(splits)
    if len(splits) < 2:
        raise ValueError(f"`splits` must be two folds at least, or there is no standard error; got {len(splits)}.")
    for fold, pair in enumerate(splits):
        train, test = (np.asarray(rows) for rows in pair) if len(pair) == 2 else (np.zeros(0), np.zeros(0))
        for rows in (train, test):
            if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows) or rows.min() < 0 or rows.max() >= n_rows:
                raise ValueError(
                    f"fold {fold} of `splits` must be two arrays (train, test) of row numbers from 0 to {n_rows - 1}, not "
                    f"empty; got one of dtype {rows.dtype} and shape {rows.shape}."
                )
        yield train, test
