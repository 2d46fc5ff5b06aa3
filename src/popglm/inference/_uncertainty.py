"""What is known about the error of a fit: standard errors, intervals, bands of filters, tests of groups of coefficients."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from popglm._checks.values import require_flag
from popglm._sums.rank import MIN_DIRECTION_NORM
from popglm.inference._checks import as_feature_groups, as_function_values, as_level
from popglm.inference._information import not_identified
from popglm.inference._quantiles import f_quantile, tail_probability, tube_quantile


class GroupTests(NamedTuple):
    """Tests that some coefficients are 0: a statistic, its degrees of freedom and the p-value, of each group and neuron."""

    statistic: np.ndarray
    df: np.ndarray
    p_values: np.ndarray


@dataclass(frozen=True, repr=False)
class Uncertainty:
    r"""How certain the estimates of a fit are; made by `uncertainty`.

    Intervals are Wald's, :math:`\hat w \pm z\,\mathrm{se}`, with quantiles z of the normal distribution; of Student's t for a
    sandwich by clusters, and where a scale was estimated (Gaussian, Gamma).
    NaN marks what has no error: coefficients that a mask holds at 0, constant features, features that the
    data do not tell apart, neurons without events or far from their optimum.

    Arrays have the shapes that the model's have: a `GLM` has no axis of neurons.

    Attributes
    ----------
    kind : str
        "fisher" or "sandwich".
    clusters : shape (neurons,)
        Number of clusters with valid bins; None if the bins are by themselves.
    columns, inputs
        Ids of the neurons, and of the input that each feature is made of; None where they have none.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.inference import uncertainty
    >>> counts = np.random.default_rng(0).poisson(0.2, (4000, 3))
    >>> basis = RaisedCosineLogConv(4, window_size=20)
    >>> X = basis.lazy_features(counts)
    >>> errors = uncertainty(PopulationGLM().fit(X, counts), X, counts)
    >>> errors.coef_se.shape, errors.intercept_se.shape
    ((12, 3), (3,))
    >>> low, high = errors.bands(basis.kernel)
    >>> low.shape  # senders, lags, receivers
    (3, 20, 3)
    """

    kind: str
    clusters: np.ndarray | None
    columns: np.ndarray | None
    inputs: np.ndarray | None
    _estimates: np.ndarray  # neurons first, as all that follow; the intercept last
    _covariance: np.ndarray
    _residual: np.ndarray  # degrees of freedom of the scale, infinite if it is known
    _null: np.ndarray  # directions that the data do not determine, on the last axis
    _unit: np.ndarray
    _free: np.ndarray
    _single: bool
    _terms: np.ndarray | None = None  # the basis that each feature is of, where there are several

    def __repr__(self):
        """What it is of, and by what."""
        n, k = self._estimates.shape
        by = "" if self.clusters is None else f", clusters={int(np.median(self.clusters))}"
        return f"Uncertainty(kind={self.kind!r}{by}): {n} neuron{'s' * (n > 1)}, {k - 1} features"

    def _public(self, array):
        """An array that ends with the neurons, as the model shows it."""
        return array[..., 0] if self._single else array

    @property
    def _df(self):
        """Degrees of freedom of Student's t, of each neuron."""
        return np.maximum(self._residual if self.clusters is None else self.clusters - 1.0, 1)

    def _f(self, k):
        """What a Wald statistic of k coefficients is divided by to follow F, and its second degrees of freedom.

        Of a scale it is k; of a covariance that is itself estimated from clusters it is Hotelling's.
        """
        rest = self._df if self.clusters is None else np.maximum(self._df + 1 - k, 0)
        return k * (1 if self.clusters is None else self._df / np.maximum(rest, 1)), rest

    def _reach(self, level):
        """Standard errors from the estimate to an end of an interval."""
        return stats.t.ppf((1 + as_level(level)) / 2, self._df)

    @property
    def covariance(self):
        """Of the estimates, the intercept last, shape (neurons, features + 1, features + 1); (features + 1,) * 2 for GLM."""
        covariance = np.where(self._lost[:, :, None] | self._lost[:, None, :], np.nan, self._covariance)
        return covariance[0] if self._single else covariance

    @property
    def _lost(self):
        """Parameters that the data do not determine, (neurons, parameters)."""
        return not_identified(self._null, self._unit, np.eye(self._unit.shape[1])).T

    @property
    def _se(self):
        """Standard errors of all parameters, (parameters, neurons)."""
        variance = np.diagonal(self._covariance, axis1=1, axis2=2)
        return np.sqrt(np.where(self._lost, np.nan, variance)).T

    @property
    def coef_se(self):
        """Standard errors of the coefficients, shape (features, neurons)."""
        return self._public(self._se[:-1])

    @property
    def intercept_se(self):
        """Standard errors of the intercepts, shape (neurons,)."""
        return self._se[-1]

    @property
    def z(self):
        """Coefficients over their standard errors, shape (features, neurons)."""
        return self._public(self._estimates[:, :-1].T / self._se[:-1])

    @property
    def p_values(self):
        """Of the tests that a coefficient is 0, to either side, shape (features, neurons)."""
        return self._public(2 * stats.t.sf(np.abs(self._estimates[:, :-1].T / self._se[:-1]), self._df))

    def interval(self, level=0.95):
        """Ends of the intervals of the coefficients.

        Parameters
        ----------
        level : float
            Share of such intervals that hold the true coefficient.

        Returns
        -------
        low, high : numpy.ndarray
            Each of shape (features, neurons).
        """
        reach = self._reach(level) * self._se[:-1]
        return self._public(self._estimates[:, :-1].T - reach), self._public(self._estimates[:, :-1].T + reach)

    def intercept_interval(self, level=0.95):
        """Ends of the intervals of the intercepts, a pair of arrays of shape (neurons,)."""
        reach = self._reach(level) * self._se[-1]
        return self._estimates[:, -1] - reach, self._estimates[:, -1] + reach

    def weighted_sum(self, weights, features=None, *, intercept=False):
        r"""Weighted sums of coefficients, :math:`\sum_k a_k w_k`, and their standard errors.

        Parameters
        ----------
        weights
            Shape (functions,): the sum of a kernel over lags gives the log of a whole gain; or (points, functions).
        features
            Which features: shape (functions,) or (groups, functions), or a dictionary of these; by default all, in
            consecutive groups.
        intercept : bool
            Whether the intercept is added to each sum.

        Returns
        -------
        estimate, se : numpy.ndarray
            Each of shape (groups, points, neurons), without the groups if `features` names one, without the points
            if `weights` has one axis.
        """
        weights = as_function_values(weights, (1, 2), "weights")
        groups, one, points = self._sums(weights, features, intercept)
        estimate, se = (np.array(some) for some in zip(*(self._of(group, points) for group in groups), strict=True))
        if np.ndim(weights) == 1:
            estimate, se = estimate[:, 0], se[:, 0]
        return tuple(self._public(part[0] if one else part) for part in (estimate, se))

    def _sums(self, weights, features, intercept):
        """Parameters of each group, whether one was named, and the weights of each point, (points, parameters)."""
        points = np.atleast_2d(weights)
        require_flag("intercept", intercept)
        last = self._estimates.shape[1] - 1
        _, groups, one = as_feature_groups(features, last, points.shape[1])
        if intercept:
            groups, points = (
                [np.append(group, last) for group in groups],
                np.pad(points, ((0, 0), (0, 1)), constant_values=1),
            )
        return groups, one, points

    def _of(self, group, weights):
        """Estimates and standard errors at all points, (points, neurons). What a mask holds at 0 is known to be 0."""
        covariance, free = self._part(group)
        known = np.isfinite(np.diagonal(covariance, axis1=1, axis2=2))
        both = known[:, :, None] & known[:, None, :]
        variance = np.einsum("pk,nkj,pj->pn", weights, np.where(both, covariance, 0), weights, optimize=True)
        missing = (weights != 0).astype(int) @ ~known.T > 0  # other points do not need it
        variance[missing | self._hidden(group, weights) | ~free.any(1)] = np.nan
        return weights @ self._estimates[:, group].T, np.sqrt(np.maximum(variance, 0))

    def _part(self, group):
        """Covariance of some parameters, 0 where a mask holds them, and which are free."""
        free = self._free[:, group]
        covariance = self._covariance[:, group[:, None], group]
        return np.where(free[:, :, None] & free[:, None, :], covariance, 0), free

    def _hidden(self, group, weights):
        """Points that the data do not determine, (points, neurons)."""
        return not_identified(self._null[:, group], self._unit[:, group], weights)

    def _determined(self, group):
        """Projections, (neurons, parameters, parameters), on what the data determine of some parameters, each over its unit."""
        unit = np.where(self._unit[:, group] > 0, self._unit[:, group], 1)
        vectors, size, _ = np.linalg.svd(self._null[:, group] / unit[:, :, None], full_matrices=False)
        vectors = vectors * (size > MIN_DIRECTION_NORM)[:, None, :]
        return np.eye(len(group)) - vectors @ vectors.swapaxes(1, 2), unit

    def _rank(self, group):
        """How many of some parameters the data determine, of each neuron."""
        projection, _ = self._determined(group)
        return self._free[:, group].sum(1) - (len(group) - np.rint(np.trace(projection, axis1=1, axis2=2)).astype(int))

    def bands(self, kernel, features=None, level=0.95, *, simultaneous=False, intercept=False):
        r"""Bands about filters or tuning curves, before the exponential: ``plotting.filters`` takes them for one sender.

        .. math:: \sum_k h_k(l)\, \hat w_k \pm z \sqrt{h(l)^\top \mathrm{Cov}(\hat w)\, h(l)}

        Each point of the truth is inside with the probability `level`; of a simultaneous band all are, together: it is the one
        to read the shape of a filter from. Its quantile is the least of three bounds: Bonferroni's, Scheffé's, and that by the
        length of the path that the filter's direction takes over the lags.

        Parameters
        ----------
        kernel
            The functions, shape (points, functions): `kernel` of a convolution, or functions on a grid of values.
        features
            Which features are their coefficients: shape (functions,) or (filters, functions), or a dictionary of these; by
            default all, in consecutive groups.
        level : float
            Share of the points, or of the filters, that are inside.
        simultaneous : bool
            Whether to cover all points of a filter.
        intercept : bool
            Whether the intercept is added: the linear predictor where all other features are 0, for a tuning curve. Of
            functions that sum to 1, as splines do, the data determine this sum and not the coefficients.

        Returns
        -------
        low, high : numpy.ndarray
            Each of shape (filters, points, neurons), or (points, neurons) if `features` names one filter.

        References
        ----------
        Naiman (1986), *Annals of Statistics* 14:896-906; Sun and Loader (1994), *Annals of Statistics* 22:1328-1345.
        """
        groups, one, points = self._sums(as_function_values(kernel), features, intercept)
        require_flag("simultaneous", simultaneous)
        ends = []
        for group in groups:
            estimate, se = self._of(group, points)
            reach = self._all_points(group, points, level) if simultaneous else self._reach(level)
            ends.append((estimate - reach * se, estimate + reach * se))
        ends = np.array(ends).swapaxes(0, 1)
        return tuple(self._public(end[0] if one else end) for end in ends)

    def _all_points(self, group, kernel, level):
        """Standard errors from a filter to the end of a band that holds all of its points, of each neuron."""
        level = as_level(level)
        covariance, _ = self._part(group)
        some = np.isfinite(covariance).all((1, 2))
        values, vectors = np.linalg.eigh(np.where(some[:, None, None], covariance, 0))
        paths = kernel @ (vectors * np.sqrt(np.maximum(values, 0))[:, None, :])  # (neurons, points, functions)
        length = np.linalg.norm(paths, axis=2, keepdims=True)
        moving = (length[..., 0] > 1e-9 * length.max(1)) & ~self._hidden(group, kernel).T
        paths = np.where(moving[..., None], paths / np.where(length > 0, length, 1), 0)
        both = moving[:, 1:] & moving[:, :-1]
        angles = np.arccos(np.clip((paths[:, 1:] * paths[:, :-1]).sum(2), -1, 1))
        angles = np.where(both, np.minimum(angles, np.pi - angles), 0).sum(1)  # a direction and its opposite are one
        pieces = 1 + (np.diff(moving.astype(int), axis=1) > 0).sum(1) - ~moving[:, 0]  # a filter may be 0 between
        df, points, alpha = self._df, np.maximum(moving.sum(1), 1), 1 - level
        rank = np.maximum(self._rank(group), 1)
        bonferroni = stats.t.isf(alpha / 2 / points, df)
        over, rest = self._f(rank)
        scheffe = np.sqrt(np.where(rest > 0, over * f_quantile(alpha, rank, np.maximum(rest, 1)), np.inf))
        reach = np.minimum(np.minimum(bonferroni, scheffe), tube_quantile(angles, np.maximum(pieces, 1), df, alpha))
        return np.where(some, reach, np.nan)

    def test(self, features) -> GroupTests:
        r"""Wald's tests that all coefficients of a group are 0: :math:`\hat w^\top \mathrm{Cov}(\hat w)^{-1}\, \hat w`.

        Of what the data determine of them: features that others make up for are no degrees of freedom, as in `leave_out_test`.

        Parameters
        ----------
        features
            The groups: a number of functions, for consecutive groups of so many features; an array (groups, features) of
            feature numbers; or a dictionary of these, as ``basis.split_by_feature(np.arange(n_features), axis=0)`` gives it.

        Returns
        -------
        GroupTests
            `statistic`, `df` and `p_values` of shape (groups, neurons), without the groups if `features` names one. The
            reference is a chi-squared distribution; an F distribution where the scale was estimated; Hotelling's for clusters,
            of which there must be more than coefficients in a group.
        """
        _, groups, one = as_feature_groups(features, self._estimates.shape[1] - 1)
        tests = GroupTests(*np.array([self._test(group) for group in groups]).swapaxes(0, 1))
        return GroupTests(*(self._public(part[0] if one else part) for part in tests))

    def _test(self, group):
        """Statistic, degrees of freedom and p-value of each neuron: of what the data determine of these coefficients."""
        covariance, free = self._part(group)
        determined, unit = self._determined(group)
        df = self._rank(group)
        over, rest = self._f(np.maximum(df, 1))
        usable = (df > 0) & np.isfinite(covariance).all((1, 2)) & (rest > 0)
        covariance = np.where(usable[:, None, None], covariance / (unit[:, :, None] * unit[:, None, :]), 0)
        idle = np.eye(len(group)) * ~free[:, None, :] + np.eye(len(group)) - determined  # adds nothing
        covariance = determined @ covariance @ determined + idle + np.eye(len(group)) * ~usable[:, None, None]
        coef = (determined @ (self._estimates[:, group] * free / unit)[:, :, None])[..., 0]
        statistic = (coef * np.linalg.solve(covariance, coef[:, :, None])[..., 0]).sum(1)
        statistic = np.where(usable, statistic, np.nan)
        p = tail_probability(statistic / over, np.maximum(df, 1), np.maximum(rest, 1))
        return statistic, df.astype(float), p
