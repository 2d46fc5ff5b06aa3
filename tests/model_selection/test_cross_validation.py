"""Cross-validation along a path: the scores of scikit-learn and of fits one by one, and the strengths that follow."""

import numpy as np
import pytest
from samples import small_data
from scipy import stats
from scipy.stats import poisson, sem
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, KFold

from popglm import observation_models
from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.model_selection import BlockSplit, CrossValidation, cross_validate_path

STRENGTHS = np.geomspace(1e-3, 3, 5)
SPLITS = BlockSplit(4, window=3, n_blocks=2)


def log_likelihood(y, mean):
    return poisson.logpmf(y, mean).mean()


def test_scores_and_choices_of_scikit_learn(float64):
    X, y = small_data(0, n_bins=400)
    X, y = X[:, :3] + 0.3 * X[:, 3:], y.copy()
    found = cross_validate_path(
        PopulationGLM(regularizer="Ridge", solver_kwargs={"tol": 1e-12}), X, y, SPLITS, strengths=STRENGTHS
    )
    assert found.scores.shape == (4, 5, 3) and found.bins.shape == (4, 3) and (found.bins == 100).all()
    for n in range(3):
        search = GridSearchCV(
            PoissonRegressor(tol=1e-10, solver="newton-cholesky"), {"alpha": STRENGTHS}, cv=SPLITS,
            scoring=make_scorer(log_likelihood),
        ).fit(X, y[:, n])  # fmt: skip
        expected = np.array([search.cv_results_[f"split{k}_test_score"] for k in range(4)])
        np.testing.assert_allclose(found.scores[:, :, n], expected, rtol=1e-7)
        np.testing.assert_allclose(found.mean[:, n], search.cv_results_["mean_test_score"], rtol=1e-7)
        assert found.strength()[0, n] == search.best_params_["alpha"]
        single = cross_validate_path(
            GLM(regularizer="Ridge", solver_kwargs={"tol": 1e-12}), X, y[:, n], SPLITS, strengths=STRENGTHS
        )
        np.testing.assert_allclose(single.scores[..., 0], expected, rtol=1e-7)
        assert single.strength() == search.best_params_["alpha"]


def test_one_strength_for_all_is_that_of_a_grid_search(precision):
    X, y = small_data(1, n_bins=400)
    model = PopulationGLM(regularizer="Ridge")
    found = cross_validate_path(model, X, y, KFold(4), strengths=STRENGTHS)
    search = GridSearchCV(model, {"regularizer_strength": STRENGTHS}, cv=KFold(4)).fit(X, y)
    np.testing.assert_allclose(found.mean.mean(1), search.cv_results_["mean_test_score"], rtol=1e-5)
    assert found.strength(shared=True) == search.best_params_["regularizer_strength"]


def test_shuffled_rows_with_a_history_are_warned_of_and_blocks_are_not(capsys):
    y = np.random.default_rng(0).poisson(0.5, 400)
    X, model = RaisedCosineLogConv(2, window_size=10).lazy_features(y), GLM(regularizer="Ridge")
    with pytest.warns(
        UserWarning, match=r"100% of the test rows of fold \d share bins.*window of 10 bins.*use BlockSplit"
    ):
        cross_validate_path(model, X, y, KFold(2, shuffle=True, random_state=0), strengths=[0.1])
    for splits in (2, KFold(2)):  # the message's fix, and blocks without a gap; warnings are errors
        cross_validate_path(model, X, y, splits, strengths=[0.1], progress=splits == 2)
    assert "3/3" in capsys.readouterr().err


