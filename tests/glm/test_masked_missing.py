"""A missing value costs a neuron its row only where its mask uses that feature: the fit is that of its own columns."""

import re

import numpy as np
import pytest
from samples import Rows

from popglm.assessment import deviance_residuals, scores
from popglm.basis import IdentityEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.inference import leave_out_test, likelihood_ratio_test, uncertainty
from popglm.model_selection import BlockSplit, cross_validate_path

N = 600
SHORT, LONG = (
    RaisedCosineLogConv(2, window_size=10, label="short"),
    RaisedCosineLogConv(1, window_size=30, label="long"),
)
BASIS = SHORT + LONG + IdentityEval(label="place")
OWN = [[2, 3, 4, 5], [0, 1, 6, 9], [4, 5, 7, 9]]  # features of each neuron; the first uses no long window and no place
MASK = np.array([[feature in own for own in OWN] for feature in range(10)]).astype(int)
MANY = "ignore:.*of the bins.*are left out:RuntimeWarning"


def recording():
    """Counts of three neurons; a history of which one input is missing in 60 % of the bins, and a place far from 0."""
    rng = np.random.default_rng(0)
    counts, place = rng.poisson(0.5, (N, 3)).astype(float), 60 + rng.normal(size=N)
    history = counts.copy()
    history[100:460, 0], history[500:520, 1], place[30:90] = np.nan, np.nan, np.nan
    return history, place, counts


def fit_alone(X, counts, neuron, **settings):
    """A model of one neuron and its columns."""
    own = np.asarray(X)[:, OWN[neuron]]
    return own, GLM(**settings).fit(own, counts[:, neuron])


def lazy(history, place):
    return BASIS.lazy_features(history, history, place)


def built(history, place):
    return BASIS.compute_features(history, history, place)


WAYS = {
    "built": built,
    "streamed": lambda history, place: BASIS.lazy_features(Rows(history), Rows(history), Rows(place)),
    "a streamed matrix": lambda history, place: Rows(built(history, place)),
}


@pytest.mark.filterwarnings(MANY)
def test_a_neuron_needs_only_the_features_that_it_uses(float64):
    history, place, counts = recording()
    X = lazy(history, place)
    model = PopulationGLM(feature_mask=MASK).fit(X, counts)
    table, predicted = scores(model, X, counts), np.asarray(model.predict(X))
    errors, rest = uncertainty(model, X, counts), deviance_residuals(model, X, counts)
    for neuron, own in enumerate(OWN):
        columns, alone = fit_alone(X, counts, neuron)
        np.testing.assert_allclose(model.coef_[own, neuron], alone.coef_, atol=1e-6)
        np.testing.assert_allclose(predicted[:, neuron], alone.predict(columns), rtol=1e-6)
        np.testing.assert_array_equal(np.isnan(rest[:, neuron]), np.isnan(columns).any(1))
        each = scores(alone, columns, counts[:, neuron])
        for name in ("bins", "log-likelihood", "bits-per-spike"):
            np.testing.assert_allclose(table[name][neuron], each[name], rtol=1e-8)
        error = uncertainty(alone, columns, counts[:, neuron])
        np.testing.assert_allclose(errors.coef_se[own, neuron], error.coef_se, rtol=1e-5)
    assert table["bins"][0] > 2 * table["bins"][1]
    for make in WAYS.values():
        other = PopulationGLM(feature_mask=MASK).fit(make(history, place), counts)
        np.testing.assert_allclose(other.coef_, model.coef_, atol=1e-6)
        np.testing.assert_array_equal(np.isnan(other.predict(make(history, place))), np.isnan(predicted))
    rows = np.r_[20:300, 320:600]
    some = PopulationGLM(feature_mask=MASK).fit(X[rows], counts[rows])
    alone = fit_alone(np.asarray(X)[rows], counts[rows], 1)[1]
    np.testing.assert_allclose(some.coef_[OWN[1], 1], alone.coef_, atol=1e-6)


@pytest.mark.filterwarnings(MANY)
@pytest.mark.parametrize(
    "settings",
    [{"solver_name": "LBFGS", "solver_kwargs": {"tol": 1e-9}}, {"observation_model": "NegativeBinomial"}],
    ids=["a named solver", "a negative binomial"],
)
def test_so_it_is_with_other_solvers_and_models(float64, settings):
    history, place, counts = recording()
    X = built(history, place - 60)
    settings = {"regularizer": "Ridge", "regularizer_strength": 0.01, **settings}
    model = PopulationGLM(feature_mask=MASK, **settings).fit(X, 3 * counts)
    for neuron, own in list(enumerate(OWN))[:2]:
        alone = fit_alone(X, 3 * counts, neuron, **settings)[1]
        np.testing.assert_allclose(model.coef_[own, neuron], alone.coef_, atol=1e-6)
        np.testing.assert_allclose(model.scale_[neuron], alone.scale_, rtol=1e-5)


