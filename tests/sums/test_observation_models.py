"""Observation models: equal to statsmodels and scipy, finite where others are not, the same laws as for Poisson."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import statsmodels.api as sm
from families import CASES, FAMILIES, SCALED, drawn
from samples import sample_cases
from scipy import stats

from popglm._design.sizes import SIZES
from popglm._design.total import total
from popglm._solver.passes import REFACTOR_INTERVAL
from popglm.batching import random_windows
from popglm.batching._default_solver import BatchFit
from popglm.glm import GLM, PopulationGLM
from popglm.links import LINKS
from popglm.observation_models import Bernoulli, Gamma, Gaussian, NegativeBinomial, Poisson

MODELS = ["Poisson", "Bernoulli", "Gaussian", "Gamma", "NegativeBinomial"]
EVERY = pytest.mark.parametrize("name", MODELS)
PRECISIONS = ["float32", "float64"]


def params(model):
    return np.vstack([model.intercept_, model.coef_])


def test_jax_tells_every_model_from_every_other():
    """Or, in a few of a hundred processes, one is computed by what was compiled for another."""
    kinds = [model(scale=1.0) for model in (Gaussian, Gamma, NegativeBinomial)] + [Poisson(), Bernoulli()]
    models = [replace(kind, link=LINKS[link]) for kind in kinds for link in ("exp", "softplus")]
    trees = [jax.tree.structure(model) for model in models]
    assert all((one == other) == (i == j) for i, one in enumerate(trees) for j, other in enumerate(trees))


@pytest.mark.parametrize(
    ("precision", "name", "link", "family"),
    sample_cases(((precision, *case) for precision in PRECISIONS for case in CASES), 11),
    ids=lambda value: value if isinstance(value, str) else "",
    indirect=["precision"],
)
def test_agrees_with_statsmodels(precision, name, link, family):
    """With missing rows and entries: coefficients, scale, log-likelihood, deviance."""
    X, y = drawn(name)
    if name == "Gaussian" and link == "exp":
        y = y - y.min() + 1
    X[:20, 1], y[100:300, 0] = np.nan, np.nan
    model = PopulationGLM(name, link).fit(X, y)
    assert model.converged_.all()
    double = precision == "float64"
    for n in range(3):
        keep = ~np.isnan(X).any(1) & ~np.isnan(y[:, n])
        design, some = sm.add_constant(X[keep]), y[keep, n]
        theirs, scale = family, 1.0
        if family is None:
            ml = sm.NegativeBinomial(some, design).fit(disp=0, method="newton", maxiter=200, tol=1e-14)
            np.testing.assert_allclose(model.scale_[n], ml.params[-1], rtol=1e-6 if double else 2e-3)
            theirs = FAMILIES.NegativeBinomial(alpha=float(model.scale_[n]))
        fit = sm.GLM(some, design, family=theirs).fit(tol=1e-14, maxiter=200)
        off = np.abs(params(model)[:, n] - fit.params)
        assert (off < (1e-6 * np.abs(fit.params) if double else 0.02 * fit.bse)).all()
        if name in ("Gaussian", "Gamma"):
            scale = fit.scale
            np.testing.assert_allclose(model.scale_[n], scale, rtol=1e-9 if double else 1e-4)
        single = GLM(name, link).fit(X, y[:, n])
        tolerance = 1e-10 if double else 1e-4
        likely = theirs.loglike(some, fit.mu, scale=scale)
        np.testing.assert_allclose(single.score(X, y[:, n]) * keep.sum(), likely, rtol=tolerance)
        cohen = single.score(X, y[:, n], score_type="pseudo-r2-Cohen")
        np.testing.assert_allclose(cohen, 1 - fit.deviance / fit.null_deviance, rtol=100 * tolerance)


DENSITIES = {
    "Poisson": lambda y, m: stats.poisson.logpmf(y, m),
    "Bernoulli": lambda y, m: stats.bernoulli.logpmf(y, m),
    "Gaussian": lambda y, m: stats.norm.logpdf(y, m, np.sqrt(2.0)),
    "Gamma": lambda y, m: stats.gamma.logpdf(y, 1 / 0.3, scale=0.3 * m),
    "NegativeBinomial": lambda y, m: stats.nbinom.logpmf(y, 2.5, 1 / (1 + 0.4 * m)),
}
SOME_Y = {"Bernoulli": [0.0, 1.0], "Gamma": [1e-3, 0.7, 30.0], "Gaussian": [-2.0, 0.0, 50.0]}


@EVERY
@pytest.mark.parametrize("eta", [-3.0, 0.0, 2.0])
def test_log_likelihood_is_scipys(precision, name, eta):
    model = SCALED[name]
    y = np.array(SOME_Y.get(name, [0.0, 1.0, 7.0, 200.0]))
    mean = float(model.mean(eta))
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if precision == "float64" else {"rtol": 3e-5, "atol": 3e-5}
    mean = float(stats.logistic.cdf(eta)) if name == "Bernoulli" else eta if name == "Gaussian" else np.exp(eta)
    np.testing.assert_allclose(model.log_likelihood(np.full(len(y), eta), y), DENSITIES[name](y, mean), **tolerance)
    at = np.asarray(y, float) if name != "Bernoulli" else y
    deviance = 2 * (DENSITIES[name](y, at if name == "Gaussian" else np.maximum(at, 1e-300)) - DENSITIES[name](y, mean))
    factor = model.scale if model.dispersion == "pearson" else 1
    np.testing.assert_allclose(model.deviance(np.full(len(y), eta), y), factor * deviance, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("alpha", [1e-5, 1e-2, 1.0, 50.0])
def test_negative_binomial_keeps_its_digits(alpha):
    y = np.array([0.0, 1.0, 4.0, 60.0])
    got = NegativeBinomial(scale=alpha).log_likelihood(np.float32(0.5), np.float32(y))
    expected = stats.nbinom.logpmf(y, 1 / alpha, 1 / (1 + alpha * np.exp(0.5)))
    np.testing.assert_allclose(got, expected, rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("name", ["logistic", "probit", "cloglog", "softplus", "exp", "identity"])
def test_links_are_their_own_inverse_and_keep_digits_in_their_tails(name):
    link = LINKS[name]
    with jax.enable_x64(True):
        eta = np.array([-30.0, -12.0, -8.9, -3.0, 0.0, 1.2])
        mean = np.asarray(link.inverse(eta))
        np.testing.assert_allclose(link.forward(mean), eta, rtol=1e-9, atol=1e-12)
        exact = None if name == "identity" else np.asarray(link.log_inverse(eta))
    if exact is not None:
        np.testing.assert_allclose(
            link.log_inverse(np.float32(eta)), exact, rtol=3e-5
        )  # JAX's log_ndtr has five digits
        with jax.enable_x64(True):
            np.testing.assert_allclose(np.log(mean), exact, rtol=1e-9)
    if link.log_rest is not None:
        np.testing.assert_allclose(link.log_rest(np.float32(eta)), np.log1p(-mean), rtol=3e-5, atol=1e-30)


@EVERY
def test_samples_have_the_mean_and_the_variance(name):
    model, eta = SCALED[name], np.full(200_000, 0.5)
    y = np.asarray(model.sample(jax.random.key(1), eta), float)
    mean = float(model.mean(0.5))
    variance = float(model.variance(mean)) * (model.scale if model.dispersion == "pearson" else 1)
    assert y.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / len(y)))
    assert y.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(
    ("precision", "name"), sample_cases(product(PRECISIONS, MODELS), 6), ids=str, indirect=["precision"]
)
def test_batches_end_at_the_exact_fit(precision, name):
    X, y = drawn(name)
    model = PopulationGLM(name).fit(X, y)
    windows = random_windows(X, y, n_bins=500, seed=0)
    batched = PopulationGLM(name).fit_batches(windows, n_steps=60 * len(windows))
    assert batched.converged_.all()
    atol = 1e-6 if precision == "float64" else 1e-3
    np.testing.assert_allclose(params(batched), params(model), atol=atol)
    np.testing.assert_allclose(batched.scale_, model.scale_, rtol=1e-6 if precision == "float64" else 2e-3)


@EVERY
def test_one_pass_is_nearly_the_exact_fit(float64, name):
    """The sample holds all rows, and a scale that has changed since a batch was met leaves nothing behind."""
    X, y = drawn(name)
    model = PopulationGLM(name).fit(X, y)
    windows = random_windows(X, y, n_bins=150, seed=0)
    once = PopulationGLM(name).fit_batches(windows, n_steps=len(windows))
    each = lambda samples: samples.sum(0)
    left = model.score(X, y, aggregate_sample_scores=each) - once.score(X, y, aggregate_sample_scores=each)
    assert (np.abs(left) < 0.02).all(), left
    np.testing.assert_allclose(once.scale_, model.scale_, rtol=2e-2)


@EVERY
def test_held_out_data_are_scored_at_the_scale_of_the_run(name):
    X, y = drawn(name)
    windows = random_windows(X[:1000], y[:1000], n_bins=100, seed=0)
    held_out = X[1000:], y[1000:]
    model = PopulationGLM(name).fit_batches(windows, 60, held_out=held_out, check_every=10, patience=6)
    exact = PopulationGLM(name).fit(X[:1000], y[:1000])
    assert len(model.history_["score"]) >= 2
    assert max(model.history_["score"]) == pytest.approx(exact.score(*held_out), abs=2e-3)
    assert model.score(*held_out) == pytest.approx(exact.score(*held_out), abs=2e-3)


def test_a_solver_of_ones_own_needs_a_scale_that_is_used():
    X, y = drawn("NegativeBinomial")
    windows = random_windows(X, y, n_bins=150, seed=0)
    still = SimpleNamespace(init=lambda params: (), update=lambda gradient, state, params: (gradient, state))
    with pytest.raises(ValueError, match=r"needs the scale of NegativeBinomial\. .*NegativeBinomial\(scale=0\.5\)"):
        PopulationGLM("NegativeBinomial").fit_batches(windows, 5, solver=still)
    with pytest.raises(ValueError, match="needs the scale of Gaussian"):
        PopulationGLM("Gaussian").fit_batches(windows, 5, solver=still, held_out=(X, y), check_every=2)
    assert np.isfinite(PopulationGLM("Gaussian").fit_batches(windows, 5, solver=still).coef_).all()


@pytest.mark.parametrize("name", ["Gaussian", "NegativeBinomial"])
def test_a_scale_from_a_sample_counts_its_rows_by_what_they_stand_for(monkeypatch, name):
    """Rows with large features are kept more often, and here they scatter less."""
    monkeypatch.setattr("popglm.batching._sample.MAX_SAMPLE_ROWS", 1500)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12_000, 2)) * rng.lognormal(sigma=1, size=(12_000, 1)) / 3
    sd = np.where(np.abs(X).max(1) < 0.7, 1.0, 0.1)[:, None]
    eta = 0.2 * np.tanh(X) @ np.ones((2, 2)) + 1
    y = eta + sd * rng.normal(size=eta.shape)
    if name == "NegativeBinomial":
        y = rng.poisson(np.exp(eta) * rng.gamma(1 / sd**2, sd**2, eta.shape))
    model = PopulationGLM(name).fit(X, y)
    windows = random_windows(X, y, n_bins=500, seed=0)
    once = PopulationGLM(name).fit_batches(windows, n_steps=len(windows))
    np.testing.assert_allclose(once.scale_, model.scale_, rtol=0.1)


@EVERY
def test_a_population_is_its_neurons_one_by_one(float64, monkeypatch, name):
    """And twice the same data change nothing, nor does the size of the blocks that they are summed in."""
    X, y = drawn(name)
    model = PopulationGLM(name).fit(X, y)
    for n in range(3):
        single = GLM(name).fit(X, y[:, n])
        np.testing.assert_allclose(np.r_[single.intercept_, single.coef_], params(model)[:, n], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(single.scale_, model.scale_[n], rtol=1e-6)
    twice = PopulationGLM(name).fit(np.vstack([X, X]), np.vstack([y, y]))
    np.testing.assert_allclose(params(twice), params(model), rtol=1e-6, atol=1e-7)
    free = len(X) - 4
    factor = 2 * free / (2 * len(X) - 4) if name in ("Gaussian", "Gamma") else 1
    np.testing.assert_allclose(twice.scale_, factor * model.scale_, rtol=1e-6)
    monkeypatch.setattr(SIZES, "block_rows", 96)
    monkeypatch.setattr(SIZES, "chunk_blocks", 2)
    other = PopulationGLM(name).fit(X, y)
    np.testing.assert_allclose(params(other), params(model), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(other.scale_, model.scale_, rtol=1e-6)


@pytest.mark.parametrize(("name", "more"), [("Poisson", 0), ("Bernoulli", 1), ("Gaussian", 2)])
def test_a_loss_without_a_scale_needs_no_pass_for_one(monkeypatch, name, more):
    """Beside the first pass and the solver's: whether y is separable, the least loss and Pearson's chi-squared."""
    X, y = drawn(name)
    summed = []
    for module in ("_solver.exact", "_solver.passes", "_sums.scale"):
        monkeypatch.setattr(f"popglm.{module}.total", lambda f, *args: summed.append(f) or total(f, *args))
    model = PopulationGLM(name).fit(X, y)
    assert model.n_iter_.max() < REFACTOR_INTERVAL
    assert len(summed) == 1 + model.n_iter_.max() + more


@EVERY
def test_units_of_y_change_nothing_but_units(name):
    """Where y has units: a millionth or a million of it is fitted as well."""
    if name not in ("Gaussian", "Gamma"):
        return
    X, y = drawn(name)
    model = PopulationGLM(name).fit(X, y)
    for factor in (1e-6, 1e6):
        other = PopulationGLM(name).fit(X, factor * y)
        assert other.converged_.all()
        scale = factor if name == "Gaussian" else 1
        se = np.sqrt(model.scale_) / np.sqrt(len(X))
        assert (np.abs(other.coef_ / scale - model.coef_) < 0.02 * se).all()
        np.testing.assert_allclose(other.scale_, model.scale_ * scale**2, rtol=1e-4)
        windows = random_windows(X, factor * y, n_bins=150, seed=0)
        batched = PopulationGLM(name).fit_batches(windows, n_steps=30 * len(windows))
        assert (np.abs(batched.coef_ - other.coef_) < 0.02 * se * scale).all() and batched.converged_.all()


@pytest.mark.parametrize(
    ("name", "constant", "words"),
    [
        ("Bernoulli", 0, "no event"),
        ("Bernoulli", 1, "an event in every valid bin"),
        ("Gaussian", 3.3, "the same y"),
        ("Gamma", 3.3, "the same y"),
        ("NegativeBinomial", 0, "no event"),
    ],
)
def test_a_neuron_without_variation_is_named_and_disturbs_nobody(precision, name, constant, words):
    X, y = drawn(name)
    alone = PopulationGLM(name).fit(X, y[:, [0, 2]])
    y[:, 1] = constant
    with pytest.warns(RuntimeWarning, match=f"neuron 1: {words}"):
        model = PopulationGLM(name).fit(X, y)
    assert np.isfinite(model.predict(X)).all() and np.isfinite(model.score(X, y))
    np.testing.assert_allclose(model.predict(X)[:, 1], constant, atol=1e-3)
    np.testing.assert_allclose(params(model)[:, [0, 2]], params(alone), atol=1e-3 if precision == "float32" else 1e-6)


def test_separable_data_are_named(precision):
    X, y = drawn("Bernoulli")
    y[:, 1] = X[:, 0] > 0
    with pytest.warns(
        RuntimeWarning, match="neuron 1: the features tell every bin with an event from every bin without"
    ):
        model = PopulationGLM("Bernoulli").fit(X, y)
    assert np.isfinite(params(model)).all() and np.isfinite(model.score(X, y))


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        ("Bernoulli", 2.0, "0 or 1"),
        ("Bernoulli", 0.5, "0 or 1"),
        ("Gamma", 0.0, "positive numbers"),
        ("NegativeBinomial", -1.0, "counts"),
    ],
)
def test_the_support_is_checked(name, bad, words):
    X, y = drawn(name)
    y[7, 1] = bad
    with pytest.raises(ValueError, match=f"`y` must hold {words}.* for {name}; row 7 holds {bad}"):
        PopulationGLM(name).fit(X, y)


def test_links_must_fit_the_model():
    X, y = drawn("Bernoulli")
    with pytest.raises(ValueError, match=r"'exp' gives positive ones\. Use one of cloglog, logistic, probit"):
        PopulationGLM("Bernoulli", "exp").fit(X, y)
    with pytest.raises(ValueError, match="must give positive means"):
        PopulationGLM("Poisson", "identity").fit(X, y)


def test_updates_need_a_scale_that_the_loss_has():
    X, y = drawn("NegativeBinomial")
    plain = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
    model = PopulationGLM("NegativeBinomial", **plain)
    start = model.initialize_params(X, y)
    with pytest.raises(ValueError, match=r"NegativeBinomial\(scale=0.5\)"):
        model.initialize_state(X, y, start)
    model = PopulationGLM(NegativeBinomial(scale=0.4), **plain)
    at, state = start, model.initialize_state(X, y, start)
    for _ in range(300):
        at, state = model.update(at, state, X, y)
    exact = PopulationGLM(NegativeBinomial(scale=0.4)).fit(X, y)
    np.testing.assert_allclose(at[0], exact.coef_, atol=0.02)
    assert model.score(X, y) == pytest.approx(exact.score(X, y), rel=1e-3)


def test_a_feature_that_separates_a_part_is_named(precision):
    """No event, or one in every bin, where a feature is not 0: the likelihood grows with its coefficient for ever."""
    rng = np.random.default_rng(0)
    X = np.c_[
        rng.normal(size=2000), np.eye(4)[rng.integers(0, 4, 2000)][:, :3], np.maximum(rng.normal(size=2000) - 2, 0)
    ]
    X[:, 4] *= -1
    y = rng.binomial(1, 0.3, (2000, 4)).astype(float)
    y[X[:, 2] > 0, 1] = 0
    y[X[:, 4] < 0, 2] = 1
    y[X[:, 2] > 0, 3] = 0
    mask = np.ones((5, 4))
    mask[2, 3] = 0
    with pytest.warns(RuntimeWarning, match=r"neuron 1, 2: feature 2, 4: where it is not 0 .*quasi-separation"):
        model = PopulationGLM("Bernoulli", feature_mask=mask).fit(X, y)
    each = {"aggregate_sample_scores": lambda samples: samples.sum(0)}
    before, coef = model.score(X, y, **each), model.coef_.copy()
    for feature, neuron, further in ((2, 1, -3), (4, 2, -3)):
        model.coef_ = coef.copy()
        model.coef_[feature, neuron] += further
        assert model.score(X, y, **each)[neuron] >= before[neuron]
    assert PopulationGLM("Bernoulli", regularizer="Ridge", regularizer_strength=0.01).fit(X, y).converged_.all()
    assert PopulationGLM("Bernoulli").fit(X[:, [0, 1, 3]], y[:, [0, 1, 3]]).converged_.all()  # warnings are errors


def test_counts_without_overdispersion_are_named(precision):
    """Their negative binomial has no least scale but 0, and is the fit of Poisson's model."""
    rng = np.random.default_rng(0)
    X, counts = rng.normal(size=(1500, 3)), rng.negative_binomial(2, 0.5, (1500, 3))
    counts[:, 1] = np.minimum(counts[:, 1], 1)
    with pytest.warns(RuntimeWarning, match=r"neuron 1: no overdispersion.*Take observation_model=.Poisson"):
        model = PopulationGLM("NegativeBinomial").fit(X, counts)
    poisson = PopulationGLM().fit(X, counts)
    np.testing.assert_allclose(params(model)[:, 1], params(poisson)[:, 1], atol=1e-3)
    windows = random_windows(X, counts, n_bins=500, seed=0)
    with pytest.warns(RuntimeWarning, match="neuron 1: no overdispersion"):
        PopulationGLM("NegativeBinomial").fit_batches(windows, 3 * len(windows))
    PopulationGLM(NegativeBinomial(scale=1e-6)).fit(X, counts)  # as given, without a word


