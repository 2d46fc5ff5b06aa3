"""Estimates with their covariance, as arrays: standard errors, weighted sums, Wald tests, quantiles of bands."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from popglm._design.arrays import as_divisor
from popglm._sums.rank import MIN_DIRECTION_NORM
from popglm.inference._checks import as_level
from popglm.inference._cluster_leverage import ClusterLeverage
from popglm.inference._filter_evidence import ConditionalFilter, cauchy_combination, inputs_of
from popglm.inference._filter_tests import NeuronGroup, penalised_statistics, tail_probabilities
from popglm.inference._information import not_identified
from popglm.inference._prior import Posterior
from popglm.inference._quantiles import f_quantile, maximum_quantile, tail_probability, tube_quantile


class Estimates(NamedTuple):
    """Estimates of a fit, neurons first, and their covariance; the intercept is the last parameter.

    `covariance` is NaN for parameters without a standard error. The data do not determine the parameters along
    `null_directions`, and `conditional_se` is the standard error of a parameter if all others were known. `residual_df` are
    the degrees of freedom of the dispersion, infinite if it is known. `clusters` is None unless errors are by clusters.
    `edf` are the effective degrees of freedom of each parameter; `posterior` is None without a penalty. With `leverages`, one
    for each neuron, errors by clusters are bias-reduced, and every sum has degrees of freedom of its own. The covariance
    includes the uncertainty of strengths chosen by evidence; `covariance_at_strengths` does not.
    """

    values: Float[np.ndarray, "neurons parameters"]
    covariance: Float[np.ndarray, "neurons parameters parameters"]
    null_directions: Float[np.ndarray, "neurons parameters directions"]
    conditional_se: Float[np.ndarray, "neurons parameters"]
    residual_df: Float[np.ndarray, " neurons"]
    free: Bool[np.ndarray, "neurons parameters"]
    clusters: Int[np.ndarray, " neurons"] | None
    edf: Float[np.ndarray, "neurons parameters"]
    posterior: Posterior | None = None
    leverages: list[ClusterLeverage] | None = None
    covariance_at_strengths: Float[np.ndarray, "neurons parameters parameters"] | None = None
    is_sandwich: bool = False

    @property
    def df(self):
        """Degrees of freedom of Student's t, of each neuron; infinite for the normal distribution."""
        return as_divisor(self.residual_df if self.clusters is None else self.clusters - 1.0)

    @property
    def parameter_df(self):
        """Degrees of freedom of Student's t for each parameter, (parameters, neurons)."""
        n_neurons, n_params = self.values.shape
        if self.leverages is None:
            return np.broadcast_to(self.df, (n_params, n_neurons))
        df = self.sums_df(np.arange(n_params), np.eye(n_params))
        return np.where(np.isfinite(self.standard_errors), df, np.nan)

    def sums_df(self, group, weights):
        """Degrees of freedom of Student's t for weighted sums of a group of parameters, (points or 1, neurons)."""
        if self.leverages is None:
            return self.df[None]
        sums = np.zeros((len(weights), self.values.shape[1]))
        sums[:, group] = weights
        return np.column_stack([leverage.df(sums) for leverage in self.leverages])

    def t_quantile(self, group, weights, level):
        """Standard errors from weighted sums of a group to the ends of their intervals, (points or 1, neurons)."""
        return stats.t.ppf((1 + as_level(level)) / 2, self.sums_df(group, weights))

    @property
    def z(self):
        """Estimates over their standard errors, (parameters, neurons)."""
        return self.values.T / self.standard_errors

    @property
    def p_values(self):
        """Two-sided p-values of the tests that a parameter is 0, (parameters, neurons)."""
        return 2 * stats.t.sf(np.abs(self.z), self.parameter_df)

    def intervals(self, level):
        """Ends of the intervals of all parameters, (parameters, neurons)."""
        half = stats.t.ppf((1 + as_level(level)) / 2, self.parameter_df) * self.standard_errors
        return self.values.T - half, self.values.T + half

    def f_reference(self, group):
        """Divisor that makes the Wald statistic of a group follow F, and both degrees of freedom of this F.

        The divisor is the number of coefficients k; for a covariance that is itself estimated from clusters it is that of
        Hotelling's distribution.
        """
        n_identified = self._n_identified(group)
        k = np.maximum(n_identified, 1)
        if self.clusters is None:
            return k, n_identified, self.df
        df = self.df if self.leverages is None else self._wald_df(group)
        residual_df = np.maximum(np.nan_to_num(df + 1 - k), 0)
        return k * df / np.where(residual_df > 0, residual_df, 1), n_identified, residual_df

    def _wald_df(self, group):
        """Degrees of freedom of Hotelling's distribution for the identified part of a group, of each neuron."""
        projections, scales = self._identified_projection(group)
        df = np.full(len(self.values), np.nan)
        for n, (projection, scale) in enumerate(zip(projections, scales, strict=True)):
            free = np.diag(self.free[n, group].astype(float))
            values, vectors = np.linalg.eigh(free @ projection @ free)
            contrasts = np.zeros(((values > 0.5).sum(), self.values.shape[1]))
            contrasts[:, group] = vectors[:, values > 0.5].T / scale
            df[n] = self.leverages[n].wald_df(contrasts)
        return df

    @property
    def not_identified(self):
        """True for parameters that the data do not determine, (neurons, parameters)."""
        return not_identified(self.null_directions, self.conditional_se, np.eye(self.conditional_se.shape[1])).T

    @property
    def standard_errors(self):
        """Standard errors of all parameters, (parameters, neurons)."""
        variance = np.diagonal(self.covariance, axis1=1, axis2=2)
        return np.sqrt(np.where(self.not_identified, np.nan, variance)).T

    def weighted_sums(self, group, weights):
        """Weighted sums of a group of parameters and their standard errors, (points, neurons).

        Parameters that a mask holds at 0 have no error. NaN in the covariance matters only where its weight is not 0.
        """
        covariance, free = self._covariance_of(group)
        finite = np.isfinite(np.diagonal(covariance, axis1=1, axis2=2))
        finite_pairs = finite[:, :, None] & finite[:, None, :]
        variance = np.einsum("pk,nkj,pj->pn", weights, np.where(finite_pairs, covariance, 0), weights, optimize=True)
        missing = (weights != 0).astype(int) @ ~finite.T > 0
        variance[missing | self._points_not_identified(group, weights) | ~free.any(1)] = np.nan
        return weights @ self.values[:, group].T, np.sqrt(np.maximum(variance, 0))

    def band_quantile(self, group, kernel, level):
        """Standard errors from a filter to the edge of a band that contains all of its points, of each neuron.

        The least of three bounds: Bonferroni's, Scheffé's, and that by the length of the path of the filter's direction. Under
        a penalty it is the quantile of the largest of all points.
        """
        level = as_level(level)
        covariance, _ = self._covariance_of(group)
        finite = np.isfinite(covariance).all((1, 2))
        values, vectors = np.linalg.eigh(np.where(finite[:, None, None], covariance, 0))
        paths = kernel @ (vectors * np.sqrt(np.maximum(values, 0))[:, None, :])  # (neurons, points, functions)
        length = np.linalg.norm(paths, axis=2, keepdims=True)
        moving = (length[..., 0] > 1e-9 * length.max(1)) & ~self._points_not_identified(group, kernel).T
        paths = np.where(moving[..., None], paths / np.where(length > 0, length, 1), 0)
        if self.posterior is not None:
            quantiles = maximum_quantile(paths, moving, self.df, self.clusters is not None, 1 - level)
            return np.where(finite, quantiles, np.nan)
        finite_pairs = moving[:, 1:] & moving[:, :-1]
        # A direction and its opposite are one.
        angles = np.arccos(np.clip((paths[:, 1:] * paths[:, :-1]).sum(2), -1, 1))
        angles = np.where(finite_pairs, np.minimum(angles, np.pi - angles), 0).sum(1)
        # Where the filter is 0 between two points, its path has several pieces.
        pieces = 1 + (np.diff(moving.astype(int), axis=1) > 0).sum(1) - ~moving[:, 0]
        points, alpha = np.maximum(moving.sum(1), 1), 1 - level
        # Where points have degrees of freedom of their own, the fewest hold for all.
        df = np.where(moving.T, self.sums_df(group, kernel), np.inf).min(0)
        bonferroni = stats.t.isf(alpha / 2 / points, df)
        divisor, rank, residual_df = self.f_reference(group)
        rank = np.maximum(rank, 1)
        scheffe = np.sqrt(np.where(residual_df > 0, divisor * f_quantile(alpha, rank, as_divisor(residual_df)), np.inf))
        tube = tube_quantile(angles, np.maximum(pieces, 1), df, alpha)
        return np.where(finite, np.minimum(np.minimum(bonferroni, scheffe), tube), np.nan)

    def wald_test(self, group):
        """Statistic, degrees of freedom and p-value of each neuron, for the identified part of a group of coefficients."""
        covariance, free = self._covariance_of(group)
        projection, scale = self._identified_projection(group)
        divisor, df, residual_df = self.f_reference(group)
        usable = (df > 0) & np.isfinite(covariance).all((1, 2)) & (residual_df > 0)
        covariance = np.where(usable[:, None, None], covariance / (scale[:, :, None] * scale[:, None, :]), 0)
        # Ones on the diagonal for held and unidentified parts: the matrix is invertible, and these add nothing.
        padding = np.eye(len(group)) * ~free[:, None, :] + np.eye(len(group)) - projection
        covariance = projection @ covariance @ projection + padding + np.eye(len(group)) * ~usable[:, None, None]
        coef = (projection @ (self.values[:, group] * free / scale)[:, :, None])[..., 0]
        statistic = (coef * np.linalg.solve(covariance, coef[:, :, None])[..., 0]).sum(1)
        statistic = np.where(usable, statistic, np.nan)
        p = tail_probability(statistic / divisor, np.maximum(df, 1), as_divisor(residual_df))
        return statistic, df.astype(float), p

    def group_test(self, group):
        """Statistic, degrees of freedom and p-value of each neuron, by the test for what of the group is penalised."""
        tests = np.stack(self.wald_test(group))
        if self.posterior is None:
            return tuple(tests)
        found = {
            n: self._evidence_statistics(n, group)
            or penalised_statistics(self._neuron_group(n, group), self.posterior, n)
            for n in range(len(self.values))
        }
        penalised = [n for n, statistics in found.items() if statistics]
        if penalised:
            statistics = [found[n] for n in penalised]
            by_evidence = self.posterior.prior.parts is not None
            # Statistics by evidence are not divided by the covariance that clusters give: it is in their weights.
            hotelling, combine = (
                self.clusters is not None and not by_evidence,
                (np.mean, cauchy_combination)[by_evidence],
            )
            tests[:, penalised] = tail_probabilities(statistics, self.df[penalised], hotelling, combine)
        return tuple(tests)

    def filter_edf(self, group):
        """Effective degrees of freedom of a group of coefficients of each neuron; NaN for neurons without errors."""
        if self.posterior is None:
            edf = self._n_identified(group).astype(float)
        else:
            edf = np.where(self.free[:, group], self.edf[:, group], 0).sum(1)
        return np.where(np.isfinite(np.diagonal(self.covariance, axis1=1, axis2=2)).any(1), edf, np.nan)

    def _evidence_statistics(self, neuron, group):
        """Statistics of whole inputs whose strengths were chosen by evidence; none for other groups."""
        posterior = self.posterior
        if posterior.prior.parts is None:
            return []
        inputs = inputs_of(posterior, group)
        if not len(inputs) or not np.isfinite(self.covariance[neuron][np.ix_(group, group)]).all():
            return []
        one = ConditionalFilter.of(posterior, neuron, self.values[neuron, :-1] + posterior.step[neuron], inputs)
        if not (one.weights.any() and one.strength.all() and one.n_informed):
            return []
        sandwich = self.covariance_at_strengths[neuron] if self.is_sandwich else None
        return one.statistics(one.score_covariance(sandwich))

    def _neuron_group(self, neuron, group):
        """The free coefficients of a group of one neuron, at the optimum."""
        free = group[self.free[neuron, group]]
        scale = self.conditional_se[neuron, free]
        return NeuronGroup(
            features=free,
            coef=self.values[neuron, free] + self.posterior.step[neuron, free],
            covariance=self.covariance[neuron][np.ix_(free, free)],
            scale=np.where(scale > 0, scale, 1),
            null=self.null_directions[neuron, free],
        )

    def _covariance_of(self, group):
        """Covariance of a group of parameters, 0 for those that a mask holds, and which of them are free."""
        free = self.free[:, group]
        covariance = self.covariance[:, group[:, None], group]
        return np.where(free[:, :, None] & free[:, None, :], covariance, 0), free

    def _points_not_identified(self, group, weights):
        """True for weighted sums that the data do not determine, (points, neurons)."""
        return not_identified(self.null_directions[:, group], self.conditional_se[:, group], weights)

    def _identified_projection(self, group):
        """Projections on the identified part of a group, (neurons, parameters, parameters), and the scale of each parameter."""
        scale = np.where(self.conditional_se[:, group] > 0, self.conditional_se[:, group], 1)
        vectors, size, _ = np.linalg.svd(self.null_directions[:, group] / scale[:, :, None], full_matrices=False)
        vectors = vectors * (size > MIN_DIRECTION_NORM)[:, None, :]
        return np.eye(len(group)) - vectors @ vectors.swapaxes(1, 2), scale

    def _n_identified(self, group):
        """Number of parameters of a group that the data of each neuron determine."""
        projection, _ = self._identified_projection(group)
        return self.free[:, group].sum(1) - (len(group) - np.rint(np.trace(projection, axis1=1, axis2=2)).astype(int))
