"""Sample of the rows of a fit by batches, and the optimum that it determines together with sums over all rows.

Every batch was evaluated at the parameters that it met, and the sum g of its gradients is known. How far the gradients have
changed since then is estimated from a sample of the rows, whose residuals were kept:

    S(w) = g w + sum_i v_i [loss(x_i w) - r_i x_i w],    r_i the derivative of the loss at the parameters that row i met,

with v_i one over the probability that row i is in the sample. A dispersion in the loss may have changed, too. S is convex; its
gradient is exact for parameters that have not moved, and for all others if the sample holds all rows. The idea is that of
variance reduction (Johnson and Zhang 2013, *Advances in Neural Information Processing Systems* 26), without a second look at
the rows. Rows with large features are more likely to be kept, since parameters can do most harm in them; directions of which
the sample knows too little are held by the Gram matrix of all rows.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import as_divisor, zero_pad
from popglm._design.blocks import Block
from popglm._design.row_counter import record_rows
from popglm._solver.ask_tell import DONE, RUNNING, ask, initial_state, tell
from popglm._solver.passes import objective_from_sums
from popglm._solver.preconditioner import MAX_FACTOR_ENTRIES, Problem
from popglm._sums.losses import loss_and_gradient, residual_gradient, sampled_hessians, stack_params
from popglm.batching._batch import Batch

# Largest number of entries that the sample keeps, of its rows, and of rows for Hessians.
MAX_SAMPLE_ENTRIES = 8_000_000
MAX_SAMPLE_ROWS = 65536
MAX_HESSIAN_ROWS = 4096

# Rows per feature at which a sampled Hessian weighs as much as that of the null model.
TRUSTED_ROWS_PER_FEATURE = 4

# Weight of the null model's curvature, times the features over the rows of the sample.
NULL_CURVATURE_WEIGHT = 2.0

# Nats of a loss, summed over bins, that may be left to gain: much less than the error of the sample.
SAMPLE_TOL_NATS = 1e-3

# Round-off of a difference of sums, in units of the precision.
ROUND_OFF_FACTOR = 100

MAX_SAMPLE_EVALUATIONS = 8

# The fractional parts of its multiples are spread most evenly.
GOLDEN_FRACTION = (5**0.5 - 1) / 2


class Rows(NamedTuple):
    """Arrays with one entry per row."""

    X: np.ndarray
    y: np.ndarray
    residual: np.ndarray  # derivative of the loss in the linear predictor, at the parameters that the row met
    size: np.ndarray
    uniform: np.ndarray  # number between 0 and 1
    weight: np.ndarray  # without columns if not given, like the offset
    offset: np.ndarray


class Sample(NamedTuple):
    """Some of the rows that counted, by priority sampling (Duffield, Lund and Thorup 2007, *Journal of the ACM* 54:32).

    Rows have a size of 1 and more and a uniform number; they are in the sample while that is less than `share` times the size.
    When the sample is full, `share` is halved. Rows are appended to the `arrays`, which have room for more than `n`, and never
    changed, so that an earlier sample stays as it was.
    """

    arrays: Rows
    n: int
    share: float
    n_candidates: int

    @classmethod
    def empty(cls, n_features, n_neurons, weight_columns=0, offset_columns=0) -> "Sample":
        """Sample without rows. Its capacity is fixed, so that computations with it are compiled once."""
        n_entries = n_features + 2 * n_neurons + weight_columns + offset_columns
        capacity = min(MAX_SAMPLE_ENTRIES // n_entries + 1, MAX_SAMPLE_ROWS)
        dtype = jnp.result_type(float)
        arrays = Rows(
            X=np.zeros((capacity, n_features), dtype),
            y=np.full((capacity, n_neurons), np.nan, dtype),
            residual=np.zeros((capacity, n_neurons), dtype),
            size=np.ones(capacity),
            uniform=np.zeros(capacity),
            weight=np.ones((capacity, weight_columns), dtype),
            offset=np.zeros((capacity, offset_columns), dtype),
        )
        return cls(arrays=arrays, n=0, share=1.0, n_candidates=0)

    @classmethod
    def from_rows(cls, rows: Rows, share, n_candidates) -> "Sample":
        """Sample of copies of these rows, with room for more."""
        columns = (array.shape[1] for array in (rows.X, rows.y, rows.weight, rows.offset))
        n, sample = len(rows.X), cls.empty(*columns)
        for array, values in zip(sample.arrays, rows, strict=True):
            array[:n] = values
        return sample._replace(n=n, share=share, n_candidates=n_candidates)

    @classmethod
    def from_tuple(cls, values) -> "Sample":
        """Sample with the values of a file; version 0.1.0 knew no weights and offsets."""
        X, y, residual, size, uniform, share, n_candidates, *later = values
        weight, offset = later or np.zeros((2, len(X), 0), X.dtype)
        return cls.from_rows(Rows(X, y, residual, size, uniform, weight, offset), share, n_candidates)

    def to_tuple(self) -> tuple:
        """Values for a file."""
        *rows, weight, offset = self.rows
        return *rows, self.share, self.n_candidates, weight, offset

    def copy(self) -> "Sample":
        """Sample with arrays of its own, so that rows may be appended to both."""
        return Sample.from_rows(self.rows, self.share, self.n_candidates)

    @property
    def rows(self) -> Rows:
        """Rows of the sample, without the room for more."""
        return Rows(*(array[: self.n] for array in self.arrays))

    @property
    def columns(self) -> tuple[int, int]:
        """Columns of weights and offsets, 0 if not given."""
        return self.arrays.weight.shape[1], self.arrays.offset.shape[1]

    @property
    def row_weight(self):
        """Weights of the rows, (rows, 1 or neurons); 1 if not given."""
        return self.rows.weight if self.columns[0] else 1

    @property
    def weight(self):
        """Number of rows that each row of the sample stands for."""
        return 1 / np.minimum(1, self.share * self.rows.size)

    def add_rows(self, batch: Batch, residuals, size, bins) -> "Sample":
        """Take in the rows of a batch; the function `residuals` makes the residuals of those that are kept.

        `size` is that of the features, `bins` the sum of each neuron's weights, those of the batch included. Heavy rows have
        a larger size, light ones no smaller, so that a sample with room for all rows has all.
        """
        n_candidates = self.n_candidates + len(batch.X)
        # as good as random, and evenly spread
        uniform = (self.n_candidates + 1 + np.arange(len(batch.X))) * GOLDEN_FRACTION % 1
        if batch.weight is not None:
            share = np.where(np.isnan(batch.y), 0, batch.weight) / as_divisor(bins / max(n_candidates, 1))
            size = size * np.maximum(share.max(1, initial=0), 1)
        return self._replace(n_candidates=n_candidates)._add(batch, residuals, size, uniform)

    def _add(self, batch, residuals, size, uniform):
        selected = np.flatnonzero(uniform < self.share * size)
        n = self.n + len(selected)
        if n > len(self.arrays.X):
            share, rows = self.share / 2, self.rows
            in_sample = rows.uniform < share * rows.size
            smaller = Sample.from_rows(Rows(*(array[in_sample] for array in rows)), share, self.n_candidates)
            return smaller._add(batch, residuals, size, uniform)
        X, y, weight, offset = batch.map(lambda part: part[selected])
        new = X, y, residuals(X, y, offset), size[selected], uniform[selected], weight, offset
        for array, values in zip(self.arrays, new, strict=True):
            if values is not None:
                array[self.n : n] = values
        return self._replace(n=n)

    def block(self, step=1, n_rows=None):
        """Every `step`-th row as a block padded to `n_rows`, and the residuals."""
        # By default of few lengths, so that little is compiled.
        n_rows = n_rows or min(1 << (self.n - 1).bit_length(), len(self.arrays.X))
        X, y, residual, *_, offset = (rows[::step] for rows in self.rows)
        weight = self.weight[:, None] * self.row_weight
        weight = np.where(np.isnan(y), 0, weight[::step]).astype(X.dtype)
        parts = X, np.nan_to_num(y), weight, residual, offset
        X, y, weight, residual, offset = (zero_pad(rows, n_rows) for rows in parts)
        return Block(X, y, weight, offset if self.columns[1] else None), residual

    def total(self, f, *args):
        """Estimate of the sum of ``f(block, *args)`` over all rows seen; numbers are in the precision of the sample."""
        return _block_total(f, self.block()[0], *args)

    def hessians(self, model, coef, intercept, coordinates):
        """Mean Hessian of every neuron at these parameters, and the number of bins that it was computed from."""
        step = -(-self.n // MAX_HESSIAN_ROWS) or 1
        block, _ = self.block(step, MAX_HESSIAN_ROWS)
        args = [np.asarray(a, self.arrays.X.dtype) for a in (coef, intercept, *coordinates)]
        record_rows(weight=block.weight)
        return np.asarray(sampled_hessians(block, model, *args), float), (block.weight > 0).sum(0)


def with_sampled_hessians(problem: Problem, sample: Sample, params, ridge) -> Problem:
    """Problem with each neuron's Hessian at these parameters, shrunk to that of the null model where the sample is small.

    `ridge` is added to the diagonal, relative to the curvature.
    """
    precondition, n_features = problem.precondition, problem.coordinates.mean.size
    if len(precondition.mask) * precondition.correlation.size > MAX_FACTOR_ENTRIES:
        return problem
    hessians, n_bins = sample.hessians(problem.objective.model, *params, problem.coordinates)  # type: ignore[call-arg]
    trust, diagonal = n_bins / (n_bins + TRUSTED_ROWS_PER_FEATURE * n_features), ridge * np.eye(n_features + 1)
    blended = {
        neuron: t * (hessian + c * diagonal) + (1 - t) * c * precondition.correlation
        for neuron, (hessian, c, t) in enumerate(zip(hessians, precondition.curvature, trust, strict=True))
        if np.isfinite(hessian).all()
    }
    return problem._replace(precondition=precondition.with_own_hessians(blended, problem.penalty_hessian))


def sample_optimum(totals, problem: Problem, start):
    """Coefficients and intercepts, neurons first, that minimise S and the penalty, from `start` on.

    `totals` holds the gradients and bins of all rows, and the sample.
    """
    model, coordinates, precondition = problem.objective.model, problem.coordinates, problem.precondition
    dtype = totals.sample.arrays.X.dtype
    block, residual = totals.sample.block()
    weight, tiny = block.weight.astype(float), np.finfo(float).tiny  # each neuron has bins of its own
    # Effective number of bins: as many, were they to count alike.
    n_effective = np.maximum(weight.sum(0) ** 2 / np.maximum((weight**2).sum(0), tiny), 1)
    scale, bins = totals.bins / np.maximum(weight.sum(0), tiny), as_divisor(totals.bins)
    scaled_gradient = lambda sums: scale[:, None] * stack_params(*sums)
    linear = totals.gradients - scaled_gradient(_block_total(residual_gradient, block, residual))
    n_bins = as_divisor(totals.counts.n_effective)
    missing = np.maximum(1 - n_effective / n_bins, 0)
    proximal_weight = NULL_CURVATURE_WEIGHT * missing * block.X.shape[1] / n_effective * precondition.curvature
    first = coordinates.from_model(*start)
    eps = ROUND_OFF_FACTOR * float(jnp.finfo(dtype).eps)
    state = initial_state(first, totals.null.silent)
    for _ in range(MAX_SAMPLE_EVALUATIONS):
        coef, intercept = coordinates.to_model(point := ask(state))
        loss, *slopes = _block_total(loss_and_gradient, block, model, coef.astype(dtype), intercept.astype(dtype))
        nat = model.nat(scale * np.where(np.isfinite(loss), loss, 1) / bins)
        with np.errstate(invalid="ignore", over="ignore"):  # a trial too far away
            slope = scaled_gradient(slopes) + linear
            loss = scale * loss + (linear * stack_params(coef, intercept)).sum(1)
        value, gradient = objective_from_sums((loss, slope[:, :-1], slope[:, -1]), problem, coef, bins)
        proximal_gradient = proximal_weight[:, None] * ((point - first) @ precondition.correlation)
        value = value + (proximal_gradient * (point - first)).sum(1) / 2
        gradient = gradient + precondition.mask * proximal_gradient
        tol = SAMPLE_TOL_NATS * nat / n_bins
        state = tell(state, value, gradient, precondition, tol, precondition.curvature * nat, eps)
        if not (state.status == RUNNING).any():
            break
    final_step = np.where(state.status == DONE, 1, 0)[:, None] * state.search.direction
    return coordinates.to_model(state.accepted.point + final_step)


def sample_losses(sample: Sample, model, coef, intercept):
    """Estimate of each neuron's total loss over all rows seen, from the sample."""
    dtype = sample.arrays.X.dtype
    return sample.total(loss_and_gradient, model, coef.astype(dtype), intercept.astype(dtype))[0]


def _block_total(f, block, *args):
    record_rows(weight=block.weight)
    return jax.tree.map(lambda a: np.asarray(a, float), _jitted_block_sums(f, block, *args))


@partial(jax.jit, static_argnums=0)
def _jitted_block_sums(f, block, *args):
    return f(block, *args)
