"""Observed time of units: lazy counts are NaN outside of it, and every method takes them as it takes NaN in an array."""

import numpy as np
import pynapple as nap
import pytest

from popglm._design.sizes import SIZES
from popglm.assessment import scores
from popglm.basis import RaisedCosineLogConv
from popglm.batching import count_lazily, random_windows
from popglm.glm import GLM, PopulationGLM
from popglm.model_selection import cross_validate_path

BASIS, BIN = RaisedCosineLogConv(3, window_size=20), 0.005
EPOCHS = nap.IntervalSet([0, 31], [30, 60])
OBSERVED = {
    0: EPOCHS,
    1: nap.IntervalSet([2.0, 20.0023, 40.0], [15.0, 29.0, 60.0]),
    2: nap.IntervalSet(0, 45.5),
    3: nap.IntervalSet(10.0049, 60),
}


@pytest.fixture(scope="module")
def units(population):
    """Spikes of four neurons, in the observed time of each."""
    return nap.TsGroup({n: population.units[n].restrict(OBSERVED[n]) for n in OBSERVED}, time_support=EPOCHS)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(SIZES, "block_rows", 256)
    monkeypatch.setattr(SIZES, "chunk_blocks", 4)


def one_unit(spikes, start, end, unit=0):
    """Spikes of one unit in one epoch."""
    epochs = nap.IntervalSet(start, end)
    return nap.TsGroup({unit: nap.Ts(np.array(spikes, float), time_support=epochs)}, time_support=epochs)


def with_nan(units, observed, bin_size, epochs=None, **settings):
    """All counts, as a TsdFrame, and NaN where more than 2 % of a bin lies in one gap: one bin after another."""
    counts = count_lazily(units, bin_size, epochs, **settings)
    values = np.asarray(counts, float)
    for column, unit in enumerate(units):
        gaps = [-np.inf, *observed[unit].values.ravel(), np.inf]
        for row, center in enumerate(counts.t):
            epoch = counts.time_support.end[np.searchsorted(counts.time_support.start, center) - 1]
            begin, end = center - bin_size / 2, min(center + bin_size / 2, epoch)
            missing = [min(end, b) - max(begin, a) for a, b in zip(gaps[::2], gaps[1::2], strict=True)]
            if max(missing) > 0.02 * bin_size:
                values[row, column] = np.nan
    return nap.TsdFrame(t=counts.t, d=values, time_support=counts.time_support, columns=counts.columns)


# Counts


@pytest.mark.filterwarnings("ignore:.*outside the observed time:RuntimeWarning", "ignore:.*are cut by:RuntimeWarning")
@pytest.mark.parametrize("partial", ["keep", "drop"])
@pytest.mark.parametrize("bin_size", [0.01, 1 / 60, 0.25])
def test_bins_that_were_not_observed_are_nan(bin_size, partial):
    """Whatever is sliced, restricted or read at once, in epochs whose last bin is cut."""
    rng = np.random.default_rng(0)
    epochs = nap.IntervalSet([0.3, 6.1, 9.0], [5.0, 8.0, 14.013])
    units = nap.TsGroup({n: nap.Ts(np.sort(rng.uniform(0, 15, 300))) for n in (4, 7, 9)}, time_support=epochs)
    ends = [np.sort(rng.uniform(0, 14.5, 2 * n)).reshape(-1, 2) for n in (1, 4, 30)]
    observed = {unit: nap.IntervalSet(some) for unit, some in zip(units, ends, strict=True)}
    expected = with_nan(units, observed, bin_size, partial=partial)
    counts = count_lazily(units, bin_size, partial=partial, observed=observed)
    missing = np.isnan(expected.values)
    assert missing.any(0).all() and (~missing).any(0).all()
    np.testing.assert_array_equal(np.asarray(counts), expected.values)
    np.testing.assert_array_equal(counts[:], expected.values)
    for key in (slice(5, 40), slice(8, 8), 7, [9, 3, 3], (slice(0, 30), 1), (4, [0, 2]), slice(40, 2, -3)):
        np.testing.assert_array_equal(counts[key], expected.values[key])
    part = nap.IntervalSet([0.95, 9.2], [3.03, 13.1])
    restricted, same = counts.restrict(part), expected.restrict(part)
    np.testing.assert_array_equal(np.asarray(restricted), same.values)
    np.testing.assert_allclose(counts.missing_shares(), missing.mean(0))
    assert f"{missing.mean():.2%} not observed" in repr(counts)
    assert counts.dtype == restricted.dtype == np.asarray(counts).dtype == float


