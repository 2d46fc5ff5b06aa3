"""Bands and tests of filters whose strengths were chosen by evidence: score, spread of the strengths, levels."""

import numpy as np
import pytest

from popglm.basis import BSplineEval
from popglm.batching import sequential_blocks
from popglm.glm import GLM, PopulationGLM
from popglm.inference import uncertainty
from popglm.inference._filter_evidence import ConditionalFilter, cauchy_combination
from popglm.regularizer import Ridge, Smoothness

N_BINS = 1500
RNG = np.random.default_rng(3)
A, B = RNG.uniform(size=(2, N_BINS))
SPLINES = BSplineEval(8, bounds=(0, 1))
X = np.hstack([SPLINES.compute_features(A), SPLINES.compute_features(B)])
CURVE, FLAT = np.arange(8), np.arange(8, 16)
PENALTY = Smoothness((8, 8))


def fit(y, X=X, penalty=PENALTY, model="Poisson", **settings):
    """Fit with strengths by evidence."""
    cls = GLM if y.ndim == 1 else PopulationGLM
    return cls(model, regularizer=penalty, regularizer_strength="evidence", **settings).fit(X, y)


def filter_of(errors, number, neuron=0):
    """Return the filter of one input, given the other."""
    estimates = errors._estimates
    coef = estimates.values[neuron, :-1] + estimates.posterior.step[neuron]
    return ConditionalFilter.of(estimates.posterior, neuron, coef, np.array([number]))


def test_score_and_information_are_those_without_the_filter(float64):
    """Of a regression: the gradient where the filter is 0 and the other one at its best, and its covariance."""
    X = RNG.normal(size=(300, 6))
    y = X @ [0.5, 0.3, 0.0, 0.1, 0.0, 0.2] + RNG.normal(size=300)
    model = fit(y, X, Ridge((3, 3)), "Gaussian")
    errors = uncertainty(model, X, y)
    one, scale = filter_of(errors, 1), float(model.scale_[0])
    centred, strength = X - X.mean(0), model.strength_ * 300 / scale
    gram, score = centred.T @ centred / scale, centred.T @ (y - y.mean()) / scale
    other = np.linalg.inv(gram[:3, :3] + strength[0] * np.eye(3))
    expected = gram[3:, 3:] - gram[3:, :3] @ other @ gram[:3, 3:]
    np.testing.assert_allclose(one.basis @ one.information @ one.basis.T, expected, rtol=1e-6)
    np.testing.assert_allclose(one.basis @ one.score, score[3:] - gram[3:, :3] @ other @ score[:3], rtol=1e-5)


def test_what_strengths_add_is_a_covariance_and_vanishes_with_the_data():
    rate = np.exp(np.sin(6 * A) + B)
    few, many = RNG.poisson(0.05 * rate), RNG.poisson(50 * rate)
    shares = []
    for y in (few, many):
        errors = uncertainty(fit(y), X, y)
        estimates = errors._estimates
        extra = estimates.covariance[0] - estimates.covariance_at_strengths[0]
        assert np.linalg.eigvalsh(extra).min() > -1e-6 * np.abs(extra).max()
        grid = SPLINES.compute_features(np.linspace(0.05, 0.95, 20))
        shares.append(
            np.trace(grid @ extra[:8, :8] @ grid.T) / np.trace(grid @ estimates.covariance[0][:8, :8] @ grid.T)
        )
    assert shares[0] > 3 * shares[1]
    assert shares[1] < 0.05


def test_a_filter_that_was_found_flat_has_a_band_and_its_test_keeps_the_level():
    y = RNG.poisson(0.2 * np.exp(np.sin(6 * A))[:, None], (N_BINS, 150))
    model = fit(y)
    errors = uncertainty(model, X, y)
    grid = SPLINES.compute_features(np.linspace(0.05, 0.95, 15))
    low, high = errors.bands(grid - grid.mean(0), FLAT)
    flat = model.edf_[1] < 1e-3
    assert flat.mean() > 0.4
    assert (high - low)[:, flat].mean() > 0.05
    assert ((low < 0) & (high > 0)).mean() > 0.93
    tests = errors.test({"curve": CURVE, "flat": FLAT})
    assert 0.01 < (tests.p_values[1] < 0.05).mean() < 0.12
    assert 0.35 < np.median(tests.p_values[1]) < 0.65
    assert (tests.p_values[0] < 0.05).mean() > 0.9


