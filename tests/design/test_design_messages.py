"""Messages of lazy features."""

import numpy as np
import pynapple as nap
import pytest
from messages import assert_refused, fit, frame, lazy

REFUSED = {
    "lazy rows twice": (lambda s: lazy(s)[[1, 1]], ValueError, "rows were asked for twice"),
    "lazy rows out of range": (lambda s: lazy(s)[[600]], IndexError, "row 600 of 600 rows"),
    "lazy rows by words": (lambda s: lazy(s)["a"], IndexError, "slice, whole numbers or a mask"),
    "lazy mask of another length": (lambda s: lazy(s)[np.ones(5, bool)], IndexError, "a mask of length 600"),
    "lazy with three axes": (lambda s: lazy(s)[:, :, None], IndexError, "two axes, time and features"),
    "lazy without rows": (lambda s: fit(lazy(s)[:0], s.y[:0]), ValueError, "`X` must not be empty"),
    "lazy without times": (lambda s: lazy(s).restrict(nap.IntervalSet(0, 1)), ValueError, "features with a time axis"),
    "lazy restricted by numbers": (
        lambda s: s.basis.lazy_features(frame(s.y)).restrict([0, 1]), TypeError, "must be a pynapple IntervalSet"
    ),
    "lazy of other lengths": (lambda s: fit(lazy(s), s.y[:-1]), ValueError, "same number of rows; got 600 and 599"),
    "lazy, shifted": (
        lambda s: fit(s.basis.lazy_features(frame(s.y)), frame(s.y, 1.0)), ValueError, "share their times"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_was_expected_what_came_and_the_fix(s, name):
    assert_refused(s, *REFUSED[name])
