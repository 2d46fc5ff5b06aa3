"""Time rescaling: intervals between events on the clock of a model, and their Kolmogorov-Smirnov test.

After k events in a bin, the rate of the next one in it is proportional to ``1 + alpha * k``: `alpha` is 0 for Poisson counts,
-1 for Bernoulli (one event at most), and the dispersion for negative binomial counts.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from popglm._checks.arrays import as_rescaled_intervals, require_whole_numbers
from popglm._checks.values import as_nonnegative_integer
from popglm._pynapple import unit_table
from popglm._sums.scores import minus_log_prob_zero
from popglm._types import Counts, Features, Numbers, RowValues, Table
from popglm.assessment._residuals import as_model_on_data, neuron_names
from popglm.glm import GLM, PopulationGLM
from popglm.glm._access import is_single
from popglm.observation_models import Bernoulli, NegativeBinomial, Poisson

# None stands for the dispersion of the model.
RESCALING_ALPHA = {Poisson: 0.0, Bernoulli: -1.0, NegativeBinomial: None}


def integrate_between_events(hazard, counts, alpha, rng):
    """Integrated rate between consecutive events of one neuron; the first interval begins with the first bin.

    `hazard` is minus the log-probability of no event in each bin: the time that an empty bin takes on the clock. Bins that
    were left out take no time on it, so epochs are joined, which is right because a Poisson process does not depend on its
    past. The time after the last event is no interval.
    """
    bins = np.flatnonzero(counts)
    if not len(bins):
        return np.zeros(0)
    n, hazard = counts[bins].astype(int), hazard.astype(float)
    bin_of = np.repeat(np.arange(len(bins)), n)
    first = np.cumsum(n) - n
    places = rng.random(len(bin_of))
    places = places[np.lexsort((places, bin_of))]
    before = np.roll(places, 1)
    before[first] = 0
    steps = _integrate_within_bin(before, places, np.arange(len(bin_of)) - first[bin_of], hazard[bins][bin_of], alpha)
    # An interval across bins is the rest of one bin, the empty bins between, and the start of the next bin with an event.
    remainder = _integrate_within_bin(places[first + n - 1], 1.0, n, hazard[bins], alpha)
    clock = np.cumsum(hazard)
    empty = (clock - hazard)[bins] - np.append(0, clock[bins[:-1]])
    steps[first] += empty + np.append(0, remainder[:-1])
    return steps


def _integrate_within_bin(start, stop, k, hazard, alpha):
    """Integrated rate of the next event between two places of a bin, as shares of it, after k events in it."""
    if alpha == 0:
        return hazard * (stop - start)
    # The first is alpha times the mean; the second is 0 after the one spike of a Bernoulli bin.
    growth, pace = np.expm1(alpha * hazard), 1 / alpha + k
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pace == 0, 0, pace * (np.log1p(growth * stop) - np.log1p(growth * start)))


def as_rescaling_alpha(model, models):
    """The entry of `models` for the class of an observation model."""
    for kind, alpha in models.items():
        if isinstance(model, kind):
            return alpha
    names = ", ".join(kind.__name__ for kind in models)
    came, fix = type(model).__name__, "For other models look at `deviance_residuals`."
    raise ValueError(f"time can be rescaled for {names}, whose y are counts of events in time; got {came}. {fix}")


def rescaled_intervals(
    model: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    *,
    seed: int,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> Float[np.ndarray, " _intervals"] | dict[Any, Float[np.ndarray, " _intervals"]]:
    r"""Intervals between spikes on the clock of the model, uniform between 0 and 1 if the model is right.

    The clock runs at the rate that the model predicts. On this clock the spikes of a right model are a Poisson process of rate
    1, so that with the integrated rate :math:`\tau_i` between two spikes the values

    .. math:: z_i = 1 - e^{-\tau_i}

    are independent and uniform. As only the bin of a spike is known, its place in the bin is drawn at random from its
    distribution under the model; so z is right at any bin size, and differs a little from seed to seed. `ks_test` and
    `plotting.ks_plot` compare z with the uniform distribution.

    Invalid bins are left out, and epochs are joined. This costs no interval and biases none: on this clock a spike does not
    depend on the time of the last one.

    Parameters
    ----------
    model
        A `GLM` or `PopulationGLM` of counts (Poisson, Bernoulli or NegativeBinomial) with coefficients.
    X, y
        Features and activity, as for `score`; rows in the order of time.
    seed : int
        Seed of the places inside the bins. Those of a neuron do not depend on the other neurons.
    sample_weight, offset
        As for `fit`; weights are 0, which leaves a bin out, or 1.

    Returns
    -------
    z : array, shape (spikes,), or dict of such arrays
        An array for GLM, a dictionary of one for each neuron, named as in y, for PopulationGLM; where several neurons have one
        name, they are numbered instead. The first interval begins with the recording.

    Raises
    ------
    ValueError
        If the model is not one of counts, y holds numbers that are not whole, or X or y does not fit the model.

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
    on_data = as_model_on_data(model, X, y, sample_weight, offset, loss_purpose="a rescaled interval")
    on_data.require_selection("`rescaled_intervals`")
    alpha = as_rescaling_alpha(on_data.model, RESCALING_ALPHA)
    alpha = np.broadcast_to(on_data.model.scale[:, 0] if alpha is None else alpha, on_data.n_neurons).astype(float)
    counts = require_whole_numbers("y", np.asarray(on_data.y.values))
    hazard = on_data.entries(minus_log_prob_zero, *on_data.params)
    z = []
    for n in range(on_data.n_neurons):
        valid = ~np.isnan(hazard[:, n])
        rng = np.random.default_rng([seed, n])
        z.append(-np.expm1(-integrate_between_events(hazard[valid, n], counts[valid, n], alpha[n], rng)))
    if is_single(model):
        return z[0]
    names = neuron_names(on_data)
    return dict(zip(names if len(set(names)) == len(z) else range(len(z)), z, strict=True))


