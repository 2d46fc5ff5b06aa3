"""Errors, bands and tests under quadratic penalties: equal to mgcv and to closed forms, laws, levels and coverage."""

import jax
import numpy as np
import pytest
from scipy import stats

from popglm.basis import BSplineEval
from popglm.glm import GLM, PopulationGLM
from popglm.inference import coupling_table, leave_out_test, likelihood_ratio_test, summary, uncertainty
from popglm.inference._quantiles import maximum_quantile
from popglm.inference._weighted_chi_squared import weighted_tail
from popglm.regularizer import Lasso, Mixed, Ridge, Smoothness

RIDGE, SPLINES = np.arange(4), np.arange(4, 10)
PENALTY = Mixed([Ridge(4), Smoothness(6, ridge=0.0)])

# R 4.2.2, mgcv 1.8-41: gam(y ~ s(i) + s(j), sp = 500 * c(0.05, 0.02)), smooths of these features with the penalties of PENALTY;
# p of the splines with features centred by their working weights, that of the ridge in y ~ splines + s(i, sp = 500 * s).
MGCV = {
    "Poisson": {
        "se": "0.04144079472 0.04041159862 0.04168279394 0.03972061092 0.5264982162 0.4254905805 0.4032197429 0.4096992256 "
        "0.4154850233 0.4365770336 0.3997759246",
        "edf": "0.9570665133 0.9591725674 0.9565636172 0.9605568267 0.4070581793 0.8518771946 0.5448907278 0.4120288792 "
        "0.4851263483 0.7762432159",
        "cov": -0.0003803267522,
        "splines": 2.417936122e-05,
        "ridge": {0.05: 0.03841175584, 0.5: 0.03292431418},
    },
    "Gaussian": {
        "se": "0.04169747454 0.04084482466 0.04180903819 0.03946086463 0.4059049614 0.3078713215 0.2891780656 0.2977406148 "
        "0.3058833311 0.3440053078 0.2811278799",
        "edf": "0.9577503256 0.9594605423 0.957523941 0.9621612261 0.5175966541 0.7636555859 0.5330636836 0.4433778713 "
        "0.4767090368 0.7409679081",
        "cov": -0.0003370551896,
        "splines": 0.1810826520,
        "ridge": {0.05: 0.2235317722, 0.5: 0.1949035524},
    },
}


def penalised_data(name):
    """Four features of a ridge penalty, six splines of an axis (without the first), and activity."""
    rng = np.random.default_rng(7)
    ridge = rng.normal(size=(500, 4)) @ (np.eye(4) + 0.4)
    splines = np.asarray(BSplineEval(7, bounds=(0, 1)).compute_features(rng.random(500)), float)[:, 1:]
    X = np.column_stack([ridge, splines])
    eta = 0.2 + 0.05 * X[:, 0] + X[:, 4:] @ np.linspace(0, 0.6, 6)
    return X, (rng.poisson(np.exp(eta - 0.5)) if name == "Poisson" else eta + rng.normal(size=500)).astype(float)


def fitted(name, X, y, strengths):
    settings = {"regularizer": PENALTY, "regularizer_strength": np.asarray(strengths), "solver_kwargs": {"tol": 1e-12}}
    return GLM(name, **settings).fit(X, y)


def same(one, other, rtol):
    """Errors of coefficients and intercepts that agree."""
    np.testing.assert_allclose(one.coef_se, other.coef_se, rtol=rtol)
    np.testing.assert_allclose(one.intercept_se, other.intercept_se, rtol=rtol)
    np.testing.assert_allclose(one.edf, other.edf, rtol=rtol, atol=rtol)


# Comparisons


