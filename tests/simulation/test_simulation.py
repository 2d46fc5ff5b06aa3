"""Simulate, fit, recover: the truth lies within the standard errors of an independent calculation."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pynapple as nap
import pytest
from scipy import special, stats

from popglm.basis import BSplineConv, HistoryConv, IdentityEval, RaisedCosineLinearConv, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.observation_models import Gamma, Gaussian, NegativeBinomial
from popglm.simulation import random_coupling, simulate, simulate_population, stability
from popglm.simulation._rollout import _simulate_chunk


@pytest.fixture(scope="module")
def truth():
    """Three neurons for five minutes, on a basis that is far from singular."""
    basis = RaisedCosineLogConv(3, window_size=20)
    coef, intercept = random_coupling(jax.random.key(3), 3, basis, rates=(20.0, 40.0), connectivity=0.8)
    return basis, simulate_population(jax.random.key(4), coef, intercept, basis, duration=300.0)


def standard_errors(X, mean):
    """Square roots of the diagonal of the inverse Fisher information, in float64, by its definition."""
    X = np.column_stack([np.ones(len(X)), X]).astype(float)
    return np.sqrt(np.diag(np.linalg.inv(X.T @ (mean[:, None] * X))))


def test_simulate_fit_recover(truth):
    """z-scores of all parameters look standard normal: their mean square is 1 within 4 of its standard errors."""
    basis, population = truth
    X = basis.compute_features(population.counts)
    model, valid = PopulationGLM().fit(X, population.counts), ~np.isnan(X.values).any(1)
    fitted = np.vstack([model.intercept_, model.coef_])
    true = np.vstack([population.intercept, population.coef])
    errors = np.column_stack([standard_errors(X.values[valid], population.rates[valid, n]) for n in range(3)])
    z = (fitted - true) / errors
    assert np.abs(z).max() < 4
    assert abs(np.mean(z**2) - 1) < 4 * np.sqrt(2 / z.size)


def test_the_simulated_rates_are_those_of_the_model(truth):
    """What the simulation says it drew from equals a prediction from the features of its counts."""
    basis, population = truth
    X = basis.compute_features(population.counts).values[20:]
    np.testing.assert_allclose(population.rates[20:], np.exp(X @ population.coef + population.intercept), rtol=1e-4)


def test_counts_scatter_as_poisson_counts_do(truth):
    _, population = truth
    counts, rates = population.counts.values, population.rates.astype(float)
    expected = rates.sum(0)
    assert (np.abs(counts.sum(0) - expected) < 4 * np.sqrt(expected)).all()
    spread = np.sqrt((rates + 2 * rates**2).sum(0))  # of the sum of squares below
    assert (np.abs(((counts - rates) ** 2).sum(0) - expected) < 4 * spread).all()


def test_counting_the_spikes_again_gives_the_counts(truth):
    _, population = truth
    again = population.units.count(0.005)
    np.testing.assert_array_equal(again.values, population.counts.values)
    np.testing.assert_allclose(again.t, population.counts.t, atol=1e-9)
    assert isinstance(population.counts, nap.TsdFrame) and list(population.units.keys()) == [0, 1, 2]


def test_filters_are_the_kernel_times_the_coefficients(truth):
    basis, population = truth
    for sender, receiver in ((0, 1), (2, 0), (1, 1)):
        coef = population.coef.reshape(3, 3, 3)[sender, :, receiver]
        np.testing.assert_allclose(population.filters[sender, :, receiver], basis.kernel @ coef, atol=1e-12)


def test_one_neuron_drives_another_and_not_the_reverse():
    """A coupling from 0 to 1 raises 1 after a spike of 0, at lag 1; it does nothing to 0, and nothing before."""
    basis = RaisedCosineLogConv(3, window_size=10)
    coef = np.zeros((2, 3, 2))
    coef[0, 0, 1] = 1.0
    intercept = np.log([0.02, 0.05])
    counts = simulate_population(
        jax.random.key(0), coef.reshape(6, 2), intercept, basis, duration=1000.0, bin_size=0.01
    ).counts.values

    def after(sender, receiver, lag):
        return counts[lag:, receiver][counts[: len(counts) - lag, sender] > 0].mean()

    assert after(0, 1, 1) == pytest.approx(0.05 * np.exp(1), rel=0.2)
    assert after(1, 0, 1) == pytest.approx(0.02, rel=0.3)
    assert after(0, 1, 0) == pytest.approx(counts[:, 1].mean(), rel=0.4)


def test_the_key_decides(truth):
    basis, population = truth

    def draw(seed):
        return simulate_population(
            jax.random.key(seed), population.coef, population.intercept, basis, duration=5.0
        ).counts.values

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()
    couplings = [random_coupling(jax.random.key(seed), 3, basis)[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(couplings[0], couplings[1])
    assert (couplings[0] != couplings[2]).any()


def test_many_neurons_start_from_a_history():
    """Their intercepts balance inhibition that silence lacks; the recipe is that of `random_coupling`."""
    n, basis, key = 40, RaisedCosineLogConv(5, window_size=40), jax.random.key(0)
    weights = random_coupling(key, n, basis, connectivity=4 / n)
    with pytest.raises(ValueError, match=r"explodes.*begin from a `history`"):
        simulate_population(key, *weights, basis, duration=20.0)
    history = np.random.default_rng(0).poisson(0.075, (40, n))
    population = simulate_population(key, *weights, basis, duration=20.0, history=history)
    assert 10 < population.rates.mean() / 0.005 < 25 and population.rates.max() < 10
    assert repr(population) == f"Population: 40 neurons, 4000 bins, {int(population.counts.d.sum())} spikes"
    with pytest.raises(ValueError, match=r"shape \(bins, neurons\) with 40 neurons"):
        simulate_population(key, *weights, basis, duration=20.0, history=history[:, 1:])


# Fitted models


def known_model(coef, intercept, kind=PopulationGLM, **settings):
    """A model with these parameters, as if they had been fitted."""
    model = kind(**settings)
    model.coef_, model.intercept_ = (np.asarray(part, jnp.result_type(float)) for part in (coef, intercept))
    return model


def directly(filters, eta, y, starts, history):
    """Linear predictor from every lag of every bin, by its definition."""
    window = filters.shape[1]
    out = eta.copy()
    for first, stop in pairwise(starts):
        padded = np.concatenate([history, np.nan_to_num(y[first:stop])])
        for t in range(first, stop):
            before = padded[t - first : t - first + window][::-1]
            out[t] += np.einsum("ln,nlm->m", before, filters)
    return out


@pytest.mark.parametrize("windows", [(3, 5), (16, 17), (70, 20)])
def test_every_bin_is_drawn_at_its_own_past(float64, windows):
    """Blocks, epochs, a given history, two bases of the activity, unknown inputs: the rates are those of the definition."""
    one, two = windows
    design = RaisedCosineLogConv(3, one, label="near") + RaisedCosineLinearConv(2, 9, label="light")
    design = design + RaisedCosineLogConv(2, two, label="far")
    epochs = nap.IntervalSet([0.0, 5.0, 7.0], [1.0, 5.11, 10.0])
    times = np.concatenate([np.arange(a, b - 0.005, 0.01) + 0.005 for a, b in epochs.values])
    rng = np.random.default_rng(0)
    values = rng.normal(size=len(times))
    values[150] = np.nan
    light = nap.Tsd(times, values, time_support=epochs)
    coef = 0.3 * rng.normal(size=(3 * 3 + 2 + 2 * 3, 3))
    coef[:9], coef[9:11], coef[11:] = coef[:9] / one, coef[9:11] / 3, coef[11:] / two
    model = known_model(coef, [-1.5, -2.0, -2.5])
    history = rng.poisson(0.5, (80, 3))
    found = simulate(jax.random.key(0), model, design, [None, light, None], history=history)

    kernels = [np.pad(basis.kernel, ((0, 70 - len(basis.kernel)), (0, 0))) for basis in (design[0], design[2])]
    filters = np.einsum("lk,nkm->nlm", kernels[0], coef[:9].reshape(3, 3, 3))
    filters = filters + np.einsum("lk,nkm->nlm", kernels[1], coef[11:].reshape(3, 2, 3))
    np.testing.assert_allclose(found.filters, filters[:, : max(windows)], atol=1e-12)
    X = design["light"].compute_features(light).values
    known = ~np.isnan(X).any(1)
    assert 0 < (~known).sum() < 40
    np.testing.assert_array_equal(np.isnan(found.counts.values).any(1), ~known)
    starts = [0, 100, 111, len(times)]
    eta = directly(filters, X @ coef[9:11] + model.intercept_, found.counts.values, starts, history[-70:])
    np.testing.assert_allclose(found.rates[known], np.exp(eta[known]), rtol=1e-10)
    assert np.isnan(found.rates[~known]).all() and np.nansum(found.counts.values) > 50
    np.testing.assert_array_equal(found.units.count(0.01, epochs).values[known], found.counts.values[known])
    np.testing.assert_array_equal(found.counts.t, times)


@pytest.fixture(scope="module")
def driven():
    """Two neurons of a made-up recording, driven by a light and by each other, and the model that was fitted to them."""
    rng = np.random.default_rng(5)
    t = (np.arange(40_000) + 0.5) * 0.005
    light = nap.Tsd(t, np.convolve(rng.normal(size=len(t)), np.ones(5) / np.sqrt(5), "same"))
    design = RaisedCosineLogConv(3, 20, label="history") + IdentityEval(label="light")
    coef = np.array([[-1.0, 0.3], [0.2, 0.1], [0.1, -0.1], [0.3, -1.5], [-0.2, 0.3], [0.1, 0.1], [0.5, -0.3]])
    truth = known_model(coef, np.log([0.15, 0.1]))
    data = simulate(jax.random.key(1), truth, design, [None, light])
    model = PopulationGLM().fit(design.lazy_features(data.counts, light), data.counts)
    return design, light, data, model


def test_a_refit_of_a_simulation_finds_the_fitted_model(driven):
    design, light, data, model = driven
    longer = nap.Tsd((np.arange(120_000) + 0.5) * 0.005, np.tile(light.values, 3))
    found = simulate(jax.random.key(2), model, design, [None, longer])
    X = design.compute_features(found.counts, longer)
    again, valid = PopulationGLM().fit(X, found.counts), ~np.isnan(X.values).any(1)
    errors = np.column_stack([standard_errors(X.values[valid], found.rates[valid, n]) for n in range(2)])
    z = np.vstack([again.intercept_ - model.intercept_, again.coef_ - model.coef_]) / errors
    assert np.abs(z).max() < 4
    assert abs(np.mean(z**2) - 1) < 4 * np.sqrt(2 / z.size)
    np.testing.assert_allclose(found.counts.values.mean(0), data.counts.values.mean(0), rtol=0.05)


def test_a_model_of_one_neuron_draws_a_tsd(driven):
    """Its own activity is drawn, the other neuron's is an input."""
    design, light, data, _ = driven
    both = RaisedCosineLogConv(3, 20) + design
    own, other = data.counts[:, 0], data.counts[:, [1]]
    model = GLM().fit(both.lazy_features(own, other, light), own)
    found = simulate(jax.random.key(0), model, both, [None, other, light])
    assert isinstance(found.counts, nap.Tsd) and found.rates.shape == (40_000, 1)
    np.testing.assert_allclose(found.counts.values[20:].mean(), own.values[20:].mean(), rtol=0.05)
    refit = GLM().fit(both.lazy_features(found.counts, other, light), found.counts)
    assert np.abs(refit.coef_ - model.coef_).max() < 0.4


