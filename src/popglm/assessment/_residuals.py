"""Scores of each neuron and residuals of each bin."""

import numpy as np

from popglm._checks.models import require_estimator, require_fitted
from popglm._pynapple import as_pynapple, unit_table
from popglm._sums.scores import deviance_residual_entries, pearson_residual_entries
from popglm._types import ActivityArray, Counts, Features, Numbers, RowValues, Table
from popglm.glm import GLM, PopulationGLM
from popglm.glm._access import as_user_array, null_means, place_on_data
from popglm.glm._model import Model
from popglm.glm._score import score_by_neuron


def scores(
    model: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    null: str | Numbers = "scored",
    *,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> Table:
    r"""Table of all scores of each neuron by itself.

    With the log-likelihoods :math:`L` of the model, :math:`L_0` of the null model (a constant rate) and :math:`L_s` of the
    saturated model (which predicts every bin exactly),

    .. math:: R^2_{\mathrm{McFadden}} = 1 - \frac{L}{L_0}, \qquad
       R^2_{\mathrm{Cohen}} = 1 - \frac{L_s - L}{L_s - L_0}, \qquad
       \mathrm{bits\ per\ spike} = \frac{L - L_0}{\log 2 \, \sum_t y_t}

    The method `score` of the model gives these over all neurons.

    Parameters
    ----------
    model
        A `GLM` or `PopulationGLM` with coefficients.
    X, y
        Features and activity, as for `score`.
    null
        Mean counts per bin of the null model: those of the y that is scored ("scored"), those of the y of `fit` ("train"),
        or an array, one per neuron. With an offset they are means at an offset of 0, and the null model has it.
    sample_weight, offset
        As for `fit`.

    Returns
    -------
    pandas.DataFrame
        A row for each neuron, named as in y, with the columns "bins" (valid ones, a sum of weights), "mean" (of y per bin),
        "log-likelihood" (nats per bin), "deviance" (sum over bins, not divided by a dispersion), "pseudo-r2-McFadden",
        "pseudo-r2-Cohen" and, for models of counts, "bits-per-spike". For a neuron without an event in y the last three are 0
        with the null model "scored"; bits per spike are NaN with the others.

    Raises
    ------
    ValueError
        If `null` is not one of these, or is "train" after `update` instead of `fit`.

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
    on_data = as_model_on_data(model, X, y, sample_weight, offset, purpose="`scores`")
    table = score_by_neuron(on_data, null_means(model, null, on_data.n_neurons, is_compared=True))
    return unit_table(table, neuron_names(on_data), "neuron")


def deviance_residuals(
    model: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    *,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> ActivityArray:
    r"""Deviance residuals: square root of each bin's deviance, with the sign of y minus its predicted mean.

    .. math:: r_t = \mathrm{sign}(y_t - \mu_t) \sqrt{d_t}, \qquad
       d_t = 2 \varphi \, [\log p(y_t \mid \mu = y_t) - \log p(y_t \mid \mu_t)],

    so that the sum of their squares, times the weights if there are any, is the deviance. They are not divided by the
    dispersion :math:`\varphi` of a Gaussian or a Gamma. Where spikes are rare they form two clouds, one above 0 and one below,
    whose mean is not 0 even if the model is right: average `pearson_residuals` instead, and use deviance residuals to see
    which bins the deviance comes from.

    Parameters
    ----------
    model
        A `GLM` or `PopulationGLM` with coefficients.
    X, y
        Features and activity, as for `score`.
    sample_weight, offset
        As for `fit`; residuals are not multiplied by weights, and NaN where a weight is 0.

    Returns
    -------
    residuals
        The shape of y, NaN in bins that are not valid; a Tsd or TsdFrame if X or y is one.

    Raises
    ------
    ValueError
        If X or y does not fit the model.

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
    return _wrap_residuals(deviance_residual_entries, model, X, y, sample_weight, offset)


def pearson_residuals(
    model: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    *,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> ActivityArray:
    r"""Pearson residuals: y minus its predicted mean in each bin, in standard deviations.

    .. math:: r_t = \frac{y_t - \mu_t}{\sqrt{V(\mu_t)}},

    with the variance V of the observation model, not multiplied by the dispersion of a Gaussian or a Gamma. If the model is
    right, their mean is 0 over any group of bins selected by the past or by the features. For counts their mean square is 1
    if the variance is that of the model, and larger if it is larger.

    Parameters
    ----------
    model
        A `GLM` or `PopulationGLM` with coefficients.
    X, y
        Features and activity, as for `score`.
    sample_weight, offset
        As for `fit`; residuals are not multiplied by weights, and NaN where a weight is 0.

    Returns
    -------
    residuals
        The shape of y, NaN in bins that are not valid; a Tsd or TsdFrame if X or y is one.

    Raises
    ------
    ValueError
        If X or y does not fit the model.

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
    return _wrap_residuals(pearson_residual_entries, model, X, y, sample_weight, offset)


def as_model_on_data(model, X, y, sample_weight=None, offset=None, *, purpose=None, loss_purpose="a residual"):
    """Combine a fitted model with data.

    `purpose` names, for the message of an error, what needs the dispersion of any model; `loss_purpose` names what needs it
    only where it is part of the loss.
    """
    require_estimator(model, Model)
    require_fitted(model)
    return place_on_data(model, X, y, sample_weight, offset, purpose=purpose, loss_purpose=loss_purpose)


def neuron_names(on_data):
    """Names of the neurons: those of y or of the fit, else their numbers."""
    return list(range(on_data.n_neurons)) if on_data.y.columns is None else np.asarray(on_data.y.columns).tolist()


def _wrap_residuals(entries, model, X, y, sample_weight, offset):
    """Residuals by a function of blocks, as a pynapple object if X or y is one."""
    on_data = as_model_on_data(model, X, y, sample_weight, offset)
    values = as_user_array(model, on_data.entries(entries, *on_data.params))
    frame = on_data.X if on_data.X.times is not None else on_data.y
    return as_pynapple(values, frame, on_data.y.columns)