def test_missing_values_and_lazy_features(recording):
    """Every score is that of a fit by itself, over the bins that are valid."""
    basis = RaisedCosineLogConv(2, window_size=10)
    y = recording.values.astype(float)
    y[120:160, 0], y[::7, 1] = np.nan, np.nan
    X, model = basis.compute_features(recording), PopulationGLM(regularizer="Ridge")
    splits = BlockSplit(3, window=10)
    found = cross_validate_path(model, X, y, splits, strengths=STRENGTHS[:3])
    for k, (train, test) in enumerate(splits.split(X)):
        valid = ~np.isnan(X.values[test]).any(1)[:, None] & ~np.isnan(y[test])
        np.testing.assert_array_equal(found.bins[k], valid.sum(0))
        for i, strength in enumerate(found.strengths):
            model.set_params(regularizer_strength=float(strength)).fit(X.values[train], y[train])
            each = model.score(X.values[test], y[test], aggregate_sample_scores=lambda s: np.nanmean(s, axis=0))
            np.testing.assert_allclose(found.scores[k, i], each, rtol=2e-4)
    lazy = cross_validate_path(model, basis.lazy_features(recording), y, list(splits.split(X)), strengths=STRENGTHS[:3])
    np.testing.assert_allclose(lazy.scores, found.scores, rtol=2e-4)
    np.testing.assert_array_equal(lazy.bins, found.bins)
    by_number = cross_validate_path(model, basis.lazy_features(recording), y, 3, strengths=STRENGTHS[:3])
    assert by_number.bins.sum() == found.bins.sum()


def scatter(name):
    """Activity of a small data set that the model describes."""
    X, mean = small_data(2, n_bins=300)
    mean, rng = np.exp(0.3 * X[:, :2] + 0.5), np.random.default_rng(0)
    if name == "NegativeBinomial":
        return X, rng.poisson(mean * rng.gamma(2, 0.5, mean.shape)).astype(float)
    return X, mean * rng.gamma(4, 0.25, mean.shape) if name == "Gamma" else mean + rng.normal(size=mean.shape)


def by_scipy(name, y, mean, scale):
    if name == "Gaussian":
        return stats.norm.logpdf(y, mean, np.sqrt(scale))
    if name == "Gamma":
        return stats.gamma.logpdf(y, 1 / scale, scale=mean * scale)
    return stats.nbinom.logpmf(y, 1 / scale, 1 / (1 + scale * mean))


@pytest.mark.parametrize("name", ["Gaussian", "Gamma", "NegativeBinomial"])
@pytest.mark.parametrize("given", [None, 0.7])
def test_a_scale_is_that_of_the_training_rows(float64, name, given):
    X, y = scatter(name)
    observed = getattr(observation_models, name)(scale=given)
    model = PopulationGLM(observed, regularizer="Ridge", solver_kwargs={"tol": 1e-12})
    found = cross_validate_path(model, X, y, KFold(2), strengths=STRENGTHS[1:3])
    for k, (train, test) in enumerate(KFold(2).split(X)):
        for i, strength in enumerate(found.strengths):
            model.set_params(regularizer_strength=float(strength)).fit(X[train], y[train])
            mean, scale = model.predict(X[train]), model.scale_
            if name != "NegativeBinomial" and given is None:
                scale = ((y[train] - mean) ** 2 / (mean**2 if name == "Gamma" else 1)).mean(0)
            expected = by_scipy(name, y[test], model.predict(X[test]), scale).mean(0)
            np.testing.assert_allclose(found.scores[k, i], expected, rtol=2e-5)


def test_strengths_for_each_neuron_fit_as_they_were_chosen():
    """What `strength` returns is what `fit` takes: a lasso per neuron, as on the path of all data."""
    X, y = small_data(3)
    model = PopulationGLM(regularizer="Lasso", solver_kwargs={"tol": 1e-9})
    found = cross_validate_path(model, X, y, BlockSplit(3, window=0), n_strengths=6)
    for rule in ("best", "one-se"):
        model.set_params(regularizer_strength=found.strength(rule)).fit(X, y)
        for n, strength in enumerate(found.strength(rule)[0]):
            at = int(np.flatnonzero(found.strengths == strength)[0])
            np.testing.assert_allclose(model.coef_[:, n], found.path.coef[at, :, n], atol=2e-3)


