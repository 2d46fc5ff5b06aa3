"""Standard errors, bands and tests: equal to statsmodels, and they cover the truth as often as they say."""

import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pynapple as nap
import pytest
import statsmodels.api as sm
from families import CASES, FAMILIES, drawn
from scipy import stats
from statsmodels.stats.multitest import multipletests

from popglm._design.sizes import SIZES
from popglm._design.total import chunk_total
from popglm.basis import BSplineEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.inference import coupling_table, false_discovery, leave_out_test, likelihood_ratio_test, uncertainty
from popglm.observation_models import Bernoulli, Gaussian, ObservationModel
from popglm.simulation import random_coupling, simulate_population


@pytest.fixture(scope="module")
def coupled(basis):
    """A recording of three neurons with a gap, its lazy features and a fit."""
    coef, intercept = random_coupling(jax.random.key(0), 3, basis, rates=(15.0, 40.0))
    population = simulate_population(jax.random.key(1), coef, intercept, basis, duration=60.0)
    counts = population.counts.restrict(nap.IntervalSet([0, 31], [30, 60]))
    counts = nap.TsdFrame(t=counts.t, d=counts.d, time_support=counts.time_support, columns=["a", "b", "c"])
    X = basis.lazy_features(counts)
    return X, counts, PopulationGLM().fit(X, counts)


def same(one, other, rtol):
    """Covariances that agree, in units of the standard errors."""
    one, other = one.covariance, getattr(other, "covariance", other)
    se = np.sqrt(np.diagonal(other, axis1=-2, axis2=-1))
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
    assert np.nanmax(np.abs(one - other) / (se[..., :, None] * se[..., None, :])) < rtol


# Comparisons


