"""Values that others have published of real data sets, and what statsmodels finds there."""

import numpy as np
import pytest
import statsmodels.api as sm

from popglm.glm import GLM
from popglm.inference import likelihood_ratio_test, uncertainty


def load(name):
    """Features and activity of a data set that comes with statsmodels."""
    data = getattr(sm.datasets, name).load()
    return np.asarray(data.exog, float), np.asarray(data.endog, float)


def test_a_logistic_regression(float64):
    """A teaching method and grades: Spector and Mazzeo (1980), as in Greene (2003), *Econometric Analysis*, table 21.1."""
    X, y = load("spector")
    X = X[:, :3]
    model = GLM("Bernoulli").fit(X, y)
    errors = uncertainty(model, X, y)
    np.testing.assert_allclose(model.coef_, [2.826, 0.0952, 2.379], atol=5e-4)
    np.testing.assert_allclose(model.intercept_, -13.021, atol=5e-4)
    np.testing.assert_allclose(errors.coef_se, [1.263, 0.1416, 1.065], atol=6e-4)
    np.testing.assert_allclose(errors.intercept_se, 4.931, atol=6e-4)
    np.testing.assert_allclose(len(y) * model.score(X, y), -12.890, atol=5e-4)


CERTIFIED = np.array([  # the intercept first: estimates, errors; standard deviation of the residuals
    -3482258.63459582, 15.0618722713733, -0.0358191792925910, -2.02022980381683, -1.03322686717359,
    -0.0511041056535807, 1829.15146461355,
    890420.383607373, 84.9149257747669, 0.0334910077722432, 0.488399681651699, 0.214274163161675,
    0.226073200069370, 455.478499142212,
    304.854073561965,
])  # fmt: skip


def test_a_linear_regression_of_columns_that_are_nearly_dependent(float64):
    """Employment: Longley (1967), with the values that NIST certifies to 15 digits; here to 9."""
    X, y = load("longley")
    model = GLM("Gaussian").fit(X, y)
    errors = uncertainty(model, X, y)
    ours = [model.intercept_, model.coef_, errors.intercept_se, errors.coef_se, np.sqrt(model.scale_)]
    np.testing.assert_allclose(np.concatenate([np.ravel(part) for part in ours]), CERTIFIED, rtol=1e-9)


def test_a_poisson_regression(float64):
    """Executions in 17 states: Gill (2000), *Generalized Linear Models: A Unified Approach*."""
    X, y = load("cpunish")
    X[:, 3] = np.log(X[:, 3])
    model = GLM().fit(X, y)
    np.testing.assert_allclose(model.coef_, [2.611e-4, 0.0778, -0.0949, 0.2969, 2.3012, -18.7221], rtol=1e-3)
    np.testing.assert_allclose(model.intercept_, -6.8015, atol=5e-5)


CASES = {
    "cpunish": ("Poisson", sm.families.Poisson()),
    "randhie": ("Poisson", sm.families.Poisson()),
    "fair": ("Bernoulli", sm.families.Binomial()),
    "scotland": ("Gamma", sm.families.Gamma(sm.families.links.Log())),
    "copper": ("Gaussian", sm.families.Gaussian()),
}


def fit_by_statsmodels(name):
    """Return X, y, and the fit of statsmodels with the constant last."""
    X, y = load(name)
    if name == "fair":
        y = (y > 0).astype(float)  # whether there was an affair, as in the example of statsmodels
    return X, y, fit_columns(name, X, y)


def fit_columns(name, X, y, **how):
    """Return the fit of statsmodels to some features."""
    rows = sm.add_constant(X, prepend=False)
    return sm.GLM(y, rows, family=CASES[name][1]).fit(tol=1e-14, maxiter=200, **how)


@pytest.mark.parametrize("name", CASES)
def test_real_data_as_statsmodels(float64, name):
    """Coefficients, errors by Fisher information and sandwich, log-likelihood, deviance, scale, a likelihood ratio."""
    kind = CASES[name][0]
    X, y, theirs = fit_by_statsmodels(name)
    model = GLM(kind).fit(X, y)
    np.testing.assert_allclose((np.append(model.coef_, model.intercept_) - theirs.params) / theirs.bse, 0, atol=1e-6)
    for how, their in (("fisher", theirs), ("sandwich", fit_columns(name, X, y, cov_type="HC0"))):
        errors = uncertainty(model, X, y, how)
        if kind != "Gamma" or how == "fisher":  # of a link that is not canonical they take the expected information
            np.testing.assert_allclose(np.append(errors.coef_se, errors.intercept_se), their.bse, rtol=1e-6)
    np.testing.assert_allclose(model.scale_, theirs.scale, rtol=1e-8)
    if kind in ("Poisson", "Bernoulli"):  # the log-likelihood of theirs has another estimate of the scale
        np.testing.assert_allclose(len(y) * model.score(X, y), theirs.llf, rtol=1e-10)
    pseudo = 1 - theirs.deviance / theirs.null_deviance
    np.testing.assert_allclose(model.score(X, y, "pseudo-r2-Cohen"), pseudo, rtol=1e-8)
    some = np.arange(2, X.shape[1])
    test = likelihood_ratio_test(model, GLM(kind).fit(X[:, some], y), X, y, columns=some)
    statistic = (fit_columns(name, X[:, some], y).deviance - theirs.deviance) / theirs.scale
    np.testing.assert_allclose(test.statistic, statistic, rtol=1e-6)


def test_doctor_visits_scatter_more_than_poisson(float64):
    """The RAND health insurance experiment: the dispersion and its model by statsmodels' NB2, all estimated together."""
    X, y = load("randhie")
    theirs = sm.NegativeBinomial(y, sm.add_constant(X, prepend=False)).fit(disp=0, method="newton", maxiter=200)
    model = GLM("NegativeBinomial").fit(X, y)
    np.testing.assert_allclose(model.scale_, theirs.params[-1], rtol=1e-5)
    np.testing.assert_allclose(
        (np.append(model.coef_, model.intercept_) - theirs.params[:-1]) / theirs.bse[:-1], 0, atol=1e-3
    )
    np.testing.assert_allclose(len(y) * model.score(X, y), theirs.llf, rtol=1e-9)
    assert theirs.llf > sm.Poisson(y, sm.add_constant(X)).fit(disp=0).llf + 1e4
