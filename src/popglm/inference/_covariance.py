"""The entry to all inference about one fit: `uncertainty` checks it against its data, estimates the covariance, and warns."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from popglm._checks.values import as_plain_number, as_positive_integer, require_option
from popglm._design.design import Design
from popglm._design.inputs import are_whole, as_design_rows
from popglm._design.total import total
from popglm._pynapple import as_frame, epoch_starts
from popglm._sums.separation import LARGE_COEF, Separation, find_separation, sign_sums
from popglm._types import Counts, Features, Numbers, RowValues
from popglm.glm import GLM, PopulationGLM
from popglm.glm._access import is_single
from popglm.glm._settings import allows_firth
from popglm.inference._checks import (
    as_cluster_labels,
    require_clusters,
    require_correction,
    require_fisher_information,
    require_near_optimum,
    warn_few_df,
    warn_neurons,
    warn_not_identified,
    warn_one_cluster,
    warn_separated,
)
from popglm.inference._estimates import Estimates
from popglm.inference._filter_evidence import strength_uncertainty
from popglm.inference._fit_on_data import FitOnData
from popglm.inference._fit_statistics import FitSums
from popglm.inference._information import estimate_covariance, not_identified
from popglm.inference._profile import distance_from_optimum
from popglm.inference._uncertainty import Uncertainty

COVARIANCE_KINDS = {False: ("fisher", "quasi", "sandwich"), True: ("posterior", "quasi", "sandwich")}  # with a penalty?

SCORE_POWERS = {"bins": 1, "rows": 2}  # power of its weight by which a row adds the product of its score with itself


def uncertainty(
    model: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    kind: str | None = None,
    clusters: str | int | Numbers | None = None,
    *,
    correction: str | None = None,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> Uncertainty:
    r"""Covariance of the estimates of a fit, for each neuron by itself, from sums over the data that it was fitted to.

    By Fisher information, with :math:`\tilde x_t = (x_t, 1)`, the variance function V and the dispersion :math:`\varphi`,

    .. math:: \mathrm{Cov}(\hat w, \hat b) = I^{-1}, \qquad
       I = \sum_t \frac{f'(\eta_t)^2}{\varphi\, V(\mu_t)}\, \tilde x_t \tilde x_t^\top,

    which is right if the model is. The sandwich is right even if the variance of y about its mean differs from the model's, or
    bins of a cluster are correlated: with the observed information H and scores :math:`s_t` (derivatives of the log-likelihood
    of a bin),

    .. math:: H^{-1} \Bigl(\sum_c s_c s_c^\top\Bigr) H^{-1}, \qquad s_c = \sum_{t \in c} s_t .

    R's package sandwich has the expected information in place of H. For a link that is not canonical errors then differ by
    some per cent, 4 to 11 where both were tried.

    Quasi-likelihood is right if the variance of y is :math:`\varphi V(\mu)` with any constant :math:`\varphi`: Fisher's
    covariance has Pearson's :math:`\chi^2 / (n - k)` in its place, intervals use Student's t with n - k degrees of freedom,
    tests of groups F, as in R's ``family=quasipoisson``. It does not help where single bins hold a spike or none.

    Under Firth's penalty errors are those of the information at the estimates, as in R's brglm2; where features were separated,
    intervals of `popglm.inference.profile_interval` are better.

    Under a quadratic penalty, as Ridge, the fit is the mode of a posterior with a Gaussian prior, and a flat one of the
    intercept. With the strengths of the penalty in the matrix S, for a mean over n bins, the errors are those of

    .. math:: A^{-1}, \qquad A = (H + n S) / \varphi,

    whose bands cover the truth on average over the points of a filter. H is here the observed information, for every kind, and
    the sandwich is :math:`A^{-1} (B + n S / \varphi) A^{-1}`, with B the sum of products of scores: variance and squared bias.
    An estimated dispersion is Pearson's chi-squared over n less the effective degrees of freedom. Coefficients that the data
    do not determine but the penalty does have finite errors. Where strengths were chosen by evidence, or are an array with one
    for each part that evidence would choose, as `strength_` of such a fit, what their own uncertainty adds is included: the
    posterior of a filter is then a mixture over its strengths, with a half-Cauchy prior of its standard deviation (Gelman
    2006), so that a filter that was found flat has a band.

    With few clusters the sum over them is too small on average, as a fit follows each of them. With Fisher's information
    :math:`G_c` of each cluster and :math:`M = (\sum_c G_c)^{-1}`, the errors of ``correction="CR2"`` are those of

    .. math:: M \Bigl(\sum_c \tilde s_c \tilde s_c^\top\Bigr) M, \qquad \tilde s_c = (I - G_c M)^{-1/2} s_c ,

    which is unbiased if the model is right, and nearly so if not (Bell and McCaffrey 2002; Kauermann and Carroll 2001). Degrees
    of freedom are Satterthwaite's: those of a chi-squared variable with the mean and variance that the estimated variance has
    if the model is right. For a Gaussian, and wherever the rate is constant in a cluster, errors and degrees of freedom are
    those of clubSandwich; else clubSandwich's ``vcovCR(glm)`` takes another root of the same matrix, and gives ours for the
    working linear model (``lm`` of the rows times the root of their weights).

    It costs two or three passes over the data and 2 x time x features² x neurons operations, as much as features / 20 fits;
    memory is 8 bytes x neurons x features², and four times that under a penalty.

    Parameters
    ----------
    model
        A fitted `GLM` or `PopulationGLM`, without a penalty, with Firth's or with a quadratic one. A number as its strength
        counts as known, an array with one for each part as chosen by the data, even if there is one part.
    X, y
        The data of the fit; X may be lazy.
    kind
        "fisher", "quasi" or "sandwich"; with a penalty "posterior", "quasi" or "sandwich". None is the first of them.
    clusters
        For the sandwich: "bins", each by itself (HC0), as are the copies that a weight counts; "rows", each row with all its
        copies; "epochs" of a pynapple X or y; a number of bins, for blocks of that length within epochs; or one label for each
        bin. None is "epochs" where there are several; else "bins", or "rows" if a weight is no whole number.
    correction
        How errors by clusters are corrected for few clusters, "CR1S" or "CR2", as R's clubSandwich names them. None is "CR1S":
        the sum over C clusters is multiplied by C / (C - 1) and (n - 1) / (n - k), for n bins and k parameters, and
        intervals use Student's t with C - 1 degrees of freedom, tests of groups Hotelling's distribution. It takes clusters for
        equal, and many. "CR2" divides the scores of each cluster by what its own leverage has taken from them (see below);
        each coefficient, sum and group has degrees of freedom of its own, `Uncertainty.df`. Use it where clusters are few, or
        of very different lengths. It needs memory of 8 bytes x neurons x clusters x features², and no penalty.
    sample_weight, offset
        Those of the fit. A weight is the number of copies of its row: errors by Fisher information are those of the data with
        rows repeated, and n is the sum of the weights. Weights that are no such numbers, as one over the probability that a
        row was sampled, want the sandwich with clusters that hold all copies of a row, ``clusters="rows"`` or larger ones:
        then :math:`s_c = \sum_{t \in c} a_t s_t`, as in surveys.

    Returns
    -------
    Uncertainty
        Standard errors, intervals, bands of filters, tests of groups.

    Raises
    ------
    ValueError
        If the model has a penalty that is not quadratic; if it lies more than 0.3 standard errors from the optimum of these
        data, because they are other data or the fit had not converged; or if an observation model of your own does not define
        its Fisher information.

    Warns
    -----
    RuntimeWarning
        Names neurons without events or far from their optimum, collinear features and separated ones (never with an event, or
        always), whose errors are NaN; and warns of few clusters.

    References
    ----------
    McCullagh and Nelder (1989), *Generalized Linear Models*; White (1982), *Econometrica* 50:1-25; Liang and Zeger (1986),
    *Biometrika* 73:13-22; Hotelling (1931), *Annals of Mathematical Statistics* 2:360-378; Cameron and Miller (2015), *Journal
    of Human Resources* 50:317-372; for penalties Nychka (1988), *Journal of the American Statistical Association* 83:1134-1143;
    Marra and Wood (2012), *Scandinavian Journal of Statistics* 39:53-74; Gelman (2006), *Bayesian Analysis* 1:515-533; for few
    clusters Bell and McCaffrey (2002), *Survey Methodology* 28:169-181; Kauermann and Carroll (2001), *Journal of the American
    Statistical Association* 96:1387-1396; Pustejovsky and Tipton (2018), *Journal of Business and Economic Statistics*
    36:672-683.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> from popglm.inference import uncertainty
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 2))
    >>> y = rng.poisson(np.exp(X @ [0.5, 0.0] - 1))
    >>> result = uncertainty(GLM().fit(X, y), X, y)
    >>> low, high = result.interval(0.95)
    >>> (low < [0.5, 0.0]) & ([0.5, 0.0] < high)
    array([ True,  True])
    """
    return estimate_errors(model, X, y, kind, clusters, correction, sample_weight, offset).errors


class FitErrors(NamedTuple):
    """Uncertainty of a fit, and the fit itself; neurons that are not `valid` are silent or far from their optimum.

    `residual_df` is the number of bins minus the number of parameters; `dispersion` multiplies Fisher's covariance.
    """

    errors: Uncertainty
    fit: FitOnData
    valid: Bool[np.ndarray, " neurons"]
    residual_df: Float[np.ndarray, " neurons"]
    dispersion: Float[np.ndarray, " neurons"]


def estimate_errors(model, X, y, kind, clusters, correction=None, sample_weight=None, offset=None) -> FitErrors:
    """Check a fit against its data, estimate the covariance of its parameters, and warn of those without an error."""
    fit = FitOnData.from_fit(model, X, y, "model", sample_weight, offset, allow_penalty=True)
    kind = _resolve_kind(kind, fit.prior is not None)
    if clusters is not None and kind != "sandwich":
        raise ValueError(
            f'`clusters` is for kind="sandwich"; got {clusters!r} for {kind!r}. Leave it out, or write kind="sandwich".'
        )
    X, y = fit.data.X, fit.data.y
    labels, power = _as_clusters(clusters, X, y, fit.data.weight) if kind == "sandwich" else (None, None)
    bias_reduced = require_correction(correction, clusters, labels, fit.prior is not None)
    if (kind != "sandwich" or bias_reduced) and fit.prior is None:
        require_fisher_information(fit.observation_model)
    result = estimate_covariance(fit, kind, labels, power, bias_reduced)
    if fit.firth is not None:
        result = result._replace(distance=distance_from_optimum(fit))
    if result.silent.any():
        warn_neurons(result.silent, y.columns, "nothing to fit, so no standard errors")
    far = require_near_optimum(result.distance, result.silent, y.columns)
    undetermined = not_identified(result.null_directions, result.conditional_se, np.eye(fit.coef.shape[1] + 1)).T
    separation = _find_separation(fit, result.silent | far, result.posterior)
    separated = separation.combined | np.pad(separation.features, ((0, 0), (0, 1)))
    warn_not_identified(undetermined & ~separated, result.silent | far, X.columns, y.columns)
    if labels is not None:
        require_clusters(result.clusters, bias_reduced=bias_reduced)
    dispersion, covariance = fit.loss_divisor, np.where(far[:, None, None], np.nan, result.covariance)
    posterior = result.posterior
    # Under a penalty the dispersion has the effective degrees of freedom.
    if kind == "quasi" or (kind == "posterior" and fit.divisor_is_estimated):
        dispersion = FitSums.from_fit(fit).dispersion(result.residual_df)
        covariance *= (dispersion / fit.loss_divisor)[:, None, None]
        posterior = posterior and posterior.scale_dispersion(dispersion / fit.loss_divisor)
    warn_separated(separation, y.columns, X.columns, allows_firth=allows_firth(fit.observation_model))
    at_strengths = covariance.copy()
    if posterior is not None and posterior.prior.parts is not None:
        covariance += strength_uncertainty(posterior, fit.coef, covariance, kind == "sandwich")
    if bias_reduced:
        unknown = ~(result.silent | far)[:, None] & np.isfinite(np.diagonal(covariance, axis1=1, axis2=2)) & ~separated
        lost = unknown & np.stack([leverage.lost(np.eye(separated.shape[1])) for leverage in result.leverages])
        warn_one_cluster(lost, y.columns, X.columns)
        separated |= lost
    covariance[separated[:, :, None] | separated[:, None, :]] = np.nan
    estimated = kind == "quasi" or (fit.divisor_is_estimated and kind != "sandwich")
    estimates = Estimates(
        values=np.concatenate([fit.coef, fit.intercept[:, None]], 1),
        covariance=covariance,
        null_directions=result.null_directions,
        conditional_se=result.conditional_se,
        residual_df=result.residual_df if estimated else np.full(len(covariance), np.inf),
        free=np.pad(fit.free, ((0, 0), (0, 1)), constant_values=True),
        clusters=result.clusters,
        edf=result.edf,
        posterior=posterior,
        leverages=result.leverages,
        covariance_at_strengths=at_strengths,
        is_sandwich=kind == "sandwich",
    )
    if bias_reduced:
        warn_few_df(estimates.parameter_df[:-1].T, y.columns, X.columns)
    return FitErrors(
        errors=Uncertainty(
            kind=kind, columns=y.columns, _estimates=estimates, _layout=fit.layout, _single=is_single(model)
        ),
        fit=fit,
        valid=~(result.silent | far),
        residual_df=result.residual_df,
        dispersion=dispersion,
    )


def _resolve_kind(kind, has_penalty):
    """The kind of errors that was asked for; by default Fisher's, or those of the posterior if there is a penalty."""
    kinds = COVARIANCE_KINDS[has_penalty]
    if kind in ("fisher", "posterior") and kind not in kinds:
        has = "has a penalty" if has_penalty else "has no penalty"
        raise ValueError(
            f"`kind` must be one of {', '.join(map(repr, kinds))}, since the model {has}; got {kind!r}. Leave it out."
        )
    return kinds[0] if kind is None else require_option("kind", kind, kinds)


