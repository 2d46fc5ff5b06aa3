"""Bad input, over every public call: a finite result, or an error that says what was expected, what came, and the fix.

Every error must be raised by a line of popglm itself: one from inside JAX, NumPy or jaxopt tells a user nothing.
"""

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from samples import small_data
from scipy import sparse
from sklearn.exceptions import NotFittedError

import popglm
from popglm import simulation
from popglm.basis import IdentityEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.observation_models import NegativeBinomial, ObservationModel
from popglm.simulation import random_coupling, simulate_population

PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
N_BINS, N_FEATURES, N_NEURONS = 600, 4, 3


class Undecorated(ObservationModel):
    """A model of one's own, but for the line above."""

    loss = least = saturated = variance = sample = None


@pytest.fixture(scope="module")
def given_():
    """What a user may have at hand; every case gets its own copies of the arrays."""
    X, y = small_data()
    model, single, stepper = PopulationGLM().fit(X, y), GLM().fit(X, y[:, 0]), PopulationGLM(**PLAIN)
    params = stepper.initialize_params(X, y)
    state = stepper.initialize_state(X, y, params)
    stepper.update(params, state, X, y)
    basis, t = RaisedCosineLogConv(2, window_size=10), np.arange(N_BINS) * 0.01
    coupling = random_coupling(jax.random.key(0), 3, basis)
    units = nap.TsGroup({0: nap.Ts(t[::7]), 1: nap.Ts(t[::11])})
    return SimpleNamespace(**dict(locals().items()))


