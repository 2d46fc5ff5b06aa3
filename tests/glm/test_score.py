"""Scores: the likelihood they state, on the bins they state, against the null model they state."""

import jax
import numpy as np
import pytest
from samples import small_data
from scipy.stats import poisson

from popglm._design.total import total
from popglm.glm import GLM, PopulationGLM
from popglm.glm._score import SCORE_TYPES, ModelOnData
from popglm.links import resolve_link
from popglm.observation_models import Poisson

MCFADDEN, COHEN = "pseudo-r2-McFadden", "pseudo-r2-Cohen"


def by_hand(model, X, y, means=None):
    """Log-likelihood of every bin, NaN where it is invalid; under constant means if they are given."""
    rate = (
        np.exp(X.astype(float) @ model.coef_ + model.intercept_) if means is None else np.broadcast_to(means, y.shape)
    )
    invalid = np.isnan(X).any(1)[:, None] | np.isnan(y)
    return np.where(invalid, np.nan, poisson.logpmf(np.nan_to_num(y), np.nan_to_num(rate)))


def test_log_likelihood_is_the_mean_over_valid_bins_and_neurons(scored):
    model, X, y = scored
    expected = np.nanmean(by_hand(model, X, y))
    assert model.score(X, y) == pytest.approx(expected, rel=1e-5)
    assert isinstance(model.score(X, y), float)


def valid_mean(X, y):
    return np.nanmean(np.where(np.isnan(X).any(1)[:, None], np.nan, y), 0)


NULLS = {
    "scored": (lambda model, X, y: valid_mean(X, y), [0, 1]),  # the silent neuron is left out
    "train": (lambda model, X, y: small_data(0)[1].mean(0), [0, 1, 2]),
    "rates": (lambda model, X, y: np.array([0.2, 0.5, 0.4]), [0, 1, 2]),
}


@pytest.mark.parametrize("null", NULLS)
def test_mcfadden_compares_with_the_null_model_that_was_asked_for(scored, null):
    model, X, y = scored
    means, counted = NULLS[null][0](*scored), NULLS[null][1]
    with np.errstate(divide="ignore"):
        full, empty = by_hand(model, X, y)[:, counted], by_hand(model, X, y, means)[:, counted]
    expected = 1 - np.nansum(full) / np.nansum(empty)
    got = model.score(X, y, score_type=MCFADDEN, null=means if null == "rates" else null)
    assert got == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("null", NULLS)
def test_cohen_compares_deviances(scored, null):
    model, X, y = scored
    means, counted = NULLS[null][0](*scored), NULLS[null][1]
    best = poisson.logpmf(np.nan_to_num(y), np.nan_to_num(y))[:, counted]
    full, empty = (best - by_hand(model, X, y, m)[:, counted] for m in (None, np.maximum(means, 1e-30)))
    expected = 1 - np.nansum(full) / np.nansum(empty)
    got = model.score(X, y, score_type=COHEN, null=means if null == "rates" else null)
    assert got == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("far", [5.0, 30.0, 60.0])
@pytest.mark.parametrize("score_type", [MCFADDEN, COHEN])
def test_a_model_far_from_the_data_is_worse_than_the_null_model_by_what_it_is(score_type, far):
    """After steps that were too large; the null model is not a difference of two sums that contain the model."""
    y = np.random.default_rng(0).poisson(0.5, (400, 2)).astype(float)
    X = np.zeros((400, 1))
    model = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False})
    model.coef_, model.intercept_ = np.zeros((1, 2), np.float32), np.full(2, far, np.float32)
    null, saturated = poisson.logpmf(y, y.mean(0)).sum(), poisson.logpmf(y, y).sum()
    loss = (np.exp(far) - far * y - poisson.logpmf(y, 1) - 1).sum()
    missed = -null if score_type == MCFADDEN else saturated - null
    expected = (-loss - null) / missed
    assert model.score(X, y, score_type=score_type) == pytest.approx(expected, rel=1e-5)
    assert model.score(X, y, score_type=score_type, aggregate_sample_scores=np.mean) == pytest.approx(
        expected, rel=1e-4
    )


