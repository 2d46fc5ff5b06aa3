"""A quadratic penalty as a Gaussian prior of the coefficients, and its posterior; the prior of the intercept is flat."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

Matrices = Float[np.ndarray, "neurons features features"]


class Prior(NamedTuple):
    """A quadratic penalty, and the strengths of its parts for each neuron, on the scale of a mean over bins.

    `sees` is True for the features that a part penalises; `labels` are the kinds of the parts.
    """

    penalty: Any
    strength: Float[np.ndarray, "neurons parts"]
    sees: Bool[np.ndarray, "parts features"]
    labels: tuple[str, ...]
    parts: Any = None  # of the penalty, where the strengths were chosen by data

    @classmethod
    def from_strengths(
        cls, penalty: Any, strength: np.ndarray, n_neurons: int, n_features: int, chosen: bool = False
    ) -> "Prior":
        """Build from strengths as an `Objective` has them."""
        labels, (rows, part) = penalty.part_labels(n_features), penalty.differences(n_features)
        sees = part == np.arange(len(labels))[:, None]
        if rows is not None:
            sees = sees.astype(np.float32) @ (rows != 0) > 0
        strength = np.broadcast_to(np.atleast_2d(strength), (n_neurons, len(labels)))
        return cls(penalty, strength, sees, labels, _parts_of(penalty, n_features) if chosen else None)

    def has_one_strength(self, neuron: Any, features: np.ndarray) -> bool:
        """True if all that penalises these features of a neuron has the same strength."""
        return len(np.unique(self.strength[neuron, self.sees[:, features].any(1)])) < 2

    def precision(self, neuron: Any, free: np.ndarray, bins: Any) -> Float[np.ndarray, "parameters parameters"]:
        """Hessian of the penalty times the bins, the intercept last; 0 for coefficients that are held."""
        hessian = np.asarray(self.penalty.hessian(self.strength[neuron], len(free) - 1), float)
        return np.pad(bins * hessian, ((0, 1), (0, 1))) * np.outer(free, free)


class Posterior(NamedTuple):
    """Posterior of the coefficients under a quadratic penalty, in nats; neurons first, without the intercept.

    `covariance` is the inverse of `information` (that of the data, the intercept at its best) plus `penalty`. `test_rank` is
    the diagonal of 2 F - F F, with F = A⁻¹ H the shares of the data. `step` leads from the estimates to the optimum. The
    intercept moves with the coefficients by `intercept_slope`. `nats` is what a strength of 1 amounts to.
    """

    prior: Prior
    covariance: Matrices
    penalty: Matrices
    information: Matrices
    test_rank: Float[np.ndarray, "neurons features"]
    step: Float[np.ndarray, "neurons features"]
    intercept_slope: Float[np.ndarray, "neurons features"]
    intercept_information: Float[np.ndarray, " neurons"]
    nats: Float[np.ndarray, " neurons"]

    @classmethod
    def zeros(cls, prior: Prior, n_neurons: int, n_features: int) -> "Posterior":
        """Arrays to be filled, neuron by neuron."""
        matrices = [np.zeros((n_neurons, n_features, n_features)) for _ in range(3)]
        vectors = [np.zeros((n_neurons, n_features)) for _ in range(3)]
        return cls(prior, *matrices, *vectors, *(np.zeros(n_neurons) for _ in range(2)))

    def scale_dispersion(self, ratio: Float[np.ndarray, " neurons"]) -> "Posterior":
        """The posterior where the dispersion is this many times as large."""
        ratio = np.where(ratio > 0, ratio, np.nan)[:, None, None]
        return self._replace(
            covariance=self.covariance * ratio,
            penalty=self.penalty / ratio,
            information=self.information / ratio,
            intercept_information=self.intercept_information / ratio[:, 0, 0],
            nats=self.nats / ratio[:, 0, 0],
        )


def _parts_of(penalty, n_features):
    """Parts of the penalty; None if a user's own sum of squares does not tell them."""
    try:
        return penalty.quadratic_parts(n_features)
    except ValueError:
        return None


def penalty_strength(model, settings) -> np.ndarray:
    """Strengths of a fitted model's penalty, neurons first: those that it chose by evidence, or of its settings."""
    if not settings.evidence:
        return np.asarray(settings.objective.strength, float)
    chosen = np.asarray(model.strength_, float)
    return np.nan_to_num(np.atleast_2d(chosen.T))