@pytest.mark.parametrize(("name", "link", "family"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_covariances_are_those_of_statsmodels(float64, name, link, family):
    """With missing rows and entries: expected information, scores by bin (HC0), scores by cluster with its correction."""
    X, y = drawn(name)
    if name == "Gaussian" and link == "exp":
        y = y - y.min() + 1
    X[:20, 1], y[100:300, 0] = np.nan, np.nan
    model, labels = PopulationGLM(name, link).fit(X, y), np.arange(len(X)) // 37
    kinds = [("fisher", None, "nonrobust"), ("sandwich", "bins", "HC0"), ("sandwich", labels, "cluster")]
    some = {"Poisson": 3, "NegativeBinomial": 3, "Gamma": 2}.get(name, 2 if link == "probit" else 1)
    for kind, clusters, theirs in kinds[:some]:
        errors = uncertainty(model, X, y, kind, clusters)
        for n in range(3):
            keep = ~np.isnan(X).any(1) & ~np.isnan(y[:, n])
            like = family or FAMILIES.NegativeBinomial(alpha=float(model.scale_[n]))
            groups = {"cov_kwds": {"groups": labels[keep]}} if theirs == "cluster" else {}
            estimated = kind == "fisher" and name in ("Gaussian", "Gamma")  # they ask for it, we and R do not
            fit = sm.GLM(y[keep, n], sm.add_constant(X[keep]), family=like).fit(
                tol=1e-14, maxiter=200, cov_type=theirs, use_t=estimated, **groups
            )
            se = np.append(fit.bse[1:], fit.bse[0])
            order = np.ix_([1, 2, 3, 0], [1, 2, 3, 0])
            off = np.abs(errors.covariance[n] - fit.cov_params()[order])
            assert (off < 1e-6 * np.outer(se, se)).all()
            np.testing.assert_allclose(errors.coef_se[:, n], fit.bse[1:], rtol=1e-6)
            np.testing.assert_allclose(errors.intercept_se[n], fit.bse[0], rtol=1e-6)
        if theirs != "cluster":  # statsmodels keeps to the normal distribution
            np.testing.assert_allclose(errors.p_values[:, 2], fit.pvalues[1:], rtol=1e-4, atol=1e-12)
            np.testing.assert_allclose(
                np.array(errors.interval(0.9))[:, :, 2].T, fit.conf_int(0.1)[1:], rtol=1e-6, atol=1e-8
            )
            wald = fit.wald_test(np.eye(4)[1:3], scalar=True, use_f=estimated)
            mine = errors.test([0, 1])
            np.testing.assert_allclose(mine.statistic[2], wald.statistic * (2 if estimated else 1), rtol=1e-5)
            np.testing.assert_allclose(mine.p_values[2], wald.pvalue, rtol=1e-3, atol=1e-15)


@pytest.mark.parametrize("kind", ["fisher", "sandwich"])
def test_single_precision_is_near_enough(coupled, kind):
    X, counts, model = coupled
    how = {"kind": kind} | ({"clusters": "bins"} if kind == "sandwich" else {})
    single = uncertainty(model, X, counts, **how)
    with jax.enable_x64(True):
        double = uncertainty(model, X, counts, **how)
    same(single, double, 1e-3)


@pytest.mark.parametrize("clusters", [None, "bins"])
def test_built_and_lazy_features_blocks_and_streams_give_the_same(coupled, monkeypatch, tmp_path, clusters):
    X, counts, model = coupled
    errors = uncertainty(model, X, counts, "sandwich", 100 if clusters is None else clusters)
    labels = np.concatenate(
        [np.arange(part.sum()) // 100 + 1000 * i for i, part in enumerate([counts.t < 30.5, counts.t > 30.5])]
    )
    built = np.asarray(X)
    np.save(tmp_path / "X.npy", np.where(np.isnan(built), np.nan, built))
    streamed = np.load(tmp_path / "X.npy", mmap_mode="r")
    given = labels if clusters is None else clusters
    same(uncertainty(model, built, counts.d, "sandwich", given), errors, 1e-4)
    same(uncertainty(model, streamed, counts.d, "sandwich", given), errors, 1e-4)
    monkeypatch.setattr(SIZES, "block_rows", 96)
    monkeypatch.setattr(SIZES, "chunk_blocks", 2)
    monkeypatch.setattr("popglm.inference._information.MAX_MATRIX_ENTRIES", 2 * 16**2)
    same(uncertainty(model, X, counts, "sandwich", given), errors, 1e-4)


def test_rows_in_any_order_and_clusters_in_any_order(coupled):
    """Index arrays and labels that come and go."""
    X, counts, model = coupled
    order = np.random.default_rng(0).permutation(len(X))
    labels = np.arange(len(X)) % 60
    errors = uncertainty(model, X, counts, "sandwich", labels)
    assert (errors.clusters == 60).all()
    words = np.array([f"trial {i}" for i in labels])[order]
    same(uncertainty(model, X[order], counts.d[order], "sandwich", words), errors, 1e-4)


def test_clusters_are_epochs_where_there_are_several(recording):
    """The default of the sandwich; one label per epoch gives the same."""
    counts = nap.TsdFrame(
        t=np.arange(3000) * 0.01 + 0.005 + np.repeat(np.arange(30), 100),
        d=np.random.default_rng(0).poisson(0.4, (3000, 2)),
        time_support=nap.IntervalSet(2.0 * np.arange(30), 2.0 * np.arange(30) + 1),
    )
    X = RaisedCosineLogConv(3, window_size=10).compute_features(counts)
    model = PopulationGLM().fit(X, counts)
    errors = uncertainty(model, X, counts, "sandwich")
    assert (errors.clusters == 30).all() and "clusters=30" in repr(errors)
    same(uncertainty(model, X, counts, "sandwich", np.repeat(np.arange(30), 100)), errors, 1e-6)
    same(uncertainty(model, np.asarray(X), counts.d, "sandwich", 100), errors, 1e-6)
    low, high = errors.interval()
    np.testing.assert_allclose((high - low) / errors.coef_se, 2 * stats.t.ppf(0.975, 29), rtol=1e-6)
    test = errors.test(3)
    np.testing.assert_allclose(test.p_values, stats.f.sf(test.statistic * 27 / 29 / 3, 3, 27))  # Hotelling (1931)
    with pytest.warns(RuntimeWarning, match="errors from 3 clusters are uncertain"):
        uncertainty(model, np.asarray(X), counts.d, "sandwich", 1000)


def test_a_mask_is_a_fit_to_fewer_features(data):
    X, y = data
    mask = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1]])
    errors = uncertainty(PopulationGLM(feature_mask=mask).fit(X, y), X, y)
    np.testing.assert_array_equal(np.isnan(errors.coef_se), mask == 0)
    groups = errors.test(2)
    np.testing.assert_array_equal(groups.df, [[2, 1, 1], [1, 2, 2]])
    for n in range(3):
        some = np.flatnonzero(mask[:, n])
        one = uncertainty(GLM().fit(X[:, some], y[:, n]), X[:, some], y[:, n])
        np.testing.assert_allclose(errors.coef_se[some, n], one.coef_se, rtol=1e-4)
        np.testing.assert_allclose(errors.intercept_se[n], one.intercept_se[0], rtol=1e-4)
        assert one.covariance.shape == (4, 4) and one.p_values.shape == (3,)
        first = one.test([i for i, feature in enumerate(some) if feature < 2])
        np.testing.assert_allclose(groups.statistic[0, n], first.statistic, rtol=1e-4)
        half = one.bands(np.ones((1, 1)))
        assert half[0].shape == (3, 1)
    pair = errors.weighted_sum([1.0, 1.0], [0, 1])
    np.testing.assert_allclose(pair[1][1:], [errors.coef_se[1, 1], errors.coef_se[0, 2]], rtol=1e-6)


# What has no error