def test_the_key_decides_bin_by_bin(driven):
    """The same key draws the same, a longer simulation begins as a shorter one, and ids of units survive."""
    _, _, data, _ = driven
    basis = RaisedCosineLogConv(3, 20)
    counts = data.counts.copy()
    counts = nap.TsdFrame(counts.t, counts.values, columns=[7, 3])
    model = PopulationGLM().fit(basis.lazy_features(counts), counts)
    draw = lambda seed, seconds: simulate(jax.random.key(seed), model, basis, duration=seconds, bin_size=0.005)
    long, short, other = draw(0, 20.0), draw(0, 12.0), draw(1, 12.0)
    np.testing.assert_array_equal(long.counts.values[:2400], short.counts.values)
    assert (short.counts.values != other.counts.values).any()
    assert list(long.counts.columns) == [7, 3] and sorted(long.units.keys()) == [3, 7]
    np.testing.assert_array_equal(long.units[3].count(0.005, long.counts.time_support), long.counts.values[:, 1])


def test_simulations_of_any_length_share_what_is_compiled(driven):
    _, _, _, model = driven
    basis = RaisedCosineLogConv(3, 20)
    model = known_model(model.coef_[:6], model.intercept_)
    draw = lambda seconds: simulate(jax.random.key(0), model, basis, duration=seconds, bin_size=0.005)
    draw(11.0)
    before = _simulate_chunk._cache_size()
    draw(25.0)
    assert _simulate_chunk._cache_size() == before


