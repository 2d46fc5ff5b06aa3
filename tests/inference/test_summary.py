"""Summaries: equal to R and to statsmodels, and those of a neuron by itself."""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from families import CASES, FAMILIES, SCALED, drawn
from scipy import stats
from tables import THETA, THETA_RATIO, THETA_SE, R, days_absent

from popglm.basis import BSplineEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.inference import summary, uncertainty
from popglm.observation_models import Gaussian

NUMBERS = ["coef", "se", "statistic", "p", "low", "high"]


def close(one, other, rtol=1e-8):
    np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-12)


# Comparisons


@pytest.mark.parametrize("name", R)
def test_summaries_are_those_of_r(float64, name):
    family, data, kind, table, statistics, criteria = R[name]
    X, y = data()
    result = summary(GLM(family).fit(X, y), X, y, kind=kind)
    ours, theirs = result.coefficients[NUMBERS[:4]].to_numpy(float), np.array(table)
    close(ours[:, :2], theirs[:, :2])
    close(ours[:, 2:], theirs[:, 2:], 1e-7)
    assert result.coefficients.input.tolist() == ["intercept", *X.columns]
    one = result.neurons.iloc[0]
    close(one[["scale", "residual_df", "deviance", "null_deviance", "pearson_chi2"]].to_numpy(), statistics)
    close(one.dispersion, statistics[-1] / statistics[1])
    if criteria is not None:
        close(one[["log_likelihood", "aic", "bic"]].to_numpy(), criteria)
    assert result.reference == ("normal" if kind == "fisher" and statistics[0] == 1 else "t")


def test_alpha_and_its_test_are_those_of_r_and_statsmodels(float64):
    X, y = days_absent()
    one = summary(GLM("NegativeBinomial").fit(X, y), X, y).neurons.iloc[0]
    close(one.alpha, 1 / THETA)
    close(one.alpha_se, THETA_SE / THETA**2, 1e-6)
    close(one.alpha_statistic, THETA_RATIO)
    close(one.alpha_p, stats.chi2.sf(THETA_RATIO, 1) / 2)
    theirs = sm.NegativeBinomial(y, sm.add_constant(X)).fit(disp=0, method="newton", maxiter=100)
    close(
        [one.alpha, one.log_likelihood, one.aic, one.bic], [theirs.params["alpha"], theirs.llf, theirs.aic, theirs.bic]
    )
    close(one.alpha_se, theirs.bse["alpha"], 1e-3)  # theirs adds the uncertainty of the coefficients


