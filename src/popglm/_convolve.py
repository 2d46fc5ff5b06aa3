"""Features of the past: causal convolution as products with one small banded matrix."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from popglm._design import grid

SUB_ROWS = 32  # rows that share one banded matrix
CHUNK = 64  # sub-blocks that are made at a time: bounds the memory for their windows


def band(kernel: Float[Array, "window basis"]) -> Float[Array, "rows columns basis"]:
    """Weight of every bin before and inside a sub-block for each of its rows; bin c is ``row + window - c`` back."""
    window = len(kernel)
    lag = jnp.arange(SUB_ROWS)[:, None] + window - jnp.arange(SUB_ROWS + window - 1)[None]
    return jnp.where(((lag >= 1) & (lag <= window))[..., None], kernel[jnp.clip(lag, 1, window) - 1], 0)


@jax.jit
def causal_features(
    inputs: Shaped[Array, "time inputs"], kernel: Float[Array, "window basis"], missing: Bool[Array, "time #inputs"]
) -> Float[Array, "time columns"]:
    r"""Row t, input n, function k: :math:`\sum_{l=1}^{W} h_k(l)\, x_n(t - l)`; NaN where `missing`. Never bin t itself.

    The columns are input-major: (input, function). The length must be a multiple of SUB_ROWS * CHUNK or of SUB_ROWS
    below that; see `padded_length`.
    """
    (time, n_inputs), (window, n_basis) = inputs.shape, kernel.shape
    chunk = min(CHUNK, time // SUB_ROWS)
    rows = chunk * SUB_ROWS
    padded = jnp.concatenate([jnp.zeros((window, n_inputs), inputs.dtype), inputs])
    weights = band(kernel)
    starts = jnp.arange(chunk)[:, None] * SUB_ROWS + jnp.arange(SUB_ROWS + window - 1)[None]

    def some_rows(start):
        piece = jax.lax.dynamic_slice(padded, (start, 0), (rows + window, n_inputs)).astype(kernel.dtype)
        features = jnp.einsum("rcb,scn->srnb", weights, piece[starts]).reshape(rows, n_inputs, n_basis)
        gone = jax.lax.dynamic_slice(missing, (start, 0), (rows, missing.shape[1]))
        return jnp.where(gone[..., None], jnp.nan, features)

    return jax.lax.map(some_rows, jnp.arange(0, time, rows)).reshape(time, n_inputs * n_basis)


def padded_length(time: int) -> int:
    """The next length that `causal_features` takes; few lengths, so that few are compiled."""
    step = SUB_ROWS * CHUNK if time > SUB_ROWS * CHUNK else SUB_ROWS
    return grid(-(-time // step)) * step