OBSERVED = {
    "Poisson": ("Poisson", None, lambda mean: stats.poisson(mean)),
    "Poisson, softplus": ("Poisson", "softplus", lambda mean: stats.poisson(mean)),
    "Bernoulli": ("Bernoulli", "cloglog", lambda mean: stats.bernoulli(mean)),
    "negative binomial": (NegativeBinomial(scale=0.6), None, lambda m: stats.nbinom(1 / 0.6, 1 / (1 + 0.6 * m))),
    "Gaussian": (Gaussian(scale=0.6), None, lambda mean: stats.norm(mean, np.sqrt(0.6))),
    "Gamma": (Gamma(scale=0.6), None, lambda mean: stats.gamma(1 / 0.6, scale=0.6 * mean)),
}


@pytest.mark.parametrize("name", OBSERVED)
def test_activity_has_the_distribution_of_the_model(name):
    """Values through their own distribution function are uniform, whatever the mean of their bin; counts are jittered."""
    kind, link, distribution = OBSERVED[name]
    settings = {"observation_model": kind, "inverse_link_function": link}
    whole = name not in ("Gaussian", "Gamma")
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, 3000)
    basis = HistoryConv(2, label="own") + IdentityEval(label="x")
    coef = [[-0.5, 0.1], [0.1, 0.0], [0.1, -0.3], [0.0, -0.1], [0.5, -0.5]]
    found = simulate(jax.random.key(0), known_model(coef, [-0.7, -0.5], **settings), basis, [None, x], bin_size=0.01)
    at_features = known_model(coef[-1:], [-0.7, -0.5], **settings)
    drawn = at_features.simulate(jax.random.key(1), x[:, None])
    assert (found.units is not None) == whole
    for values, mean in ((found.counts.values, found.rates), (drawn, at_features.predict(x[:, None]))):
        of = distribution(mean.astype(float))
        high = of.cdf(values.astype(float))
        if whole:
            assert (values == np.round(values)).all()
            high = high - rng.random(high.shape) * of.pmf(values.astype(float))
        assert stats.kstest(high.ravel(), "uniform").pvalue > 1e-3


