"""Sessions on one axis are what they are alone: their counts, features and fits, and nothing crosses from one to the next."""

import warnings

import numpy as np
import pynapple as nap
import pytest
from messages import assert_refused

from popglm.basis import CategoryEval, IdentityEval, RaisedCosineLogConv
from popglm.batching import count_lazily, random_windows
from popglm.glm import GLM, PopulationGLM
from popglm.model_selection import BlockSplit, EpochSplit
from popglm.recording import join_sessions
from popglm.regularizer import Mixed, Ridge, UnRegularized

BIN, WINDOW = 0.01, 8
# The second session has a clock since 1970, a pause and another phase of the bins; the third lacks unit 5.
SUPPORTS = [
    nap.IntervalSet(0, 20),
    nap.IntervalSet([1.7e9 + 0.3, 1.7e9 + 15.0], [1.7e9 + 12.3, 1.7e9 + 23.004]),
    nap.IntervalSet(-4, 14),
]
IDS = [[2, 5, 9], [2, 5, 9], [2, 9]]


def draw_units(seed=0):
    """Spikes of every session; rates fall by a half from one to the next."""
    rng, groups = np.random.default_rng(seed), []
    for k, (support, ids) in enumerate(zip(SUPPORTS, IDS, strict=True)):
        spans = support.values
        draw = lambda start, end, rate: np.sort(rng.uniform(start, end, rng.poisson(rate * (end - start))))
        trains = {
            unit: nap.Ts(np.concatenate([draw(*span, 40 / 2**k) for span in spans]), time_support=support)
            for unit in ids
        }
        groups.append(nap.TsGroup(trains, time_support=support))
    return groups


UNITS = draw_units()
JOINED = join_sessions(UNITS)
ALONE = [count_lazily(group, BIN) for group in UNITS]
COUNTS = count_lazily(JOINED.units, BIN, observed=JOINED.observed)
SHARED = count_lazily(JOINED.units[[2, 9]], BIN)
DAY = JOINED.sessions.in_interval(COUNTS.timeline)
HISTORY = RaisedCosineLogConv(3, WINDOW, label="history")
DAYS = CategoryEval([0, 1, 2], reference=0, label="session")


def fit(X, y, **settings):
    """A fit without a warning: here each is an error."""
    return PopulationGLM(**settings).fit(X, y)


