"""Solvers of jaxopt, chosen by name and used by every `update`; the only file that imports jaxopt, when it is used.

Each neuron is a separate problem in the coordinates of the user, so a step size means the same for any number of neurons.
jaxopt is no longer maintained; a replacement replaces this file.
"""

import warnings
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache, partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm._checks.arrays import require_valid_bins
from popglm._checks.models import require_dispersion, require_params_pair, require_params_shape, require_solver_state
from popglm._design.arrays import as_divisor, machine_epsilon
from popglm._design.blocks import ArraySource, Block, Chunk
from popglm._design.design import Design
from popglm._design.total import chunk_total, total
from popglm._solver.ask_tell import initial_state
from popglm._solver.passes import evaluate_objective
from popglm._solver.preconditioner import Problem, prepare_problem
from popglm._solver.problem import Convergence, FeatureRank, Fit, Objective
from popglm._sums.losses import NullModel, loss_and_gradient
from popglm._sums.moments import solver_sums
from popglm._sums.null_model import null_model_of
from popglm._sums.rank import Rank, constant_features
from popglm._sums.scale import broadcast_dispersion

JAXOPT_SOLVERS = ("GradientDescent", "LBFGS", "BFGS", "NonlinearCG", "ProximalGradient")


TRACED_STEP = "traced"  # stands for a fixed step size in the settings that select compiled functions


MAX_GAIN = 0.01  # nats, summed over bins, that may be left where a neuron has converged: 0.14 standard errors


MOMENTUM_SOLVERS = ("GradientDescent", "ProximalGradient")


# Set here, not by the user: the function to minimise, how it is differentiated and compiled.
RESERVED_OPTIONS = {
    "fun",
    "value_and_grad",
    "has_aux",
    "prox",
    "jit",
    "unroll",
    "verbose",
    "implicit_diff",
    "implicit_diff_solve",
}


@lru_cache
def _import_jaxopt() -> ModuleType:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*JAXopt is no longer maintained", category=DeprecationWarning)
        import jaxopt
    return jaxopt


@lru_cache
def jaxopt_defaults(name: str) -> dict:
    """Options of the jaxopt solver of this name, with their defaults."""
    return {
        field.name: field.default
        for field in fields(getattr(_import_jaxopt(), name))
        if field.name not in RESERVED_OPTIONS
    }


def has_line_search(name: str, options: dict) -> bool:
    """Return whether the solver searches its step size on the data of each step."""
    step = options.get("stepsize") or 0.0
    return name == "NonlinearCG" or not (callable(step) or step > 0)


def has_momentum(name: str, options: dict) -> bool:
    """Return whether a step depends on earlier ones through momentum."""
    return name in MOMENTUM_SOLVERS and options.get("acceleration", True)


def jaxopt_init(
    name: str, options: dict, objective: Objective, params: Any, X: Any, y: Any, mask: Any, *rows: Any
) -> Any:
    """Solver state before the first step on a batch; `rows` are its weight and offset."""
    step, objective = _traced_step(name, options), _as_neuron_objective(objective, X.shape[1], *y.shape[1:])
    return _solver_functions(name, options).init(params, X, y, objective, mask, step, *rows)


def jaxopt_update(
    name: str, options: dict, objective: Objective, params: Any, state: Any, X: Any, y: Any, mask: Any, *rows: Any
) -> tuple[tuple, Any]:
    """Take one step on a batch; return parameters and solver state. `rows` are its weight and offset."""
    require_params_pair(params)
    require_solver_state(state)
    step, objective = _traced_step(name, options), _as_neuron_objective(objective, X.shape[1], *y.shape[1:])
    return _solver_functions(name, options).update(params, state, X, y, objective, mask, step, *rows)


