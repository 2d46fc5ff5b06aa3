"""Strengths by evidence: the maximum of the evidence, for every way to hold the data, and honest where there is nothing."""

import warnings

import numpy as np
import pytest
from samples import sample_cases
from scipy.optimize import minimize
from test_each_neuron import activity

from popglm._solver.evidence import QuadraticModel, _Evaluation, initial_log_strength, maximise_evidence
from popglm.basis import BSplineEval, CyclicBSplineEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.inference import uncertainty
from popglm.regularizer import Lasso, Mixed, Ridge, Smoothness

N_BINS = 1200
RNG = np.random.default_rng(8)
POSITION, SPEED = RNG.uniform(size=(2, N_BINS))
BASIS = BSplineEval(8, bounds=(0, 1)) + BSplineEval(8, bounds=(0, 1))
X = np.asarray(BASIS.compute_features(POSITION, SPEED))
ETA = np.sin(6 * POSITION)[:, None] * [1.0, 0.4, 0.8] - 0.5
Y = {
    "Poisson": RNG.poisson(np.exp(ETA)),
    "Bernoulli": (RNG.random(ETA.shape) < 1 / (1 + np.exp(-ETA))).astype(int),
    "Gaussian": ETA + RNG.normal(size=ETA.shape),
    "Gamma": RNG.gamma(2, np.exp(ETA) / 2),
    "NegativeBinomial": RNG.poisson(np.exp(ETA) * RNG.gamma(2, 0.5, ETA.shape)),
}
PENALTY = Smoothness((8, 8))


def fit(X, y, model="Poisson", penalty=PENALTY, estimator=PopulationGLM, settings=None, **data):
    """Fit with strengths by evidence."""
    return estimator(model, regularizer=penalty, regularizer_strength="evidence", **settings or {}).fit(X, y, **data)


def assert_same_fit(one, other, rtol=2e-3):
    """Assert equal degrees of freedom, evidence and predictors, to the precision that strengths have."""
    np.testing.assert_allclose(one.edf_, other.edf_, rtol=rtol, atol=2e-3)
    np.testing.assert_allclose(one.log_evidence_, other.log_evidence_, rtol=1e-6, atol=3e-3)
    np.testing.assert_allclose(one.coef_, other.coef_, atol=rtol)


def quadratic_model(penalty, coef, seed):
    """Quadratic model of a regression with these coefficients, in the coordinates of the penalty, and the penalty's parts."""
    rng, parts = np.random.default_rng(seed), penalty.quadratic_parts(len(coef))
    X = rng.normal(size=(400, len(coef)))
    target = X.T @ (X @ coef + rng.normal(size=400))
    return QuadraticModel(X.T @ X, target, 0.0).rotate(parts.basis), parts