def test_a_silent_neuron_is_named_and_the_others_stay(data):
    X, y = data
    whole = uncertainty(PopulationGLM().fit(X, y), X, y)
    y = np.column_stack([y, np.zeros(len(y))])
    with pytest.warns(RuntimeWarning, match="neuron 3: no event"):
        model = PopulationGLM().fit(X, y)
    with pytest.warns(RuntimeWarning, match="neuron 3: nothing to fit"):
        errors = uncertainty(model, X, y)
    assert np.isnan(errors.coef_se[:, 3]).all() and np.isnan(errors.intercept_se[3])
    np.testing.assert_allclose(errors.coef_se[:, :3], whole.coef_se, rtol=1e-5)


def test_complete_inhibition_has_no_error_and_a_likelihood_ratio():
    """A neuron that never fires when a feature is on: Wald's test would find nothing (Hauck and Donner, 1977)."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.random(3000) < 0.2, rng.normal(size=3000)]).astype(float)
    y = np.column_stack([rng.poisson(0.3 * (X[:, 0] == 0)), rng.poisson(0.3, 3000)])
    with pytest.warns(RuntimeWarning, match="neuron 0: feature 0: where it is not 0 there is no event"):
        model = PopulationGLM().fit(X, y)
    for kind in ("fisher", "sandwich"):
        with pytest.warns(RuntimeWarning, match="neuron 0 feature 0: .* no finite optimum .* leave_out_test"):
            errors = uncertainty(model, X, y, kind)
        np.testing.assert_array_equal(np.isnan(errors.coef_se), [[True, False], [False, False]])
        assert np.isnan(errors.test(1).p_values[0, 0]) and np.isfinite(errors.intercept_se).all()
        low, high = errors.bands(np.eye(2), [0, 1])  # points that the coefficient has no part in have their band
        np.testing.assert_array_equal(np.isnan(high - low), [[True, False], [False, False]])
        assert np.isnan(errors.bands(np.eye(2), [0, 1], simultaneous=True)[0][:, 0]).all()
    assert leave_out_test(model, X, y, 1).p_values[0, 0] < 1e-10


def test_features_that_are_not_told_apart_are_named(data):
    """The third is the sum of the first two; a constant one is the intercept's; the fourth is what it was."""
    X, y = data
    known = uncertainty(PopulationGLM().fit(X[:, [0, 1, 3]], y), X[:, [0, 1, 3]], y)
    X = np.column_stack([X[:, 0], X[:, 1], X[:, 0] + X[:, 1], X[:, 3], np.full(len(X), 2.0)])
    with pytest.warns(RuntimeWarning) as caught:
        model = PopulationGLM().fit(X, y)
    collinear, constant = (str(warning.message) for warning in caught)
    assert "a sum of other features" in collinear and "feature 4: the same value" in constant
    with pytest.warns(RuntimeWarning, match="feature 0, 1, 2: the data do not determine"):
        errors = uncertainty(model, X, y)
    assert np.isnan(errors.coef_se[[0, 1, 2, 4]]).all()
    np.testing.assert_allclose(errors.coef_se[3], known.coef_se[2], rtol=1e-4)
    np.testing.assert_allclose(errors.intercept_se, known.intercept_se, rtol=1e-4)
    some, one, none = (errors.test(group) for group in ([0, 3], [3], [4, 0]))
    np.testing.assert_allclose(some.statistic, one.statistic, rtol=1e-3)  # others make up for the first
    np.testing.assert_array_equal([some.df[0], one.df[0]], [1, 1])
    assert np.isnan(none.p_values).all()


def test_features_far_from_0_keep_their_digits(data):
    X, y = data
    offset = np.array([3e3, 0, -50, 0.2])
    near, far = (uncertainty(PopulationGLM().fit(of, y), of, y) for of in (X, X + offset))
    np.testing.assert_allclose(far.coef_se, near.coef_se, rtol=1e-3)
    turn = np.append(-offset, 1)
    np.testing.assert_allclose(far.intercept_se**2, turn @ near.covariance @ turn, rtol=1e-3)


def test_groups_far_from_0_are_left_out_as_those_near_it(data):
    """Without a feature the fit starts at the same rates; who does not reach its optimum is named."""
    X, y = data
    far = X + np.array([0, 3000, 0, 0])
    near, moved = (leave_out_test(PopulationGLM().fit(of, y), of, y, 1) for of in (X, far))
    np.testing.assert_allclose(moved.statistic, near.statistic, atol=0.05)
    model = PopulationGLM().fit(X, y)
    model.solver_kwargs = {"maxiter": 1}
    with pytest.warns(RuntimeWarning, match="neuron 0, 1, 2.*: a fit without a group of features did not converge"):
        assert np.isnan(leave_out_test(model, X, y, 2).statistic).any()