@pytest.mark.parametrize(
    ("observed", "seen"),
    [
        ([[1.0019, 4.0]], [1, 2, 3]),
        ([[1.021, 3.979]], [2]),
        ([[1.019, 3.981]], [1, 2, 3]),
        ([[3, 4], [0, 1], [1, 3]], [0, 1, 2, 3]),  # touching, not sorted, as in files
        ([[0, 1.5], [1.5, 5]], [0, 1, 2, 3, 4]),
        ([[0, 1.5], [1.515, 5]], [0, 1, 2, 3, 4]),
        ([[0, 1.5], [1.53, 5]], [0, 2, 3, 4]),
        ([[0, 1.4], [1.42, 1.43], [1.45, 1.47], [1.6, 5]], [0, 2, 3, 4]),
        ([[1.2, 1.8]], []),
        (np.zeros((0, 2)), []),
        ([[-5, 9]], [0, 1, 2, 3, 4]),
    ],
)
@pytest.mark.filterwarnings("ignore:(start|end) is not sorted:UserWarning", "ignore:Some starts and ends:UserWarning")
def test_a_bin_counts_if_it_was_observed_to_a_fiftieth(observed, seen):
    units = one_unit([], 0, 5, unit=3)
    counts = count_lazily(units, 1.0, observed={3: nap.IntervalSet(np.array(observed, float))})
    assert np.flatnonzero(~np.isnan(counts[:, 0])).tolist() == seen


@pytest.mark.filterwarnings("ignore:Some starts and ends are equal:UserWarning")
def test_no_short_bin_is_lost_where_observed_time_touches():
    """Of a bin of 20 us the microsecond that pynapple takes is 5 %."""
    ends = np.array([[0, 1e-3], [1e-3, 1.51e-3], [1.51e-3, 2e-3]])
    units = one_unit([1e-3], 0, 2e-3)
    counts = count_lazily(units, 2e-5, observed=nap.IntervalSet(ends))
    assert len(counts) == 100 and not np.isnan(counts[:]).any()


def test_one_interval_set_serves_all_units_and_that_of_the_recording_changes_nothing(units):
    plain = count_lazily(units, BIN)
    assert plain.dtype == np.asarray(plain).dtype == np.int64 and "observed" not in repr(plain)
    np.testing.assert_array_equal(np.asarray(count_lazily(units, BIN, observed=EPOCHS)), np.asarray(plain))
    with pytest.warns(RuntimeWarning, match="outside the observed time"):
        some = np.asarray(count_lazily(units, BIN, observed=OBSERVED[1]))
    assert (np.isnan(some) == np.isnan(some[:, :1])).all() and np.isnan(some).any()


def test_an_epoch_whose_last_bin_is_cut_was_observed_to_its_end():
    units = one_unit([0.5], 0, 2.7)
    assert np.isnan(count_lazily(units, 1.0, observed=units.time_support)[:]).sum() == 0
    assert np.isnan(count_lazily(units, 1.0, observed=nap.IntervalSet(0, 2.6))[:]).ravel().tolist() == [
        False,
        False,
        True,
    ]


def test_times_since_1970_are_observed_to_the_end():
    start = 1.76e9
    units = one_unit([start + 6], start, start + 20)
    counts = count_lazily(units, 0.005, observed=nap.IntervalSet(start + 5, start + 10))
    assert np.flatnonzero(~np.isnan(counts[:, 0])).tolist() == list(range(1000, 2000))


# Fits


@pytest.fixture(scope="module")
def dense(units):
    return with_nan(units, OBSERVED, BIN)