def jaxopt_fit(
    design: Design, objective: Objective, mask: np.ndarray, init: tuple | None, name: str, options: dict
) -> Fit:
    """Run a solver to its own stopping rule, for each neuron separately; silent neurons stay at the null model.

    The design must have a single chunk.
    """
    dtype = jnp.result_type(float)
    (bins, events), moments, event_features, rows = total(solver_sums, design)
    require_valid_bins(bins.any())
    ((_, chunk),) = design
    objective = _as_neuron_objective(objective, *mask.shape[::-1])
    rank = Rank.from_moments(moments, machine_epsilon())
    null = null_model_of(design, objective.model, bins, events)
    silent = null.silent
    coef, intercept = (np.zeros(mask.shape), null.intercept) if init is None else init
    bins, mask, coef, intercept = (np.asarray(a, dtype) for a in (as_divisor(bins), mask, coef * mask, intercept))
    run = _solver_functions(name, options).run
    params = run((coef, intercept), chunk, bins, objective, mask, _traced_step(name, options))
    params, n_iter, error, slope = jax.tree.map(np.asarray, params)
    tol = options.get("tol", jaxopt_defaults(name)["tol"])
    # A line search that gives up also ends with a small step, so the gradient must be small, too.
    converged = silent | (error <= tol) & (slope <= 100 * tol)
    diverged = ~np.isfinite(np.column_stack(params)).all(1) & ~silent
    prepared = prepare_problem(objective, mask, bins, null.mean, null.eta, moments, machine_epsilon())
    gain = _gain_left(design, prepared.problem, null, *params) * np.maximum(bins, rows)
    converged &= silent | diverged | (gain <= MAX_GAIN)
    coef, intercept = (np.where(diverged[:, None], coef, params[0]), np.where(diverged, intercept, params[1]))
    coef, intercept = np.where(silent[:, None], 0, coef), np.where(silent, null.intercept, intercept)
    constant = constant_features(moments, rank.varying)
    # A penalty makes coefficients unique.
    collinear = np.zeros(0, int) if np.any(objective.strength) else rank.collinear_features(mask)
    coef, intercept = (np.asarray(a, dtype) for a in (coef, intercept))
    return Fit(
        coef=coef,
        intercept=intercept,
        dispersion=objective.model.scale,
        convergence=Convergence(n_iter=n_iter, converged=converged & ~diverged, stalled=diverged),
        silent=silent,
        null_mean=null.mean_without_offset(objective.model).astype(dtype),
        features=FeatureRank(collinear=collinear, constant=constant, n_params=prepared.n_params(mask)),
        suspects=np.column_stack([(event_features == 0) & (coef != 0), ~converged]),
    )


def _gain_left(
    design: Design, problem: Problem, null: NullModel, coef: np.ndarray, intercept: np.ndarray
) -> np.ndarray:
    """Nats per bin that each neuron has left to gain: half the Newton decrement, as for the default solver."""
    point = problem.coordinates.from_model(np.nan_to_num(coef), np.nan_to_num(intercept))
    history = initial_state(point, null.silent).history
    with np.errstate(over="ignore", invalid="ignore"):  # a solver that has diverged is far away
        value, gradient, _ = evaluate_objective(design, problem, point, jnp.result_type(float), null)
        _, slope = problem.precondition.search_direction(point, np.nan_to_num(gradient), history, ~null.silent)
        return -slope / 2 / problem.objective.model.nat(np.where(np.isfinite(value), value, 1))


def _as_neuron_objective(objective: Objective, n_features: int, n_neurons: int = 1) -> Objective:
    """Give the objective one dispersion per neuron, which these solvers do not estimate, after a check of the strengths."""
    objective.penalty.check(objective.strength, n_features, n_neurons)
    if objective.model.dispersion == "likelihood":
        require_dispersion(objective.model, False, "a solver by name, and every `update`,")
    return objective._replace(model=broadcast_dispersion(objective.model, n_neurons))


class SolverFunctions(NamedTuple):
    """Jitted functions of one solver, shared by all estimators with equal settings."""

    init: Callable
    update: Callable
    run: Callable


def _has_fixed_step(name: str, options: dict) -> bool:
    return not has_line_search(name, options) and not callable(options["stepsize"])


def _traced_step(name: str, options: dict) -> np.ndarray:
    """Fixed step size as a traced value, so that another size needs no compilation; 0 if the solver searches it."""
    return np.asarray(options["stepsize"] if _has_fixed_step(name, options) else 0.0, jnp.result_type(float))


def _solver_functions(name: str, options: dict) -> SolverFunctions:
    static = dict(options)
    if _has_fixed_step(name, options):
        static["stepsize"] = TRACED_STEP
    return _compile_functions(name, tuple(sorted(static.items())), has_line_search(name, options))


