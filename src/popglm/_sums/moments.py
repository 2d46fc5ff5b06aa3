"""Sums that a fit needs before it starts: bins, events, and moments of the features."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from popglm._design.blocks import Block
from popglm._sums.losses import PerNeuron, weighted_sum


def bins_and_events(block: Block) -> tuple[PerNeuron, PerNeuron]:
    """Number of valid bins of each neuron, a sum of weights, and its events in them."""
    weight = jnp.broadcast_to(block.weight, block.y.shape)
    return weight.sum(0), weighted_sum(weight.T, block.y.T)


def feature_moments(
    block: Block,
) -> tuple[Float[Array, ""], Float[Array, " features"], Float[Array, "features features"]]:
    """Number, sum and Gram matrix of the rows that are valid for any neuron, each with its largest weight."""
    rows = block.weight.max(1, keepdims=True)
    weighted = rows * block.X
    return rows.sum(), weighted.sum(0), weighted.T @ block.X


def neuron_moments(block: Block) -> tuple[Float[Array, "neurons features"], Float[Array, "neurons features features"]]:
    """Sum and Gram matrix of the rows that are valid for each neuron, one neuron at a time."""
    weight = jnp.broadcast_to(block.weight.T, block.y.T.shape)
    gram = lambda weight: (weight[:, None] * block.X).T @ block.X
    return weight @ block.X, jax.lax.map(gram, weight)


def first_pass_sums(block: Block) -> tuple[tuple, tuple]:
    """Bins and events, and moments of the features, in one pass."""
    return bins_and_events(block), feature_moments(block)


def solver_sums(block: Block) -> tuple:
    """Sums of the first pass; events of each neuron times each feature, 0 where no event comes with a feature; rows.

    The number of rows that count at all, whatever their weight, says how precise the mean over bins must be.
    """
    weight = jnp.broadcast_to(block.weight.T, block.y.T.shape)
    event_features = jnp.where(weight > 0, weight * block.y.T, 0) @ block.X
    return *first_pass_sums(block), event_features, (weight > 0).sum(1)
