"""Batches with weights and offsets: a weight counts its row that often, an offset is an input whose coefficient is 1."""

import jax
import numpy as np
import pytest
from samples import sample_cases

from popglm._files.checkpoint import Checkpoint
from popglm.batching import random_windows, sequential_blocks
from popglm.glm import PopulationGLM

pytestmark = pytest.mark.usefixtures("float64")

PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(1200, 3))
OFFSET = RNG.normal(size=1200) - 1
WEIGHT = RNG.integers(0, 4, 1200).astype(float)
MEAN = np.exp(X @ [[0.3, -0.2], [0.1, 0.4], [0.0, 0.2]] + 0.5 + OFFSET[:, None])
Y = RNG.poisson(MEAN).astype(float)
ACTIVITY = {
    "Poisson": Y,
    "Gamma": MEAN * RNG.gamma(2, 0.5, MEAN.shape),
    "NegativeBinomial": RNG.negative_binomial(2, 2 / (2 + 3 * MEAN)).astype(float),
    "Gaussian": 1e3 + np.log(MEAN) + RNG.normal(size=MEAN.shape),
}


def windows(y=Y, sample_weight=WEIGHT, offset=OFFSET, n_bins=300):
    return random_windows(X, y, n_bins, seed=0, sample_weight=sample_weight, offset=offset)


def fit(batches, passes=30, model="Poisson", **settings):
    return PopulationGLM(model, **settings).fit_batches(batches, passes * 5)


def same(a, b, rtol=0.0, atol=0.0, names=("coef_", "intercept_", "scale_", "_train_mean")):
    for name in names:
        np.testing.assert_allclose(getattr(a, name, 1), getattr(b, name, 1), rtol=rtol, atol=atol, err_msg=name)


# What weights and offsets mean


@pytest.mark.parametrize("model", sample_cases(ACTIVITY, 3))
def test_passes_reach_the_fit_to_all(model):
    y = ACTIVITY[model]
    batches, full = fit(windows(y), 40, model), PopulationGLM(model).fit(X, y, sample_weight=WEIGHT, offset=OFFSET)
    assert batches.converged_.all()
    same(batches, full, 1e-6, 1e-6, ("coef_", "intercept_", "scale_"))


def test_a_weight_counts_its_row_that_often():
    often = np.repeat(np.arange(1200), WEIGHT.astype(int))
    expected = PopulationGLM("Gamma").fit(X[often], ACTIVITY["Gamma"][often])
    same(fit(windows(ACTIVITY["Gamma"], offset=None), 30, "Gamma"), expected, 1e-6, 1e-6)


@pytest.mark.parametrize("passes", [1, 30])
def test_a_row_of_weight_0_is_a_missing_one(passes):
    out = RNG.random(Y.shape) < 0.2
    missing = fit(windows(np.where(out, np.nan, Y), None, None), passes)
    same(fit(windows(Y, np.where(out, 0.0, 1.0), None), passes), missing, 1e-7, 1e-7)
    same(fit(windows(Y, np.where(out, np.nan, 1.0), None), passes), missing, 1e-7, 1e-7)


@pytest.mark.parametrize("factor", [1e-4, 1e4])
@pytest.mark.parametrize("passes", [1, 30])
def test_the_unit_of_weights_does_not_matter(passes, factor):
    names = "coef_", "intercept_", "_train_mean", "converged_", "n_iter_"
    settings = {"regularizer": "Ridge", "regularizer_strength": 0.01}
    scaled = fit(windows(sample_weight=factor * WEIGHT), passes, **settings)
    same(scaled, fit(windows(), passes, **settings), 1e-5, 1e-5, names[:3] if factor > 1 else names)