@pytest.mark.parametrize(("name", "link", "family"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_summaries_are_those_of_statsmodels(float64, name, link, family):
    """With missing rows and entries; a scale that is estimated is named in the docstring of `summary`."""
    X, y = drawn(name, 300)
    if name == "Gaussian" and link == "exp":
        y = y - y.min() + 1
    X[:20, 1], y[100:150, 0] = np.nan, np.nan
    model = SCALED[name] if name == "NegativeBinomial" else name
    result = summary(PopulationGLM(model, link).fit(X, y), X, y, level=0.9)
    for n in range(3):
        rows = ~np.isnan(X).any(1) & ~np.isnan(y[:, n])
        like = family or FAMILIES.NegativeBinomial(alpha=SCALED[name].scale)
        scaled = name in ("Gaussian", "Gamma")
        fit = sm.GLM(y[rows, n], sm.add_constant(X[rows]), family=like).fit(tol=1e-14, maxiter=200, use_t=scaled)
        table, one = result.coefficients[result.coefficients.neuron == n], result.neurons.loc[n]
        theirs = np.column_stack([fit.params, fit.bse, fit.tvalues, fit.pvalues, fit.conf_int(0.1)])
        np.testing.assert_allclose(table[NUMBERS], theirs, rtol=1e-6, atol=1e-9)
        close(table[["coef", "se"]], theirs[:, :2])
        close([one.bins, one.residual_df, one.scale], [rows.sum(), fit.df_resid, fit.scale])
        close([one.deviance, one.null_deviance, one.pearson_chi2], [fit.deviance, fit.null_deviance, fit.pearson_chi2])
        llf = fit.llf_scaled(fit.deviance / rows.sum()) if scaled else fit.llf
        close([one.log_likelihood, one.aic], [llf, -2 * llf + 2 * (4 + scaled)])
        close(one.bic, -2 * llf + (4 + scaled) * np.log(rows.sum()))
        if not scaled:
            close([one.null_log_likelihood, one.aic, one.bic], [fit.llnull, fit.aic, fit.bic_llf])
        if link == "identity":
            close([one.aic, one.bic], [fit.info_criteria("aic", dk_params=1), fit.info_criteria("bic", dk_params=1)])


def test_quasi_likelihood_tests_groups_by_f(float64):
    """As statsmodels does with ``scale="X2"`` and ``use_t=True``; for a Gaussian nothing changes."""
    X, y = drawn("NegativeBinomial", 300)
    errors = uncertainty(PopulationGLM().fit(X, y), X, y, "quasi")
    group = errors.test([0, 2])
    for n in range(3):
        theirs = sm.GLM(y[:, n], sm.add_constant(X), family=FAMILIES.Poisson()).fit(tol=1e-14, scale="X2", use_t=True)
        close(errors.coef_se[:, n], theirs.bse[1:])
        np.testing.assert_allclose(errors.interval(0.8)[0][:, n], theirs.conf_int(0.2)[1:, 0], rtol=1e-6)
        wald = theirs.wald_test(np.eye(4)[[1, 3]], scalar=True, use_f=True)
        close([group.statistic[n] / 2, group.p_values[n]], [wald.statistic, wald.pvalue], 1e-6)
    same = PopulationGLM("Gaussian").fit(X, y)
    close(uncertainty(same, X, y, "quasi").covariance, uncertainty(same, X, y).covariance, 1e-7)


def test_a_scale_that_is_given_is_no_parameter(float64):
    X, y = drawn("Gaussian", 300)
    result = summary(PopulationGLM(Gaussian(scale=2.0)).fit(X, y), X, y)
    theirs = sm.GLM(y[:, 1], sm.add_constant(X)).fit(scale=2.0)
    one = result.neurons.loc[1]
    close(result.coefficients[result.coefficients.neuron == 1].se, theirs.bse)
    llf = theirs.llf_scaled(2.0)
    close(one[["parameters", "scale", "log_likelihood", "aic"]].to_numpy(), [4, 2, llf, 8 - 2 * llf])
    assert result.reference == "normal"


# Laws


@pytest.mark.parametrize("name", ["Poisson", "Gaussian", "NegativeBinomial"])
def test_a_weight_is_a_number_of_copies_and_an_offset_a_known_part(float64, name):
    """Equal to a fit of repeated rows; the intercept of the null model is fitted with the offset, as in statsmodels."""
    X, y = drawn("NegativeBinomial" if name == "Poisson" else name, 300)
    rng = np.random.default_rng(0)
    weight, offset = rng.integers(0, 3, (300, 3)), rng.normal(size=300)
    y[:9], weight[:9] = 2.0, 0
    kind = "quasi" if name == "Poisson" else "fisher"
    model = PopulationGLM(name).fit(X, y, sample_weight=weight, offset=offset)
    whole = summary(model, X, y, kind=kind, sample_weight=weight, offset=offset)
    rows = np.repeat(np.arange(300), weight[:, 1])
    alone = GLM(name).fit(X[rows], y[rows, 1], offset=offset[rows])
    alone = summary(alone, X[rows], y[rows, 1], kind=kind, offset=offset[rows])
    np.testing.assert_allclose(whole.select(1).coefficients[NUMBERS], alone.coefficients[NUMBERS], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(whole.select(1).neurons, alone.neurons, rtol=1e-7)
    if name == "Poisson":
        like, exog = FAMILIES.Poisson(), sm.add_constant(X)
        theirs = sm.GLM(y[:, 1], exog, family=like, freq_weights=weight[:, 1], offset=offset).fit(tol=1e-14, scale="X2")
        one = alone.neurons.iloc[0]
        close([one.deviance, one.null_deviance, one.scale], [theirs.deviance, theirs.null_deviance, theirs.scale])
        close(alone.coefficients.se, theirs.bse)


@pytest.mark.parametrize("options", [{}, {"kind": "quasi"}, {"kind": "sandwich", "clusters": 20}], ids=str)
def test_rows_of_a_neuron_are_those_of_its_own_model(data, options):
    X, y = data[0], 2 * data[1]
    y[:50, 0] = np.nan
    whole = summary(PopulationGLM("NegativeBinomial").fit(X, y), X, y, **options)
    alone = summary(GLM("NegativeBinomial").fit(X, y[:, 1]), X, y[:, 1], **options)
    one = whole.select(1)
    np.testing.assert_allclose(one.coefficients[NUMBERS], alone.coefficients[NUMBERS], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(one.neurons, alone.neurons, rtol=1e-3, atol=1e-4)
    assert whole.neurons.bins.tolist() == [550, 600, 600]
    df = {"quasi": 595, "sandwich": 29}.get(whole.kind, np.inf)
    assert whole.neurons.t_df[1] == df


def test_half_of_the_neurons_without_overdispersion_have_the_statistic_0():
    """The test keeps its level on the boundary; at 0 there is no error, and p is 1."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 1)), rng.poisson(1.0, (600, 200))
    with pytest.warns(RuntimeWarning, match="no overdispersion"):
        model = PopulationGLM("NegativeBinomial").fit(X, y)
    result = summary(model, X, y).neurons
    none = result.alpha_statistic == 0
    assert 0.42 < none.mean() < 0.62 and (result.alpha_p < 0.1).mean() < 0.15
    assert (result.alpha_p[none] == 1).all() and (result.alpha_p[~none] < 0.5).all()
    assert (np.isnan(result.alpha_se) == none).all()
    assert (result.alpha_p[~none] < 0.2).mean() > 0.2


def test_what_the_data_do_not_determine_does_not_count(data):
    """Collinear, constant and masked features: NaN or 0, and no parameters, as R's rank has it."""
    X, y = data
    plain = summary(PopulationGLM().fit(X[:, :2], y), X[:, :2], y).neurons
    more = np.column_stack([X[:, :2], X[:, 0] + X[:, 1], np.full(len(X), 2.0), X[:, 2]])
    mask = np.ones((5, 3), int)
    mask[4] = 0
    with pytest.warns(RuntimeWarning):
        model = PopulationGLM(feature_mask=mask).fit(more, y)
    with pytest.warns(RuntimeWarning, match="feature 0, 1, 2: the data do not determine"):
        result = summary(model, more, y)
    np.testing.assert_allclose(result.neurons, plain, rtol=1e-4)
    assert (result.neurons.parameters == 3).all()
    table = result.coefficients[result.coefficients.neuron == 0]
    np.testing.assert_array_equal(np.isnan(table.se), [False, True, True, True, True, True])


def test_silent_and_far_neurons_are_named_and_nan(data):
    X, y = data
    whole = summary(PopulationGLM().fit(X, y), X, y)
    y = np.column_stack([y, np.zeros(len(y))])
    with pytest.warns(RuntimeWarning, match="neuron 3: no event"):
        model = PopulationGLM().fit(X, y)
    model.coef_ = model.coef_ + 0.3 * (np.arange(4) == 1)
    with pytest.warns(RuntimeWarning) as caught:
        result = summary(model, X, y)
    text = " ".join(str(warning.message) for warning in caught)
    assert "neuron 3: nothing to fit" in text and "neuron 1: coefficients lie more than" in text
    assert (result.neurons.bins == 600).all()
    left_out = [False, True, False, True]
    np.testing.assert_array_equal(result.neurons.drop(columns="bins").isna().all(axis=1), left_out)
    assert result.coefficients.se.isna().tolist() == np.repeat(left_out, 5).tolist()
    np.testing.assert_allclose(result.neurons.loc[[0, 2]], whole.neurons.loc[[0, 2]], rtol=1e-5)


def test_a_separated_neuron_keeps_its_likelihood():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.random(2000) < 0.2, rng.normal(size=2000)]).astype(float)
    y = rng.poisson(0.3 * (X[:, 0] == 0))
    with pytest.warns(RuntimeWarning, match="no event"):
        model = GLM().fit(X, y)
    with pytest.warns(RuntimeWarning, match="no finite optimum"):
        result = summary(model, X, y)
    rows = X[:, 0] == 0
    inside = summary(GLM().fit(X[rows, 1:], y[rows]), X[rows, 1:], y[rows])
    assert result.coefficients.se.isna().tolist() == [False, True, False]
    close(result.neurons.log_likelihood, inside.neurons.log_likelihood, 1e-3)
    assert result.neurons.parameters[0] == 3


# Names, text, errors


def test_features_have_the_names_of_their_inputs(data):
    """By metadata of lazy features, by columns of a table, and by number."""
    X, y = data
    speed = X[:, 0]
    basis = RaisedCosineLogConv(2, window_size=5, label="coupling") + BSplineEval(4, label="speed")
    features = basis.lazy_features(y, speed)
    mask = np.ones((10, 3), int)
    mask[6] = 0  # splines sum to 1
    model = PopulationGLM(feature_mask=mask).fit(features, y)
    lazy = summary(model, features, y)
    names = lazy.coefficients[["term", "input", "function"]].iloc[[0, 1, 2, 6, 10]].to_numpy().tolist()
    assert names == [["", "intercept", ""], ["coupling", 0, 0], ["coupling", 0, 1], ["coupling", 2, 1], ["speed", 0, 3]]
    assert re.search(r"coupling +0 +1 ", repr(lazy.select(2)))
    tables = pd.DataFrame(y, columns=["4", "x", "a/b"]), pd.DataFrame({"v": speed})
    table = basis.compute_features(*tables)
    named = summary(model, table, y).coefficients
    names = named[["term", "input", "function"]].iloc[[0, 1, 4, 6, 10]].to_numpy().tolist()
    assert names == [
        ["", "intercept", ""],
        ["coupling", 4, 0],
        ["coupling", "x", 1],
        ["coupling", "a/b", 1],
        ["speed", "v", 3],
    ]
    np.testing.assert_allclose(named[NUMBERS], lazy.coefficients[NUMBERS], rtol=1e-2, atol=1e-3)
    product = pd.DataFrame(X[:, :2], columns=["a:0*b:1", "c"])
    named = summary(GLM().fit(product, y[:, 0]), product, y[:, 0]).coefficients
    assert named[["term", "input", "function"]].to_numpy().tolist()[1:] == [["", "a*b", "0*1"], ["", "c", ""]]


def test_text_is_of_few_neurons(data):
    X, y = data
    y = pd.DataFrame(np.column_stack([y, y[:, 0]]), columns=["a", "b", "c", "d"])
    result = summary(PopulationGLM().fit(X, y), X, y)
    assert repr(result).startswith("Summary(kind='fisher'): 4 neurons, 20 parameters. Print `summary.select(neuron)`")
    few = result.select(["d", "b"])
    assert few.neurons.index.tolist() == ["d", "b"] and few.coefficients.neuron.tolist() == ["d"] * 5 + ["b"] * 5
    text = repr(few)
    lines = r"neuron d: Poisson, exp link\nerrors by .*\nbins 600, .*AIC.*\n\n +input +coef +se +z +p"
    assert re.search(lines, text, re.DOTALL)
    assert "neuron b" in text and "neuron a" not in text
    with pytest.raises(KeyError, match="there is no neuron 'x'; the neurons are a, b, c, d"):
        result.select("x")
    assert " t " in repr(summary(PopulationGLM().fit(X, y), X, y, kind="quasi").select("a"))


def test_what_is_refused(data):
    X, y = data
    model = PopulationGLM().fit(X, y)
    lasso = PopulationGLM(regularizer="Lasso", regularizer_strength=0.1).fit(X, y)
    with pytest.raises(ValueError, match="Expected no penalty or a quadratic one"):
        summary(lasso, X, y)
    with pytest.raises(ValueError, match="`level` must lie between 0 and 1"):
        summary(model, X, y, level=95)
    with pytest.raises(ValueError, match="`kind` must be one of 'fisher', 'quasi', 'sandwich'"):
        summary(model, X, y, kind="bayes")
    overdispersed = PopulationGLM("NegativeBinomial").fit(X, 2 * y)
    overdispersed.solver_kwargs = {"maxiter": 1}
    with pytest.warns(RuntimeWarning, match="the fit of a Poisson model did not converge"):
        assert summary(overdispersed, X, 2 * y).neurons.alpha_p.isna().any()