def test_strengths_multiply_an_array_of_the_model():
    """A feature of strength 0 is not penalised at any strength of the path, and the same in the fit that follows."""
    X, y = small_data(4)
    base = np.array([0.0, 1.0, 1.0, 1.0])[:, None] * np.ones((1, 3))
    model = PopulationGLM(regularizer="Lasso", regularizer_strength=base)
    found = cross_validate_path(model, X, y, BlockSplit(3, window=0), strengths=[0.01, 10.0])
    assert (found.path.coef[1, 0] != 0).all() and (found.path.coef[1, 1:] == 0).all()
    model.set_params(regularizer_strength=base * found.strength()).fit(X, y)
    at = np.searchsorted(found.strengths, found.strength()[0])
    np.testing.assert_allclose(model.coef_, found.path.coef[at, :, range(3)].T, atol=2e-3)


def test_mean_and_error_weigh_every_valid_bin_alike():
    rng = np.random.default_rng(0)
    scores, bins = rng.normal(size=(5, 3, 2)), np.full((5, 2), 70)
    even = CrossValidation(STRENGTHS[:3], scores, bins, None)
    np.testing.assert_allclose(even.mean, scores.mean(0))
    np.testing.assert_allclose(even.standard_error, sem(scores, axis=0))
    bins[3], bins[2, 1], scores[2, :, 1] = 210, 0, np.nan  # a fold of three times the length; one without a bin
    uneven = CrossValidation(STRENGTHS[:3], scores, bins, None)
    np.testing.assert_allclose(uneven.mean[:, 0], (scores.sum(0)[:, 0] + 2 * scores[3, :, 0]) / 7)
    alone = CrossValidation(STRENGTHS[:3], scores[[0, 1, 3, 4]], bins[[0, 1, 3, 4]], None)
    np.testing.assert_allclose(uneven.mean[:, 1], alone.mean[:, 1])
    np.testing.assert_allclose(uneven.standard_error[:, 1], alone.standard_error[:, 1])


def two_folds(*means, error):
    """Scores of two folds with these means and standard errors, one neuron for each row of means."""
    means = np.array(means, float).T
    return CrossValidation(
        np.array([0.1, 1.0, 10.0, 100.0]),
        np.stack([means - error, means + error]),
        np.full((2, means.shape[1]), 10),
        None,
    )


RULES = {  # mean scores, standard error, best, largest within one standard error
    "a peak": ([-5, -1, -3, -4], 0.1, 1.0, 1.0),
    "a flat top": ([-5, -1, -1.05, -4], 0.1, 1.0, 10.0),
    "noise": ([-5, -1, -1.5, -2], 3.0, 1.0, 100.0),
    "equals": ([-2, -1, -1, -3], 0.1, 10.0, 10.0),
    "no penalty": ([-1, -2, -3, -4], 0.1, 0.1, 0.1),
    "a gap": ([-5, -1, -3, -1.05], 0.1, 1.0, 100.0),
    "no score": ([np.nan] * 4, 0.1, 100.0, 100.0),
    "a strength that explodes": ([-np.inf, -1, -3, -4], 0.1, 1.0, 1.0),
}


@pytest.mark.parametrize("name", RULES)
def test_rules(name):
    means, error, best, simplest = RULES[name]
    with np.errstate(invalid="ignore"):
        found = two_folds(means, error=error)
        assert found.strength() == best and found.strength("one-se") == simplest
        both = two_folds(means, RULES["a flat top"][0], error=error)
        np.testing.assert_array_equal(both.strength(), [[best, 1.0]])


