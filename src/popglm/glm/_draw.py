"""Draws of activity at given linear predictors, each bin by itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from popglm._checks.values import list_names
from popglm._design.arrays import zero_pad
from popglm._design.sizes import SIZES
from popglm.observation_models import NegativeBinomial, Poisson

MAX_SEARCH_MEAN = 60.0  # means up to which exp(-mean) has all its digits
MAX_DRAWABLE_MEAN = 2.0**30


def require_drawable(means, limit, support, ids):
    """Refuse means so large that nothing can be drawn, or that are not finite."""
    wild = ~(np.abs(means) < (limit if support.counts else np.inf))
    if wild.any():
        row, neuron = (int(i) for i in np.argwhere(wild)[0])
        came = f"a mean of {means[row, neuron]:.3g} in row {row}, of which nothing can be drawn"
        fix = "Look at the features of that row, and at the coefficients."
        raise ValueError(f"neuron {list_names([neuron], ids)} has {came}. {fix}")


def draw_in_blocks(key, model, eta, ids=None):
    """Draw activity of shape (time, neurons), a block of rows at a time; NaN where the linear predictor is NaN."""
    valid, rows = ~np.isnan(eta), SIZES.block_rows
    mean = np.asarray(model.mean(jnp.where(valid, eta, 0)))
    require_drawable(np.where(valid, mean, 0), MAX_DRAWABLE_MEAN, model.support, ids)
    search = can_draw_by_search(model, np.max(mean, initial=0, where=valid))
    out = np.full(eta.shape, np.nan, eta.dtype)
    for i, start in enumerate(range(0, len(eta), rows)):
        block = zero_pad(np.where(valid, eta, 0)[start : start + rows], rows)
        out[start : start + rows] = np.asarray(_draw_rows(jax.random.fold_in(key, i), model, block, search))[
            : len(eta) - start
        ]
    return np.where(valid, out, np.nan)


@partial(jax.jit, static_argnums=3)
def _draw_rows(key, model, eta, search):
    return draw_activity(key, model, eta.T, search).T


def can_draw_by_search(model, highest) -> bool:
    """Say if counts of means up to `highest` can be drawn by search, many times faster than by JAX's rejection."""
    return type(model) in (Poisson, NegativeBinomial) and float(np.max(highest)) <= MAX_SEARCH_MEAN


def draw_activity(key, model, eta, search):
    """Draw activity at linear predictors of shape (neurons, rows)."""
    if not search:
        return model.sample(key, eta).astype(eta.dtype)
    return counts_by_search(jax.random.uniform(key, eta.shape, eta.dtype), model.mean(eta), model.scale)


def counts_by_search(uniform, mean, scale=None):
    """Counts of a Poisson or, with a scale, a negative binomial distribution, by inversion.

    The distribution function is searched upwards from 0, which is quick because most bins hold no spike.
    """
    if scale is None:
        none, spread = jnp.exp(-mean), jnp.sqrt(mean)
        after = lambda probability, count: probability * mean / count
    else:
        grown = scale * mean
        none, spread = jnp.exp(-jnp.log1p(grown) / scale), 2 * (1 + grown)
        after = lambda probability, count: probability * mean / (1 + grown) * (1 + scale * (count - 1)) / count
    max_count = mean + 12 * spread + 12  # beyond, rounding would climb for ever

    def climb(state):
        count, probability, remainder = state
        count = jnp.where((remainder > 0) & (count < max_count), count + 1, count)
        probability = after(probability, jnp.maximum(count, 1))
        return count, probability, jnp.where(remainder > 0, remainder - probability, remainder)

    start = (jnp.zeros_like(mean), none, uniform - none)
    return jax.lax.while_loop(lambda s: jnp.any((s[2] > 0) & (s[0] < max_count)), climb, start)[0]
