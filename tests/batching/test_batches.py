"""Fits by batches: windows cover the recording, the fit reaches the exact one, and goes on where it stopped."""

import pickle
import warnings
from types import SimpleNamespace

import jax
import numpy as np
import pandas
import pynapple as nap
import pytest
from samples import small_data

from popglm.batching import count_lazily, random_windows, sequential_blocks
from popglm.batching._first_pass import _batch_residuals
from popglm.glm import GLM, PopulationGLM

PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}


def loss(model, X, y):
    """Mean loss of every neuron, in double precision."""
    valid = ~np.isnan(X).any(1)[:, None] & ~np.isnan(y)
    eta = np.nan_to_num(X) @ np.asarray(model.coef_, float).reshape(X.shape[1], -1) + np.asarray(
        model.intercept_, float
    )
    return np.where(valid, np.exp(eta) - np.nan_to_num(y) * eta, 0).sum(0) / valid.sum(0)


def falls_short(model, full, X, y):
    """Excess loss of every neuron, in units of what the noise of the data makes of the parameters: features / (2 bins)."""
    return (loss(model, X, y) - loss(full, X, y)) * 2 * len(X) / X.shape[1]


# Windows


def test_every_pass_shows_every_bin_once(recording):
    X = np.arange(1.0, 271)[:, None]
    X = nap.TsdFrame(t=recording.t, d=X, time_support=recording.time_support)
    windows = random_windows(X, recording, 25, seed=3)
    orders = []
    for _ in range(3):
        rows = np.concatenate([x[~np.isnan(x)] for x, _ in windows])
        assert np.array_equal(np.sort(rows), np.arange(1, 271))
        orders.append(rows)
    assert not np.array_equal(orders[0], orders[1])
    again = random_windows(X, recording, 25, seed=3)
    assert all(np.array_equal(np.concatenate([x[~np.isnan(x)] for x, _ in again]), order) for order in orders)
    other = np.concatenate([x[~np.isnan(x)] for x, _ in random_windows(X, recording, 25, seed=4)])
    assert not np.array_equal(other, orders[0])


def test_windows_are_pieces_of_the_recording_and_reach_over_no_gap(recording):
    X = nap.TsdFrame(t=recording.t, d=np.arange(270.0)[:, None], time_support=recording.time_support)
    epoch = np.repeat([0, 1, 2], [90, 30, 150])
    firsts = set()
    for x, y in random_windows(X, recording, 25, seed=0):
        assert x.shape == (25, 1) and y.shape == (25, 3)
        rows = x[~np.isnan(x)].astype(int)
        firsts.add(rows[0])
        assert np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))) and np.ptp(epoch[rows]) == 0
        assert np.array_equal(y[: len(rows)], recording.values[rows]) and np.isnan(y[len(rows) :]).all()
    assert len(firsts) <= len(random_windows(X, recording, 25, seed=0))


def test_blocks_come_in_order(recording):
    X = nap.TsdFrame(t=recording.t, d=np.arange(270.0)[:, None], time_support=recording.time_support)
    blocks = sequential_blocks(X, recording, 100)
    rows = np.concatenate([x[~np.isnan(x)] for x, _ in blocks])
    assert np.array_equal(rows, np.arange(270)) and len(list(blocks)) == len(blocks) == 4


def test_lazy_and_streamed_windows_are_those_of_the_matrix(basis, population):
    counts = population.counts
    virtual = count_lazily(population.units, 0.005)
    dense = random_windows(basis.compute_features(counts), counts, 700, seed=1)
    for other in (random_windows(basis.lazy_features(virtual), virtual, 700, seed=1),):
        for (X, y), (lazy_X, lazy_y) in zip(dense, other, strict=True):
            np.testing.assert_allclose(lazy_X, X, atol=1e-5)
            assert np.array_equal(lazy_y, y, equal_nan=True)


def test_neurons_of_one_dimension_stay_so():
    X, y = small_data(n_neurons=1)
    assert {part.shape for _, part in random_windows(X, y[:, 0], 100, seed=0)} == {(100,)}


# The fit