@pytest.fixture
def s(given_):
    return SimpleNamespace(**given_.__dict__ | {"X": given_.X.copy(), "y": given_.y.copy()})


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
    # Timestamps
    "times shifted": (lambda s: fit(frame(s.X), frame(s.y, 5.0)), ValueError, "share their times; row 0 is at 0.0.*5.0"),
    "times shifted by 2 us": (lambda s: fit(frame(s.X), frame(s.y, 2e-6)), ValueError, "share their times"),
    "another bin size": (lambda s: fit(frame(s.X), frame(s.y, step=0.02)), ValueError, "share their times; row 1"),
    "times shifted, update": (
        lambda s: s.stepper.update(s.params, s.state, frame(s.X), frame(s.y, 1.0)), ValueError, "share their times"
    ),
    "times shifted, score": (
        lambda s: s.model.score(frame(s.X), frame(s.y, 1.0)), ValueError, "share their times"
    ),
    # Settings
    "solver misspelt": (lambda s: fit(s.X, s.y, solver_name="GradientDecent"), ValueError, "Did you mean 'GradientDescent'"),
    "solver unknown": (lambda s: fit(s.X, s.y, solver_name="xyz"), ValueError, "`solver_name` must be one of .*got 'xyz'"),
    "solver a number": (lambda s: fit(s.X, s.y, solver_name=3), ValueError, "`solver_name` must be one of .*got 3"),
    "solver of NeMoS": (lambda s: fit(s.X, s.y, solver_name="SVRG"), ValueError, "`solver_name` must be one of"),
    "solver a list": (lambda s: fit(s.X, s.y, solver_name=["LBFGS"]), ValueError, "`solver_name` must be one of"),
    "option misspelt": (lambda s: fit(s.X, s.y, solver_kwargs={"tool": 1}), ValueError, "Did you mean 'tol'"),
    "option of jaxopt misspelt": (
        lambda s: fit(s.X, s.y, solver_name="LBFGS", solver_kwargs={"step_size": 1}), ValueError, "Did you mean 'stepsize'"
    ),
    "option of another solver": (
        lambda s: fit(s.X, s.y, solver_name="LBFGS", solver_kwargs={"acceleration": False}), ValueError, "of LBFGS"
    ),
    "stepsize without solver": (
        lambda s: fit(s.X, s.y, solver_kwargs={"stepsize": 0.1}), ValueError, "solver_kwargs of the default solver"
    ),
    "options not a dictionary": (lambda s: fit(s.X, s.y, solver_kwargs=[1]), TypeError, "`solver_kwargs` must be a dict"),
    "tol negative": (lambda s: fit(s.X, s.y, solver_kwargs={"tol": -1}), ValueError, "`tol` must be a finite number"),
    "tol a string": (lambda s: fit(s.X, s.y, solver_kwargs={"tol": "low"}), ValueError, "`tol` must be .*got 'low'"),
    "maxiter 0": (lambda s: fit(s.X, s.y, solver_kwargs={"maxiter": 0}), ValueError, "`maxiter` must be a positive int"),
    "maxiter fractional": (lambda s: fit(s.X, s.y, solver_kwargs={"maxiter": 2.5}), ValueError, "`maxiter` must be .*2.5"),
    "stepsize a string": (
        lambda s: fit(s.X, s.y, solver_name="LBFGS", solver_kwargs={"stepsize": "0.1"}), ValueError, "`stepsize` must be"
    ),
    "stepsize NaN": (
        lambda s: fit(s.X, s.y, solver_name="LBFGS", solver_kwargs={"stepsize": np.nan}), ValueError, "`stepsize` must be"
    ),
    "acceleration a string": (
        lambda s: fit(s.X, s.y, solver_name="GradientDescent", solver_kwargs={"acceleration": "no"}),
        ValueError, "`acceleration` must be True or False; got 'no'",
    ),
    "linesearch misspelt": (
        lambda s: fit(s.X, s.y, solver_name="LBFGS", solver_kwargs={"linesearch": "zom"}), ValueError, "Did you mean 'zoom'"
    ),
    "regularizer misspelt": (lambda s: fit(s.X, s.y, regularizer="ridge"), ValueError, "Did you mean 'Ridge'"),
    "regularizer a class": (
        lambda s: fit(s.X, s.y, regularizer=popglm.regularizer.Ridge), TypeError, "`regularizer` must be a name"
    ),
    "regularizer None": (lambda s: fit(s.X, s.y, regularizer=None), TypeError, "`regularizer` must be a name"),
    "strength without penalty": (lambda s: fit(s.X, s.y, regularizer_strength=1.0), ValueError, 'Set regularizer="Ridge"'),
    "strength negative": (
        lambda s: fit(s.X, s.y, regularizer="Ridge", regularizer_strength=-1), ValueError, "`regularizer_strength` must be"
    ),
    "strength infinite": (
        lambda s: fit(s.X, s.y, regularizer="Ridge", regularizer_strength=np.inf), ValueError, "finite number"
    ),
    "strength a string": (
        lambda s: fit(s.X, s.y, regularizer="Ridge", regularizer_strength="1"), ValueError, "finite number.*got '1'"
    ),
    "strength a list": (
        lambda s: fit(s.X, s.y, regularizer="Ridge", regularizer_strength=[[1.0]] * 7), ValueError,
        r"one of 1 or 4 rows and 3 columns, which are the neurons; got shape \(7, 1\)"
    ),
    "observation model misspelt": (
        lambda s: fit(s.X, s.y, observation_model="Poison"), ValueError, "Did you mean 'Poisson'"
    ),
    "observation model a number": (lambda s: fit(s.X, s.y, observation_model=1), TypeError, "`observation_model` must be"),
    "a scale for each neuron": (
        lambda s: fit(s.X, s.y, observation_model=NegativeBinomial(scale=np.ones(3))), ValueError, r"one number.*shape \(3,\)"
    ),
    "observation model no dataclass": (
        lambda s: fit(s.X, s.y, observation_model=Undecorated()), TypeError, "got .*Undecorated.*Write @dataclass"
    ),
    "link misspelt": (lambda s: fit(s.X, s.y, inverse_link_function="softpluss"), ValueError, "Did you mean 'softplus'"),
    "link a number": (lambda s: fit(s.X, s.y, inverse_link_function=2), TypeError, "function or one of exp, .*; got 2"),
    "mask of another shape": (
        lambda s: fit(s.X, s.y, feature_mask=np.ones((3, 4))), ValueError, r"= \(4, 3\); got \(3, 4\)"
    ),
    "mask fractional": (lambda s: fit(s.X, s.y, feature_mask=np.full((4, 3), 0.5)), ValueError, r"0 \(leave out\) and 1"),
    "mask of strings": (lambda s: fit(s.X, s.y, feature_mask=[["a"] * 3] * 4), TypeError, "`feature_mask` must hold real"),
    "start of another shape": (
        lambda s: PopulationGLM().fit(s.X, s.y, init_params=(np.zeros(4), np.zeros(3))), ValueError, r"`init_params` .*\(4, 3\)"
    ),
    "start not a pair": (lambda s: PopulationGLM().fit(s.X, s.y, init_params=1), TypeError, "must be a pair"),
    "start of lists": (
        lambda s: PopulationGLM().fit(s.X, s.y, init_params=([0], [0])), TypeError, "`init_params` must hold.*got list"
    ),
    "callback not a function": (
        lambda s: PopulationGLM().fit_batches([(s.X, s.y)], 1, callback="x"), TypeError, "a function of the step, the loss and"
    ),
    "start NaN": (
        lambda s: PopulationGLM().fit(s.X, s.y, init_params=(np.full((4, 3), np.nan), np.zeros(3))),
        ValueError, "`init_params` must be finite",
    ),
    # Calls out of order
    "predict before fit": (lambda s: PopulationGLM().predict(s.X), NotFittedError, "Call `fit` or `update` first"),
    "score before fit": (lambda s: GLM().score(s.X, s.y[:, 0]), NotFittedError, "Call `fit` or `update` first"),
    "update before initialize_state": (
        lambda s: s.stepper.update(s.params, None, s.X, s.y), TypeError, "`state` must come from `initialize_state`"
    ),
    "update before initialize_params": (
        lambda s: s.stepper.update(None, s.state, s.X, s.y), TypeError, "`params` must be a pair.*got NoneType"
    ),
    "update with lists": (
        lambda s: s.stepper.update(([[0.0]], [0.0]), s.state, s.X, s.y), TypeError, "`params` must hold arrays.*got list"
    ),
    "a state of strings": (
        lambda s: s.stepper.update(s.params, "state", s.X, s.y), TypeError, "`state` must come from `initialize_state`"
    ),
    "one neuron's coefficients as a column": (
        lambda s: GLM(**PLAIN).update((np.zeros((4, 1)), np.zeros(1)), s.state, s.X, s.y[:, 0]), ValueError, r"\(4,\)"
    ),
    "initialize_state before initialize_params": (
        lambda s: s.stepper.initialize_state(s.X, s.y, None), TypeError, "`params` must be a pair"
    ),
    "state of another solver": (
        lambda s: s.stepper.update(
            s.params, PopulationGLM(solver_name="LBFGS", solver_kwargs={"stepsize": 0.1}).initialize_state(s.X, s.y, s.params),
            s.X, s.y,
        ), TypeError, "`state` must come from `initialize_state`",
    ),
    # Other shapes later on
    "update with other features": (
        lambda s: s.stepper.update(s.params, s.state, s.X[:, :3], s.y), ValueError, "X has 3 features.*expecting 4"
    ),
    "update with other neurons": (
        lambda s: s.stepper.update(s.params, s.state, s.X, s.y[:, :2]), ValueError, "y has 2 neurons.*model has 3"
    ),
    "update with a vector": (lambda s: s.stepper.update(s.params, s.state, s.X, s.y[:, 0]), ValueError, "`y` must be 2-D"),
    "update with lengths": (lambda s: s.stepper.update(s.params, s.state, s.X, s.y[:-1]), ValueError, "same number of rows"),
    "update without a valid row": (
        lambda s: s.stepper.update(s.params, s.state, s.X * np.nan, s.y), ValueError, "no bin is valid"
    ),
    "update without a valid count": (
        lambda s: s.stepper.update(s.params, s.state, s.X, s.y * np.nan), ValueError, "no bin is valid"
    ),
    "update with negative counts": (lambda s: s.stepper.update(s.params, s.state, s.X, s.y - 1), ValueError, "`y` must hold"),
    "update with infinite X": (
        lambda s: s.stepper.update(s.params, s.state, put(s.X, 3, np.inf), s.y), ValueError, "`X` must be finite"
    ),
    "update with X beyond float32": (
        lambda s: s.stepper.update(s.params, s.state, s.X * 1e39, s.y), ValueError, "`X` .*too large for float32"
    ),
    "update with integer parameters": (
        lambda s: s.stepper.update((np.zeros((4, 3), int), np.zeros(3, int)), s.state, s.X, s.y),
        TypeError, "`params` must hold arrays of float32; got int",
    ),
    "update with transposed coefficients": (
        lambda s: s.stepper.update((s.params[0].T, s.params[1]), s.state, s.X, s.y), ValueError, r"shape \(4, 3\)|features"
    ),
    "update with scalar intercept": (
        lambda s: s.stepper.update((s.params[0], jnp.float32(0)), s.state, s.X, s.y), ValueError, r"shape|neurons"
    ),
    "predict with other features": (lambda s: s.model.predict(s.X[:, :2]), ValueError, "X has 2 features.*expecting 4"),
    "predict with a vector": (lambda s: s.model.predict(s.X[0]), ValueError, r"`X` must be 2-D"),
    "predict with strings": (lambda s: s.model.predict(s.X.astype(str)), TypeError, "`X` must hold real"),
    "predict with infinite X": (lambda s: s.model.predict(put(s.X, 3, np.inf)), ValueError, "`X` must be finite; row 3"),
    "predict with X beyond float32": (lambda s: s.model.predict(s.X * 1e39), ValueError, "too large for float32"),
    "score with other features": (lambda s: s.model.score(s.X[:, :2], s.y), ValueError, "X has 2 features.*expecting 4"),
    "score with other neurons": (lambda s: s.model.score(s.X, s.y[:, :2]), ValueError, "y has 2 neurons.*model has 3"),
    "score with other lengths": (lambda s: s.model.score(s.X[:9], s.y), ValueError, "same number of rows; got 9 and 600"),
    "score NaN everywhere": (lambda s: s.model.score(s.X, s.y * np.nan), ValueError, "no bin is valid"),
    "score type misspelt": (
        lambda s: s.model.score(s.X, s.y, "pseudo-r2-mcfadden"), ValueError, "Did you mean 'pseudo-r2-McFadden'"
    ),
    "score type unknown": (lambda s: s.model.score(s.X, s.y, 3), ValueError, "`score_type` must be one of .*got 3"),
    "aggregate not a function": (
        lambda s: s.model.score(s.X, s.y, aggregate_sample_scores="mean"), TypeError, "`aggregate_sample_scores` must be a func"
    ),
    "null misspelt": (lambda s: s.model.score(s.X, s.y, null="trian"), ValueError, "Did you mean 'train'"),
    "null of another length": (lambda s: s.model.score(s.X, s.y, null=[0.1, 0.2]), ValueError, "`null` must be .*3 positive"),
    "null zero": (lambda s: s.model.score(s.X, s.y, null=[0.1, 0.2, 0.0]), ValueError, "`null` must be .*from 0 to 0.2"),
    "null train after update": (
        lambda s: s.stepper.score(s.X, s.y, "pseudo-r2-Cohen", null="train"), ValueError, "Call `fit`, or give"
    ),
    # Features
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
    # Simulation
    "coupling of another shape": (
        lambda s: simulate(s, coef=np.ones((5, 3))), ValueError, r"`coef` must have shape .*= \(6, 3\); got \(5, 3\)"
    ),
    "coupling NaN": (lambda s: simulate(s, coef=np.full((6, 3), np.nan)), ValueError, "must be finite"),
    "duration not whole": (lambda s: simulate(s, duration=1.0012), ValueError, "whole number of bins of 0.005 s"),
    "duration 0": (lambda s: simulate(s, duration=0), ValueError, "`duration` must be a finite number above 0"),
    "bin size negative": (lambda s: simulate(s, bin_size=-1), ValueError, "`bin_size` must be a finite number above 0"),
    "explosion": (lambda s: simulate(s, coef=np.full((6, 3), 5.0)), ValueError, "population explodes: neuron .*Weaken"),
    "a model that is none": (lambda s: resimulate(s, model=3), TypeError, "`model` must be a GLM .*got int"),
    "a model without a fit": (lambda s: resimulate(s, model=PopulationGLM()), NotFittedError, "Call `fit`"),
    "a simulation of no basis": (lambda s: resimulate(s, basis=5), TypeError, "`basis` must be the basis of the model's.*5"),
    "a simulation of another basis": (
        lambda s: resimulate(s, basis=RaisedCosineLogConv(5, 10)), ValueError, "make 15 features, and the PopulationGLM has 6"
    ),
    "inputs not in a list": (lambda s: resimulate(s, inputs=s.y), TypeError, r"a list with one input for each.*\[None, stim"),
    "inputs too many": (lambda s: resimulate(s, inputs=[None, s.y]), ValueError, "each of the 1 bases.*got 2"),
    "inputs without activity": (lambda s: resimulate(s, inputs=[s.y]), ValueError, "no entry of `inputs` is None"),
    "activity evaluated": (
        lambda s: resimulate(s, basis=s.basis + IdentityEval()), ValueError, "go into a convolution over the past.*IdentityEval"
    ),
    "activity from the future": (
        lambda s: resimulate(s, basis=RaisedCosineLogConv(2, 10, predictor_causality="acausal")),
        ValueError,
        "must see the past only",
    ),
    "no duration": (lambda s: resimulate(s, duration=None), ValueError, "`duration` must be given"),
    "no bin size": (lambda s: resimulate(s, bin_size=None), ValueError, "`bin_size` must be given, in seconds; got None"),
    "history of other neurons": (
        lambda s: resimulate(s, history=np.zeros((20, 5))), ValueError, r"`history` must have .*3 neurons.*\(20, 5\)"
    ),
    "history missing": (
        lambda s: resimulate(s, history=np.full((20, 3), np.nan)), ValueError, "last 10 bins of `history` must be finite"
    ),
    "simulation's link misspelt": (lambda s: simulate(s, inverse_link_function="ex"), ValueError, "Did you mean 'exp'"),
    "a seed for a key": (lambda s: simulate(s, key=0), TypeError, r"`key` must be a JAX key.*got 0.*jax.random.key\(0\)"),
    "basis not a basis": (lambda s: simulate(s, basis=5), TypeError, "`basis` must be a convolution basis; got 5"),
    "no neurons": (lambda s: random_coupling(jax.random.key(0), 0, s.basis), ValueError, "`n_neurons` must be a positive"),
    "connectivity 2": (
        lambda s: random_coupling(jax.random.key(0), 2, s.basis, connectivity=2), ValueError, "share from 0 to 1; got 2"
    ),
    "rates negative": (
        lambda s: random_coupling(jax.random.key(0), 2, s.basis, rates=(-1, 2)), ValueError, "`rates` must be"
    ),
    "rates not a pair": (
        lambda s: random_coupling(jax.random.key(0), 2, s.basis, rates=5.0), TypeError, "`rates` must be a pair"
    ),
    # What a review found
    "X traced": (lambda s: jax.jit(s.model.predict)(s.X), TypeError, "`X` is being traced by JAX.*outside jit"),
    "X a generator": (lambda s: fit((row for row in s.X), s.y), TypeError, "`X` must hold real numbers; got generator.*conv"),
    "a constant mask of masked arrays": (
        lambda s: fit(np.ma.array(s.X, mask=True), s.y), ValueError, "no bin is valid"
    ),
    "link of NumPy": (
        lambda s: [fit(s.X, s.y, inverse_link_function=np.exp) for _ in range(2)], TypeError, "got NumPy's exp"
    ),
    "link that returns nothing": (
        lambda s: fit(s.X, s.y, inverse_link_function=lambda eta: None), ValueError, "one real mean .*dtype object"
    ),
    "link over all bins": (
        lambda s: simulate(s, inverse_link_function=jax.nn.softmax), ValueError, "one real mean for every linear predictor"
    ),
    "link negative far out": (
        lambda s: simulate(s, inverse_link_function=lambda eta: eta + 4.5), ValueError, "must give positive means"
    ),
    "link complex": (
        lambda s: fit(s.X, s.y, inverse_link_function=lambda eta: jnp.exp(eta) + 0j), ValueError, "one real mean"
    ),
    "link that stays below the data": (
        lambda s: fit(s.X, s.y * 9, inverse_link_function=jax.nn.sigmoid), ValueError, "does not reach a mean of"
    ),
    "stepsize that cannot be traced": (
        lambda s: fit(s.X, s.y, solver_name="LBFGS", solver_kwargs={"stepsize": lambda i: 0.1 if i < 9 else 0.01}),
        TypeError, "`stepsize` must be a number, or a JAX function.*jax.numpy.where",
    ),
    "stepsize that is negative later": (
        lambda s: fit(s.X, s.y, solver_name="GradientDescent", solver_kwargs={"stepsize": lambda i: -0.1}),
        ValueError, "`stepsize` must give a positive number",
    ),
    "stepsize beyond float32": (
        lambda s: fit(s.X, s.y, solver_name="LBFGS", solver_kwargs={"stepsize": 1e60}), ValueError, "`stepsize` must be"
    ),
    "maxiter beyond 32 bits": (
        lambda s: fit(s.X, s.y, solver_name="LBFGS", solver_kwargs={"maxiter": 10**12}), ValueError, "`maxiter` must be"
    ),
    "tol too large for a float": (lambda s: fit(s.X, s.y, solver_kwargs={"tol": 10**400}), ValueError, "`tol` must be"),
    "strength beyond float32": (
        lambda s: fit(s.X, s.y, regularizer="Ridge", regularizer_strength=1e39), ValueError, "finite number"
    ),
    "decay as a word": (
        lambda s: kernel(5, 40, enforce_decay_to_zero="no"), TypeError, "`enforce_decay_to_zero` must be True or False"
    ),
    "a window that no memory holds": (
        lambda s: RaisedCosineLogConv(3, 10**9).compute_features(s.y), ValueError, "longer than the window of 1000000000"
    ),
    "a state of words": (
        lambda s: s.stepper.update(s.params, ("a",), s.X, s.y), TypeError, "`state` must come from `initialize_state`"
    ),
    "aggregate returns words": (
        lambda s: s.model.score(s.X, s.y, aggregate_sample_scores=lambda x: "a"), TypeError, "must return a number"
    ),
    "null True": (lambda s: s.model.score(s.X, s.y, "pseudo-r2-Cohen", null=True), ValueError, "`null` must be"),
    "times that stand still": (
        lambda s: count(nap.TsdFrame(t=np.repeat(np.arange(30), 2) * 0.1, d=s.y[:60])), ValueError, "times must increase"
    ),
    "split of chosen columns": (
        lambda s: RaisedCosineLogConv(2, 10).split_by_feature(count(frame(s.y))[:, [0, 2, 1, 3]]), ValueError, "whole blocks"
    ),
    "split by another basis": (
        lambda s: RaisedCosineLogConv(3, 10).split_by_feature(count(frame(s.y))), ValueError, "whole blocks of 3"
    ),
    "features in another order": (
        lambda s: PopulationGLM().fit(count(frame(s.y)), s.y).predict(count(frame(s.y))[:, ::-1]),
        ValueError, "feature names should match.*expected '0:0' where '2:1' came",
    ),
    "columns of a table in another order": (
        lambda s: PopulationGLM().fit(table(s.X), s.y).score(table(s.X)[list("dcba")], s.y), ValueError, "should match"
    ),
    "unix time in float32": (lambda s: fit(s.X + np.array([1e6, 0, 0, 0]), s.y), ValueError, "standard deviations from 0"),
    # Lazy features
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
    "progress as a word": (lambda s: PopulationGLM().fit(s.X, s.y, progress="yes"), TypeError, "`progress` must be True"),
    "a basis plus a number": (lambda s: s.basis + 3, TypeError, "a basis can be added to a basis only; got 3"),
    "a basis with two inputs": (lambda s: s.basis.lazy_features(s.y, s.y), ValueError, "this basis needs 1 input; got 2"),
    "a sum with one input": (lambda s: (s.basis + s.basis).lazy_features(s.y), ValueError, "2 bases needs as many inputs"),
    "a sum of other times": (
        lambda s: (s.basis + s.basis).lazy_features(frame(s.y), frame(s.y, 1.0)), ValueError, "input 0 and input 1 must share"
    ),
    # Names
    "a module that is not there": (lambda s: popglm.plot, AttributeError, "has no attribute 'plot'; it has assessment, basis"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_was_expected_what_came_and_the_fix(s, name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as caught:
        call(s)
    assert type(caught.value) in (ValueError, TypeError, NotFittedError, AttributeError, IndexError)
    raised_in = Path(caught.traceback[-1].path)
    assert raised_in.parent.name == "popglm", f"raised in {raised_in}"


def separated(s):
    """A neuron that fires only when the first feature is positive: its best coefficient is infinite."""
    return s.X, np.where(s.X[:, :1] > 0, 1.0, 0.0) * np.ones(3)


def duplicated(s):
    return np.concatenate([s.X, s.X[:, :2]], 1), s.y


def all_zero(s):
    return put(s.X, (slice(None), 1), 0.0), s.y


ACCEPTED = {
    "lists": lambda s: (s.X.tolist(), s.y.tolist()),
    "JAX arrays": lambda s: (jnp.asarray(s.X), jnp.asarray(s.y)),
    "fractional counts": lambda s: (s.X, s.y / 3),
    "large counts": lambda s: (s.X, s.y * 1e4),
    "NaN in X": lambda s: (put(s.X, (slice(10, 50), 2), np.nan), s.y),
    "NaN in one neuron's y": lambda s: (s.X, put(s.y, (slice(10, 50), 1), np.nan)),
    "one neuron NaN everywhere": lambda s: (s.X, put(s.y, (slice(None), 1), np.nan)),
    "a silent neuron": lambda s: (s.X, put(s.y, (slice(None), 1), 0)),
    "all silent": lambda s: (s.X, s.y * 0),
    "one spike": lambda s: (s.X, put(s.y * 0, (7, slice(None)), 1)),
    "an always-firing neuron": lambda s: (s.X, put(s.y, (slice(None), 1), 1)),
    "perfectly separated neurons": separated,
    "a column of zeros": all_zero,
    "a constant column": lambda s: (put(s.X, (slice(None), 1), 3.0), s.y),
    "a large constant column": lambda s: (put(s.X, (slice(None), 1), 1e4), s.y),
    "a column far from zero": lambda s: (s.X + np.array([0, 1e3, 0, 0]), s.y),
    "a column 1e4 standard deviations from zero": lambda s: (s.X + np.array([0, 1e4, 0, 0]), s.y),
    "duplicate columns": duplicated,
    "columns scaled 1e-3 to 1e4": lambda s: (s.X * [1e-3, 1, 1e2, 1e4], s.y),
    "columns scaled 1e-12 to 1e10": lambda s: (s.X * [1e-12, 1, 1e5, 1e10], s.y),
    "more features than bins": lambda s: (np.tile(s.X[:40], (1, 20)) + s.X[:40, :1] ** 2, s.y[:40]),
    "one row": lambda s: (s.X[:1], s.y[:1]),
    "two rows": lambda s: (s.X[:2], s.y[:2] + 1),
    "one valid row": lambda s: (put(s.X, slice(1, None), np.nan), s.y + 1),
    "an outlier of 1e4": lambda s: (put(s.X, (3, 0), 1e4), s.y),
    "big-endian numbers": lambda s: (s.X.astype(">f4"), s.y.astype(">i2")),
    "a constant column that is no binary fraction": lambda s: (put(s.X, (slice(None), 1), 0.1), s.y),
    "a column that a sample takes for constant": lambda s: (
        np.tile(s.X, (9, 1)) * [1, 0, 1, 1]
        + np.where(np.arange(9 * N_BINS)[:, None] % 5 == 1, [0, 3, 0, 0], [0, 0.1, 0, 0]),
        np.tile(s.y, (9, 1)),
    ),
    "lazy features": lambda s: (lazy(s), s.y),
    "a transposed view": lambda s: (np.asfortranarray(s.X)[::-1], s.y[::-1]),
}


@pytest.mark.parametrize(
    "settings", [{}, {"regularizer": "Ridge", "regularizer_strength": 0.1}], ids=["exact", "ridge"]
)
@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning", "ignore:feature:RuntimeWarning")
def test_accepted_with_finite_results(s, name, settings):
    X, y = ACCEPTED[name](s)
    model = PopulationGLM(**settings).fit(X, y)
    assert np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()
    assert np.isfinite(model.score(X, y)) and np.isfinite(model.score(X, y, "pseudo-r2-McFadden"))
    rows = ~np.isnan(np.asarray(X)).any(1)
    assert np.isfinite(model.predict(X)[rows]).all()
    for n in np.flatnonzero(model.converged_):
        valid = rows & ~np.isnan(np.asarray(y)[:, n])
        if valid.any() and np.asarray(y)[valid, n].sum() > 0:  # the intercept alone makes the mean rates agree
            np.testing.assert_allclose(
                model.predict(X)[valid, n].mean(), np.asarray(y)[valid, n].mean(), rtol=2e-2, atol=1e-4
            )


@pytest.mark.parametrize("name", sorted(set(ACCEPTED) - {"columns scaled 1e-12 to 1e10"}))
@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_one_update_on_it_is_finite(s, name):
    X, y = ACCEPTED[name](s)
    scale = np.nanmax(np.abs(np.asarray(X)))
    X = np.asarray(X) / scale
    model = PopulationGLM(**PLAIN)
    params = model.initialize_params(X, y)
    params, _ = model.update(params, model.initialize_state(X, y, params), X, y)
    assert all(np.isfinite(p).all() for p in params)


MISSING = {
    "a masked array": lambda X: np.ma.array(np.where(np.isnan(X), 1e6, X), mask=np.isnan(X)),
    "a table of pandas": lambda X: pd.DataFrame(X).astype("Float64"),
}


@pytest.mark.parametrize("name", MISSING)
def test_other_marks_of_missing_values_count_as_nan(s, name):
    """The value under a mask is never seen, and neither pandas' NA nor a mask becomes a number."""
    X, y = put(s.X, (slice(3, 9), 2), np.nan), put(s.y, (slice(40, 90), 1), np.nan)
    expected, model = fit(X, y), fit(MISSING[name](X), MISSING[name](y))
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    np.testing.assert_array_equal(model.predict(MISSING[name](X)), expected.predict(X))


@pytest.mark.filterwarnings("ignore:Some epochs have no duration:UserWarning", "ignore:divide by zero:RuntimeWarning")
def test_a_bin_in_no_epoch_is_refused(s):
    with pytest.raises(ValueError, match=r"epochs .* must have a duration; got 1 row"):
        s.model.predict(nap.TsdFrame(t=[1.0], d=s.X[:1]))


def test_missing_values_in_every_sampled_row_do_not_hide_where_a_feature_lies():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 3)) + 5000
    y = rng.poisson(np.exp(0.3 * (X[:, 1] - 5000) - 1))
    for at in range(0, 20_000, 400):
        X[at : at + 20, 0] = np.nan
    np.testing.assert_allclose(GLM().fit(X, y).coef_, [0, 0.3, 0], atol=0.05)