def test_an_offset_is_an_input_with_a_coefficient_of_1():
    """Half of a feature as an offset leaves half of it less to be fitted; the null model is that of the offset."""
    half, plain = fit(windows(offset=OFFSET + X[:, 0] / 2)), fit(windows())
    np.testing.assert_allclose(half.coef_ - plain.coef_, [[-0.5] * 2, [0] * 2, [0] * 2], atol=1e-6)
    exposure = np.exp(OFFSET)[:, None] * WEIGHT[:, None]
    np.testing.assert_allclose(plain._train_mean, (WEIGHT @ Y) / exposure.sum(0), rtol=1e-6)


def test_a_missing_offset_leaves_its_bin_out():
    out = RNG.random(1200) < 0.2
    left_out = fit(windows(sample_weight=np.where(out, 0, WEIGHT)))
    same(fit(windows(offset=np.where(out, np.nan, OFFSET))), left_out, 1e-7, 1e-7)


def test_one_number_for_all_neurons_is_one_for_each():
    tile = lambda values: np.tile(values[:, None], 2)
    same(fit(windows(sample_weight=tile(WEIGHT), offset=tile(OFFSET)), 3), fit(windows(), 3), 1e-9, 1e-9)


@pytest.mark.parametrize("passes", [1, 3])
def test_nothing_given_changes_nothing(passes):
    pairs = list(windows(Y, None, None))
    plain = fit(pairs, passes)
    same(fit([(*pair, None, None) for pair in pairs], passes), plain)
    same(fit([(*pair, np.ones(300), None) for pair in pairs], passes), plain, 1e-9, 1e-9)


def test_a_sample_of_heavy_and_light_rows_is_unbiased(monkeypatch):
    """One row in 20 counts as often as all others together, and the sample has room for a third of the rows."""
    monkeypatch.setattr("popglm.batching._sample.MAX_SAMPLE_ROWS", 400)
    weight = np.where(RNG.random(1200) < 0.05, 20.0, 1.0)
    data = {"sample_weight": weight, "offset": OFFSET}
    model, full = fit(windows(**data), 1), PopulationGLM().fit(X, Y, **data)
    rows = model.batch_state_.solver_state.totals.sample.rows
    assert len(rows.X) <= 400 and (rows.weight == 20).sum() == (weight == 20).sum()
    lost = (full.score(X, Y, **data) - model.score(X, Y, **data)) * 2 * weight.sum()
    assert lost < 2  # nats; the noise of the data costs 4


# Windows


def test_windows_are_pairs_or_fours():
    batch = next(iter(windows(sample_weight=None)))
    assert len(next(iter(windows(Y, None, None)))) == 2 and len(batch) == 4 and batch[2] is None
    blocks = sequential_blocks(X, Y, 500, sample_weight=WEIGHT, offset=Y)
    for parts, whole in zip(zip(*blocks, strict=True), (X, Y, WEIGHT, Y), strict=True):
        part = np.concatenate(parts)
        assert np.array_equal(part[:1200], whole) and np.isnan(part[1200:]).all()


def test_streams_are_read_in_windows(tmp_path):
    files = []
    for name, values in (("weight", WEIGHT), ("offset", OFFSET)):
        np.save(tmp_path / f"{name}.npy", values)
        files.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    same(fit(windows(Y, *files), 1), fit(windows(), 1))


def test_windows_without_weight_are_left_out():
    weight = np.where(np.arange(1200) < 600, 0.0, 1.0)
    assert len(list(sequential_blocks(X, Y, 300, sample_weight=weight))) == 2


# Solvers and held-out data


class Descent:
    """Gradient descent as optax has it."""

    def init(self, params):
        return ()

    def update(self, gradient, state, params):
        return jax.tree.map(lambda g: -0.1 * g, gradient), state


