"""scikit-learn's contract: its own checks, and clone, Pipeline and GridSearchCV with NumPy and pynapple."""

import pickle
from functools import partial

import jax
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import RFE, SelectFromModel, SequentialFeatureSelector
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from popglm.basis import BSplineEval, FourierEval, IdentityEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.model_selection import BlockSplit
from popglm.observation_models import Poisson
from popglm.regularizer import Ridge

EXCEPTIONS = {  # checks that must fail, and why
    GLM: {
        "check_complex_data": "complex numbers are a wrong type: the error is a TypeError, not a ValueError",
        "check_dtype_object": "arrays of objects are refused, not converted: they hide strings and dates",
        "check_supervised_y_2d": "a column of counts is refused with the fix in the text, not flattened with a warning",
    },
    PopulationGLM: {
        "check_complex_data": "as for GLM",
        "check_dtype_object": "as for GLM",
        "check_regressor_multioutput": "its targets are negative, though our tags say that y is positive",
    },
}


@parametrize_with_checks(
    [GLM(), PopulationGLM()], expected_failed_checks=lambda estimator: EXCEPTIONS[type(estimator)], xfail_strict=True
)
@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning", "ignore:feature .*a sum of other features:RuntimeWarning")
def test_scikit_learn_checks(estimator, check):
    """Those of weights ask for equal predictions to 1e-7, beyond the digits of single precision."""
    with jax.enable_x64("sample_weight" in check.func.__name__):
        check(estimator)


SETTINGS = [
    GLM(),
    GLM(inverse_link_function="softplus", solver_name="LBFGS", solver_kwargs={"maxiter": 50}),
    PopulationGLM(regularizer="Ridge", regularizer_strength=0.1, feature_mask=np.eye(4, 3)),
    PopulationGLM(observation_model=Poisson(), regularizer=Ridge(), regularizer_strength=0.1),
    RaisedCosineLogConv(5, window_size=40, width=3.0),
]


@pytest.mark.parametrize("estimator", SETTINGS, ids=lambda e: type(e).__name__)
def test_clone_keeps_the_settings_and_nothing_else(data, estimator):
    """Constructors store what they are given, the same objects; a clone of a fitted model is not fitted."""
    given = estimator.get_params(deep=False)
    for name, value in type(estimator)(**given).get_params(deep=False).items():
        assert value is given[name]
    if isinstance(estimator, GLM | PopulationGLM):
        X, y = data
        estimator = clone(estimator).fit(X, y if isinstance(estimator, PopulationGLM) else y[:, 0])
        copy = pickle.loads(pickle.dumps(estimator))
        np.testing.assert_array_equal(copy.predict(X), estimator.predict(X))
    copy = clone(estimator)
    assert repr(copy) == repr(estimator).split(" with ")[0] and not hasattr(copy, "coef_")


def test_set_params_takes_effect_and_is_checked_by_fit(data):
    X, y = data
    model = PopulationGLM(solver_name="typo", regularizer="Ridge")  # not checked here
    with pytest.raises(ValueError, match="`solver_name` must be one of"):
        model.fit(X, y)
    weak = np.abs(model.set_params(solver_name=None, regularizer_strength=0.01).fit(X, y).coef_).sum()
    strong = np.abs(model.set_params(regularizer_strength=10.0).fit(X, y).coef_).sum()
    assert strong < weak / 2


@pytest.fixture
def frames(recording):
    """Features and counts on one time axis, with missing rows at the start of each epoch."""
    return RaisedCosineLogConv(2, window_size=10).compute_features(recording), recording


def as_numpy(X, y):
    return X.values, y.values


STRENGTHS = {"regularizer_strength": [1e-3, 1e-1, 10.0]}


@pytest.mark.parametrize("convert", [as_numpy, lambda X, y: (X, y)], ids=["NumPy", "pynapple"])
def test_grid_search_over_strengths(frames, convert):
    X, y = convert(*frames)
    search = GridSearchCV(PopulationGLM(regularizer="Ridge"), STRENGTHS, cv=KFold(3), error_score="raise").fit(X, y)
    expected = []
    for strength in STRENGTHS["regularizer_strength"]:
        model = PopulationGLM(regularizer="Ridge", regularizer_strength=strength)
        folds = KFold(3).split(X)
        expected.append(np.mean([model.fit(X[train], y[train]).score(X[test], y[test]) for train, test in folds]))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected, rtol=1e-5)
    assert search.best_params_["regularizer_strength"] == STRENGTHS["regularizer_strength"][np.argmax(expected)]
    assert type(search.predict(X)) is type(X)