def test_scores_per_neuron(scored):
    """Rows without any valid bin are gone, single invalid bins are NaN, a silent neuron scores 0."""
    model, X, y = scored
    seen = []
    model.score(X, y, aggregate_sample_scores=lambda s: seen.append(s) or 0.0)
    expected = by_hand(model, X, y)
    np.testing.assert_allclose(seen[0], expected[~np.isnan(expected).all(1)], rtol=1e-4, atol=1e-5)

    def each(score_type):
        return model.score(X, y, score_type=score_type, aggregate_sample_scores=lambda s: np.nanmean(s, axis=0))

    np.testing.assert_allclose(each("log-likelihood"), np.nanmean(expected, 0), rtol=1e-5)
    for kind in (MCFADDEN, COHEN):
        assert each(kind)[2] == 0
        for n in (0, 1):
            rest = [m for m in range(3) if m != n]
            alone = y.copy()
            alone[:, rest] = np.nan
            assert each(kind)[n] == pytest.approx(model.score(X, alone, score_type=kind), abs=1e-5)


def test_the_default_aggregate_never_builds_the_array_of_all_bins(scored, monkeypatch):
    model, X, y = scored
    monkeypatch.setattr(ModelOnData, "entries", None)
    for score_type in SCORE_TYPES:
        assert np.isfinite(model.score(X, y, score_type=score_type))
    with pytest.raises(TypeError):
        model.score(X, y, aggregate_sample_scores=np.nanmean)


@pytest.mark.parametrize("score_type", SCORE_TYPES)
def test_an_aggregate_of_the_mean_equals_the_default(scored, score_type):
    model, X, y = scored
    y[:, 2] = small_data(1)[1][:, 2]
    got = model.score(X, y, score_type=score_type, aggregate_sample_scores=np.nanmean)
    assert got == pytest.approx(model.score(X, y, score_type=score_type), abs=1e-5)


def test_single_and_population_scores_agree():
    X, y = small_data()
    model = PopulationGLM().fit(X, y)
    singles = [GLM().fit(X, y[:, n]).score(X, y[:, n]) for n in range(3)]
    assert model.score(X, y) == pytest.approx(np.mean(singles), rel=1e-5)


def test_train_null_needs_a_fit():
    X, y = small_data()
    model = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False})
    params = model.initialize_params(X, y)
    model.update(params, model.initialize_state(X, y, params), X, y)
    with pytest.raises(ValueError, match=r'null="train".*Call `fit`'):
        model.score(X, y, score_type=MCFADDEN, null="train")


def test_pynapple_and_numpy_score_alike(population, basis):
    X = basis.compute_features(population.counts)
    model = PopulationGLM().fit(X, population.counts)
    assert model.score(X, population.counts) == model.score(X.values, population.counts.values)


@pytest.mark.parametrize("link", ["exp", "softplus", jax.nn.softplus])
@pytest.mark.parametrize("eta", [-60.0, -30.0, -20.0, -16.0, -5.0, 0.0, 3.0, 20.0])
@pytest.mark.parametrize("y", [0.0, 1.0, 7.0])
def test_gradients_survive_float32(link, eta, y):
    """The derivative in the linear predictor keeps its digits where the mean is tiny."""
    got = jax.grad(Poisson(link=resolve_link(link)).loss)(np.float32(eta), np.float32(y))
    sigmoid = 1 / (1 + np.exp(-eta))
    expected = np.exp(eta) - y if link == "exp" else sigmoid - y * sigmoid / np.log1p(np.exp(eta))
    assert float(got) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("y", [0, 1, 5, 100])
def test_log_likelihood_is_normalised(y):
    for eta in (-3.0, 0.0, 4.0):
        assert float(Poisson().log_likelihood(np.float32(eta), np.float32(y))) == pytest.approx(
            poisson.logpmf(y, np.exp(eta)), rel=1e-5
        )
    assert float(Poisson().saturated(np.float32(y))) == pytest.approx(poisson.logpmf(y, y), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, 1),
        ({"score_type": MCFADDEN, "null": "train"}, 1),
        ({"score_type": COHEN}, 2),
        ({"score_type": "bits-per-spike"}, 2),
    ],
)
def test_the_null_model_is_summed_in_the_pass_of_the_model(scored, monkeypatch, settings, passes):
    """Only means of the y that is scored are counted before."""
    model, X, y = scored
    summed = []
    monkeypatch.setattr("popglm.glm._score.total", lambda f, *args: summed.append(f) or total(f, *args))
    model.score(X, y, **settings)
    assert len(summed) == passes