def test_what_is_refused(data, recording):
    X, y = data
    model = PopulationGLM().fit(X, y)
    lasso, ridge = (PopulationGLM(regularizer=name, regularizer_strength=0.1).fit(X, y) for name in ("Lasso", "Ridge"))
    fewer, moved = PopulationGLM().fit(X[:, 1:], y), PopulationGLM().fit(X[:, 1:] * 2, y)
    cases = [
        (
            lambda: uncertainty(lasso, X, y),
            "penalty .Lasso, strength 0.1.: its estimates are .* no normal distribution, .* use Ridge or Smoothness",
        ),
        (lambda: leave_out_test(ridge, X, y, 2), "fitted with a penalty"),
        (lambda: likelihood_ratio_test(model, ridge, X, y), "`reduced` was fitted with a penalty"),
        (lambda: likelihood_ratio_test(model, fewer, X, y, [1, 9]), "`columns` must hold different numbers"),
        (lambda: uncertainty(model, X, y, clusters=100), '`clusters` is for kind="sandwich"; got 100 for .fisher.'),
        (lambda: uncertainty(model, X, y, "fisher", "nonsense"), '`clusters` is for kind="sandwich"'),
        (lambda: uncertainty(model, X, y).weighted_sum([np.nan, 1]), "`weights` must be finite"),
        (lambda: uncertainty(model, X[::-1], y), "not the optimum of this X and y: they lie .* standard errors"),
        (lambda: uncertainty(model, X[:, :3], y), "expecting 4 features"),
        (lambda: uncertainty(model, X, y, "hc0"), "`kind` must be one of 'fisher', 'quasi', 'sandwich'"),
        (lambda: uncertainty(model, X, y, "sandwich", "epochs"), "needs a pynapple X or y with several epochs; got 0"),
        (lambda: uncertainty(model, X, y, "sandwich", len(y)), "at least two clusters"),
        (lambda: uncertainty(model, X, y, "sandwich", np.zeros(5)), "one label for each of the 600 bins"),
        (lambda: uncertainty(model, X, y).interval(95), "`level` must lie between 0 and 1"),
        (lambda: uncertainty(model, X, y).bands(np.ones((9, 3))), "not whole groups of 3"),
        (lambda: uncertainty(model, X, y).bands(np.ones((9, 3)), [0, 1]), "must name 3 features for each filter"),
        (lambda: uncertainty(model, X, y).test([0, 4]), "different numbers of features, from 0 to 3"),
        (lambda: leave_out_test(model, X[::-1][:300], y[:300], 2), "not the optimum of this X and y"),
        (lambda: leave_out_test(model, X * [2, 1, 1, 1], y, 2), "not the optimum of this X and y"),
        (lambda: likelihood_ratio_test(model, fewer, X * [2, 1, 1, 1], y, [1, 2, 3]), "of `full` are not the optimum"),
        (lambda: likelihood_ratio_test(model, moved, X, y, [1, 2, 3]), "of `reduced` are not the optimum"),
        (lambda: likelihood_ratio_test(model, model, X, y), "nothing to test"),
        (lambda: false_discovery([0.5, 1.5]), "must lie between 0 and 1"),
        (lambda: coupling_table(uncertainty(GLM().fit(X, y[:, 0]), X, y[:, 0]), np.ones((9, 2))), "of a PopulationGLM"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="`model` must be a GLM or a PopulationGLM; got NoneType"):
        uncertainty(None, X, y)
    with pytest.raises(TypeError, match="`full` must be a GLM"):
        likelihood_ratio_test("x", model, X, y)
    off = model.coef_.copy()
    off[0, 1] += 0.2
    model.coef_ = off
    with pytest.warns(RuntimeWarning, match="neuron 1: coefficients lie more than 0.3 standard errors"):
        assert np.isnan(uncertainty(model, X, y).coef_se).all(0).tolist() == [False, True, False]


def test_an_early_stop_is_far_from_the_optimum(data):
    X, y = data
    with pytest.warns(RuntimeWarning, match="stopped before"):
        model = PopulationGLM(solver_kwargs={"maxiter": 1}).fit(X, y)
    with pytest.raises(ValueError, match="a fit that has converged"):
        uncertainty(model, X, y)


# Coverage


def test_intervals_and_bands_of_couplings_cover_the_truth():
    """In 100 recordings of three coupled neurons: 3600 coefficients, 300 intercepts, 900 filters."""
    basis = RaisedCosineLogConv(4, window_size=20)
    how = {"bin_size": 0.01, "rates": (15.0, 40.0), "refractoriness": 1.5, "connectivity": 0.5}
    coef, intercept = random_coupling(jax.random.key(1), 3, basis, **how)
    inside = {"coefficients": [], "intercepts": [], "points": [], "filters": []}
    for seed in range(100):
        truth = simulate_population(jax.random.key(1000 + seed), coef, intercept, basis, duration=50.0, bin_size=0.01)
        X = basis.lazy_features(truth.counts)
        errors = uncertainty(PopulationGLM().fit(X, truth.counts), X, truth.counts)
        within = lambda ends, true: (ends[0] <= true) & (true <= ends[1])
        inside["coefficients"].append(within(errors.interval(), coef))
        inside["intercepts"].append(within(errors.intercept_interval(), intercept))
        inside["points"].append(within(errors.bands(basis.kernel), truth.filters)[:, :-1])  # all are 0 at the last lag
        together = errors.bands(basis.kernel, simultaneous=True)
        inside["filters"].append(within(together, truth.filters).all(1))
    share = {name: np.mean(parts) for name, parts in inside.items()}
    assert np.size(inside["coefficients"]) + np.size(inside["intercepts"]) >= 3900
    assert 0.93 < share["coefficients"] < 0.97, share
    assert 0.92 < share["intercepts"] < 0.98, share
    assert 0.93 < share["points"] < 0.97, share
    assert 0.93 < share["filters"] < 0.985, share


def overdispersed(seed, n_neurons, trials=150, bins=20):
    """Trials with a gain and a stimulus of their own: y is right on average, and its bins are not independent."""
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.uniform(-1.7, 1.7, size=(trials, 2)), bins, 0) + 0.5 * rng.normal(size=(trials * bins, 2))
    gain = np.repeat(rng.gamma(5, 0.2, (trials, n_neurons)), bins, 0)
    return X, rng.poisson(0.3 * np.exp(X @ [0.3, -0.2])[:, None] * gain)


