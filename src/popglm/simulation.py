"""Recurrent simulation: populations whose couplings are known, to test a fit against the truth."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm import _check, _check_bases, _pynapple, _settings, links

__all__ = ["Population", "random_coupling", "simulate_population"]

MAX_MEAN = 20.0  # counts per bin; a population that gets there is exploding


class Population(NamedTuple):
    """A simulated recording and the truth behind it."""

    units: object
    """Spike times in seconds, each inside its bin, as a pynapple TsGroup."""
    counts: object
    """The counts that were drawn, a TsdFrame; `units.count(bin_size)` gives the same."""
    rates: np.ndarray
    """Mean count per bin, shape (time, neurons)."""
    coef: np.ndarray
    """Shape (senders * n_basis_funcs, receivers), as a fitted `coef_`."""
    intercept: np.ndarray
    """Shape (receivers,)."""
    filters: np.ndarray
    """Effect on the log rate, shape (senders, window_size, receivers); index 0 of the window is lag 1."""


def random_coupling(
    key,
    n_neurons,
    basis,
    *,
    rates=(8.0, 22.0),
    bin_size=0.005,
    connectivity=0.3,
    excitatory=0.4,
    excitation=0.3,
    inhibition=0.6,
    refractoriness=3.0,
    adaptation=0.25,
):
    r"""Draw couplings of a population that fires at chosen rates: sparse, of both signs, each with its time course.

    A pair is coupled with probability `connectivity`; its filter is one random bump over the functions of the basis.
    The filter of a neuron on itself is negative at the shortest lags (refractory) and, weakly, at the longest
    (adaptation).
    The intercepts balance the couplings at the chosen rates :math:`r`, which would be exact if no input fluctuated:

    .. math:: b_n = \log r_n - \sum_{m,k} w_{(m,k),n} \, r_m \sum_{l=1}^{W} h_k(l)

    Parameters
    ----------
    key : jax.Array
        Random key, ``jax.random.key(seed)``.
    n_neurons : int
    basis
        A convolution basis, such as `RaisedCosineLogConv`.
    rates : tuple of float
        Range of the rates, spikes per second; fluctuations of the input raise those that come out by a fifth or so.
    bin_size : float
        In seconds.
    connectivity, excitatory : float
        Share of the ordered pairs that are coupled, and of these couplings that excite; from 0 to 1.
    excitation, inhibition, refractoriness, adaptation : float
        Typical peaks of the filters, in units of the log rate.

    Returns
    -------
    coef : numpy.ndarray, shape (n_neurons * n_basis_funcs, n_neurons)
        Input-major (sender, function), as `compute_features` orders the features.
    intercept : numpy.ndarray, shape (n_neurons,)

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import jax
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.simulation import random_coupling
    >>> coef, intercept = random_coupling(jax.random.key(0), 6, RaisedCosineLogConv(5, window_size=40))
    >>> coef.shape, intercept.shape
    ((30, 6), (6,))
    """
    n = _check.positive_integer("n_neurons", n_neurons)
    bin_size = _check.number("bin_size", bin_size, 0, strict=True)
    low, high = _settings.two("rates", rates)
    peaks = {
        "excitation": excitation,
        "inhibition": inhibition,
        "refractoriness": refractoriness,
        "adaptation": adaptation,
    }
    for name, peak in peaks.items():
        _check.number(name, peak)
    connectivity, excitatory = _settings.share("connectivity", connectivity), _settings.share("excitatory", excitatory)
    rng, area = _generator(_settings.key(key)), _check_bases.convolution(basis).sum(0)
    functions = np.arange(len(area))
    coupled, excites = rng.random((n, n)) < connectivity, rng.random((n, n)) < excitatory
    peak = coupled * np.where(excites, excitation, -inhibition) * rng.uniform(0.5, 1.5, (n, n))
    center = rng.uniform(0, len(area) - 1, (n, n))
    coef = peak[:, None] * np.exp(-(((functions[:, None] - center[:, None]) / 0.7) ** 2) / 2)
    own = -refractoriness * np.select([functions == 0, functions == 1], [1, 1 / 3])
    own = own - adaptation * ((functions > 1) & (functions >= len(area) - 2))
    coef[np.arange(n), :, np.arange(n)] = own
    target = bin_size * rng.uniform(low, high, n)
    intercept = np.log(target) - np.einsum("nkm,k,n->m", coef, area, target)
    return coef.reshape(-1, n), intercept


def simulate_population(key, coef, intercept, basis, *, duration, bin_size=0.005, inverse_link_function="exp"):
    r"""Simulate coupled neurons bin by bin: counts drawn from a GLM of their own past.

    .. math:: y_{tn} \sim \mathrm{Poisson}\Bigl(f\bigl(b_n + \sum_{m,k} w_{(m,k),n} \sum_{l=1}^{W} h_k(l)\,
       y_{t-l,m}\bigr)\Bigr)

    Spike times are uniform inside their bin, so that counting them again with the same bin size gives the counts.

    Parameters
    ----------
    key : jax.Array
        Random key, ``jax.random.key(seed)``.
    coef : array, shape (neurons * n_basis_funcs, neurons)
        Couplings, input-major (sender, function), as a fitted `coef_` has them.
    intercept : array, shape (neurons,)
    basis
        The convolution basis of the coefficients.
    duration : float
        In seconds; must be a whole number of bins.
    bin_size : float
        In seconds.
    inverse_link_function
        "exp", "softplus" or a JAX function: from the linear predictor to the mean count per bin.

    Returns
    -------
    Population
        Spike times, counts, rates and the true parameters.

    Raises
    ------
    ValueError
        If shapes do not fit the basis, the duration is not a whole number of bins, or the population explodes: mutual
        excitation drives it beyond 20 spikes per bin.

    Examples
    --------
    >>> import jax
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.simulation import random_coupling, simulate_population
    >>> basis, key = RaisedCosineLogConv(5, window_size=40), jax.random.key(1)
    >>> population = simulate_population(key, *random_coupling(key, 4, basis), basis, duration=10.0)
    >>> population.counts.shape
    (2000, 4)
    """
    kernel = _check_bases.convolution(basis)
    coef, intercept = _settings.coupling(coef, intercept, kernel.shape[1])
    n_bins = _settings.whole_bins(duration, bin_size)
    link = links.link_of(_settings.link(inverse_link_function, links.LINKS))
    counts_key, times_key = jax.random.split(_settings.key(key))
    run = _run(counts_key, coef, intercept, kernel, jnp.result_type(float), link.inverse, n_bins)
    counts, rates = map(np.asarray, run)
    _settings.no_explosion(rates, MAX_MEAN, bin_size)
    filters = np.einsum("lk,nkm->nlm", kernel, coef.reshape(len(intercept), -1, len(intercept)))
    units, frame = _spikes(times_key, counts, bin_size)
    return Population(units, frame, rates, coef, intercept, filters)


@partial(jax.jit, static_argnums=(4, 5, 6))
def _run(key, coef, intercept, kernel, dtype, inverse_link, n_bins):
    coef, intercept, kernel = (a.astype(dtype) for a in (coef, intercept, kernel))

    def one_bin(history, t):
        mean = inverse_link((kernel.T @ history).T.reshape(-1) @ coef + intercept)
        uniform = jax.random.uniform(jax.random.fold_in(key, t), mean.shape, dtype)
        count = _poisson(uniform, jnp.minimum(mean, MAX_MEAN))
        return jnp.concatenate([count[None], history[:-1]]), (count.astype(jnp.uint8), mean)

    history = jnp.zeros((len(kernel), len(intercept)), dtype)
    return jax.lax.scan(one_bin, history, jnp.arange(n_bins))[1]


def _poisson(uniform, mean):
    """Counts by inversion: search the distribution function upwards. Quick because most bins hold no spike."""
    most = mean + 12 * jnp.sqrt(mean) + 12  # beyond, rounding would climb for ever

    def climb(state):
        count, probability, left = state
        count = jnp.where((left > 0) & (count < most), count + 1, count)
        probability = probability * mean / jnp.maximum(count, 1)
        return count, probability, jnp.where(left > 0, left - probability, left)

    start = (jnp.zeros_like(mean), jnp.exp(-mean), uniform - jnp.exp(-mean))
    return jax.lax.while_loop(lambda s: jnp.any((s[2] > 0) & (s[0] < most)), climb, start)[0]


def _spikes(key, counts, bin_size):
    """TsGroup and TsdFrame of the counts on one time axis that starts at 0."""
    n_bins, n_neurons = counts.shape
    rng = _generator(key)
    trains = []
    for neuron in range(n_neurons):
        bins = np.repeat(np.arange(n_bins), counts[:, neuron])
        trains.append(np.sort(bins + rng.uniform(0.01, 0.99, len(bins))) * bin_size)
    return _pynapple.recording(trains, counts, bin_size)


def _generator(key):
    """NumPy's generator for what is drawn on the host."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