@pytest.mark.parametrize("settings", [{}, {"regularizer": "Ridge", "regularizer_strength": 0.05}], ids=str)
@pytest.mark.parametrize("missing", [False, True])
def test_three_passes_reach_the_exact_fit(precision, settings, missing):
    X, y = small_data(n_bins=6000)
    if missing:
        X[:400, 0], y[1000:3000, 1] = np.nan, np.nan
    windows = random_windows(X, y, 300, seed=0)
    full = PopulationGLM(**settings).fit(X, y)
    model = PopulationGLM(**settings).fit_batches(windows, n_steps=4 * len(windows))
    np.testing.assert_allclose(model.coef_, full.coef_, atol=2e-4)
    np.testing.assert_allclose(model.intercept_, full.intercept_, atol=2e-4)


def test_history_features_meet_the_ruler(basis, population):
    X, y = basis.compute_features(population.counts).values[40:], population.counts.values[40:]
    windows = random_windows(X, y, 500, seed=0)
    full = PopulationGLM().fit(X, y)
    model = PopulationGLM().fit_batches(windows, n_steps=3 * len(windows))
    assert falls_short(model, full, X, y).max() < 0.05

    half = list(windows)[:12]
    some_X, some_y = np.concatenate([x for x, _ in half]), np.concatenate([y for _, y in half])
    exact, fast = PopulationGLM().fit(some_X, some_y), PopulationGLM().fit_batches(half, n_steps=12)
    share = [m.score(some_X, some_y, score_type="pseudo-r2-McFadden") for m in (fast, exact)]
    assert share[0] > 0.8 * share[1]  # a pass over 30 s, in which a neuron has some 200 spikes for 20 features


def test_a_mask_and_a_silent_neuron(precision):
    X, y = small_data(n_bins=4000)
    y[:, 2] = 0
    mask = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]])
    with pytest.warns(RuntimeWarning, match="neuron 2: no event"):
        full = PopulationGLM(feature_mask=mask).fit(X, y)
    windows = random_windows(X, y, 200, seed=0)
    with pytest.warns(RuntimeWarning, match="neuron 2: no event"):
        model = PopulationGLM(feature_mask=mask).fit_batches(windows, n_steps=4 * len(windows))
    assert np.array_equal(model.coef_ == 0, full.coef_ == 0)
    np.testing.assert_allclose(model.coef_, full.coef_, atol=2e-4)


def test_one_neuron_alone_is_one_of_a_population():
    X, y = small_data(n_bins=4000)
    both = PopulationGLM().fit_batches(random_windows(X, y, 200, seed=0), n_steps=63)
    one = GLM().fit_batches(random_windows(X, y[:, 1], 200, seed=0), n_steps=63)
    np.testing.assert_allclose(one.coef_, both.coef_[:, 1], atol=1e-5)
    assert one.intercept_.shape == one.n_iter_.shape == (1,)


def test_a_finished_fit_stops_early():
    X, y = small_data(n_bins=2000)
    model = PopulationGLM().fit_batches(sequential_blocks(X, y, 500), n_steps=1000)
    assert model.converged_.all() and model.n_iter_[0] < 80


def endless(X, y, seed=0):
    rng = np.random.default_rng(seed)
    while True:
        at = rng.integers(len(X) - 200)
        yield X[at : at + 200], y[at : at + 200]


def test_endless_batches_approach_the_exact_fit():
    X, y = small_data(n_bins=8000)
    full = PopulationGLM().fit(X, y)
    model = PopulationGLM().fit_batches(endless(X, y), n_steps=400)
    assert falls_short(model, full, X, y).max() < 0.5


def test_every_step_of_the_first_pass_is_near_the_optimum_of_what_it_saw():
    """Before the sample mends anything: a callback sees the steps themselves."""
    X, y = small_data(n_bins=8000)
    at, batches = [], [(X[i : i + 200], y[i : i + 200]) for i in range(0, 8000, 200)]
    PopulationGLM().fit_batches(batches, 40, callback=lambda step, loss, params: at.append(params))
    for step in (5, 20, 39):
        seen = X[: 200 * step], y[: 200 * step]
        full = PopulationGLM().fit(*seen)
        here = SimpleNamespace(coef_=at[step - 1][0], intercept_=at[step - 1][1])
        nats = (loss(here, *seen) - loss(full, *seen)) * 200 * step
        assert nats.max() < 2, (step, nats)