def test_solvers_of_the_user_take_the_steps_of_update():
    batches, model = list(windows()), PopulationGLM(**PLAIN)
    rows = lambda batch: {"sample_weight": batch[2], "offset": batch[3]}
    params = model.initialize_params(*batches[0][:2], **rows(batches[0]))
    state = model.initialize_state(*batches[0][:2], params, **rows(batches[0]))
    for batch in batches:
        params, state = model.update(params, state, *batch[:2], **rows(batch))
    by_name = PopulationGLM(**PLAIN).fit_batches(batches, len(batches))
    by_object = PopulationGLM().fit_batches(batches, len(batches), solver=Descent())
    for fitted in (by_name, by_object):
        np.testing.assert_allclose(fitted.coef_, params[0], atol=1e-9)
        np.testing.assert_allclose(fitted.intercept_, params[1], atol=1e-9)


def test_held_out_data_may_have_weights_and_offsets():
    held_out = X, Y, WEIGHT, OFFSET
    model = PopulationGLM().fit_batches(windows(), 5, held_out=held_out, check_every=5)
    assert max(model.history_["score"]) <= model.score(X, Y, sample_weight=WEIGHT, offset=OFFSET) + 1e-12


# Checkpoints


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def test_a_stopped_run_goes_on_bitwise(monkeypatch, tmp_path):
    """Written at every step, stopped at every third: in the first pass, at its end, amid exact passes."""
    path, expected, written, close = tmp_path / "run.npz", fit(windows(), 6), [0], Checkpoint.close

    def close_and_stop(self):
        close(self)
        written[0] += 1
        if written[0] % 3 == 0:
            raise Interrupted

    monkeypatch.setattr("popglm._files.checkpoint.SAVE_INTERVAL", 0.0)
    monkeypatch.setattr(Checkpoint, "close", close_and_stop)
    for _ in range(40):
        try:
            model = PopulationGLM().fit_batches(windows(), 30, checkpoint=path)
            break
        except Interrupted:
            pass
    same(model, expected)
    assert model.history_ == expected.history_ and written[0] > 20


@pytest.mark.parametrize("as_source", [lambda source: source, list, iter], ids=["windows", "a list", "a generator"])
@pytest.mark.parametrize(
    "other", [(2 * WEIGHT, OFFSET), (WEIGHT, 2 * OFFSET), (OFFSET**2, None), (None, OFFSET)], ids=["w", "o", "-o", "-w"]
)
def test_a_checkpoint_knows_weights_and_offsets(tmp_path, as_source, other):
    PopulationGLM(**PLAIN).fit_batches(as_source(windows()), 2, checkpoint=tmp_path / "run.npz")
    with pytest.raises(ValueError, match=r"another fit|other data"):
        PopulationGLM(**PLAIN).fit_batches(as_source(windows(Y, *other)), 3, checkpoint=tmp_path / "run.npz")


# Refusals

REFUSED = {
    "three parts": ([(X, Y, WEIGHT)], TypeError, r"got a tuple of 3.*\(X, y, sample_weight, None\)"),
    "a negative weight": ([(X, Y, WEIGHT - 1, None)], ValueError, "must not be below 0"),
    "an infinite offset": ([(X, Y, None, np.full(1200, np.inf))], ValueError, "offset"),
    "too few weights": ([(X, Y, WEIGHT[:-1], None)], ValueError, "sample_weight"),
    "no weight": ([(X, Y, 0 * WEIGHT, None)], ValueError, "no bin is valid"),
    "weights that come later": ([(X, Y), (X, Y, WEIGHT, None)], ValueError, "Give ones for the weights"),
    "one batch": ((X, Y, WEIGHT, OFFSET), TypeError, r"\[\(X, y\)\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_batches_are_refused(case):
    batches, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        PopulationGLM().fit_batches(batches, 2)


def test_the_fixes_of_the_messages_work():
    fit([(X, Y, WEIGHT, None)], 1)
    fit([(X, Y, np.ones(1200), None), (X, Y, WEIGHT, None)], 1)


def test_windows_refuse_negative_weights():
    with pytest.raises(ValueError, match="must not be below 0"):
        windows(sample_weight=WEIGHT - 1)
    with pytest.raises(ValueError, match="sample_weight"):
        sequential_blocks(X, Y, 100, sample_weight=WEIGHT[:5])
