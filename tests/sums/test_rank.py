"""Features that make up for one another: degrees of freedom are ranks, and what the data determine has errors."""

import numpy as np
import pytest
from scipy import stats

from popglm.basis import BSplineEval
from popglm.glm import PopulationGLM
from popglm.inference import leave_out_test, likelihood_ratio_test, uncertainty
from popglm.observation_models import NegativeBinomial


@pytest.fixture(scope="module")
def data():
    """Features that make up for one another, some of them for some neurons only, by other valid bins and masks."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 6))
    X[:, 3], X[:, 5] = X[:, 0] - X[:, 1], 2 * X[:, 4]
    X[:, 2] = rng.random(1500) < 0.3
    y = 0.3 * X[:, [0]] + rng.normal(size=(1500, 4))
    y[X[:, 2] == 1, 1] = np.nan  # to this neuron the third feature is constant
    mask = np.ones((6, 4), int)
    mask[1, 2], mask[4, 3] = 0, 0
    return X, y, mask


def least_squares(X, y, mask, n):
    """Rank, sum of squares and variance of one neuron's residuals, by NumPy: statsmodels is far off here."""
    keep = ~np.isnan(y[:, n])
    design = np.column_stack([X[keep][:, mask[:, n] > 0], np.ones(keep.sum())])
    coef, _, rank, _ = np.linalg.lstsq(design, y[keep, n])
    squares = ((y[keep, n] - design @ coef) ** 2).sum()
    return rank, squares, squares / (keep.sum() - rank)


@pytest.mark.filterwarnings("ignore:feature .* a sum of other:RuntimeWarning")
@pytest.mark.parametrize("solver", [None, "LBFGS"])
def test_the_scale_is_over_what_is_left_of_the_bins(float64, data, solver):
    X, y, mask = data
    X, y, mask = X[:60], y[:60], mask[:, [0, 2, 3]]  # few bins, so that one parameter more or less is seen
    y = y[:, [0, 2, 3]]
    options = {} if solver is None else {"tol": 1e-9, "maxiter": 1000}
    model = PopulationGLM("Gaussian", feature_mask=mask, solver_name=solver, solver_kwargs=options).fit(X, y)
    np.testing.assert_allclose(model.scale_, [least_squares(X, y, mask, n)[2] for n in range(3)], rtol=1e-6)


def test_features_are_dependent_among_those_of_a_neuron(data):
    """One function that nobody has, or one that each neuron lacks, and the others are no sum of one another."""
    X, y, _ = data
    splines = np.asarray(BSplineEval(4, bounds=(-4, 4)).compute_features(np.clip(X[:, 4], -4, 4)))
    nobody, own = np.ones((2, 4, 4))
    nobody[1], own[[0, 1, 2, 3], [0, 1, 2, 3]] = 0, 0
    for mask in (nobody, own):
        PopulationGLM("Gaussian", feature_mask=mask).fit(splines, y)
    own[0, 0] = 1
    with pytest.warns(RuntimeWarning, match="a sum of other features"):
        PopulationGLM("Gaussian", feature_mask=own).fit(splines, y)


@pytest.mark.filterwarnings("ignore:feature .* a sum of other:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:neuron 1. feature 2. 0 in every bin in which:RuntimeWarning")
@pytest.mark.parametrize("offset", [0.0, 8.0])
@pytest.mark.parametrize("precision", ["float32", "float64"], indirect=True)
def test_degrees_of_freedom_are_the_difference_of_ranks(precision, data, offset):
    """Also where features lie far from 0, and their sums have little left of their digits."""
    X, y, mask = data
    X = X + offset * np.array([1, -1, 0, 2, 1, 2])
    model, groups = PopulationGLM("Gaussian", feature_mask=mask).fit(X, y), [[0], [2], [3], [4], [4, 5], [0, 1, 3]]
    with pytest.warns(
        RuntimeWarning, match="neuron 0, 1, 2, 3: features that are left out say nothing that the others do not"
    ):
        tests = leave_out_test(model, X, y, groups)
    for g, group in enumerate(groups):
        reduced = mask.copy()
        reduced[group] = 0
        for n in range(4):
            (rank, squares, scale), (fewer, more, _) = (least_squares(X, y, of, n) for of in (mask, reduced))
            assert tests.df[g, n] == rank - fewer, (group, n)
            if rank == fewer:
                assert np.isnan(tests.p_values[g, n])
            else:
                np.testing.assert_allclose(tests.statistic[g, n], (more - squares) / scale, rtol=2e-3, atol=2e-3)