def test_passes_that_show_other_bins_are_not_compared():
    class Fresh:
        """Ten windows at other places every time."""

        seed = 0

        def __iter__(self):
            self.seed += 1
            return (item for item, _ in zip(endless(X, y, self.seed), range(10), strict=False))

    X, y = small_data(n_bins=8000)
    full = PopulationGLM().fit(X, y)
    model = PopulationGLM().fit_batches(Fresh(), n_steps=400)
    assert falls_short(model, full, X, y).max() < 0.7


def test_an_ended_generator_is_said_and_nothing_is_lost():
    X, y = small_data()
    once = (pair for pair in sequential_blocks(X, y, 100))
    with pytest.warns(RuntimeWarning, match="ended after 6 of 100 steps"):
        model = PopulationGLM().fit_batches(once, n_steps=100)
    assert model.n_iter_.tolist() == [6, 6, 6]


@pytest.mark.parametrize("cut", [5, 21, 30, 50])
def test_a_fit_goes_on_where_it_stopped(cut):
    X, y = small_data(n_bins=4000)
    windows = random_windows(X, y, 200, seed=0)
    whole = PopulationGLM().fit_batches(windows, n_steps=70)
    part = PopulationGLM().fit_batches(windows, n_steps=cut)
    params = part.coef_, part.intercept_
    for _ in range(2):  # going on leaves the state as it was
        rest = PopulationGLM().fit_batches(windows, n_steps=70 - cut, init=(params, part.batch_state_))
        np.testing.assert_allclose(rest.coef_, whole.coef_, atol=1e-6)


# Hard data: batches in time order, which see something new late


def late_source(X):
    X[:1000, 0] *= 1e-4


def outlier(X):
    X[2000] *= 60


def heavy_tails(X):
    X[:] = np.exp(2 * X)


@pytest.mark.parametrize("change", [late_source, outlier, heavy_tails], ids=lambda change: change.__name__)
def test_rows_unlike_those_before_do_not_ruin_the_fit(change):
    X, y = small_data(n_bins=4000)
    change(X)
    y = np.random.default_rng(1).poisson(np.exp(np.log1p(np.abs(X)) * np.sign(X) @ np.full((4, 3), 0.2) - 1)) * 1.0
    batches = [(X[at : at + 400], y[at : at + 400]) for at in range(0, 4000, 400)]
    full = PopulationGLM().fit(X, y).score(X, y, "pseudo-r2-McFadden")
    one, three = (PopulationGLM().fit_batches(batches, n_steps=n).score(X, y, "pseudo-r2-McFadden") for n in (10, 30))
    assert one > 0.1 * full and three > 0.85 * full, (one, three, full)


def test_a_bad_start_is_left():
    X, y = small_data(n_bins=4000)
    windows = random_windows(X, y, 200, seed=0)
    far = (np.full((4, 3), 50.0), np.full(3, 100.0))
    model = PopulationGLM().fit_batches(windows, n_steps=5 * len(windows), init=(far, None))
    np.testing.assert_allclose(model.coef_, PopulationGLM().fit(X, y).coef_, atol=1e-4)


@pytest.mark.parametrize("offset", [100.0, 1e4])
def test_features_far_from_0(offset):
    X, y = small_data(n_bins=4000)
    X[:, 0] += offset
    windows = random_windows(X, y, 400, seed=0)
    full, model = PopulationGLM().fit(X, y), PopulationGLM().fit_batches(windows, n_steps=5 * len(windows))
    np.testing.assert_allclose(model.coef_, full.coef_, atol=1e-4)
    with pytest.raises(ValueError, match="Subtract its mean"):
        PopulationGLM().fit_batches([(X + 1e6, y)], n_steps=1)


