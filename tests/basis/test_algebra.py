"""Sums and products of bases: one design of several inputs, lazy or built, and who is who among its columns."""

import itertools
import pickle

import jax
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from samples import Rows, framed, sample_cases
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline

from popglm._design.sizes import SIZES
from popglm.basis import (
    BSplineEval,
    CategoryEval,
    CustomBasis,
    CyclicBSplineEval,
    FourierEval,
    HistoryConv,
    IdentityEval,
    RaisedCosineLinearConv,
    RaisedCosineLinearEval,
    RaisedCosineLogConv,
    Sum,
)
from popglm.batching import random_windows
from popglm.glm import GLM, PopulationGLM

RIDGE = {"regularizer": "Ridge", "regularizer_strength": 0.01}
HISTORY = RaisedCosineLogConv(3, window_size=20, label="history")
AROUND = RaisedCosineLinearConv(4, window_size=9, label="around", predictor_causality="acausal")
PLACE = BSplineEval(5, bounds=(0, 10), label="place")
SPEED = RaisedCosineLinearEval(4, bounds=(-3, 3), label="speed")
CONTEXT = CategoryEval([0, 1, 2], label="context")
LENGTHS = [400, 15, 485]

DESIGNS = {  # and the inputs of each
    "history + place": (HISTORY + PLACE, "counts place"),
    "place + history + around": (PLACE + HISTORY + AROUND, "place counts speed"),
    "place * speed": (PLACE * SPEED, "place speed"),
    "context * history": (CONTEXT * HISTORY, "context counts"),
    "history * history": (HISTORY * HISTORY, "counts place"),
    "history + place * speed * context": (HISTORY + PLACE * SPEED * CONTEXT, "counts place speed context"),
    "(history + place) * context": ((HISTORY + PLACE) * CONTEXT, "counts place context"),
    "context * (place + around)": (CONTEXT * (PLACE + AROUND), "context place speed"),
}


@pytest.fixture
def inputs():
    """What four inputs were in 900 bins, with a hole in one of them."""
    rng = np.random.default_rng(0)
    place = rng.uniform(0, 10, 900)
    place[500:510] = np.nan
    return {
        "counts": rng.poisson(0.3, (900, 2)),
        "place": place,
        "speed": np.clip(rng.normal(size=900), -3, 3),
        "context": rng.integers(0, 3, 900),
    }


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(SIZES, "block_rows", 64)
    monkeypatch.setattr(SIZES, "chunk_blocks", 3)


def by_hand(basis, values):
    """Features of a tree of bases, from those of its leaves, row by row: the first factor slowest, the last fastest."""
    if basis._leaves == [basis]:
        return basis.compute_features(next(values))
    parts = [np.asarray(by_hand(part, values)) for part in basis.bases]
    if isinstance(basis, Sum):
        return np.concatenate(parts, 1)
    return np.array([[np.prod(c) for c in itertools.product(*rows)] for rows in zip(*parts, strict=True)])


@pytest.mark.parametrize("name", DESIGNS)
def test_equals_what_its_parts_make(precision, small_chunks, inputs, name):
    """In epochs, of which one is shorter than the window: a feature is known where all of its factors are."""
    basis, names = DESIGNS[name]
    frames = [framed(inputs[key], LENGTHS) for key in names.split()]
    X = basis.compute_features(*frames)
    expected = by_hand(basis, iter(frames))
    known = ~np.isnan(expected).any(1)
    assert isinstance(X, nap.TsdFrame) and X.shape == expected.shape and 700 < known.sum() < 900
    tolerance = 1e-6 if precision == "float32" else 1e-12
    np.testing.assert_allclose(X.values, expected, rtol=tolerance, atol=1e-6)  # which compares NaN, too
    assert len(set(X.columns)) == X.shape[1]


