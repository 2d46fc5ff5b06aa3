"""Bases: each family of functions against what defines it, convolved with other bins or evaluated at values."""

import math
import warnings

import numpy as np
import pandas
import pynapple as nap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import Rows, framed
from scipy import integrate, interpolate
from sklearn.base import clone

from popglm.basis import (
    BSplineConv,
    BSplineEval,
    CategoryEval,
    Conv,
    CustomBasis,
    CustomConv,
    CyclicBSplineConv,
    CyclicBSplineEval,
    Eval,
    FourierConv,
    FourierEval,
    HistoryConv,
    IdentityEval,
    MSplineConv,
    MSplineEval,
    RaisedCosineLinearConv,
    RaisedCosineLinearEval,
    RaisedCosineLogConv,
    RaisedCosineLogEval,
)
from popglm.glm import GLM, PopulationGLM
from popglm.simulation import simulate_population


def decays(x):
    return np.exp(-3 * x)


def squares(x):
    return x**2


CONVS = {
    "log": RaisedCosineLogConv(4, 12),
    "linear": RaisedCosineLinearConv(4, 12, width=1.5),
    "spline": BSplineConv(5, 12),
    "steps": BSplineConv(3, 12, order=1),
    "cyclic": CyclicBSplineConv(5, 12, order=3),
    "M-spline": MSplineConv(5, 12, order=3),
    "Fourier": FourierConv([0, 1, 3], 12),
    "history": HistoryConv(12),
    "own": CustomConv([decays, squares], 12),
    "even": BSplineConv(2, 1, order=1),  # two functions over one bin
    "odd": BSplineConv(3, 7, order=2),
}
EVALS = {
    "log": RaisedCosineLogEval(4, bounds=(-2, 5)),
    "linear": RaisedCosineLinearEval(4, bounds=(-2, 5)),
    "spline": BSplineEval(5, bounds=(-2, 5)),
    "cyclic": CyclicBSplineEval(5, bounds=(-2, 5)),
    "M-spline": MSplineEval(5, bounds=(-2, 5)),
    "Fourier": FourierEval(2, bounds=(-2, 5)),
    "identity": IdentityEval(bounds=(-2, 5)),
    "own": CustomBasis([decays, squares], bounds=(-2, 5)),
}
CIRCLES = {"cyclic", "Fourier"}
LAGS = {  # of a window of W bins
    "causal": lambda w: np.arange(1, w + 1),
    "anti-causal": lambda w: np.arange(-w, 0),
    "acausal": lambda w: np.arange(w) - w // 2,
}


def by_hand(x, kernel, lags, starts):
    """Compute the definition, lag by lag; a row is known if its lags lie in its epoch, an input if none of them is NaN."""
    (time, inputs), functions = x.shape, kernel.shape[1]
    epoch = np.searchsorted(starts, np.arange(time), "right") - 1
    X = np.full((time, inputs, functions), np.nan)
    for t in range(time):
        seen = t - lags
        if seen.min() < starts[epoch[t]] or seen.max() >= starts[epoch[t] + 1]:
            continue
        X[t] = sum(x[t - lag][:, None] * kernel[row] for row, lag in enumerate(lags))
    return X.reshape(time, -1)


@pytest.mark.parametrize("causality", LAGS)
@pytest.mark.parametrize("name", CONVS)
@pytest.mark.filterwarnings("ignore:the 2 functions of this basis have rank 1")
def test_a_convolution_equals_the_sum_over_its_lags(precision, name, causality):
    """Every shape, to either side, over epochs of which one is too short; with a missing bin."""
    basis = clone(CONVS[name]).set_params(predictor_causality=causality)
    x = np.random.default_rng(0).normal(size=(90, 2))
    x[60, 1] = np.nan
    lengths = [35, 12, 43]
    X = basis.compute_features(framed(x, lengths)).values
    lags, kernel = basis.evaluate_on_grid()
    np.testing.assert_array_equal(lags, LAGS[causality](basis.window_size))
    np.testing.assert_array_equal(kernel, basis.kernel)
    expected = by_hand(x, kernel, lags.astype(int), np.cumsum([0, *lengths]))
    np.testing.assert_array_equal(np.isnan(X), np.isnan(expected))
    tolerance = 1e-5 if precision == "float32" else 1e-12
    np.testing.assert_allclose(X, expected, rtol=0, atol=tolerance * max(np.abs(kernel).max(), 1))
    assert 10 < np.isfinite(X).all(1).sum() < 90


