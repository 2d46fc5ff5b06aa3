"""Loss of large counts: half the deviance. Its round-off is relative to itself, that of a loss to ``y * log(mean)``."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from popglm._sums.losses import Entries

LARGE_MEAN = 100.0  # counts per bin, from which on a fit in single precision would notice the round-off of the loss


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DevianceLoss:
    """Observation model with half the deviance of `model` as its loss, which is less by what depends on y alone."""

    model: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def loss(self, eta: Entries, y: Entries) -> Entries:
        """Half the deviance of every entry."""
        return self.model.deviance(eta, y) / 2

    def least(self, y: Entries) -> Entries:
        """Smallest loss, which is 0."""
        return 0 * y

    def with_scale(self, scale: Float[np.ndarray, " neurons"]) -> "DevianceLoss":
        """Model with one scale per neuron."""
        return DevianceLoss(self.model.with_scale(scale))


def keep_digits(model: Any, mean_count: Float[np.ndarray, " neurons"]) -> Any:
    """Model that a fit can use: where a neuron has large counts, the deviance is its loss."""
    large = model.support.kind == "counts" and (mean_count > LARGE_MEAN).any()
    return DevianceLoss(model) if large else model
