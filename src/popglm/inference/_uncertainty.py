"""Uncertainty of a fit as the user sees it: standard errors, intervals, bands of filters, tests of groups of coefficients."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from popglm._checks.values import require_flag
from popglm._design.layout import InputLayout
from popglm._types import Groups, Kernel, Numbers
from popglm.inference._checks import as_curve_weights, as_function_values
from popglm.inference._estimates import Estimates
from popglm.inference._groups import as_feature_groups

Coefs = Float[np.ndarray, "features ..."]  # with the neurons last, if there are several


class GroupTests(NamedTuple):
    """Tests that all coefficients of a group are 0: statistic, degrees of freedom and p-value, of each group and neuron."""

    statistic: np.ndarray
    df: np.ndarray
    p_values: np.ndarray

    def __repr__(self) -> str:
        """Number of tests that have a p-value, and their shape."""
        return f"GroupTests: {int(np.isfinite(self.p_values).sum())} tests, shape {np.shape(self.p_values)}"


@dataclass(frozen=True, repr=False)
class Uncertainty:
    r"""Standard errors, intervals, bands and tests of the estimates of a fit; made by `uncertainty`.

    Intervals are Wald's, :math:`\hat w \pm z\,\mathrm{se}`, with quantiles z of the normal distribution, or of Student's t for
    a sandwich by clusters and where a dispersion was estimated (Gaussian, Gamma, quasi-likelihood); `df` has its degrees of
    freedom.
    Under a penalty the errors are those of the posterior, and intervals cover the truth on average over the points of a filter
    (Nychka 1988), not at each of them: a peak is flattened, its surroundings are not.
    NaN marks parameters without an error: coefficients that a mask holds at 0, constant features, features that the
    data do not tell apart, neurons without events or far from their optimum.

    Arrays have the shapes of the model's own: those of a `GLM` have no axis of neurons.

    Attributes
    ----------
    kind : str
        "fisher" without a penalty, "posterior" with one; "quasi" or "sandwich".
    columns
        Ids of the neurons; None where they have none.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.inference import uncertainty
    >>> counts = np.random.default_rng(0).poisson(0.2, (4000, 3))
    >>> basis = RaisedCosineLogConv(4, window_size=20)
    >>> X = basis.lazy_features(counts)
    >>> result = uncertainty(PopulationGLM().fit(X, counts), X, counts)
    >>> result
    Uncertainty(kind='fisher'): 3 neurons, 12 features
    >>> result.coef_se.shape, result.intercept_se.shape
    ((12, 3), (3,))
    >>> low, high = result.bands(basis.kernel)
    >>> low.shape  # senders, lags, receivers
    (3, 20, 3)
    """

    kind: str
    columns: np.ndarray | None
    _estimates: Estimates
    _layout: tuple[InputLayout, ...]
    _single: bool

    def __repr__(self) -> str:
        """Kind of the errors, numbers of neurons and features."""
        n, k = self._estimates.values.shape
        by = "" if self.clusters is None else f", clusters={int(np.median(self.clusters))}"
        return f"Uncertainty(kind={self.kind!r}{by}): {n} neuron{'s' * (n > 1)}, {k - 1} features"

    @property
    def inputs(self) -> np.ndarray | None:
        """Id of the input that each feature is computed from; None where there are none."""
        names = [one.name for one in self._layout for _ in range(one.n_features)]
        return None if set(names) == {""} else np.array(names)

    @property
    def clusters(self) -> np.ndarray | None:
        """Number of clusters with valid bins, shape (neurons,); None without clusters."""
        return self._estimates.clusters

    def _public(self, array):
        """An array whose last axis is the neurons, without this axis for a `GLM`."""
        return array[..., 0] if self._single else array

    @property
    def covariance(self) -> Float[np.ndarray, "*neurons coordinates coordinates"]:
        """Covariance of the estimates, the intercept last: (neurons, features + 1, features + 1); no first axis for GLM."""
        not_identified = self._estimates.not_identified
        covariance = np.where(
            not_identified[:, :, None] | not_identified[:, None, :], np.nan, self._estimates.covariance
        )
        return covariance[0] if self._single else covariance

    @property
    def coef_se(self) -> Coefs:
        """Standard errors of the coefficients, shape (features, neurons)."""
        return self._public(self._estimates.standard_errors[:-1])

    @property
    def intercept_se(self) -> Float[np.ndarray, " neurons"]:
        """Standard errors of the intercepts, shape (neurons,)."""
        return self._estimates.standard_errors[-1]

    @property
    def edf(self) -> Coefs:
        r"""Effective degrees of freedom of each coefficient, shape (features, neurons); those of a filter are their sum.

        They are the diagonal of :math:`A^{-1} H / \varphi`: 1 without a penalty, 0 where the penalty leaves the data nothing to
        say (Hastie and Tibshirani 1990, *Generalized Additive Models*).
        """
        return self._public(self._estimates.edf[:, :-1].T)

    @property
    def df(self) -> Coefs:
        """Degrees of freedom of Student's t for each coefficient, shape (features, neurons); infinite for the normal."""
        return self._public(self._estimates.parameter_df[:-1])

    @property
    def z(self) -> Coefs:
        """Coefficients over their standard errors, shape (features, neurons)."""
        return self._public(self._estimates.z[:-1])

    @property
    def p_values(self) -> Coefs:
        """Two-sided p-values of the tests that a coefficient is 0, shape (features, neurons)."""
        return self._public(self._estimates.p_values[:-1])

    def interval(self, level: float = 0.95) -> tuple[Coefs, Coefs]:
        """Ends of the intervals of the coefficients.

        Parameters
        ----------
        level : float
            Share of such intervals that contain the true coefficient.

        Returns
        -------
        low, high : numpy.ndarray
            Each of shape (features, neurons).
        """
        low, high = self._estimates.intervals(level)
        return self._public(low[:-1]), self._public(high[:-1])

    def intercept_interval(
        self, level: float = 0.95
    ) -> tuple[Float[np.ndarray, " neurons"], Float[np.ndarray, " neurons"]]:
        """Ends of the intervals of the intercepts, a pair of arrays of shape (neurons,)."""
        low, high = self._estimates.intervals(level)
        return low[-1], high[-1]

    def weighted_sum(
        self, weights: Numbers, features: Groups | None = None, *, intercept: bool = False
    ) -> tuple[Any, Any]:
        r"""Weighted sums of coefficients, :math:`\sum_k a_k w_k`, and their standard errors.

        Parameters
        ----------
        weights
            Shape (functions,): the sum of a kernel over lags gives the log of a total gain; or (points, functions).
        features
            Whose coefficients these are, as for `bands`.
        intercept : bool
            Whether the intercept is added to each sum.

        Returns
        -------
        estimate, se : numpy.ndarray
            Each of shape (groups, points, neurons), without the groups if `features` names one, without the points
            if `weights` has one axis.
        """
        weights = as_function_values("weights", weights, (1, 2))
        groups, one, points = self._sums(weights, features, intercept)
        sums = [self._estimates.weighted_sums(group, points) for group in groups]
        estimate, se = (np.array(values) for values in zip(*sums, strict=True))
        if np.ndim(weights) == 1:
            estimate, se = estimate[:, 0], se[:, 0]
        return tuple(self._public(values[0] if one else values) for values in (estimate, se))

    def _sums(self, weights, features, intercept):
        """Parameters of each group, True if the user named a single one, and weights of each point (points, parameters)."""
        points = np.atleast_2d(weights)
        require_flag("intercept", intercept)
        named = as_feature_groups(features, self._layout, points.shape[1])
        groups = named.features
        if intercept:
            groups = [np.append(group, self._estimates.values.shape[1] - 1) for group in groups]
            points = np.pad(points, ((0, 0), (0, 1)), constant_values=1)
        return groups, named.is_single, points

    def bands(
        self,
        kernel: Kernel,
        features: Groups | None = None,
        level: float = 0.95,
        *,
        simultaneous: bool = False,
        intercept: bool = False,
        centered: bool | Numbers = False,
    ) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        r"""Bands about filters or tuning curves, before the exponential: ``plotting.filters`` takes them for one sender.

        .. math:: \sum_k h_k(l)\, \hat w_k \pm z \sqrt{h(l)^\top \mathrm{Cov}(\hat w)\, h(l)}

        A pointwise band contains each point of the true filter with probability `level`. A simultaneous band contains all
        points together with this probability: read the shape of a filter from it. Its quantile is the least of three bounds:
        Bonferroni's, Scheffé's, and that by the length of the path of the filter's direction over the lags. Under a penalty,
        it is that of the largest deviation of the posterior, from 2,000 directions of a fixed seed; then both hold for filters
        as smooth as the fit, and a peak that is narrower than few events can show may lie outside.

        Parameters
        ----------
        kernel
            The functions, shape (points, functions): `kernel` of a convolution, or functions on a grid of values.
        features
            Whose coefficients these are: the label of a term, such as "heading", or a list of labels; numbers of features, of
            shape (functions,) or (filters, functions); or a dictionary of these. By default all inputs of a single basis.
        level : float
            Share of the points, or of the filters, that are inside.
        simultaneous : bool
            Whether to cover all points of a filter.
        intercept : bool
            Whether the intercept is added: the linear predictor where all other features are 0, for a tuning curve. For
            functions that sum to 1, such as splines, the data determine this sum and not the coefficients.
        centered : bool or array
            Whether the mean of the curve over all points is subtracted: the effect about its mean, which the data determine
            for splines, too. An array of shape (points,) has weights for this mean, such as the time spent at each point.

        Returns
        -------
        low, high : numpy.ndarray
            Each of shape (filters, points, neurons), or (points, neurons) if `features` names one filter, as the label of a
            term with one input does.

        References
        ----------
        Naiman (1986), *Annals of Statistics* 14:896-906; Sun and Loader (1994), *Annals of Statistics* 22:1328-1345.
        """
        points = as_function_values("kernel", kernel, (2,))
        weights = as_curve_weights(centered, len(points), intercept)
        groups, one, points = self._sums(points - weights @ points, features, intercept)
        require_flag("simultaneous", simultaneous)
        estimates, ends = self._estimates, []
        for group in groups:
            estimate, se = estimates.weighted_sums(group, points)
            quantile = estimates.band_quantile if simultaneous else estimates.t_quantile
            half = quantile(group, points, level)
            ends.append((estimate - half * se, estimate + half * se))
        ends = np.array(ends).swapaxes(0, 1)
        return tuple(self._public(end[0] if one else end) for end in ends)

    def test(self, features: Groups | None = None) -> GroupTests:
        r"""Test that all coefficients of a group are 0; without a penalty by :math:`\hat w^\top \mathrm{Cov}^{-1} \hat w`.

        Only the part that the data determine is tested: collinear features add no degrees of freedom, as in `leave_out_test`.

        If the whole group is penalised with one strength, this statistic is the penalised likelihood ratio, and its
        reference is a weighted sum of chi-squared variables (Wood 2013b): the test that the variance of the filter is 0, at
        the given strength. If a part of the group has no penalty, such as the straight line of `Smoothness` without
        `ridge`, or another strength, as many directions are tested as the filter has degrees of freedom (Wood 2013a): at
        given strengths such tests reject too rarely.

        Strengths that were chosen by evidence come from the same data, so tests at these strengths reject too often. Whole
        inputs are then tested by their score, which needs no strength of their own (Zhang and Lin 2003): with the score u
        and the information M of the filter, given the others, by :math:`u^\top (M + S)^{-1} u` at three penalties S that M
        alone fixes, from none (Wald's test) to a strong one. The p-value is that of all three (Liu and Xie 2020),
        `statistic` and `df` are their means.

        Parameters
        ----------
        features
            The groups, by default all inputs of the model, as `filter_table` lists them. The label of a term in a sum of bases,
            such as "heading", names its inputs, and a list of labels those of several terms. Or a number of functions, for
            consecutive groups of so many features; an array (groups, features) of feature numbers; or a dictionary of these.

        Returns
        -------
        GroupTests
            `statistic`, `df` and `p_values` of shape (groups, neurons), without the groups if `features` names one, as the
            label of a term with one input does. The
            reference is a chi-squared distribution; an F distribution where the dispersion was estimated; Hotelling's for
            clusters, of which there must be more than coefficients in a group. Its degrees of freedom are clusters - 1, or
            for ``correction="CR2"`` those of Zhang's approximation (HTZ in R's clubSandwich; Pustejovsky and Tipton 2018).
            Under a penalty `df` is the mean of the statistic where the group is 0.

        References
        ----------
        Wood (2013a), *Biometrika* 100:221-228; Wood (2013b), *Biometrika* 100:1005-1010; Zhang and Lin (2003), *Biostatistics*
        4:57-74; Liu and Xie (2020), *Journal of the American Statistical Association* 115:393-402; Pustejovsky and Tipton
        (2018), *Journal of Business and Economic Statistics* 36:672-683.
        """
        groups = as_feature_groups(features, self._layout)
        tests = np.array([self._estimates.group_test(group) for group in groups.features]).swapaxes(0, 1)
        return GroupTests(*(self._public(values[0] if groups.is_single else values) for values in tests))
