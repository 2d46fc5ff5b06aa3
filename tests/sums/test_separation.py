"""Coefficients without a finite optimum are named, whatever the fit, and no others; the rest of the fit is right."""

import warnings

import numpy as np
import pytest

from popglm.glm import GLM, PopulationGLM
from popglm.inference import uncertainty

ONE = r"neuron 0: feature 1: where it is not 0 there is no event in any bin.*quasi-separation"
SUM = r"neuron 0: feature 0, 1: where a weighted sum of them and the intercept is not 0.*reference level of a category"


def counts_without_events(n=2000):
    """Counts that depend on feature 0, and are 0 wherever feature 1 is 1."""
    rng = np.random.default_rng(0)
    X = np.c_[rng.integers(0, 2, n), rng.random(n) < 0.3].astype(float)
    y = rng.poisson(np.exp(X[:, 0]))
    y[X[:, 1] > 0] = 0
    return X, y


def empty_reference(n=2000):
    """A category of three levels, and counts that are 0 in the first, for which there is no column."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 3, n)
    return np.eye(3)[levels][:, 1:], rng.poisson(np.array([0.0, 1.0, 2.0])[levels])


def in_batches(model, X, y, n_steps):
    return model.fit_batches([(X[i::4], y[i::4]) for i in range(4)], n_steps)


BY_PART = {"regularizer": "Ridge", "regularizer_strength": np.array([1.0, 0.0])}
FITS = {
    "Poisson": lambda X, y: GLM().fit(X, y),
    "negative binomial": lambda X, y: GLM("NegativeBinomial").fit(X, y),
    "softplus": lambda X, y: GLM(inverse_link_function="softplus").fit(X, y),
    "from a start": lambda X, y: GLM().fit(X, y, (np.zeros(2, np.float32), np.zeros(1, np.float32))),
    "a named solver": lambda X, y: GLM(solver_name="LBFGS").fit(X, y),
    "batches that come once": lambda X, y: in_batches(GLM(), X, y, 4),
    "batches that come again": lambda X, y: in_batches(GLM(), X, y, 12),
    "one of two neurons": lambda X, y: PopulationGLM().fit(X, np.c_[y, np.roll(y, 1)]),
    "a path without a penalty on it": lambda X, y: GLM(**BY_PART).fit_path(X, y, [1e-3, 1e-2]),
}
EXPECTED = "ignore:neuron 0. no overdispersion", "ignore:neuron 0. the fit (met|stopped)"


@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings(*EXPECTED)
def test_a_feature_that_no_event_comes_with_is_named(name):
    X, y = counts_without_events()
    with pytest.warns(RuntimeWarning, match=ONE):
        model = FITS[name](X, y)
    if name in ("Poisson", "negative binomial"):  # the other coefficient is that of the bins in which feature 1 is 0
        rest = X[:, 1] == 0
        assert model.coef_[0] == pytest.approx(GLM().fit(X[rest, :1], y[rest]).coef_[0], abs=1e-3)


@pytest.mark.parametrize("name", sorted(FITS.keys() - {"a named solver", "a path without a penalty on it", "softplus"}))
@pytest.mark.filterwarnings(*EXPECTED)
def test_a_reference_level_without_an_event_is_named(name):
    with pytest.warns(RuntimeWarning, match=SUM):
        FITS[name](*empty_reference())


@pytest.mark.parametrize("absent", [1, 0])
def test_a_binary_reference_level_in_which_all_is_alike_is_named(absent, precision):
    X, y = empty_reference()
    with pytest.warns(RuntimeWarning, match=SUM):
        GLM("Bernoulli").fit(X, np.minimum(y, 1) if absent else 1 - np.minimum(y, 1))


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_errors_of_a_reference_level_without_an_event_say_what_it_is():
    X, y = empty_reference()
    model = GLM().fit(X, y)
    with pytest.warns(RuntimeWarning, match="feature 0, 1: where a weighted sum.*reference level") as caught:
        result = uncertainty(model, X, y)
    assert len(caught) == 1 and np.isnan(result.coef_se).all() and np.isnan(result.intercept_se).all()


def test_another_reference_level_mends_it():
    """The message's advice. The level without events is named by itself then, and all others have errors."""
    X, y = empty_reference()
    other = np.c_[1 - X.sum(1), X[:, 0]]
    with pytest.warns(RuntimeWarning, match="neuron 0: feature 0: where it is not 0 there is no event"):
        model = GLM().fit(other, y)
    with pytest.warns(RuntimeWarning, match="neuron 0 feature 0: where the feature is not 0"):
        result = uncertainty(model, other, y)
    assert np.isfinite(result.coef_se[1]) and np.isfinite(result.intercept_se[0])


@pytest.mark.parametrize("penalty", ["Ridge", "Lasso", "ElasticNet"])
@pytest.mark.parametrize("data", [counts_without_events, empty_reference])
def test_a_penalty_mends_it(penalty, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = GLM(regularizer=penalty, regularizer_strength=0.01).fit(*data())
    assert model.converged_.all()


def test_bins_in_which_a_neuron_cannot_fire_may_be_left_out():
    """The message's advice for a dead time: NaN in y there changes no other coefficient, and nothing is left to warn of."""
    X, y = counts_without_events()
    with pytest.warns(RuntimeWarning, match="Keep it where the neuron cannot fire.*or set y to NaN in these bins"):
        kept = GLM().fit(X, y)
    alive = np.where(X[:, 1] > 0, np.nan, y)
    left_out = GLM().fit(X, alive)  # warnings are errors
    np.testing.assert_allclose([kept.coef_[0], *kept.intercept_], [left_out.coef_[0], *left_out.intercept_], atol=1e-3)
    np.testing.assert_allclose(kept.predict(X)[X[:, 1] == 0], left_out.predict(X)[X[:, 1] == 0], rtol=1e-3)


def test_what_only_looks_alike_is_not_named():
    """One event is enough; a masked feature, features of both signs, and strong ones with events are none of it."""
    X, y = counts_without_events()
    y[np.flatnonzero(X[:, 1])[0]] = 1
    GLM().fit(X, y)
    X, y = counts_without_events()
    PopulationGLM(feature_mask=np.array([[1], [0]])).fit(X, y[:, None])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 1)) * (y == 0)[:, None]  # 0 in every bin with an event, of both signs elsewhere
    GLM().fit(x, y)
    X = rng.normal(size=(2000, 2))
    GLM().fit(X, rng.poisson(np.exp(2 * X[:, 0] - 2)))  # warnings are errors
