"""Every neuron is fitted by itself: whatever one of them does, the others' numbers are those of their single fits."""

import itertools

import jax
import numpy as np
import pytest
import statsmodels.api as sm
from samples import sample_cases

from popglm._design.total import total
from popglm.basis import IdentityEval
from popglm.glm import GLM, PopulationGLM
from popglm.inference import uncertainty
from popglm.regularizer import GroupLasso, Lasso, Ridge, Smoothness

N_BINS, BAD = 400, 1  # the neuron that misbehaves stands between the others
MODELS = ["Poisson", "Bernoulli", "Gaussian", "Gamma", "NegativeBinomial"]
PENALTIES = [None, Ridge(), Lasso(), GroupLasso(2), Smoothness(2)]
MISDEEDS = ["silent", "separated", "steep", "slow", "gaps", "missing", "huge"]


def is_possible(case):
    """A path needs a penalty, solvers by name need a known scale and a smooth penalty, `maxiter` is an option of `fit`."""
    model, penalty, way, misdeed, _ = case
    if misdeed == "slow" and way in ("batches", "named solver"):
        return False
    if way == "path":
        return penalty is not None
    return way != "named solver" or (model != "NegativeBinomial" and isinstance(penalty, Ridge | None))


WAYS = ["fit", "lazy", "path", "batches", "named solver"]
PRODUCT = itertools.product(MODELS, PENALTIES, WAYS, MISDEEDS, ["float32", "float64"])
CASES = [case for case in PRODUCT if is_possible(case)]


def activity(model, misdeed):
    """Four features, and activity of three neurons, of which one misbehaves."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N_BINS, 4))
    eta = X @ rng.normal(scale=0.3, size=(4, 3))
    draw = {
        "Poisson": lambda: rng.poisson(np.exp(eta)),
        "Bernoulli": lambda: rng.random(eta.shape) < 1 / (1 + np.exp(-eta)),
        "Gaussian": lambda: eta + rng.normal(size=eta.shape),
        "Gamma": lambda: rng.gamma(2, np.exp(eta) / 2),
        "NegativeBinomial": lambda: rng.poisson(np.exp(eta) * rng.gamma(1 / 0.6, 0.6, eta.shape)),
    }
    y, high, events = draw[model]().astype(float), X[:, 0] > 0, model not in ("Gaussian", "Gamma")
    bad, largest = y[:, BAD], 1.0 if model == "Bernoulli" else 1e6
    y[:, BAD] = {
        "silent": 0 * bad + (not events),  # or constant
        "separated": np.where(high, bad, 0) if events else np.exp(X[:, 0]),  # or without noise
        "steep": np.where(X[:, 0] > 2.2, largest, 0 if events else 1e-3),
        "slow": np.where(X[:, 0] > 2.2, largest, 0 if events else 1e-3),  # for the few passes that it is given
        "gaps": np.where(rng.random(N_BINS) < 0.9, np.nan, bad),
        "missing": np.full(N_BINS, np.nan),
        "huge": largest * (bad if events else 1 + np.abs(bad)),
    }[misdeed]
    return X, y


def fitted(estimator, X, y, way):
    """Coefficients, intercepts, scales and convergence of one way to fit, neurons last."""
    if way == "path":
        path = estimator.fit_path(X, y, [0.01, 0.05])
        return path.coef.reshape(8, -1), path.intercept, np.ones(0), path.converged
    if way == "lazy":
        X = sum((IdentityEval() for _ in range(3)), IdentityEval()).lazy_features(*X.T)
    if way == "batches":
        estimator.fit_batches([(X[:200], y[:200]), (X[200:], y[200:])], n_steps=50)
    else:
        estimator.fit(X, y)
    return estimator.coef_.reshape(4, -1), estimator.intercept_, estimator.scale_, estimator.converged_


def make_settings(penalty, way, misdeed):
    """Arguments of the estimator in a case."""
    settings = {} if penalty is None else {"regularizer": penalty, "regularizer_strength": 0.02}
    if way == "named solver":
        settings |= {"solver_name": "LBFGS"}
    return settings | ({"solver_kwargs": {"maxiter": 25}} if misdeed == "slow" else {})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", sample_cases(CASES, 19), ids=lambda case: "-".join(map(str, case)))
def test_others_are_their_single_fits(case):
    model, penalty, way, misdeed, precision = case
    settings = make_settings(penalty, way, misdeed)
    with jax.enable_x64(precision == "float64"):
        X, y = activity(model, misdeed)
        *numbers, scale, converged = fitted(PopulationGLM(model, **settings), X, y, way)
        for n in (0, 2):
            *expected, single_scale, single_converged = fitted(GLM(model, **settings), X, y[:, n], way)
            for got, single in zip(numbers, expected, strict=True):
                np.testing.assert_allclose(got[..., n], single[..., 0], atol=5e-4, rtol=0)  # 0.01 standard errors
            np.testing.assert_allclose(scale[n : n + 1], single_scale[: scale.size], rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(converged[..., n], single_converged[..., 0])


def test_a_scale_is_found_while_another_neuron_still_runs(precision):
    """Scales by statsmodels 0.15.0 (`NegativeBinomial`, Newton): 0.79170 and 0.64881; a neuron at `maxiter` has none."""
    X, y = activity("NegativeBinomial", "slow")
    with pytest.warns(RuntimeWarning, match="neuron 1: the fit stopped before it converged"):
        model = PopulationGLM("NegativeBinomial", solver_kwargs={"maxiter": 25}).fit(X, y)
    np.testing.assert_array_equal(model.converged_, [True, False, True])
    np.testing.assert_allclose(model.scale_[[0, 2]], [0.79170, 0.64881], rtol=2e-4)


@pytest.mark.filterwarnings("ignore:neuron.*no overdispersion:RuntimeWarning")
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_a_scale_costs_few_passes(monkeypatch, spread):
    """Coefficients and scale are found together, in at most four passes over the data more than Poisson's coefficients."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(2000, 3))
    mean = np.exp(X @ rng.normal(scale=0.3, size=(3, 6)) - 0.5)
    y, summed, passes = rng.poisson(mean * rng.gamma(2, 0.5, mean.shape) if spread else mean), [], []
    for module in ("exact", "passes"):
        monkeypatch.setattr(f"popglm._solver.{module}.total", lambda f, *args: summed.append(f) or total(f, *args))
    for name in ("Poisson", "NegativeBinomial"):
        assert PopulationGLM(name).fit(X, y).converged_.all()
        passes.append(len(summed))
    assert passes[1] - passes[0] <= passes[0] + 4