def messages(call):
    """What is returned, and all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        out = call()
    return out, [str(one.message) for one in caught]


def test_sessions_follow_each_other_on_clocks_that_are_shifted():
    starts = np.array([support.start[0] for support in SUPPORTS])
    lengths = np.array([20.0, 22.704, 18.0])
    np.testing.assert_allclose(JOINED.sessions.end - JOINED.sessions.start, lengths, atol=1e-6)
    np.testing.assert_allclose(JOINED.sessions.start, [0, 30, 62.704], atol=1e-6)
    np.testing.assert_allclose(JOINED.shifts, JOINED.sessions.start - starts, atol=1e-6)
    assert len(JOINED.units.time_support) == 4 and list(JOINED.units) == [2, 5, 9]
    assert np.unique(DAY, return_counts=True)[1].tolist() == [len(one) for one in ALONE]
    assert [len(JOINED.observed[unit]) for unit in (2, 5, 9)] == [4, 3, 4]


def test_counts_are_those_of_every_session_and_nan_where_a_unit_is_missing():
    last = len(ALONE[2])
    expected = np.vstack([*(one[:] for one in ALONE[:2]), np.insert(ALONE[2][:].astype(float), 1, np.nan, 1)])
    np.testing.assert_array_equal(COUNTS[:], expected)
    assert np.isnan(COUNTS[:]).sum() == last
    np.testing.assert_array_equal(JOINED.units[[2, 9]].count(BIN).values, SHARED[:])


@pytest.mark.parametrize("precision", ["float32", "float64"], indirect=True)
@pytest.mark.parametrize("causality", ["causal", "acausal"])
def test_no_window_crosses_a_border(precision, causality):
    basis = RaisedCosineLogConv(3, WINDOW + 1, predictor_causality=causality)
    each = [np.asarray(basis.lazy_features(one)) for one in (count_lazily(group[[2, 9]], BIN) for group in UNITS)]
    lazy, dense = basis.lazy_features(SHARED), basis.compute_features(JOINED.units[[2, 9]].count(BIN))
    np.testing.assert_array_equal(np.asarray(lazy), np.vstack(each))
    np.testing.assert_array_equal(dense.values, np.vstack(each))


def test_series_keep_their_rows_values_columns_and_metadata():
    rng = np.random.default_rng(1)
    times = [support.start[0] + np.sort(rng.uniform(0, 18, 50)) for support in SUPPORTS]
    shifted = np.concatenate([t + shift for t, shift in zip(times, JOINED.shifts, strict=True)])
    values = rng.normal(size=(3, 50, 2, 2))
    series = {
        "Ts": ([nap.Ts(t) for t in times], None),
        "Tsd": ([nap.Tsd(t, v[:, 0, 0]) for t, v in zip(times, values, strict=True)], values[:, :, 0, 0]),
        "TsdFrame": (
            [nap.TsdFrame(t, v[:, 0], columns=["x", "z"]) for t, v in zip(times, values, strict=True)],
            values[:, :, 0],
        ),
        "TsdTensor": ([nap.TsdTensor(t, v) for t, v in zip(times, values, strict=True)], values),
    }
    for kind, (parts, expected) in series.items():
        out = JOINED.join(parts)
        assert type(out).__name__ == kind and len(out.time_support) == 3
        np.testing.assert_allclose(out.t, shifted, atol=1e-6)
        if expected is not None:
            np.testing.assert_array_equal(out.values, np.concatenate(expected))
    assert list(JOINED.join(series["TsdFrame"][0]).columns) == ["x", "z"]
    trials = [nap.IntervalSet(t[::10], t[::10] + 0.01, metadata={"side": [k] * 5}) for k, t in enumerate(times)]
    out = JOINED.join(trials)
    np.testing.assert_allclose(out.start, np.concatenate([t[::10] for t in np.split(shifted, 3)]), atol=1e-6)
    assert np.asarray(out["side"]).tolist() == np.repeat(range(3), 5).tolist()
    assert len(JOINED.join([nap.Ts([]), *series["Ts"][0][1:]])) == 100, "a session may have no event"


def test_metadata_of_units_are_those_that_all_sessions_have():
    first, second = (
        nap.TsGroup({7: nap.Ts([0.5, 1.0]), k: nap.Ts([0.7, 0.8])}, time_support=nap.IntervalSet(0, 2)) for k in (1, 3)
    )
    first.set_info(area=["a", "b"], depth=[1.0, 2.0])
    second.set_info(area=["c", "d"])
    units = join_sessions([first, second]).units
    assert units["area"].tolist() == ["a", "c", "b"] and "depth" not in units.metadata_columns


@pytest.mark.parametrize("solver", [None, "batches", "dense"])
def test_rates_of_sessions_without_a_penalty_are_those_of_single_fits(solver):
    """With nothing else in the model, the log rate of each unit in each session."""
    X = DAYS.lazy_features(DAY)
    if solver == "batches":
        model, said = messages(lambda: PopulationGLM().fit_batches(random_windows(X, COUNTS, 500, seed=0), n_steps=60))
    else:
        X = X if solver is None else np.asarray(X)
        model, said = messages(lambda: PopulationGLM().fit(X, COUNTS[:] if solver else COUNTS))
    means = np.array(
        [[np.nanmean(COUNTS[:][k == DAY, n]) if (k, n) != (2, 1) else np.nan for n in range(3)] for k in range(3)]
    )
    rates = np.log(means[1:] / means[0])
    rates[1, 1] = 0  # of a session without the unit nothing is known
    np.testing.assert_allclose(model.coef_, rates, atol=2e-3)
    neuron = 1 if solver == "dense" else 5
    known = f"neuron {neuron}: feature 1: 0 in every bin in which"
    assert solver == "batches" or (len(said) == 1 and known in said[0]), said


@pytest.mark.parametrize("strength", [0.01, "evidence"])
def test_rates_of_sessions_have_no_penalty_beside_terms_that_have_one(strength):
    X = (DAYS + HISTORY).lazy_features(DAY, SHARED)
    penalty = Mixed({"session": UnRegularized(), "history": Ridge()})
    model = PopulationGLM(regularizer=penalty, regularizer_strength=strength).fit(X, SHARED)
    means = np.array([SHARED[:][k == DAY].mean(0) for k in range(3)])
    np.testing.assert_allclose(model.coef_[:2], np.log(means[1:] / means[0]), atol=0.05)
    if strength == "evidence":
        np.testing.assert_allclose(model.edf_[0], 2, atol=0.01)


@pytest.mark.parametrize("model", ["Poisson", "Gaussian", "Bernoulli"])
def test_a_unit_that_is_missing_in_a_session_has_the_coefficients_of_the_others(model):
    """Its arbitrary coefficient is 0, and a warning names it; a mask that says so is the same fit without one."""
    y = np.minimum(COUNTS[:], 1)
    X = (DAYS + HISTORY).lazy_features(DAY, SHARED)
    fitted, said = messages(lambda: PopulationGLM(model).fit(X, y))
    assert len(said) == 1 and "neuron 1: feature session/0:1: 0 in every bin in which the neuron is known" in said[0], (
        said
    )
    mask = np.ones((8, 3))
    mask[1, 1] = 0
    masked = fit(X, y, observation_model=model, feature_mask=mask)
    np.testing.assert_allclose(fitted.coef_, masked.coef_, atol=2e-3)
    first = DAY < 2
    alone = GLM(model).fit(np.asarray(X)[first][:, [0, 2, 3, 4, 5, 6, 7]], y[first, 1])
    np.testing.assert_allclose(masked.coef_[[0, 2, 3, 4, 5, 6, 7], 1], alone.coef_, atol=2e-3)


def test_a_missing_sender_leaves_out_the_session_and_the_fit_says_so():
    X = HISTORY.lazy_features(COUNTS)
    model, said = messages(lambda: PopulationGLM().fit(X, COUNTS))
    assert X.complete.sum() == (DAY < 2).sum() - 3 * WINDOW
    assert len(said) == 1 and "Most often input 5 is missing" in said[0], said
    two = X.restrict(JOINED.observed[5])
    np.testing.assert_allclose(model.coef_, fit(two, COUNTS.restrict(JOINED.observed[5])).coef_, atol=1e-4)
    mask = np.ones((9, 3))
    mask[3:6, [0, 2]] = 0  # these receivers do not use it, and keep the bins of the session
    masked, _ = messages(lambda: PopulationGLM(feature_mask=mask).fit(X, COUNTS))
    others = fit(HISTORY.lazy_features(SHARED), SHARED)
    np.testing.assert_allclose(masked.coef_[[0, 1, 2, 6, 7, 8]][:, [0, 2]], others.coef_, atol=2e-3)


@pytest.mark.parametrize("held_out", [0, 1, 2])
def test_the_rate_of_a_session_that_is_held_out_is_not_silent(held_out):
    X = (DAYS + HISTORY).lazy_features(DAY, SHARED)
    folds = list(EpochSplit(3, epochs=JOINED.sessions).split(X))
    train, test = folds[held_out]
    np.testing.assert_array_equal(test, np.flatnonzero(held_out == DAY))
    np.testing.assert_array_equal(
        train, np.flatnonzero(held_out != DAY)
    )  # no window crosses a border: no row is left out
    model, said = messages(lambda: PopulationGLM().fit(X[train], SHARED[train]))
    text = f"session/0:{held_out - 1}: 0 in every valid bin" if held_out else "a sum of other features"
    assert len(said) == 1 and text in said[0], said
    if held_out:
        assert (model.coef_[held_out - 1] == 0).all()


def test_a_feature_without_a_bin_is_said_by_paths_batches_and_one_function_alone():
    some = np.flatnonzero(DAY < 2)
    X = (DAYS + HISTORY).lazy_features(DAY, SHARED)
    penalty = Mixed({"session": UnRegularized(), "history": Ridge()})
    early = JOINED.sessions[[0, 1]]
    calls = {
        "path": lambda: PopulationGLM(regularizer=penalty).fit_path(X[some], SHARED[some], [1e-3, 1e-2]),
        "batches": lambda: PopulationGLM().fit_batches(
            random_windows(X.restrict(early), SHARED.restrict(early), 500, seed=0), n_steps=30
        ),
    }
    for name, call in calls.items():
        _, said = messages(call)
        assert len(said) == 1 and "session/0:1: 0 in every valid bin" in said[0], (name, said)
    first = DAY == 0
    one = (CategoryEval([0, 1], reference=0, label="session") + IdentityEval(label="x")).compute_features(
        nap.Tsd(SHARED.t[first], DAY[first]), nap.Tsd(SHARED.t[first], SHARED[:][first, 1].astype(float))
    )
    _, said = messages(lambda: PopulationGLM().fit(one, SHARED[:][first]))
    assert len(said) == 1 and "session/0:0: 0 in every valid bin" in said[0], said


def test_features_that_a_penalty_a_mask_or_a_silent_sender_explains_are_not_named():
    some, X = np.flatnonzero(DAY < 2), (DAYS + HISTORY).lazy_features(DAY, SHARED)
    mask = np.ones((8, 2))
    mask[1] = 0
    fit(X[some], SHARED[some], feature_mask=mask)
    fit(X[some], SHARED[some], regularizer="Ridge", regularizer_strength=0.01)
    quiet = nap.TsdFrame(SHARED.t, SHARED[:] * [1, 0], time_support=SHARED.time_support, columns=[2, 9])
    fit(HISTORY.lazy_features(quiet), SHARED)


def test_folds_of_blocks_leave_out_no_row_across_a_border():
    X = HISTORY.lazy_features(SHARED)
    dense = HISTORY.compute_features(JOINED.units[[2, 9]].count(BIN))
    for splitter in (BlockSplit(4, window=WINDOW), EpochSplit(3, window=WINDOW, epochs=JOINED.sessions)):
        pairs = zip(splitter.split(X), splitter.split(dense), strict=True)
        for (train, test), (dense_train, dense_test) in pairs:
            np.testing.assert_array_equal(test, dense_test)
            np.testing.assert_array_equal(train, dense_train)


BAD_UNITS = {
    "one session": ([UNITS[0]], ValueError, "at least two sessions; got 1"),
    "no group": ([UNITS[0], [1.0]], TypeError, "pynapple TsGroup of spike times; got list"),
    "other ids": (
        [UNITS[0], nap.TsGroup({77: nap.Ts([0.5, 1.0])}, time_support=nap.IntervalSet(0, 2))],
        ValueError,
        "session 0 has 2, 5, 9, the others 77. Give a unit the same id",
    ),
}
FRAME = nap.TsdFrame(np.arange(3.0), np.ones((3, 2)), columns=["x", "z"])
BAD_SERIES = {
    "too few": ([FRAME], ValueError, "one for each of 3 sessions; got 1"),
    "an array": ([np.ones(3)] * 3, TypeError, "got ndarray for session 0. Join the members of a TsGroup"),
    "groups": (UNITS, TypeError, "got TsGroup for session 0"),
    "two kinds": ([FRAME, FRAME["x"], FRAME], TypeError, "session 0 has a TsdFrame, session 1 a Tsd"),
    "other columns": (
        [FRAME, FRAME[:, [1, 0]], FRAME],
        ValueError,
        "session 1 has .'z', 'x'.. Select the same columns",
    ),
    "another clock": (
        [nap.Ts([1.0, 2.0])] * 3,
        ValueError,
        "that of session 1 goes from 1 to 2 s, the session from 1700000000 to 1700000023 s",
    ),
}


@pytest.mark.parametrize("case", BAD_UNITS)
def test_units_that_cannot_be_joined_are_refused(s, case):
    units, error, text = BAD_UNITS[case]
    assert_refused(s, lambda s: join_sessions(units), error, text)


@pytest.mark.parametrize("case", BAD_SERIES)
def test_series_that_cannot_be_joined_are_refused(s, case):
    series, error, text = BAD_SERIES[case]
    assert_refused(s, lambda s: JOINED.join(series), error, text)


def test_the_fix_of_a_series_that_goes_on_is_to_restrict_it():
    camera = [nap.Tsd(support.start[0] + np.arange(-20.0, 60), np.zeros(80)) for support in SUPPORTS]
    with pytest.raises(ValueError, match=r"series.restrict\(units.time_support\)"):
        JOINED.join(camera)
    joined = JOINED.join([one.restrict(group.time_support) for one, group in zip(camera, UNITS, strict=True)])
    assert len(joined) == sum(len(one.restrict(group.time_support)) for one, group in zip(camera, UNITS, strict=True))