@pytest.mark.parametrize("name", MGCV)
def test_errors_and_tests_are_those_of_mgcv(float64, name):
    """The p-value below 1e-4 only roughly: mgcv sums by Davies's method to 2e-5."""
    X, y = penalised_data(name)
    theirs = MGCV[name]
    errors = uncertainty(fitted(name, X, y, [0.05, 0.02]), X, y)
    se = np.append(errors.coef_se, errors.intercept_se)
    np.testing.assert_allclose(se, np.array(theirs["se"].split(), float), rtol=1e-7)
    np.testing.assert_allclose(errors.edf, np.array(theirs["edf"].split(), float), rtol=1e-6)
    np.testing.assert_allclose(errors.covariance[0, 8], theirs["cov"], rtol=1e-5)
    p = errors.test(SPLINES).p_values
    np.testing.assert_allclose(p, theirs["splines"], rtol=1e-4 if p > 1e-3 else 0.05)
    for strength, known in theirs["ridge"].items():
        errors = uncertainty(fitted(name, X, y, [strength, 0.0]), X, y)
        np.testing.assert_allclose(errors.test(RIDGE).p_values, known, rtol=1e-4)


def test_posterior_and_sandwich_of_a_gaussian_have_closed_forms(float64):
    X, y = penalised_data("Gaussian")
    model = fitted("Gaussian", X, y, [0.05, 0.02])
    design = np.column_stack([X, np.ones(500)])
    S = np.pad(PENALTY.hessian(np.array([0.05, 0.02]), 10) * 500, ((0, 1), (0, 1)))
    H, A = design.T @ design, design.T @ design + S
    residual = y - design @ np.append(model.coef_, model.intercept_)
    df = np.trace(np.linalg.solve(A, H))
    scale = (residual**2).sum() / (500 - df)
    errors = uncertainty(model, X, y)
    np.testing.assert_allclose(errors.covariance, scale * np.linalg.inv(A), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(errors.edf.sum() + 1, df, rtol=1e-9)
    low, high = errors.interval()
    np.testing.assert_allclose((high - low) / errors.coef_se, 2 * stats.t.ppf(0.975, 500 - df), rtol=1e-6)
    np.testing.assert_allclose(uncertainty(model, X, y, "quasi").covariance, errors.covariance, rtol=1e-6, atol=1e-12)
    scores, labels, inverse = design * residual[:, None], np.arange(500) // 10, np.linalg.inv(A)
    clusters = np.array([scores[labels == c].sum(0) for c in range(50)])
    correction = 50 / 49 * 499 / (500 - df)
    for how, B in {"bins": scores.T @ scores, 10: correction * clusters.T @ clusters}.items():
        robust = uncertainty(model, X, y, "sandwich", how)
        np.testing.assert_allclose(robust.covariance, inverse @ (B + model.scale_ * S) @ inverse, rtol=1e-6, atol=1e-12)


# Laws


def test_a_penalty_of_0_is_none(data):
    X, y = data
    free = PopulationGLM(regularizer=Ridge(2), regularizer_strength=0.0).fit(X, y)
    plain, none = uncertainty(PopulationGLM().fit(X, y), X, y), uncertainty(free, X, y)
    same(none, plain, 1e-4)
    np.testing.assert_allclose(plain.edf, 1, rtol=1e-4)
    weak = PopulationGLM(regularizer=Ridge(2), regularizer_strength=1e-9).fit(X, y)
    for kind in (None, "sandwich"):
        tests = [uncertainty(model, X, y, kind).test(2) for model in (PopulationGLM().fit(X, y), weak)]
        np.testing.assert_allclose(tests[1].df, 2, rtol=1e-4)
        np.testing.assert_allclose(tests[1].p_values, tests[0].p_values, rtol=2e-3)


@pytest.mark.parametrize("kind", ["posterior", "sandwich"])
def test_a_weight_counts_copies_and_a_constant_offset_moves_the_intercept(float64, kind):
    X, y = penalised_data("Poisson")
    weight = np.arange(500) % 3
    settings = {"regularizer": PENALTY, "regularizer_strength": np.array([0.05, 0.02])}
    times, how = (
        np.repeat(np.arange(500), weight),
        {"kind": kind} | ({"clusters": "bins"} if kind == "sandwich" else {}),
    )
    copies = uncertainty(GLM(**settings).fit(X[times], y[times]), X[times], y[times], **how)
    model = GLM(**settings).fit(X, y, sample_weight=weight)
    weighted = uncertainty(model, X, y, **how, sample_weight=weight)
    same(weighted, copies, 1e-6)
    for group in (RIDGE, SPLINES):
        np.testing.assert_allclose(weighted.test(group).p_values, copies.test(group).p_values, rtol=1e-5)
    offset = np.full(500, 0.7)
    shifted = GLM(**settings).fit(X, y, sample_weight=weight, offset=offset)
    same(uncertainty(shifted, X, y, **how, sample_weight=weight, offset=offset), weighted, 1e-6)


def test_a_population_is_its_single_fits_with_their_strengths_and_masks(float64):
    X, y = penalised_data("Poisson")
    Y, strengths = np.column_stack([y, y[::-1], y]), np.array([[0.05, 0.5, 0.0], [0.02, 0.2, 1.0]])
    mask = np.ones((10, 3))
    mask[[1, 9], 2] = 0
    settings = {"regularizer": PENALTY, "regularizer_strength": strengths, "feature_mask": mask}
    errors = uncertainty(PopulationGLM(**settings).fit(X, Y), X, Y)
    tests = errors.test({"ridge": RIDGE, "splines": SPLINES})
    for n in range(3):
        settings = {
            "regularizer": PENALTY,
            "regularizer_strength": strengths[:, n : n + 1],
            "feature_mask": mask[:, n : n + 1],
        }
        one = uncertainty(PopulationGLM(**settings).fit(X, Y[:, n : n + 1]), X, Y[:, n : n + 1])
        alone = one.test({"ridge": RIDGE, "splines": SPLINES}).p_values
        pairs = (errors.coef_se, one.coef_se), (errors.edf, one.edf), (tests.p_values, alone)
        for several, single in pairs:
            np.testing.assert_allclose(several[:, n], single[:, 0], rtol=1e-5, atol=1e-9)
    assert tests.df[0, 2] == 3  # without a strength: Wald's test of three free coefficients


def test_lazy_features_give_the_same_and_single_precision_is_near(basis, population):
    counts, X = population.counts, basis.lazy_features(population.counts)
    settings = {"regularizer": Ridge(5), "regularizer_strength": np.array([1e-3, 1e-2, 1e-4, 1e-2])}
    model = PopulationGLM(**settings).fit(X, counts)
    lazy, dense = uncertainty(model, X, counts), uncertainty(model, basis.compute_features(counts), counts)
    same(lazy, dense, 1e-4)
    with jax.enable_x64(True):
        double = uncertainty(PopulationGLM(**settings).fit(X, counts), X, counts)
        tests = double.test(5)
    same(lazy, double, 1e-3)
    np.testing.assert_allclose(lazy.test(5).statistic, tests.statistic, rtol=1e-2)
    table = coupling_table(lazy, basis.kernel)
    assert len(table) == 12 and (table.df < 5).all() and np.isfinite(table.p).all()


def test_what_only_the_penalty_determines_has_finite_errors():
    """Splines that sum to 1, of which the last are never visited; without a ridge only sums with the intercept have errors."""
    rng = np.random.default_rng(0)
    basis = BSplineEval(12, bounds=(0, 1))
    X = np.asarray(basis.compute_features(rng.uniform(0, 0.7, 3000)))
    y = rng.poisson(0.4, (3000, 2))
    settings = {"regularizer": Ridge(12), "regularizer_strength": 1e-2}
    errors = uncertainty(PopulationGLM(**settings).fit(X, y), X, y)
    assert np.isfinite(errors.coef_se).all()
    np.testing.assert_allclose(errors.coef_se[-1], (3000 * 1e-2) ** -0.5, rtol=1e-3)  # the prior alone
    np.testing.assert_allclose(errors.edf[-1], 0, atol=1e-6)
    some = np.asarray(basis.compute_features(rng.uniform(0, 1, 3000)))
    for ridge in (1e-3, 0.0):
        settings = {"regularizer": Smoothness(12, ridge=ridge), "regularizer_strength": 1e-2}
        with pytest.warns(RuntimeWarning) if not ridge else pytest.MonkeyPatch().context():
            errors = uncertainty(PopulationGLM(**settings).fit(some, y), some, y)
        assert np.isfinite(errors.coef_se).all() == (ridge > 0)
        ends = errors.bands(some[:50], np.arange(12), intercept=True)
        assert np.isfinite(ends).all()
    np.testing.assert_allclose(errors.test(np.arange(12)).df, errors._estimates.posterior.test_rank.sum(1), rtol=1e-6)


def test_strengths_by_evidence_are_taken_from_the_fit():
    rng = np.random.default_rng(1)
    x = rng.random(2000)
    X = np.asarray(BSplineEval(10, bounds=(0, 1)).compute_features(x))
    y = rng.poisson(np.exp(np.sin(6 * x)[:, None] * [1, 0] - 1))
    model = PopulationGLM(regularizer=Smoothness(10), regularizer_strength="evidence").fit(X, y)
    given = PopulationGLM(regularizer=Smoothness(10, select=True), regularizer_strength=model.strength_).fit(X, y)
    errors, again = uncertainty(model, X, y), uncertainty(given, X, y)
    same(again, errors, 2e-3)
    at_strengths = np.sqrt(np.diagonal(errors._estimates.covariance_at_strengths, axis1=1, axis2=2)).T[:-1]
    assert (errors.coef_se > at_strengths * 0.99).all() and (errors.coef_se > at_strengths * 1.01).any()
    np.testing.assert_allclose(errors.edf.sum(0), model.edf_[0], rtol=1e-2, atol=1e-2)


def test_a_group_of_several_strengths_is_tested_on_its_degrees_of_freedom():
    """One strength for all parts is one variance, several are more; not one for each part that evidence would choose."""
    X, y = penalised_data("Poisson")
    for strengths, truncated in (([0.3, 0.3], False), ([0.3, 0.1], True)):
        model = GLM(
            regularizer=Mixed([Ridge(4), Smoothness(6, ridge=1.0)]), regularizer_strength=np.array(strengths)
        ).fit(X, y)
        errors = uncertainty(model, X, y)
        rank = errors._estimates.posterior.test_rank.sum()
        df = errors.test(np.arange(10)).df
        assert (abs(df - rank) < 1e-4) == truncated
        if not truncated:
            np.testing.assert_allclose(df, errors.edf.sum(), rtol=1e-3)  # of all features at once
        assert abs(errors.test(RIDGE).df - errors._estimates.posterior.test_rank[0, :4].sum()) > 1e-2


def test_a_summary_counts_effective_degrees_of_freedom(data):
    X, y = data[0], data[1] * np.random.default_rng(0).choice([0, 3], data[1].shape)
    model = PopulationGLM("NegativeBinomial", regularizer=Ridge(2), regularizer_strength=0.1).fit(X, y)
    result, errors = summary(model, X, y), uncertainty(model, X, y)
    np.testing.assert_allclose(result.neurons.parameters, errors.edf.sum(0) + 2, rtol=1e-6)  # intercept and alpha
    assert "alpha" in result.neurons and "alpha_p" not in result.neurons and "alpha" in repr(result)


def test_what_is_refused_and_its_fix(data):
    X, y = data
    lasso = PopulationGLM(regularizer=Lasso(), regularizer_strength=0.01).fit(X, y)
    ridge = PopulationGLM(regularizer=Ridge(2), regularizer_strength=0.1).fit(X, y)
    with pytest.raises(ValueError, match=r"penalty \(Lasso, strength 0.01\).* use Ridge or Smoothness"):
        uncertainty(lasso, X, y)
    for test in (lambda: leave_out_test(ridge, X, y, 2), lambda: likelihood_ratio_test(ridge, ridge, X, y)):
        with pytest.raises(ValueError, match=r"Ridge, strength 0.1.*Test groups by uncertainty\(model, X, y\)\.test"):
            test()
    assert np.isfinite(uncertainty(ridge, X, y).test(2).p_values).all()
    # Nearer to the maximum of the likelihood, and far from that of the posterior.
    ridge.coef_ = np.asarray(ridge.coef_) * 1.5
    with pytest.raises(ValueError, match="not the optimum of this X and y"):
        uncertainty(ridge, X, y)


# Distributions


@pytest.mark.parametrize("df", [np.inf, 5.0, 100.0])
def test_tails_of_weighted_sums_are_exact_down_to_small_probabilities(df):
    for k in (1, 4, 30):
        for p in (0.9, 0.5, 0.05, 1e-4, 1e-8):
            q = stats.chi2.isf(p, k) if np.isinf(df) else k * stats.f.isf(p, k, df)
            tail = weighted_tail(np.array([3 * q]), np.full((1, k), 3.0), np.array([df]))
            np.testing.assert_allclose(tail, p, rtol=1e-4)
    # Pairs of equal weights are exponential variables.
    weights = np.array([1, 0.5, 0.1, 1e-3, 1e-6])
    shares = np.array([np.prod([a / (a - b) for b in weights if b != a]) for a in weights])
    for q in (0.1, 5.0, 40.0):
        tail = weighted_tail(np.array([q]), np.repeat(weights, 2)[None], np.array([np.inf]))
        np.testing.assert_allclose(tail, shares @ np.exp(-q / 2 / weights), rtol=1e-6)
    assert np.isnan(weighted_tail(np.array([1.0]), np.zeros((1, 2)), np.array([np.inf]))).all()


@pytest.mark.parametrize("df", [np.inf, 8.0])
def test_the_largest_of_a_process_has_its_quantile(df):
    rng = np.random.default_rng(3)
    points = np.cumsum(rng.normal(size=(30, 6)), 0)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    draws = rng.normal(size=(200_000, 6))
    draws /= 1 if np.isinf(df) else np.sqrt(rng.chisquare(df, (200_000, 1)) / df)
    largest = np.abs(draws @ points.T).max(1)
    for alpha in (0.05, 0.001):
        bound = maximum_quantile(points[None], np.ones((1, 30), bool), np.array([df]), False, alpha)[0]
        assert 0.85 * alpha < np.mean(largest > bound) < 1.15 * alpha
    alone = maximum_quantile(points[None, :1], np.ones((1, 1), bool), np.array([df]), False, 0.05)
    np.testing.assert_allclose(alone, stats.t.ppf(0.975, df), rtol=0.02)


def test_tests_hold_their_level_where_strengths_are_given():
    """A ridge of 6 correlated features, and splines of which the straight line has no penalty; 1,500 neurons follow nothing."""
    rng = np.random.default_rng(4)
    ridge = rng.normal(size=(800, 6)) @ (np.eye(6) + 0.5)
    splines = np.asarray(BSplineEval(9, bounds=(0, 1)).compute_features(rng.random(800)))[:, 1:]
    X, y = np.column_stack([ridge, splines]), rng.poisson(0.6, (800, 1500))
    penalty = Mixed([Ridge(6), Smoothness(8, ridge=0.0)])
    model = PopulationGLM(regularizer=penalty, regularizer_strength=np.array([0.5, 0.05])).fit(X, y)
    groups = {"ridge": np.arange(6), "splines": np.arange(6, 14)}
    p = uncertainty(model, X, y).test(groups).p_values
    assert stats.kstest(p[0], "uniform").pvalue > 0.01 and 0.038 < np.mean(p[0] < 0.05) < 0.062
    assert 0.005 < np.mean(p[1] < 0.05) < 0.05  # it allows for a strength that is estimated
    clustered = uncertainty(model, X, y, "sandwich", 20).test(groups).p_values
    assert 0.03 < np.mean(clustered[0] < 0.05) < 0.07


def test_bands_cover_a_smooth_truth_across_the_function():
    rng = np.random.default_rng(5)
    x = rng.random(3000)
    basis = BSplineEval(15, bounds=(0, 1))
    X, grid = np.asarray(basis.compute_features(x)), np.linspace(0.02, 0.98, 49)
    curve = lambda at: 0.7 * np.sin(6 * at) - 1
    y = rng.poisson(np.exp(curve(x)), (200, 3000)).T
    model = PopulationGLM(regularizer=Smoothness(15), regularizer_strength=3e-3).fit(X, y)
    errors, points = uncertainty(model, X, y), np.asarray(basis.compute_features(grid))
    truth = curve(grid)[:, None]
    inside = {}
    for simultaneous in (False, True):
        low, high = errors.bands(points, np.arange(15), simultaneous=simultaneous, intercept=True)
        inside[simultaneous] = (low < truth) & (truth < high)
    assert 0.93 < inside[False].mean() < 0.98
    assert inside[True].all(0).mean() > 0.93