def test_activity_that_is_not_whole_numbers_reaches_the_optimum():
    X, y = small_data(n_bins=4000)
    y = np.abs(y + np.random.default_rng(0).normal(scale=0.3, size=y.shape))
    windows = random_windows(X, y, 200, seed=0)
    assert PopulationGLM().fit_batches(windows, n_steps=10 * len(windows)).converged_.all()


def test_many_neurons_keep_a_small_sample():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 2)), rng.poisson(0.2, (2000, 100)).astype(float)
    sample = PopulationGLM().fit_batches([(X, y)], n_steps=1).batch_state_.solver_state.totals.sample
    assert sum(rows.nbytes for rows in sample.arrays) < 33e6


def test_neurons_that_failed_are_named():
    X, y = small_data(n_bins=400)
    named = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 1e6, "acceleration": False})
    with pytest.warns(RuntimeWarning, match="neuron 0, 1, 2: the fit met round-off"):
        named.fit_batches([(X, y)], n_steps=20)


# The sample


def rarely_active(n_bins=60_000, seed=0):
    """Neurons with few events per feature, features that are 0 nearly everywhere."""
    rng = np.random.default_rng(seed)
    X = rng.exponential(size=(n_bins, 12)) * (rng.random((n_bins, 12)) < 0.05)
    coef = rng.normal(size=(12, 4)) * 0.4
    return X, rng.poisson(np.exp(X @ coef - 5)).astype(float)


@pytest.mark.parametrize("capacity", [10**9, 200_000], ids=["all rows", "some rows"])
def test_windows_seen_once_give_nearly_the_fit_to_them(monkeypatch, capacity):
    monkeypatch.setattr("popglm.batching._sample.MAX_SAMPLE_ENTRIES", capacity)  # 10,000 rows of 60,000, of 20 entries
    X, y = rarely_active()
    batches = [(X[at : at + 1000], y[at : at + 1000]) for at in range(0, len(X), 1000)]
    model, full = PopulationGLM().fit_batches(batches, n_steps=60), PopulationGLM().fit(X, y)
    best, null = loss(full, X, y), y.mean(0) - y.mean(0) * np.log(y.mean(0))
    share = 1 - (loss(model, X, y) - best).sum() / (null - best).sum()
    assert (model.batch_state_.solver_state.totals.sample.share == 1) == (capacity > 10**6)
    assert share > 0.99


def test_what_the_sample_tells_has_the_gradient_of_all_rows(monkeypatch):
    """Where the parameters have not moved since the rows were met, whichever rows are in the sample."""
    monkeypatch.setattr("popglm.batching._sample.MAX_SAMPLE_ENTRIES", 3000)
    X, y = rarely_active(8000)
    full = PopulationGLM(regularizer="Ridge", regularizer_strength=1e-3).fit(X, y)
    batches = [(X[at : at + 500], y[at : at + 500]) for at in range(0, len(X), 500)]
    init = (full.coef_, full.intercept_), None
    monkeypatch.setattr(
        "popglm.batching._first_pass.MAX_RMS_ETA_CHANGE", 1e-9
    )  # the steps stay where they are, at the optimum
    model = PopulationGLM(regularizer="Ridge", regularizer_strength=1e-3).fit_batches(batches, n_steps=16, init=init)
    assert model.batch_state_.solver_state.totals.sample.share < 1
    np.testing.assert_allclose(model.coef_, full.coef_, atol=0.02)


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_bins_without_activity_do_not_count_in_the_sample(part):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40_000, 20))
    y = rng.poisson(np.exp(X @ rng.normal(size=(20, 4)) * 0.3 - 2)).astype(float)
    y[rng.random(len(y)) < part] = np.nan  # of all neurons
    y[rng.random(len(y)) < 0.9, 0] = np.nan  # and more of one
    batches = [(X[at : at + 1000], y[at : at + 1000]) for at in range(0, len(X), 1000)]
    model, full = PopulationGLM().fit_batches(batches, n_steps=40), PopulationGLM().fit(X, y)
    excess = (loss(model, X, y) - loss(full, X, y)) * (~np.isnan(y)).sum(0)
    assert (excess < 0.5).all()
    single = GLM().fit_batches([(x, some[:, 1]) for x, some in batches], n_steps=40)
    np.testing.assert_allclose(single.coef_, full.coef_[:, 1], atol=0.01)