def _find_separation(fit, excluded, posterior):
    """Coefficients without a finite optimum: features separate bins with an event from those without, beyond all penalties."""
    support, params = fit.observation_model.support, np.column_stack([fit.coef, fit.intercept])
    suspects = (
        np.column_stack([fit.coef != 0, np.ones(len(fit.coef), bool)]) & ~(excluded | (fit.firth is not None))[:, None]
    )
    if posterior is not None:
        penalised = np.diagonal(posterior.penalty, axis1=1, axis2=2) > 0
        suspects &= ~np.column_stack([penalised, penalised.any(1)])
    if not (support.counts and suspects.any()):
        none = np.zeros(params.shape, bool)
        return Separation(features=none[:, :-1], combined=none, unseen=none[:, :-1])
    rows = as_design_rows(fit.data.X.values, centered=False, mask=fit.free)
    design = Design(rows, fit.data.y.values, fit.data.weight)
    sum_over = lambda f, *args: total(f, design, *args)
    signs, (n, first, second) = sum_over(_signs_and_spread)
    sd = np.sqrt(np.maximum(second / n - (first / n) ** 2, 0))
    suspects[:, -1] &= np.abs(fit.coef * sd).max(1, initial=0) > LARGE_COEF
    return find_separation(
        sum_over, support.kind, params, np.pad(fit.free, ((0, 0), (0, 1)), constant_values=True), suspects, signs
    )


