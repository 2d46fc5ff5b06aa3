"""Features of the past: causal convolution as products with small banded matrices."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SUB_BLOCK_ROWS = 32  # rows that share one banded matrix


KERNEL_GROUPS = (
    2  # so that short functions do not cost as much as the longest; 3 and 4 save little more and compile longer
)


def split_kernel(kernel: Float[np.ndarray, "window basis"]) -> list[Float[np.ndarray, "_lags _functions"]]:
    """A few functions at a time, each time over no more lags than they need; the longest over the whole window."""
    n_basis = kernel.shape[1]
    n_each = -(-n_basis // KERNEL_GROUPS)
    some = [kernel[:, at : at + n_each] for at in range(0, n_basis, n_each)]
    reach = [np.flatnonzero(functions.any(1)).max(initial=0) + 1 for functions in some]
    reach[np.argmax(reach)] = len(kernel)
    return [functions[:lags] for functions, lags in zip(some, reach, strict=True)]


def banded_weights(kernel: Float[Array, "window basis"]) -> Float[Array, "columns rows basis"]:
    """Weight of every bin before and inside a sub-block for each of its rows; bin c is ``row + window - c`` back."""
    window = len(kernel)
    lag = jnp.arange(SUB_BLOCK_ROWS)[None] + window - jnp.arange(SUB_BLOCK_ROWS + window - 1)[:, None]
    return jnp.where(((lag >= 1) & (lag <= window))[..., None], kernel[jnp.clip(lag, 1, window) - 1], 0)


def causal_convolution(piece: Float[Array, "inputs bins"], kernels) -> Float[Array, "rows features"]:
    r"""Row t, input n, function k: :math:`\sum_{l=1}^{W} h_k(l)\, x_n(t - l)`. Never bin t itself.

    `piece` is the rows, a multiple of SUB_ROWS, after the bins before them that the longest of the `shortened` kernels
    sees. The features are input-major: (input, function).
    """
    longest = max(map(len, kernels))
    rows = piece.shape[1] - longest
    some = [_convolve_group(piece[:, longest - len(kernel) :], kernel) for kernel in kernels]
    return jnp.concatenate(some, -1).reshape(rows, -1)


def _convolve_group(piece, kernel) -> Float[Array, "blocks rows inputs functions"]:
    """The features of every sub-block. Its bins are cut out along time, where they lie side by side."""
    window = len(kernel)
    cut = lambda start: jax.lax.dynamic_slice_in_dim(piece, start, SUB_BLOCK_ROWS + window - 1, 1)
    windows = jax.vmap(cut)(jnp.arange(0, piece.shape[1] - window, SUB_BLOCK_ROWS))
    return jnp.einsum("crb,snc->srnb", banded_weights(kernel), windows)