def test_the_sandwich_keeps_the_level_under_drift():
    """A slow drift that no input knows: rows are not independent, blocks nearly are."""
    drift = np.repeat(RNG.normal(scale=0.7, size=(N_BINS // 25, 100)), 25, axis=0)
    slow = SPLINES.compute_features(np.repeat(RNG.uniform(size=N_BINS // 25), 25))
    X = np.hstack([SPLINES.compute_features(A), slow])
    y = RNG.poisson(np.exp(np.sin(6 * A)[:, None] + drift))
    model = fit(y, X)
    share = {}
    for name, settings in (("posterior", {}), ("sandwich", {"kind": "sandwich", "clusters": 25})):
        share[name] = (uncertainty(model, X, y, **settings).test(FLAT).p_values < 0.05).mean()
    assert share["sandwich"] < 0.12
    assert share["posterior"] > 2 * share["sandwich"]


def refits(model, y, X, lazy):
    """Yield the name and the fit at the strengths of a fit by evidence, of dense, lazy and batched data."""
    given = {"regularizer_strength": model.strength_}
    yield "dense", PopulationGLM(regularizer=PENALTY, **given).fit(X, y), X
    yield "lazy", PopulationGLM(regularizer="Smoothness", **given).fit(lazy, y), lazy
    batched = PopulationGLM(regularizer="Smoothness", **given).fit_batches(sequential_blocks(lazy, y, 500), n_steps=300)
    yield "batches", batched, lazy


def test_errors_at_the_strengths_of_a_fit_by_evidence_are_those_of_this_fit():
    """Strengths for each part were chosen by data, whoever passes them on; flat filters have bands."""
    y = RNG.poisson(0.2 * np.exp(0.5 * np.sin(6 * A))[:, None], (N_BINS, 6))
    lazy = (SPLINES + SPLINES).lazy_features(A, B)
    model = fit(y)
    errors, groups = uncertainty(model, X, y), {"curve": CURVE, "flat": FLAT}
    for name, again, features in refits(model, y, X, lazy):
        found = uncertainty(again, features, y)
        np.testing.assert_allclose(found.coef_se, errors.coef_se, rtol=1e-3, err_msg=name)
        np.testing.assert_allclose(found.test(groups).p_values, errors.test(groups).p_values, rtol=1e-2, err_msg=name)


def test_high_frequencies_are_found_too():
    """A dip of one function, which a smooth statistic hardly sees."""
    rate = np.exp(0.5 - 2.5 * X[:, 3] + 2 * X[:, 4])
    y = RNG.poisson(0.4 * rate)
    assert uncertainty(fit(y), X, y).test(CURVE).p_values < 1e-6


def test_groups_that_are_no_inputs_and_masked_inputs_have_their_tests():
    y = RNG.poisson(0.3 * np.exp(np.sin(6 * A))[:, None], (N_BINS, 2))
    mask = np.ones((16, 2))
    mask[8:, 1] = 0
    errors = uncertainty(fit(y, feature_mask=mask), X, y)
    assert np.isfinite(errors.test(np.arange(2, 6)).p_values).all()
    both = errors.test(np.arange(16)).p_values
    assert (both < 1e-3).all()
    assert errors.test(FLAT).df[1] == 0


@pytest.mark.parametrize("p", [0.3, 1e-3, 1e-12])
def test_equal_p_values_are_combined_to_themselves(p):
    np.testing.assert_allclose(cauchy_combination(np.array([p, p, p])), p, rtol=1e-6)
    assert cauchy_combination(np.array([1.0, 1.0])) > 0.99
    assert cauchy_combination(np.array([p, 0.9, 0.9])) > p
