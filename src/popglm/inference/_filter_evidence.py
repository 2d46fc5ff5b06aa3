r"""One filter under strengths that were chosen by evidence: what its strengths' own uncertainty adds, and a test without them.

The filter of an input, given all others, has a score u and an information M: its log-likelihood is
:math:`u^\top w - \frac{1}{2} w^\top M w`, in coordinates in which the parts of its penalty are diagonal.

Bands at the strengths of largest evidence are too narrow where the data say little about them: a filter that was found flat
would have no band at all. Its posterior is a mixture over strengths :math:`\lambda_j = 1/\sigma_j^2`, weighted by their
evidence and a half-Cauchy prior of :math:`\sigma_j` (Gelman 2006, *Bayesian Analysis* 1:515-533); its scale lets the part move
the linear predictor by a standard deviation of 1.

A test at the chosen strengths rejects too often: they were chosen from the same data. The score needs no strength of the
filter; with strengths that are fixed by the information, :math:`u^\top (M + S)^{-1} u` is a weighted sum of chi-squared
variables where w = 0 (Zhang and Lin 2003, *Biostatistics* 4:57-74). Three of them, from Wald's to a smooth one, have one
p-value by the Cauchy combination (Liu and Xie 2020, *Journal of the American Statistical Association* 115:393-402).
"""

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from popglm.inference._filter_tests import WeightedStatistic
from popglm.inference._prior import Posterior

N_NODES = {1: 15, 2: 13, 3: 8}  # of the grid of each part's strength, by the number of parts
SD_RANGE = (
    1e3  # of the standard deviations of the prior on the grid, beyond those that are too small or too large to matter
)
EDF_SHARES = (0.5, 0.15)  # degrees of freedom of the smooth statistics, as shares of all
MIN_EIGENVALUE = 1e-5  # of an information with ones on its diagonal, below which a direction is not determined


