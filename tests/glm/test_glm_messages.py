"""Messages of the estimators: settings, calls out of order, and data of other shapes than those of the fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from messages import PLAIN, assert_refused, count, fit, frame, put, simulate, table
from samples import Rows
from sklearn.exceptions import NotFittedError

import popglm
from popglm.assessment import rescaled_intervals
from popglm.glm import GLM, PopulationGLM
from popglm.observation_models import NegativeBinomial, ObservationModel


class Undecorated(ObservationModel):
    """A model of one's own, but for the line above."""

    loss = least = saturated = variance = sample = None


def fit_rows(s, **rows):
    return PopulationGLM().fit(s.X, s.y, **rows)


def named(y):
    return pd.DataFrame(y, columns=list("abc"))


REFUSED = {
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
    "observation model of another tool": (
        lambda s: fit(s.X, s.y, observation_model="Binomial"), ValueError, "Did you mean 'Bernoulli'"
    ),
    "class of another tool as a word": (
        lambda s: fit(s.X, s.y, observation_model="PoissonObservations"), ValueError, "Did you mean 'Poisson'"
    ),
    "link in place of its inverse": (lambda s: fit(s.X, s.y, inverse_link_function="log"), ValueError, "Did you mean 'exp'"),
    "logit": (lambda s: fit(s.X, s.y, inverse_link_function="logit"), ValueError, "Did you mean 'logistic'"),
    "method of another tool": (
        lambda s: s.model.initialize_solver_and_state(s.X, s.y), AttributeError, "PopulationGLM .*Here it is `initialize_state`"
    ),
    "files of another tool": (lambda s: s.model.save_params("a"), AttributeError, r"Here it is popglm.io.save\(model, path\)"),
    "files of another tool, read": (lambda s: popglm.load_model("a"), AttributeError, r"Here it is popglm.io.load\(path\)"),
    "summary of another tool": (
        lambda s: s.model.summary(), AttributeError, r"Here it is popglm.inference.summary\(model, X, y\)"
    ),
    "number of another tool's summary": (
        lambda s: s.model.aic, AttributeError, r"Here it is in the table `neurons` of popglm.inference.summary\(model, X, y\)"
    ),
    "errors of another tool": (
        lambda s: s.model.bse, AttributeError, r"Here it is `coef_se` of popglm.inference.uncertainty\(model, X, y\)"
    ),
    "class of another tool": (
        lambda s: popglm.observation_models.PoissonObservations(), AttributeError, "has no attribute .*Here it is Poisson"
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
    "progress as a word": (lambda s: PopulationGLM().fit(s.X, s.y, progress="yes"), TypeError, "`progress` must be True"),
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
    "a state of words": (
        lambda s: s.stepper.update(s.params, ("a",), s.X, s.y), TypeError, "`state` must come from `initialize_state`"
    ),
    "aggregate returns words": (
        lambda s: s.model.score(s.X, s.y, aggregate_sample_scores=lambda x: "a"), TypeError, "must return a number"
    ),
    "null True": (lambda s: s.model.score(s.X, s.y, "pseudo-r2-Cohen", null=True), ValueError, "`null` must be"),
    "features in another order": (
        lambda s: PopulationGLM().fit(count(frame(s.y)), s.y).predict(count(frame(s.y))[:, ::-1]),
        ValueError, "feature names should match.*expected '0:0' where '2:1' came",
    ),
    # Weights and offsets
    "weights of another length": (
        lambda s: fit_rows(s, sample_weight=np.ones(9)), ValueError, "same number of rows; got 600 and 9"
    ),
    "offset of other neurons": (
        lambda s: fit_rows(s, offset=np.ones((600, 2))), ValueError, r"`offset` must have shape .*\(600, 3\).*all neurons"
    ),
    "weights transposed": (lambda s: fit_rows(s, sample_weight=np.ones((3, 600))), ValueError, "number of rows; got 600 and 3"),
    "weights with three axes": (lambda s: fit_rows(s, sample_weight=np.ones((600, 3, 1))), ValueError, "must be 1-D or 2-D"),
    "offset a number": (lambda s: fit_rows(s, offset=1.5), ValueError, r"number for each row.*Write `np.full\(600, value\)`"),
    "weight a number": (lambda s: s.model.score(s.X, s.y, sample_weight=2), ValueError, "got one number. Write `np.full"),
    "weights negative": (
        lambda s: fit_rows(s, sample_weight=put(np.ones(600), 7, -2)), ValueError, "not be below 0; row 7 holds -2. Give 0"
    ),
    "weights negative in a stream": (
        lambda s: fit_rows(s, sample_weight=Rows(put(np.ones(600), 7, -2))), ValueError, "not be below 0; row 7 holds -2"
    ),
    "weights infinite": (lambda s: fit_rows(s, sample_weight=put(s.y, (5, 1), np.inf)), ValueError, "finite; row 5 .*by NaN"),
    "offset the log of 0": (
        lambda s: fit_rows(s, offset=put(s.y, (5, 1), -np.inf)), ValueError, r"finite; row 5 .*`np.log\(np.where\(exposure > 0"
    ),
    "offset infinite in a stream": (
        lambda s: fit_rows(s, offset=Rows(put(s.y, (5, 1), -np.inf))), ValueError, "row 5 holds an infinite value. Leave out"
    ),
    "weights of words": (lambda s: fit_rows(s, sample_weight=["2"] * 600), TypeError, "must hold real numbers.*asarray"),
    "weights all 0": (lambda s: fit_rows(s, sample_weight=np.zeros(600)), ValueError, "no bin is valid.*has zero weight"),
    "weights 0 in an update": (
        lambda s: s.stepper.update(s.params, s.state, s.X, s.y, sample_weight=np.zeros(600)), ValueError, "no bin is valid"
    ),
    "offset NaN everywhere": (lambda s: fit_rows(s, offset=s.y * np.nan), ValueError, "`sample_weight` or `offset`"),
    "weights at other times": (
        lambda s: PopulationGLM().fit(frame(s.X), s.y, sample_weight=frame(s.y, shift=1.0)),
        ValueError, "X and sample_weight must share their times; row 0 is at 0.000000 s in X and at 1.000000 s",
    ),
    "offset of neurons in another order": (
        lambda s: PopulationGLM().fit(s.X, named(s.y)).predict(s.X, offset=named(s.y)[list("cba")]),
        ValueError, "columns of `offset` should be the neurons, in the same order; expected 'a' where 'c' came. Select",
    ),
    "weights of an index of its own": (
        lambda s: PopulationGLM().fit(s.X, named(s.y), sample_weight=named(s.y)[::-1]),
        ValueError, "index",
    ),
    "aggregate of rows that count twice": (
        lambda s: s.model.score(s.X, s.y, aggregate_sample_scores=np.nanmean, sample_weight=np.full(600, 2)),
        ValueError, "`aggregate_sample_scores` takes each row as it is, and cannot count one 2 times. Select rows",
    ),
    "intervals of rows that count twice": (
        lambda s: rescaled_intervals(s.model, s.X, s.y, seed=0, sample_weight=np.full(600, 2)),
        ValueError, "`rescaled_intervals` takes each row as it is, and cannot count one 2 times. Select rows",
    ),
    "columns of a table in another order": (
        lambda s: PopulationGLM().fit(table(s.X), s.y).score(table(s.X)[list("dcba")], s.y), ValueError, "should match"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_was_expected_what_came_and_the_fix(s, name):
    assert_refused(s, *REFUSED[name])


def test_fixes_of_weights_and_offsets(s):
    """What the messages advise works."""
    exposure = put(np.ones(600), 5, 0.0)
    offset = np.log(np.where(exposure > 0, exposure, np.nan))
    fitted = fit_rows(s, offset=offset, sample_weight=np.full(600, 2))
    np.testing.assert_allclose(fitted.coef_, fit_rows(s, sample_weight=exposure > 0).coef_, atol=1e-4)
    assert np.isfinite(s.model.score(s.X, s.y, aggregate_sample_scores=np.nanmean, sample_weight=exposure))
    assert len(rescaled_intervals(s.model, s.X, s.y, seed=0, sample_weight=exposure)) == 3
    model = PopulationGLM().fit(s.X, named(s.y))
    offset = named(s.y)[list("cba")]
    assert model.predict(s.X, offset=offset[list("abc")]).shape == s.y.shape