COEFS = {
    "wave": (Smoothness(10, select=True), 0.4 * np.sin(np.arange(10))),
    "line": (Smoothness(10, select=True), 0.1 * (np.arange(10) - 4.5)),
    "nothing": (Smoothness(10, select=True), np.zeros(10)),
    "senders": (Ridge((4, 4, 4)), np.repeat([0.2, 0.0, 0.1], 4)),
    "map": (Smoothness(((4, 4),), select=True), 0.3 * np.outer(np.sin(np.arange(4)), np.arange(4) / 4).ravel()),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", COEFS)
def test_no_strengths_have_more_evidence(case, seed):
    """A general optimiser finds at most what parts that were removed for adding less than 0.1 nats would have added."""
    model, parts = quadratic_model(*COEFS[case], seed)
    step = maximise_evidence(model, parts.weights, None)
    step = maximise_evidence(model, parts.weights, step.strengths)
    loss = lambda log_strength: -_Evaluation.at(model, parts.weights, log_strength).value
    start = initial_log_strength(model, parts.weights)
    bounds = [(-10, 25)] * len(start)
    best = min(minimize(loss, start + shift, bounds=bounds).fun for shift in (-3, 0, 3))
    found = loss(np.minimum(step.strengths.log_strength, 25))
    assert found <= best + 0.1 * step.strengths.removed.sum() + 1e-4
    if not step.strengths.removed.any():
        np.testing.assert_allclose(found, best, atol=1e-4)


def test_of_two_parts_that_need_one_another_one_stays():
    """Two correlated senders: beside the other, each adds nothing; without both, much is lost."""
    hessian = np.array([[100.0, 99.0], [99.0, 100.0]])
    model = QuadraticModel(hessian, hessian @ [0.12, 0.12], 0.0).rotate(np.eye(2))
    for last in (None, maximise_evidence(model, np.eye(2), None).strengths):
        step = maximise_evidence(model, np.eye(2), last)
        assert step.strengths.removed.sum() == 1
        assert 0.5 < step.edf.sum() < 1


def test_derivatives_are_those_of_the_evidence(float64):
    model, parts = quadratic_model(*COEFS["map"], 0)
    value = lambda log_strength: _Evaluation.at(model, parts.weights, log_strength).value
    at = np.array([1.0, 2.0, 0.5])
    steps, here = 1e-4 * np.eye(3), _Evaluation.at(model, parts.weights, at)
    slopes = [(value(at + step) - value(at - step)) / 2e-4 for step in steps]
    np.testing.assert_allclose(here.gradient, slopes, rtol=1e-5, atol=1e-6)
    changes = [
        _Evaluation.at(model, parts.weights, at + step).gradient
        - _Evaluation.at(model, parts.weights, at - step).gradient
        for step in steps
    ]
    np.testing.assert_allclose(here.hessian(parts.weights, at), np.array(changes) / 2e-4, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sample_cases(list(Y), 3))
def test_a_population_is_fitted_as_its_neurons(name):
    population = fit(X, Y[name], name)
    assert population.converged_.all()
    single = fit(X, Y[name][:, 1], name, estimator=GLM)
    np.testing.assert_allclose(population.edf_[:, 1], single.edf_, rtol=1e-4)
    np.testing.assert_allclose(population.strength_[:, 1], single.strength_, rtol=1e-3)
    np.testing.assert_allclose(population.log_evidence_[1], single.log_evidence_, rtol=1e-6)


def test_units_of_y_change_no_strength():
    """Of a Gaussian: prior and scale change alike, so that strengths per bin stay what they are."""
    y = Y["Gaussian"][:, 0]
    one, other = (fit(X, factor * y, "Gaussian", estimator=GLM) for factor in (1, 3))
    np.testing.assert_allclose(other.edf_, one.edf_, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(other.strength_, one.strength_, rtol=0.02)


def test_lazy_and_streamed_features_give_the_same_fit():
    dense = fit(X, Y["Poisson"])
    lazy = fit(BASIS.lazy_features(POSITION, SPEED), Y["Poisson"], penalty=Smoothness())
    assert_same_fit(dense, lazy, 1e-4)


def test_a_weight_counts_its_row_and_an_offset_is_a_held_input():
    weight = RNG.integers(0, 3, N_BINS)
    weighted = fit(X, Y["Poisson"], sample_weight=weight.astype(float))
    assert_same_fit(weighted, fit(np.repeat(X, weight, 0), np.repeat(Y["Poisson"], weight, 0)))
    offset = 0.5 * RNG.normal(size=N_BINS)
    counts = RNG.poisson(np.exp(ETA + offset[:, None]))
    with_offset, without = fit(X, counts, offset=offset), fit(X, counts)
    assert (with_offset.log_evidence_ > without.log_evidence_ + 10).all()
    shifted = fit(X, counts, offset=offset + 1)
    np.testing.assert_allclose(shifted.intercept_, with_offset.intercept_ - 1, atol=1e-3)
    assert_same_fit(with_offset, shifted)


def test_the_unit_of_features_changes_nothing(float64):
    wide = fit(X, Y["Poisson"])
    narrow = fit(X * np.repeat([100.0, 0.01], 8), Y["Poisson"])
    np.testing.assert_allclose(wide.edf_, narrow.edf_, rtol=1e-5, atol=1e-6)
    factor = np.repeat([100.0, 0.01], 2)[:, None] ** 2
    alive = (wide.edf_.repeat(2, 0) > 0.5) & (wide.strength_ < 1e3)  # beyond, a part is removed
    np.testing.assert_allclose((narrow.strength_ / factor)[alive], wide.strength_[alive], rtol=1e-4)


def test_strengths_found_give_the_fit_again():
    model = fit(X, Y["Poisson"])
    again = PopulationGLM(regularizer=Smoothness((8, 8), select=True), regularizer_strength=model.strength_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.fit(X, Y["Poisson"])
    np.testing.assert_allclose(again.coef_, model.coef_, atol=2e-3)


def test_a_flat_filter_is_flat_and_a_straight_one_straight():
    rng = np.random.default_rng(4)
    x = rng.uniform(size=3000)
    X = BSplineEval(10, bounds=(0, 1)).compute_features(x)
    flat = fit(X, rng.poisson(0.3, (3000, 120)), penalty=Smoothness(10))
    assert np.mean(flat.edf_ < 0.1) >= 0.5  # 63 % of 200 with 10,000 bins
    straight = fit(X, rng.poisson(0.3 * np.exp(1.5 * x - 0.75)[:, None], (3000, 120)), penalty=Smoothness(10))
    assert np.median(straight.edf_) < 1.3
    assert straight.edf_.min() > 0.8


def test_a_silent_neuron_and_a_masked_input_have_no_strengths():
    y = Y["Poisson"].copy()
    y[:, 0] = 0
    mask = np.ones((16, 3))
    mask[8:, 2] = 0
    with pytest.warns(RuntimeWarning, match="neuron 0: no event"):
        model = fit(X, y, settings={"feature_mask": mask})
    assert np.isnan(model.strength_[:, 0]).all() and np.isnan(model.edf_[:, 0]).all()
    assert np.isnan(model.strength_[2:, 2]).all() and model.edf_[1, 2] == 0
    alone = fit(X[:, :8], y[:, 2], penalty=Smoothness(8), estimator=GLM)
    np.testing.assert_allclose(model.coef_[:8, 2], alone.coef_, atol=1e-3)
    np.testing.assert_allclose(model.log_evidence_[2], alone.log_evidence_, rtol=1e-6)
    assert_same_fit(
        fit(X, y[:, 1], estimator=GLM), fit(X, Y["Poisson"][:, 1], estimator=GLM)
    )  # the silent one changes no other


@pytest.mark.parametrize("misdeed", ["silent", "separated", "steep", "gaps", "missing", "huge"])
@pytest.mark.parametrize("name", ["Poisson", "Gaussian"])
def test_whatever_one_neuron_does_the_others_are_fitted_as_alone(name, misdeed):
    X, y = activity(name, misdeed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        together = fit(X, y, name, penalty=Ridge(2))
    for n in (0, 2):
        alone = fit(X, y[:, n], name, penalty=Ridge(2), estimator=GLM)
        np.testing.assert_allclose(together.edf_[:, n], alone.edf_, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(together.coef_[:, n], alone.coef_, atol=1e-3)


def test_functions_that_were_never_visited_follow_their_neighbours():
    rng = np.random.default_rng(2)
    x = rng.uniform(0.3, 1, 4000)
    basis = BSplineEval(10, bounds=(0, 1))
    X = basis.compute_features(x)
    assert (X[:, 0] == 0).all()
    model = fit(X, rng.poisson(np.exp(1.5 * x)), penalty=Smoothness(10), estimator=GLM)
    coef = np.asarray(model.coef_)
    np.testing.assert_allclose(np.diff(coef[:3]), np.diff(coef[1:4]), atol=0.1)  # a straight line


def test_a_corner_that_was_hardly_visited_is_no_warning(recwarn):
    """Its penalty is far above that of the others, in units of what little is known, and makes them all unique."""
    x, z = np.random.default_rng(5).uniform(size=(2, 4000))
    visited = (x < 0.62) | (z < 0.6201)  # a few bins of functions that end here
    place = BSplineEval(8, bounds=(0, 1)) * BSplineEval(8, bounds=(0, 1))
    features, counts = place.lazy_features(x[visited], z[visited]), np.random.default_rng(6).poisson(0.3, visited.sum())
    fit(features, counts, penalty=Smoothness(), estimator=GLM)
    assert not [str(warning.message) for warning in recwarn]


def test_what_evidence_leaves_beside_a_removed_part_has_errors(recwarn):
    """Differences are removed with a strength far above that of the line, and the constant is held."""
    y = np.random.default_rng(4).poisson(np.exp(1.2 * SPEED - 1))
    X = BSplineEval(20, bounds=(0, 1)).compute_features(SPEED)
    model = fit(X, y, penalty=Smoothness(), estimator=GLM)
    assert 0.9 < model.edf_[0] < 1.1
    assert np.isfinite(uncertainty(model, X, y).coef_se).all()
    assert not [str(warning.message) for warning in recwarn]


def test_several_kinds_stand_in_one_model():
    rng = np.random.default_rng(1)
    heading, counts = rng.uniform(0, 2 * np.pi, N_BINS), rng.poisson(0.3, (N_BINS, 3))
    basis = CyclicBSplineEval(8, bounds=(0, 2 * np.pi), label="heading") + RaisedCosineLogConv(
        4, window_size=20, label="coupling"
    )
    X = basis.lazy_features(heading, counts)
    y = rng.poisson(np.exp(np.cos(heading) - 1))[:, None]
    model = fit(X, y, penalty=Mixed({"heading": Smoothness(), "coupling": Ridge()}))
    assert model.edf_.shape == (4, 1)
    assert model.edf_[0, 0] > 1.5


def test_a_fit_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    from popglm._files import checkpoint
    from popglm._solver import evidence_fit

    for name in ("Poisson", "NegativeBinomial"):
        whole, path = fit(X, Y[name], name), tmp_path / f"{name}.npz"
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "SAVE_INTERVAL", 0.0)
            patched.setattr(
                evidence_fit, "SETTLED_CHANGE", 0.0
            )  # so that there is a second Hessian to be interrupted at
            patched.setattr(evidence_fit, "_sum_hessians", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                fit(X, Y[name], name, checkpoint=path)
        resumed = fit(X, Y[name], name, checkpoint=path)
        np.testing.assert_array_equal(resumed.coef_, whole.coef_)
        np.testing.assert_array_equal(resumed.strength_, whole.strength_)
    with pytest.raises(ValueError, match="checkpoint"):
        PopulationGLM(regularizer=Smoothness((8, 8)), regularizer_strength=1.0).fit(X, Y["Poisson"], checkpoint=path)


def _interrupt(*args):
    raise KeyboardInterrupt


def test_what_needs_numbers_says_so():
    model = PopulationGLM(regularizer=PENALTY, regularizer_strength="evidence")
    y = Y["Poisson"]
    calls = [
        lambda: model.fit_path(X, y, [0.1, 1.0]),
        lambda: model.fit_batches([(X, y)], 1),
        lambda: model.initialize_state(X, y, model.initialize_params(X, y)),
        lambda: model.update(model.initialize_params(X, y), None, X, y),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"needs numbers.*regularizer_strength=model.strength_"):
            call()
    with pytest.raises(ValueError, match="sum of squares; got Lasso"):
        fit(X, y, penalty=Lasso())
    with pytest.raises(ValueError, match='numbers or "evidence"'):
        PopulationGLM(regularizer="Ridge", regularizer_strength="evident").fit(X, y)
    with pytest.raises(ValueError, match="default solver"):
        fit(X, y, settings={"solver_name": "LBFGS"})


def test_units_with_one_to_three_events_converge(recwarn):
    """Of one event the Hessian with a filter and that without it may each prefer the other."""
    x, y = np.linspace(0, 1, 300), np.zeros((300, 30))
    y[np.arange(0, 300, 12), np.arange(25)] = 1
    for n in range(5):
        y[RNG.choice(300, 2 + n % 2, replace=False), 25 + n] = 1
    X = np.asarray(BSplineEval(12, bounds=(0, 1)).compute_features(x))
    model = fit(X, y, penalty=Smoothness(12))
    assert model.converged_.all() and not recwarn.list
    assert (model.edf_ < 2).all() and np.abs(model.coef_).max() < 20
    # R 4.2.2, mgcv 1.8-41, REML, on features and penalties of this case: edf 0.76.
    X = np.asarray(BSplineEval(6, bounds=(0, 1)).compute_features(x))
    np.testing.assert_allclose(fit(X, y[:, :1], penalty=Smoothness(6)).edf_, 0.76, atol=0.03)


def test_large_counts_raise_no_warning_of_numpy():
    rng = np.random.default_rng(2)
    heading, speed = (60 + 60 * rng.normal(size=1500)) % 360, rng.random(1500) * 60
    y = rng.poisson(2e5 * np.exp(0.3 * np.cos(np.deg2rad(heading - 60))))
    basis = CyclicBSplineEval(20, bounds=(0, 360)) + BSplineEval(14, bounds=(0, 60))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit(basis.lazy_features(heading, speed), y, penalty="Smoothness", estimator=GLM).converged_.all()


@pytest.mark.parametrize("strength", ["evidence", 0.01])
def test_a_constant_input_is_named_constant(strength):
    """Its functions have round-off of the sums, and the penalty ties them."""
    rng = np.random.default_rng(0)
    x = rng.random(2000)
    basis = BSplineEval(12, bounds=(0, 1)) + BSplineEval(8, bounds=(0, 60))
    X = basis.lazy_features(x, np.full(2000, 10.0))
    with pytest.warns(RuntimeWarning) as caught:
        GLM(regularizer="Smoothness", regularizer_strength=strength).fit(X, rng.poisson(0.3, 2000))
    (message,) = [str(warning.message) for warning in caught]
    assert message.startswith("feature 12, 13, 14, 15: the same value in every valid bin")


def test_an_input_that_comes_twice_is_named():
    X = np.hstack([BASIS.compute_features(POSITION, SPEED), BASIS.compute_features(SPEED, SPEED[::-1])])
    with pytest.warns(RuntimeWarning, match="feature 16, 17, .* the same as those of another input"):
        fit(X, Y["Poisson"], penalty=Smoothness((8,) * 4))
    mask = np.ones((32, 3))
    mask[16:24] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(X, Y["Poisson"], penalty=Smoothness((8,) * 4), settings={"feature_mask": mask})
