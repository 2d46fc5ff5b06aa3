"""Comparison of variants: fits one by one, nested searches by hand, and intervals that cover the gain on fresh recordings."""

import warnings

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from samples import small_data
from scipy import stats

from popglm import observation_models
from popglm.basis import BSplineEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.model_selection import BlockSplit, Comparison, _comparison, compare
from popglm.model_selection._comparison_result import GainSums
from popglm.regularizer import ElasticNet, Ridge

SPLITS = BlockSplit(3, window=3)
VARIANTS = {"none": [], "first": np.array([1, 1, 0, 0]), "all": np.ones(4)}


def observed(name, X, rng):
    """Activity of three neurons in the support of the model of this name."""
    mean = np.exp(0.5 * X[:, :1] + [-1.0, 0.0, 0.5])
    noise = rng.normal(size=mean.shape)
    kinds = {"Poisson": lambda: rng.poisson(mean), "Bernoulli": lambda: rng.random(mean.shape) < 1 - np.exp(-mean)}
    kinds |= {
        "Gaussian": lambda: 1e3 + mean + noise,
        "NegativeBinomial": lambda: rng.poisson(mean * np.exp(0.7 * noise)),
    }
    return kinds[name]()


def log_likelihoods(name, model, X, y, residuals):
    """Log-likelihoods of every bin, by scipy, at the parameters of a fit, and its scale or that of training residuals."""
    mean, scale = np.asarray(model.predict(X)), np.asarray(model.scale_)
    if name == "Gaussian":
        return stats.norm.logpdf(y, mean, np.sqrt((residuals**2).mean(0)))
    if name == "NegativeBinomial":
        return stats.nbinom.logpmf(y, 1 / scale, 1 / (1 + scale * mean))
    return stats.poisson.logpmf(y, mean) if name == "Poisson" else stats.bernoulli.logpmf(y, mean)


def by_hand(name, X, y, splits=SPLITS, **settings):
    """Mean held-out log-likelihoods of variants that are fitted one by one, (variants, neurons)."""
    sums = []
    for features in ([], [0, 1], [0, 1, 2, 3]):
        chosen = X * np.isin(np.arange(X.shape[1]), features)  # zeros for the rest: fits of one shape compile once
        parts = []
        for train, test in splits.split(X):
            model = PopulationGLM(observation_model=name, **settings)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                model.fit(chosen[train], y[train])
            residuals = y[train] - np.asarray(model.predict(chosen[train]))
            parts.append(log_likelihoods(name, model, chosen[test], y[test], residuals))
        sums.append(np.concatenate(parts).mean(0))
    return np.array(sums)