def test_counts_of_large_means_and_heavy_tails():
    """Where the distribution function is not searched, or has a long tail, means and variances are right all the same."""
    wide = known_model([[1.0, -1.0]], np.log([100.0, 5.0])).simulate(jax.random.key(0), np.zeros((4000, 1)))
    np.testing.assert_allclose(wide.mean(0), [100, 5], rtol=0.02)
    np.testing.assert_allclose(wide.var(0), [100, 5], rtol=0.1)
    heavy = known_model([[0.0]], [np.log(20.0)], observation_model=NegativeBinomial(scale=2.0))
    drawn = heavy.simulate(jax.random.key(0), np.zeros((20_000, 1)))
    assert drawn.mean() == pytest.approx(20, rel=0.05) and drawn.var() == pytest.approx(20 + 2 * 400, rel=0.1)


def test_drawing_at_features():
    """Lazy and built features give the same, NaN where X is, on the time axis of X; a mean beyond all counts is refused."""
    rng = np.random.default_rng(0)
    t = (np.arange(5000) + 0.5) * 0.01
    x = nap.TsdFrame(t, rng.normal(size=(5000, 1)))
    counts = nap.TsdFrame(t, rng.poisson(0.5, (5000, 2)), columns=["a", "b"])
    basis = RaisedCosineLogConv(3, 20)
    X = basis.lazy_features(x)
    model = PopulationGLM().fit(X, counts)
    y = model.simulate(jax.random.key(0), X)
    assert isinstance(y, nap.TsdFrame) and list(y.columns) == ["a", "b"] and y.values.dtype == np.float32
    assert np.isnan(y.values[:20]).all() and not np.isnan(y.values[20:]).any()
    np.testing.assert_array_equal(y.values, model.simulate(jax.random.key(0), X).values)
    assert (y.values[20:] != model.simulate(jax.random.key(1), X).values[20:]).any()
    built = model.simulate(jax.random.key(0), basis.compute_features(x)).values
    assert (built[20:] != y.values[20:]).mean() < 1e-3
    one = known_model(model.coef_[:, 0], model.intercept_[:1], GLM).simulate(jax.random.key(0), X)
    assert isinstance(one, nap.Tsd) and one.shape == (5000,)
    with jax.enable_x64(True):
        assert model.simulate(jax.random.key(0), X).values.dtype == np.float64
    far = known_model([[0.0, 50.0]], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"neuron 1 has a mean of 5.18e\+21 in row 1, of which nothing can be drawn"):
        far.simulate(jax.random.key(0), [[0.0], [1.0]])