def _signs_and_spread(block):
    """Sums of the signs, and number, sum and sum of squares of the features in bins that are valid for any neuron."""
    rows = block.weight.max(1)
    return sign_sums(block), (rows.sum(), rows @ block.X, rows @ block.X**2)


def _as_clusters(clusters, X, y, weight):
    """Number of each bin's cluster, from 1, in order of appearance, and None; or None and the `score_power` of single rows."""
    length, clusters = y.values.shape[0], as_plain_number(clusters)
    frame = X if len(X.epochs or ()) > len(y.epochs or ()) else y
    epochs = [] if frame.epochs is None else frame.epochs
    if clusters is None:
        clusters = "epochs" if len(epochs) > 1 else "bins" if are_whole(weight) else "rows"
    if isinstance(clusters, str):
        if require_option("clusters", clusters, (*SCORE_POWERS, "epochs")) in SCORE_POWERS:
            return None, SCORE_POWERS[clusters]
        if len(epochs) < 2:
            raise ValueError(
                f'clusters="epochs" needs a pynapple X or y with several epochs; got {len(epochs)}. Give a number of bins, '
                "such as clusters=1000, or one label for each bin."
            )
        labels = np.searchsorted(epochs.start, frame.times, "right")  # type: ignore[call-overload, union-attr]
    elif isinstance(clusters, int | np.integer) and not isinstance(clusters, bool):
        n = as_positive_integer("clusters", clusters, " number of bins")
        starts, rows = epoch_starts(frame, length), np.arange(length)
        epoch = np.searchsorted(starts, rows, "right") - 1
        labels = epoch * length + (rows - starts[epoch]) // n
    else:
        labels = as_cluster_labels(as_frame(clusters).values, length)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), int)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return rank[inverse], None