@pytest.mark.parametrize("convert", [as_numpy, lambda X, y: (X, y)], ids=["NumPy", "pynapple"])
def test_pipeline(frames, convert):
    X, y = convert(*frames)
    direct = PopulationGLM().fit(X, y)
    same = make_pipeline(FunctionTransformer(), PopulationGLM()).fit(X, y)
    np.testing.assert_array_equal(same[-1].coef_, direct.coef_)
    assert type(same.predict(X)) is type(X)
    scaled = make_pipeline(StandardScaler(), PopulationGLM()).fit(X, y)
    assert scaled.score(X, y) == pytest.approx(direct.score(X, y), abs=1e-4)
    grid = {"populationglm__regularizer_strength": [0.01, 1.0]}
    search = GridSearchCV(make_pipeline(StandardScaler(), PopulationGLM(regularizer="Ridge")), grid, cv=KFold(2))
    assert np.isfinite(search.fit(X, y).best_score_)


def test_a_pipeline_from_counts_to_rates(recording):
    """The basis as a first step: history starts anew in each epoch of the held-out data."""
    features = FunctionTransformer(RaisedCosineLogConv(2, window_size=10).compute_features)
    pipeline = make_pipeline(features, PopulationGLM(regularizer="Ridge", regularizer_strength=0.01))
    train, test = recording.restrict(recording.time_support[:2]), recording.restrict(recording.time_support[2])
    rate = pipeline.fit(train, train).predict(test)
    assert isinstance(rate, nap.TsdFrame) and np.isfinite(pipeline.score(test, test))
    assert np.isnan(rate.values[:10]).all() and np.isfinite(rate.values[10:]).all()


def test_cross_validation_of_one_neuron(frames):
    X, y = frames
    scores = cross_val_score(GLM(regularizer="Ridge", regularizer_strength=0.1), X, y[:, 0], cv=KFold(3))
    assert scores.shape == (3,) and np.isfinite(scores).all()


@pytest.mark.parametrize("cut", ["pynapple", "pandas", "dates in pandas"])
def test_history_does_not_cross_what_cross_validation_cuts_out(recording, cut):
    """Scores of a pipeline are those of features that were made before the rows were cut."""
    counts, conv = recording.values[:90], RaisedCosineLogConv(2, window_size=10)
    if cut == "pynapple":
        frame = nap.TsdFrame(t=np.arange(90) * 0.01, d=counts)
    else:
        index = pd.date_range("2026-01-01", periods=90, freq="10ms") if cut == "dates in pandas" else None
        frame = pd.DataFrame(counts, index=index)
    model = PopulationGLM(regularizer="Ridge", regularizer_strength=0.01)
    scores = cross_val_score(make_pipeline(conv, model), frame, frame, cv=KFold(3), error_score="raise")
    X, expected = conv.compute_features(counts), []
    for train, test in KFold(3).split(X):
        begins = np.isin(np.arange(90) - 10, train)  # rows of training whose history lies in training, too
        train, test = train[begins[train]], test[10:]
        expected.append(model.fit(X[train], counts[train]).score(X[test], counts[test]))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_a_plain_array_does_not_show_a_cut(recording):
    counts, conv = recording.values[:90], RaisedCosineLogConv(2, window_size=10)
    pipeline = make_pipeline(conv, PopulationGLM(regularizer="Ridge"))
    with pytest.raises(ValueError, match=r"history would cross the cut.*X = basis.lazy_features\(inputs\)"):
        cross_val_score(pipeline, counts, counts, cv=KFold(2), error_score="raise")
    assert np.isfinite(pipeline.fit(counts, counts).score(counts, counts))
    X = conv.lazy_features(counts)  # as the message advises
    assert np.isfinite(cross_val_score(pipeline[-1], X, counts, cv=BlockSplit(2), error_score="raise")).all()


