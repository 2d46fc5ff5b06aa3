"""Assessment: scores by hand, residuals of statsmodels, and rescaled time that rejects what is wrong, and only that."""

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
import statsmodels.api as sm
from samples import small_data
from scipy import stats

from popglm import assessment
from popglm.assessment._rescaling import integrate_between_events
from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.observation_models import NegativeBinomial

BITS, COHEN, MCFADDEN = "bits-per-spike", "pseudo-r2-Cohen", "pseudo-r2-McFadden"
RUNS = 200


# Scores


def by_hand(model, X, y, null):
    """Log-likelihoods in bits of the model and of the null model, summed, and spikes: (3, neurons)."""
    y = np.where(np.isnan(X).any(1)[:, None], np.nan, y)
    valid = ~np.isnan(y)
    means = {"scored": np.nanmean(y, 0), "train": small_data(0)[1].mean(0)}.get(null, [0.2, 0.5, 0.4])
    rates = np.exp(np.nan_to_num(X) @ model.coef_ + model.intercept_), np.broadcast_to(means, y.shape)
    likelihoods = [np.where(valid, stats.poisson.logpmf(np.nan_to_num(y), rate), 0).sum(0) for rate in rates]
    return np.array([*likelihoods, np.nansum(y, 0)]) / np.array([[np.log(2)], [np.log(2)], [1]])


@pytest.mark.parametrize("null", ["scored", "train", "rates"])
def test_bits_per_spike_are_those_of_the_formula(scored, null, precision):
    model, X, y = scored
    full, empty, spikes = by_hand(model, X, y, null)
    counted = [0, 1] if null == "scored" else [0, 1, 2]  # the silent neuron is left out
    asked = [0.2, 0.5, 0.4] if null == "rates" else null
    got = model.score(X, y, score_type=BITS, null=asked)
    assert got == pytest.approx((full - empty)[counted].sum() / spikes.sum(), abs=2e-5)
    each = assessment.scores(model, X, y, null=asked)[BITS]
    expected = [*(full - empty)[:2] / spikes[:2], 0 if null == "scored" else np.nan]
    np.testing.assert_allclose(each, expected, atol=2e-5)
    mean = lambda s: np.nanmean(s, axis=0)
    per_neuron = model.score(X, y, score_type=BITS, null=asked, aggregate_sample_scores=mean)
    np.testing.assert_allclose(per_neuron, expected, atol=2e-5)


def test_one_bit_per_spike():
    """Half of the bins at rate 2 r, the others silent: each spike falls into the half that was said, which is one bit."""
    half = np.repeat([0.0, 1.0], 500)
    y = np.tile([0, 1, 2, 1], 250) * half
    model = GLM()
    model.coef_, model.intercept_ = np.array([60.0 + np.log(y.mean() * 2)]), np.array([-60.0])
    assert model.score(half[:, None], y, score_type=BITS) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("null", ["scored", "train"])
def test_the_table_holds_what_score_gives_neuron_by_neuron(scored, null):
    model, X, y = scored
    table = assessment.scores(model, X, y, null=null)
    mean = lambda s: np.nanmean(s, axis=0)
    for kind in ("log-likelihood", MCFADDEN, COHEN, BITS):
        expected = model.score(X, y, score_type=kind, null=null, aggregate_sample_scores=mean)
        np.testing.assert_allclose(table[kind], expected, atol=1e-5, rtol=1e-5, err_msg=kind)
    assert table["bins"].tolist() == [470, 560, 570]
    np.testing.assert_allclose(table["mean"], np.nanmean(y[30:], 0), rtol=1e-6)
    seen = table.iloc[:2]
    total = (seen[BITS] * seen["mean"] * seen["bins"]).sum() / (seen["mean"] * seen["bins"]).sum()
    if null == "scored":
        assert model.score(X, y, score_type=BITS) == pytest.approx(total, abs=1e-6)


def test_a_neuron_without_a_valid_bin_has_no_scores(scored):
    model, X, y = scored
    y[:, 1] = np.nan
    table = assessment.scores(model, X, y)
    assert table["bins"].tolist() == [470, 0, 570] and np.isnan(table["log-likelihood"][1])
    assert np.isfinite(table[BITS][0])


