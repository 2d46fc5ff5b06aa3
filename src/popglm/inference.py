"""How certain a fit is: standard errors, intervals and bands, tests, and which of many couplings to believe.

All of it holds for a maximum of the likelihood itself, and is refused after a penalty.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from popglm import _check, _check_inference, _data, _design, _information, _pynapple, _separation
from popglm._lazy import LazyFeatures
from popglm._likelihood_ratio import leave_out_test, likelihood_ratio_test
from popglm._maximum import Maximum
from popglm._uncertainty import GroupTests, Uncertainty

__all__ = [
    "Discoveries",
    "GroupTests",
    "Uncertainty",
    "coupling_table",
    "false_discovery",
    "leave_out_test",
    "likelihood_ratio_test",
    "uncertainty",
]

KINDS = ("fisher", "sandwich")


class Discoveries(NamedTuple):
    """What is left of many tests; `q_values` are p-values adjusted for their number. False and NaN where p is NaN."""

    found: np.ndarray
    q_values: np.ndarray


def uncertainty(model, X, y, kind="fisher", clusters=None) -> Uncertainty:
    r"""Covariance of the estimates of a fit, of each neuron by itself, from sums over the data that it was fitted to.

    By Fisher information, with :math:`\tilde x_t = (x_t, 1)`, the variance function V and the scale :math:`\varphi`,

    .. math:: \mathrm{Cov}(\hat w, \hat b) = I^{-1}, \qquad
       I = \sum_t \frac{f'(\eta_t)^2}{\varphi\, V(\mu_t)}\, \tilde x_t \tilde x_t^\top,

    which is right if the model is. The sandwich is right even if the scatter of y about its mean is another, or correlated
    within clusters: with the observed information H, and scores :math:`s_t` (derivatives of the log-likelihood of a bin),

    .. math:: H^{-1} \Bigl(\sum_c s_c s_c^\top\Bigr) H^{-1}, \qquad s_c = \sum_{t \in c} s_t .

    It costs two or three passes over the data and 2 x time x features² x neurons operations, as much as features / 20 fits;
    memory is 8 bytes x neurons x features².

    Parameters
    ----------
    model
        A fitted `GLM` or `PopulationGLM` without a penalty.
    X, y
        The data of the fit; X may be lazy.
    kind
        "fisher" or "sandwich".
    clusters
        Of the sandwich: "bins", each by itself (HC0); "epochs" of a pynapple X or y; a number of bins, for blocks of that
        length inside of epochs; or one label for each bin. None is "epochs" where there are several, else "bins".
        The sum over C clusters is multiplied by C / (C - 1) and (n - 1) / (n - k), for n bins and k parameters, and
        intervals use Student's t with C - 1 degrees of freedom, tests of groups Hotelling's distribution.

    Returns
    -------
    Uncertainty
        Standard errors, intervals, bands of filters, tests of groups.

    Raises
    ------
    ValueError
        If the model has a penalty, or lies more than 0.3 standard errors from the optimum of these data: because they are
        other data, or the fit had not converged; or a model of your own does not say its Fisher information.

    Warns
    -----
    RuntimeWarning
        Of neurons without events or far from their optimum, of features that the data do not tell apart or that never come
        with an event (their errors are NaN), and of few clusters.

    References
    ----------
    McCullagh and Nelder (1989), *Generalized Linear Models*; White (1982), *Econometrica* 50:1-25; Liang and Zeger (1986),
    *Biometrika* 73:13-22; Hotelling (1931), *Annals of Mathematical Statistics* 2:360-378; Cameron and Miller (2015), *Journal
    of Human Resources* 50:317-372.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> from popglm.inference import uncertainty
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 2))
    >>> y = rng.poisson(np.exp(X @ [0.5, 0.0] - 1))
    >>> errors = uncertainty(GLM().fit(X, y), X, y)
    >>> low, high = errors.interval(0.95)
    >>> (low < [0.5, 0.0]) & ([0.5, 0.0] < high)
    array([ True,  True])
    """
    _check.option("kind", kind, KINDS)
    _check_inference.by_clusters(kind, clusters)
    fit, said = Maximum.of(model, X, y), (_said(X, "input"), _said(X, "term"))
    X, y = fit.X, fit.y
    if kind == "fisher":
        _check_inference.expected_curvature(fit.core)
    labels = _labels(clusters, X, y) if kind == "sandwich" else None
    found = fit.settled(kind, labels)
    if found.silent.any():
        _check_inference.warn(found.silent, y.columns, "nothing to fit, so no standard errors")
    far = _check_inference.near_optimum(found.distance, found.silent, y.columns)
    lost = _information.hidden(found.null, found.unit, np.eye(fit.coef.shape[1] + 1)).T
    _check_inference.warn_of_lost(lost, found.silent | far, X.columns)
    if labels is not None:
        _check_inference.clusters(found.clusters)
    covariance = np.where(far[:, None, None], np.nan, found.covariance)
    endless = _endless(fit) & ~(found.silent | far)[:, None]
    _check_inference.warn_of_endless(endless, y.columns, X.columns)
    endless = np.pad(endless, ((0, 0), (0, 1)))
    covariance[endless[:, :, None] | endless[:, None, :]] = np.nan
    known = kind, found.clusters, y.columns, said[0]
    residual = found.residual if fit.estimated and kind == "fisher" else np.full(len(covariance), np.inf)
    estimates = np.concatenate([fit.coef, fit.intercept[:, None]], 1)
    free = np.pad(fit.free, ((0, 0), (0, 1)), constant_values=True)
    return Uncertainty(*known, estimates, covariance, residual, found.null, found.unit, free, model._single, said[1])


def false_discovery(p_values, level=0.05, method="bh") -> Discoveries:
    r"""Which of many tests to believe, so that of those believed a share of at most `level` is wrong, on average.

    Of m p-values in order, those up to the largest k with :math:`p_{(k)} \le k\,\mathrm{level} / m` are found.

    Parameters
    ----------
    p_values
        Of any shape. NaN are no tests, and are left out.
    level
        The share, the false discovery rate.
    method
        "bh" for Benjamini and Hochberg, for tests that are independent or positively dependent; "by" for Benjamini and
        Yekutieli, for any dependence, which finds less.

    Returns
    -------
    Discoveries
        `found` (bool) and `q_values`, of the same shape.

    References
    ----------
    Benjamini and Hochberg (1995), *Journal of the Royal Statistical Society B* 57:289-300; Benjamini and Yekutieli (2001),
    *Annals of Statistics* 29:1165-1188.

    Examples
    --------
    >>> from popglm.inference import false_discovery
    >>> false_discovery([0.001, 0.02, 0.4, float("nan")]).found.tolist()
    [True, True, False, False]
    """
    p, level = _check_inference.p_values(p_values), _check_inference.level(level)
    _check.option("method", method, ("bh", "by"))
    q, known = np.full(p.shape, np.nan), ~np.isnan(p)
    if known.any():
        q[known] = stats.false_discovery_control(p[known], method=method)
    return Discoveries(q <= level, q)


def coupling_table(errors, kernel, *, features=None, tests=None, units=None, own=False, level=0.05, method="bh"):
    r"""Couplings of a population as a table, one row for each pair: how strong, how certain, which to believe.

    The strength of a filter is its sum over lags, :math:`\sum_l \sum_k h_k(l) w_k`: the log of the gain that one event has in
    all. Its test is Wald's, of all its coefficients being 0: a filter whose parts cancel is found, too.

    Parameters
    ----------
    errors
        Of `uncertainty`, for a population.
    kernel
        The basis over lags, shape (lags, functions).
    features
        As for `leave_out_test`, one group for each sender: of a sum of bases the part of the couplings,
        ``basis.split_by_feature(np.arange(len(coef)), axis=0)["coupling"]``. By default all features of a single basis, in
        groups as long as the kernel is wide.
    tests
        Other tests of the same groups, such as those of `leave_out_test`.
    units
        Ids, the same for senders and receivers, or a pair (senders, receivers) of lists; by default those that pynapple knows.
    own
        Whether filters of units on themselves are in it, too, and count among the tests.
    level, method
        As for `false_discovery`, over all rows.

    Returns
    -------
    pandas.DataFrame
        Columns sender, receiver, strength, se, statistic, df, p, q, found; the surest first.

    Raises
    ------
    ValueError
        If shapes do not belong together.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.inference import coupling_table, uncertainty
    >>> counts = np.random.default_rng(0).poisson(0.2, (4000, 3))
    >>> basis = RaisedCosineLogConv(4, window_size=20)
    >>> X = basis.lazy_features(counts)
    >>> table = coupling_table(uncertainty(PopulationGLM().fit(X, counts), X, counts), basis.kernel)
    >>> len(table), int(table.found.sum())  # pairs; none is coupled
    (6, 0)
    """
    import pandas

    kernel = _check_inference.functions(kernel)
    if features is None and units is None:
        _check_inference.one_term(errors._terms)
    names, groups, _ = _check_inference.groups(features, len(errors.coef_se), kernel.shape[1])
    pair = units if _check_inference.is_pair(units) else (units, units)
    if [str(name) for name in names] == [str(i) for i in range(len(groups))]:  # numbers, and no names
        names = None if errors.inputs is None else [errors.inputs[group[0]] for group in groups]
    strength, se = errors.weighted_sum(kernel.sum(0), groups)
    _check_inference.of_population(strength)
    given = (pair[0] if pair[0] is not None else names, pair[1] if pair[1] is not None else errors.columns)
    _check_inference.whose(own, *given, len(groups), strength.shape[1])
    senders = _check_inference.ids("units", pair[0], len(groups), names)
    receivers = _check_inference.ids("units", pair[1], strength.shape[1], errors.columns)
    found = errors.test(groups) if tests is None else tests
    statistic, df, p = (_check_inference.same_pairs(part, strength.shape) for part in found)
    at = [(s, r) for s in range(len(senders)) for r in range(len(receivers)) if own or senders[s] != receivers[r]]
    index = tuple(np.array(at, int).reshape(-1, 2).T)
    columns = {"sender": [senders[s] for s, _ in at], "receiver": [receivers[r] for _, r in at]}
    numbers = {"strength": strength, "se": se, "statistic": statistic, "df": df, "p": p}
    columns |= {name: part[index] for name, part in numbers.items()}
    found = false_discovery(p[index], level, method)
    table = pandas.DataFrame(columns | {"q": found.q_values, "found": found.found})
    return table.sort_values(["p", "statistic"], ascending=[True, False], kind="stable", ignore_index=True)


def _endless(fit):
    """Coefficients without a finite optimum: of counts, where a feature that is never of the other sign has no event."""
    if not fit.core.support.counts:
        return np.zeros(fit.coef.shape, bool)
    rows = _data.rows(fit.X.values, centered=False)
    sums = _design.total(_separation.sides, _design.Design(rows, fit.y.values))
    of = _separation.of_spikes if fit.core.support.ends_only else _separation.of_counts
    return of(sums, fit.coef)


def _labels(clusters, X, y):
    """The number of the cluster of every bin, from 1, in order of appearance; None for bins by themselves."""
    length, frame = y.values.shape[0], X if len(X.epochs or ()) > len(y.epochs or ()) else y
    epochs = [] if frame.epochs is None else frame.epochs
    if clusters is None:
        clusters = "epochs" if len(epochs) > 1 else "bins"
    if isinstance(clusters, str):
        if _check.option("clusters", clusters, ("bins", "epochs")) == "bins":
            return None
        _check_inference.several_epochs(len(epochs))
        labels = np.searchsorted(epochs.start, frame.times, "right")
    elif isinstance(clusters, int | np.integer) and not isinstance(clusters, bool):
        n = _check.positive_integer("clusters", clusters, " number of bins")
        starts, rows = _pynapple.epoch_starts(frame, length), np.arange(length)
        epoch = np.searchsorted(starts, rows, "right") - 1
        labels = epoch * length + (rows - starts[epoch]) // n
    else:
        labels = _check_inference.labels(_pynapple.unwrap(clusters).values, length)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), int)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return rank[inverse]


def _said(X, name):
    """What X says of each feature, such as the input that it is made of; None where it says nothing."""
    known = X.metadata.get(name) if isinstance(X, LazyFeatures) and X.metadata else _pynapple.metadata(X, name)
    return None if known is None else np.asarray(known)
