"""Features of the past: causal convolution as products with one small banded matrix."""

import jax.numpy as jnp
from jaxtyping import Array, Float

SUB_ROWS = 32  # rows that share one banded matrix


def band(kernel: Float[Array, "window basis"]) -> Float[Array, "rows columns basis"]:
    """Weight of every bin before and inside a sub-block for each of its rows; bin c is ``row + window - c`` back."""
    window = len(kernel)
    lag = jnp.arange(SUB_ROWS)[:, None] + window - jnp.arange(SUB_ROWS + window - 1)[None]
    return jnp.where(((lag >= 1) & (lag <= window))[..., None], kernel[jnp.clip(lag, 1, window) - 1], 0)


def causal(piece: Float[Array, "bins inputs"], kernel: Float[Array, "window basis"]) -> Float[Array, "rows features"]:
    r"""Row t, input n, function k: :math:`\sum_{l=1}^{W} h_k(l)\, x_n(t - l)`. Never bin t itself.

    `piece` is the rows, a multiple of SUB_ROWS, after the `window` bins before them. The features are input-major:
    (input, function).
    """
    window = len(kernel)
    rows = len(piece) - window
    starts = jnp.arange(rows // SUB_ROWS)[:, None] * SUB_ROWS
    windows = piece[starts + jnp.arange(SUB_ROWS + window - 1)[None]]
    return jnp.einsum("rcb,scn->srnb", band(kernel), windows).reshape(rows, -1)