def test_rows_have_the_names_of_units(population, basis):
    X = basis.compute_features(population.counts)
    model = PopulationGLM().fit(X, population.counts)
    named = nap.TsdFrame(t=population.counts.t, d=population.counts.values, columns=list("abcd"))
    table = assessment.scores(model, X, named)
    assert table.index.tolist() == list("abcd") and table.index.name == "neuron"
    assert list(assessment.rescaled_intervals(model, X, named, seed=0)) == list("abcd")
    assert assessment.deviance_residuals(model, X, named).columns.tolist() == list("abcd")
    assert assessment.scores(model, X.values, named.values).index.tolist() == [0, 1, 2, 3]  # those of the fit
    lazy = assessment.scores(model, basis.lazy_features(population.counts), population.counts)
    np.testing.assert_allclose(lazy, table, atol=1e-5, rtol=1e-5)


def test_names_of_several_levels_and_names_that_repeat(scored):
    model, X, y = scored
    names = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])
    table = assessment.scores(model, X, pd.DataFrame(y, columns=names))
    assert table.index.equals(names) and table.loc[("a", 2)].equals(
        assessment.scores(model, X, y).loc[1].rename(("a", 2))
    )
    z = assessment.rescaled_intervals(model, X, pd.DataFrame(y, columns=names), seed=0)
    assert list(z) == names.tolist() and assessment.ks_test(z).index.equals(names)
    repeated = assessment.rescaled_intervals(model, X, pd.DataFrame(y, columns=[0, 1, 0]), seed=0)
    assert list(repeated) == [0, 1, 2]
    for one, other in zip(repeated.values(), z.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_models_without_spikes_have_no_bits_per_spike():
    X, y = small_data()
    for kind in ("Gaussian", "Gamma"):
        model = PopulationGLM(kind)
        model.coef_, model.intercept_, model.scale_ = np.zeros((4, 3)), np.zeros(3), np.ones(3)
        assert BITS not in assessment.scores(model, X, y + 0.1)
        with pytest.raises(ValueError, match=rf"bits per spike need spikes.*{kind}.*Cohen"):
            model.score(X, y + 0.1, score_type=BITS)


# Residuals

FAMILIES = {
    "Poisson": sm.families.Poisson(),
    "Bernoulli": sm.families.Binomial(),
    "Gaussian": sm.families.Gaussian(),
    "Gamma": sm.families.Gamma(sm.families.links.Log()),
    "NegativeBinomial": sm.families.NegativeBinomial(alpha=0.5),
}


def activity(kind):
    X, y = small_data()
    return X, {"Bernoulli": np.minimum(y, 1), "Gaussian": y - 1, "Gamma": y + 0.3}.get(kind, y)


@pytest.mark.parametrize("kind", FAMILIES)
def test_residuals_are_those_of_statsmodels(kind, float64):
    X, y = activity(kind)
    others = [sm.GLM(y[:, n], sm.add_constant(X), family=FAMILIES[kind]).fit() for n in range(3)]
    model = PopulationGLM(NegativeBinomial(scale=0.5) if kind == "NegativeBinomial" else kind)
    model.intercept_, *coef = np.transpose([other.params for other in others])
    model.coef_, model.scale_ = np.array(coef), np.full(3, 0.5)
    table = assessment.scores(model, X, y)
    residuals = assessment.deviance_residuals(model, X, y), assessment.pearson_residuals(model, X, y)
    for n, other in enumerate(others):
        np.testing.assert_allclose(residuals[0][:, n], other.resid_deviance, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(residuals[1][:, n], other.resid_pearson, rtol=1e-5, atol=1e-6)
        assert table["deviance"][n] == pytest.approx(other.deviance, rel=1e-7)
    np.testing.assert_allclose((residuals[0] ** 2).sum(0), table["deviance"], rtol=1e-9)


def test_residuals_in_single_precision(precision):
    X, y = small_data()
    model = PopulationGLM().fit(X, y)
    mean = np.exp(X @ model.coef_.astype(float) + model.intercept_)
    residual = y - mean
    deviance = 2 * (stats.poisson.logpmf(y, np.maximum(y, 1e-300)) - stats.poisson.logpmf(y, mean))
    expected = np.sign(residual) * np.sqrt(np.maximum(deviance, 0))
    np.testing.assert_allclose(assessment.deviance_residuals(model, X, y), expected, atol=2e-3)
    np.testing.assert_allclose(assessment.pearson_residuals(model, X, y), residual / np.sqrt(mean), atol=1e-5)


def test_residuals_keep_the_time_axis_and_the_gaps(recording):
    basis = RaisedCosineLogConv(2, window_size=12)
    y = nap.TsdFrame(t=recording.t, d=recording.values.astype(float), time_support=recording.time_support)
    y.values[200, 1] = np.nan
    model = PopulationGLM().fit(basis.compute_features(y), y)
    dense, lazy = (assessment.deviance_residuals(model, X(y), y) for X in (basis.compute_features, basis.lazy_features))
    np.testing.assert_allclose(dense.values, lazy.values, atol=1e-5)
    assert isinstance(lazy, nap.TsdFrame) and (lazy.t == y.t).all() and len(lazy.time_support) == 3
    features = basis.compute_features(y).values
    missing = np.isnan(features).any(1)[:, None] | np.isnan(y.values)
    assert missing[[0, 11, 12, 90, 101, 200], 0].tolist() == [True, True, False, True, True, False] and missing[200, 1]
    np.testing.assert_array_equal(np.isnan(dense.values), missing)
    single = assessment.pearson_residuals(
        GLM().fit(basis.compute_features(y), y[:, 0]), basis.compute_features(y), y[:, 0]
    )
    assert isinstance(single, nap.Tsd) and single.shape == (len(y),)


def test_residuals_of_a_density_need_no_scale_and_those_of_scattered_counts_do():
    X, y = small_data()
    model = PopulationGLM("Gaussian")
    model.coef_, model.intercept_ = np.zeros((4, 3)), np.zeros(3)
    np.testing.assert_allclose(assessment.deviance_residuals(model, X, y), y, atol=1e-6)
    model.observation_model = "NegativeBinomial"
    with pytest.raises(ValueError, match=r"needs the scale of NegativeBinomial"):
        assessment.deviance_residuals(model, X, y)


# Rescaled time

REFRACTORY = {  # name: window, bins, weights of three functions, mean per bin without history
    "Poisson": (10, 5000, [-3.0, -1.0, 0.3], 0.7),  # bins of 5 ms, 100 spikes per second
    "Bernoulli": (20, 15_000, [-5.0, -2.0, 0.2], 0.12),  # bins of 1 ms, 85 spikes per second
    "NegativeBinomial": (10, 5000, [-1.5, -0.5, 0.2], 0.7),
}
ALPHA = 0.5


def simulated(kind, seed):
    """As many neurons as there are runs, each driven by its own past alone, and their true model; X is lazy."""
    window, n_bins, weights, rate = REFRACTORY[kind]
    basis, rng = RaisedCosineLogConv(3, window_size=window), np.random.default_rng(seed)
    past, y = np.zeros((window, RUNS)), np.zeros((n_bins, RUNS), np.uint8)
    for t in range(n_bins):
        eta = np.log(rate) + basis.kernel @ weights @ past
        gain = rng.gamma(1 / ALPHA, ALPHA, RUNS) if kind == "NegativeBinomial" else 1
        spike = rng.random(RUNS) < 1 / (1 + np.exp(-eta))
        y[t] = spike if kind == "Bernoulli" else rng.poisson(np.exp(eta) * gain)
        past = np.concatenate([y[t : t + 1], past[:-1]])
    model = PopulationGLM(NegativeBinomial(scale=ALPHA) if kind == "NegativeBinomial" else kind)
    model.coef_ = np.kron(np.eye(RUNS), np.array(weights)[:, None]).astype(np.float32)
    model.intercept_ = np.full(RUNS, np.log(rate), np.float32)
    return model, basis.lazy_features(y), y


def rejected(z, column="pvalue"):
    """Share of the runs that are rejected at the 5 % level."""
    return (assessment.ks_test(z)[column] < 0.05).mean()


@pytest.mark.parametrize("kind", REFRACTORY)
def test_time_rescaling_rejects_what_is_wrong_and_only_that(kind):
    model, X, y = simulated(kind, seed=1)
    z = assessment.rescaled_intervals(model, X, y, seed=1)
    window = REFRACTORY[kind][0]
    assert [len(of) for of in z.values()] == y[window:].sum(0).tolist()
    assert 0.02 <= rejected(z) <= 0.08
    assert 0.02 <= rejected(z, "correlation_pvalue") <= 0.08
    assert stats.kstest(assessment.ks_test(z)["pvalue"], "uniform").pvalue > 0.01
    at_seed = assessment.rescaled_intervals(model, X, y, seed=2)
    assert 0 < np.abs(at_seed[0] - z[0]).max() < 1

    # the integrated rate to the end of the bin, as it is without places in the bins
    clock = np.cumsum(np.asarray(model.predict(X[window:]), float), 0)
    ends = [np.repeat(clock[:, n], y[window:, n]) for n in range(RUNS)]
    assert rejected({n: -np.expm1(-np.diff(end, prepend=0)) for n, end in enumerate(ends)}) > 0.95

    alone = PopulationGLM(model.observation_model).fit(np.zeros((len(y), 1)), y)  # no history
    assert rejected(assessment.rescaled_intervals(alone, np.zeros((len(y), 1)), y, seed=1)) > 0.95


def test_short_epochs_bias_nothing():
    """Two spikes in each of many epochs: were the interval at each epoch's end dropped, all runs would be rejected."""
    n_epochs, length, rate = 150, 20, 0.1
    y = np.random.default_rng(0).poisson(rate, (n_epochs * length, RUNS))
    start = np.arange(n_epochs) * 5.0
    epochs = nap.IntervalSet(start, start + length * 0.005)
    times = (start[:, None] + 0.005 * (np.arange(length) + 0.5)).ravel()
    counts = nap.TsdFrame(t=times, d=y, time_support=epochs)
    model = PopulationGLM()
    model.coef_, model.intercept_ = np.zeros((1, RUNS)), np.full(RUNS, np.log(rate))
    X = nap.TsdFrame(t=times, d=np.zeros((len(y), 1)), time_support=epochs)
    assert len(counts) == len(y)
    assert 0.02 <= rejected(assessment.rescaled_intervals(model, X, counts, seed=0)) <= 0.08
    apart = {}
    for n in range(RUNS):
        parts = (np.full(length, rate), y[:, n].reshape(n_epochs, length), 0.0, np.random.default_rng(n))
        pieces = [integrate_between_events(parts[0], counts, *parts[2:]) for counts in parts[1]]
        apart[n] = -np.expm1(-np.concatenate(pieces))
    assert rejected(apart) > 0.95


def test_bins_that_are_not_valid_are_as_if_they_were_not_there(recording):
    X, y = small_data(n_bins=len(recording))
    model = PopulationGLM().fit(X, y)
    model.coef_ = model.coef_.astype(np.float32)
    gone = np.r_[5:20, 100:110]
    whole = assessment.rescaled_intervals(model, np.delete(X, gone, 0), np.delete(y, gone, 0), seed=3)
    for where, what in (("X", X.copy()), ("y", y.copy())):
        what[gone] = np.nan
        z = assessment.rescaled_intervals(model, *((what, y) if where == "X" else (X, what)), seed=3)
        for n in range(3):
            np.testing.assert_allclose(z[n], whole[n], atol=1e-6)
    y[gone, 1] = np.nan
    z = assessment.rescaled_intervals(model, X, y, seed=3)
    assert [len(of) for of in z.values()] == np.nansum(y, 0).tolist()
    np.testing.assert_allclose(z[1], whole[1], atol=1e-6)


def test_a_neuron_alone_and_activity_on_disk_give_the_same_intervals(tmp_path):
    X, y = small_data()
    model, one = PopulationGLM().fit(X, y), GLM()
    one.coef_, one.intercept_ = model.coef_[:, 0], model.intercept_[:1]
    z = assessment.rescaled_intervals(model, X, y, seed=0)
    np.testing.assert_allclose(assessment.rescaled_intervals(one, X, y[:, 0], seed=0), z[0], atol=1e-6)
    stored = np.memmap(tmp_path / "y", dtype=float, mode="w+", shape=y.shape)
    stored[:] = y
    streamed = assessment.rescaled_intervals(model, X, stored, seed=0)
    assert all((streamed[n] == z[n]).all() for n in z)


def test_places_in_a_bin():
    """A clock that each model states; three events share a bin, and none leaves its bin."""
    counts, rng = np.array([0, 3, 0, 1, 1]), lambda: np.random.default_rng(5)
    means = np.array([0.3, 0.8, 0.5, 0.2, 0.9])
    poisson = np.cumsum(integrate_between_events(means, counts, 0.0, rng()))
    clock = np.cumsum(means)
    assert ((poisson > (clock - means)[[1, 1, 1, 3, 4]]) & (poisson < clock[[1, 1, 1, 3, 4]])).all()
    alpha = 1e-7
    near = np.cumsum(integrate_between_events(np.log1p(alpha * means) / alpha, counts, alpha, rng()))
    np.testing.assert_allclose(near, poisson, rtol=1e-5)

    spikes, p = np.minimum(counts, 1), 1 - np.exp(-means)
    u = rng().random(3)  # Haslinger, Pipa and Brown (2010), equation for the last bin of an interval
    last = -np.log(1 - u * p[spikes > 0])
    expected = [means[0] + last[0], means[2] + last[1], last[2]]
    np.testing.assert_allclose(integrate_between_events(means, spikes, -1.0, rng()), expected)
    assert len(integrate_between_events(means, 0 * counts, 0.0, rng())) == 0


@pytest.mark.parametrize("link", ["logistic", "cloglog"])
def test_the_clock_of_bernoulli_keeps_its_digits_where_a_spike_is_nearly_sure(link):
    """Where the probability rounds to 1 in single precision; no spike there takes long on this clock."""
    model = GLM("Bernoulli", link)
    model.coef_, model.intercept_ = np.zeros(1, np.float32), np.full(1, {"logistic": 30.0, "cloglog": 3.0}[link])
    z = assessment.rescaled_intervals(model, np.zeros((2, 1)), np.array([0, 1]), seed=0)
    assert -np.log1p(-z[0]) == pytest.approx({"logistic": 30, "cloglog": np.exp(3)}[link], abs=6)


# The test


def test_the_table_of_tests_is_that_of_scipy():
    rng = np.random.default_rng(0)
    z = {"a": rng.random(300), "silent": [], "few": [0.2, 0.4, 0.3], "chain": rng.random(400)}
    normal = stats.norm.ppf(z["chain"])
    normal[1:] = (normal[1:] + 0.5 * normal[:-1]) / np.sqrt(1.25)
    z["chain"] = stats.norm.cdf(normal)
    table = assessment.ks_test(z)
    assert table["intervals"].tolist() == [300, 0, 3, 400] and table.index.tolist() == list(z)
    for name in ("a", "few", "chain"):
        expected = stats.kstest(z[name], "uniform")
        assert table.loc[name, ["statistic", "pvalue"]].tolist() == pytest.approx([expected.statistic, expected.pvalue])
    assert table.loc["silent"].isna().tolist() == [False, True, True, True, True]
    assert table["correlation"].isna().tolist() == [False, True, True, False]
    assert table["correlation_pvalue"]["a"] > 0.05 > 1e-6 > table["correlation_pvalue"]["chain"]
    assert assessment.ks_test(z["a"])["pvalue"].tolist() == [table["pvalue"]["a"]]
    assert np.isfinite(assessment.ks_test([0.0, 0.2, 1.0, 0.5, 0.7]).to_numpy()).all()


# Refusals


def test_what_cannot_be_assessed_is_refused_with_a_reason():
    X, y = small_data()
    model = PopulationGLM().fit(X, y)
    calm, unknown = PopulationGLM("Gaussian"), PopulationGLM("NegativeBinomial")
    for other in (calm, unknown):
        other.coef_, other.intercept_ = model.coef_, model.intercept_
    table = [
        (TypeError, "GLM or a PopulationGLM; got dict.*pipeline", lambda: assessment.scores({}, X, y)),
        (ValueError, "no coefficients yet", lambda: assessment.scores(PopulationGLM(), X, y)),
        (ValueError, "y has 2 neurons, but the model has 3", lambda: assessment.scores(model, X, y[:, :2])),
        (ValueError, "`null` must be one of", lambda: assessment.scores(model, X, y, null="mean")),
        (ValueError, "rescaled for Poisson, Bernoulli, NegativeBinomial.*got Gaussian.*deviance_residuals",
         lambda: assessment.rescaled_intervals(calm, X, y, seed=0)),
        (ValueError, "a rescaled interval needs the scale of NegativeBinomial",
         lambda: assessment.rescaled_intervals(unknown, X, y, seed=0)),
        (ValueError, "`y` must hold whole numbers.*got 0.5",
         lambda: assessment.rescaled_intervals(model, X, y + 0.5, seed=0)),
        (ValueError, "`seed` must be a whole number", lambda: assessment.rescaled_intervals(model, X, y, seed=None)),
        (ValueError, "`z` must lie between 0 and 1", lambda: assessment.ks_test([0.5, 1.2])),
        (ValueError, "`z` must be finite", lambda: assessment.ks_test([0.5, np.nan])),
    ]  # fmt: skip
    for error, match, call in table:
        with pytest.raises(error, match=match):
            call()


def test_bins_that_are_sure_of_their_spike_have_an_interval_too():
    """With p so near 1 that 1 - p is 0, nothing passes after the spike."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 1))
    y = (rng.random(3000) < -np.expm1(-np.exp(1.5 * x[:, 0] + 0.5))) * 1.0
    model = GLM("Bernoulli", inverse_link_function="cloglog").fit(x, y)
    z = assessment.rescaled_intervals(model, x, y, seed=0)
    assert np.isfinite(z).all() and (assessment.ks_test(z)["pvalue"] > 0.001).all()