@pytest.mark.parametrize("causality", LAGS)
def test_the_ends_of_epochs_that_are_missing(causality):
    """W rows at the start for the past, W at the end for the future, half of them at each for both."""
    X = HistoryConv(5, predictor_causality=causality).compute_features(framed(np.ones(40), [20, 4, 16])).values
    known = np.isfinite(X).all(1)
    before, after = {"causal": (5, 0), "anti-causal": (0, 5), "acausal": (2, 2)}[causality]
    expected = np.zeros(40, bool)
    expected[before : 20 - after] = expected[24 + before : 40 - after] = True
    np.testing.assert_array_equal(known, expected)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_only_bins_in_the_window_change_a_row(data):
    """Whatever is changed in one bin, the rows that do not see it stay as they are, bit for bit."""
    draw = lambda strategy, label: data.draw(strategy, label=label)
    lengths = draw(st.lists(st.integers(5, 40), min_size=1, max_size=3), "epochs")
    window = draw(st.integers(1, max(lengths) - 1), "window")
    causality = draw(st.sampled_from(list(LAGS)), "causality")
    basis = HistoryConv(window, predictor_causality=causality)
    x = np.random.default_rng(draw(st.integers(0, 99), "seed")).normal(size=sum(lengths))
    other, at = x.copy(), draw(st.integers(0, len(x) - 1), "bin")
    other[at] = draw(st.sampled_from([7.0, np.nan]), "value")
    X, Y = (basis.compute_features(framed(values, lengths)).values for values in (x, other))
    epochs = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.arange(len(x))
    sees = np.isin(rows - at, LAGS[causality](window)) & (epochs == epochs[at]) & np.isfinite(X).all(1)
    np.testing.assert_array_equal(X[~sees], Y[~sees])
    assert not (sees & (X == Y).all(1)).any()


def test_b_splines_are_those_of_scipy():
    """On even knots, with as many at the ends as the order; they sum to 1 and are never negative."""
    x = np.linspace(0, 1, 201)
    for n, order in [(4, 4), (9, 4), (6, 3), (5, 2), (5, 1)]:
        inner = np.linspace(0, 1, n - order + 2)
        knots = np.r_[[0] * (order - 1), inner, [1] * (order - 1)]
        expected = interpolate.BSpline.design_matrix(x, knots, order - 1).toarray()
        functions = BSplineEval(n, order=order).shape(x)
        np.testing.assert_allclose(functions, expected, atol=1e-14)
        np.testing.assert_allclose(functions.sum(1), 1, atol=1e-14)
        assert functions.min() >= 0 and ((functions > 0).sum(1) <= order).all()
        assert functions[0, 0] == functions[-1, -1] == 1


def test_m_splines_have_the_integral_1():
    for n, order in [(4, 4), (7, 4), (6, 3), (5, 2)]:
        basis = MSplineEval(n, order=order)
        knots = np.linspace(0, 1, n - order + 2)
        for k in range(n):
            area = integrate.quad(lambda x, k=k, basis=basis: basis.shape(x)[0, k], 0, 1, points=knots[1:-1])[0]
            assert area == pytest.approx(1, abs=1e-9)
        x = np.linspace(0, 1, 50)
        scaled, plain = basis.shape(x), BSplineEval(n, order=order).shape(x)
        np.testing.assert_allclose(scaled * plain.max(0), plain * scaled.max(0), atol=1e-12)  # scaled B-splines


