"""Fits by batches with the steps of a solver that the user chose: one of jaxopt's by name, or an object like those of optax."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import as_divisor
from popglm._design.total import total
from popglm._solver.jaxopt import jaxopt_init, jaxopt_update
from popglm._solver.problem import Objective
from popglm._sums.losses import loss_and_gradient
from popglm._sums.moments import bins_and_events
from popglm._sums.null_model import null_model_of
from popglm.batching._batch import Batch
from popglm.batching._checks import require_state_shapes
from popglm.batching._result import BatchResult


@dataclass(frozen=True)
class UserSolver:
    """A fit by batches with a solver of the user. It has the methods of `BatchFit`; a step returns the next one.

    Parameters are pairs (coef, intercept), neurons first.
    """

    objective: Objective
    name: str
    init: Callable  # init(params, batch): state of the solver before its first step
    update: Callable  # update(params, solver_state, batch): parameters and state after a step
    start: tuple  # parameters before the first batch, which sets an intercept of NaN
    state: tuple | None = None  # parameters and state of the solver, None before the first batch

    dispersion = None  # a solver of the user does not estimate it
    done = False  # nor does it tell when it has converged

    @classmethod
    def from_jaxopt(cls, objective, mask, start, name, options) -> "UserSolver":
        """Steps of a jaxopt solver, those of `update`."""
        mask = mask.astype(jnp.result_type(float))
        features_first = lambda params: (params[0].T, params[1])

        def init(params, batch):
            X, y, *rows = batch
            return jaxopt_init(name, options, objective, features_first(params), X, y, mask, *rows)

        def update(params, state, batch):
            X, y, *rows = batch
            params, state = jaxopt_update(name, options, objective, features_first(params), state, X, y, mask, *rows)
            jax.block_until_ready(params)
            return features_first(params), state

        return cls(objective=objective, name=name, init=init, update=update, start=start)

    @classmethod
    def from_optax(cls, objective, mask, start, solver) -> "UserSolver":
        """Steps of an object with optax's `init` and `update`, on the gradient of the batch's mean loss."""

        def init(params, batch):
            return solver.init(params)

        def update(params, state, batch):
            (_, d_coef, d_intercept), _ = _mean_loss_and_gradient(objective, params, batch)
            gradient = tuple(jnp.asarray(a, params[0].dtype) for a in (mask * d_coef, d_intercept))
            moves, state = solver.update(gradient, state, params)
            return jax.tree.map(jnp.add, params, moves), state

        return cls(objective=objective, name=type(solver).__name__, init=init, update=update, start=start)

    def step(self, batch: Batch) -> tuple["UserSolver", float]:
        """Take in one batch. Return the next fit and the batch's mean loss."""
        state = self.state or self._first_state(batch)
        (loss, *_), bins = _mean_loss_and_gradient(self.objective, state[0], batch)
        return replace(self, state=self.update(*state, batch)), float(loss[bins > 0].mean())

    def end_pass(self) -> "UserSolver":
        """Fit after the last batch of a pass: the solver does not look at passes."""
        return self

    @property
    def params(self):
        """Coefficients (neurons, features) and intercepts."""
        return tuple(np.asarray(a, float) for a in self.state[0])

    def result(self) -> BatchResult:
        """Estimates after the last step."""
        coef, intercept = self.params
        failed = ~np.isfinite(coef).all(1) | ~np.isfinite(intercept)
        return BatchResult(coef=coef, intercept=intercept, converged=np.zeros(len(coef), bool), failed=failed)

    def resume(self, state) -> "UserSolver":
        """Fit with the solver state of an earlier one, at the parameters of this one."""
        return replace(self, state=(_as_jax(self.start), state[1]))

    @property
    def plain_state(self):
        """State that can be pickled."""
        return self.state

    def to_tuple(self) -> tuple:
        """Values of the state for a checkpoint file. NumPy's arrays are marked, as they round unlike JAX's."""
        is_numpy = lambda leaf: isinstance(leaf, np.ndarray | np.generic)
        leaves = jax.tree.leaves(self.state)
        return tuple({"numpy": np.asarray(leaf)} if is_numpy(leaf) else leaf for leaf in leaves)

    def from_tuple(self, values, batch: Batch) -> "UserSolver":
        """Fit in the state of a checkpoint file. The file holds numbers; their structure is that of a first state."""
        leaves = [_as_leaf(value) for value in values]
        expected, structure = jax.tree.flatten(self._first_state(batch))
        require_state_shapes(expected, leaves)
        return replace(self, state=jax.tree.unflatten(structure, leaves))

    def _first_state(self, batch):
        """Parameters and state of the solver before its first step, on this batch."""
        coef, intercept = self.start
        if np.isnan(intercept).any():
            design = batch.design()
            null = null_model_of(design, self.objective.model, *total(bins_and_events, design))
            intercept = np.where(np.isnan(intercept), null.intercept, intercept)
        params = _as_jax((coef, intercept))
        return params, self.init(params, batch)


def _as_jax(params):
    return tuple(jnp.asarray(a, jnp.result_type(float)) for a in params)


def _as_leaf(value):
    """Number or array from its value in a file."""
    if isinstance(value, dict):
        return value["numpy"][()]
    return jnp.asarray(value) if isinstance(value, np.ndarray) else value


def _mean_loss_and_gradient(objective, params, batch):
    """Mean loss of a batch with the penalty, its gradient, and the number of bins of each neuron."""
    model, penalty, strength = objective
    design = batch.design()
    loss, d_coef, d_intercept = total(loss_and_gradient, design, model, *params)
    bins, _ = total(bins_and_events, design)
    n, coef = as_divisor(bins), np.asarray(params[0], float)
    d_coef = d_coef / n[:, None] + penalty.gradient(strength, coef)
    return (loss / n + penalty.penalty(strength, coef), d_coef, d_intercept / n), bins