def test_one_strength_for_all_pools_the_bins():
    """A neuron counts by its valid bins; the error is that of the pooled scores, not the mean of errors."""
    scores = np.array([[[-1.0, -4.0], [-2.0, -1.0]], [[-1.2, -4.0], [-2.0, -1.4]], [[-1.0, np.nan], [-2.0, np.nan]]])
    bins = np.array([[100, 10], [100, 10], [100, 0]])
    found = CrossValidation(np.array([0.1, 1.0]), scores, bins, None)
    assert found.strength(shared=True) == 0.1 and isinstance(found.strength(shared=True), float)
    np.testing.assert_array_equal(found.strength(), [[0.1, 1.0]])
    pooled = np.array([[-140 / 110, -210 / 110], [-160 / 110, -214 / 110], [-1.0, -2.0]])
    alone = CrossValidation(np.array([0.1, 1.0]), pooled[..., None], np.array([[110], [110], [100]]), None)
    for rule in ("best", "one-se"):
        assert found.strength(rule, shared=True) == alone.strength(rule)


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_a_silent_neuron_takes_the_largest_strength():
    X, y = small_data()
    y[:, 1] = 0
    found = cross_validate_path(PopulationGLM(regularizer="Ridge"), X, y, BlockSplit(3, window=0), strengths=STRENGTHS)
    assert np.isfinite(found.scores).all() and found.strength()[0, 1] == STRENGTHS[-1]


def test_the_model_is_not_changed():
    X, y = small_data()
    model = PopulationGLM(regularizer="Ridge", regularizer_strength=0.5)
    cross_validate_path(model, X, y, BlockSplit(2, window=0), strengths=STRENGTHS[:2])
    assert model.regularizer_strength == 0.5 and not hasattr(model, "coef_")


RIDGE = PopulationGLM(regularizer="Ridge")
REFUSED = {
    "another estimator": ({"model": PoissonRegressor()}, TypeError, "`model` must be a GLM or a PopulationGLM"),
    "a class": ({"model": PopulationGLM}, TypeError, "`model` must be a GLM or .*got the class PopulationGLM"),
    "a number without a window": ({"splits": 3}, ValueError, "BlockSplit needs `window`"),
    "no splits": ({"splits": None}, TypeError, "`splits` must be a splitter such as BlockSplit"),
    "splits by name": ({"splits": "block"}, TypeError, "`splits` must be a splitter.*got 'block'"),
    "one fold": ({"splits": [(np.arange(50), np.arange(50, 99))]}, ValueError, "two folds at least"),
    "rows beyond the end": (
        {"splits": [(np.arange(9), np.arange(700))] * 2},
        ValueError,
        "fold 0 of `splits`.*to 599",
    ),
    "masks": ({"splits": [(np.ones(600, bool), np.ones(600, bool))] * 2}, ValueError, "row numbers.*dtype bool"),
    "triples": ({"splits": [(1, 2, 3)] * 2}, ValueError, r"two arrays \(train, test\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_fix(name):
    change, kind, text = REFUSED[name]
    X, y = small_data()
    given = {"model": RIDGE, "X": X, "y": y, "splits": SPLITS, "strengths": STRENGTHS[:2]} | change
    with pytest.raises(kind, match=text):
        cross_validate_path(given.pop("model"), given.pop("X"), given.pop("y"), given.pop("splits"), **given)


@pytest.mark.parametrize("call", [lambda f: f.strength("1se"), lambda f: f.strength(shared=1)])
def test_rules_are_named(call):
    with pytest.raises((ValueError, TypeError), match=r"`rule` must be one of 'best', 'one-se'|`shared` must be True"):
        call(two_folds([-1, -2, -3, -4], error=0.1))


@pytest.mark.filterwarnings("ignore:neuron 0. no valid bin:RuntimeWarning")
def test_a_neuron_that_no_training_bin_knows_is_not_scored(precision):
    X, y = small_data(0, n_bins=300)
    y = y.astype(float)
    y[:200, 0] = np.nan  # all that is known of it is in one fold
    found = cross_validate_path(
        PopulationGLM(regularizer="Ridge"), X, y, BlockSplit(3, window=0), strengths=[0.01, 0.1, 1.0]
    )
    assert (found.bins[:, 0] == 0).all() and np.isnan(found.scores[:, :, 0]).all() and np.isnan(found.mean[:, 0]).all()
    assert np.isfinite(found.mean[:, 1:]).all() and np.isfinite(found.strength(shared=True))
