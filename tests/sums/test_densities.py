"""Statistics keep their digits in single precision: log-likelihoods, their slopes, and the sums of their differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api as sm
from samples import Rows
from scipy import stats
from scipy.special import gammaln, xlogy

from popglm import assessment
from popglm._sums.densities import count_deviance
from popglm.glm import GLM, PopulationGLM
from popglm.inference import leave_out_test, uncertainty
from popglm.model_selection import BlockSplit, cross_validate_path
from popglm.observation_models import Gaussian, NegativeBinomial, Poisson


def log_density(y, mean, alpha):
    """Of a negative binomial in 64 bits, from SciPy 1.17's gammaln; at alpha 0 SciPy's Poisson."""
    if alpha == 0:
        return stats.poisson.logpmf(y, mean)
    shape = 1 / alpha
    normaliser = gammaln(y + shape) - gammaln(shape) - gammaln(y + 1)
    return normaliser + xlogy(y, alpha * mean / (1 + alpha * mean)) - shape * np.log1p(alpha * mean)


def test_log_likelihoods_keep_their_digits(precision):
    """Whatever the counts, errors are relative to the log-likelihood, and not to y times the logarithm of the mean."""
    eta = np.repeat(np.float32([-40, -9, -1, 0.3, 3, 6.9, 12]), 7)
    mean = np.exp(eta.astype(float))
    y = np.tile([0, 1, 1.1, 2, 0, 0, 0], 7) * mean + np.tile([0, 0, 0, 0, 1, 3, 1000], 7)
    y, alphas = np.floor(y.astype(np.float32)), np.float32([1e-6, 1e-3, 0.05, 0.7, 50])
    entries = tuple(jnp.asarray(a, precision)[None] for a in (eta, y))
    models = Poisson(), NegativeBinomial().with_scale(alphas)
    got = np.vstack([jax.jit(lambda model: model.log_likelihood(*entries))(model) for model in models])
    expected = [log_density(y.astype(float), mean, alpha) for alpha in (0.0, *alphas.astype(float))]
    tolerance = {"rtol": 2e-6, "atol": 2e-6} if precision == "float32" else {"rtol": 1e-9, "atol": 2e-8}
    np.testing.assert_allclose(got, expected, **tolerance)


def test_slopes_in_the_dispersion_keep_their_digits():
    """By them the dispersion is found, also where there is next to none."""
    y, eta, alphas = (
        np.array([[0.0, 1, 2, 5, 18, 20, 23, 300, 0, 1]]),
        np.array([[*8 * [3.0], -60, -60]]),
        np.array([[1e-6], [1e-3], [0.7]]),
    )

    def slopes(dtype):
        some_y, some_eta, log_alpha = (jnp.asarray(a, dtype) for a in (y, eta, np.log(alphas)))
        likelihood = lambda at: NegativeBinomial(scale=jnp.exp(at)).log_likelihood(some_eta, some_y)
        return np.asarray(jax.jit(lambda at: jax.jvp(likelihood, (at,), (jnp.ones_like(at),))[1])(log_alpha))

    with jax.enable_x64(True):
        expected = slopes(float)
    np.testing.assert_allclose(slopes(np.float32) / alphas, expected / alphas, rtol=5e-5, atol=2e-5)


def test_a_loss_of_ones_own_has_its_own_deviance():
    """Of a class above it takes neither the formula of the deviance nor that y may be centred."""
    doubled = type(
        "Doubled",
        (Poisson,),
        {"loss": lambda self, eta, y: 2 * Poisson.loss(self, eta, y), "least": lambda self, y: 2 * y},
    )
    assert float(doubled().deviance(0.0, 0.0)) == pytest.approx(4.0)
    assert float(type("Same", (Poisson,), {})().deviance(0.0, 0.0)) == pytest.approx(2.0)
    assert Gaussian().location_family and not Gaussian(link="exp").location_family
    assert not type("Other", (Gaussian,), {"loss": Gaussian.loss})().location_family


def large_counts(name, mean, n=1500, neurons=3, alpha=0.05):
    """Features, of which the second has no effect, and large counts."""
    rng = np.random.default_rng(22)
    X = rng.normal(size=(n, 2))
    mean = mean * np.exp(0.2 * X[:, :1] + np.zeros((1, neurons)))
    return X, rng.poisson(mean * (rng.gamma(1 / alpha, alpha, mean.shape) if name == "NegativeBinomial" else 1)).astype(
        float
    )


@pytest.mark.parametrize("alpha", [None, 1e-6, 0.02, 4.0])
def test_slopes_of_the_deviance_are_those_of_its_formula(alpha):
    """Its own rules of differentiation, first and second, against JAX's of the formula in 64 bits."""
    y, log_mean = np.meshgrid([0.0, 1, 3, 17, 900, 1000, 1100, 4e5], [-3.0, 0.9, 7.0, 12.9])

    def deviance(y, eta, alpha):
        return count_deviance(y, jnp.exp(eta), eta, alpha).sum()

    def formula(y, eta, alpha):
        saturated, odds = jnp.where(y > 0, y * jnp.log(jnp.where(y > 0, y, 1)), 0), jnp.exp(eta) - y
        if alpha is not None:
            odds = (y + 1 / alpha) * (jnp.log1p(alpha * jnp.exp(eta)) - jnp.log1p(alpha * y))
        return 2 * (saturated - y * eta + odds).sum()

    def derivatives(function, dtype):
        points = [jnp.asarray(a, dtype) for a in (y, log_mean)] + [alpha and jnp.asarray(alpha, dtype)]
        slope = lambda eta: jax.jvp(lambda e: function(points[0], e, points[2]), (eta,), (jnp.ones_like(eta),))[1]
        wanted = (0, 1) if alpha is None else (0, 1, 2)
        return [np.asarray(a) for a in (*jax.grad(function, wanted)(*points), jax.grad(slope)(points[1]))]

    with jax.enable_x64(True):
        expected = derivatives(formula, np.float64)
    for k, (got, right) in enumerate(zip(derivatives(deviance, np.float32), expected, strict=True)):
        got, right = (a[:, 1:] if k == 0 else a for a in (got, right))  # the formula has no slope at y = 0
        np.testing.assert_allclose(got, right, rtol=2e-5, atol=1e-6 * np.abs(right).max())