def test_a_linear_autoregression_has_its_variance():
    """An autoregression of first order: correlation c at lag 1, variance s / (1 - c²)."""
    model = known_model([0.6], [1.0], GLM, observation_model=Gaussian(scale=2.0))
    y = simulate(jax.random.key(0), model, HistoryConv(1), duration=400.0, bin_size=0.01).counts.values[50:]
    assert y.mean() == pytest.approx(1 / 0.4, abs=0.1)
    assert y.var() == pytest.approx(2 / (1 - 0.36), rel=0.05)
    assert np.corrcoef(y[1:], y[:-1])[0, 1] == pytest.approx(0.6, abs=0.02)


# Stability


def one_neuron(strength, base):
    """A neuron that excites itself for ten bins; how strong it is on the scale of the mean field."""
    basis = BSplineConv(1, 10, order=1)
    return known_model([strength], [np.log(base)], GLM), basis, 10 * np.expm1(strength)


@pytest.mark.parametrize(("strength", "base"), [(0.05, 0.2), (0.1, 0.2), (0.2, 0.12), (-0.3, 0.2)])
def test_the_mean_field_of_one_neuron_is_lamberts_function(strength, base):
    """m = base exp(m C) is solved by it; its other branch is where rates run away, the gain is m C."""
    model, basis, act = one_neuron(strength, base)
    found = stability(model, basis)
    m = (-special.lambertw(-act * base) / act).real
    np.testing.assert_allclose(found.rates, m, rtol=1e-4)
    assert found.gain == pytest.approx(m * act, rel=1e-3)
    wild = -special.lambertw(-act * base, -1) / act
    ratio = (wild / m).real if act > 0 else np.inf
    assert found.margin == pytest.approx(ratio, rel=0.06) and found.stable == (ratio > 5)


@pytest.mark.parametrize("kind", ["Poisson", "Gaussian"])
def test_a_linear_mean_field_is_exact(kind):
    """With a link that is linear rates are those of a linear system, and its gain the eigenvalue of the summed filters."""
    rng = np.random.default_rng(1)
    coef = rng.uniform(0, 0.02, (2 * 3, 2))
    link, base = ("softplus", 30.0) if kind == "Poisson" else ("identity", 1.0)
    model = known_model(coef, [base, base], observation_model=kind, inverse_link_function=link)
    if kind == "Gaussian":
        model.scale_ = np.ones(2)
    model._train_mean = np.full(2, base)
    basis = RaisedCosineLogConv(3, 20)
    act = np.einsum("k,nkm->nm", basis.kernel.sum(0), coef.reshape(2, 3, 2))
    found = stability(model, basis)
    assert found.gain == pytest.approx(np.linalg.eigvals(act).real.max(), rel=1e-4)
    np.testing.assert_allclose(found.rates, np.linalg.solve(np.eye(2) - act.T, [base, base]), rtol=1e-4)


def test_no_false_alarm():
    """Twenty populations of ten neurons that fire as they should; the mean field is within a fifth of their rates."""
    basis = RaisedCosineLogConv(5, 40)
    for seed in range(20):
        coef, intercept = random_coupling(jax.random.key(seed), 10, basis)
        model = known_model(coef, intercept)
        assert stability(model, basis).stable, seed
        if seed < 4:
            drawn = simulate(jax.random.key(100 + seed), model, basis, duration=30.0, bin_size=0.005).counts
            assert drawn.values.mean() == pytest.approx(stability(model, basis).rates.mean(), rel=0.2)


def test_a_population_that_explodes_is_announced_and_stopped():
    """A pair that excites each other, ever more: without a level of rates, and with one that does not hold."""
    basis = BSplineConv(1, 20, order=1)

    def pair(w):
        model = known_model([[-1.0, w], [w, -1.0]], np.log([0.1, 0.1]))
        model._columns = [7, 9]
        return model

    with (
        pytest.warns(RuntimeWarning, match="no stable level, so the simulation is likely to explode") as caught,
        pytest.raises(ValueError, match=r"explodes: neuron [79] passes 20 spikes per bin at [0-9.]+ s. Fit with a"),
    ):
        simulate(jax.random.key(0), pair(1.0), basis, duration=1000.0, bin_size=0.005)
    assert caught[0].filename == __file__
    fragile = one_neuron(0.2, 0.15)
    with (
        pytest.warns(RuntimeWarning, match=r"if a fluctuation made them 2\.\d times as high"),
        pytest.raises(ValueError, match="explodes"),
    ):
        simulate(jax.random.key(0), *fragile[:2], duration=1000.0, bin_size=0.005)
    assert stability(pair(0.1), basis).stable