@lru_cache(maxsize=64)
def _compile_functions(name: str, options: tuple, search: bool) -> SolverFunctions:
    over_neurons = jax.lax.map if search else _vmap

    def strength_of(neuron: Any, objective: Objective) -> Any:
        strength = objective.strength
        return strength if strength.ndim < 2 else strength[jnp.minimum(neuron, len(strength) - 1)]

    def prox(params: tuple, neuron_and_objective: tuple, step: Any) -> tuple:
        coef, intercept = params
        neuron, objective = neuron_and_objective
        return objective.penalty.prox(strength_of(neuron, objective), coef, step), intercept

    def value_and_gradient(
        params: tuple, neuron: Any, design: Chunk, bins: Any, objective: Objective, mask: Any
    ) -> tuple:
        coef, intercept = params
        model, penalty, strength = objective.model, objective.penalty, strength_of(neuron, objective)
        sums = chunk_total(_neuron_loss_and_gradient, design, model, coef[None], intercept[None], neuron)
        loss, d_coef, d_intercept = (s[0] / bins[neuron] for s in sums)
        d_coef = d_coef + penalty.gradient(strength, coef)
        return loss + penalty.smooth(strength, coef), (mask[neuron] * d_coef, d_intercept)

    def solver(stepsize: Any) -> Any:
        library, kwargs = _import_jaxopt(), dict(options)
        if kwargs.get("stepsize") == TRACED_STEP:
            kwargs["stepsize"] = lambda iteration: stepsize
        if name == "ProximalGradient":
            kwargs["prox"] = prox
        return getattr(library, name)(
            value_and_gradient, value_and_grad=True, implicit_diff=False, unroll=False, **kwargs
        )

    def extra(
        neuron: Any, objective: Objective
    ) -> tuple:  # ProximalGradient takes the arguments of its prox before the data
        return ((neuron, objective),) if name == "ProximalGradient" else ()

    @jax.jit
    def init(params: Any, X: Any, y: Any, objective: Objective, mask: Any, stepsize: Any, *rows: Any) -> Any:
        start, neurons, *data = _batch_chunk(params, X, y, mask, *rows)
        init_state = solver(stepsize).init_state
        init_one = lambda args: init_state(args[0], *extra(args[1], objective), args[1], *data, objective, mask)
        return over_neurons(init_one, (start, neurons))

    @jax.jit
    def update(
        params: Any, state: Any, X: Any, y: Any, objective: Objective, mask: Any, stepsize: Any, *rows: Any
    ) -> tuple:
        start, neurons, *data = _batch_chunk(params, X, y, mask, *rows)
        _require_same_state(state, jax.eval_shape(init, params, X, y, objective, mask, stepsize, *rows), name)
        step = solver(stepsize).update
        update_one = lambda args: tuple(step(*args[:2], *extra(args[2], objective), args[2], *data, objective, mask))
        (coef, intercept), state = over_neurons(update_one, (start, state, neurons))
        return (coef.T.reshape(params[0].shape), intercept), state

    @jax.jit
    def run(start: tuple, design: Chunk, bins: Any, objective: Objective, mask: Any, stepsize: Any) -> tuple:
        run_solver = solver(stepsize).run
        run_one = lambda args: tuple(
            run_solver(args[0], *extra(args[1], objective), args[1], design, bins, objective, mask)
        )
        end, state = over_neurons(run_one, (start, jnp.arange(len(bins))))

        def slope(args: tuple[tuple, Any]) -> Any:  # length of a proximal gradient step of size 1
            (coef, _), neuron = args
            d_coef, d_intercept = value_and_gradient(*args, design, bins, objective, mask)[1]
            shorter = objective.penalty.prox(strength_of(neuron, objective), coef - d_coef, 1.0)
            return jnp.hypot(jnp.linalg.norm(coef - shorter), d_intercept)

        return end, state.iter_num, state.error, over_neurons(slope, (end, jnp.arange(len(bins))))

    return SolverFunctions(init, update, run)


def _vmap(f: Callable, args: Any) -> Any:
    """Map over neurons in one product. For fixed steps only: under `vmap` a line search's `cond` copies the data per neuron."""
    return jax.vmap(f)(args)


def _neuron_loss_and_gradient(block: Block, model: Any, coef: Any, intercept: Any, neuron: Any) -> tuple:
    pick = partial(jax.lax.dynamic_slice_in_dim, slice_size=1, axis=1)
    model = jax.tree.map(lambda scale: jax.lax.dynamic_slice_in_dim(scale, neuron, 1), model)
    weight, offset = (a if a is None or a.shape[1] == 1 else pick(a, neuron) for a in (block.weight, block.offset))
    return loss_and_gradient(Block(block.X, pick(block.y, neuron), weight, offset), model, coef, intercept)


def _batch_chunk(params: Any, X: Any, y: Any, mask: Any, weight: Any = None, offset: Any = None) -> tuple:
    """Return the parameters, neurons first, and the batch as a chunk of one block; shapes are checked during tracing."""
    neurons = y.shape[1:]
    coef, intercept = require_params_shape(params, (X.shape[1], *neurons), neurons or (1,))
    y = y if y.ndim == 2 else y[:, None]
    X, y = X.astype(coef.dtype), y.astype(coef.dtype)
    valid = ~jnp.isnan(X).any(1, keepdims=True)
    chunk = Chunk(
        source=ArraySource(jnp.where(valid, X, 0)),
        y=y,
        valid=valid,
        block_indices=jnp.zeros(1, int),
        n_valid_blocks=jnp.asarray(1),
        weight=None if weight is None else weight.astype(coef.dtype),
        offset=None if offset is None else offset.astype(coef.dtype),
    )
    bins = chunk.block(0).weight.sum(0)
    bins = jnp.where(bins > 0, bins, 1)
    start = mask * coef.reshape(len(coef), -1).T, intercept
    return start, jnp.arange(y.shape[1]), chunk, bins


def _require_same_state(state: Any, expected: Any, name: str) -> None:
    same = jax.tree.structure(state) == jax.tree.structure(expected) and all(
        (a.shape, a.dtype) == (b.shape, b.dtype)
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True)
    )
    if not same:
        raise TypeError(
            f"`state` must come from `initialize_state` of this model with the same parameters; {name} cannot go on "
            f"from this {type(state).__name__}. Call `initialize_state` again after a change of solver or of shapes."
        )
