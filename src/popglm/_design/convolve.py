"""Causal convolution, computed as products with small banded matrices."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SUB_BLOCK_ROWS = 32  # rows that share one banded matrix


# Short functions then cost less than the longest; 3 and 4 groups save little more and compile longer.
KERNEL_GROUPS = 2


def split_kernel(kernel: Float[np.ndarray, "window basis"]) -> list[Float[np.ndarray, "_lags _functions"]]:
    """Split a kernel into groups of functions, each over the lags it needs; the longest spans the whole window."""
    n_basis = kernel.shape[1]
    n_each = -(-n_basis // KERNEL_GROUPS)
    groups = [kernel[:, first : first + n_each] for first in range(0, n_basis, n_each)]
    n_lags = [np.flatnonzero(functions.any(1)).max(initial=0) + 1 for functions in groups]
    n_lags[np.argmax(n_lags)] = len(kernel)
    return [functions[:lags] for functions, lags in zip(groups, n_lags, strict=True)]


def banded_weights(kernel: Float[Array, "window basis"]) -> Float[Array, "columns rows basis"]:
    """Weight of each bin before and inside a sub-block, for each row of it; bin c lies ``row + window - c`` bins back."""
    window = len(kernel)
    lag = jnp.arange(SUB_BLOCK_ROWS)[None] + window - jnp.arange(SUB_BLOCK_ROWS + window - 1)[:, None]
    return jnp.where(((lag >= 1) & (lag <= window))[..., None], kernel[jnp.clip(lag, 1, window) - 1], 0)


def causal_convolution(
    piece: Float[Array, "inputs bins"], kernels: tuple[Float[Array, "_lags _functions"], ...]
) -> Float[Array, "rows features"]:
    r"""Convolve inputs with kernels over past bins: :math:`\sum_{l=1}^{W} h_k(l)\, x_n(t - l)`, never bin t itself.

    `piece` holds the rows, a multiple of SUB_BLOCK_ROWS, after as many earlier bins as the longest of the `kernels` has
    lags. Features are ordered (input n, function k), the function fastest.
    """
    longest = max(map(len, kernels))
    rows = piece.shape[1] - longest
    groups = [_convolve_group(piece[:, longest - len(kernel) :], kernel) for kernel in kernels]
    return jnp.concatenate(groups, -1).reshape(rows, -1)


def _convolve_group(
    piece: Float[Array, "inputs bins"], kernel: Float[Array, "window functions"]
) -> Float[Array, "blocks rows inputs functions"]:
    """Convolve each sub-block with one group of functions. Bins are cut out along time, where memory is contiguous."""
    window = len(kernel)
    cut = lambda start: jax.lax.dynamic_slice_in_dim(piece, start, SUB_BLOCK_ROWS + window - 1, 1)
    windows = jax.vmap(cut)(jnp.arange(0, piece.shape[1] - window, SUB_BLOCK_ROWS))
    return jnp.einsum("crb,snc->srnb", banded_weights(kernel), windows)
