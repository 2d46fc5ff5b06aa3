"""Weights and offsets in errors and tests: copies of rows, as in statsmodels, and propensities, as in R's sandwich."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from families import FAMILIES, OF, drawn
from samples import Rows, sample_cases

from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.inference import leave_out_test, likelihood_ratio_test, uncertainty

pytestmark = pytest.mark.filterwarnings("ignore:cov_type not fully supported with freq_weights")

LIKE = {
    "Poisson": FAMILIES.Poisson(),
    "Gaussian": FAMILIES.Gaussian(),
    "NegativeBinomial": None,
    "Bernoulli": FAMILIES.Binomial(),
    "Gamma": FAMILIES.Gamma(OF.Log()),
}
TIGHT = {"solver_kwargs": {"tol": 1e-20}}


def weighted(name, n=200, neurons=2):
    """Features, activity, offsets, and as many weights of 0, 1, 2 and 3, for each neuron by itself."""
    X, y = drawn(name, n, neurons)
    rng = np.random.default_rng(1)
    weight = rng.permuted(np.repeat(np.arange(n)[:, None] % 4, neurons, axis=1), axis=0)  # copies have one shape
    return X, y, {"sample_weight": weight, "offset": 0.3 * rng.normal(size=y.shape)}


def errors_of(result):
    return np.append(result.intercept_se, result.coef_se)


@pytest.mark.parametrize("name", sample_cases(LIKE, 3))
def test_errors_are_those_of_statsmodels(float64, name):
    X, y, given = weighted(name)
    keep = given["sample_weight"][:, 0] > 0  # statsmodels divides by weights
    X, y, (weight, offset) = X[keep], y[keep, 0], (values[keep, 0] for values in given.values())
    given, labels = {"sample_weight": weight, "offset": offset}, np.arange(len(X)) // 5
    model = GLM(name, **TIGHT).fit(X, y, **given)
    family = LIKE[name] or FAMILIES.NegativeBinomial(alpha=float(model.scale_[0]))
    theirs = sm.GLM(y, sm.add_constant(X), family=family, freq_weights=weight, offset=offset)
    estimated, n, rows = name in ("Gaussian", "Gamma"), weight.sum(), len(X)
    of_copies = np.sqrt(
        (n - 1) / (n - 4) * (rows - 4) / (rows - 1)
    )  # they count rows in the correction for few clusters
    each = {"groups": np.arange(rows), "use_correction": False}
    cases = [
        ((), "nonrobust", {}, 1),
        (("sandwich",), "HC0", {}, 1),
        (("sandwich", labels), "cluster", {"cov_kwds": {"groups": labels}}, of_copies),
        (("sandwich", "rows"), "cluster", {"cov_kwds": each}, 1),
    ]
    for how, kind, options, factor in cases[: 2 if name == "Gamma" else 4]:
        fit = theirs.fit(
            tol=1e-14, tol_criterion="params", maxiter=200, cov_type=kind, use_t=estimated and not how, **options
        )
        result = uncertainty(model, X, y, *how, **given)
        np.testing.assert_allclose(errors_of(result), fit.bse * factor, rtol=1e-8)
        if kind in ("nonrobust", "HC0"):
            np.testing.assert_allclose(result.p_values, fit.pvalues[1:], rtol=1e-5, atol=1e-14)
            np.testing.assert_allclose(np.array(result.interval()).T, fit.conf_int()[1:], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", sample_cases(LIKE, 3))
def test_a_weight_is_a_number_of_copies(float64, name):
    """Of the row of its neuron: errors, bands, degrees of freedom and tests are those of a fit to rows repeated."""
    X, y, given = weighted(name)
    labels, kernel = np.arange(len(X)) // 5, np.ones((2, 3))
    full, reduced = (
        PopulationGLM(name, feature_mask=mask, **TIGHT) for mask in (None, np.array([[1, 1], [0, 0], [1, 1]]))
    )
    full.fit(X, y, **given), reduced.fit(X, y, **given)
    kinds = [(), ("sandwich",), ("sandwich", labels)]
    errors = [uncertainty(full, X, y, *how, **given) for how in kinds]
    left_out = leave_out_test(full, X, y, [[0], [1, 2]], **given)
    ratio = likelihood_ratio_test(full, reduced, X, y, **given)
    for n in range(2):
        rows = np.repeat(np.arange(len(X)), given["sample_weight"][:, n])
        X_n, y_n, offset = X[rows], y[rows, n], {"offset": given["offset"][rows, n]}
        model = GLM(name, **TIGHT).fit(X_n, y_n, **offset)
        for how, mine in zip(kinds, errors, strict=True):
            one = uncertainty(model, X_n, y_n, *(part[rows] if part is labels else part for part in how), **offset)
            np.testing.assert_allclose(mine.coef_se[:, n], one.coef_se, rtol=1e-7)
            np.testing.assert_allclose(mine.intercept_se[n], one.intercept_se[0], rtol=1e-7)
            np.testing.assert_allclose(mine.p_values[:, n], one.p_values, rtol=1e-5, atol=1e-14)
            same = [[e.bands(kernel, simultaneous=s) for s in (True, False)] for e in (mine, one)]
            np.testing.assert_allclose(np.array(same[0])[..., n], same[1], rtol=1e-6)
            tests = zip(mine.test([[0, 1]]), one.test([[0, 1]]), strict=True)
            for a, b in tests:
                np.testing.assert_allclose(a[..., n], b, rtol=1e-5, atol=1e-14)
        for a, b in zip(left_out, leave_out_test(model, X_n, y_n, [[0], [1, 2]], **offset), strict=True):
            np.testing.assert_allclose(a[:, n], b, rtol=1e-5, atol=1e-12)
        for a, b in zip(ratio, leave_out_test(model, X_n, y_n, [1], **offset), strict=True):
            np.testing.assert_allclose(a[n], b, rtol=1e-5, atol=1e-12)


def periodic():
    """Features, counts, probabilities of being sampled, and an offset, which R makes as well."""
    i = np.arange(40)
    return np.column_stack([np.cos(i), np.sin(2 * i)]), 7 * i % 5, 0.2 + 3 * i % 7 / 8, np.log(1 + i % 3)


# R 4.2.2, sandwich 3.0.2: sqrt(diag(vcovHC(glm(y ~ x + z + offset(o), poisson, weights = 1/p), type = "HC0"))), with
# i <- 0:39, x <- cos(i), z <- sin(2*i), y <- (7*i) %% 5, p <- 0.2 + ((3*i) %% 7)/8, o <- log(1 + (i %% 3)); the others with
# binomial and y > 1, and lm, without an offset.
OF_R = {
    "Poisson": [0.1505351620, 0.2186946300, 0.2404974344],
    "Bernoulli": [0.3723865827, 0.5431573751, 0.4909817610],
    "Gaussian": [0.2512794030, 0.3873973993, 0.3648795239],
}


@pytest.mark.parametrize("name", OF_R)
def test_errors_of_propensities_are_those_of_r(float64, name):
    """The default where weights have fractions; their units do not matter, and there is one label for all copies of a row."""
    X, y, p, offset = periodic()
    y, offset = y > 1 if name == "Bernoulli" else y, offset if name == "Poisson" else None
    for weight in (1 / p, 0.1 / p):
        given = {"sample_weight": weight, "offset": offset}
        model = GLM(name, **TIGHT).fit(X, y, **given)
        result = uncertainty(model, X, y, "sandwich", **given)
        np.testing.assert_allclose(errors_of(result), OF_R[name], rtol=1e-7)
        n = max(weight.sum(), 40)
        labelled = uncertainty(model, X, y, "sandwich", np.arange(40), **given)
        np.testing.assert_allclose(
            errors_of(labelled), np.array(OF_R[name]) * np.sqrt(40 / 39 * (n - 1) / (n - 3)), rtol=1e-7
        )


def test_twice_the_weight_is_twice_the_data(float64):
    X, y, _, offset = periodic()
    weight, errors, tests = np.arange(40) % 3 + 1, [], []
    for c in (1, 0.25, 1e4):
        given = {"sample_weight": c * weight, "offset": offset}
        model = GLM(**TIGHT).fit(X, y, **given)
        errors.append(np.sqrt(c) * errors_of(uncertainty(model, X, y, **given)))
        tests.append(leave_out_test(model, X, y, 1, **given).statistic / c)
    np.testing.assert_allclose(errors[1:], errors[:1] * 2, rtol=1e-9)
    np.testing.assert_allclose(tests[1:], tests[:1] * 2, rtol=1e-9)


def test_few_effective_rows_have_few_degrees_of_freedom(float64):
    """Sums of weights below one row above the parameters, where an estimated scale has less than one degree of freedom."""
    X, y, _, _ = periodic()
    given = {"sample_weight": np.full(40, 3.5 / 40)}
    model = GLM("Gaussian").fit(X, y, **given)
    fit = sm.GLM(y, sm.add_constant(X), freq_weights=given["sample_weight"]).fit(use_t=True)
    result, tests = uncertainty(model, X, y, **given), leave_out_test(model, X, y, 1, **given)
    np.testing.assert_allclose(result.coef_se, fit.bse[1:], rtol=1e-8)
    np.testing.assert_allclose(result.p_values, fit.pvalues[1:], rtol=1e-6)
    np.testing.assert_allclose(tests.p_values, result.p_values, rtol=1e-6)  # F with one coefficient is t


def test_lazy_features_and_any_form_of_weights_give_the_same(float64):
    counts = np.random.default_rng(0).poisson(0.4, (300, 2))
    basis, weight = RaisedCosineLogConv(2, window_size=8), np.random.default_rng(1).integers(0, 3, (300, 2))
    X, offset = basis.compute_features(counts), np.log(1 + np.arange(300.0) % 4)
    given = {"sample_weight": weight, "offset": offset}
    model = PopulationGLM(**TIGHT).fit(X, counts, **given)
    known = uncertainty(model, X, counts, "sandwich", 10, **given), leave_out_test(model, X, counts, 2, **given)
    forms = [
        (
            basis.lazy_features(counts),
            {"sample_weight": pd.DataFrame(weight.astype(np.uint8)), "offset": pd.Series(offset)},
        ),
        (X, {"sample_weight": Rows(weight.astype(float)), "offset": Rows(offset)}),
    ]
    for features, same in forms:
        errors = uncertainty(model, features, counts, "sandwich", 10, **same)
        np.testing.assert_allclose(errors.covariance, known[0].covariance, rtol=1e-9)
        for a, b in zip(leave_out_test(model, features, counts, 2, **same), known[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12)
    order = np.random.default_rng(2).permutation(np.arange(8, 300))
    moved = {name: values[order] for name, values in given.items()}
    labels = (np.arange(300) // 10)[order]
    errors = uncertainty(model, X[order], counts[order], "sandwich", labels, **moved)
    np.testing.assert_allclose(errors.covariance, known[0].covariance, rtol=1e-9)


def test_a_row_of_weight_0_determines_nothing(float64):
    """A neuron whose weights are all 0 is silent; a feature that is constant where they are not has no test."""
    X, y, _, _ = periodic()
    X, y = np.column_stack([X, np.arange(40) < 10]), np.column_stack([y, y, y])
    weight = np.ones((40, 3))
    weight[:10, 1], weight[:, 2] = 0, 0
    unknown = pytest.warns(RuntimeWarning, match="neuron 1: feature 2: 0 in every bin in which the neuron is known")
    with unknown, pytest.warns(RuntimeWarning, match="neuron 2: no valid bin"):
        model = PopulationGLM(**TIGHT).fit(X, y, sample_weight=weight)
    with pytest.warns(RuntimeWarning, match="neuron 2: nothing to fit"):  # of neuron 1 the fit has told
        errors = uncertainty(model, X, y, sample_weight=weight)
    np.testing.assert_array_equal(np.isnan(errors.coef_se), [[0, 0, 1], [0, 0, 1], [0, 1, 1]])
    with pytest.warns(RuntimeWarning, match="neuron 1: features that are left out say nothing"):
        tests = leave_out_test(model, X, y, 1, sample_weight=weight)
    np.testing.assert_array_equal(np.isnan(tests.p_values), [[0, 0, 1], [0, 0, 1], [0, 1, 1]])
    np.testing.assert_array_equal(tests.df[:, :2], [[1, 1], [1, 1], [1, 0]])


def test_weights_of_other_data_are_refused(float64):
    X, y, p, offset = periodic()
    model = GLM(**TIGHT).fit(X, y, sample_weight=1 / p, offset=offset)
    for call, text in [
        (lambda: uncertainty(model, X, y, offset=2 * offset), "not the optimum of this X and y"),
        (lambda: uncertainty(model, X, y, sample_weight=-p), "sample_weight"),
        (lambda: uncertainty(model, X, y, sample_weight=p[:9]), "sample_weight"),
        (lambda: uncertainty(model, X, y, "sandwich", "row"), "`clusters` must be one of 'bins', 'rows', 'epochs'"),
        (lambda: leave_out_test(model, X, y, 1), "not the optimum of this X and y"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
