"""Activity drawn bin by bin, each bin from a linear predictor that the bins before have a part in.

Lags are split in two. What the bins before a block of `BLOCK` rows add to all of its rows is one matrix product, made once per
block; inside the block, every bin only adds what came since the block began, which is at most `BLOCK` bins. In a short window
every bin hears all of it. Blocks come in chunks of one shape: simulations of every length share one compiled loop, and one
that runs away ends early.
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

BINS_PER_BLOCK = 16  # rows that hear of the past together; 8 and 32 took as long, 4 and 64 longer


BLOCKS_PER_CHUNK = 128


MAX_SHORT_WINDOW = 64  # lags that every bin hears itself: fewer are not worth a product of their own


class Recurrence(NamedTuple):
    """How activity acts on later bins: functions (window, functions), of which every sender has some for every receiver."""

    kernel: np.ndarray
    coef: np.ndarray
    """Shape (senders, functions, receivers)."""

    @property
    def filters(self) -> np.ndarray:
        """Shape (senders, window, receivers), index 0 of the window is lag 1."""
        return np.einsum("lk,nkm->nlm", self.kernel, self.coef)


class BinsToDraw(NamedTuple):
    """The rows that are to be drawn: first rows of epochs, and the end; linear predictors without recurrence, or NaN."""

    starts: np.ndarray
    eta: np.ndarray
    times: np.ndarray


def simulate_recurrence(
    key, model, recurrence: Recurrence, bins: BinsToDraw, history, limit, *, ids=None, mend=EXPLODING_PARAMS_FIX
):
    """Draw all bins. Return activity and means, (time, neurons), NaN where the linear predictor is.

    `history` (window, neurons), the latest bin last, comes before every epoch. A mean at the `limit` of a neuron ends it;
    `ids` and `mend` are for what is said then.
    """
    dtype = jnp.result_type(float)
    place, fresh = _block_layout(bins.starts)
    n_chunk = min(round_up_length(len(fresh)), BLOCKS_PER_CHUNK)
    kernel, start = recurrence.kernel, jnp.asarray(history, dtype)
    short = len(kernel) <= MAX_SHORT_WINDOW
    parts = [kernel.T if short else kernel[:BINS_PER_BLOCK].T, recurrence.coef.reshape(-1, len(limit))]
    parts = [None if short else jnp.asarray(_past_weights(kernel), dtype), *(jnp.asarray(a, dtype) for a in parts)]
    cap = jnp.asarray(model.link.forward(limit) if np.isfinite(limit).all() else limit, dtype)
    search = can_draw_by_search(model, limit)
    out, means = (np.full(bins.eta.shape, np.nan, dtype) for _ in range(2))
    carry = start
    for at in range(0, len(fresh), n_chunk):
        rows = place[at * BINS_PER_BLOCK : (at + n_chunk) * BINS_PER_BLOCK]
        rows = np.pad(rows, (0, n_chunk * BINS_PER_BLOCK - len(rows)), constant_values=-1)
        eta = np.where((rows >= 0)[:, None], bins.eta[rows], np.nan)
        drawn = ~np.isnan(eta).any(1)
        data = np.where(drawn[:, None], eta, 0).astype(dtype), drawn, np.maximum(rows, 0).astype(np.int32)
        data = tuple(jnp.asarray(a.reshape(n_chunk, BINS_PER_BLOCK, *a.shape[1:])) for a in data)
        new = jnp.asarray(zero_pad(fresh[at : at + n_chunk], n_chunk))
        carry, made = _simulate_chunk(key, model, parts, cap, start, carry, (*data, new), search=search)
        for whole, part in zip((out, means), made, strict=True):
            whole[rows[drawn]] = np.asarray(part).reshape(-1, len(limit))[drawn]
        require_no_explosion(means, limit, bins.times, rows[drawn], model.support, ids, mend)
    return out, means


def _block_layout(starts):
    """The row at every place, -1 at the end of an epoch that fills no block; and which blocks begin an epoch."""
    place, fresh = [], []
    for first, stop in pairwise(starts):
        n_blocks = -(-(stop - first) // BINS_PER_BLOCK)
        rows = np.full(n_blocks * BINS_PER_BLOCK, -1)
        rows[: stop - first] = np.arange(first, stop)
        place.append(rows)
        fresh.append(np.arange(n_blocks) == 0)
    return np.concatenate(place), np.concatenate(fresh)


def _past_weights(kernel):
    """Weight of every bin before a block, the latest last, for each of its rows, (rows * functions, window)."""
    window = len(kernel)
    lag = np.arange(BINS_PER_BLOCK)[:, None] + window - np.arange(window)[None]
    weight = np.where((lag <= window)[..., None], kernel[np.minimum(lag, window) - 1], 0)
    return weight.transpose(0, 2, 1).reshape(-1, window)


@partial(jax.jit, static_argnames="search")
def _simulate_chunk(key, model, parts, cap, start, carry, data, *, search):
    far, near, coef = parts
    n_functions, n_neurons = near.shape[0], coef.shape[1]

    def block(before, inputs):
        eta, drawn, row, new = inputs
        before = jnp.where(new, start, before)
        heard = before[::-1]
        if far is not None:
            features = (far @ before).reshape(BINS_PER_BLOCK, n_functions, n_neurons).transpose(0, 2, 1)
            eta, heard = eta + features.reshape(BINS_PER_BLOCK, -1) @ coef, jnp.zeros_like(before[:BINS_PER_BLOCK])

        def one_bin(since, inputs):  # what was drawn since the block began, or in the whole window; the latest first
            eta, drawn, row = inputs
            eta = eta + (near @ since).T.reshape(-1) @ coef
            y = draw_activity(jax.random.fold_in(key, row), model, jnp.where(eta < cap, eta, cap)[:, None], search)[
                :, 0
            ]
            y = jnp.where(drawn, y, 0)
            return jnp.concatenate([y[None], since[:-1]]), (y, model.mean(eta[:, None])[:, 0])

        since, made = jax.lax.scan(one_bin, heard, (eta, drawn, row))
        return (since[::-1] if far is None else jnp.concatenate([before, since[::-1]])[BINS_PER_BLOCK:]), made

    return jax.lax.scan(block, carry, data)
