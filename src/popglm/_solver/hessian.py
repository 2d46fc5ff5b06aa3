r"""Quadratic model of each neuron's objective: its Hessian, as products with moves and as blocks of some coordinates.

The Hessian is that of the null model, :math:`c_n (C + \epsilon I) + r_n D`, or of the neuron's own factor, with the BFGS
terms of the neuron's last moves: :math:`B = B_0 + \sum_i p_i p_i^\top - \sum_i m_i m_i^\top` (Nocedal and Wright 2006,
*Numerical Optimization*, equation 6.19, written as a sum).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from popglm._solver.ask_tell import History, NeuronScalars, Points, row_dot

HESSIAN_JITTER = 1e-4  # added to diagonals of Hessians, relative to them, in the preconditioner only


class InitialHessian(NamedTuple):
    """Hessians before BFGS terms. Own factors are by the position of the neuron; `dispersion` is one more coordinate's."""

    correlation: Float[Array, "coordinates coordinates"]
    penalty: Float[Array, "coordinates coordinates"] | None
    curvature: NeuronScalars
    strength: NeuronScalars
    mask: Points
    own_factors: dict[int, Float[Array, "coordinates coordinates"]]
    dispersion: NeuronScalars | None = None
    max_eigenvalue: float = 0.0  # of the correlation

    def product(self, move: Points) -> Points:
        """Product of each neuron's Hessian with its move."""
        if self.dispersion is not None:
            out = self._replace(dispersion=None).product(move[:, :-1])
            return np.column_stack([out, self.dispersion * move[:, -1]])
        move = self.mask * move
        out = self.curvature[:, None] * (move @ self.correlation + HESSIAN_JITTER * move)
        if self.penalty is not None:
            out += self.strength[:, None] * (move @ self.penalty)
        for i, lower in self.own_factors.items():
            out[i] = lower @ (move[i] @ lower)
        return self.mask * out

    def blocks(self, index: Int[Array, "neurons k"]) -> Float[Array, "neurons k k"]:
        """Rows and columns of each neuron's Hessian at its own coordinates, which are inside the mask."""
        n = len(self.correlation)
        inside = np.minimum(index, n - 1)
        rows, columns = inside[:, :, None], inside[:, None, :]
        out = self.curvature[:, None, None] * self.correlation[rows, columns]
        if self.penalty is not None:
            out += self.strength[:, None, None] * self.penalty[rows, columns]
        diagonal = np.einsum("nkk->nk", out)  # a view
        diagonal += HESSIAN_JITTER * self.curvature[:, None]
        for i, lower in self.own_factors.items():
            out[i] = lower[inside[i]] @ lower[inside[i]].T
        if self.dispersion is not None:
            outside = index == n
            out = np.where(outside[:, :, None] | outside[:, None, :], 0, out)
            np.einsum("nkk->nk", out)[outside] = np.broadcast_to(self.dispersion[:, None], index.shape)[outside]
        return out

    def diagonal(self) -> Points:
        """Diagonal of each neuron's Hessian."""
        out = self.curvature[:, None] * (np.diag(self.correlation) + HESSIAN_JITTER)
        if self.penalty is not None:
            out += self.strength[:, None] * np.diag(self.penalty)
        for i, lower in self.own_factors.items():
            out[i] = row_dot(lower, lower)
        return out if self.dispersion is None else np.column_stack([out, self.dispersion])

    def max_eigenvalues(self) -> NeuronScalars:
        """Upper bounds of each neuron's eigenvalues, but for own factors."""
        out = self.curvature * self.max_eigenvalue
        if self.penalty is not None:
            out = out + self.strength * np.abs(self.penalty).sum(0).max()
        return out if self.dispersion is None else np.maximum(out, self.dispersion)

    def select(self, neurons: Array) -> "InitialHessian":
        """Restrict to these neurons."""
        return self._replace(
            curvature=self.curvature[neurons],
            strength=self.strength[neurons],
            mask=self.mask[neurons],
            own_factors={i: self.own_factors[n] for i, n in enumerate(neurons.tolist()) if n in self.own_factors},
            dispersion=None if self.dispersion is None else self.dispersion[neurons],
        )


class BFGSHessian(NamedTuple):
    """Hessians with the BFGS terms of the history."""

    initial: InitialHessian
    positive_terms: Float[Array, "terms neurons coordinates"]
    negative_terms: Float[Array, "terms neurons coordinates"]

    @classmethod
    def from_history(cls, initial: InitialHessian, history: History) -> "BFGSHessian":
        """Add the terms of all pairs, the oldest first."""
        model = cls(initial, *np.zeros((2, 0, *history.moves.shape[1:])))
        used = np.flatnonzero((history.inverse_curvature > 0).any(1))
        for i in used[::-1]:
            image = model.product(history.moves[i])
            curvature, inverse_curvature = row_dot(history.moves[i], image), history.inverse_curvature[i]
            valid = (inverse_curvature > 0) & (curvature > 0)
            negative = image * np.where(valid, 1 / np.sqrt(np.where(valid, curvature, 1)), 0)[:, None]
            positive = history.changes[i] * np.where(valid, np.sqrt(inverse_curvature), 0)[:, None]
            model = model._replace(
                positive_terms=np.concatenate([model.positive_terms, positive[None]]),
                negative_terms=np.concatenate([model.negative_terms, negative[None]]),
            )
        return model

    def product(self, move: Points) -> Points:
        """Product of each neuron's Hessian with its move."""
        out = self.initial.product(move)
        for positive, negative in zip(self.positive_terms, self.negative_terms, strict=True):
            out += row_dot(positive, move)[:, None] * positive - row_dot(negative, move)[:, None] * negative
        return out

    def blocks(self, index: Int[Array, "neurons k"], valid: Bool[Array, "neurons k"]) -> Float[Array, "neurons k k"]:
        """Rows and columns of each neuron's Hessian at its own coordinates; those of the identity where not valid."""
        out = self.initial.blocks(index)
        take = lambda terms: np.take_along_axis(terms, index[None], 2).transpose(1, 2, 0)  # neurons, k, terms
        positive, negative = take(self.positive_terms), take(self.negative_terms)
        out += positive @ positive.swapaxes(1, 2) - negative @ negative.swapaxes(1, 2)
        out *= valid[:, :, None] & valid[:, None, :]
        np.einsum("nkk->nk", out)[~valid] = 1
        return out

    def diagonal(self) -> Points:
        """Diagonal of each neuron's Hessian."""
        return self.initial.diagonal() + (self.positive_terms**2).sum(0) - (self.negative_terms**2).sum(0)

    def select(self, neurons: Array) -> "BFGSHessian":
        """Restrict to these neurons."""
        return BFGSHessian(
            self.initial.select(neurons), self.positive_terms[:, neurons], self.negative_terms[:, neurons]
        )
