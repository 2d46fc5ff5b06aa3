"""Quadratic penalties of single inputs, and how they stand side by side: matrices of rows, eigenvectors, eigenvalues.

Part j of a penalty is half the quadratic form of S_j = A_j' A_j. All parts of one input have one set of eigenvectors U,
so that S_j = U diag(D_j) U'.
"""

from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

NULL_SPACE = "null space"


class QuadraticParts(NamedTuple):
    """Parts of a quadratic penalty: the Hessian of part j at strength 1 is `basis` diag(`weights[j]`) `basis`'.

    `basis` is orthogonal and block diagonal over the inputs, which have `sizes` features; `group` is the number of each part's
    input.
    """

    basis: Float[np.ndarray, "features features"]
    weights: Float[np.ndarray, "parts features"]
    group: Int[np.ndarray, " parts"]
    sizes: Int[np.ndarray, " inputs"]
    labels: tuple[str, ...]


class Block(NamedTuple):
    """Penalty of one input: for each part its matrix A and its label, and the eigenvectors and eigenvalues of all."""

    rows: tuple[Any, ...]
    basis: Float[np.ndarray, "features features"]
    weights: Float[np.ndarray, "parts features"]
    labels: tuple[str, ...]


def ridge_block(size: int) -> Block:
    """Penalty on the coefficients of one input themselves."""
    return Block((np.eye(size),), np.eye(size), np.ones((1, size)), ("ridge",))


def free_block(size: int) -> Block:
    """No penalty on the coefficients of one input."""
    return Block((), np.eye(size), np.zeros((0, size)), ())


def smoothness_block(shape: tuple, order: int, cyclic: tuple, ridge: float, select: bool) -> Block:
    """Penalty on differences of one input along every direction of `shape`; `cyclic` has a flag for each direction.

    The part that no differences see has a strength of its own if `select`; else every part has the share `ridge` of the
    coefficients themselves.
    """
    matrices = [difference_matrix(*direction, order) for direction in zip(shape, cyclic, strict=True)]
    spectra = [_spectrum(matrix) for matrix in matrices]
    rows = [_along_direction(matrix, shape, k) for k, matrix in enumerate(matrices)]
    weights = np.stack([_along_direction(values, shape, k, np.ones) for k, (_, values) in enumerate(spectra)])
    basis = reduce(np.kron, [vectors for vectors, _ in spectra])
    labels = ["differences"] if len(shape) == 1 else [f"differences {k + 1}" for k in range(len(shape))]
    if select:
        unseen = ~weights.any(0)
        return Block(
            (*rows, basis[:, unseen].T), basis, np.stack([*weights, unseen.astype(float)]), (*labels, NULL_SPACE)
        )
    if ridge:
        rows = [np.concatenate([matrix, ridge**0.5 * np.eye(len(basis))]) for matrix in rows]
    return Block(tuple(rows), basis, weights + ridge, tuple(labels))


def difference_matrix(size: int, cyclic: bool, order: int) -> Float[np.ndarray, "rows size"]:
    """Differences of this order between adjacent coefficients; with a cycle the first follows the last."""
    matrix = np.eye(size)
    for _ in range(order):
        matrix = np.roll(matrix, -1, 0) - matrix if cyclic and size > 1 else np.diff(matrix, axis=0)
    return matrix


def _spectrum(matrix):
    """Return eigenvectors and eigenvalues of A'A; those of the null space are exactly 0."""
    _, values, vectors = scipy.linalg.svd(matrix) if len(matrix) else (None, np.zeros(0), np.eye(matrix.shape[1]))
    values = np.append(values, np.zeros(len(vectors) - len(values)))
    if len(matrix) == len(vectors):  # a cycle does not see the constant
        values[-1] = 0
    return vectors.T, values**2


def _along_direction(array, shape, direction, others=np.eye):
    """Extend an array of one direction to coefficients of this shape, of which the last direction runs fastest."""
    factors = [array if k == direction else others(size) for k, size in enumerate(shape)]
    return reduce(np.kron, factors)


def stack_rows(blocks: list) -> tuple[np.ndarray, Int[np.ndarray, " rows"]]:
    """Return the matrix A of penalties side by side, and the part of each of its rows."""
    whole = [np.concatenate([np.zeros((0, len(block.basis))), *block.rows]) for block in blocks]
    n_rows = [len(matrix) for block in blocks for matrix in block.rows]
    # whole numbers are exact in single precision, eigenvectors are not
    dtype = np.float64 if any(NULL_SPACE in block.labels for block in blocks) else np.float32
    return scipy.linalg.block_diag(*whole).astype(dtype), np.repeat(np.arange(len(n_rows)), n_rows)


def stack_parts(blocks: list) -> QuadraticParts:
    """Return the parts of penalties side by side."""
    return QuadraticParts(
        basis=scipy.linalg.block_diag(*(block.basis for block in blocks)),
        weights=scipy.linalg.block_diag(*(block.weights for block in blocks)),
        group=np.repeat(np.arange(len(blocks)), [len(block.labels) for block in blocks]),
        sizes=np.array([len(block.basis) for block in blocks], int),
        labels=tuple(label for block in blocks for label in block.labels),
    )
