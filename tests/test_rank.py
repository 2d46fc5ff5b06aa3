"""Degrees of freedom where features make up for one another: ranks of what each neuron sees, as NumPy finds them."""

import numpy as np
import pytest
from scipy import stats

from popglm.basis import BSplineEval
from popglm.glm import PopulationGLM
from popglm.inference import leave_out_test, likelihood_ratio_test
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


@pytest.mark.filterwarnings("ignore:feature .* a sum of other:RuntimeWarning")
@pytest.mark.parametrize("precision", ["float32", "float64"], indirect=True)
def test_degrees_of_freedom_are_the_difference_of_ranks(precision, data):
    X, y, mask = data
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