@pytest.mark.parametrize("name", ["Poisson", "Bernoulli", "Gaussian", "NegativeBinomial"])
def test_scores_are_those_of_fits_one_by_one(float64, name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    y = observed(name, X, rng)
    options = {"solver_kwargs": {"tol": 1e-14}}
    result = compare(PopulationGLM(observation_model=name, **options), VARIANTS, X, y, SPLITS)
    expected = by_hand(name, X, y, **options)
    np.testing.assert_allclose(result.scores.to_numpy().T, expected, rtol=1e-6)
    gain = result.gain("all", "first")["gain"]
    np.testing.assert_allclose(gain, expected[2] - expected[1], rtol=1e-4, atol=1e-6)


def nested_by_hand(X, y, mask, strengths):
    """Number of the best strength of each fold: by fits to the training rows without those of another fold."""
    folds, best = list(SPLITS.split(X)), []
    for k, (train, _) in enumerate(folds):
        total = np.zeros((len(strengths), y.shape[1]))
        for inner_train, inner_test in (fold for j, fold in enumerate(folds) if j != k):
            rows, test = np.intersect1d(train, inner_train), np.intersect1d(train, inner_test)
            for i, strength in enumerate(strengths):
                model = PopulationGLM(regularizer="Ridge", regularizer_strength=strength).fit(X[rows] * mask, y[rows])
                total[i] += stats.poisson.logpmf(y[test], np.asarray(model.predict(X[test] * mask))).sum(0)
        best.append(len(strengths) - 1 - np.argmax((total == total.max(0))[::-1], 0))
    return np.array(best)


def test_strengths_are_chosen_inside_the_training_rows(float64):
    X, y = small_data(3, n_bins=300)
    strengths = np.geomspace(1e-3, 3, 4)
    variants = {"first": np.array([1, 1, 0, 0]), "all": np.ones(4)}
    result = compare(PopulationGLM(regularizer="Ridge"), variants, X, y, SPLITS, strengths=strengths)
    for i, mask in enumerate(variants.values()):
        np.testing.assert_array_equal(result.strengths[:, i], strengths[nested_by_hand(X, y, mask, strengths)])
    fixed = compare(PopulationGLM(regularizer="Ridge", regularizer_strength=3.0), variants, X, y, SPLITS)
    same = compare(PopulationGLM(regularizer="Ridge"), variants, X, y, SPLITS, strengths=[3.0])
    np.testing.assert_allclose(fixed.scores, same.scores, rtol=1e-9)
    assert fixed.strengths is None and (same.strengths == 3).all()


def test_an_automatic_path_begins_where_all_coefficients_are_0():
    X, y = small_data(4, n_bins=300)
    model = PopulationGLM(regularizer="Lasso")
    result = compare(model, VARIANTS, X, y, SPLITS, n_strengths=3)
    path = model.fit_path(X, y, n_strengths=3).strengths
    assert np.isin(np.round(result.strengths / path.max(), 6), np.round(path / path.max(), 6)).all()


def behaviour_and_counts(n_bins=600):
    rng = np.random.default_rng(1)
    times = nap.Ts(np.arange(n_bins) * 0.01 + 0.005)
    counts = nap.TsdFrame(times.t, rng.poisson(0.3, (n_bins, 2)), columns=["a", "b"])
    return nap.Tsd(times.t, rng.uniform(0, 1, n_bins)), counts


def test_inputs_are_named_by_labels():
    speed, counts = behaviour_and_counts()
    basis = BSplineEval(4, bounds=(0, 1), label="speed") + RaisedCosineLogConv(2, window_size=5, label="coupling")
    lazy, features = basis.lazy_features(speed, counts), basis.compute_features(speed, counts)
    variants = {"speed": "speed", "self": ["coupling/a"], "both": ["speed", "coupling"]}
    by_mask = {"speed": [1] * 4 + [0] * 4, "self": [0] * 4 + [1, 1, 0, 0], "both": [1] * 8}
    by_mask = {name: np.array(mask) for name, mask in by_mask.items()}
    model = PopulationGLM(regularizer="Ridge", regularizer_strength=0.01)
    first = compare(model, variants, lazy, counts, SPLITS)
    assert list(first.scores.columns) == ["speed", "self", "both"] and list(first.scores.index) == ["a", "b"]
    for X, chosen in ((lazy, by_mask), (features, variants)):
        np.testing.assert_allclose(compare(model, chosen, X, counts, SPLITS).scores, first.scores, rtol=1e-5)
    left_out = compare(model, "leave-one-out", lazy, counts, SPLITS)
    assert left_out.names == ("all", "without speed", "without coupling")
    np.testing.assert_allclose(left_out.scores["all"], first.scores["both"], rtol=1e-6)
    np.testing.assert_allclose(left_out.scores["without coupling"], first.scores["speed"], rtol=1e-6)
    table = pd.DataFrame(np.asarray(speed)[:, None] ** [1, 2], columns=["line", "square"])
    assert compare(model, "leave-one-out", table, counts.values, SPLITS).names == (
        "all",
        "without line",
        "without square",
    )


def test_a_bin_counts_if_all_variants_know_it():
    X, y = small_data(5, n_bins=300)
    X = X.copy()
    X[40:80, 3] = np.nan
    result = compare(PopulationGLM(), VARIANTS, X, y, SPLITS)
    weights = np.ones(300)
    weights[40:80] = 0
    known = compare(PopulationGLM(), VARIANTS, np.nan_to_num(X), y, SPLITS, sample_weight=weights)
    assert (result.sums.bins.sum(0) == 260).all()
    np.testing.assert_allclose(result.scores, known.scores, rtol=1e-6)


def test_weights_and_offsets_of_each_neuron(float64):
    X, y = small_data(6, n_bins=300)
    rng = np.random.default_rng(0)
    weight, offset = rng.integers(0, 3, y.shape), 0.3 * rng.normal(size=y.shape)
    rows = {"sample_weight": weight, "offset": offset}
    together = compare(PopulationGLM(), VARIANTS, X, y, SPLITS, **rows)
    for n in range(3):
        one = {name: values[:, n] for name, values in rows.items()}
        alone = compare(GLM(), VARIANTS, X, y[:, n], SPLITS, **one)
        np.testing.assert_allclose(
            alone.table()["gain"], together.table().query("neuron == @n")["gain"], rtol=1e-6, atol=1e-12
        )


def test_variants_in_several_fits_are_the_same(monkeypatch):
    X, y = small_data(7, n_bins=300)
    model = PopulationGLM(regularizer="Ridge", regularizer_strength=np.array([[0.01, 0.1, 1.0]]))
    together = compare(model, VARIANTS, X, y, SPLITS)
    monkeypatch.setattr(_comparison, "MAX_REPEATED_BYTES", 1)
    pd.testing.assert_frame_equal(
        compare(model, VARIANTS, X, y, SPLITS).table(), together.table(), rtol=1e-4, atol=1e-7
    )


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_neurons_stand_by_themselves():
    X, y = small_data(8, n_bins=300)
    with_silent = np.column_stack([y, np.zeros(300)])
    with_silent[:100, 0] = np.nan
    result = compare(PopulationGLM(), VARIANTS, X, with_silent, SPLITS)
    alone = compare(PopulationGLM(), VARIANTS, X, y[:, 1:], SPLITS)
    gain = result.gain("all", "none")
    np.testing.assert_allclose(gain.iloc[1:3], alone.gain("all", "none"), rtol=1e-3, atol=1e-6)
    assert gain["gain"].iloc[3] == 0 and np.isfinite(gain.iloc[0]).all()


def test_strengths_by_evidence_and_their_parameters():
    X, y = small_data(9, n_bins=400)
    model = PopulationGLM(regularizer=Ridge(sizes=(2, 2)), regularizer_strength="evidence")
    result = compare(model, VARIANTS, X, y, SPLITS)
    differ = result.sums.least_params
    assert (differ[0, 1] >= 0.5).all() and (differ[0, 2] <= 4).all() and (differ[1, 1] == 0).all()
    lasso = compare(PopulationGLM(regularizer=ElasticNet(0.9)), VARIANTS, X, y, SPLITS, strengths=[1e-9])
    np.testing.assert_allclose(lasso.sums.least_params[0, 2], 4)
    np.testing.assert_allclose(lasso.scores, compare(PopulationGLM(), VARIANTS, X, y, SPLITS).scores, rtol=1e-4)


def test_units_pools_and_tables():
    X, y = small_data(10, n_bins=300)
    result = compare(PopulationGLM(), VARIANTS, X, y, SPLITS)
    assert isinstance(result, Comparison) and repr(result).endswith("3 neurons, 30 blocks of held-out bins")
    nats, bits = result.gain("all", "none"), result.gain("all", "none", unit="bits-per-spike")
    np.testing.assert_allclose(bits.to_numpy(), nats.to_numpy() / (np.log(2) * y.mean(0)[:, None]), rtol=1e-6)
    pooled = result.gain("all", "none", pooled=True)
    np.testing.assert_allclose(pooled["gain"], nats["gain"].mean(), rtol=1e-6)
    table = result.table("first")
    assert (table.query("variant == 'first'")["gain"] == 0).all() and len(table) == 9
    narrow = result.gain("all", "none", level=0.5)
    assert (narrow["high"] - narrow["low"] < nats["high"] - nats["low"]).all()
    swapped = result.gain("none", "all")
    np.testing.assert_allclose(swapped[["low", "high"]], -nats[["high", "low"]], rtol=1e-9)


@pytest.mark.parametrize("n_folds", [2, 3, 5, 10])
def test_the_variance_of_a_useless_input_is_that_of_its_quadratic_form(n_folds):
    """Gradients of the folds are independent normal vectors; fits and test losses follow from them to leading order."""
    rng, p, m = np.random.default_rng(n_folds), 4, 100
    gradients = np.sqrt(m) * rng.normal(size=(20_000, n_folds, p))
    step = (gradients.sum(1, keepdims=True) - gradients) / (m * (n_folds - 1))
    gains = (step * gradients - m * step**2 / 2).sum((1, 2))
    bins, zeros = np.full((n_folds * 10, 1), m / 10), np.zeros((n_folds * 10, 1))
    of_params = np.full((2, 2, 1), float(p))
    sums = GainSums(bins, zeros, zeros, np.zeros((n_folds * 10, 2, 1)), of_params, of_params, n_folds - 1.0)
    error = sums.gain_and_error(0, 1)[1][0] * m * n_folds
    np.testing.assert_allclose(error, gains.std(), rtol=0.02)
    np.testing.assert_allclose(gains.mean(), -n_folds * p / (2 * (n_folds - 1)), rtol=0.05)


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_a_neuron_that_is_silent_in_training_spoils_no_other():
    X, y = small_data(11, n_bins=300)
    y = y.copy()
    y[:, 2] = 0
    y[280:, 2] = 1
    model = PopulationGLM(regularizer="Ridge", regularizer_strength="evidence")
    result = compare(model, VARIANTS, X, y, SPLITS)
    assert np.isfinite(result.gain("all", "none").to_numpy()).all()
    assert np.isfinite(result.gain("all", "none", pooled=True).to_numpy()).all()


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_a_fold_without_training_bins_does_not_count():
    X, y = small_data(12, n_bins=300)
    y = y.astype(float)
    y[100:, 0] = np.nan
    result = compare(PopulationGLM(), VARIANTS, X, y, SPLITS)
    assert (result.sums.bins[:10, 0] == 0).all() and result.gain("all", "none").iloc[0].isna().all()
    assert result.scores.iloc[0].isna().all() and np.isfinite(result.scores.iloc[1:].to_numpy()).all()


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_events_of_a_fold_without_training_bins_do_not_count():
    X, y = small_data(12, n_bins=300)
    y = y.astype(float)
    y[:100, 0] = np.nan
    first, second, third = np.arange(300).reshape(3, 100)
    result = compare(PopulationGLM(), VARIANTS, X, y, [(first, second), (second, third)])
    assert result.sums.events[:, 0].sum() == y[third, 0].sum() and result.sums.bins[:, 0].sum() == 100


def test_a_weak_penalty_has_the_errors_of_none_in_few_folds():
    X, y = small_data(13, n_bins=300)
    splits = BlockSplit(2, window=3)
    weak = compare(PopulationGLM(regularizer="Ridge", regularizer_strength=1e-9), VARIANTS, X, y, splits)
    none = compare(PopulationGLM(), VARIANTS, X, y, splits)
    large = none.gain("all", "none")["error"] > 0.02  # where blocks, not parameters, give the error
    assert large.any()
    np.testing.assert_allclose(weak.gain("all", "none")[large], none.gain("all", "none")[large], rtol=0.02)


def test_labels_come_before_names_of_columns():
    speed, counts = behaviour_and_counts()
    basis = BSplineEval(4, bounds=(0, 1), label="speed") + RaisedCosineLogConv(2, window_size=5, label="coupling")
    with pytest.raises(ValueError, match=r"which has '?speed'?, '?coupling"):
        compare(PopulationGLM(), {"a": ["Speed"], "b": []}, basis.compute_features(speed, counts), counts, SPLITS)
    with pytest.raises(ValueError, match="needs two inputs with names"):
        compare(PopulationGLM(), "leave-one-out", BSplineEval(4, bounds=(0, 1)).compute_features(speed), counts, SPLITS)


def recording(rng, w, intercept, n_bins):
    """Two inputs of one effect and one without any, each of three slow signals, and counts."""
    slow = np.cumsum(rng.normal(size=(n_bins + 20, 9)), 0)
    X = (slow[20:] - slow[:-20]) / np.sqrt(20)
    return X, rng.poisson(np.exp(intercept + X[:, :3] @ w + X[:, 3:6] @ w))


def test_intervals_cover_the_gain_on_fresh_recordings():
    """A sample of `benchmarks/comparison.py`; what to expect of an input without effect was measured there."""
    rng = np.random.default_rng(0)
    w, intercept = 0.15 * rng.normal(size=(3, 20)), rng.uniform(-2.5, -1, 20)
    inputs = {"a": 0, "b": 1}
    variants = {name: (np.arange(9) // 3 == i).astype(float) for name, i in inputs.items()}
    variants |= {"both": (np.arange(9) < 6).astype(float), "all": np.ones(9)}
    covered = []
    for _ in range(8):
        X, y = recording(rng, w, intercept, 3000)
        result = compare(PopulationGLM(), variants, X, y, BlockSplit(5, window=20))
        exchangeable, useless = result.gain("a", "b"), result.gain("all", "both")
        expected = -3 * 5 / 4 / 2 / 3000
        covered.append(
            [exchangeable["low"] * exchangeable["high"] < 0, (useless["low"] < expected) & (useless["high"] > expected)]
        )
    shares = np.mean(covered, (0, 2))
    assert (shares > 0.9).all() and (shares < 1).all(), shares


BAD = {
    "an input that is not there": (
        {"a": ["speed"], "b": []},
        {},
        ValueError,
        "variant 'a' must name inputs of X, which has",
    ),
    "one variant": ({"a": []}, {}, ValueError, "`variants` must be two at least"),
    "a word": ("nested", {}, ValueError, "or \"leave-one-out\"; got 'nested'"),
    "a mask of another length": ({"a": np.ones(3), "b": []}, {}, ValueError, r"`variants\['a'\]` must have shape"),
    "leave-one-out without names": ("leave-one-out", {}, ValueError, "needs two inputs with names"),
    "a path beside evidence": (VARIANTS, {"strengths": [1.0], "evidence": True}, ValueError, "Leave them out"),
    "both kinds of path": (VARIANTS, {"strengths": [1.0], "n_strengths": 2}, ValueError, "give one of them"),
    "a path without a penalty": (VARIANTS, {"strengths": [1.0]}, ValueError, "needs a penalty"),
    "a path of two folds": (VARIANTS, {"strengths": [1.0], "splits": 2}, ValueError, "three folds at least"),
    "no blocks": (VARIANTS, {"error_blocks": 0}, ValueError, "`error_blocks`"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_the_fix(name):
    variants, options, kind, text = BAD[name]
    X, y = small_data(0, n_bins=60)
    penalty = "Ridge" if "splits" in options or "n_strengths" in options else "UnRegularized"
    splits = BlockSplit(options.get("splits", 3), window=0)
    options = {key: value for key, value in options.items() if key != "splits"}
    strength = "evidence" if options.pop("evidence", False) else None
    penalty = "Ridge" if strength else penalty
    with pytest.raises(kind, match=text):
        compare(PopulationGLM(regularizer=penalty, regularizer_strength=strength), variants, X, y, splits, **options)


def test_no_estimator():
    with pytest.raises(TypeError, match="`model` must be a GLM or a PopulationGLM"):
        compare("Poisson", VARIANTS, np.ones((9, 4)), np.ones(9))


def test_gains_say_their_variants_and_units():
    X, y = small_data(0, n_bins=90)
    gaussian = compare(PopulationGLM(observation_model=observation_models.Gaussian()), VARIANTS, X, y + 0.5, SPLITS)
    with pytest.raises(ValueError, match="bits per spike need spikes"):
        gaussian.gain("all", "none", unit="bits-per-spike")
    with pytest.raises(ValueError, match="`variant` must be"):
        gaussian.gain("all", "speed")