class ConditionalFilter(NamedTuple):
    """Filter of one neuron and input, given the other filters: information, score and eigenvalues of the penalty's parts.

    `basis` leads from these coordinates to the coefficients, of which there are those in `features`.
    """

    features: np.ndarray
    basis: Float[np.ndarray, "features coordinates"]
    information: Float[np.ndarray, "coordinates coordinates"]
    score: Float[np.ndarray, " coordinates"]
    weights: Float[np.ndarray, "parts coordinates"]
    strength: Float[np.ndarray, " parts"]  # in nats
    response: Float[np.ndarray, "all_features coordinates"]  # of all coefficients to this filter's

    @classmethod
    def of(cls, posterior: Posterior, neuron: int, coef: np.ndarray, inputs: np.ndarray) -> "ConditionalFilter":
        """Build for the filters of some inputs, from the posterior at the optimum `coef`."""
        parts, nats = posterior.prior.parts, posterior.nats[neuron]
        owner = np.repeat(np.arange(len(parts.sizes)), parts.sizes)
        inside = np.isin(owner, inputs)
        mine = np.flatnonzero(inside & (np.diag(posterior.covariance[neuron]) > 0))
        rows = np.isin(parts.group, inputs)
        if len(mine) < inside.sum():  # a mask holds some or all
            mine = mine[:0]
        basis = parts.basis[np.ix_(mine, mine)]
        H, C, S = posterior.information[neuron], posterior.covariance[neuron], posterior.penalty[neuron]
        own, scale = C[np.ix_(mine, mine)], np.sqrt(np.diag(C)[mine])
        inverse = np.linalg.pinv(own / np.outer(scale, scale), hermitian=True) / np.outer(scale, scale)
        response = C[:, mine] @ inverse
        others = H[:, mine].copy()
        others[mine] = 0
        left = C - response @ C[mine]
        M = H[np.ix_(mine, mine)] - others.T @ left @ others
        u = (M + S[np.ix_(mine, mine)]) @ coef[mine]
        weights, information = parts.weights[np.ix_(rows, mine)], basis.T @ ((M + M.T) / 2) @ basis
        seen = np.where(weights > 0, np.diag(information), 0).max(1, initial=0) > MIN_EIGENVALUE * np.diag(
            information
        ).max(initial=0)
        kept = (weights[seen] > 0).any(0)  # not the constant of functions that sum to 1, if it has a part of its own
        return cls(
            features=mine,
            basis=basis[:, kept],
            information=information[np.ix_(kept, kept)],
            score=(basis.T @ u)[kept],
            weights=weights[np.ix_(seen, kept)],
            strength=(posterior.prior.strength[neuron, rows] * nats)[seen],
            response=(response @ basis)[:, kept],
        )

    @property
    def n_informed(self) -> int:
        """Number of directions that the data determine."""
        return int((self._scaled_eigenvalues()[0] > MIN_EIGENVALUE).sum())

    def _scaled_eigenvalues(self):
        diagonal = np.maximum(np.diag(self.information), 0)
        scale = 1 / np.sqrt(np.where(diagonal > MIN_EIGENVALUE * diagonal.max(initial=0), diagonal, np.inf))
        values, vectors = np.linalg.eigh(self.information * np.outer(scale, scale))
        return values, vectors, scale

    @property
    def posterior_precision(self) -> Float[np.ndarray, "coordinates coordinates"]:
        """Precision of the filter at the chosen strengths."""
        return self.information + np.diag(self.strength @ self.weights)

    def score_covariance(self, sandwich: Any) -> Float[np.ndarray, "coordinates coordinates"]:
        """Covariance of the score where the filter is 0: the information, or what a sandwich of all coefficients says."""
        if sandwich is None:
            return self.information
        held = self.posterior_precision
        covariance = self.basis.T @ sandwich[np.ix_(self.features, self.features)] @ self.basis
        return held @ covariance @ held - np.diag(self.strength @ self.weights)

    def extra_covariance(
        self, intercept_information: float, sandwich: Any = None
    ) -> Float[np.ndarray, "coordinates coordinates"]:
        """What the mixture over strengths has more than the chosen ones: second moments of the filter about its estimate.

        Beside a sandwich the likelihood is tempered, so that its information is that of the scores.
        """
        chosen = np.linalg.inv(self.posterior_precision)
        estimate = chosen @ self.score
        if sandwich is not None:
            values, vectors, scale = self._scaled_eigenvalues()
            whitened = (vectors * scale[:, None])[:, values > MIN_EIGENVALUE] / np.sqrt(values[values > MIN_EIGENVALUE])
            ratio = max(np.trace(whitened.T @ self.score_covariance(sandwich) @ whitened) / whitened.shape[1], 1.0)
            chosen = self.basis.T @ sandwich[np.ix_(self.features, self.features)] @ self.basis
            return self._replace(information=self.information / ratio, score=self.score / ratio)._mixture_less(
                chosen, estimate, intercept_information
            )
        return self._mixture_less(chosen, estimate, intercept_information)

    def _mixture_less(self, chosen, estimate, intercept_information):
        """Second moments about the estimate in the mixture over strengths, less a covariance, where they are more."""
        sds, masses = zip(
            *(self._prior_nodes(part, intercept_information) for part in range(len(self.weights))), strict=True
        )
        strengths = np.array(list(product(*(1 / sd**2 for sd in sds))))
        mass = np.array([np.prod(some) for some in product(*masses)])
        precision = strengths @ self.weights
        matrices = self.information + np.eye(len(self.score)) * precision[:, None, :]
        inverse = np.linalg.inv(matrices)
        coef = inverse @ self.score
        penalised = (self.weights > 0).any(0)
        log_evidence = (coef @ self.score + np.log(precision[:, penalised]).sum(1) - np.linalg.slogdet(matrices)[1]) / 2
        weight = mass * np.exp(log_evidence - log_evidence.max())
        weight /= weight.sum()
        away = coef - estimate
        mixture = np.einsum("k,kij->ij", weight, inverse) + np.einsum("k,ki,kj->ij", weight, away, away)
        values, vectors = np.linalg.eigh(self.information)
        known = vectors[:, values > MIN_EIGENVALUE * values[-1]]
        projection = known @ known.T  # what the intercept stands for has no spread of its own
        values, vectors = np.linalg.eigh(projection @ (mixture - chosen) @ projection)
        return (vectors * np.maximum(values, 0)) @ vectors.T

    def _prior_nodes(self, part: int, intercept_information: float) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations of one part's prior on a grid, equal in their logarithms, and the mass of each."""
        seen = self.weights[part] > 0
        information = np.diag(self.information)[seen] / self.weights[part, seen]
        most, summed = (
            max(information.max(initial=0), np.finfo(float).tiny),
            max(information.sum(), np.finfo(float).tiny),
        )
        unit = np.sqrt(intercept_information / summed)  # moves the linear predictor by a standard deviation of 1
        least = 0.1 / np.sqrt(most)
        sd = np.geomspace(least, max(10 * unit, SD_RANGE * least), N_NODES.get(len(self.weights), 5))
        density = 1 / (1 + (sd / unit) ** 2)
        mass = density * sd * np.log(sd[1] / sd[0])
        mass[0] += density[0] * sd[0]  # of all that are smaller
        return sd, mass

    def statistics(self, score_covariance: Float[np.ndarray, "coordinates coordinates"]) -> list[WeightedStatistic]:
        """Statistics of the score, from Wald's to a smooth one, if this is its covariance where the filter is 0."""
        values, vectors, scale = self._scaled_eigenvalues()
        kept = values > MIN_EIGENVALUE
        directions = vectors[:, kept] / np.sqrt(values[kept]) * scale[:, None]
        wald = directions @ directions.T
        found = [_statistic(wald, self.score, score_covariance)]
        for share in EDF_SHARES:
            penalty = np.diag(self._precision_of_share(share))
            weight = directions @ np.linalg.inv(np.eye(kept.sum()) + directions.T @ penalty @ directions) @ directions.T
            found.append(_statistic(weight, self.score, score_covariance))
        return found

    def _precision_of_share(self, share: float) -> Float[np.ndarray, " coordinates"]:
        """Precision at which each part leaves a share of the degrees of freedom of its coordinates."""
        precision = np.zeros(len(self.score))
        for weights in self.weights:
            seen = weights > 0
            information = np.maximum(np.diag(self.information)[seen] / weights[seen], 0)
            if not information.any():
                continue
            low, high = np.log(information.max()) - 30, np.log(information.max()) + 30
            for _ in range(60):
                middle = (low + high) / 2
                edf = (information / (information + np.exp(middle))).mean()
                low, high = (middle, high) if edf > share * (information > 0).mean() else (low, middle)
            precision += np.exp(middle) * weights
        return precision


