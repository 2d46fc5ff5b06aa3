"""What tests of bad input share: things that a user may have at hand, calls that take them, and what an error must be.

Every error must be raised by a line of popglm itself: one from inside JAX, NumPy or jaxopt tells a user nothing. It says
what was expected, what came, and the fix.
"""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from samples import small_data
from sklearn.exceptions import NotFittedError

import popglm
from popglm import simulation
from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.simulation import random_coupling, simulate_population

SOURCE = Path(popglm.__file__).parent
PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
N_BINS, N_FEATURES, N_NEURONS = 600, 4, 3


def assert_refused(s, call, error, message):
    """The call with these things raises this error, with this text, from a line of popglm."""
    with pytest.raises(error, match=message) as caught:
        call(s)
    assert type(caught.value) in (ValueError, TypeError, NotFittedError, AttributeError, IndexError)
    raised_in = Path(caught.traceback[-1].path)
    assert SOURCE in raised_in.parents, f"raised in {raised_in}"


def things_at_hand():
    """Data, models fitted and not, a basis, a coupling, spike times."""
    X, y = small_data()
    model, single, stepper = PopulationGLM().fit(X, y), GLM().fit(X, y[:, 0]), PopulationGLM(**PLAIN)
    params = stepper.initialize_params(X, y)
    state = stepper.initialize_state(X, y, params)
    stepper.update(params, state, X, y)
    basis, t = RaisedCosineLogConv(2, window_size=10), np.arange(N_BINS) * 0.01
    coupling = random_coupling(jax.random.key(0), 3, basis)
    units = nap.TsGroup({0: nap.Ts(t[::7]), 1: nap.Ts(t[::11])})
    return SimpleNamespace(**dict(locals().items()))


def put(array, where, value):
    """A copy of the array with one value replaced."""
    out = np.array(array, float)
    out[where] = value
    return out


def frame(values, shift=0.0, step=0.01):
    return nap.TsdFrame(t=np.arange(len(values)) * step + shift, d=np.asarray(values))


def fit(X, y, **settings):
    return PopulationGLM(**settings).fit(X, y)


def count(values):
    return RaisedCosineLogConv(2, window_size=10).compute_features(values)


def kernel(*args, **kwargs):
    return RaisedCosineLogConv(*args, **kwargs).kernel


def table(values):
    return pd.DataFrame(values, columns=list("abcd"))


def lazy(s):
    return s.basis.lazy_features(s.y)


def simulate(s, **changes):
    coef, intercept = s.coupling
    arguments = {"key": jax.random.key(0), "coef": coef, "intercept": intercept, "basis": s.basis, "duration": 1.0}
    return simulate_population(**(arguments | changes))


def resimulate(s, inputs=None, basis=None, **changes):
    """A model of history alone, or with whatever comes with it."""
    model = PopulationGLM()
    model.coef_, model.intercept_ = s.coupling
    arguments = {"key": jax.random.key(0), "model": model, "duration": 1.0, "bin_size": 0.005}
    return simulation.simulate(basis=s.basis if basis is None else basis, inputs=inputs, **(arguments | changes))