@pytest.mark.filterwarnings("ignore:feature .* a sum of other:RuntimeWarning")
def test_splines_beside_the_intercept_have_one_function_less():
    """Under the null model the p-values of 400 neurons are uniform, which those of six degrees of freedom are not."""
    rng = np.random.default_rng(1)
    X = np.asarray(BSplineEval(6).fit_transform(rng.uniform(size=3000)))
    y = rng.poisson(0.3, (3000, 400))
    tests = leave_out_test(PopulationGLM().fit(X, y), X, y, list(range(6)))
    np.testing.assert_array_equal(tests.df, 5)
    assert stats.kstest(tests.p_values, "uniform").pvalue > 0.01
    assert stats.kstest(stats.chi2.sf(tests.statistic, 6), "uniform").pvalue < 1e-3


def test_a_full_model_that_is_less_likely_is_named():
    """Its dispersion was given and is wrong, that of the reduced one is the likely one."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(2000, 2))
    y = rng.negative_binomial(1, 0.5, (2000, 1)).astype(float)
    full = PopulationGLM(NegativeBinomial(scale=20.0)).fit(X, y)
    reduced = PopulationGLM("NegativeBinomial").fit(X[:, :1], y)
    with pytest.warns(RuntimeWarning, match="neuron 0: the full model is less likely than the reduced one"):
        test = likelihood_ratio_test(full, reduced, X, y, columns=[0])
    assert np.isnan(test.p_values[0]) and np.isnan(test.statistic[0])


@pytest.mark.filterwarnings("ignore:feature .* a sum of other:RuntimeWarning", "ignore:feature .* do not determine")
@pytest.mark.parametrize("kind", ["fisher", "sandwich"])
def test_a_tuning_curve_has_a_band_where_its_coefficients_have_none(kind):
    """Splines that sum to 1 beside the intercept: what they determine is what they do without one function."""
    rng = np.random.default_rng(3)
    value, other = rng.uniform(size=(2, 4000))
    basis = BSplineEval(6, bounds=(0, 1))
    X, at = np.asarray(basis.compute_features(value)), np.asarray(basis.compute_features(np.linspace(0, 1, 50)))
    X = np.column_stack([other, X])
    y = rng.poisson(np.exp(np.sin(6 * value)[:, None] - [1, 2]))
    mask = np.ones((7, 2))
    mask[3] = 0
    one, less = (
        uncertainty(model.fit(X, y), X, y, kind) for model in (PopulationGLM(), PopulationGLM(feature_mask=mask))
    )
    some = np.arange(1, 7)
    for settings in ({"intercept": True}, {"intercept": True, "simultaneous": True}):
        for end, known in zip(one.bands(at, some, **settings), less.bands(at, some, **settings), strict=True):
            np.testing.assert_allclose(end, known, atol=2e-3)
    tests = one.test([some, [0]]), less.test([some, [0]])
    for part, known in zip(*tests, strict=True):
        np.testing.assert_allclose(part, known, rtol=5e-3, atol=1e-9)
    np.testing.assert_array_equal(tests[0].df, [[5, 5], [1, 1]])
    assert np.isnan(one.coef_se[1:]).all() and np.isnan(one.intercept_se).all() and np.isfinite(one.coef_se[0]).all()
    assert np.isnan(one.bands(at, some)[0]).all()
    contrast = one.weighted_sum([1.0, -1.0], [1, 6])[1]
    np.testing.assert_allclose(contrast, less.weighted_sum([1.0, -1.0], [1, 6])[1], rtol=2e-3)
    low, high = one.bands(at, some, 0.999, simultaneous=True, intercept=True)
    truth = np.sin(6 * np.linspace(0, 1, 50))[:, None] - [1, 2]
    assert ((low < truth) & (truth < high)).all()
