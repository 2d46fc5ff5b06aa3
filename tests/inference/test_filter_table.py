"""Filters by the labels of terms: their table, tests and bands about the mean of a curve, with and without a penalty."""

import numpy as np
import pandas as pd
import pynapple as nap
import pytest

from popglm.basis import BSplineEval, CyclicBSplineEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.inference import coupling_table, false_discovery, filter_table, leave_out_test, uncertainty
from popglm.regularizer import Mixed, Ridge, Smoothness

N_BINS, N_NEURONS = 1500, 4
RNG = np.random.default_rng(5)
HEADING, SENDERS = RNG.uniform(0, 360, N_BINS), RNG.poisson(0.3, (N_BINS, 3))
CIRCLE = CyclicBSplineEval(6, bounds=(0, 360), label="heading")
BASIS = CIRCLE + RaisedCosineLogConv(4, 10, label="coupling")
X = BASIS.lazy_features(HEADING, SENDERS)
Y = RNG.poisson(0.3 * np.exp(np.cos(np.deg2rad(HEADING)))[:, None], (N_BINS, N_NEURONS))
SILENT, MASKED = 3, 1
Y[:, SILENT] = 0
MASK = np.ones((18, N_NEURONS))
MASK[6:10, MASKED] = 0
PENALTY = Mixed({"heading": Smoothness(select=True), "coupling": Ridge()})
SETTINGS = {
    "none": {},
    "given": {"regularizer": PENALTY, "regularizer_strength": 0.01},
    "evidence": {"regularizer": PENALTY, "regularizer_strength": "evidence"},
}
INPUTS = [np.arange(6), np.arange(6, 10), np.arange(10, 14), np.arange(14, 18)]
GRID = np.arange(0, 360, 20.0)

pytestmark = pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning", "ignore:feature:RuntimeWarning")


@pytest.fixture(scope="module", params=SETTINGS)
def fitted(request):
    """A fit with a silent neuron, and one that a mask cuts off from a sender; its errors."""
    model = PopulationGLM(feature_mask=MASK, **SETTINGS[request.param]).fit(X, Y)
    return request.param, model, uncertainty(model, X, Y)


def column(table, name):
    """Values of a column, (inputs, neurons)."""
    return table[name].to_numpy().reshape(N_NEURONS, -1).T


def test_a_row_for_each_neuron_and_input(fitted):
    name, model, errors = fitted
    table = filter_table(errors)
    assert table.neuron.tolist() == np.repeat(np.arange(4), 4).tolist()
    assert table.term.tolist() == ["heading", "coupling", "coupling", "coupling"] * 4
    assert table.input.tolist() == [0, 0, 1, 2] * 4
    assert column(table, "functions")[:, 0].tolist() == [6, 4, 4, 4]
    tests = errors.test(INPUTS)
    for name_of, values in zip(("statistic", "p"), (tests.statistic, tests.p_values), strict=True):
        np.testing.assert_array_equal(column(table, name_of), values)
    np.testing.assert_array_equal(table.q, false_discovery(table.p).q_values)
    assert table.groupby("term").found.mean()["heading"] == 0.75  # of four neurons one is silent
    edf = column(table, "edf")
    if name == "none":
        np.testing.assert_array_equal(edf[:, 0], [5, 4, 4, 4])  # the splines sum to 1, as the intercept does
        assert not any(name.startswith("strength") for name in table)
    else:
        np.testing.assert_allclose(edf[:, 2], [errors.edf[group, 2].sum() for group in INPUTS])
    if name == "evidence":
        np.testing.assert_allclose(edf[:, 2], model.edf_[:, 2], rtol=0.05, atol=1e-3)


