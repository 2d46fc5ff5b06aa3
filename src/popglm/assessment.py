"""How good a fit is: scores of each neuron, residuals of each bin, and rescaled time, on data of your choice.

Everything takes a model with coefficients and the X and y that it is compared with, best of data that the fit has not seen.
"""

import numpy as np
from scipy import special, stats

from popglm import (
    _check,
    _check_arrays,
    _check_model,
    _check_plots,
    _objective,
    _pynapple,
    _rescale,
    _score,
    _settings,
)
from popglm._estimator import Estimator
from popglm.observation_models import Bernoulli, NegativeBinomial, Poisson

__all__ = ["deviance_residuals", "ks_test", "pearson_residuals", "rescaled_intervals", "scores"]

ALPHA = {Poisson: 0.0, Bernoulli: -1.0, NegativeBinomial: None}  # of the births in a bin; None is the model's scale


def scores(model, X, y, null="scored"):
    r"""All scores of each neuron by itself, as a table.

    With the log-likelihoods :math:`L` of the model, :math:`L_0` of the null model, which knows only the mean rate, and
    :math:`L_s` of one that predicts every bin exactly,

    .. math:: R^2_{\mathrm{McFadden}} = 1 - \frac{L}{L_0}, \qquad
       R^2_{\mathrm{Cohen}} = 1 - \frac{L_s - L}{L_s - L_0}, \qquad
       \mathrm{bits\ per\ spike} = \frac{L - L_0}{\log 2 \, \sum_t y_t}

    `score` of the model gives the same over all neurons.

    Parameters
    ----------
    model
        A `GLM` or `PopulationGLM` with coefficients.
    X, y
        Features and activity, as for `score`.
    null
        Mean counts per bin of the null model: those of the y that is scored ("scored"), those of the y of `fit` ("train"),
        or an array, one per neuron.

    Returns
    -------
    pandas.DataFrame
        A row for each neuron, by the names that y has, with the columns "bins" (valid ones), "mean" (of y per bin),
        "log-likelihood" (nats per bin), "deviance" (of all bins, not divided by a scale), "pseudo-r2-McFadden",
        "pseudo-r2-Cohen" and, for models of counts, "bits-per-spike". For a neuron without an event in y the last three are
        0 with the null model "scored"; bits per spike are NaN with the others.

    Raises
    ------
    ValueError
        If `null` is unknown, or "train" is asked for after `update` instead of `fit`.

    References
    ----------
    Pillow et al. (2008), *Nature* 454:995-999; Cohen et al. (2003), *Applied Multiple Regression*.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import assessment
    >>> from popglm.glm import PopulationGLM
    >>> X = np.random.default_rng(0).normal(size=(2000, 2))
    >>> y = np.random.default_rng(1).poisson(np.exp(X - 1))
    >>> model = PopulationGLM().fit(X[:1000], y[:1000])
    >>> bool((assessment.scores(model, X[1000:], y[1000:])["bits-per-spike"] > 0.3).all())
    True
    """
    given = _given(model, X, y, "`scores`")
    table = _score.by_neuron(given, model._null_mean(null, given.n_neurons, needed=True))
    return _pynapple.table(table, _names(model, given), "neuron")


def deviance_residuals(model, X, y):
    r"""Root of every bin's deviance, with the sign of what the model missed.

    .. math:: r_t = \mathrm{sign}(y_t - \mu_t) \sqrt{d_t}, \qquad
       d_t = 2 \varphi \, [\log p(y_t \mid \mu = y_t) - \log p(y_t \mid \mu_t)],

    so that the sum of their squares is the deviance. The scale :math:`\varphi` of a Gaussian or a Gamma is not divided by.
    In bins that hold a spike now and then they are two clouds, one above 0 and one below, whose mean is not 0 even if the
    model is right: average `pearson_residuals` instead, and ask these which bins the deviance comes from.

    Parameters
    ----------
    model
        A `GLM` or `PopulationGLM` with coefficients.
    X, y
        Features and activity, as for `score`.

    Returns
    -------
    residuals
        The shape of y, NaN in bins that are not valid; a Tsd or TsdFrame if X or y is one.

    Raises
    ------
    ValueError
        If X or y does not belong to the model.

    References
    ----------
    Pierce and Schafer (1986), *Journal of the American Statistical Association* 81:977-986.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import assessment
    >>> from popglm.glm import GLM
    >>> X, y = np.zeros((4, 1)), np.array([0, 1, 2, 1])
    >>> assessment.deviance_residuals(GLM().fit(X, y), X, y).round(2) + 0.0  # the model expects 1 everywhere
    array([-1.41,  0.  ,  0.88,  0.  ], dtype=float32)
    """
    return _residuals(_objective.deviance_residuals, model, X, y)


