"""Coefficients without a finite optimum: where their feature is not 0 there is an event in every bin, or in none.

It is the separation of Albert and Anderson (1984, *Biometrika* 71:1-10) along one feature at a time: whatever is found is
there, and there may be more, along sums of features.
"""

import jax.numpy as jnp


def sign_sums(block):
    """What every feature sums to above 0 and below, over the bins with an event and over those without."""
    event, weight = (block.y.T > 0).astype(block.X.dtype), block.weight.T
    events, others = (jnp.where(weight > 0, some, 0) for some in (event, 1 - event))
    above, below = jnp.maximum(block.X, 0), jnp.maximum(-block.X, 0)
    return tuple(some @ side for some in (events, others) for side in (above, below))


def separated_binary(sums, coef):
    """Of a spike or none: a feature that is of one sign with an event, and of the other without."""
    events_above, events_below, others_above, others_below = sums
    some = events_above + events_below + others_above + others_below > 0
    down, up = (events_above + others_below == 0), (events_below + others_above == 0)
    return (down | up) & some & (coef != 0)


def separated_counts(sums, coef):
    """Of counts, of which no number is the last: a feature of one sign that never comes with an event."""
    events_above, events_below, others_above, others_below = sums
    one_side = (others_above == 0) != (others_below == 0)
    return (events_above + events_below == 0) & one_side & (coef != 0)
