"""Time rescaling: intervals between events in rescaled time, and their Kolmogorov-Smirnov test."""

import numpy as np
from scipy import special, stats

from popglm._checks.arrays import as_finite_array, require_shares, require_whole_numbers
from popglm._checks.values import as_nonnegative_integer
from popglm._pynapple import unit_table
from popglm._sums.scores import minus_log_prob_zero
from popglm.assessment._residuals import as_model_on_data, neuron_names
from popglm.glm._access import is_single
from popglm.observation_models import Bernoulli, NegativeBinomial, Poisson

RESCALING_ALPHA = {
    Poisson: 0.0,
    Bernoulli: -1.0,
    NegativeBinomial: None,
}  # of the births in a bin; None is the model's scale


def integrate_between_events(quiet, counts, alpha, rng):
    """Integrated rate from event to event, of the bins of one neuron in their order, the first from the first bin's start.

    `quiet` is minus the log of the probability of no event in each bin, by which the clock moves on if there is none. Bins
    that were left out cost no time on this clock, so epochs are joined: what a Poisson process does after a gap does not
    depend on when the last event was. What comes after the last event is no interval.
    """
    bins = np.flatnonzero(counts)
    if not len(bins):
        return np.zeros(0)
    n, quiet = counts[bins].astype(int), quiet.astype(float)
    bin_of = np.repeat(np.arange(len(bins)), n)
    first = np.cumsum(n) - n
    places = rng.random(len(bin_of))
    places = places[np.lexsort((places, bin_of))]
    before = np.roll(places, 1)
    before[first] = 0
    steps = _integrate_within_bin(before, places, np.arange(len(bin_of)) - first[bin_of], quiet[bins][bin_of], alpha)
    rest = _integrate_within_bin(
        places[first + n - 1], 1.0, n, quiet[bins], alpha
    )  # from a bin's last event to its end
    clock = np.cumsum(quiet)
    empty = (clock - quiet)[bins] - np.append(0, clock[bins[:-1]])  # bins without an event, between two with
    steps[first] += empty + np.append(0, rest[:-1])
    return steps


def _integrate_within_bin(start, stop, k, quiet, alpha):
    """Integrated rate of the next event between two places of a bin, when k have been before."""
    if alpha == 0:
        return quiet * (stop - start)
    grown, pace = np.expm1(alpha * quiet), 1 / alpha + k  # alpha mu; 0 after the one spike of a Bernoulli bin
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pace == 0, 0, pace * (np.log1p(grown * stop) - np.log1p(grown * start)))


def as_rescaling_alpha(model, models):
    """What is kept for the first of these kinds of observation models that this one is."""
    for kind, kept in models.items():
        if isinstance(model, kind):
            return kept
    known = ", ".join(kind.__name__ for kind in models)
    raise ValueError(
        f"time can be rescaled for {known}, whose y are counts of events in time; got {type(model).__name__}. For other "
        "models look at `deviance_residuals`."
    )


