"""Populations of coupled neurons: random couplings, and their simulation."""

import jax
import numpy as np
from jaxtyping import Float

from popglm._checks.values import as_number, as_positive_integer, as_range, as_share, require_key
from popglm._pynapple import bin_frame
from popglm._types import LinkLike, Numbers, Range
from popglm.basis import Conv
from popglm.links import LINKS, Link, require_link
from popglm.observation_models import Poisson
from popglm.simulation._checks import as_coupling_params, as_history, as_n_bins, require_causal_kernel
from popglm.simulation._recording import Population, make_recording, numpy_generator
from popglm.simulation._rollout import BinsToDraw, Recurrence, simulate_recurrence
from popglm.simulation._stability import MAX_MEAN_COUNT


def random_coupling(
    key: jax.Array,
    n_neurons: int,
    basis: Conv,
    *,
    rates: Range = (8.0, 22.0),
    bin_size: float = 0.005,
    connectivity: float = 0.3,
    excitatory: float = 0.4,
    excitation: float = 0.3,
    inhibition: float = 0.6,
    refractoriness: float = 3.0,
    adaptation: float = 0.25,
) -> tuple[Float[np.ndarray, "features neurons"], Float[np.ndarray, " neurons"]]:
    r"""Draw sparse couplings of both signs, each with its own time course, for a population that fires at chosen rates.

    A pair is coupled with probability `connectivity`; its filter is one random bump over the functions of the basis.
    The filter of a neuron on itself is negative at the shortest lags (refractory) and, weakly, at the longest
    (adaptation).
    The intercepts balance the couplings at the chosen rates :math:`r`, exactly if no input fluctuated:

    .. math:: b_n = \log r_n - \sum_{m,k} w_{(m,k),n} \, r_m \sum_{l=1}^{W} h_k(l)

    The effects of all senders and lags add up. For 20 neurons or more, give each about four inputs,
    ``connectivity=4 / n_neurons``, and give `simulate_population` a `history` at these rates. For windows longer than 0.2 s,
    weaken the peaks in proportion.

    Parameters
    ----------
    key : jax.Array
        Random key, ``jax.random.key(seed)``.
    n_neurons : int
    basis
        A convolution basis, such as `RaisedCosineLogConv`.
    rates : tuple of float
        Range of the rates, spikes per second; fluctuations of the input raise the simulated rates by about a fifth.
    bin_size : float
        In seconds.
    connectivity, excitatory : float
        Share of the ordered pairs with a coupling, and share of excitation among these; from 0 to 1.
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
    n = as_positive_integer("n_neurons", n_neurons)
    bin_size = as_number("bin_size", bin_size, 0, strict=True)
    low, high = as_range("rates", rates, low=0, strict=False)
    peaks = {
        "excitation": excitation,
        "inhibition": inhibition,
        "refractoriness": refractoriness,
        "adaptation": adaptation,
    }
    for name, peak in peaks.items():
        as_number(name, peak)
    connectivity, excitatory = as_share("connectivity", connectivity), as_share("excitatory", excitatory)
    rng, area = numpy_generator(require_key(key)), require_causal_kernel(basis).sum(0)
    functions = np.arange(len(area))
    coupled, excites = rng.random((n, n)) < connectivity, rng.random((n, n)) < excitatory
    peak = coupled * np.where(excites, excitation, -inhibition) * rng.uniform(0.5, 1.5, (n, n))
    center = rng.uniform(0, len(area) - 1, (n, n))
    coef = peak[:, None] * np.exp(-(((functions[:, None] - center[:, None]) / 0.7) ** 2) / 2)
    self_coupling = -refractoriness * np.select([functions == 0, functions == 1], [1, 1 / 3])
    self_coupling = self_coupling - adaptation * ((functions > 1) & (functions >= len(area) - 2))
    coef[np.arange(n), :, np.arange(n)] = self_coupling
    target = bin_size * rng.uniform(low, high, n)
    intercept = np.log(target) - np.einsum("nkm,k,n->m", coef, area, target)
    return coef.reshape(-1, n), intercept


def simulate_population(
    key: jax.Array,
    coef: Numbers,
    intercept: Numbers,
    basis: Conv,
    *,
    duration: float,
    bin_size: float = 0.005,
    inverse_link_function: LinkLike | Link = "exp",
    history: Numbers | None = None,
) -> Population:
    r"""Simulate coupled neurons bin by bin, with counts drawn from a GLM of their own past.

    .. math:: y_{tn} \sim \mathrm{Poisson}\Bigl(f\bigl(b_n + \sum_{m,k} w_{(m,k),n} \sum_{l=1}^{W} h_k(l)\,
       y_{t-l,m}\bigr)\Bigr)

    Spike times are uniform inside their bin, so counting them with the same bin size gives the counts.

    Parameters
    ----------
    key : jax.Array
        Random key, ``jax.random.key(seed)``.
    coef : array, shape (neurons * n_basis_funcs, neurons)
        Couplings, input-major (sender, function), as in a fitted `coef_`.
    intercept : array, shape (neurons,)
    basis
        The convolution basis of the coefficients.
    duration : float
        In seconds; must be a whole number of bins.
    bin_size : float
        In seconds.
    inverse_link_function
        "exp", "softplus" or a JAX function, from the linear predictor to the mean count per bin.
    history
        Counts before the first bin, shape (bins, neurons), the latest bin last. By default zeros; a population explodes from
        zeros if its intercepts balance strong inhibition.

    Returns
    -------
    Population
        Spike times, counts, rates and the true parameters.

    Raises
    ------
    ValueError
        If shapes do not fit the basis, the duration is not a whole number of bins, or mutual excitation drives the population
        beyond 20 spikes per bin.

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
    kernel = require_causal_kernel(basis)
    coef, intercept = as_coupling_params(coef, intercept, kernel.shape[1])
    n_bins = as_n_bins(duration, bin_size)
    model = Poisson(require_link(inverse_link_function, LINKS))
    counts_key, times_key = jax.random.split(require_key(key))
    n = len(intercept)
    recurrence = Recurrence(kernel=kernel, coef=coef.reshape(n, -1, n))
    frame = bin_frame(n_bins, bin_size)
    eta = np.broadcast_to(intercept, (n_bins, n))
    bins = BinsToDraw(starts=np.array([0, n_bins]), eta=eta, times=frame.times)
    history = as_history(history, len(kernel), n)
    counts, rates = simulate_recurrence(counts_key, model, recurrence, bins, history, np.full(n, MAX_MEAN_COUNT))
    units, counts = make_recording(times_key, counts, frame, bin_size, np.arange(n), model.support)
    return Population(
        units=units, counts=counts, rates=rates, coef=coef, intercept=intercept, filters=recurrence.filters
    )
