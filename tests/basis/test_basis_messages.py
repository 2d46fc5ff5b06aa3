"""Messages of bases: their settings, their inputs, and the features that they split."""

import numpy as np
import pynapple as nap
import pytest
from messages import assert_refused, count, frame, kernel, put

from popglm.basis import RaisedCosineLogConv

REFUSED = {
    "window 0": (lambda s: kernel(5, 0), ValueError, "`window_size` must be a positive integer number of bins; got 0"),
    "window in seconds": (lambda s: kernel(5, 0.2), ValueError, "got 0.2. If this is seconds, divide by the bin size"),
    "window negative": (lambda s: kernel(5, -3), ValueError, "`window_size` must be a positive integer"),
    "window a string": (lambda s: kernel(5, "40"), ValueError, "`window_size` must be .*got '40'"),
    "window NaN": (lambda s: kernel(5, np.nan), ValueError, "`window_size` must be .*got nan"),
    "window more than the data": (
        lambda s: count(np.ones(10)), ValueError, "epoch must be longer than the window of 10 bins.*longest has 10"
    ),
    "no functions": (lambda s: kernel(0, 40), ValueError, "`n_basis_funcs` must be a positive integer; got 0"),
    "half a function": (lambda s: kernel(2.5, 40), ValueError, "`n_basis_funcs` must be a positive integer; got 2.5"),
    "one function that does not decay": (
        lambda s: kernel(1, 40, enforce_decay_to_zero=False), ValueError, "`n_basis_funcs` must be at least 2"
    ),
    "width 1": (lambda s: kernel(5, 40, width=1.0), ValueError, "`width` must be a finite number above 1; got 1"),
    "width 1.7": (lambda s: kernel(5, 40, width=1.7), ValueError, "`width` must be a multiple of 0.5.*got 1.7"),
    "time scaling 0": (lambda s: kernel(5, 40, time_scaling=0), ValueError, "`time_scaling` must be .*above 0; got 0"),
    "features of spike times": (lambda s: count(s.units), TypeError, r"holds spike times.*\.count\(bin_size\)"),
    "features of strings": (lambda s: count(s.y.astype(str)), TypeError, "`inputs` must hold real numbers"),
    "features of complex": (lambda s: count(s.y * 1j), TypeError, "`inputs` must hold real numbers"),
    "features of infinity": (lambda s: count(put(s.y, 4, np.inf)), ValueError, "`inputs` must be finite; row 4"),
    "features of too large numbers": (lambda s: count(s.y + 1e39), ValueError, "`inputs` .*too large for float32"),
    "features of 3-D": (lambda s: count(s.y[None]), ValueError, "`inputs` must be 1-D or 2-D"),
    "features of nothing": (lambda s: count(np.ones((0, 2))), ValueError, "`inputs` must not be empty"),
    "split of other features": (lambda s: s.basis.split_by_feature(s.X[:, :3]), ValueError, "axis 1 must hold.*got 3"),
    "split along no axis": (lambda s: s.basis.split_by_feature(s.X, axis=2), ValueError, "`axis` must be an axis"),
    "decay as a word": (
        lambda s: kernel(5, 40, enforce_decay_to_zero="no"), TypeError, "`enforce_decay_to_zero` must be True or False"
    ),
    "a window that no memory holds": (
        lambda s: RaisedCosineLogConv(3, 10**9).compute_features(s.y), ValueError, "longer than the window of 1000000000"
    ),
    "times that stand still": (
        lambda s: count(nap.TsdFrame(t=np.repeat(np.arange(30), 2) * 0.1, d=s.y[:60])), ValueError, "times must increase"
    ),
    "split of chosen columns": (
        lambda s: RaisedCosineLogConv(2, 10).split_by_feature(count(frame(s.y))[:, [0, 2, 1, 3]]), ValueError, "whole blocks"
    ),
    "split by another basis": (
        lambda s: RaisedCosineLogConv(3, 10).split_by_feature(count(frame(s.y))), ValueError, "whole blocks of 3"
    ),
    "a basis plus a number": (lambda s: s.basis + 3, TypeError, "a basis can be added to a basis only; got 3"),
    "a basis with two inputs": (lambda s: s.basis.lazy_features(s.y, s.y), ValueError, "this basis needs 1 input; got 2"),
    "a sum with one input": (lambda s: (s.basis + s.basis).lazy_features(s.y), ValueError, "2 bases needs as many inputs"),
    "a sum of other times": (
        lambda s: (s.basis + s.basis).lazy_features(frame(s.y), frame(s.y, 1.0)), ValueError, "input 0 and input 1 must share"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_was_expected_what_came_and_the_fix(s, name):
    assert_refused(s, *REFUSED[name])