def test_held_out_data_see_the_end_of_the_pass_too():
    X, y = rarely_active(20_000)
    batches = [(X[at : at + 1000], y[at : at + 1000]) for at in range(0, 16_000, 1000)]
    test = X[16_000:], y[16_000:]
    plain = PopulationGLM().fit_batches(batches, n_steps=16)
    watched = PopulationGLM().fit_batches(batches, n_steps=16, held_out=test, check_every=4)
    assert watched.score(*test) >= max(*watched.history_["score"], plain.score(*test)) - 1e-7


# Ends and goings on


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_stop_at_the_end_of_a_pass_loses_nothing(passes):
    X, y = small_data(n_bins=4000)
    batches = [(X[at : at + 400], y[at : at + 400]) for at in range(0, 4000, 400)]
    whole = PopulationGLM().fit_batches(batches, n_steps=45)
    part = PopulationGLM().fit_batches(batches, n_steps=45, callback=lambda n, *_: n == 10 * passes)
    init = (part.coef_, part.intercept_), part.batch_state_
    rest = PopulationGLM().fit_batches(batches, n_steps=45 - 10 * passes, init=init)
    np.testing.assert_allclose(rest.coef_, whole.coef_, atol=1e-6)


@pytest.mark.parametrize("n_steps", [3, 4, 14])
def test_a_dispersion_is_estimated_wherever_the_run_ends(n_steps):
    """In the first pass, at its end, and amid an exact pass."""
    X, y = small_data(n_bins=4000)
    y = np.random.default_rng(0).negative_binomial(2, 2 / (2 + np.exp(0.3 * X[:, :3])))
    batches = [(X[at : at + 1000], y[at : at + 1000]) for at in range(0, 4000, 1000)]
    n_seen = 1000 * min(n_steps, 4)
    exact = PopulationGLM("NegativeBinomial").fit(X[:n_seen], y[:n_seen])
    model = PopulationGLM("NegativeBinomial").fit_batches(batches, n_steps)
    np.testing.assert_allclose(model.scale_, exact.scale_, rtol=0.02)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=0.01)


def test_a_generator_loses_no_batch():
    X, y = small_data()
    batches = iter([(X[at : at + 100], y[at : at + 100]) for at in range(0, 600, 100)])
    first = PopulationGLM().fit_batches(batches, n_steps=3)
    init = (first.coef_, first.intercept_), first.batch_state_
    with pytest.warns(RuntimeWarning, match="ended after 3 of 9"):
        PopulationGLM().fit_batches(batches, n_steps=9, init=init)


@pytest.mark.parametrize("n_steps", [10, 99])
def test_a_second_generator_teaches_as_much_as_the_first(n_steps):
    """Whether the first one ran out or the steps were as many as it had."""
    X, y = small_data(n_bins=4000)
    pairs = lambda first, last: ((X[at : at + 200], y[at : at + 200]) for at in range(first, last, 200))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the batches ended")
        model = PopulationGLM().fit_batches(pairs(0, 2000), n_steps)
        both = PopulationGLM().fit_batches(
            pairs(2000, 4000), n_steps, init=((model.coef_, model.intercept_), model.batch_state_)
        )
        in_one_go = PopulationGLM().fit_batches(pairs(0, 4000), 20)
    np.testing.assert_allclose(both.coef_, PopulationGLM().fit(X, y).coef_, atol=1e-3)
    np.testing.assert_allclose(both.coef_, in_one_go.coef_, atol=1e-4)


def test_residuals_are_computed_of_rows_that_are_kept(monkeypatch):
    """Of the others nobody needs them; those that are kept are what the rows have where their batch was met."""
    monkeypatch.setattr("popglm.batching._sample.MAX_SAMPLE_ROWS", 500)
    X, y = small_data(n_bins=4000)
    computed, residuals = [], _batch_residuals
    monkeypatch.setattr(
        "popglm.batching._first_pass._batch_residuals",
        lambda *args: computed.append((residuals(*args), *args)) or computed[-1][0],
    )
    PopulationGLM().fit_batches(random_windows(X, y, 250, seed=0), 16)
    assert len(computed) == 16 and sum(len(rows) for rows, *_ in computed) < 1500
    for found, _, coef, intercept, n_rows, rows, counts, offset in computed:
        assert n_rows == 250 and offset is None and len(found) == len(rows)
        np.testing.assert_allclose(found, np.exp(rows @ coef.T + intercept) - counts, rtol=1e-4, atol=1e-5)