@pytest.mark.parametrize(("n", "order"), [(4, 4), (8, 4), (5, 3), (4, 2)])
def test_cyclic_splines_meet_at_both_ends(n, order):
    """All are one bump that goes round, at the bounds as smooth as inside; its peak is at k / n, and they sum to 1."""
    shape = CyclicBSplineEval(n, order=order).shape
    x = np.random.default_rng(0).uniform(size=100)
    np.testing.assert_allclose(shape((x + 1 / n) % 1), np.roll(shape(x), 1, axis=1), atol=1e-12)
    np.testing.assert_allclose(shape(x).sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(shape(np.arange(n) / n).argmax(1), np.arange(n))
    bump = interpolate.BSpline.basis_element(np.arange(order + 1) - order / 2, extrapolate=False)
    np.testing.assert_allclose(shape(x)[:, n // 2], np.nan_to_num(bump(n * x - n // 2)), atol=1e-12)
    near = np.linspace(0, 0.4 / n, order)  # one polynomial on each side of the ends
    for k in range(n):
        right = np.polynomial.Polynomial.fit(near, shape(near)[:, k], order - 1)
        left = np.polynomial.Polynomial.fit(near - near[-1], shape(1 + near - near[-1])[:, k], order - 1)
        for derivative in range(order - 1):
            one, other = (p.deriv(derivative)(0) if derivative else p(0) for p in (left, right))
            assert one == pytest.approx(other, abs=1e-7 * n**derivative)


@pytest.mark.parametrize("width", [1.5, 2.0, 3.5])
def test_linear_raised_cosines(width):
    """The formula; away from the ends they sum to their width."""
    x, n = np.linspace(0, 1, 301), 12
    functions = RaisedCosineLinearEval(n, width=width).shape(x)
    gap = 1 / (n - 1)
    for k in range(n):
        angle = np.pi * (x - k * gap) / (gap * width)
        np.testing.assert_allclose(
            functions[:, k], np.where(abs(angle) < np.pi, (1 + np.cos(angle)) / 2, 0), atol=1e-12
        )
    inside = (x >= width * gap) & (x <= 1 - width * gap)
    np.testing.assert_allclose(functions.sum(1)[inside], width, atol=1e-12)


def test_fourier_functions_are_orthogonal():
    x = np.arange(200) / 200
    basis = FourierEval([0, 1, 2, 5])
    functions = basis.shape(x)
    assert functions.shape[1] == basis.n_basis_funcs == 7 and FourierEval(3).n_basis_funcs == 6
    np.testing.assert_allclose(functions.T @ functions / 200, np.diag([1, *[0.5] * 6]), atol=1e-12)
    np.testing.assert_allclose(functions[:, 3], np.cos(10 * np.pi * x), atol=1e-12)
    np.testing.assert_allclose(functions[:, 4], np.sin(2 * np.pi * x), atol=1e-12)


def test_log_raised_cosines_are_the_same_of_lags_and_of_values():
    conv, values = (
        RaisedCosineLogConv(5, 40, time_scaling=20.0),
        RaisedCosineLogEval(5, time_scaling=20.0, bounds=(1, 40)),
    )
    np.testing.assert_allclose(values.compute_features(np.arange(1.0, 41)), conv.kernel, atol=1e-6)


@pytest.mark.parametrize("name", EVALS)
def test_an_evaluation_is_its_functions_at_each_value(precision, name):
    """One value at a time, input-major; NaN and what is out of bounds make their features NaN, and the number is said."""
    basis = clone(EVALS[name])
    x = np.random.default_rng(0).uniform(-2, 5, (50, 2))
    unit = (lambda v: v) if name in ("identity", "own") else (lambda v: (v + 2) / 7)
    expected = np.array([np.concatenate([basis.shape([unit(v)])[0] for v in row]) for row in x])
    X = basis.compute_features(x)
    assert X.dtype == precision
    np.testing.assert_allclose(X, expected, rtol=2e-6 if precision == "float32" else 1e-12, atol=1e-6)
    single = basis.compute_features(framed(x[:, 1], [20, 30]))
    np.testing.assert_array_equal(single.values, X[:, basis.n_basis_funcs if name != "Fourier" else 4 :])
    x[3, 0], x[7, 1] = np.nan, 5.5
    if name in CIRCLES:
        X, missing = basis.compute_features(x), [(3, 0)]
        np.testing.assert_allclose(X[7, basis.n_basis_funcs :], basis.compute_features([5.5 - 7])[0], atol=1e-6)
    else:
        with pytest.warns(
            UserWarning, match=r"1 of 100 values lie outside the bounds \(-2, 5\), given.*features are NaN"
        ):
            X, missing = basis.compute_features(x), [(3, 0), (7, 1)]
    assert list(map(tuple, np.argwhere(np.isnan(X.reshape(50, 2, -1)).all(2)))) == missing
    assert np.isnan(X).sum() == len(missing) * X.shape[1] / 2
    axis, functions = EVALS[name].evaluate_on_grid(8)
    np.testing.assert_allclose(axis, np.linspace(-2, 5, 8))
    np.testing.assert_allclose(functions, basis.compute_features(axis), rtol=1e-5, atol=1e-6)


def test_bounds_are_those_of_the_first_data():
    """Training and test data are treated alike; `fit` learns anew; what is lazy keeps the bounds it was made with."""
    rng = np.random.default_rng(0)
    train, test = rng.uniform(0, 10, 500), rng.uniform(2, 9, 500)
    basis = BSplineEval(6)
    lazy = basis.lazy_features(train)
    first = np.asarray(lazy)
    assert basis.bounds_ == (train.min(), train.max())
    expected = BSplineEval(6, bounds=basis.bounds_).compute_features(test)
    np.testing.assert_array_equal(basis.compute_features(test), expected)
    with pytest.warns(UserWarning, match="1 of 1 values lie outside .* learned from the first data"):
        assert np.isnan(basis.compute_features([11.0])).all()
    basis.fit(test)
    assert basis.bounds_ == (test.min(), test.max())
    basis.set_params(n_basis_funcs=5)
    np.testing.assert_array_equal(np.asarray(lazy), first)
    assert not hasattr(clone(basis), "bounds_")
    assert BSplineEval(6).evaluate_on_grid(3)[0].tolist() == [0, 0.5, 1]  # as long as there are none


@pytest.mark.parametrize("call", ["compute_features", "lazy_features", "transform", "fit_transform"])
def test_warnings_point_at_the_line_of_the_user(call):
    """However many steps of the package lie between."""
    for basis in (CustomConv([decays, decays], 5), IdentityEval(bounds=(0, 1)) + BSplineEval(4, bounds=(0, 1))):
        inputs = [np.arange(20.0)] * len(basis._leaves)
        with pytest.warns(UserWarning, match="rank|outside") as caught:
            getattr(basis, call)(*(inputs if "features" in call else [np.stack(inputs, 1)]))
        assert {warning.filename for warning in caught} == {__file__}


def test_a_row_out_of_bounds_is_left_out():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 10, 800)
    y = rng.poisson(np.exp(np.sin(x) - 1))
    basis = RaisedCosineLinearEval(6, bounds=(0, 8))
    with pytest.warns(UserWarning, match="values lie outside"):
        X = basis.lazy_features(x)
    with pytest.warns(RuntimeWarning, match="22% of the bins, 173 of 800, are left out"):
        model, inside = GLM().fit(X, y), x <= 8
    expected = GLM().fit(basis.compute_features(x[inside]), y[inside])
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-4)
    np.testing.assert_array_equal(np.isnan(model.predict(X)), ~inside)


def test_categories():
    """Numbers or words, sorted; the reference has no function; NaN is no category; test data may hold fewer."""
    kinds = ["rem", "wake", "rem", "nrem"]
    basis = CategoryEval()
    np.testing.assert_array_equal(basis.compute_features(kinds), [[0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert basis.categories_.tolist() == ["nrem", "rem", "wake"] and basis.n_basis_funcs == 3
    np.testing.assert_array_equal(basis.compute_features(["wake"]), [[0, 0, 1]])
    other = CategoryEval(reference="rem").fit(kinds)
    np.testing.assert_array_equal(other.transform(kinds), [[0, 0], [0, 1], [0, 0], [1, 0]])
    assert other.n_basis_funcs == 2
    numbers = CategoryEval([3, 1]).compute_features(np.array([[1, 3.0], [3, np.nan]]))
    np.testing.assert_array_equal(numbers, [[0, 1, 1, 0], [1, 0, np.nan, np.nan]])
    frame = nap.Tsd(t=np.arange(4.0), d=np.array([0, 1, 1, 0]))
    X = CategoryEval().compute_features(frame)
    assert isinstance(X, nap.TsdFrame) and X.values.tolist() == [[1, 0], [0, 1], [0, 1], [1, 0]]
    axis, functions = basis.evaluate_on_grid()
    assert axis.tolist() == ["nrem", "rem", "wake"] and (functions == np.eye(3)).all()


def test_a_shape_of_your_own():
    """One class with `shape`, of either kind."""

    class Decays:
        def shape(self, x):
            return np.exp(-np.outer(x, self.rates))

    class DecaysConv(Decays, Conv):
        def __init__(self, rates, window_size):
            self.rates, self.window_size = rates, window_size

    class DecaysEval(Decays, Eval):
        def __init__(self, rates, bounds=None):
            self.rates, self.bounds = rates, bounds

    x = np.random.default_rng(0).normal(size=(60, 2))
    X = DecaysConv([1.0, 4.0], 9).compute_features(x)
    np.testing.assert_allclose(X, by_hand(x, np.exp(-np.outer(np.linspace(0, 1, 9), [1, 4])), LAGS["causal"](9), [0, 60]),
                               atol=1e-5)  # fmt: skip
    Z = DecaysEval([1.0, 4.0], bounds=(-5, 5)).compute_features(x[:, 0])
    np.testing.assert_allclose(Z, np.exp(-np.outer((x[:, 0] + 5) / 10, [1, 4])), atol=1e-6)


def test_every_function_of_a_window_may_be_zero():
    """An empty half of the functions has no reach; the rank says so."""
    basis = CustomConv([np.zeros_like, np.ones_like], 6)
    with pytest.warns(UserWarning, match="rank 1 over a window of 6 bins"):
        X = basis.compute_features(np.ones(20))
    np.testing.assert_allclose(X[6:], np.tile([0, 6], (14, 1)))


def test_an_acausal_filter_is_recovered(float64):
    """The response begins before the event and ends after it; its lags say where."""
    rng = np.random.default_rng(0)
    event = (rng.random(20_000) < 0.02).astype(float)
    around = RaisedCosineLinearConv(6, 41, predictor_causality="acausal")
    lags, functions = around.evaluate_on_grid()
    truth = functions @ [0, 0.5, 1.5, 1.0, -1.0, 0.0]
    drive = sum(np.roll(event, lag) * effect for lag, effect in zip(lags, truth, strict=True))
    y = rng.poisson(np.exp(drive - 1.5))
    model = GLM().fit(around.lazy_features(event), y)
    np.testing.assert_allclose(functions @ model.coef_, truth, atol=0.25)
    assert truth[lags < 0].max() > 1 and truth[lags > 10].min() < -0.5


def two(**settings):
    return IdentityEval(**settings) + IdentityEval()


def split(basis, n):
    return basis.split_by_feature(np.zeros((n, 4)), axis=0)


REFUSED = {
    "fewer splines than their order": (lambda: BSplineConv(3, 20).kernel, ValueError, "at least the order .* 4; got 3.*cubic"),
    "no order": (lambda: MSplineEval(5, order=0).fit([0, 1]).transform([1]), ValueError, "`order` must be a positive"),
    "a cyclic step": (lambda: CyclicBSplineConv(5, 20, order=1).kernel, ValueError, "`order` must be at least 2"),
    "one raised cosine": (lambda: RaisedCosineLinearConv(1, 20).kernel, ValueError, "`n_basis_funcs` must be at least 2"),
    "a width of a third": (lambda: RaisedCosineLinearConv(4, 20, width=1.3).kernel, ValueError, "multiple of 0.5.*got 1.3"),
    "no frequency": (lambda: FourierConv([], 20).kernel, ValueError, r"`frequencies` must be a number.*got \[\]"),
    "half a frequency": (lambda: FourierEval([0.5]).shape([0]), ValueError, "whole numbers of periods"),
    "a frequency twice": (lambda: FourierEval([1, 1]).shape([0]), ValueError, "different whole numbers"),
    "frequencies as a word": (lambda: FourierEval("all").shape([0]), TypeError, "got 'all'"),
    "no window": (lambda: HistoryConv(0).compute_features([1, 2]), ValueError, "`window_size` must be a positive integer"),
    "another causality": (
        lambda: HistoryConv(2, predictor_causality="anticausal").compute_features(np.ones(9)), ValueError,
        "Did you mean 'anti-causal'"
    ),
    "a future that simulations cannot know": (
        lambda: simulate_population(0, np.zeros((2, 1)), [0], RaisedCosineLogConv(2, 9, predictor_causality="acausal"),
                                    duration=1.0), ValueError, "must see the past only"
    ),
    "a window longer than all epochs": (
        lambda: HistoryConv(9, predictor_causality="acausal").compute_features(np.ones(8)), ValueError, "at least as long as"
    ),
    "bounds in the wrong order": (lambda: BSplineEval(5, bounds=(3, 1)).fit([2]), ValueError, "got 3 and 1"),
    "one bound": (lambda: BSplineEval(5, bounds=3).fit([2]), TypeError, "`bounds` must be a pair"),
    "an infinite bound": (lambda: BSplineEval(5, bounds=(0, np.inf)).fit([2]), ValueError, "`bounds` must be a finite number"),
    "a constant": (lambda: BSplineEval(5).compute_features(np.ones(9)), ValueError, "is 1 wherever it is known.*Give `bounds`"),
    "nothing known": (lambda: BSplineEval(5).fit([np.nan]), ValueError, "holds no number.*Give `bounds`"),
    "an infinite value": (lambda: BSplineEval(5).fit([0, np.inf]), ValueError, "row 1 holds an infinite value"),
    "an unknown category": (
        lambda: CategoryEval().fit(["a", "b"]).transform(["c"]), ValueError, r"\['c'\], not among .* \['a', 'b'\]"
    ),
    "words for numbers": (lambda: CategoryEval([1, 2]).fit(["a"]), ValueError, "not among the categories"),
    "a category twice": (lambda: CategoryEval([1, 1]).fit([1]), ValueError, "`categories` must be a list of different"),
    "a strange reference": (lambda: CategoryEval([1, 2], reference=3).compute_features([1]), ValueError, "`reference` must"),
    "categories nobody knows": (lambda: CategoryEval().evaluate_on_grid(), ValueError, "categories are not known yet"),
    "no function": (lambda: CustomBasis([]).compute_features([1]), TypeError, "`funcs` must be a list of functions"),
    "a number for a function": (lambda: CustomConv([3], 5).kernel, TypeError, r"`funcs` must be .*got \[3\]"),
    "a function of all values": (lambda: CustomBasis([np.sum]).compute_features([1]), ValueError, r"sum gives shape \(\)"),
    "a function with a pole": (
        lambda: CustomBasis([lambda x: np.where(x > 1, np.inf, x)]).compute_features([1, 2]), ValueError, "an infinite value"
    ),
    "a basis plus a number": (lambda: HistoryConv(2) + 3, TypeError, "can be added to a basis only; got 3"),
    "a basis times a number": (lambda: HistoryConv(2) * 3, TypeError, "can be multiplied with a basis only; got 3"),
    "an input too few": (
        lambda: (HistoryConv(2) * IdentityEval() + IdentityEval()).compute_features([1], [2]), ValueError,
        "3 bases needs as many inputs.*got 2"
    ),
    "two for one": (lambda: IdentityEval().compute_features([1], [2]), ValueError, "got 2"),
    "other lengths": (
        lambda: two().compute_features([1, 2], [2]), ValueError, "input 0 and input 1 must have"
    ),
    "labels twice": (
        lambda: (IdentityEval(label="x") + IdentityEval(label="x")).compute_features([1], [1]), ValueError, "must differ"
    ),
    "a label that is a setting": (
        lambda: two(label="a__b").get_params(), ValueError, "without a double underscore"
    ),
    "a part that is not there": (lambda: two(label="x")["y"], KeyError, "parts of this basis are 'x', 1"),
    "a split before any input": (lambda: split(IdentityEval() + HistoryConv(2), 3), ValueError, "has not seen.*set_input"),
    "a split of too few": (
        lambda: split((IdentityEval() * HistoryConv(2)).set_input_shape(1, 3), 5), ValueError, "must hold the 6 features"
    ),
    "columns for nobody": (
        lambda: two().fit(np.ones((5, 3))), ValueError, "must have 2 columns, 1, 1 "
    ),
    "a shape for each": (lambda: two().set_input_shape(3), ValueError, "for each of 2 inputs"),
    "samples of no number": (lambda: IdentityEval().evaluate_on_grid(0), ValueError, "`n_samples` must be a positive integer"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_with_the_fix(name):
    call, error, text = REFUSED[name]
    with pytest.raises(error, match=text), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()


def test_splines_that_sum_to_1_want_a_penalty():
    """As the docstring says: predictions are right, coefficients are unique with a little Ridge only."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 2000)
    y = rng.poisson(np.exp(np.sin(6 * x) - 1))[:, None]
    X = BSplineEval(6, bounds=(0, 1)).lazy_features(x)
    with pytest.warns(RuntimeWarning, match="a sum of other features"):
        free = PopulationGLM().fit(X, y)
    held = PopulationGLM(regularizer="Ridge", regularizer_strength=1e-5).fit(X, y)
    np.testing.assert_allclose(free.predict(X), held.predict(X), rtol=2e-3)


@pytest.mark.parametrize("nothing", [None, np.nan, pandas.NA], ids=["None", "NaN", "pandas.NA"])
def test_what_is_missing_among_words_or_numbers_is_no_category(nothing):
    for values, known in ((["a", "b", nothing, "a"], ["a", "b"]), ([0, 1, nothing, 0], [0, 1])):
        for column in (np.array(values, object), pandas.Series(values, dtype=object)):
            basis = CategoryEval()
            X = basis.compute_features(column)
            np.testing.assert_array_equal(X, [[1, 0], [0, 1], [np.nan, np.nan], [1, 0]])
            assert basis.categories_.tolist() == known


def test_spike_times_are_no_categories():
    units = nap.TsGroup({3: nap.Ts([0.1, 0.5]), 7: nap.Ts([0.2, 0.4])})
    with pytest.raises(TypeError, match="spike times"):
        CategoryEval().compute_features(units)


@pytest.mark.filterwarnings("ignore:50% of the bins:RuntimeWarning")
def test_functions_of_ones_own_never_see_an_empty_array():
    """Not when they are counted, nor where a block holds only NaN; `numpy.vectorize` cannot take none."""
    seen = []

    @np.vectorize
    def step(x):
        seen.append(x)
        return float(x > 0.5)

    class Steps(Eval):
        def __init__(self, bounds=None):
            self.bounds = bounds

        def shape(self, x):
            return np.stack([step(2 * x), step(4 * x)], 1)

    x = np.r_[np.full(200, np.nan), np.linspace(0, 4, 200)]
    for basis in (CustomBasis([step]), CustomConv([step], 5), Steps(bounds=(0, 4))):
        X = basis.compute_features(x)
        assert np.isnan(X[:200]).all() and np.isfinite(X[205:]).all()
        assert GLM(regularizer="Ridge", regularizer_strength=0.1).fit(basis.lazy_features(x), np.ones(400)).converged_
    assert CustomBasis([step]).lazy_features(np.full(20, np.nan)).shape == (20, 1) and seen


def test_functions_of_ones_own_are_tried_when_an_input_is_seen():
    """Once on real values, before any loop over the data: what is wrong is said by name, with the fix."""

    class Flat(Eval):
        def shape(self, x):
            return x

    with pytest.raises(TypeError, match=r"must take an array; for one of shape \(9,\) sin raises TypeError.*vectorize"):
        CustomBasis([math.sin]).lazy_features(np.ones(9))
    with pytest.raises(ValueError, match="<lambda> gives an infinite value of dtype float64"):
        CustomBasis([lambda x: np.log(np.maximum(x, 0), where=x > 0, out=np.full(x.shape, -np.inf))]).fit([0.0, 1.0])
    with pytest.raises(ValueError, match=r"`shape` of Flat must give a row for every value.*got shape \(1,\)"):
        Flat().lazy_features(np.arange(9.0))


def test_bounds_and_categories_that_are_taken_back_are_forgotten():
    """None learns, whatever was given before; what was learned stays until `fit`."""
    x = np.linspace(0, 4, 50)
    for reset in (lambda basis, name: basis.set_params(**{name: None}), lambda basis, name: setattr(basis, name, None)):
        basis = BSplineEval(5, bounds=(-10, 10)).fit(x)
        reset(basis, "bounds")
        basis.compute_features(x)
        assert basis.bounds_ == (0, 4)
        reset(basis, "bounds")
        with pytest.warns(UserWarning, match="learned from the first data"):
            basis.compute_features(x + 1)
        basis = CategoryEval([0, 1, 2]).fit(np.array([0, 1, 2]))
        reset(basis, "categories")
        with pytest.raises(ValueError, match="not known yet"):
            basis.evaluate_on_grid()
        assert basis.compute_features(np.array([0, 1, 1])).shape == (3, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("basis", [CyclicBSplineEval(6), FourierEval([0, 1, 2])], ids=repr)
def test_angles_are_moved_into_the_period(precision, basis, dtype):
    """From -pi to pi as from 0 to 2 pi; built, lazy, streamed and in a product."""
    basis = basis.set_params(bounds=(0, 2 * np.pi))
    angle = np.linspace(-np.pi, np.pi, 60).astype(dtype)
    expected = basis.shape(np.mod(angle.astype(float), 2 * np.pi) / (2 * np.pi))
    rtol = 1e-12 if precision == "float64" else 2e-6
    for form in (angle, angle[:, None], nap.Tsd(t=np.arange(60.0), d=angle), Rows(angle)):
        X = np.asarray(basis.lazy_features(form))
        np.testing.assert_allclose(X, expected, rtol, 1e-6 if precision == "float32" else 1e-12)
    product = (basis * IdentityEval()).compute_features(angle, np.arange(60.0))
    np.testing.assert_allclose(product, expected * np.arange(60)[:, None], rtol, 1e-4)
    assert np.isnan(basis.compute_features([np.nan, -1.0])).any(1).tolist() == [True, False]
    with pytest.warns(
        UserWarning, match=r"2 of 3 values lie more than a period outside.*in units of the variable.*6.28319"
    ):
        basis.compute_features([1.0, 90.0, -180.0])


@pytest.mark.parametrize("basis", [CyclicBSplineEval(8), FourierEval(3)], ids=repr)
def test_a_period_that_the_data_gave_is_said(basis):
    """Where the bounds are learned, and only there; what lies outside then may show that the period is wrong."""
    heading = np.random.default_rng(0).uniform(20, 200, 50)
    for call in (lambda b: b.compute_features(heading), lambda b: (b + b).fit(np.c_[heading, heading])):
        with pytest.warns(
            UserWarning, match=rf"period of {type(basis).__name__} was learned.*Give the period as `bounds`"
        ):
            call(clone(basis))
    with pytest.warns(UserWarning, match="was learned"):
        basis = clone(basis).fit(heading[:, None])
    basis.compute_features(heading)
    with pytest.warns(UserWarning, match="1 of 1 values lie outside.*learned from the first data"):
        assert np.isnan(basis.compute_features([300.0])).all()
    basis = clone(basis).set_params(bounds=(0, 360))
    X = basis.compute_features(np.r_[20, 200, 380, heading])
    np.testing.assert_allclose(X[0], X[2], atol=1e-6)
    assert np.abs(X[0] - X[1]).max() > 0.1


@pytest.mark.parametrize("basis", [CyclicBSplineEval(5), FourierEval(2), IdentityEval()], ids=repr)
def test_bounds_that_single_precision_rounds(basis):
    """An angle of float32 pi lies on the bound pi, and not outside; what lies further out still does, unless on a circle."""
    basis = basis.set_params(bounds=(-np.pi, np.pi))
    for angle in (np.array([-np.pi, np.pi], np.float32), np.array([-np.pi, np.pi], np.float32).astype(float)):
        assert abs(float(angle[1])) > np.pi
        np.testing.assert_array_equal(basis.compute_features(angle), basis.compute_features([-np.pi, np.pi]))
    if not isinstance(basis, IdentityEval):
        X = basis.compute_features([-np.pi + 1e-4, np.pi + 1e-4])
        np.testing.assert_allclose(X[0], X[1], atol=1e-6)
        return
    with pytest.warns(UserWarning, match="1 of 2 values lie outside"):
        assert np.isnan(basis.compute_features([0, np.pi + 1e-6])[1]).all()
    with pytest.warns(UserWarning, match="1 of 2 values lie outside"):  # of a narrow range far from 0
        IdentityEval(bounds=(1e6, 1e6 + 1)).compute_features([1e6, 1e6 + 1.001])


@pytest.mark.parametrize("window", [6, 7])
def test_a_window_around_a_bin_may_be_as_long_as_the_epoch(window):
    """Then one row is known. To one side it needs a bin more."""
    x = np.random.default_rng(0).normal(size=window)
    basis = HistoryConv(window, predictor_causality="acausal")
    X = basis.compute_features(x)
    assert np.flatnonzero(np.isfinite(X).all(1)).tolist() == [(window - 1) // 2]
    np.testing.assert_allclose(X[(window - 1) // 2], x[(window - 1) // 2 - basis.lags], atol=1e-6)
    for causality in ("causal", "anti-causal"):
        basis = HistoryConv(window, predictor_causality=causality)
        with pytest.raises(ValueError, match="must be longer than the window"):
            basis.compute_features(x)
        assert np.isfinite(basis.compute_features(np.r_[x, 0])).all(1).sum() == 1


@pytest.mark.parametrize("method", ["compute_features", "transform", "fit", "shape", "split_by_feature"])
def test_errors_about_arguments_name_no_private_class(method):
    """Python's errors begin with the qualified name."""
    assert getattr(BSplineConv, method).__qualname__ == method