def rescaled_intervals(model, X, y, *, seed):
    r"""Intervals between spikes on the clock of the model, uniform between 0 and 1 if the model is right.

    The clock runs at the rate that the model predicts. On it the spikes of a right model are a Poisson process of rate 1, so
    with :math:`\tau_i`, the integrated rate between two spikes,

    .. math:: z_i = 1 - e^{-\tau_i}

    are independent and uniform. Spikes that are known by their bins alone get a place inside their bin at random, from the
    distribution that the model gives it; so z is right at any bin size, and differs a little from seed to seed. `ks_test` and
    `plotting.ks_plot` compare z with the uniform distribution.

    Bins that are not valid are left out, and epochs are joined, which costs no interval and biases none: on this clock no
    spike depends on when the last one was.

    Parameters
    ----------
    model
        A `GLM` or `PopulationGLM` of counts (Poisson, Bernoulli or NegativeBinomial) with coefficients.
    X, y
        Features and activity, as for `score`; rows in the order of time.
    seed : int
        Of the places inside the bins. Those of a neuron do not depend on the other neurons.

    Returns
    -------
    z : array, shape (spikes,), or dict of such arrays
        For GLM an array, for PopulationGLM one for each neuron, by the names that y has; the first counts from the start.

    Raises
    ------
    ValueError
        If the model is not one of counts, y holds numbers that are not whole, or X or y does not belong to the model.

    References
    ----------
    Brown et al. (2002), *Neural Computation* 14:325-346; Haslinger, Pipa and Brown (2010), *Neural Computation*
    22:2477-2506.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import assessment
    >>> from popglm.glm import GLM
    >>> X = np.random.default_rng(0).normal(size=(2000, 2))
    >>> y = np.random.default_rng(1).poisson(np.exp(X.sum(1) - 1))
    >>> z = assessment.rescaled_intervals(GLM().fit(X[:1000], y[:1000]), X[1000:], y[1000:], seed=0)
    >>> bool(len(z) == y[1000:].sum()), bool(abs(z.mean() - 0.5) < 0.03)
    (True, True)
    """
    seed = as_nonnegative_integer("seed", seed)
    given = as_model_on_data(model, X, y, what="a rescaled interval")
    alpha = as_rescaling_alpha(given.model, RESCALING_ALPHA)
    alpha = np.broadcast_to(given.model.scale[:, 0] if alpha is None else alpha, given.n_neurons).astype(float)
    counts, quiet = (
        require_whole_numbers("y", np.asarray(given.y.values)),
        given.entries(minus_log_prob_zero, *given.params),
    )
    z = []
    for n in range(given.n_neurons):
        valid = ~np.isnan(quiet[:, n])
        rng = np.random.default_rng([seed, n])
        z.append(-np.expm1(-integrate_between_events(quiet[valid, n], counts[valid, n], alpha[n], rng)))
    return z[0] if is_single(model) else dict(zip(neuron_names(model, given), z, strict=True))


def ks_test(z):
    r"""Test rescaled intervals: whether they are uniform (Kolmogorov and Smirnov), and whether neighbours are correlated.

    The statistic is the largest distance between the share of intervals up to z and z itself,

    .. math:: D = \sup_z \, | F_n(z) - z |,

    the correlation that of :math:`\Phi^{-1}(z_i)` and :math:`\Phi^{-1}(z_{i+1})`, which is 0 if intervals are independent.

    Parameters
    ----------
    z
        Rescaled intervals of one neuron, shape (intervals,), or a dict of them, by the name of the neuron.

    Returns
    -------
    pandas.DataFrame
        A row for each neuron, with the columns "intervals" (their number), "statistic", "pvalue", "correlation" and
        "correlation_pvalue"; NaN where there are too few intervals, one for the statistic, four for the correlation.

    Raises
    ------
    ValueError
        If z is not between 0 and 1.

    References
    ----------
    Brown et al. (2002), *Neural Computation* 14:325-346.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import assessment
    >>> z = np.random.default_rng(1).uniform(size=(2, 500))
    >>> table = assessment.ks_test({"right": z[0], "too slow": z[1] ** 1.3})
    >>> (table["pvalue"] < 0.05).tolist()
    [False, True]
    """
    by_name = z if isinstance(z, dict) else {0: z}
    rows = [_ks_test_row(of) for of in by_name.values()]
    columns = "intervals", "statistic", "pvalue", "correlation", "correlation_pvalue"
    return unit_table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)), list(by_name), "neuron")


def _ks_test_row(z):
    """The row of one neuron."""
    if np.size(z) == 0:
        return 0, *[np.nan] * 4
    z = require_shares("z", as_finite_array("z", z, (1,)))
    distance = stats.ks_1samp(z, stats.uniform.cdf)
    if len(z) < 4:
        return len(z), distance.statistic, distance.pvalue, np.nan, np.nan
    normal = special.ndtri(np.clip(z, 1e-16, 1 - 1e-16))
    serial = stats.pearsonr(normal[:-1], normal[1:])
    return len(z), distance.statistic, distance.pvalue, serial.statistic, serial.pvalue