@pytest.mark.parametrize(("mean", "alpha"), [(1000, 0.3), (10_000, 0.01), (100_000, 0.3)])
def test_fits_to_large_counts_meet_no_round_off(mean, alpha):
    """Single precision needs no more passes than double precision, and comes to the same coefficients and dispersion."""
    X, y = large_counts("NegativeBinomial", mean, alpha=alpha)
    fit = PopulationGLM("NegativeBinomial").fit(X, y)
    assert fit.converged_.all()
    with jax.enable_x64(True):
        double = PopulationGLM("NegativeBinomial").fit(X, y)
        error = np.abs(fit.coef_ - double.coef_) / uncertainty(double, X, y).coef_se
    assert error.max() < 2e-3 and fit.n_iter_.max() <= double.n_iter_.max(), (fit.n_iter_, double.n_iter_)
    np.testing.assert_allclose(fit.scale_, double.scale_, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "mean", "in_64_bits"),
    [
        ("NegativeBinomial", 1000, [9.49943, 0.07684, 1.26508]),
        ("Poisson", 20_000, [0.45486, 0.27693, 0.03972]),
        ("Poisson", 170_000, [0.21864, 0.62438, 0.63021]),
    ],
)
def test_likelihood_ratios_of_large_counts_are_those_of_64_bits(name, mean, in_64_bits):
    X, y = large_counts(name, mean)
    tests = leave_out_test(PopulationGLM(name).fit(X, y), X, y, features=[[1]])
    np.testing.assert_allclose(tests.statistic[0], in_64_bits, atol=2e-3)


def test_scores_and_residuals_of_large_counts():
    """At 1.7e5 counts per bin, against SciPy 1.17 in 64 bits."""
    X, y = large_counts("Poisson", 170_000)
    model = PopulationGLM().fit(X, y)
    mean = np.exp(model.intercept_.astype(float) + X.astype(np.float32).astype(float) @ model.coef_.astype(float))
    likely, best, null = (stats.poisson.logpmf(y, at) for at in (mean, y, y.mean(0)))
    assert model.score(X, y) == pytest.approx(likely.mean(), abs=1e-4)
    assert model.score(X, y, aggregate_sample_scores=np.mean) == pytest.approx(likely.mean(), abs=1e-4)
    lost = (best - likely).sum() / (best - null).sum()
    assert 1 - model.score(X, y, score_type="pseudo-r2-Cohen") == pytest.approx(lost, rel=2e-3)
    expected = np.sign(y - mean) * np.sqrt(2 * np.maximum(best - likely, 0))
    np.testing.assert_allclose(assessment.deviance_residuals(model, X, y), expected, atol=5e-3)


@pytest.mark.parametrize("form", [np.asarray, Rows], ids=["array", "stream"])
def test_activity_far_from_0_is_fitted_as_near_it(form):
    """Gaussian activity, such as a voltage with an offset: the numbers are those of OLS in statsmodels 0.15."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1000, 2))
    y = 1e7 + 3 * X[:, :1] + rng.normal(size=(1000, 1))
    ols, reduced = (sm.OLS(y, sm.add_constant(X[:, :k])).fit() for k in (2, 1))
    data = X, form(y)
    model = PopulationGLM("Gaussian").fit(*data)
    assert model.converged_.all()
    np.testing.assert_allclose(model.intercept_, ols.params[:1], rtol=1e-12)
    np.testing.assert_allclose(model.coef_[:, 0], ols.params[1:], atol=1e-5)
    np.testing.assert_allclose(model.scale_, ols.scale, rtol=1e-5)
    assert len(X) * model.score(*data) == pytest.approx(ols.llf, abs=0.01)
    table = assessment.scores(model, *data)
    assert table["pseudo-r2-Cohen"][0] == pytest.approx(ols.rsquared, abs=1e-6)
    assert table["mean"][0] == pytest.approx(y.mean(), rel=1e-12)
    for null in ("train", y.mean(0)):
        assert model.score(*data, score_type="pseudo-r2-Cohen", null=null) == pytest.approx(ols.rsquared, abs=1e-6)
    np.testing.assert_allclose(assessment.deviance_residuals(model, *data)[:, 0], ols.resid, atol=1e-4)
    tests = leave_out_test(model, *data, features=[[1]])
    assert tests.statistic[0, 0] == pytest.approx(ols.compare_f_test(reduced)[0], abs=1e-3)
    np.testing.assert_allclose(uncertainty(model, *data).coef_se[:, 0], ols.bse[1:], rtol=1e-5)


def test_paths_of_activity_far_from_0():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 2))
    y = 3 * X[:, 0] + rng.normal(size=300)
    far, near = (
        cross_validate_path(
            GLM("Gaussian", regularizer="Lasso"), X, shift + y, BlockSplit(2, window=0), strengths=[0.01, 0.1]
        )
        for shift in (1e6, 0)
    )
    np.testing.assert_allclose(far.path.intercept - 1e6, near.path.intercept, atol=1e-5)
    np.testing.assert_allclose(far.path.coef, near.path.coef, atol=1e-5)
    np.testing.assert_allclose(far.scores, near.scores, atol=1e-4)