@pytest.mark.parametrize("name", ["Gaussian", "Gamma"])
def test_no_noise_is_fitted_to_round_off(name):
    """In single precision too: the scale is positive, what is scored is finite."""
    rng = np.random.default_rng(0)
    X, coef = rng.normal(size=(2000, 4)), rng.normal(size=(4, 3)) / 4
    y = X @ coef + [-1, 0, 1]
    y = np.exp(y) if name == "Gamma" else y
    model = PopulationGLM(name).fit(X, y)
    windows = random_windows(X, y, n_bins=200, seed=0)
    for some in (model, PopulationGLM(name).fit_batches(windows, 5 * len(windows))):
        np.testing.assert_allclose(some.coef_, coef, atol=1e-6)
        assert (some.scale_ > 0).all() and (some.scale_ < 1e-10).all() and np.isfinite(some.score(X, y))
        assert some.score(X, y, score_type="pseudo-r2-Cohen") == pytest.approx(1, abs=1e-6)


def test_features_that_others_determine_are_no_parameters(precision):
    """Neither of a fit to all data, nor of one by batches."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    X, y = np.c_[X, X[:, :2], X @ rng.normal(size=(4, 3))], rng.normal(size=(60, 2))
    with pytest.warns(RuntimeWarning, match="a sum of other features"):
        model = PopulationGLM("Gaussian").fit(X, y)
    windows = random_windows(X, y, n_bins=20, seed=0)
    with pytest.warns(RuntimeWarning, match="a sum of other features"):
        batched = PopulationGLM("Gaussian").fit_batches(windows, 20 * len(windows))
    fewer = PopulationGLM("Gaussian").fit(X[:, :4], y)
    np.testing.assert_allclose(model.scale_, fewer.scale_, rtol=1e-3)
    np.testing.assert_allclose(batched.scale_, fewer.scale_, rtol=1e-3)


@pytest.mark.parametrize("name", ["Gaussian", "NegativeBinomial"])
def test_the_scale_is_that_of_the_step_that_is_kept(monkeypatch, name):
    """Held-out data choose a step, and so its scale."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    y = X[:, :1] / 4 + rng.normal(size=(400, 2))
    y = y if name == "Gaussian" else rng.poisson(np.exp(y))
    scales, dispersion = [], BatchFit.dispersion.fget
    monkeypatch.setattr(BatchFit, "dispersion", property(lambda fit: scales.append(dispersion(fit)) or scales[-1]))
    windows = random_windows(X[:200], y[:200], n_bins=50, seed=0)
    model = PopulationGLM(name).fit_batches(windows, 40, held_out=(X[200:], y[200:]), check_every=1, patience=12)
    best = int(np.argmax(model.history_["score"]))
    assert best < len(scales) - 1 and model.score(X[200:], y[200:]) == pytest.approx(model.history_["score"][best])
    np.testing.assert_array_equal(model.scale_, scales[best])
    assert not np.array_equal(scales[best], scales[-1])
