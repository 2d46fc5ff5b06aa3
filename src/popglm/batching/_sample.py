"""A sample of the rows of a fit by batches, and the optimum that it and the sums over all rows tell.

Every batch was evaluated where the parameters stood when it came. What is known of all rows is the sum of these gradients, g.
How far they have changed since then is estimated from a sample, whose residuals were kept:

    S(w) = g w + sum_i v_i [loss(x_i w) - r_i x_i w],    r_i the derivative of the loss where row i was met,

v_i one over the chance that row i is in the sample. A scale in the loss may have changed, too. S is convex, its gradient is
exact for parameters that have not moved, and for all others if the sample is all rows. It is the idea of variance reduction
(Johnson and Zhang 2013, *Advances in Neural Information Processing Systems* 26) without a second look at the rows. Rows with
large features are kept first, since they are the ones that parameters can do harm in; directions that the sample knows too
little of are held by the Gram matrix of all rows.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import zero_pad
from popglm._design.blocks import Block
from popglm._design.row_counter import record_rows
from popglm._solver.ask_tell import DONE, RUNNING, ask, initial_state, tell
from popglm._solver.exact import objective_from_sums
from popglm._solver.preconditioner import MAX_FACTOR_ENTRIES, Problem
from popglm._sums.losses import loss_and_gradient, residual_gradient, sampled_hessians, stack_params

MAX_SAMPLE_ENTRIES = 8_000_000  # of all that is kept


MAX_SAMPLE_ROWS = 65536  # rows


MAX_HESSIAN_ROWS = 4096  # of these, to compute curvatures from


TRUSTED_ROWS_PER_FEATURE = 4  # rows per feature at which a sampled Hessian weighs as much as the null model's


NULL_CURVATURE_WEIGHT = (
    2.0  # times the features over the rows of the sample: how strongly the null model's curvature holds
)


SAMPLE_TOL_NATS = (
    1e-3  # nats of a loss, summed over bins, that may be left to gain: much less than the sample is wrong by
)


ROUND_OFF_FACTOR = 100  # times the precision: that of a difference of sums


MAX_SAMPLE_EVALUATIONS = 8


GOLDEN_FRACTION = (5**0.5 - 1) / 2  # the fractional parts of its multiples are spread most evenly


class Sample(NamedTuple):
    """Some of the rows that counted, by priority sampling (Duffield, Lund and Thorup 2007, *Journal of the ACM* 54:32).

    A row has a size, of 1 and more, and a number u between 0 and 1; it is in the sample while u is less than `share` times
    its size. When the sample is full, `share` is halved. The arrays have room for more than `n` rows. Rows are appended in
    place and never changed, so that an earlier sample stays what it was.
    """

    X: np.ndarray
    y: np.ndarray
    residual: np.ndarray  # derivative of the loss in the linear predictor, when the row was met
    size: np.ndarray
    u: np.ndarray
    n: int
    share: float
    n_met: int

    @classmethod
    def empty(cls, n_features, n_neurons) -> "Sample":
        """Of fixed capacity, so that what is computed from it is compiled once."""
        rows, dtype = (
            min(MAX_SAMPLE_ENTRIES // (n_features + 2 * n_neurons) + 1, MAX_SAMPLE_ROWS),
            jnp.result_type(float),
        )
        y, size = np.full((rows, n_neurons), np.nan, dtype), np.ones(rows)
        return cls(np.zeros((rows, n_features), dtype), y, np.zeros_like(y), size, np.zeros(rows), 0, 1.0, 0)

    @classmethod
    def of(cls, *parts) -> "Sample":
        """Of these `parts`, with room for more."""
        *rows, share, n_met = parts
        sample, n = cls.empty(rows[0].shape[1], rows[1].shape[1]), len(rows[0])
        for array, values in zip(sample.arrays, rows, strict=True):
            array[:n] = values
        return sample._replace(n=n, share=share, n_met=n_met)

    @property
    def arrays(self):
        """All that has an entry per row, with the room for more."""
        return self.X, self.y, self.residual, self.size, self.u

    @property
    def rows(self):
        """The same of the rows of the sample."""
        return tuple(array[: self.n] for array in self.arrays)

    @property
    def parts(self):
        """What `of` makes the sample from."""
        return *self.rows, self.share, self.n_met

    @property
    def weight(self):
        """How many rows each row of the sample stands for."""
        return 1 / np.minimum(1, self.share * self.size[: self.n])

    def with_rows(self, X, y, residuals, size) -> "Sample":
        """Take in the rows of a batch; a function makes the residuals of those that are kept."""
        u = (self.n_met + 1 + np.arange(len(X))) * GOLDEN_FRACTION % 1  # as good as random, and evenly spread
        return self._replace(n_met=self.n_met + len(X))._with(X, y, residuals, size, u)

    def _with(self, X, y, residuals, size, u):
        kept = np.flatnonzero(u < self.share * size)
        n = self.n + len(kept)
        if n > len(self.X):
            share = self.share / 2
            still = self.u[: self.n] < share * self.size[: self.n]
            smaller = Sample.of(*(rows[still] for rows in self.rows), share, self.n_met)
            return smaller._with(X, y, residuals, size, u)
        X, y = X[kept], y[kept]
        for array, values in zip(self.arrays, (X, y, residuals(X, y), size[kept], u[kept]), strict=True):
            array[self.n : n] = values
        return self._replace(n=n)

    def block(self, step=1, room=None):
        """Every `step`-th row as a block of so many rows, and the residuals."""
        room = room or min(1 << (self.n - 1).bit_length(), len(self.X))  # of few sizes, so that little is compiled
        X, y, residual, *_ = (rows[::step] for rows in self.rows)
        weight = np.where(np.isnan(y), 0, self.weight[::step, None]).astype(X.dtype)
        parts = (zero_pad(rows, room) for rows in (X, np.nan_to_num(y), weight, residual))
        X, y, weight, residual = parts
        return Block(X, y, weight), residual

    def total(self, f, *args):
        """``f(block, *args)``, sums of which are as if over all rows, with numbers in the precision of the sample."""
        return _block_total(f, self.block()[0], *args)

    def hessians(self, model, coef, intercept, coordinates):
        """Mean Hessian of every neuron at these parameters, and from how many bins each was computed."""
        step = -(-self.n // MAX_HESSIAN_ROWS) or 1
        block, _ = self.block(step, MAX_HESSIAN_ROWS)
        units = [np.asarray(a, self.X.dtype) for a in (coef, intercept, *coordinates)]
        record_rows(weight=block.weight)
        return np.asarray(sampled_hessians(block, model, *units), float), (block.weight > 0).sum(0)


def with_sampled_hessians(problem: Problem, sample: Sample, params, few) -> Problem:
    """The problem with each neuron's Hessian at these parameters, drawn to the null model's where the sample is small.

    `few` is added to the diagonal, relative to the curvature.
    """
    known, n_features = problem.precondition, problem.coordinates.mean.size
    if len(known.mask) * known.factor.size > MAX_FACTOR_ENTRIES:
        return problem
    hessians, n_bins = sample.hessians(problem.objective.model, *params, problem.coordinates)
    trust, diagonal = n_bins / (n_bins + TRUSTED_ROWS_PER_FEATURE * n_features), few * np.eye(n_features + 1)
    own = {
        neuron: t * (hessian + c * diagonal) + (1 - t) * c * known.correlation
        for neuron, (hessian, c, t) in enumerate(zip(hessians, known.curvature, trust, strict=True))
        if np.isfinite(hessian).all()
    }
    return problem._replace(precondition=known.with_own_hessians(own))


def sample_optimum(sample: Sample, gradients, bins, silent, problem: Problem, params):
    """Coefficients and intercepts that minimise S and the penalty, from these on, neurons first.

    `gradients` and `bins` are of all rows, of which some are in the sample.
    """
    model, coordinates, known = problem.objective.model, problem.coordinates, problem.precondition
    dtype = sample.X.dtype
    block, residual = sample.block()
    weight, least = block.weight.astype(float), np.finfo(float).tiny  # each neuron has bins of its own
    n_told = np.maximum(
        weight.sum(0) ** 2 / np.maximum((weight**2).sum(0), least), 1
    )  # as many, were they to count alike
    scale, bins = bins / np.maximum(weight.sum(0), least), np.maximum(bins, 1)
    joined = lambda sums: scale[:, None] * stack_params(*sums)
    linear = gradients - joined(_block_total(residual_gradient, block, residual))
    held = (NULL_CURVATURE_WEIGHT * np.maximum(1 - n_told / bins, 0) * sample.X.shape[1] / n_told * known.curvature)[
        :, None
    ]
    first = coordinates.from_model(*params)
    eps = ROUND_OFF_FACTOR * float(jnp.finfo(dtype).eps)
    state = initial_state(first, silent)
    for _ in range(MAX_SAMPLE_EVALUATIONS):
        coef, intercept = coordinates.to_model(point := ask(state))
        loss, *slopes = _block_total(loss_and_gradient, block, model, coef.astype(dtype), intercept.astype(dtype))
        nat = model.nat(scale * np.where(np.isfinite(loss), loss, 1) / bins)
        with np.errstate(invalid="ignore", over="ignore"):  # a trial too far away
            slope = joined(slopes) + linear
            loss = scale * loss + (linear * stack_params(coef, intercept)).sum(1)
        value, gradient = objective_from_sums((loss, slope[:, :-1], slope[:, -1]), problem, coef, bins)
        pull = held * ((point - first) @ known.correlation)
        value, gradient = value + (pull * (point - first)).sum(1) / 2, gradient + known.mask * pull
        state = tell(state, value, gradient, known, SAMPLE_TOL_NATS * nat / bins, known.curvature * nat, eps)
        if not (state.status == RUNNING).any():
            break
    return coordinates.to_model(state.point + np.where(state.status == DONE, 1, 0)[:, None] * state.direction)


def sample_losses(sample: Sample, model, coef, intercept):
    """What the sample tells of the loss of all rows, summed, of every neuron."""
    dtype = sample.X.dtype
    return sample.total(loss_and_gradient, model, coef.astype(dtype), intercept.astype(dtype))[0]


def _block_total(f, block, *args):
    record_rows(weight=block.weight)
    return jax.tree.map(lambda a: np.asarray(a, float), _jitted_block_sums(f, block, *args))


@partial(jax.jit, static_argnums=0)
def _jitted_block_sums(f, block, *args):
    return f(block, *args)