@pytest.mark.parametrize(
    "settings", [{}, {"regularizer": "Ridge", "regularizer_strength": 0.01}], ids=["exact", "ridge"]
)
def test_a_fit_is_that_with_nan_in_y(small_chunks, units, dense, settings):
    """Streamed or in memory; so are scores, windows and a fit by batches."""
    X = BASIS.lazy_features(count_lazily(units, BIN))
    y = count_lazily(units, BIN, observed=OBSERVED)
    model, expected = (PopulationGLM(**settings).fit(X, counts) for counts in (y, dense))
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(expected.coef_, PopulationGLM(**settings).fit(X, dense.values).coef_)
    assert model.score(X, y) == pytest.approx(model.score(X, dense), rel=1e-6)
    for one, other in zip(random_windows(X, y, 700, seed=0), random_windows(X, dense, 700, seed=0), strict=True):
        np.testing.assert_array_equal(one[1], other[1])
    batches = [PopulationGLM().fit_batches(random_windows(X, counts, 3000, seed=0), 12) for counts in (y, dense)]
    np.testing.assert_allclose(batches[0].coef_, batches[1].coef_, rtol=1e-5, atol=1e-6)


def test_a_neuron_is_fitted_to_its_observed_time_alone(units, dense):
    """In the population as by itself, in the rows of its observed epochs; their history is that of the recording."""
    X, y = BASIS.lazy_features(count_lazily(units, BIN)), count_lazily(units, BIN, observed=OBSERVED)
    model, part = PopulationGLM().fit(X, y), OBSERVED[2]
    single = GLM().fit(X.restrict(part), count_lazily(units, BIN).restrict(part)[:, 2])
    np.testing.assert_allclose(model.coef_[:, 2], single.coef_, rtol=2e-3, atol=2e-4)
    rows = ~np.isnan(dense.values[:, 1])
    single = GLM().fit(X[rows], dense.values[rows, 1])
    np.testing.assert_allclose(model.coef_[:, 1], single.coef_, rtol=2e-3, atol=2e-4)
    table = scores(model, X, y)
    assert table["bins"].tolist() == (~np.isnan(dense.values) & X.complete[:, None]).sum(0).tolist()
    assert table.loc[1, "log-likelihood"] == pytest.approx(single.score(X[rows], dense.values[rows, 1]), rel=1e-5)


def test_cross_validation_leaves_out_what_was_not_observed(units, dense):
    X = BASIS.lazy_features(count_lazily(units, BIN))
    model, strengths = PopulationGLM(regularizer="Ridge"), [0.001, 0.01]
    one, other = (
        cross_validate_path(model, X, y, 3, strengths=strengths)
        for y in (count_lazily(units, BIN, observed=OBSERVED), dense)
    )
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)
    np.testing.assert_array_equal(one.bins, other.bins)


@pytest.mark.filterwarnings("ignore:.*of the bins, .* are left out:RuntimeWarning")
def test_an_unobserved_bin_of_a_sender_leaves_out_every_row_whose_window_holds_it(small_chunks, units, dense):
    counts = count_lazily(units, BIN, observed=OBSERVED)
    X, built = BASIS.lazy_features(counts), BASIS.compute_features(dense)
    np.testing.assert_array_equal(np.asarray(X), built.values)
    np.testing.assert_array_equal(X.complete, ~np.isnan(built.values).any(1))
    model, expected = PopulationGLM().fit(X, counts), PopulationGLM().fit(built, dense)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-5, atol=1e-6)
    part = nap.IntervalSet(14, 50)
    np.testing.assert_array_equal(X.restrict(part).complete, X.complete[(counts.t > 14) & (counts.t < 50)])


def test_lost_rows_are_said_with_the_unit_that_was_observed_least(units):
    counts = count_lazily(units, BIN, observed=OBSERVED)
    share = np.isnan(counts[:, 1]).mean()
    message = rf"are left out for every neuron.* Most often input 1 is missing: in {share:.1%} of the bins"
    with pytest.warns(RuntimeWarning, match=message):
        PopulationGLM().fit(BASIS.lazy_features(counts), count_lazily(units, BIN))


def test_a_checkpoint_is_that_of_its_observed_time(tmp_path, units):
    """Of y and of inputs, in memory or by batches."""
    counts, fewer = count_lazily(units, BIN), nap.IntervalSet(0, 45.515)  # three bins more
    other = {**OBSERVED, 2: fewer}
    one, another = (count_lazily(units, BIN, observed=some) for some in (OBSERVED, other))
    X = BASIS.lazy_features(counts)
    PopulationGLM().fit(X, one, checkpoint=tmp_path / "fit.npz")
    with pytest.raises(ValueError, match="y is not what it was"):
        PopulationGLM().fit(X, another, checkpoint=tmp_path / "fit.npz")
    fit = lambda y, n: PopulationGLM().fit_batches(
        random_windows(X, y, 3000, seed=0), n, checkpoint=tmp_path / "run.npz"
    )
    fit(one, 2)
    with pytest.raises(ValueError, match="in memory was checksum"):
        fit(another, 4)
    np.testing.assert_array_equal(
        fit(one, 4).coef_, PopulationGLM().fit_batches(random_windows(X, one, 3000, seed=0), 4).coef_
    )


