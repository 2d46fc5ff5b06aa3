"""Rows that are left out because an input is missing are counted once, and said where they are many."""

import numpy as np
import pynapple as nap
import pytest
from samples import Rows, framed

from popglm.basis import BSplineEval, RaisedCosineLogConv
from popglm.glm import GLM

N, RIDGE = 1000, {"regularizer": "Ridge", "regularizer_strength": 0.01}
BASIS = RaisedCosineLogConv(3, window_size=40, label="speed") + BSplineEval(5, bounds=(0, 1), label="place")


def tracking(share):
    """Speed, a place that is missing in a share of the bins, and counts."""
    rng = np.random.default_rng(0)
    place = rng.random(N)
    place[200 : 200 + int(share * N)] = np.nan
    return rng.normal(size=N), place, rng.poisson(1.0, N)


def on_times(*values):
    return [nap.Tsd(np.arange(N) * 0.01 + 0.005, value) for value in values]


WAYS = {  # the features and activity, and what the message names
    "lazy": (lambda *v: (BASIS.lazy_features(*v[:2]), v[2]), "Most often input place"),
    "lazy, with times": (
        lambda *v: (BASIS.lazy_features(*on_times(*v[:2])), *on_times(v[2])),
        "Most often input place",
    ),
    "built": (lambda *v: (BASIS.compute_features(*v[:2]), v[2]), "are left out"),
    "a matrix": (lambda *v: (np.c_[v[:2]], v[2]), "Most often feature 1"),
    "a table": (
        lambda *v: (nap.TsdFrame(t=on_times(v[0])[0].t, d=np.c_[v[:2]], columns=["speed", "place"]), *on_times(v[2])),
        "Most often feature place",
    ),
    "streamed": (lambda *v: (Rows(np.c_[v[:2]]), v[2]), "are left out"),
}


@pytest.mark.parametrize("way", WAYS)
def test_many_lost_rows_are_said_and_few_are_not(way):
    make, named = WAYS[way]
    with pytest.warns(RuntimeWarning, match=rf"30% of the bins, 300 of 1,000, .*{named}.*fill its gaps"):
        GLM(**RIDGE).fit(*make(*tracking(0.3)))
    GLM(**RIDGE).fit(*make(*tracking(0.05)))  # warnings are errors
    speed, place, y = tracking(0.3)
    GLM(**RIDGE).fit(*make(speed, np.nan_to_num(place, nan=0.5), y))  # a fix of the message


def test_a_path_says_it_too():
    speed, place, y = tracking(0.3)
    with pytest.warns(RuntimeWarning, match="30% of the bins"):
        GLM(**RIDGE).fit_path(np.c_[speed, place], y, [0.1])


def test_an_input_that_is_not_read_for_it_is_not_named():
    """A single one in a file: it was said to be missing in 0.0 % of the bins."""
    place = BSplineEval(5, bounds=(0, 1)).lazy_features(Rows(tracking(0.3)[1]))
    with pytest.warns(RuntimeWarning, match=r"holds it\. Look at numpy\.isnan"):
        GLM(**RIDGE).fit(place, tracking(0.3)[2])


def test_what_windows_explain_is_no_loss():
    """Short trials lose most of their rows to the window: in every one the same, at its start."""
    counts = framed(np.random.default_rng(0).poisson(0.5, (500, 1)), [50] * 10)
    basis = RaisedCosineLogConv(3, window_size=40)
    for X in (basis.lazy_features(counts), basis.compute_features(counts)):
        GLM(**RIDGE).fit(X, counts[:, 0])
    assert "100 complete row(s), 400 without" in repr(basis.lazy_features(counts))
