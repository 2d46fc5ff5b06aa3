"""Weights and offsets in cross-validation, this package's and scikit-learn's: they are cut as the rows are."""

import numpy as np
import pynapple as nap
import pytest
import sklearn
from samples import Rows, small_data
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.model_selection import cross_validate_path

RIDGE = {"regularizer": "Ridge", "solver_kwargs": {"tol": 1e-18}}
STRENGTHS = [0.01, 1.0]


@pytest.mark.parametrize("name", ["Poisson", "Gaussian"])
def test_a_weight_is_a_number_of_copies(float64, name):
    """In training and in test; a Gaussian estimates its scale, and has its offset subtracted from y."""
    X, y = small_data(n_bins=200, n_neurons=1)
    rng = np.random.default_rng(1)
    weight, offset = rng.integers(0, 3, 200), 0.3 * rng.normal(size=200)
    pairs = list(KFold(2).split(X))
    copies = [np.repeat(np.flatnonzero(half), weight[half]) for half in (np.arange(200) < 100, np.arange(200) >= 100)]
    rows, cut = np.concatenate(copies), len(copies[0])
    numbers = np.arange(len(rows))
    model, given = GLM(name, **RIDGE), {"strengths": STRENGTHS}
    found = cross_validate_path(model, X, y[:, 0], pairs, sample_weight=weight, offset=offset, **given)
    splits = [(numbers[cut:], numbers[:cut]), (numbers[:cut], numbers[cut:])]
    same = cross_validate_path(model, X[rows], y[rows, 0], splits, offset=offset[rows], **given)
    np.testing.assert_allclose(found.scores, same.scores, rtol=1e-8)
    np.testing.assert_allclose(found.path.coef, same.path.coef, rtol=1e-7)
    np.testing.assert_array_equal(found.bins, same.bins)
    assert found.bins.dtype.kind == "i"
    parts = cross_validate_path(model, X, y[:, 0], pairs, sample_weight=weight / 8, offset=offset, **given)
    np.testing.assert_allclose(parts.scores, found.scores, rtol=1e-8)
    np.testing.assert_allclose(parts.bins, found.bins / 8)
    np.testing.assert_allclose(parts.mean, found.mean, rtol=1e-8)
    np.testing.assert_allclose(parts.standard_error, found.standard_error, rtol=1e-6)


def test_weights_of_each_neuron_lazy_and_streamed(float64):
    counts = np.random.default_rng(0).poisson(0.4, (240, 2))
    weight, offset = np.random.default_rng(1).integers(0, 3, (240, 2)), np.log(1 + np.arange(240.0) % 4)
    weight[80:160, 1] = 0  # a fold without a row of the second neuron
    basis, model = RaisedCosineLogConv(2, window_size=8), PopulationGLM(**RIDGE)
    X, pairs = basis.compute_features(counts), list(KFold(3).split(counts))
    run = lambda X, *given: cross_validate_path(
        model, X, counts, pairs, strengths=STRENGTHS, sample_weight=given[0], offset=given[1]
    )
    found = run(X, weight, offset)
    assert np.isnan(found.scores[1, :, 1]).all() and found.bins[1, 1] == 0 and np.isfinite(found.mean).all()
    for n in range(2):
        train, test = pairs[0]
        single = GLM(**RIDGE, regularizer_strength=1.0)
        single.fit(X[train], counts[train, n], sample_weight=weight[train, n], offset=offset[train])
        score = single.score(X[test], counts[test, n], sample_weight=weight[test, n], offset=offset[test])
        np.testing.assert_allclose(found.scores[0, 1, n], score, rtol=1e-8)
    lazy = basis.lazy_features(counts)
    for values in (weight, Rows(weight.astype(float))):
        same = run(lazy, values, Rows(offset))
        np.testing.assert_allclose(same.scores, found.scores, rtol=1e-7)
        np.testing.assert_array_equal(same.bins, found.bins)
    alone = run(X, np.where(np.arange(240) < 160, 1, 0), None)
    assert np.isnan(alone.scores[2]).all() and np.isfinite(alone.scores[:2]).all()


def framed(X, y, weight, offset):
    """Objects of pynapple, all with the times of X."""
    t = np.arange(len(X)) * 0.01
    as_tsd = lambda values: (nap.Tsd if values.ndim == 1 else nap.TsdFrame)(t=t, d=values)
    return [as_tsd(values) for values in (X, y, weight, offset)]


@pytest.mark.parametrize("convert", [lambda *arrays: arrays, framed], ids=["NumPy", "pynapple"])
@pytest.mark.parametrize("estimator", [GLM, PopulationGLM])
def test_scikit_learn_slices_weights_and_offsets(float64, convert, estimator):
    """Weights go to `fit` and `score` as they are; with metadata routing, offsets as well, by name in a pipeline, too."""
    X, y = small_data(n_bins=120, n_neurons=2)
    y = y[:, 0] if estimator is GLM else y
    weight, offset = np.arange(120) % 3, np.linspace(-1, 1, 120)
    X, y, weight, offset = convert(X, y, weight.astype(float), offset)
    model, grid = estimator(**RIDGE), {"regularizer_strength": STRENGTHS}

    def expected(**names):
        scores = []
        for strength in STRENGTHS:
            each = estimator(**RIDGE, regularizer_strength=strength)
            part = lambda rows: {name: values[rows] for name, values in names.items()}
            folds = [
                each.fit(X[train], y[train], **part(train)).score(X[test], y[test], **part(test))
                for train, test in KFold(2).split(X)
            ]
            scores.append(np.mean(folds))
        return scores

    search = GridSearchCV(model, grid, cv=KFold(2), error_score="raise").fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected(sample_weight=weight), rtol=1e-9)
    best = estimator(**RIDGE, **search.best_params_).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(search.best_estimator_.coef_, best.coef_, rtol=1e-9)
    with sklearn.config_context(enable_metadata_routing=True):
        names = {"sample_weight": True, "offset": True}
        routed = estimator(**RIDGE).set_fit_request(**names).set_score_request(**names)
        search = GridSearchCV(routed, grid, cv=KFold(2), error_score="raise")
        search.fit(X, y, sample_weight=weight, offset=offset)
        known = expected(sample_weight=weight, offset=offset)
        np.testing.assert_allclose(search.cv_results_["mean_test_score"], known, rtol=1e-9)
    pipeline = Pipeline([("identity", FunctionTransformer()), ("glm", model.set_params(regularizer_strength=0.01))])
    pipeline.fit(X, y, glm__sample_weight=weight, glm__offset=offset)
    direct = estimator(**RIDGE, regularizer_strength=0.01).fit(X, y, sample_weight=weight, offset=offset)
    np.testing.assert_array_equal(pipeline[-1].coef_, direct.coef_)