def _statistic(weight: np.ndarray, score: np.ndarray, covariance: np.ndarray) -> WeightedStatistic:
    """Quadratic form of a score with this covariance, and the weights of its chi-squared variables."""
    values, vectors = np.linalg.eigh(weight)
    root = vectors * np.sqrt(np.maximum(values, 0))
    weights = np.linalg.eigvalsh(root.T @ covariance @ root)
    return WeightedStatistic(float(score @ weight @ score), np.maximum(weights, 0))


def inputs_of(posterior: Posterior, features: np.ndarray) -> np.ndarray:
    """Numbers of the inputs whose features these are; none if they are no whole inputs."""
    sizes = posterior.prior.parts.sizes
    owner = np.repeat(np.arange(len(sizes)), sizes)
    inputs = np.unique(owner[features])
    return inputs if len(features) == sizes[inputs].sum() else inputs[:0]


def strength_uncertainty(
    posterior: Posterior, coef: Float[np.ndarray, "neurons features"], covariance: Any, is_sandwich: bool
) -> Float[np.ndarray, "neurons parameters parameters"]:
    """What the uncertainty of the strengths of all inputs adds to the covariance of the estimates, the intercept last."""
    extra = np.zeros_like(covariance)
    for neuron in np.flatnonzero(np.isfinite(covariance).any((1, 2)) & (posterior.intercept_information > 0)):
        to_all = np.vstack([np.eye(len(posterior.intercept_slope[neuron])), posterior.intercept_slope[neuron]])
        for i in range(len(posterior.prior.parts.sizes)):
            one = ConditionalFilter.of(posterior, int(neuron), coef[neuron] + posterior.step[neuron], np.array([i]))
            if len(one.features) and one.weights.any() and one.strength.all():  # a strength of 0 was given
                moved = to_all @ one.response
                sandwich = covariance[neuron] if is_sandwich else None
                added = one.extra_covariance(posterior.intercept_information[neuron], sandwich)
                extra[neuron] += moved @ added @ moved.T
    return extra


def cauchy_combination(p_values: np.ndarray) -> float:
    """P-value of several dependent tests of one hypothesis."""
    p = np.clip(p_values, 1e-300, 1 - 1e-12)
    # The tangent of small p-values, without the cancellation of 1/2 - p.
    t = np.where(p < 0.5, 1 / np.tan(np.pi * np.minimum(p, 0.5)), np.tan(np.pi * (0.5 - p)))
    return float(np.clip(stats.cauchy.sf(t.mean()), 0, 1))