def test_clusters_cover_the_truth_where_fisher_and_single_bins_do_not():
    """30 recordings of 150 trials, forty neurons each, whose gain changes from trial to trial."""
    inside = {"fisher": [], "bins": [], "trials": []}
    true = np.array([[0.3], [-0.2]])
    for seed in range(30):
        X, y = overdispersed(seed, 40)
        model = PopulationGLM().fit(X, y)
        for name, how in {"fisher": ("fisher",), "bins": ("sandwich", "bins"), "trials": ("sandwich", 20)}.items():
            low, high = uncertainty(model, X, y, *how).interval()
            inside[name].append((low <= true) & (true <= high))
    share = {name: np.mean(parts) for name, parts in inside.items()}
    assert np.size(inside["trials"]) == 2400
    assert share["fisher"] < 0.85 and share["bins"] < 0.85, share
    assert 0.93 < share["trials"] < 0.97, share


# Tests


def test_under_the_null_p_values_are_uniform_and_false_discoveries_are_few():
    """Of 300 neurons the second half follows nothing; the first half follows one group of two features."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(1500, 4))
    effect = np.zeros((4, 300))
    effect[:2, :150] = 0.15
    y = rng.poisson(np.exp(X @ effect - 0.5))
    model = PopulationGLM().fit(X, y)
    null = np.ones((2, 300), bool)
    null[0, :150] = False
    wald, ratio = uncertainty(model, X, y).test(2), leave_out_test(model, X, y, 2)
    for tests in (wald, ratio):
        p = tests.p_values
        assert (tests.df == 2).all()
        assert stats.kstest(p[null], "uniform").pvalue > 0.01
        assert 0.02 < (p[null] < 0.05).mean() < 0.08
        found = false_discovery(p, 0.1).found
        assert 0 < found[null].sum() < 0.2 * found.sum() and found[~null].mean() > 0.9
    np.testing.assert_allclose(wald.statistic[null], ratio.statistic[null], atol=0.3)


def test_groups_are_tested_with_few_clusters_as_with_many():
    """Hotelling's distribution: by F alone 16 % of these tests would reject at 5 %."""
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(1500, 8)), rng.poisson(0.5, (1500, 600))
    tests = uncertainty(PopulationGLM().fit(X, y), X, y, "sandwich", 50).test(list(range(8)))
    assert 0.03 < np.mean(tests.p_values < 0.05) < 0.075
    assert np.mean(stats.f.sf(tests.statistic / 8, 8, 29) < 0.05) > 0.12


def test_an_estimated_scale_has_degrees_of_freedom(float64):
    """Few bins and many coefficients: exact for Gaussian noise, where chi-squared rejects twice as often as it says."""
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(30, 8)), rng.normal(size=(30, 800))
    model = PopulationGLM("Gaussian").fit(X, y)
    errors, ratio = uncertainty(model, X, y), leave_out_test(model, X, y, [0, 1, 2, 3])
    low, high = errors.interval()
    assert 0.942 < np.mean((low < 0) & (high > 0)) < 0.958
    for tests in (ratio, errors.test([0, 1, 2, 3])):
        np.testing.assert_allclose(tests.p_values, stats.f.sf(tests.statistic / 4, 4, 21), rtol=1e-6)
        assert stats.kstest(tests.p_values, "uniform").pvalue > 0.01


@pytest.mark.filterwarnings("ignore:neuron 0. the fit met round-off:RuntimeWarning")
@pytest.mark.parametrize("precision", ["float32", "float64"], indirect=True)
def test_as_many_coefficients_as_bins_leave_no_scale(precision):
    """Residuals of 0 are no certainty: neither errors nor tests, and the other neurons keep theirs."""
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(300, 6)), rng.normal(size=(300, 2))
    y[7:, 0] = np.nan
    with pytest.warns(RuntimeWarning, match="neuron 0: no more valid bins than coefficients"):
        model = PopulationGLM("Gaussian").fit(X, y)
    np.testing.assert_array_equal(np.isnan(model.scale_), [True, False])
    errors, tests = uncertainty(model, X, y), leave_out_test(model, X, y, [0, 1])
    for some in (errors.coef_se, errors.test([0, 1]).p_values, tests.p_values):
        np.testing.assert_array_equal(np.isnan(some).reshape(-1, 2).all(0), [True, False])