def test_a_scale_of_strongly_modulated_neurons_costs_few_passes():
    """A Poisson fit goes astray here, and takes its time. Coefficients at this scale by `GLM` of statsmodels 0.15."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    coef = rng.normal(size=(3, 6))
    mean = np.exp(X @ (2 * coef / np.linalg.norm(coef, axis=0)) + 1)
    y = rng.poisson(mean * rng.gamma(1, 1, mean.shape)).astype(float)
    model = PopulationGLM("NegativeBinomial").fit(X, y)
    assert model.converged_.all() and model.n_iter_.max() <= 30
    for n, scale in enumerate(model.scale_[:2].astype(float)):
        right = sm.GLM(y[:, n], sm.add_constant(X), sm.families.NegativeBinomial(alpha=scale)).fit(tol=1e-12)
        assert (np.abs(model.coef_[:, n] - right.params[1:]) / right.bse[1:]).max() < 0.01


@pytest.mark.filterwarnings("ignore:feature:RuntimeWarning")
def test_uncertainty_names_the_neuron_that_loses_its_errors():
    """Only neuron 1 has no bin in which two features differ."""
    rng = np.random.default_rng(6)
    X = rng.normal(size=(300, 3))
    X[:150, 2] = X[:150, 1]
    y = rng.poisson(1.0, (300, 3)).astype(float)
    y[150:, 1] = np.nan
    model = PopulationGLM().fit(X, y)
    with pytest.warns(RuntimeWarning, match="neuron 1: feature 1, 2: the data do not determine these coefficients"):
        errors = uncertainty(model, X, y).coef_se
    assert np.isnan(errors[1:, 1]).all() and np.isfinite(errors[:, [0, 2]]).all()