def test_no_spike_is_lost_where_an_epoch_ends_amid_a_bin():
    """As pynapple's own time support of a Tsd does, which ends at the last time."""
    rng, times = np.random.default_rng(0), np.arange(1000) * 0.01
    stimulus = nap.Tsd(t=times, d=np.sin(3 * times))
    counts = nap.TsdFrame(t=times, d=rng.poisson(5.0, (1000, 2)) * 1.0)
    basis = RaisedCosineLogConv(3, window_size=20, label="h") + IdentityEval(label="s")
    model = PopulationGLM().fit(basis.lazy_features(counts, stimulus), counts)
    drawn = simulate(jax.random.key(0), model, basis, [None, stimulus])
    assert sum(map(len, drawn.units.values())) == np.nansum(drawn.counts.d)


def test_an_offset_drives_the_bins_that_are_drawn(float64):
    """Simulate with an offset, fit with it, recover: a drive that is known does not change the filters."""
    basis = RaisedCosineLogConv(2, window_size=10)
    start = np.random.default_rng(0).poisson(0.1, (2000, 2))
    model = PopulationGLM().fit(basis.lazy_features(start), start)
    model.coef_ = np.array([[-1.0, 0.2], [-0.5, 0.0], [0.0, -1.0], [0.2, -0.5]])
    offset = np.where(np.arange(20_000) % 100 < 50, 1.0, -1.0)[:, None] * [1, 0.5]
    draw = {"duration": 20.0, "bin_size": 0.001}
    population = simulate(jax.random.key(0), model, basis, offset=offset, **draw)
    counts = population.counts.values
    assert counts[offset[:, 0] > 0, 0].mean() > 4 * counts[offset[:, 0] < 0, 0].mean()
    X = basis.lazy_features(counts)
    np.testing.assert_allclose(population.rates[10:], model.predict(X, offset=offset)[10:], rtol=1e-4)
    fit = PopulationGLM().fit(X, counts, offset=offset)
    rate = model.predict(X, offset=offset)[10:]
    for n in range(2):
        errors = standard_errors(np.asarray(X)[10:], rate[:, n])
        z = (np.append(fit.intercept_[n], fit.coef_[:, n]) - np.append(model.intercept_[n], model.coef_[:, n])) / errors
        assert np.abs(z).max() < 4
    zero = simulate(jax.random.key(0), model, basis, offset=np.zeros(20_000), **draw)
    plain = simulate(jax.random.key(0), model, basis, **draw)
    np.testing.assert_array_equal(zero.counts.values, plain.counts.values)
    offset[:5, 1] = np.nan
    holes = simulate(jax.random.key(0), model, basis, offset=offset, **draw).counts.values
    assert np.isnan(holes[:5, 1]).all() and np.isfinite(holes[5:]).all()
    with pytest.raises(
        ValueError, match=r"the simulation and offset must have the same number of rows; got 20000 and 3"
    ):
        simulate(jax.random.key(0), model, basis, offset=np.zeros(3), **draw)


def test_stability_is_that_at_the_offset(float64):
    """A drive moves the fixed point to the rates that it predicts; a large one, which the fit had, is no explosion."""
    basis = RaisedCosineLogConv(2, window_size=10)
    counts = np.random.default_rng(0).poisson(0.2, (3000, 2))
    model = PopulationGLM().fit(basis.lazy_features(counts), counts)
    model.coef_ = 0 * model.coef_
    for offset in (np.full(7, 0.5), np.log([0.5, 2.0, 2.0])):
        got = stability(model, basis, offset=offset)
        np.testing.assert_allclose(got.rates, np.exp(model.intercept_) * np.exp(offset).mean(), rtol=1e-4)
    assert stability(model, basis, offset=np.zeros(3)).rates == pytest.approx(stability(model, basis).rates)
    busy = simulate(jax.random.key(0), model, basis, duration=1.0, bin_size=0.01, offset=np.full(100, np.log(1000.0)))
    assert busy.counts.values.mean() > 100