@pytest.mark.filterwarnings(MANY)
def test_so_it_is_along_a_path_and_in_cross_validation(float64):
    history, place, counts = recording()
    X, settings, strengths = lazy(history, place), {"regularizer": "Ridge"}, [0.01, 0.1]
    model, splits = PopulationGLM(feature_mask=MASK, **settings), BlockSplit(2, window=30)
    result = cross_validate_path(model, X, counts, splits, strengths=strengths)
    own = np.asarray(X)[:, OWN[0]]
    alone = cross_validate_path(GLM(**settings), own, counts[:, 0], splits, strengths=strengths)
    np.testing.assert_allclose(result.path.coef[:, OWN[0], 0], alone.path.coef, atol=1e-6)
    np.testing.assert_array_equal(result.bins[:, 0], alone.bins[:, 0])
    np.testing.assert_allclose(result.scores[..., 0], alone.scores[..., 0], rtol=1e-6)


def gaps(rng):
    """A level and its complement that are missing together, a constant with gaps of its own, and a feature without any."""
    level, constant = rng.integers(0, 2, N).astype(float), np.full(N, 3.0)
    level[:200], constant[150:450] = np.nan, np.nan
    return np.column_stack([level, 1 - level, constant, rng.normal(size=N)])


@pytest.mark.filterwarnings(MANY)
def test_means_stand_for_gaps_so_that_constant_and_collinear_features_are_found(precision):
    rng = np.random.default_rng(0)
    X, y = gaps(rng), rng.poisson(1.0, (N, 3))
    mask = np.array([[1, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]]).T
    with pytest.warns(RuntimeWarning) as caught:
        model = PopulationGLM(feature_mask=mask).fit(X, y)
    said = " ".join(str(w.message) for w in caught)
    assert "feature 2: " in said and "told from the intercept" in said, said
    assert re.search("feature [01]: a sum of other features", said), said  # both are as good
    own = ~np.isnan(X[:, 2])
    alone = GLM().fit(X[own][:, [3]], y[own, 1])
    np.testing.assert_allclose(model.coef_[3, 1], alone.coef_[0], atol=1e-3)
    np.testing.assert_allclose(model.intercept_[1], alone.intercept_[0], atol=1e-3)


def test_a_mask_without_a_missing_value_changes_nothing():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(N, 3)), rng.poisson(1.0, (N, 2))
    X[:50] = np.nan
    mask = np.array([[1, 1, 0], [1, 1, 1]]).T
    gap, plain = PopulationGLM(feature_mask=mask).fit(X, y), PopulationGLM(feature_mask=mask).fit(X[50:], y[50:])
    np.testing.assert_allclose(gap.coef_, plain.coef_, atol=1e-6)


@pytest.mark.filterwarnings(MANY)
def test_likelihood_ratios_compare_fits_of_the_same_rows(float64):
    """Where a group that is left out is missing, rows would count for the fit without it alone."""
    history, place, counts = recording()
    X = built(history, place)
    model = PopulationGLM(feature_mask=MASK).fit(X, counts)
    tests = leave_out_test(model, X, counts, {"place": [9]})
    columns, alone = fit_alone(X, counts, 2)
    known = ~np.isnan(columns).any(1)
    reduced = GLM().fit(columns[known][:, :3], counts[known, 2])
    expected = likelihood_ratio_test(alone, reduced, columns[known], counts[known, 2], columns=[0, 1, 2])
    np.testing.assert_allclose(tests.statistic[0, 2], expected.statistic, atol=1e-6)
    assert np.isnan(tests.statistic[0, 0])  # it does not use the place


def test_the_neuron_that_loses_most_is_named():
    history, place, counts = recording()
    with pytest.warns(RuntimeWarning, match=r"%.*left out for neuron 1, and fewer for others.*Most often input .*0"):
        PopulationGLM(feature_mask=MASK, regularizer="Ridge", regularizer_strength=0.01).fit(
            lazy(history, place), counts
        )