def test_a_constant_feature_of_a_neuron_is_a_part_of_its_intercept():
    """Its coefficient is anything, so the intercept has no error; their sum has the one of the intercept alone."""
    rng = np.random.default_rng(6)
    X = np.column_stack([rng.normal(size=2000), rng.random(2000) < 0.5]).astype(float)
    y = rng.poisson(0.4, (2000, 2)).astype(float)
    y[X[:, 1] == 0, 0] = np.nan  # the first neuron's bins all have it
    model = PopulationGLM().fit(X, y, init_params=(np.full((2, 2), 0.2), np.full(2, -1.0)))
    with pytest.warns(RuntimeWarning, match="feature 1: the data do not determine"):
        errors = uncertainty(model, X, y)
    np.testing.assert_array_equal(np.isnan(errors.intercept_se), [True, False])
    np.testing.assert_array_equal(np.isnan(errors.coef_se), [[False, False], [True, False]])
    keep = X[:, 1] == 1
    alone = uncertainty(GLM().fit(X[keep, :1], y[keep, 0]), X[keep, :1], y[keep, 0])
    estimate, se = errors.weighted_sum([1.0], [1], intercept=True)
    np.testing.assert_allclose(se[0], alone.intercept_se[0], rtol=1e-3)
    np.testing.assert_allclose(estimate[0], np.log(0.4), atol=4 * se[0])
    np.testing.assert_array_equal(errors.test([1]).df, [0, 1])


def test_groups_are_named_as_a_sum_of_bases_names_them(recording):
    basis = RaisedCosineLogConv(2, 5, label="coupling") + BSplineEval(5, bounds=(0, 1), label="place")
    X = basis.lazy_features(recording, np.random.default_rng(0).random(len(recording)))
    mask = np.ones((11, 3))
    mask[6] = 0
    model = PopulationGLM(feature_mask=mask).fit(X, recording)
    parts = basis.split_by_feature(np.arange(11), axis=0)
    np.testing.assert_array_equal(leave_out_test(model, X, recording, parts).df, [[2] * 3] * 3 + [[4] * 3])
    table = coupling_table(uncertainty(model, X, recording), np.ones((5, 2)), features=parts["coupling"])
    assert set(table.sender) == set(table.receiver) == {"a", "b", "c"} and len(table) == 6
    with pytest.raises(ValueError, match=r"`features` must say.*'coupling', 'place'\. Give"):
        coupling_table(uncertainty(model, X, recording), np.ones((5, 2)))
    with pytest.raises(ValueError, match="at least one group; got none"):
        leave_out_test(model, X, recording, {})


def test_likelihood_ratios_are_those_of_two_fits(coupled):
    X, counts, model = coupled
    built = np.asarray(X)
    keep = ~np.isnan(built).any(1)
    some = np.r_[0:5, 10:15]  # without the second sender
    mask = np.ones((15, 3))
    mask[5:10] = 0
    reduced = PopulationGLM(feature_mask=mask).fit(X, counts)
    ratio = likelihood_ratio_test(model, reduced, X, counts)
    left_out = leave_out_test(model, X, counts, 5)
    np.testing.assert_allclose(left_out.statistic[1], ratio.statistic, atol=0.02)
    named = leave_out_test(model, X, counts, {"b": np.arange(5, 10)})
    np.testing.assert_allclose(named.statistic, left_out.statistic[1:2])
    for n in range(3):
        fits = [
            sm.GLM(counts.d[keep, n], sm.add_constant(built[keep][:, of]), family=FAMILIES.Poisson()).fit()
            for of in (range(15), some)
        ]
        statistic = 2 * (fits[0].llf - fits[1].llf)
        np.testing.assert_allclose(ratio.statistic[n], statistic, atol=0.02)
        np.testing.assert_allclose(ratio.p_values[n], stats.chi2.sf(statistic, 5), rtol=0.02)
        one = GLM().fit(built, counts.d[:, n])
        fewer = GLM().fit(np.where(keep[:, None], built, np.nan)[:, some], counts.d[:, n])
        single = likelihood_ratio_test(one, fewer, built, counts.d[:, n], columns=some)
        np.testing.assert_allclose(single.statistic[0], statistic, atol=0.02)
        assert leave_out_test(one, built, counts.d[:, n], 5).p_values.shape == (3,)


