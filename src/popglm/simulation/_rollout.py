"""Draw activity bin by bin, each bin from a linear predictor that depends on the bins before.

Lags are split in two. The effect of the bins before a block of `BINS_PER_BLOCK` rows on all of its rows is one matrix product,
computed once per block; inside the block, each bin only adds the effect of the bins since the block began. Short windows are
not split. Blocks come in chunks of one shape, so simulations of all lengths share one compiled loop, and a simulation that
runs away ends early.
"""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import round_up_length, zero_pad
from popglm.glm._draw import can_draw_by_search, draw_activity
from popglm.simulation._checks import EXPLODING_PARAMS_FIX, require_no_explosion

# 8 and 32 took as long, 4 and 64 longer.
BINS_PER_BLOCK = 16


BLOCKS_PER_CHUNK = 128


# In lags: a product for the bins before a block is not worth its cost in shorter windows.
MAX_SHORT_WINDOW = 64


class Recurrence(NamedTuple):
    """Effect of activity on later bins: functions over lags, and their coefficients for each sender and receiver."""

    kernel: np.ndarray
    """Shape (window, functions)."""
    coef: np.ndarray
    """Shape (senders, functions, receivers)."""

    @property
    def filters(self) -> np.ndarray:
        """Effect on the linear predictor, shape (senders, window, receivers); index 0 of the window is lag 1."""
        return np.einsum("lk,nkm->nlm", self.kernel, self.coef)


class BinsToDraw(NamedTuple):
    """Rows to draw: first rows of epochs and the end; linear predictors without recurrence, NaN to skip a row; times."""

    starts: np.ndarray
    eta: np.ndarray
    times: np.ndarray


def simulate_recurrence(
    key, model, recurrence: Recurrence, bins: BinsToDraw, history, limit, *, ids=None, fix=EXPLODING_PARAMS_FIX
):
    """Draw all bins and return activity and means, (time, neurons), NaN where the linear predictor is NaN.

    `history` (window, neurons), the latest bin last, precedes every epoch. It is an error if a mean reaches the `limit` of its
    neuron; the message uses `ids` and the advice `fix`.
    """
    dtype = jnp.result_type(float)
    rows, begins = _block_layout(bins.starts)
    n_chunk = min(round_up_length(len(begins)), BLOCKS_PER_CHUNK)
    kernel, start = recurrence.kernel, jnp.asarray(history, dtype)
    short = len(kernel) <= MAX_SHORT_WINDOW
    parts = [kernel.T if short else kernel[:BINS_PER_BLOCK].T, recurrence.coef.reshape(-1, len(limit))]
    parts = [None if short else jnp.asarray(_past_weights(kernel), dtype), *(jnp.asarray(a, dtype) for a in parts)]
    cap = jnp.asarray(model.link.forward(limit) if np.isfinite(limit).all() else limit, dtype)
    search = can_draw_by_search(model, limit)
    activity, means = (np.full(bins.eta.shape, np.nan, dtype) for _ in range(2))
    carry = start
    for block in range(0, len(begins), n_chunk):
        chunk = rows[block * BINS_PER_BLOCK : (block + n_chunk) * BINS_PER_BLOCK]
        chunk = np.pad(chunk, (0, n_chunk * BINS_PER_BLOCK - len(chunk)), constant_values=-1)
        eta = np.where((chunk >= 0)[:, None], bins.eta[chunk], np.nan)
        valid = ~np.isnan(eta).any(1)
        data = np.where(valid[:, None], eta, 0).astype(dtype), valid, np.maximum(chunk, 0).astype(np.int32)  # type: ignore[index]
        data = tuple(jnp.asarray(a.reshape(n_chunk, BINS_PER_BLOCK, *a.shape[1:])) for a in data)
        new = jnp.asarray(zero_pad(begins[block : block + n_chunk], n_chunk))
        carry, results = _simulate_chunk(key, model, parts, cap, start, carry, (*data, new), search=search)
        for whole, values in zip((activity, means), results, strict=True):
            whole[chunk[valid]] = np.asarray(values).reshape(-1, len(limit))[valid]
        require_no_explosion(means, limit, bins.times, chunk[valid], model.support, ids, fix)
    return activity, means


def _block_layout(starts):
    """Row of each bin of the blocks, -1 after the end of an epoch; and True for the blocks that begin an epoch."""
    rows, begins = [], []
    for first, stop in pairwise(starts):
        n_blocks = -(-(stop - first) // BINS_PER_BLOCK)
        epoch = np.full(n_blocks * BINS_PER_BLOCK, -1)
        epoch[: stop - first] = np.arange(first, stop)
        rows.append(epoch)
        begins.append(np.arange(n_blocks) == 0)
    return np.concatenate(rows), np.concatenate(begins)


def _past_weights(kernel):
    """Weights of the bins before a block, the latest last, for each of its rows, (rows * functions, window)."""
    window = len(kernel)
    lag = np.arange(BINS_PER_BLOCK)[:, None] + window - np.arange(window)[None]
    weight = np.where((lag <= window)[..., None], kernel[np.minimum(lag, window) - 1], 0)
    return weight.transpose(0, 2, 1).reshape(-1, window)


@partial(jax.jit, static_argnames="search")
def _simulate_chunk(key, model, parts, cap, start, carry, data, *, search):
    """Draw a chunk of blocks; return the bins before the next block, and activity and means (blocks, bins, neurons)."""
    far, near, coef = parts
    n_functions, n_neurons = near.shape[0], coef.shape[1]

    def block(before, inputs):
        eta, valid, row, new = inputs
        before = jnp.where(new, start, before)
        recent = before[::-1]
        if far is not None:
            features = (far @ before).reshape(BINS_PER_BLOCK, n_functions, n_neurons).transpose(0, 2, 1)
            eta, recent = eta + features.reshape(BINS_PER_BLOCK, -1) @ coef, jnp.zeros_like(before[:BINS_PER_BLOCK])

        def one_bin(recent, inputs):
            # `recent` holds the bins since the block began, or the whole short window, the latest first.
            eta, valid, row = inputs
            eta = eta + (near @ recent).T.reshape(-1) @ coef
            capped = jnp.where(eta < cap, eta, cap)[:, None]
            y = draw_activity(jax.random.fold_in(key, row), model, capped, search)[:, 0]
            y = jnp.where(valid, y, 0)
            return jnp.concatenate([y[None], recent[:-1]]), (y, model.mean(eta[:, None])[:, 0])

        recent, activity_and_means = jax.lax.scan(one_bin, recent, (eta, valid, row))
        before = recent[::-1] if far is None else jnp.concatenate([before, recent[::-1]])[BINS_PER_BLOCK:]
        return before, activity_and_means

    return jax.lax.scan(block, carry, data)