def test_a_feature_that_lies_elsewhere_in_the_bins_that_count_is_not_taken_for_constant():
    """It drifts to 20,000, but y knows only the end, where it varies by a few units."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 20_000, 40_000)
    x[-400:] = 19_000 + rng.normal(0, 5, 400)
    y = np.full(40_000, np.nan)
    y[-400:] = rng.poisson(np.exp(0.1 * (x[-400:] - 19_000)))
    with pytest.raises(ValueError, match=r"feature 0 of X varies by .* in the bins that count.*Subtract its mean"):
        GLM().fit(x[:, None], y)
    np.testing.assert_allclose(GLM().fit(x[-400:, None], y[-400:]).coef_, 0.1, atol=0.03)
    basis, later = RaisedCosineLogConv(1, window_size=2), np.full(40_000, np.nan)
    later[-390:] = y[-391:-1]  # follows the feature, which is the input one bin ago
    with pytest.raises(ValueError, match=r"feature 0 of X varies by .* in the bins that count.*Subtract its mean"):
        GLM().fit(basis.lazy_features(x), later)
    np.testing.assert_allclose(GLM().fit(basis.lazy_features(x)[-390:], later[-390:]).coef_, 0.1, atol=0.03)
    still = np.where(np.isnan(y), x, 19_000.0)  # where y is known, it is a constant: the intercept's
    assert not GLM().fit(basis.lazy_features(still), later).coef_.any()


def test_a_masked_entry_of_the_start_is_no_offset(s):
    mask, start = np.array([[1, 0, 1]] + [[1, 1, 1]] * 3), np.full((4, 3), 2.0, np.float32)
    X = s.X + np.array([1000, 0, 0, 0])
    model = PopulationGLM(feature_mask=mask).fit(X, s.y, (start * [[0], [1], [1], [1]], np.zeros(3, np.float32)))
    other = PopulationGLM(feature_mask=mask).fit(
        X, s.y, (start * mask * [[0], [1], [1], [1]] + (1 - mask) * 2, np.zeros(3))
    )
    np.testing.assert_allclose(other.coef_, model.coef_, atol=1e-3)


def test_a_start_that_overflows_is_named(s):
    with pytest.warns(RuntimeWarning, match="neuron 0, 1, 2: .*a loss that is not finite"):
        model = PopulationGLM().fit(s.X, s.y, (np.zeros((4, 3)), np.full(3, 200.0)))
    assert np.isfinite(model.coef_).all() and not model.converged_.any()


def test_a_tensor_of_another_library_is_an_array(s):
    class Tensor:
        shape, dtype = s.X.shape, "torch.float32"

        def __getitem__(self, key):
            """Be sliced."""
            return s.X[key]

        def __array__(self, dtype=None, copy=None):
            """Be an array."""
            return s.X

    np.testing.assert_array_equal(fit(Tensor(), s.y).coef_, fit(s.X, s.y).coef_)


def test_a_stopped_line_search_is_no_convergence(s):
    """Far from the origin, gradient descent's search gives up: the small step that it ends with is no optimum."""
    with pytest.warns(RuntimeWarning, match="before it converged"):
        assert not fit(s.X + 1000.0, s.y, solver_name="GradientDescent").converged_.any()


