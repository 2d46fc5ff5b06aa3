"""Numbers may come as arrays without axes, of NumPy or JAX: wherever a number is taken, they are that number."""

import jax.numpy as jnp
import numpy as np
import pynapple as nap
import pytest

from popglm.basis import BSplineEval, FourierEval, RaisedCosineLogConv
from popglm.batching import count_lazily, random_windows
from popglm.glm import GLM, PopulationGLM
from popglm.inference import uncertainty
from popglm.model_selection import BlockSplit, cross_validate_path
from popglm.observation_models import NegativeBinomial

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(200, 4)), RNG.poisson(1.0, 200)
UNITS = nap.TsGroup({0: nap.Ts(np.arange(0, 5, 0.07)), 1: nap.Ts(np.arange(0, 5, 0.11))})
LAZY = RaisedCosineLogConv(2, window_size=5).lazy_features(Y)
RIDGE = {"regularizer": "Ridge"}
CALLS = {  # a call of numbers, and what to compare
    "strength": ([0.25], lambda s: GLM(**RIDGE, regularizer_strength=s).fit(X, Y).coef_),
    "tol": ([0.5], lambda tol: GLM(solver_kwargs={"tol": tol}).fit(X, Y).coef_),
    "maxiter of LBFGS": (
        [500], lambda n: GLM(solver_name="LBFGS", solver_kwargs={"maxiter": n}).fit(X, Y).coef_
    ),
    "scale": ([0.5], lambda scale: GLM(NegativeBinomial(scale=scale)).fit(X, Y).coef_),
    "basis": ([3, 20], lambda n, window: RaisedCosineLogConv(n, window_size=window).kernel),
    "bounds": ([0.0, 2.0], lambda low, high: BSplineEval(5, bounds=(low, high)).compute_features(np.linspace(0, 2, 9))),
    "bounds in one array": (
        [0.0, 2.0], lambda low, high: BSplineEval(5, bounds=jnp.stack([low, high])).compute_features(np.linspace(0, 2, 9))
    ),
    "frequencies": ([3], lambda n: FourierEval(n, bounds=(0, 1)).compute_features(np.linspace(0, 1, 9))),
    "bin size": ([0.25], lambda size: np.asarray(count_lazily(UNITS, size))),
    "windows": ([50, 3], lambda n, seed: np.concatenate([x for x, _ in random_windows(X, Y, n, seed=seed)])),
    "level": ([0.5], lambda level: uncertainty(GLM().fit(X, Y), X, Y).interval(level)),
    "clusters": ([10], lambda n: uncertainty(GLM().fit(X, Y), X, Y, "sandwich", clusters=n).coef_se),
    "groups": ([2], lambda n: uncertainty(GLM().fit(X, Y), X, Y).test(n).statistic),
    "folds": ([3], lambda n: np.concatenate([test for _, test in BlockSplit(n, window=0).split(X, Y)])),
    "steps": ([4], lambda n: PopulationGLM().fit_batches([(X, Y[:, None])], n).coef_),
    "folds of a path": ([2], lambda n: cross_validate_path(GLM(**RIDGE), LAZY, Y, n, strengths=[0.1]).scores),
}  # fmt: skip
FORMS = {
    "an array": np.array,
    "a scalar of NumPy": lambda value: np.array(value)[()],
    "a scalar of JAX": jnp.asarray,
}


@pytest.mark.parametrize("name", CALLS)
def test_an_array_without_axes_is_its_number(name):
    values, call = CALLS[name]
    expected = call(*values)
    for form in FORMS.values():
        np.testing.assert_array_equal(call(*map(form, values)), expected)


def test_lags_may_be_scaled_to_seconds():
    lags, _ = RaisedCosineLogConv(3, window_size=20).evaluate_on_grid()
    lags *= 0.005
    np.testing.assert_allclose(lags, 0.005 * np.arange(1, 21))