def test_strengths_are_those_of_the_parts(fitted):
    name, model, errors = fitted
    table = filter_table(errors)
    if name == "none":
        return
    expected = np.full((5, 4), 0.01) if name == "given" else model.strength_
    for part, rows, filters in (("differences", [0], [0]), ("null_space", [1], [0]), ("ridge", [2, 3, 4], [1, 2, 3])):
        strengths = column(table, f"strength_{part}")
        np.testing.assert_allclose(strengths[filters][:, [0, 2]], expected[rows][:, [0, 2]], rtol=1e-6)
        assert np.isnan(np.delete(strengths, filters, 0)).all()


def test_neurons_without_errors_and_masked_filters_are_nan(fitted):
    table = filter_table(fitted[2])
    silent, masked = table[table.neuron == SILENT], table[(table.neuron == MASKED) & (table.functions == 0)]
    numbers = [name for name in table if name.startswith("strength")] + ["statistic", "p", "q"]
    assert len(silent) == 4 and silent[[*numbers, "edf", "df"]].isna().all(axis=None) and not silent.found.any()
    assert len(masked) == 1 and masked[numbers].isna().all(axis=None) and masked.edf.item() == masked.df.item() == 0


def test_labels_name_the_inputs_of_terms(fitted):
    errors = fitted[2]
    heading, coupling = errors.test("heading"), errors.test("coupling")
    assert heading.p_values.shape == (4,) and coupling.p_values.shape == (3, 4)  # one input has no axis
    every = errors.test()
    np.testing.assert_array_equal(every.p_values, np.vstack([heading.p_values[None], coupling.p_values]))
    np.testing.assert_array_equal(errors.test(["coupling", "heading"]).p_values, every.p_values[[1, 2, 3, 0]])
    kernel = BASIS["coupling"].kernel
    for mine, other in zip(errors.bands(kernel, "coupling"), errors.bands(kernel, INPUTS[1:]), strict=True):
        np.testing.assert_array_equal(mine, other)
    table = coupling_table(errors, kernel, features="coupling", own=True, units=([0, 1, 2], [0, 1, 2, 3]))
    rows = filter_table(errors, "coupling").merge(table, left_on=["neuron", "input"], right_on=["receiver", "sender"])
    np.testing.assert_array_equal(rows.p_x, rows.p_y)
    np.testing.assert_array_equal(rows.q_x, rows.q_y)


def test_curves_about_their_mean_need_no_held_function(fitted):
    """The constant of splines is the intercept's: the curve about its mean has finite bands, which no shift changes."""
    errors, curves = fitted[2], CIRCLE.compute_features(GRID)
    low, high = errors.bands(curves, "heading", centered=True)
    assert np.isfinite(low[:, :3]).all() and np.isnan(low[:, SILENT]).all()
    np.testing.assert_allclose(((low + high) / 2)[:, :3].mean(0), 0, atol=1e-6)
    for simultaneous in (False, True):
        by_hand = errors.bands(curves - curves.mean(0), INPUTS[0], simultaneous=simultaneous)
        same = errors.bands(curves, "heading", simultaneous=simultaneous, centered=np.full(len(GRID), 3.0))
        np.testing.assert_allclose(same, by_hand, rtol=1e-5, atol=1e-6)
    occupancy = np.histogram(HEADING, bins=len(GRID), range=(-10, 350))[0]
    mean = occupancy @ np.mean(errors.bands(curves, "heading", centered=occupancy), axis=0)
    np.testing.assert_allclose(mean[:3], 0, atol=1e-4)


def test_centred_bands_are_those_of_a_fit_that_holds_a_function(float64):
    """Without a penalty, any function may be held at 0."""
    features, curves = CIRCLE.compute_features(HEADING), CIRCLE.compute_features(GRID)
    free = uncertainty(GLM().fit(features, Y[:, 0]), features, Y[:, 0])
    held = uncertainty(GLM().fit(features[:, 1:], Y[:, 0]), features[:, 1:], Y[:, 0])
    for mine, other in zip(free.bands(curves, centered=True), held.bands(curves[:, 1:], centered=True), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4)