@pytest.mark.filterwarnings("ignore:.*did not see the data:RuntimeWarning")
def test_a_unit_that_was_never_observed_is_named(units):
    """Its silence is not said to be one, in any way of fitting."""
    X = BASIS.lazy_features(count_lazily(units, BIN))
    with pytest.warns(RuntimeWarning, match=r"\d+ of \d+ spikes lie outside"):
        y = count_lazily(units, BIN, observed={**OBSERVED, 3: nap.IntervalSet(np.zeros((0, 2)))})
    assert np.isnan(y[:, 3]).all()
    message = "^neuron 3: no valid bin, as y or a feature is NaN in each, or its weight 0.*predictions mean nothing"
    for fit in (
        lambda: PopulationGLM().fit(X, y),
        lambda: PopulationGLM(regularizer="Ridge").fit_path(X, y, [0.01, 0.1]),
        lambda: PopulationGLM().fit_batches(random_windows(X, y, 3000, seed=0), 4),
    ):
        with pytest.warns(RuntimeWarning, match=message) as caught:
            fit()
        assert len(caught) == 1


@pytest.mark.parametrize("name", ["Gaussian", "Gamma"])
def test_a_neuron_without_a_valid_bin_has_no_scale(name):
    X, y = np.random.default_rng(0).normal(size=(2, 200, 2))
    y = np.c_[np.exp(y), np.full(200, np.nan)]
    with pytest.warns(RuntimeWarning, match="^neuron 2: no valid bin") as caught:
        model = PopulationGLM(observation_model=name).fit(X, y)
    assert len(caught) == 1 and np.isnan(model.scale_).tolist() == [False, False, True] and model.converged_.all()


# Bad input


@pytest.mark.parametrize(
    ("observed", "error", "text"),
    [
        ([[0, 60]], TypeError, "`observed` must be a pynapple IntervalSet, or a dictionary.*got list"),
        (
            {**OBSERVED, 3: [[0, 60]]},
            TypeError,
            r"`observed\[3\]` must be a pynapple IntervalSet; got list.*IntervalSet\(\.\.\.\)",
        ),
        ({0: EPOCHS}, ValueError, r"none came for unit 1, 2, 3.*observed \| \{unit: epochs\}"),
        ({**OBSERVED, 9: EPOCHS}, ValueError, r"got unit 9, which `units` does not have.*for unit in units\}"),
        ({str(n): EPOCHS for n in range(4)}, ValueError, "got unit 0, 1, 2, 3, which"),
    ],
)
def test_observed_time_must_be_that_of_the_units(units, observed, error, text):
    with pytest.raises(error, match=text):
        count_lazily(units, BIN, observed=observed)


def test_the_fixes_work(units):
    expected, other = np.asarray(count_lazily(units, BIN, observed=OBSERVED)), {**OBSERVED, 9: EPOCHS}
    np.testing.assert_array_equal(count_lazily(units, BIN, observed={unit: other[unit] for unit in units}), expected)
    some = {unit: OBSERVED[unit] for unit in (1, 2, 3)}
    np.testing.assert_array_equal(count_lazily(units, BIN, observed=some | {0: EPOCHS}), expected)


def test_spikes_outside_the_observed_time_are_said():
    units = one_unit([0.5, 1.0, 2.5, 3.0, 3.5], 0, 4, unit=8)
    for epochs, n_lost in ((nap.IntervalSet([0, 3], [1, 4]), 1), (nap.IntervalSet([0, 3.2], [0.9, 4]), 3)):
        with pytest.warns(RuntimeWarning, match=rf"{n_lost} of 5 spikes lie outside.*unit 8 loses most, {n_lost} of 5"):
            count_lazily(units, 1.0, observed={8: epochs})
