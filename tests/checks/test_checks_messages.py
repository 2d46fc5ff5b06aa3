"""Messages of the shared checks: what X and y hold, and their times."""

from datetime import datetime

import jax
import numpy as np
import pytest
from messages import N_BINS, assert_refused, fit, frame, put
from scipy import sparse

from popglm.glm import GLM

REFUSED = {
    # What X and y hold
    "X of strings": (lambda s: fit(s.X.astype(str), s.y), TypeError, "`X` must hold real numbers; got .*<U"),
    "X of objects": (lambda s: fit(s.X.astype(object), s.y), TypeError, "`X` must hold real numbers; got .*object"),
    "X complex": (lambda s: fit(s.X * 1j, s.y), TypeError, "`X` must hold real numbers; got .*complex128"),
    "X of dates": (lambda s: fit(s.X.astype("datetime64[s]"), s.y), TypeError, "real numbers; got .*datetime64"),
    "X of datetime": (lambda s: fit([[datetime(2024, 1, 1)]] * N_BINS, s.y), TypeError, "real numbers; got .*object"),
    "X None": (lambda s: fit(None, s.y), TypeError, "`X` must hold real numbers; got NoneType"),
    "X a dictionary": (lambda s: fit({"a": 1}, s.y), TypeError, "`X` must hold real numbers; got dict"),
    "X sparse": (lambda s: fit(sparse.csr_array(s.X), s.y), TypeError, r"`X` is sparse.*\.toarray\(\)"),
    "y sparse": (lambda s: fit(s.X, sparse.csr_array(s.y)), TypeError, r"`y` is sparse.*\.toarray\(\)"),
    "X ragged": (lambda s: fit([[1.0], [1.0, 2.0]], s.y), TypeError, "`X` must be an array.*different lengths"),
    "X a scalar": (lambda s: fit(3.0, s.y), ValueError, r"`X` must be 2-D; got shape \(\)"),
    "X a vector": (lambda s: fit(s.X[:, 0], s.y), ValueError, r"`X` must be 2-D.*x\[:, None\]"),
    "X 3-D": (lambda s: fit(s.X[None], s.y), ValueError, r"`X` must be 2-D; got shape \(1, 600, 4\)"),
    "X without rows": (lambda s: fit(s.X[:0], s.y[:0]), ValueError, r"`X` must not be empty: 0 sample.*\(0, 4\)"),
    "X without columns": (lambda s: fit(s.X[:, :0], s.y), ValueError, r"`X` must not be empty: 0 feature.*\(600, 0\)"),
    "X spike times": (lambda s: fit(s.units, s.y), TypeError, r"`X` holds spike times.*\.count\(bin_size\)"),
    "y spike times": (lambda s: fit(s.X, s.units), TypeError, r"`y` holds spike times.*\.count\(bin_size\)"),
    "y of strings": (lambda s: fit(s.X, s.y.astype(str)), TypeError, "`y` must hold real numbers; got .*<U"),
    "y complex": (lambda s: fit(s.X, s.y + 0j), TypeError, "`y` must hold real numbers; got .*complex128"),
    "y of dates": (lambda s: fit(s.X, s.y.astype("datetime64[s]")), TypeError, "real numbers; got .*datetime64"),
    "y None": (lambda s: fit(s.X, None), ValueError, "requires y.*Give the counts"),
    "y a vector for a population": (lambda s: fit(s.X, s.y[:, 0]), ValueError, r"`y` must be 2-D.*x\[:, None\]"),
    "y a matrix for one neuron": (lambda s: GLM().fit(s.X, s.y), ValueError, "`y` must be 1-D.*PopulationGLM"),
    "y without neurons": (lambda s: fit(s.X, s.y[:, :0]), ValueError, "`y` must not be empty"),
    "y negative": (lambda s: fit(s.X, put(s.y, (5, 1), -1)), ValueError, "`y` must hold counts.*row 5 holds -1"),
    "y negative int": (lambda s: fit(s.X, s.y.astype(int) - 1), ValueError, "`y` must hold counts.*holds -1"),
    "y infinite": (lambda s: fit(s.X, put(s.y, (5, 1), np.inf)), ValueError, "`y` must be finite; row 5 .*NaN"),
    "X infinite": (lambda s: fit(put(s.X, (7, 1), -np.inf), s.y), ValueError, "`X` must be finite; row 7 .*NaN"),
    "X NaN everywhere": (lambda s: fit(s.X * np.nan, s.y), ValueError, "no bin is valid: .*longer than the window"),
    "y NaN everywhere": (lambda s: fit(s.X, s.y * np.nan), ValueError, "no bin is valid"),
    "X NaN in one column": (lambda s: fit(put(s.X, (slice(None), 1), np.nan), s.y), ValueError, "no bin is valid"),
    "X beyond float32": (lambda s: fit(s.X * 1e39, s.y), ValueError, r"`X` .*too large for float32.*row 0.*[Rr]escale"),
    "y beyond float32": (lambda s: fit(s.X, s.y + 1e39), ValueError, r"`y` .*too large for float32.*row 0"),
    "X overflows in squares": (lambda s: fit(s.X * 1e25, s.y), ValueError, r"`X` .*too large for float32"),
    "lengths differ": (lambda s: fit(s.X, s.y[:-1]), ValueError, "same number of rows; got 600 and 599"),
    "X traced": (lambda s: jax.jit(s.model.predict)(s.X), TypeError, "`X` is being traced by JAX.*outside jit"),
    "X a generator": (lambda s: fit((row for row in s.X), s.y), TypeError, "`X` must hold real numbers; got generator.*conv"),
    "a constant mask of masked arrays": (
        lambda s: fit(np.ma.array(s.X, mask=True), s.y), ValueError, "no bin is valid"
    ),
    "unix time in float32": (lambda s: fit(s.X + np.array([1e6, 0, 0, 0]), s.y), ValueError, "standard deviations from 0"),
    # Timestamps
    "times shifted": (lambda s: fit(frame(s.X), frame(s.y, 5.0)), ValueError, "share their times; row 0 is at 0.0.*5.0"),
    "times shifted by half a bin": (
        lambda s: fit(frame(s.X), frame(s.y, 0.005)), ValueError, r"y in nap.IntervalSet\(epochs.start - 0.005, .*X in .*\+"
    ),
    "times shifted by a twentieth": (lambda s: fit(frame(s.X), frame(s.y, 5e-4)), ValueError, "share their times; row 0"),
    "another bin size": (lambda s: fit(frame(s.X), frame(s.y, step=0.02)), ValueError, "share their times; row 1"),
    "times shifted, update": (
        lambda s: s.stepper.update(s.params, s.state, frame(s.X), frame(s.y, 1.0)), ValueError, "share their times"
    ),
    "times shifted, score": (
        lambda s: s.model.score(frame(s.X), frame(s.y, 1.0)), ValueError, "share their times"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_was_expected_what_came_and_the_fix(s, name):
    assert_refused(s, *REFUSED[name])