def test_selectors_take_the_features_that_matter():
    """As scikit-learn's own models of several targets; without `importance_getter` they would read another axis."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = rng.poisson(np.exp(X[:, [1, 3, 3, 3]] * [0.8, 0.8, 0.4, -0.4] - 0.5))
    needed, getter = [False, True, False, True], lambda model: model.coef_.T
    for selector in (RFE, partial(SelectFromModel, max_features=2, threshold=-np.inf)):
        with pytest.raises(ValueError, match=r"select wrong features.*importance_getter=lambda model: model.coef_.T"):
            selector(PopulationGLM()).fit(X, y).get_support()
        assert selector(PopulationGLM(), importance_getter=getter).fit(X, y).get_support().tolist() == needed
    one = RFE(GLM(), n_features_to_select=1).fit(X, y[:, 0])
    assert one.get_support().tolist() == [False, True, False, False] and one.predict(X).shape == (300,)
    model = PopulationGLM().fit(X, y)
    forward = SequentialFeatureSelector(model, n_features_to_select=2, cv=KFold(2))
    assert forward.fit(X, y).get_support().tolist() == needed
    assert not hasattr(PopulationGLM(), "coef_")


def test_a_basis_keeps_the_names_of_columns():
    """As transformers of scikit-learn: `fit` keeps them, and `transform` refuses others, or another order."""
    values = np.random.default_rng(0).random((50, 2))
    table = pd.DataFrame(values, columns=["speed", "place"], index=np.arange(50) * 0.1)
    frame = nap.TsdFrame(t=np.arange(50.0), d=values, columns=[7, 9])
    splines, both = BSplineEval(3, order=2), BSplineEval(3, order=2) + FourierEval(1, bounds=(0, 1))
    for basis, names in (
        (splines, ["speed:0", "speed:1", "speed:2", "place:0", "place:1", "place:2"]),
        (both, ["0/speed:0", "0/speed:1", "0/speed:2", "1/place:0", "1/place:1"]),
        (splines * IdentityEval(), ["speed:0*place:0", "speed:1*place:0", "speed:2*place:0"]),
    ):
        X = basis.fit_transform(table)
        assert X.columns.tolist() == basis.get_feature_names_out().tolist() == names and X.index.equals(table.index)
        assert basis.feature_names_in_.tolist() == ["speed", "place"]
        np.testing.assert_array_equal(X, basis.transform(values))
        with pytest.raises(ValueError, match=r"feature names should match.*expected 'speed' where 'place' came"):
            basis.transform(table[["place", "speed"]])
        with pytest.raises(ValueError, match=r"feature names should match|must have 2 columns"):
            basis.transform(table[["speed"]])
        with pytest.raises(ValueError, match="`input_features` should match"):
            basis.get_feature_names_out(["place", "speed"])
        with pytest.raises(ValueError, match="expected 7 where 9 came"):
            basis.fit(frame).transform(frame[:, [1, 0]])
        assert not hasattr(basis, "feature_names_in_")
    X = both.compute_features(table["speed"], table["place"])
    lazy = both.lazy_features(table["speed"], table["place"])
    assert lazy.columns == X.columns.tolist() == names_of(both, table) and lazy[3:].frame.index.equals(X.index[3:])
    model = GLM(regularizer="Ridge")
    assert make_pipeline(both, model).fit(table, np.ones(50))[-1].feature_names_in_.tolist() == names_of(both, table)
    np.testing.assert_array_equal(model.predict(lazy), model.predict(X))


def names_of(basis, table):
    return basis.fit(table).get_feature_names_out().tolist()


def test_features_have_names():
    """Those of pynapple's columns, with the names of the inputs where scikit-learn knows them."""
    X = np.random.default_rng(0).random((200, 2))
    place, angle = BSplineEval(4, label="place"), FourierEval(1, bounds=(0, 1), label="angle")
    assert (place + angle).fit(X).get_feature_names_out(["p", "q"]).tolist() == [
        *(f"place/p:{k}" for k in range(4)),
        *(f"angle/q:{k}" for k in range(2)),
    ]
    assert (place * angle).fit(X).get_feature_names_out().tolist() == [
        f"0:{i}*0:{j}" for i in range(4) for j in range(2)
    ]
    steps = make_pipeline(place, GLM(regularizer="Ridge")).set_output(transform="pandas").fit(X[:, :1], np.ones(200))
    assert (
        steps[-1].feature_names_in_.tolist()
        == steps[:-1].transform(X[:, :1]).columns.tolist()
        == [f"0:{k}" for k in range(4)]
    )
    table = ColumnTransformer([("a", place, [0]), ("b", angle, [1])]).fit(X)
    assert table.get_feature_names_out().tolist() == [*(f"a__x0:{k}" for k in range(4)), "b__x1:0", "b__x1:1"]
    both = clone((place + angle).set_output(transform="pandas")).fit(X)
    assert both.transform(X).columns.tolist() == both.get_feature_names_out().tolist()
    frame = nap.TsdFrame(t=np.arange(200.0), d=X, columns=[7, 9])
    np.testing.assert_array_equal(both.fit(frame).transform(frame).values, both.transform(X).values)
    with pytest.raises(ValueError, match="has not seen"):
        BSplineEval(4).get_feature_names_out()
    with pytest.raises(ValueError, match="must have 2 columns"):
        (place + angle).fit(X).get_feature_names_out(["p"])
