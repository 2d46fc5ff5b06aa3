"""Names of columns and sizes of bins are compared, in one way, wherever X or y is given."""

from functools import cache
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pynapple as nap
import pytest

from popglm import assessment, io
from popglm._checks.names import bin_size_of
from popglm._pynapple import as_frame
from popglm.basis import IdentityEval, RaisedCosineLogConv
from popglm.batching import random_windows
from popglm.glm import GLM, PopulationGLM
from popglm.inference import coupling_table, leave_out_test, likelihood_ratio_test, uncertainty
from popglm.simulation import simulate

N_BINS, BIN_SIZE = 120, 0.01
FEATURES = np.random.default_rng(0).normal(size=(N_BINS, 2))
COUNTS = np.random.default_rng(1).poisson(np.exp(0.5 * FEATURES - 0.5))
HISTORY = RaisedCosineLogConv(2, window_size=5)


def framed(values, columns=None, bin_size=BIN_SIZE):
    times = 2 + (np.arange(len(values)) + 0.5) * bin_size
    return nap.TsdFrame(t=times, d=values, columns=columns)


def two_levels(*names):
    return pd.MultiIndex.from_tuples([(name, 1) for name in names])


FORMS = {  # names of the features, of the neurons, and others
    "numbers": (framed, [7, 9], [12, 3], [12, 5]),
    "words": (framed, ["speed", "place"], ["b", "a"], ["b", "c"]),
    "numbers of an array": (pd.DataFrame, None, None, [0, 2]),
    "two levels": (pd.DataFrame, two_levels("x", "y"), two_levels("p", "q"), two_levels("p", "r")),
}


@cache
def fits(form):
    """Named data, in the order of the fit and in wrong ones, with a model of them and one without the second feature."""
    make, features, neurons, others = FORMS[form]
    X, y = make(FEATURES, columns=features), make(COUNTS, columns=neurons)
    wrong_order = lambda frame: make(frame.to_numpy()[:, ::-1], columns=frame.columns[::-1])
    return SimpleNamespace(
        X=X, y=y, model=PopulationGLM().fit(X, y), reduced=PopulationGLM(feature_mask=[[1, 1], [0, 0]]).fit(X, y),
        wrong_X=wrong_order(X), wrong_y=wrong_order(y), other_y=make(COUNTS, columns=others),
    )  # fmt: skip


def start(X, y):
    model = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False})
    params = model.initialize_params(X, y)
    return model, params, model.initialize_state(X, y, params)


def fit_batches(f, batches, **options):
    return PopulationGLM().fit_batches(batches, 2, **options)


def go_on(f, X, y):
    model = fit_batches(f, [(f.X, f.y)])
    return fit_batches(f, [(X, y)], init=((model.coef_, model.intercept_), model.batch_state_))