@pytest.mark.parametrize("name", ["Gaussian", "Gamma", "NegativeBinomial"])
def test_likelihood_ratios_with_a_scale(float64, name):
    X, y = drawn(name)
    design = sm.add_constant(X)
    model = PopulationGLM(name).fit(X, y)
    ratio = leave_out_test(model, X, y, [[0], [1, 2]])
    np.testing.assert_array_equal(ratio.df, [[1] * 3, [2] * 3])
    for n in range(3):
        if name == "NegativeBinomial":
            fits = [
                sm.NegativeBinomial(y[:, n], of).fit(disp=0, method="newton", maxiter=200)
                for of in (design, design[:, [0, 2, 3]])
            ]
            statistic = 2 * (fits[0].llf - fits[1].llf)
        else:
            family = FAMILIES.Gaussian() if name == "Gaussian" else FAMILIES.Gamma(sm.families.links.Log())
            fits = [sm.GLM(y[:, n], of, family=family).fit() for of in (design, design[:, [0, 2, 3]])]
            statistic = (fits[1].deviance - fits[0].deviance) / fits[0].scale
        np.testing.assert_allclose(ratio.statistic[0, n], statistic, rtol=1e-5)


def test_false_discoveries_are_those_of_statsmodels():
    p = np.random.default_rng(0).uniform(size=(6, 5)) ** 3
    p[2, 3] = np.nan
    known = ~np.isnan(p)
    for method, theirs in {"bh": "fdr_bh", "by": "fdr_by"}.items():
        found, q = false_discovery(p, 0.1, method)
        rejected, adjusted, *_ = multipletests(p[known], 0.1, theirs)
        np.testing.assert_array_equal(found[known], rejected)
        np.testing.assert_allclose(q[known], adjusted)
        assert not found[2, 3] and np.isnan(q[2, 3])
    assert false_discovery([np.nan, np.nan]).found.tolist() == [False, False]


def test_bands_are_the_errors_of_the_filters(coupled, basis):
    X, counts, model = coupled
    errors, kernel = uncertainty(model, X, counts), basis.kernel
    low, high = errors.bands(kernel)
    wide_low, wide_high = errors.bands(kernel, simultaneous=True)
    assert low.shape == (3, 40, 3)
    for sender, receiver in [(0, 0), (2, 1)]:
        some = slice(5 * sender, 5 * sender + 5)
        covariance = errors.covariance[receiver, some, some]
        filter_ = kernel @ model.coef_[some, receiver]
        se = np.sqrt(np.diag(kernel @ covariance @ kernel.T))
        np.testing.assert_allclose((low + high)[sender, :, receiver] / 2, filter_, atol=1e-6)
        np.testing.assert_allclose(
            (high - low)[sender, :, receiver], 2 * stats.norm.ppf(0.975) * se, rtol=1e-5, atol=1e-9
        )
        # the largest of all points, by simulation: the bound is above it, and not far
        draws = np.random.default_rng(0).multivariate_normal(np.zeros(5), covariance, 20_000) @ kernel.T
        largest = np.quantile(np.abs(draws[:, :-1] / se[:-1]).max(1), 0.95)
        reach = ((wide_high - wide_low)[sender, :-1, receiver] / 2 / se[:-1]).mean()
        assert largest - 0.02 < reach < 1.06 * largest
    one = errors.bands(kernel, np.arange(5, 10))
    np.testing.assert_allclose(one[0], low[1])
    total = errors.weighted_sum(kernel.sum(0))
    assert total[0].shape == total[1].shape == (3, 3)
    np.testing.assert_allclose(total[0], np.einsum("k,skr->sr", kernel.sum(0), model.coef_.reshape(3, 5, 3)), rtol=1e-5)


def test_a_table_of_couplings_has_units_and_tests(coupled, basis):
    X, counts, model = coupled
    errors = uncertainty(model, X, counts)
    table = coupling_table(errors, basis.kernel)
    assert [*table.columns] == ["sender", "receiver", "strength", "se", "statistic", "df", "p", "q", "found"]
    assert len(table) == 6 and (table.sender != table.receiver).all() and table.p.is_monotonic_increasing
    strength, wald = errors.weighted_sum(basis.kernel.sum(0))[0], errors.test(5)
    rows = table.set_index(["sender", "receiver"])
    assert rows.strength["c", "a"] == strength[2, 0] and rows.p["c", "a"] == wald.p_values[2, 0]
    every = coupling_table(errors, basis.kernel, own=True, units=[7, 8, 9], tests=leave_out_test(model, X, counts, 5))
    assert len(every) == 9 and set(every.sender) == {7, 8, 9}
    built = basis.compute_features(counts)
    assert coupling_table(uncertainty(model, built, counts), basis.kernel).sender.tolist() == table.sender.tolist()
    some = coupling_table(errors, basis.kernel, features={"b": np.arange(5, 10)}, units=(None, ["x", "y", "z"]))
    assert some.sender.tolist() == ["b"] * 3 and set(some.receiver) == {"x", "y", "z"}
    two = coupling_table(errors, basis.kernel, features=np.arange(5)[None], units=(["s"], None))
    assert set(two.sender) == {"s"}
    with pytest.raises(ValueError, match="must hold 3 ids; got 2"):
        coupling_table(errors, basis.kernel, units=("x", "y"))
    with pytest.raises(ValueError, match="ids must differ"):
        coupling_table(errors, basis.kernel, units=["x", "x", "y"])
    with pytest.raises(ValueError, match="must be of all pairs"):
        coupling_table(errors, basis.kernel, tests=errors.test([0, 1, 2, 3, 4]))