def test_a_diverging_solver_is_named_and_leaves_no_nan(s):
    with pytest.warns(RuntimeWarning, match="lower the `stepsize` of a named solver"):
        model = fit(
            s.X, s.y * 1e6, solver_name="GradientDescent", solver_kwargs={"stepsize": 3.0, "acceleration": False}
        )
    assert np.isfinite(model.coef_).all() and not model.converged_.any()


def test_an_update_inside_jit_keeps_nothing(s):
    model = PopulationGLM(**PLAIN)
    params, _ = jax.jit(lambda p, q: model.update(p, q, s.X, s.y))(s.params, s.state)
    expected, _ = s.stepper.update(s.params, s.state, s.X, s.y)
    np.testing.assert_allclose(params[0], expected[0], atol=1e-6)
    assert not hasattr(model, "coef_")


SHIFTED = [(1.0, 1e3), (1.0, 1e4), (1e-6, 0.0), (1e4, 0.0), (1e-3, 10.0), (1e4, -1e8), (1e10, 0.0)]


@pytest.mark.parametrize(("scale", "shift"), SHIFTED)
def test_units_and_origin_of_a_feature_do_not_matter(s, scale, shift):
    """The same likelihood, converged, whatever the first column is measured in and from."""
    X = s.X * [scale, 1, 1, 1] + [shift, 0, 0, 0]
    model = PopulationGLM().fit(X, s.y)
    assert model.converged_.all()
    rounded = s.X * [1, 1, 1, 1]
    rounded[:, 0] = (X[:, 0].astype(np.float32).astype(float) - shift) / scale  # all that float32 keeps
    expected = PopulationGLM().fit(rounded, s.y)
    assert model.score(X, s.y) == pytest.approx(expected.score(rounded, s.y), abs=1e-4)
    np.testing.assert_allclose(model.coef_[1:], expected.coef_[1:], atol=2e-3)
    np.testing.assert_allclose(model.coef_[0] * scale, expected.coef_[0], atol=2e-3)


def test_no_case_is_missing():
    assert len(REFUSED) + len(ACCEPTED) >= 60