TAKES_X_AND_Y = {
    "score": lambda f, X, y: f.model.score(X, y),
    "scores": lambda f, X, y: assessment.scores(f.model, X, y),
    "residuals": lambda f, X, y: assessment.pearson_residuals(f.model, X, y),
    "rescaled intervals": lambda f, X, y: assessment.rescaled_intervals(f.model, X, y, seed=0),
    "uncertainty": lambda f, X, y: uncertainty(f.model, X, y),
    "a test of features": lambda f, X, y: leave_out_test(f.model, X, y, 1),
    "a test of two fits": lambda f, X, y: likelihood_ratio_test(f.model, f.reduced, X, y),
    "update": lambda f, X, y: (lambda m, p, state: m.update(p, state, X, y))(*start(f.X, f.y)),
    "the first state": lambda f, X, y: (lambda m, p, _: m.initialize_state(X, y, p))(*start(f.X, f.y)),
    "update of a fit": lambda f, X, y: f.model.update((f.model.coef_, f.model.intercept_), None, X, y),
    "a later batch": lambda f, X, y: fit_batches(f, [(f.X, f.y), (X, y)]),
    "later batches": go_on,
    "held-out data": lambda f, X, y: fit_batches(
        f, random_windows(f.X, f.y, 60, seed=0), held_out=(X, y), check_every=1
    ),
}
TAKES_X = {
    "predict": lambda f, X: f.model.predict(X),
    "simulate": lambda f, X: f.model.simulate(jax.random.key(0), X),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", TAKES_X_AND_Y)
def test_y_and_x_of_other_names_or_in_another_order_are_refused(form, call):
    f, call = fits(form), TAKES_X_AND_Y[call]
    for y in (f.wrong_y, f.other_y):
        with pytest.raises(
            ValueError, match=r"(neurons in `y` should match|in `y`).*expected .* came.*Select columns by name"
        ):
            call(f, f.X, y)
    with pytest.raises(
        ValueError, match=r"(feature names should match|in `X`).*expected .* came.*Select columns by name"
    ):
        call(f, f.wrong_X, f.y)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", TAKES_X)
def test_x_in_another_order_is_refused(form, call):
    f = fits(form)
    with pytest.raises(ValueError, match="feature names should match"):
        TAKES_X[call](f, f.wrong_X)


@pytest.mark.parametrize("form", FORMS)
def test_arrays_have_no_names_and_are_taken_by_position(form):
    f = fits(form)
    expected = f.model.score(f.X, f.y)
    assert f.model.score(FEATURES, COUNTS) == f.model.score(f.X, COUNTS) == f.model.score(FEATURES, f.y) == expected
    assert list(assessment.scores(f.model, FEATURES, COUNTS).index) == list(f.y.columns)


def test_numbers_that_count_columns_say_nothing_beside_words():
    """pynapple and pandas give them to the columns of an array; beside other numbers they may be ids."""
    words, numbers = fits("words"), fits("numbers")
    expected = words.model.score(FEATURES, COUNTS)
    assert words.model.score(framed(FEATURES), framed(COUNTS)) == expected
    assert words.model.score(pd.DataFrame(FEATURES), pd.DataFrame(COUNTS)) == expected
    plain = PopulationGLM().fit(framed(FEATURES), framed(COUNTS))
    assert list(assessment.scores(plain, words.X, words.y).index) == ["b", "a"]
    with pytest.raises(
        ValueError, match=r"expected 12 where 0 came.*plain array \(`.values`\), which is taken by position"
    ):
        numbers.model.score(FEATURES, framed(COUNTS))
    wide = framed(np.c_[COUNTS, COUNTS])
    with pytest.raises(ValueError, match="expected 1 where 2 came"):
        plain.score(FEATURES, wide[:, [0, 2]])  # a selection keeps its numbers


def test_one_neuron_has_the_name_of_its_column():
    table = pd.DataFrame(COUNTS, columns=["a", "b"])
    model = GLM().fit(FEATURES, table["a"])
    assert assessment.scores(model, FEATURES, COUNTS[:, 0]).index.tolist() == ["a"]
    with pytest.raises(ValueError, match="expected 'a' where 'b' came"):
        model.score(FEATURES, table["b"])


def test_a_null_model_has_the_order_of_the_neurons():
    f = fits("words")
    means = pd.Series(COUNTS.mean(0), index=["b", "a"])
    assert f.model.score(f.X, f.y, "pseudo-r2-Cohen", null=means) == pytest.approx(
        f.model.score(f.X, f.y, "pseudo-r2-Cohen")
    )
    with pytest.raises(ValueError, match="`null` should have the names of the neurons"):
        f.model.score(f.X, f.y, "pseudo-r2-Cohen", null=means[["a", "b"]])


def test_tables_with_another_index_are_refused():
    X, y = pd.DataFrame(FEATURES, columns=["p", "q"]), pd.DataFrame(COUNTS, columns=["a", "b"])
    model = PopulationGLM().fit(X, y)
    assert model.score(X[50:], y[50:]) == model.score(X[50:], COUNTS[50:])
    with pytest.raises(ValueError, match=r"same index; row 0 is 50 in X and 0 in y.*y.loc\[X.index\]"):
        model.score(X[50:], y[:-50])
    lazy = IdentityEval().lazy_features(X)
    assert model.fit(lazy[50:], y[50:]).score(lazy[50:], y[50:].loc[lazy[50:].frame.index]) < 0
    for call in (
        lambda: model.fit(lazy[50:], y[:-50]),
        lambda: (IdentityEval() + IdentityEval()).lazy_features(X[50:]["p"], y[:-50]["a"]),
    ):
        with pytest.raises(ValueError, match="must have the same index"):
            call()


# Sizes of bins


@pytest.mark.parametrize("call", [*TAKES_X, *TAKES_X_AND_Y])
def test_bins_of_another_size_are_refused(call):
    f = fits("numbers")
    data = framed(FEATURES, [7, 9], 0.02), framed(COUNTS, [12, 3], 0.02)
    with pytest.raises(ValueError, match=r"bins of the fit are 0.01 s long and these are 0.02 s"):
        TAKES_X[call](f, data[0]) if call in TAKES_X else TAKES_X_AND_Y[call](f, *data)


def test_rows_that_were_selected_have_the_bins_of_the_recording():
    """Whichever rows they are; and times may be rounded."""
    f = fits("numbers")
    assert f.model.bin_size_ == BIN_SIZE
    rng = np.random.default_rng(0)
    for share in (0.9, 0.6, 0.3, 0.1):
        rows = np.flatnonzero(rng.random(N_BINS) < share)
        assert f.model.score(f.X[rows], f.y[rows]) == f.model.score(FEATURES[rows], COUNTS[rows])
        assert getattr(PopulationGLM(regularizer="Ridge").fit(f.X[rows], f.y[rows]), "bin_size_", BIN_SIZE) == BIN_SIZE
    trials = nap.IntervalSet([2.0, 2.5, 3.0], [2.05, 2.51, 3.1])
    assert f.model.score(f.X.restrict(trials), f.y.restrict(trials)) < 0
    long = nap.Tsd(t=np.arange(30_000) * BIN_SIZE, d=np.zeros(30_000)).restrict(
        nap.IntervalSet(np.arange(0, 300, 3), np.arange(2, 302, 3))
    )
    assert bin_size_of(as_frame(long)) == BIN_SIZE
    assert f.model.score(framed(FEATURES, [7, 9], 0.01001), COUNTS) == f.model.score(FEATURES, COUNTS)


def test_a_saved_model_knows_its_bins(tmp_path):
    io.save(fits("numbers").model, tmp_path / "model.npz")
    model = io.load(tmp_path / "model.npz")
    assert model.bin_size_ == BIN_SIZE
    with pytest.raises(ValueError, match="bins of the fit"):
        model.predict(framed(FEATURES, [7, 9], 0.005))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(fits("numbers").wrong_X)


# Simulations, and tables of couplings


@pytest.mark.parametrize("form", ["numbers", "words", "two levels"])
def test_a_simulation_has_the_names_and_bins_of_the_fit(form):
    f = fits(form)
    basis = HISTORY + IdentityEval(label="x")
    model = PopulationGLM(regularizer="Ridge").fit(basis.lazy_features(f.y, f.X), f.y)
    draw = lambda inputs=f.X, **options: simulate(jax.random.key(0), model, basis, [None, inputs], **options)
    size = {} if hasattr(f.X, "t") else {"bin_size": BIN_SIZE}
    assert list(draw(history=f.y, **size).counts.columns) == list(f.y.columns)
    with pytest.raises(ValueError, match="`inputs` should match"):
        draw(f.wrong_X, **size)
    with pytest.raises(ValueError, match="`history` must have the neurons"):
        draw(history=f.wrong_y, **size)
    if not size:
        with pytest.raises(ValueError, match=r"0.01 s long and these are 0.02 s.*Simulate in bins"):
            draw(framed(FEATURES, f.X.columns, 0.02))


@pytest.mark.parametrize("form", ["numbers", "words", "two levels"])
def test_a_coupling_table_has_the_names_of_the_fit(form):
    f = fits(form)
    X = HISTORY.lazy_features(f.y)
    model = PopulationGLM().fit(X, f.y)
    one, other = f.y.columns.tolist()
    for y in (f.y, COUNTS):
        table = coupling_table(uncertainty(model, X, y), HISTORY.kernel)
        assert set(zip(table.sender, table.receiver, strict=True)) == {(one, other), (other, one)}