def test_names_are_those_of_the_last_fit():
    X, y = small_data()
    named, other = (pandas.DataFrame(X, columns=list(names)) for names in ("wxyz", "abcd"))
    model = PopulationGLM().fit(named, y).fit_batches([(other, y)], n_steps=4, held_out=(other, y), check_every=2)
    assert model.feature_names_in_.tolist() == list("abcd")
    assert not hasattr(model.fit(named, y), "batch_state_")
    with pytest.raises(ValueError, match="columns of the first"):
        PopulationGLM().fit_batches([(other, y), (other[list("dcba")], y)], n_steps=2)


def test_going_on_with_other_data_is_refused():
    X, y = small_data()
    model = PopulationGLM().fit_batches([(X, y)], n_steps=1)
    with pytest.raises(ValueError, match="as the first"):
        PopulationGLM().fit_batches(
            [(X[:, :2], y)], n_steps=1, init=((model.coef_, model.intercept_), model.batch_state_)
        )


# Other solvers


def test_a_named_solver_takes_the_steps_of_update():
    X, y = small_data()
    windows = random_windows(X, y, 150, seed=0)
    model = PopulationGLM(**PLAIN)
    params = model.initialize_params(*next(windows.of_pass(0)))
    state = model.initialize_state(*next(windows.of_pass(0)), params)
    for number in range(2):
        for batch in windows.of_pass(number):
            params, state = model.update(params, state, *batch)
    n_steps = sum(len(list(windows.of_pass(number))) for number in range(2))
    fitted = PopulationGLM(**PLAIN).fit_batches(windows, n_steps=n_steps)
    np.testing.assert_allclose(fitted.coef_, params[0], atol=1e-6)
    np.testing.assert_allclose(fitted.intercept_, params[1], atol=1e-6)


class Descent:
    """Gradient descent as optax has it."""

    def init(self, params):
        return ()

    def update(self, gradient, state, params):
        return jax.tree.map(lambda g: -0.1 * g, gradient), state


def test_a_solver_like_those_of_optax():
    X, y = small_data()
    windows = random_windows(X, y, 150, seed=0)
    by_name = PopulationGLM(**PLAIN).fit_batches(windows, n_steps=12)
    by_object = PopulationGLM().fit_batches(windows, n_steps=12, solver=Descent())
    np.testing.assert_allclose(by_object.coef_, by_name.coef_, atol=1e-6)


# What it tells, and when it ends


def test_history_callback_and_progress(capsys):
    X, y = small_data()
    windows, seen = random_windows(X, y, 150, seed=0), []

    def watch(n, loss, params):
        seen.append((n, loss, params[0].shape))
        return n == 7

    model = PopulationGLM().fit_batches(windows, n_steps=50, callback=watch, progress=True)
    assert [n for n, *_ in seen] == list(range(1, 8)) and model.n_iter_[0] == 7
    assert model.history_["loss"] == [loss for _, loss, _ in seen] and seen[0][2] == (4, 3)
    assert "7/50" in capsys.readouterr().err


def test_held_out_data_end_the_fit_and_keep_the_best():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 60)), rng.poisson(0.5, (400, 2))  # nothing to find: every step overfits
    held_out = rng.normal(size=(400, 60)), rng.poisson(0.5, (400, 2))
    windows = random_windows(X, y, 50, seed=0)
    model = PopulationGLM().fit_batches(windows, n_steps=200, held_out=held_out, check_every=2, patience=3)
    history = model.history_
    assert model.n_iter_[0] < 200 and history["checked"][:3] == [2, 4, 6]
    assert model.score(*held_out) == pytest.approx(max(history["score"]), abs=1e-6)


