"""Inverse of one neuron's information, alone or with the precision of a prior, on the directions that they determine.

Matrices are sums over bins in features centred at the neuron's own mean, to the precision of these sums; what is inverted
is scaled to ones on its diagonal, in double precision. Where the information along a direction is round-off, there is none: it
is a null direction, unless the prior determines it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from popglm._design.arrays import machine_epsilon

# Eigenvalues of a matrix with ones on its diagonal are 0 up to this many times the round-off of a sum.
MIN_EIGENVALUE_FACTOR = 64

# Eigenvalues of a prior's precision with ones on its diagonal are 0 up to here: it is known in double precision.
MIN_PRIOR_EIGENVALUE = 1e-13

Matrix = Float[np.ndarray, "parameters parameters"]


class InverseInformation(NamedTuple):
    """Inverse of one neuron's information, in features centred at `mean`; 0 for parameters that are held or do not vary.

    With a prior it is the inverse of their sum, and `information` is that of the data without its round-off. `conditional_se`
    is the standard error of a parameter if all others were known.
    """

    matrix: Matrix
    null_directions: Float[np.ndarray, "parameters directions"]
    varying: Bool[np.ndarray, " parameters"]
    conditional_se: Float[np.ndarray, " parameters"]
    mean: Float[np.ndarray, " features"]
    information: Matrix

    @classmethod
    def from_information(cls, information, *, free, mean, power, nonzero) -> "InverseInformation":
        """Invert on the directions that the data determine; the others are null directions.

        A feature is constant, as for the fit, if its variance is below the round-off of its `power`. Its coefficient is
        exchangeable with the intercept, unless it is 0 (not `nonzero`).
        """
        eps, varies = machine_epsilon(), _varies(information, power)
        varying, constant = free & varies, np.flatnonzero(free & ~varies & nonzero)
        se = _conditional_se(information, varying)
        block = np.ix_(varying, varying)
        values, vectors = np.linalg.eigh((information * np.outer(se, se))[block])
        identified = values > MIN_EIGENVALUE_FACTOR * eps
        matrix, null = np.zeros_like(information), np.zeros((len(se), (~identified).sum()))
        matrix[block] = (vectors[:, identified] / values[identified]) @ vectors[:, identified].T
        null[varying] = vectors[:, ~identified]
        matrix, null = matrix * np.outer(se, se), null * se[:, None]
        se[constant] = 1 / np.sqrt(np.maximum(power[constant], np.finfo(np.float32).tiny))
        null = np.concatenate([null, (np.eye(len(se)) * se)[:, constant]], 1)
        return cls(matrix, null, varying, se, mean, information)

    @classmethod
    def with_prior(cls, information, precision, *, free, mean, power) -> "InverseInformation":
        """Invert the sum of the information and the precision of a prior, on the directions that either determines."""
        varying = free & _varies(information, power)
        information = _without_round_off(information, varying)
        null = _null_of_both(information, precision, varying, free)
        used = varying | (np.diag(precision) > 0)
        se = _conditional_se(information + precision, used)
        scaled = (information + precision) * np.outer(se, se)
        directions = np.linalg.qr(null / np.where(se > 0, se, 1)[:, None])[0] if null.size else null
        projection = np.eye(len(se)) - directions @ directions.T
        scaled = projection @ scaled @ projection + directions @ directions.T + np.diag(~used)
        values, vectors = np.linalg.eigh(scaled)
        identified = values > len(se) * np.finfo(float).eps
        matrix = (vectors[:, identified] / values[identified]) @ vectors[:, identified].T
        matrix = (projection @ matrix @ projection) * np.outer(se, se)
        null = np.concatenate([null, vectors[:, ~identified] * se[:, None]], 1)
        return cls(matrix, null, used, se, mean, information)

    @property
    def shares(self):
        """Matrix F = A⁻¹ H of the shares that the data have in the estimates; its trace are effective degrees of freedom."""
        return self.matrix @ self.information

    def newton_step(self, gradient):
        """Newton's step uphill, from the gradient of what is minimised in features that are not centred."""
        return -self.matrix @ self._centre(gradient)

    def distance(self, gradient, divisor):
        """Distance from the optimum in standard errors: length of Newton's step in the metric of the information."""
        gradient = self._centre(gradient)
        return np.sqrt(max(gradient @ self.matrix @ gradient, 0) / divisor)

    def _centre(self, gradient):
        return np.append(gradient[:-1] - self.mean * gradient[-1], gradient[-1])

    def uncentering_matrix(self, center):
        """Matrix that maps parameters of centred features to those of the features as they are."""
        matrix = np.eye(len(self.varying))
        matrix[-1, :-1] = -(self.mean + center)
        return matrix


def _varies(information, power):
    """True for features whose variance is above the round-off of their `power`."""
    diagonal = np.diag(information)
    return (diagonal > 8 * machine_epsilon() * power) & np.isfinite(diagonal)


def _conditional_se(information, used):
    return np.where(used, 1 / np.sqrt(np.where(used, np.diag(information), 1)), 0)


def _without_round_off(information, varying):
    """Information of the parameters that vary, exactly 0 along the directions where it is round-off."""
    se = _conditional_se(information, varying)
    values, vectors = np.linalg.eigh(np.where(np.outer(se, se) > 0, information, 0) * np.outer(se, se))
    values = np.where(np.abs(values) > MIN_EIGENVALUE_FACTOR * machine_epsilon(), values, 0)
    root = np.where(varying, 1 / np.where(varying, se, 1), 0)
    return (vectors * values) @ vectors.T * np.outer(root, root)


def _null_of_both(information, precision, varying, free):
    """Directions, as columns, along which neither the information nor the prior determines the parameters."""
    used = np.flatnonzero(varying | (free & (np.diag(precision) > 0)))
    block, varying = np.ix_(used, used), varying[used]
    root = np.sqrt(np.diag(precision)[used])
    scale = 1 / np.where(root > 0, root, 1)
    values, vectors = np.linalg.eigh(precision[block] * np.outer(scale, scale))
    unit = np.where(varying, _conditional_se(information[block], varying), 1)
    basis, _ = np.linalg.qr((vectors * scale[:, None])[:, values < MIN_PRIOR_EIGENVALUE] / unit[:, None])
    values, vectors = np.linalg.eigh(basis.T @ (information[block] * np.outer(unit, unit)) @ basis)
    null = np.zeros((len(precision), (values < MIN_EIGENVALUE_FACTOR * machine_epsilon()).sum()))
    null[used] = unit[:, None] * (basis @ vectors[:, : null.shape[1]])
    return null
