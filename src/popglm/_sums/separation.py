"""Separation: coefficients without a finite optimum, because an event is in every bin where the feature is not 0, or in none.

This is the separation of Albert and Anderson (1984, *Biometrika* 71:1-10), tested along one feature at a time: separation
along sums of features is not found.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from popglm._design.blocks import Block


def sign_sums(block: Block) -> tuple[Float[Array, "neurons features"], ...]:
    """Sums of the positive and of the negative parts of every feature, over bins with an event and over bins without."""
    event, weight = (block.y.T > 0).astype(block.X.dtype), block.weight.T
    events, nonevents = (jnp.where(weight > 0, bins, 0) for bins in (event, 1 - event))
    above, below = jnp.maximum(block.X, 0), jnp.maximum(-block.X, 0)
    return tuple(bins @ side for bins in (events, nonevents) for side in (above, below))


def separated_binary(sums: tuple, coef: np.ndarray) -> Bool[np.ndarray, "neurons features"]:
    """For binary y: features whose sign separates bins with a spike from bins without."""
    events_above, events_below, nonevents_above, nonevents_below = sums
    nonzero = events_above + events_below + nonevents_above + nonevents_below > 0
    down, up = (events_above + nonevents_below == 0), (events_below + nonevents_above == 0)
    return (down | up) & nonzero & (coef != 0)


def separated_counts(sums: tuple, coef: np.ndarray) -> Bool[np.ndarray, "neurons features"]:
    """For unbounded counts: features of one sign that are 0 in every bin with an event."""
    events_above, events_below, nonevents_above, nonevents_below = sums
    one_side = (nonevents_above == 0) != (nonevents_below == 0)
    return (events_above + events_below == 0) & one_side & (coef != 0)