def test_the_fit_knows_what_a_fit_knows(recording):
    X = nap.TsdFrame(
        t=recording.t, d=np.random.default_rng(0).normal(size=(270, 2)), columns=["p", "q"],
        time_support=recording.time_support,
    )  # fmt: skip
    windows = random_windows(X, recording, 40, seed=0)
    model = PopulationGLM().fit_batches(windows, n_steps=3 * len(windows))
    assert list(model.predict(X).columns) == ["a", "b", "c"] and model.feature_names_in_.tolist() == ["p", "q"]
    full = PopulationGLM().fit(X, recording)
    scores = [m.score(X, recording, "pseudo-r2-McFadden", null="train") for m in (model, full)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


REFUSED = {
    "no batches": (lambda X, y: {"batches": [], "n_steps": 3}, ValueError, "empty"),
    "one pair": (lambda X, y: {"batches": (X, y), "n_steps": 3}, TypeError, "many of them"),
    "a number": (lambda X, y: {"batches": 3, "n_steps": 3}, TypeError, "pairs"),
    "three parts": (lambda X, y: {"batches": [(X, y, y)], "n_steps": 3}, TypeError, "pairs"),
    "no steps": (lambda X, y: {"batches": [(X, y)], "n_steps": 0}, ValueError, "n_steps"),
    "other features": (lambda X, y: {"batches": [(X, y), (X[:, :2], y)], "n_steps": 3}, ValueError, "as the first"),
    "no valid bin": (lambda X, y: {"batches": [(np.nan * X, y)], "n_steps": 3}, ValueError, "no bin is valid"),
    "negative counts": (lambda X, y: {"batches": [(X, -y)], "n_steps": 3}, ValueError, "zero or positive"),
    "bare params": (lambda X, y: {"batches": [(X, y)], "n_steps": 3, "init": (X[0], y[0])}, TypeError, "pair"),
    "a wrong state": (
        lambda X, y: {"batches": [(X, y)], "n_steps": 3, "init": ((np.zeros((4, 3)), np.zeros(3)), 5)},
        TypeError,
        "batch_state_",
    ),
    "no solver": (lambda X, y: {"batches": [(X, y)], "n_steps": 3, "solver": "adam"}, TypeError, "init"),
    "held-out features alone": (lambda X, y: {"batches": [(X, y)], "n_steps": 3, "held_out": X}, TypeError, "held_out"),
    "a callback": (lambda X, y: {"batches": [(X, y)], "n_steps": 3, "callback": 3}, TypeError, "callback"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case, data):
    make, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        PopulationGLM().fit_batches(**make(*data))


@pytest.mark.parametrize(
    "kwargs", [{"n_bins": 0, "seed": 0}, {"n_bins": 5, "seed": -1}, {"n_bins": 5, "seed": None}], ids=str
)
def test_windows_refuse(kwargs, data):
    with pytest.raises(ValueError, match=r"n_bins|seed"):
        random_windows(*data, **kwargs)


def test_a_state_of_another_solver_is_refused(data):
    first = PopulationGLM(**PLAIN).fit_batches([data], n_steps=2)
    with pytest.raises(TypeError, match="GradientDescent, not of"):
        PopulationGLM().fit_batches([data], n_steps=2, init=((first.coef_, first.intercept_), first.batch_state_))


def test_a_solver_that_searches_is_warned_of(data):
    with pytest.warns(UserWarning, match="wrong for batches"):
        PopulationGLM(solver_name="LBFGS").fit_batches([data], n_steps=1)


@pytest.mark.parametrize("settings", [{}, PLAIN], ids=["default", "named"])
def test_what_was_fitted_can_be_pickled_and_goes_on(data, settings):
    whole = PopulationGLM(**settings).fit_batches([data], n_steps=6)
    part = pickle.loads(pickle.dumps(PopulationGLM(**settings).fit_batches([data], n_steps=2)))
    params = part.coef_, part.intercept_
    rest = PopulationGLM(**settings).fit_batches([data], n_steps=4, init=(params, part.batch_state_))
    np.testing.assert_allclose(rest.coef_, whole.coef_, atol=1e-6)
