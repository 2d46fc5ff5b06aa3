"""Simulate, fit, recover: the truth lies within the standard errors of an independent calculation."""

import jax
import numpy as np
import pynapple as nap
import pytest

from popglm.basis import RaisedCosineLogConv
from popglm.glm import PopulationGLM
from popglm.simulation import random_coupling, simulate_population


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