def pearson_residuals(model, X, y):
    r"""What the model missed in every bin, in standard deviations.

    .. math:: r_t = \frac{y_t - \mu_t}{\sqrt{V(\mu_t)}},

    with the variance V of the observation model, not multiplied by the scale of a Gaussian or a Gamma. If the model is right
    their mean is 0 over any group of bins that is formed by what is known before them. For counts their mean square is 1,
    and more if the counts scatter more than the model says.

    Parameters
    ----------
    model
        A `GLM` or `PopulationGLM` with coefficients.
    X, y
        Features and activity, as for `score`.

    Returns
    -------
    residuals
        The shape of y, NaN in bins that are not valid; a Tsd or TsdFrame if X or y is one.

    Raises
    ------
    ValueError
        If X or y does not belong to the model.

    References
    ----------
    McCullagh and Nelder (1989), *Generalized Linear Models*, section 2.4.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import assessment
    >>> from popglm.glm import GLM
    >>> X, y = np.zeros((4, 1)), np.array([0, 1, 2, 1])
    >>> assessment.pearson_residuals(GLM().fit(X, y), X, y).round(3).tolist()
    [-1.0, 0.0, 1.0, 0.0]
    """
    return _residuals(_objective.pearson_residuals, model, X, y)


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
    seed = _check.whole_number("seed", seed)
    given = _given(model, X, y, what="a rescaled interval")
    alpha = _settings.born(given.model, ALPHA)
    alpha = np.broadcast_to(given.model.scale[:, 0] if alpha is None else alpha, given.n_neurons).astype(float)
    counts, quiet = _check_arrays.whole("y", np.asarray(given.y.values)), given.entries(_objective.quiet, *given.params)
    z = []
    for n in range(given.n_neurons):
        valid = ~np.isnan(quiet[:, n])
        rng = np.random.default_rng([seed, n])
        z.append(-np.expm1(-_rescale.intervals(quiet[valid, n], counts[valid, n], alpha[n], rng)))
    return z[0] if model._single else dict(zip(_names(model, given), z, strict=True))


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
    rows = [_tests(of) for of in by_name.values()]
    columns = "intervals", "statistic", "pvalue", "correlation", "correlation_pvalue"
    return _pynapple.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)), list(by_name), "neuron")


def _tests(z):
    """The row of one neuron."""
    if np.size(z) == 0:
        return 0, *[np.nan] * 4
    z = _check_plots.shares("z", _check_plots.numbers("z", z, (1,)))
    distance = stats.ks_1samp(z, stats.uniform.cdf)
    if len(z) < 4:
        return len(z), distance.statistic, distance.pvalue, np.nan, np.nan
    normal = special.ndtri(np.clip(z, 1e-16, 1 - 1e-16))
    serial = stats.pearsonr(normal[:-1], normal[1:])
    return len(z), distance.statistic, distance.pvalue, serial.statistic, serial.pvalue


def _given(model, X, y, why=None, what="a residual"):
    """A model on data; `why` it needs any scale, `what` needs one inside the loss."""
    _check_model.estimator(model, Estimator)
    _check_model.fitted(model)
    return model._on(X, y, why, what)


def _names(model, given):
    """The neurons by the names that y has, or had at the fit, or their numbers."""
    names = given.y.columns if given.y.columns is not None else model._columns
    return list(range(given.n_neurons)) if names is None else np.asarray(names).tolist()


def _residuals(entries, model, X, y):
    given = _given(model, X, y)
    values = model._public(given.entries(entries, *given.params))
    frame = given.X if given.X.times is not None else given.y
    return _pynapple.wrap(values, frame, _names(model, given))