def ks_test(z: Numbers | Mapping[Any, Numbers]) -> Table:
    r"""Test rescaled intervals for uniformity (Kolmogorov and Smirnov) and for correlation of neighbours.

    The statistic is the largest distance between the share of intervals up to z and z itself,

    .. math:: D = \sup_z \, | F_n(z) - z |.

    The correlation is that of :math:`\Phi^{-1}(z_i)` and :math:`\Phi^{-1}(z_{i+1})`, which is 0 if intervals are independent.

    Parameters
    ----------
    z
        Rescaled intervals of one neuron, shape (intervals,), or a dictionary of them by the name of the neuron.

    Returns
    -------
    pandas.DataFrame
        A row for each neuron, with the columns "intervals" (their number), "statistic", "pvalue", "correlation" and
        "correlation_pvalue"; NaN where there are too few intervals, one for the statistic, four for the correlation.

    Raises
    ------
    ValueError
        If a z is not between 0 and 1.

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
    rows = [_ks_test_row(intervals) for intervals in by_name.values()]
    columns = "intervals", "statistic", "pvalue", "correlation", "correlation_pvalue"
    return unit_table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)), list(by_name), "neuron")


def _ks_test_row(z):
    """Number of intervals, both statistics and their p-values, of one neuron."""
    if np.size(z) == 0:
        return 0, *[np.nan] * 4
    z = as_rescaled_intervals(z)
    distance = stats.ks_1samp(z, stats.uniform.cdf)
    if len(z) < 4:
        return len(z), distance.statistic, distance.pvalue, np.nan, np.nan
    normal = special.ndtri(np.clip(z, 1e-16, 1 - 1e-16))
    serial = stats.pearsonr(normal[:-1], normal[1:])
    return len(z), distance.statistic, distance.pvalue, serial.statistic, serial.pvalue