def test_names_come_from_data_and_bases_and_a_plain_array_is_one_input():
    names = ["a", "b"]
    y = nap.TsdFrame(t=np.arange(N_BINS) * 0.01, d=Y[:, :2], columns=names)
    built = BASIS.compute_features(nap.Tsd(t=y.t, d=HEADING), nap.TsdFrame(t=y.t, d=SENDERS, columns=["u", "v", "w"]))
    table = filter_table(uncertainty(PopulationGLM().fit(built, y), built, y, "sandwich", 50))
    assert table.neuron.tolist() == ["a"] * 4 + ["b"] * 4
    assert table.input.tolist()[1:4] == ["u", "v", "w"] and table.term.tolist()[0] == "heading"
    rows = slice(20, None)
    frame = pd.DataFrame(np.asarray(built)[rows], columns=list(built.columns))
    model = PopulationGLM().fit(frame, Y[rows, :2])
    assert filter_table(uncertainty(model, frame, Y[rows, :2])).input.tolist()[1:4] == ["u", "v", "w"]
    plain = np.asarray(built)[rows, 6:]
    errors = uncertainty(GLM().fit(plain, Y[rows, 0]), plain, Y[rows, 0])
    table = filter_table(errors)
    assert len(table) == 1 and table[["term", "input"]].values.tolist() == [["", ""]] and table.functions.item() == 12
    np.testing.assert_array_equal(table.p, errors.test(np.arange(12)).p_values)
    np.testing.assert_array_equal(filter_table(errors, 4).p, errors.test(4).p_values)
    assert filter_table(errors, {"first": np.arange(4)}).input.tolist() == ["first"]


def test_products_whose_columns_are_torn_are_inputs_too():
    product = BSplineEval(4, bounds=(0, 360)) * RaisedCosineLogConv(2, 10)
    torn = product.lazy_features(HEADING, SENDERS)
    errors = uncertainty(GLM().fit(torn, Y[:, 0]), torn, Y[:, 0])
    assert filter_table(errors).functions.tolist() == [8, 8, 8]
    first = np.concatenate([np.arange(2) + 6 * i for i in range(4)])
    np.testing.assert_array_equal(errors.test().p_values[0], errors.test(first).p_values)


def test_likelihood_ratios_take_labels_too():
    model = GLM().fit(X, Y[:, 0])
    every = leave_out_test(model, X, Y[:, 0])
    assert every.p_values.shape == (4,)
    np.testing.assert_array_equal(leave_out_test(model, X, Y[:, 0], "heading").p_values, every.p_values[0])


def test_wrong_labels_kinds_and_weights_say_the_fix(fitted):
    name, model, errors = fitted
    curves, plain = CIRCLE.compute_features(GRID), np.asarray(X)[20:, 6:]
    alone = uncertainty(GLM().fit(plain, Y[20:, 0]), plain, Y[20:, 0])
    wrong = "posterior" if name == "none" else "fisher"
    cases = [
        (lambda: errors.test("heading_x"), "one of 'heading', 'coupling'; got 'heading_x'. Did you mean 'heading'"),
        (lambda: errors.test(["heading", "speed"]), "one of 'heading', 'coupling'; got 'speed'"),
        (lambda: errors.bands(curves), "whose functions these are: .* terms 'heading', 'coupling'. Give a label"),
        (lambda: errors.bands(curves, "coupling"), r"6 features for each filter, .*; got \[4, 4, 4\]"),
        (lambda: alone.test("heading"), "features of the model have no labels; got 'heading'. Leave `features` out"),
        (
            lambda: errors.bands(curves, "heading", centered=[1.0]),
            r"weights of at least 0 for the 18 points.*shape \(1,\)",
        ),
        (lambda: errors.bands(curves, "heading", centered=-GRID), "weights of at least 0"),
        (lambda: errors.bands(curves, "heading", centered=True, intercept=True), "exclude each other.* Leave one"),
        (lambda: uncertainty(model, X, Y, wrong), f"`kind` must be one of .*; got '{wrong}'. Leave it out"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    assert uncertainty(model, X, Y).kind == ("fisher" if name == "none" else "posterior")