@pytest.mark.parametrize("name", sample_cases(DESIGNS, 4))
def test_lazy_and_built_give_the_same_fits(precision, small_chunks, inputs, name):
    """Fit, predict and score, of all rows, a slice, an index, and epochs."""
    basis, names = DESIGNS[name]
    frames, y = [framed(inputs[key], LENGTHS) for key in names.split()], framed(inputs["counts"], LENGTHS)
    X, built = basis.lazy_features(*frames), basis.compute_features(*frames)
    np.testing.assert_array_equal(np.asarray(X), built.values)
    model = PopulationGLM(**RIDGE)
    epochs = nap.IntervalSet([1.0, 5.5], [3.5, 9.0])
    parts = [
        (X, built, y),
        (X[130:700], built.values[130:700], y.values[130:700]),
        (X[np.r_[600:900, 40:200]], built.values[np.r_[600:900, 40:200]], y.values[np.r_[600:900, 40:200]]),
        (X.restrict(epochs), built.restrict(epochs), y.restrict(epochs)),
    ]
    tolerance = {"rtol": 1e-3, "atol": 2e-4} if precision == "float32" else {"rtol": 1e-6, "atol": 1e-7}
    for lazy, dense, counts in parts:
        a, b = clone(model).fit(lazy, counts), clone(model).fit(dense, counts)
        np.testing.assert_allclose(a.coef_, b.coef_, **tolerance)
        np.testing.assert_allclose(np.asarray(a.predict(lazy)), np.asarray(a.predict(dense)), rtol=1e-5)
        assert a.score(lazy, counts) == pytest.approx(a.score(dense, counts), rel=1e-5)


