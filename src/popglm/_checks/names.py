"""Names of data, and the size of their bins: what new data must share with the data of a fit, compared in one place.

Where both have names of columns, these must be the same, in the same order; a plain array has none and is taken by position.
Numbers are names, too. The numbers 0, 1, 2, ..., which pynapple and pandas give to the columns of an array, say nothing beside
words, and are compared with numbers only: they may be the ids of units.
"""

import numbers
from typing import Any, NamedTuple

import numpy as np

from popglm._checks.times import TOLERANCE
from popglm._pynapple import Frame, epoch_starts

N_ROWS_SEEN = 10_000  # that tell the size of a bin

FIT = {
    "features": "The feature names should match those that were passed during fit",
    "neurons": "the names of the neurons in `y` should match those of the fit",
}
BATCHES = {
    "features": "all batches must have the columns of the first in `X`",
    "neurons": "all batches must have the columns of the first in `y`",
}


class Names(NamedTuple):
    """Names of the features and of the neurons, and the size of a bin in seconds; None where there are none."""

    features: Any = None
    neurons: Any = None
    bin_size: float | None = None


NO_NAMES = Names()


def names_of(X: Frame, y: Frame | None = None) -> Names:
    """Names of the columns of X and y, and the size of their bins."""
    bin_size = bin_size_of(X)
    if y is None:
        return Names(X.columns, None, bin_size)
    return Names(X.columns, y.columns, bin_size_of(y) if bin_size is None else bin_size)


def join_names(expected: Names, came: Names, texts: dict[str, str] = FIT) -> Names:
    """Require that new data have the names and the bins that are expected, and return all that is known of both."""
    for part, text in texts.items():
        require_same_names(getattr(expected, part), getattr(came, part), text)
    require_same_bin_size(expected.bin_size, came.bin_size)
    return Names(*map(_better_known, expected, came))


def keep_feature_names(estimator: Any, names: Any) -> None:
    """Keep names of features on an estimator: words in `feature_names_in_`, as scikit-learn does, others beside it."""
    for attribute in ("feature_names_in_", "_feature_ids"):
        estimator.__dict__.pop(attribute, None)
    if names is not None and all(isinstance(name, str) for name in names):
        estimator.feature_names_in_ = np.asarray(names, object)
    elif names is not None:
        estimator._feature_ids = np.asarray(names)


def kept_feature_names(estimator: Any) -> Any:
    """Names of features that were kept on an estimator, or None."""
    return getattr(estimator, "feature_names_in_", getattr(estimator, "_feature_ids", None))


def require_same_names(expected: Any, came: Any, text: str) -> None:
    """Require the expected names of columns, in their order, if both are known; `text` says what must match."""
    if are_same_names(expected, came):
        return
    expected, came = list(expected), list(came)
    if len(expected) != len(came):
        raise ValueError(f"{text}; expected {len(expected)} columns and got {len(came)}. Select columns by name.")
    one, other = next((_plain(a), _plain(b)) for a, b in zip(expected, came, strict=True) if a != b)
    fix = "Select columns by name"
    if _are_numbers(came):
        fix += ", or give a plain array (`.values`), which is taken by position"
    raise ValueError(f"{text}, in the same order; expected {one!r} where {other!r} came. {fix}.")


def are_same_names(expected: Any, came: Any) -> bool:
    """Return whether both are the same names in the same order, or one of them says nothing."""
    if expected is None or came is None:
        return True
    expected, came = list(expected), list(came)
    return expected == came or _differ_in_kind(expected, came) or _differ_in_kind(came, expected)


def require_same_bin_size(
    expected: float | None,
    came: float | None,
    fix: str = "Bin these data as those of the fit, or give plain arrays of selected rows.",
) -> None:
    """Require bins of the expected size, in seconds, if both are known."""
    if expected is None or came is None or abs(came - expected) <= TOLERANCE * expected:
        return
    why = "so that rates per bin and lags in bins would mean something else"
    raise ValueError(f"the bins of the fit are {expected:g} s long and these are {came:g} s, {why}. {fix}")


def bin_size_of(frame: Frame) -> float | None:
    """Size of a bin in seconds: the usual step of the times within epochs. None if there is none, as of selected rows."""
    if frame.bin_size is not None:
        return round(frame.bin_size, 9) if frame.bin_size < np.inf else None
    if frame.times is None or len(frame.times) < 2:
        return None
    times = np.asarray(frame.times[:N_ROWS_SEEN])
    inside = np.setdiff1d(np.arange(1, len(times)), epoch_starts(frame._replace(times=times), len(times)))
    steps = np.diff(times)[inside - 1]
    steps = steps[steps > 0]
    usual = steps[steps <= (1 + TOLERANCE) * steps.min(initial=np.inf)]
    return round(float(np.median(usual)), 9) if 2 * len(usual) > len(steps) else None


def _better_known(one: Any, other: Any) -> Any:
    """The first, unless it is unknown, or numbers that an array was given where the other says more."""
    if one is None or (other is not None and not isinstance(one, float) and _are_counted(list(one))):
        return other
    return one


def _differ_in_kind(counted: list, names: list) -> bool:
    """Return whether one list is 0, 1, 2, ..., as of an array, and the other holds more than numbers."""
    return len(counted) == len(names) and _are_counted(counted) and not _are_numbers(names)


def _plain(name: Any) -> Any:
    """Name without the type that NumPy has for it, for a message."""
    return name.item() if isinstance(name, np.generic) else name


def _are_counted(names: list) -> bool:
    return _are_numbers(names) and names == list(range(len(names)))


def _are_numbers(names: list) -> bool:
    return all(isinstance(name, numbers.Real) for name in names)