@dataclass(frozen=True)
class Quadratic(ObservationModel):
    """The loss of a Gaussian of variance 1."""

    link: object = "identity"
    support, exponential_family = Gaussian.support, True

    def loss(self, eta, y):
        return (y - self.link.inverse(eta)) ** 2 / 2

    def least(self, y):
        return 0 * y

    def saturated(self, y):
        return 0 * y - np.log(2 * np.pi) / 2

    def variance(self, mean):
        return 0 * mean + 1

    def sample(self, key, eta):
        return self.mean(eta) + jax.random.normal(key, jnp.shape(eta))


@dataclass(frozen=True)
class StudentT(ObservationModel):
    """Four degrees of freedom."""

    link: object = "identity"
    support = Gaussian.support

    def loss(self, eta, y):
        return 2.5 * jnp.log1p((y - self.link.inverse(eta)) ** 2 / 4)

    def least(self, y):
        return 0 * y

    def saturated(self, y):
        return 0 * y + np.log(0.375)

    def variance(self, mean):
        return 0 * mean + 2

    def sample(self, key, eta):
        return self.mean(eta) + jax.random.t(key, 4.0, jnp.shape(eta))


class Informed(StudentT):
    """The same, which knows its Fisher information: (df + 1) / (df + 3)."""

    def information(self, eta):
        return 0 * eta + 5 / 7


class Huber(Gaussian):
    """Another loss, about which Gaussian knows nothing."""

    def loss(self, eta, y):
        off = jnp.abs(y - eta)
        return jnp.where(off < 1, off**2 / 2, off - 0.5)


def test_fisher_information_of_a_model_of_ones_own(float64):
    """It is asked for, or that the curvature at the mean is it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2))
    y = X @ [0.5, -0.2] + rng.standard_t(4, 4000)
    model = GLM(StudentT()).fit(X, y)
    with pytest.raises(ValueError, match=r"StudentT does not say .* Define `information"):
        uncertainty(model, X, y)
    assert not Huber.has_fisher_information and Gaussian.has_fisher_information and Bernoulli.has_fisher_information
    assert type("Said", (Huber,), {"exponential_family": True}).has_fisher_information
    assert not type("Denied", (Gaussian,), {"exponential_family": False}).has_fisher_information
    robust = uncertainty(model, X, y, "sandwich").coef_se
    known = uncertainty(GLM(Informed()).fit(X, y), X, y).coef_se
    np.testing.assert_allclose(known, robust, rtol=0.1)
    own, theirs = (uncertainty(GLM(model).fit(X, y), X, y).coef_se for model in (Quadratic(), Gaussian(scale=1.0)))
    np.testing.assert_allclose(own, theirs, rtol=1e-9)


def test_a_second_recording_of_equal_shape_compiles_nothing(data):
    X, y = data
    model = PopulationGLM().fit(X, y)
    uncertainty(model, X, y, "sandwich", 30)
    compiled = chunk_total._cache_size()
    again = PopulationGLM().fit(X[::-1], y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uncertainty(again, X[::-1], y, "sandwich", 30)
    assert chunk_total._cache_size() == compiled


def test_arrays_of_strengths_are_penalties_too():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(500, 4)), rng.poisson(0.5, (500, 2))
    strengths = np.zeros(4)
    free = PopulationGLM(regularizer="Ridge", regularizer_strength=strengths).fit(X, y)
    plain = uncertainty(PopulationGLM().fit(X, y), X, y).coef_se
    np.testing.assert_allclose(uncertainty(free, X, y).coef_se, plain, rtol=1e-3)
    held = PopulationGLM(regularizer="Lasso", regularizer_strength=np.array([0, 0, 0, 0.1])).fit(X, y)
    with pytest.raises(ValueError, match=r"Lasso, strength 0\.1"):
        uncertainty(held, X, y)


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_own_filters_are_told_from_couplings_or_it_is_refused(basis):
    counts = np.random.default_rng(0).poisson(0.3, (3000, 3))
    X = basis.lazy_features(counts)
    named = nap.TsdFrame(t=np.arange(3000) * 0.01, d=counts, columns=[7, 3, 5])
    for y in (named, counts[:, 1:]):
        errors = uncertainty(PopulationGLM().fit(X, y), X, y)
        with pytest.raises(ValueError, match="neuron's own cannot be told: of 3 senders numbers only are known"):
            coupling_table(errors, basis.kernel)
        ids = [7, 3, 5][-len(errors.coef_se[0]) :]
        table = coupling_table(errors, basis.kernel, units=([7, 3, 5], ids))
        assert len(table) == 2 * len(ids) and (table.sender != table.receiver).all()
        assert len(coupling_table(errors, basis.kernel, own=True)) == 3 * len(ids)
