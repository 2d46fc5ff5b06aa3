"""How a fit by batches steps: the default solver, jaxopt's or optax's."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm._design.total import total
from popglm._solver.jaxopt import jaxopt_init, jaxopt_update
from popglm._solver.problem import Objective
from popglm._sums.losses import fit_null_model, loss_and_gradient
from popglm._sums.moments import bins_and_events
from popglm.batching._checks import require_state_shapes
from popglm.batching._exact_passes import batch_fit_dispersion, end_batch_pass, step_on_batch
from popglm.batching._first_pass import batch_design
from popglm.batching._state import initial_batch_state, pack_state, replace_parameters, unpack_state

DEFAULT_SOLVER = "the default solver"


class BatchFit(NamedTuple):
    """The default solver of `_batches`."""

    objective: Objective
    mask: np.ndarray
    kind: str = DEFAULT_SOLVER

    def start(self, coef, intercept, X, y):
        return initial_batch_state(coef, intercept)

    def step(self, state, X, y):
        return step_on_batch(state, self.objective, self.mask, X, y)

    def resume(self, state, params):
        return replace_parameters(state, *params)

    def packed(self, state):
        return pack_state(state)

    def unpacked(self, saved, like):
        return unpack_state(saved, self.objective)

    def end_pass(self, state):
        return end_batch_pass(state, self.objective, self.mask)

    def params(self, state):
        return state.params

    def scale(self, state):
        return batch_fit_dispersion(state, self.objective).scale

    def ended(self, state):
        return state.ended.all()


class UserStepper(NamedTuple):
    """Steps of a solver that the user chose. The state is that of the solver, with the parameters before it.

    `init(params, X, y)` makes the solver's state, `update(params, state, X, y)` takes one step; parameters are those of
    the core, neurons first.
    """

    objective: Objective
    init: Callable
    update: Callable
    kind: str

    def start(self, coef, intercept, X, y):
        if np.isnan(intercept).any():
            bins, events = total(bins_and_events, batch_design(X, y))
            _, null, _ = fit_null_model(self.objective.model, bins, events)
            intercept = np.where(np.isnan(intercept), null, intercept)
        params = tuple(jnp.asarray(a, jnp.result_type(float)) for a in (coef, intercept))
        return params, self.init(params, X, y)

    def step(self, state, X, y):
        (loss, *_), bins = mean_loss_and_gradient(self.objective, state[0], X, y)
        return self.update(*state, X, y), float(loss[bins > 0].mean())

    def resume(self, state, params):
        return tuple(jnp.asarray(a, jnp.result_type(float)) for a in params), state[1]

    def packed(self, state):
        """Numbers, NumPy's and JAX's arrays stay what they are: they round differently."""
        numpy = lambda leaf: isinstance(leaf, np.ndarray | np.generic)
        return tuple({"numpy": np.asarray(leaf)} if numpy(leaf) else leaf for leaf in jax.tree.leaves(state))

    def unpacked(self, saved, like):
        """The numbers are of the file, what they mean is of the solver, which makes the state before a first step."""
        known = [leaf["numpy"][()] if isinstance(leaf, dict) else leaf for leaf in saved]
        known = [jnp.asarray(a) if isinstance(b, np.ndarray) else a for a, b in zip(known, saved, strict=True)]
        leaves, meaning = jax.tree.flatten(like())
        require_state_shapes(leaves, known)
        return jax.tree.unflatten(meaning, known)

    def end_pass(self, state):
        return state

    def params(self, state):
        return tuple(np.asarray(a, float) for a in state[0])

    def scale(self, state):
        """What the user gave, if anything."""

    def ended(self, state):
        return False


def jaxopt_stepper(objective, mask, name, options) -> UserStepper:
    """Steps of a jaxopt solver, those of `update`."""
    mask = mask.astype(jnp.result_type(float))
    public = lambda params: (params[0].T, params[1])

    def update(params, state, X, y):
        params, state = jaxopt_update(name, options, objective, public(params), state, X, y, mask)
        jax.block_until_ready(params)
        return public(params), state

    init = lambda params, X, y: jaxopt_init(name, options, objective, public(params), X, y, mask)
    return UserStepper(objective, init, update, name)


def optax_stepper(objective, mask, solver) -> UserStepper:
    """Steps of an object with optax's `init` and `update`, on the gradient of the batch's mean loss."""

    def update(params, state, X, y):
        (_, d_coef, d_intercept), _ = mean_loss_and_gradient(objective, params, X, y)
        gradient = tuple(jnp.asarray(a, params[0].dtype) for a in (mask * d_coef, d_intercept))
        moves, state = solver.update(gradient, state, params)
        return jax.tree.map(jnp.add, params, moves), state

    return UserStepper(objective, lambda params, X, y: solver.init(params), update, type(solver).__name__)


def mean_loss_and_gradient(objective, params, X, y):
    """Mean loss of a batch with the penalty and its gradient, and the bins of each neuron."""
    model, penalty, strength = objective
    data = batch_design(X, y)
    loss, d_coef, d_intercept = total(loss_and_gradient, data, model, *params)
    bins, _ = total(bins_and_events, data)
    n, coef = np.maximum(bins, 1), np.asarray(params[0], float)
    d_coef = d_coef / n[:, None] + penalty.gradient(strength, coef)
    return (loss / n + penalty.penalty(strength, coef), d_coef, d_intercept / n), bins