@pytest.mark.parametrize("name", ["history + place", "context * history", "history + place * speed * context"])
def test_batches_streams_and_long_recordings(small_chunks, monkeypatch, inputs, name):
    """Windows cut from lazy features are rows of the built ones; what is on disk, or long, is made anew in every pass."""
    basis, names = DESIGNS[name]
    values, y = [inputs[key] for key in names.split()], inputs["counts"]
    X, built = basis.lazy_features(*values), basis.compute_features(*values)
    for (a, _), (b, _) in zip(random_windows(X, y, 150, seed=0), random_windows(built, y, 150, seed=0), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    windows = random_windows(X, y, 150, seed=0)
    exact = PopulationGLM(**RIDGE).fit(X, y)
    batches = PopulationGLM(**RIDGE).fit_batches(windows, n_steps=10 * len(windows))
    np.testing.assert_allclose(batches.coef_, exact.coef_, atol=0.02)
    streamed = basis.lazy_features(*(v if v.ndim == 1 and "context" in names else Rows(v) for v in values))
    monkeypatch.setattr("popglm._design.lazy.MAX_CACHED_BINS", 500)
    for other in (streamed, X):
        assert other.span().streamed
        np.testing.assert_allclose(PopulationGLM(**RIDGE).fit(other, y).coef_, exact.coef_, atol=1e-5)


def test_a_fit_goes_on_from_its_checkpoint(tmp_path, inputs):
    """And notices when an input of one part is another."""
    basis = HISTORY + CONTEXT * PLACE
    values, y = [inputs["counts"], inputs["context"], inputs["place"]], inputs["counts"]
    X, path = basis.lazy_features(*values), tmp_path / "fit.npz"
    with pytest.warns(RuntimeWarning, match="stopped before"):
        PopulationGLM(**RIDGE, solver_kwargs={"maxiter": 2}).fit(X, y, checkpoint=path)
    went_on = PopulationGLM(**RIDGE).fit(X, y, checkpoint=path)
    np.testing.assert_array_equal(went_on.coef_, PopulationGLM(**RIDGE).fit(X, y).coef_)
    values[1] = (values[1] + 1) % 3
    with pytest.raises(ValueError, match="not what it was"):
        PopulationGLM(**RIDGE).fit(basis.lazy_features(*values), y, checkpoint=path)


def test_an_input_without_times_has_the_epochs_of_the_others(inputs):
    """Nothing crosses a gap, even if only the other input knows of it; and pynapple goes out if it came in at all."""
    x = inputs["speed"]
    basis = HISTORY + AROUND
    X = basis.compute_features(framed(inputs["counts"], LENGTHS), x)
    expected = basis.compute_features(framed(inputs["counts"], LENGTHS), framed(x, LENGTHS))
    np.testing.assert_array_equal(X.values, expected.values)
    other = (AROUND + HISTORY).compute_features(x, framed(inputs["counts"], LENGTHS))
    np.testing.assert_array_equal(other.values[:, 4:], expected.values[:, :6])
    assert isinstance(other, nap.TsdFrame)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_variable_far_from_0_keeps_its_digits(inputs, offset):
    """Features of the same bin are centred before float32 rounds them, beside others that need it or not."""
    x = inputs["speed"] + offset
    y = np.random.default_rng(1).poisson(np.exp(0.5 * inputs["speed"] - 1))
    basis = HISTORY + IdentityEval() + CustomBasis([np.square])
    near = basis.lazy_features(inputs["counts"], inputs["speed"], inputs["speed"])
    far = basis.lazy_features(inputs["counts"], x, inputs["speed"])
    a, b = GLM().fit(near, y), GLM().fit(far, y)
    np.testing.assert_allclose(a.coef_, b.coef_, atol=1e-4)
    assert a.intercept_[0] == pytest.approx(b.intercept_[0] + offset * b.coef_[6], abs=2e-3 if offset else 1e-5)


def test_one_basis_twice_learns_two_bounds():
    """A sum keeps copies, each with what it learned of its own input."""
    twice = BSplineEval(5) + BSplineEval(5)
    some = BSplineEval(5)
    same = some * some
    a, b = np.linspace(0, 1, 50), np.linspace(5, 9, 50)
    for basis in (twice, same):
        basis.compute_features(a, b)
        assert basis[0].bounds_ == (0, 1) and basis[1].bounds_ == (5, 9)
    assert not hasattr(some, "bounds_")


def test_features_and_coefficients_split_by_label(recording):
    """Names of units and columns survive; coefficients split as features do; what one gives puts the whole together."""
    x = np.linspace(0, 10, 270)
    basis = HISTORY + PLACE + CategoryEval() * RaisedCosineLogConv(2, 10)
    context = np.arange(270) % 3
    X = basis.compute_features(recording, x, context, recording)
    parts = basis.split_by_feature(X)
    assert [*parts] == ["history", "place", 2]
    assert [*parts["history"]] == ["a", "b", "c"] and [*parts["place"]] == [0] and [*parts[2]] == ["0*a", "0*b", "0*c"]
    np.testing.assert_array_equal(parts["history"]["b"], X.values[:, 3:6])
    np.testing.assert_array_equal(parts["place"][0], X.values[:, 9:14])
    np.testing.assert_array_equal(parts[2]["0*b"], X.values[:, [16, 17, 22, 23, 28, 29]])
    one = by_hand(CategoryEval() * RaisedCosineLogConv(2, 10), iter([context, recording[:, 1]]))
    known = np.isfinite(X.values).all(1)
    np.testing.assert_allclose(parts[2]["0*b"][known], one[known], atol=1e-6)
    coef = np.arange(32 * 3).reshape(32, 3)
    split = basis.split_by_feature(coef, axis=0)
    np.testing.assert_array_equal(split["history"][1], coef[3:6])
    np.testing.assert_array_equal(split[2]["0*2"], coef[[18, 19, 24, 25, 30, 31]])
    np.testing.assert_array_equal(basis.split_by_feature(coef.T, axis=-1)["place"][0], coef[9:14].T)
    np.testing.assert_array_equal(basis.split_by_feature(coef[:, 0], axis=0)["place"][0], coef[9:14, 0])
    assert [*X.columns[[0, 9, 14, -1]]] == ["history/a:0", "place/0:0", "2/0:0*a:0", "2/0:2*c:1"]
    assert [*X["term"].values[[0, 9, 14]]] == ["history", "place", 2] and X["input"].iloc[-1] == "0*c"
    nested = (HISTORY + PLACE) * CategoryEval()
    nested.compute_features(recording, x, context)
    assert [*nested.split_by_feature(np.zeros((42, 1)), axis=0)] == [
        "history/0*0",
        "history/1*0",
        "history/2*0",
        "place/0*0",
    ]


def test_algebra():
    """Sums in sums and products in products are taken apart, unless they have a label of their own."""
    a, b, c = IdentityEval(), FourierEval(1, bounds=(0, 1)), CyclicBSplineEval(5, bounds=(0, 1))
    assert len((a + b + c).bases) == len((a + (b + c)).bases) == 3 and len((a * (b * c)).bases) == 3
    assert repr((a + b) * c) == f"({a!r} + {b!r}) * {c!r}"
    assert (a + b + c).n_basis_funcs == 8 and (a * b * c).n_basis_funcs == 10 and ((a + b) * c).n_basis_funcs == 15
    inner = type(b * c)(b, c, label="inner")
    assert len((a * inner).bases) == 2 and (a + inner)["inner"].n_basis_funcs == 10 and (a + inner)[-1].label == "inner"
    x, lags, y, functions = (a + HistoryConv(4) * c).evaluate_on_grid(7)
    assert functions.shape == (7, 4, 7, 21) and list(lags) == [1, 2, 3, 4]
    np.testing.assert_allclose(functions[:, 2, 5, 0], x)
    np.testing.assert_allclose(functions[3, 2, :, 1 + 2 * 5 : 1 + 3 * 5], c.shape(y), atol=1e-12)


def test_settings_by_label():
    basis = clone(HISTORY + CONTEXT * SPEED + PLACE)
    assert basis.get_params()["basis2__speed__n_basis_funcs"] == 4 and basis.get_params(deep=False).keys() == {
        "label", "history", "basis2", "place"
    }  # fmt: skip
    basis.set_params(history__n_basis_funcs=5, basis2__speed__width=1.5, place=HistoryConv(7, label="place"))
    assert basis[0].n_basis_funcs == 5 and basis[1]["speed"].width == 1.5 and basis["place"].window_size == 7
    with pytest.raises(ValueError, match="Invalid parameter"):
        basis.set_params(nothing=3)
    copy = pickle.loads(pickle.dumps(basis))
    assert repr(copy) == repr(basis)


def test_cross_validation_over_the_number_of_functions():
    """As scikit-learn does it: bounds are learned on the training folds; the values are those of a loop by hand."""
    rng = np.random.default_rng(0)
    x = np.c_[rng.uniform(0, 10, 900), rng.uniform(-3, 3, 900)]
    y = rng.poisson(np.exp(np.sin(x[:, 0]) * x[:, 1] / 2 - 1))
    basis = RaisedCosineLinearEval(6, bounds=(0, 10), label="place") * SPEED
    pipe = Pipeline([("basis", basis.to_transformer()), ("glm", GLM(**RIDGE))])
    grid = {"basis__place__n_basis_funcs": [2, 6], "basis__speed__n_basis_funcs": [2, 4]}
    search = GridSearchCV(pipe, grid, cv=KFold(3), error_score="raise").fit(x, y)
    assert search.best_params_["basis__place__n_basis_funcs"] == 6
    scores = []
    for train, test in KFold(3).split(x):
        model = GLM(**RIDGE).fit(basis.compute_features(*x[train].T), y[train])
        scores.append(model.score(basis.compute_features(*x[test].T), y[test]))
    at = search.cv_results_["params"].index({"basis__place__n_basis_funcs": 6, "basis__speed__n_basis_funcs": 4})
    assert search.cv_results_["mean_test_score"][at] == pytest.approx(np.mean(scores), rel=1e-5)


def test_a_step_of_a_pipeline_knows_its_columns(recording):
    """Several columns of one input are announced, and clones remember it; pynapple goes through."""
    basis = (HISTORY + SPEED).set_input_shape(recording, 1)
    both = nap.TsdFrame(
        t=recording.t, d=np.c_[recording.values, np.sin(recording.t)], time_support=recording.time_support,
        columns=["a", "b", "c", "speed"],
    )  # fmt: skip
    X = clone(basis).fit_transform(both)
    expected = basis.compute_features(recording, np.sin(recording.t))
    np.testing.assert_array_equal(X.values, expected.values)
    assert [*basis.split_by_feature(X)["speed"]] == ["speed"]
    pipe = Pipeline([("basis", basis), ("glm", PopulationGLM(**RIDGE))]).fit(both, recording)
    np.testing.assert_allclose(pipe.predict(both).values, PopulationGLM(**RIDGE).fit(X, recording).predict(X).values)


def test_the_whole_remembers_its_inputs_when_a_part_is_used_alone(recording):
    """A part may see another input, on a grid, say; what the whole has seen decides how the whole is split."""
    x = np.linspace(0, 10, 270)
    basis = HISTORY + (AROUND + PLACE) * CategoryEval()
    basis.compute_features(recording, recording, x, np.arange(270) % 2)
    before = {key: part.keys() for key, part in basis.split_by_feature(np.zeros((51 - 8, 2)), axis=0).items()}
    basis["history"].compute_features(np.zeros(30))
    basis[1][0].compute_features(np.zeros(30), np.linspace(0, 10, 30))
    basis[1][0].split_by_feature(np.zeros((9, 2)), axis=0)
    after = {key: part.keys() for key, part in basis.split_by_feature(np.zeros((51 - 8, 2)), axis=0).items()}
    assert before == after and len(after["history"]) == 3 and len(after[1]) == 4


def test_a_table_of_words_and_numbers():
    """Its columns go to the parts of a sum with the types that they have."""
    rng = np.random.default_rng(0)
    side, speed, count = rng.choice(["left", "right"], 200), rng.normal(size=200), rng.poisson(1, 200)
    table = pd.DataFrame({"count": count, "side": side, "speed": speed})
    basis = HistoryConv(3, label="h") + CategoryEval(label="side") * IdentityEval()
    X = clone(basis).fit_transform(table)
    np.testing.assert_array_equal(X, basis.compute_features(count, side, speed))
    y = rng.poisson(np.exp(0.5 * speed * (side == "left") - 1))
    model = Pipeline([("basis", clone(basis)), ("glm", GLM(**RIDGE))]).fit(table, y)
    np.testing.assert_array_equal(model.predict(table), GLM(**RIDGE).fit(X, y).predict(X))


@pytest.mark.parametrize("offset", [100.0, 1e5])
def test_a_factor_far_from_0_is_named(inputs, offset):
    """Products are not centred. Where digits of them are lost a warning says so, and what to do; else none are."""
    x, side = inputs["speed"] + offset, inputs["context"]
    y = np.random.default_rng(1).poisson(np.exp(0.4 * inputs["speed"] * (side - 1) - 1))
    product = CategoryEval(label="side") * IdentityEval(label="x")
    if offset > 1e3:
        with pytest.warns(
            UserWarning, match=r"'x' of a product lies 1e\+05 standard deviations from 0.*Subtract its mean"
        ):
            product.lazy_features(side, x)
        return
    with jax.enable_x64(True):
        expected = GLM().fit(product.lazy_features(side, x), y).predict(product.compute_features(side, x))
    rate = GLM().fit(product.lazy_features(side, x), y).predict(product.compute_features(side, x))
    np.testing.assert_allclose(rate, expected, rtol=1e-3)


def test_clones_keep_what_was_set():
    """A sum that was put into a sum is no written one: its settings have its name, so it stays in one piece."""
    basis = (HISTORY + PLACE).set_params(place=SPEED + CONTEXT)
    copy = clone(basis)
    assert repr(copy) == repr(basis) and copy.get_params().keys() == basis.get_params().keys()
    copy.set_params(basis2__label="both", basis2__speed__width=1.5)
    assert (
        clone(copy)["both"]["speed"].width == 1.5 and clone(clone(copy)).get_params().keys() == copy.get_params().keys()
    )
    with pytest.raises(ValueError, match="labels of the parts must differ; got 'history', 'history'"):
        (HISTORY + PLACE).set_params(place__label="history")


def test_a_grid_that_no_memory_holds_is_refused():
    """Before it is made, with its size."""
    basis = PLACE + SPEED + IdentityEval(label="x") + FourierEval(2, bounds=(0, 1), label="phase")
    with pytest.raises(ValueError, match=r"14 functions on a grid of 100 x 100 x 100 x 100 points take 11.2 GB"):
        basis.evaluate_on_grid()
    assert basis.evaluate_on_grid(5)[-1].shape == (5, 5, 5, 5, 14)
    with pytest.raises(ValueError, match=r"3000 functions on a grid of 100 x 100 x 100 points take 24 GB"):
        (BSplineEval(20) * BSplineEval(15) * BSplineEval(10)).evaluate_on_grid()
