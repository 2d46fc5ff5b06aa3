"""Solvers asked for by name, and every `update`: the only file that imports jaxopt, when it is used.

Each neuron is a problem of its own, in plain coordinates, so a step size means the same for any number of neurons.
jaxopt is no longer maintained; to replace it is to replace this file.
"""

import warnings
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm import _check_arrays, _check_model, _objective, _scale, _settings
from popglm._design import Block, Chunk, Stored, chunk_total, eps, total
from popglm._objective import Fit, Objective
from popglm._rank import Rank

SOLVERS = ("GradientDescent", "LBFGS", "BFGS", "NonlinearCG", "ProximalGradient")
TRACED = "traced"  # stands for a fixed step in the settings that are compiled in
ACCELERATED = ("GradientDescent", "ProximalGradient")
# Decided here, not by the user: what is minimised, how it is differentiated and compiled.
OURS = {"fun", "value_and_grad", "has_aux", "prox", "jit", "unroll", "verbose", "implicit_diff", "implicit_diff_solve"}


@lru_cache
def _library():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*JAXopt is no longer maintained", category=DeprecationWarning)
        import jaxopt
    return jaxopt


@lru_cache
def defaults(name: str) -> dict:
    """Options that jaxopt's solver of this name takes, with their defaults."""
    return {field.name: field.default for field in fields(getattr(_library(), name)) if field.name not in OURS}


def searches(name: str, options: dict) -> bool:
    """Whether the solver looks for its step size on the data of each step."""
    step = options.get("stepsize") or 0.0
    return name == "NonlinearCG" or not (isinstance(step, Callable) or step > 0)


def accelerates(name: str, options: dict) -> bool:
    """Whether a step depends on earlier ones by momentum."""
    return name in ACCELERATED and options.get("acceleration", True)


def initialize(name, options, objective, params, X, y, mask):
    """State before the first step on a batch."""
    step, objective = _stepsize(name, options), _of_neurons(objective, X.shape[1], *y.shape[1:])
    return _functions(name, options).init(params, X, y, objective, mask, step)


def update(name, options, objective, params, state, X, y, mask):
    """One step on a batch."""
    _check_model.pair(params)
    _check_model.state(state)
    step, objective = _stepsize(name, options), _of_neurons(objective, X.shape[1], *y.shape[1:])
    return _functions(name, options).update(params, state, X, y, objective, mask, step)


def fit(design, objective: Objective, mask, init, name, options) -> Fit:
    """Run a solver to its own stopping rule, for each neuron by itself; a neuron without an event is not moved.

    The design is of a single chunk.
    """
    dtype = jnp.result_type(float)
    (bins, events), moments = total(_objective.census, design)
    _check_arrays.some_valid(bins.any())
    ((_, chunk),) = design
    objective = _of_neurons(objective, *mask.shape[::-1])
    rank = Rank.of_moments(moments, eps())
    mean, null, silent = _objective.null_model(objective.model, bins, events)
    coef, intercept = (np.zeros(mask.shape), null) if init is None else init
    bins, mask, coef, intercept = (np.asarray(a, dtype) for a in (np.maximum(bins, 1), mask, coef * mask, intercept))
    run = _functions(name, options).run
    found = run((coef, intercept), chunk, bins, objective, mask, _stepsize(name, options))
    found, n_iter, error, slope = jax.tree.map(np.asarray, found)
    tol = options.get("tol", defaults(name)["tol"])
    # A line search that gives up looks like a small step, too: the gradient must agree.
    converged = silent | (error <= tol) & (slope <= 100 * tol)
    diverged = ~np.isfinite(np.column_stack(found)).all(1) & ~silent
    coef, intercept = (np.where(diverged[:, None], coef, found[0]), np.where(diverged, intercept, found[1]))
    coef, intercept = np.where(silent[:, None], 0, coef), np.where(silent, null, intercept)
    arrays = (np.asarray(a, dtype) for a in (coef, intercept))
    none = np.zeros(0, int)
    dependent = none if np.any(objective.strength) else rank.named(mask)  # a penalty makes them unique
    rest = dependent, none, rank.free(mask) + 1, objective.model.scale
    return Fit(*arrays, n_iter, converged & ~diverged, diverged, silent, mean.astype(dtype), *rest)


def _of_neurons(objective, n_features, n_neurons=1) -> Objective:
    """The objective with the scale of each neuron, which no solver by name estimates, and strengths that fit the data."""
    objective.penalty.check(objective.strength, n_features, n_neurons)
    if objective.model.shapes:
        _settings.known_scale(objective.model, False, "a solver by name, and every `update`,")
    return objective._replace(model=_scale.known(objective.model, n_neurons))


class Functions(NamedTuple):
    """Jitted functions of one solver, shared by all estimators with equal settings."""

    init: Callable
    update: Callable
    run: Callable


def _fixed(name, options) -> bool:
    return not searches(name, options) and not isinstance(options["stepsize"], Callable)


def _stepsize(name, options):
    """A fixed step is traced, so that another one compiles nothing; 0 where the solver looks for it."""
    return np.asarray(options["stepsize"] if _fixed(name, options) else 0.0, jnp.result_type(float))


def _functions(name, options) -> Functions:
    static = dict(options)
    if _fixed(name, options):
        static["stepsize"] = TRACED
    return _compiled(name, tuple(sorted(static.items())), searches(name, options))


@lru_cache(maxsize=64)
def _compiled(name, options, search) -> Functions:
    over_neurons = jax.lax.map if search else _vmap

    def strength_of(neuron, objective):
        strength = objective.strength
        return strength if strength.ndim < 2 else strength[jnp.minimum(neuron, len(strength) - 1)]

    def shrunk(params, of_neuron, step):
        coef, intercept = params
        neuron, objective = of_neuron
        return objective.penalty.prox(strength_of(neuron, objective), coef, step), intercept

    def value_and_gradient(params, neuron, design, bins, objective, mask):
        coef, intercept = params
        model, penalty, strength = objective.model, objective.penalty, strength_of(neuron, objective)
        sums = chunk_total(_one_neuron, design, model, coef[None], intercept[None], neuron)
        loss, d_coef, d_intercept = (s[0] / bins[neuron] for s in sums)
        d_coef = d_coef + penalty.gradient(strength, coef)
        return loss + penalty.smooth(strength, coef), (mask[neuron] * d_coef, d_intercept)

    def solver(stepsize):
        library, kwargs = _library(), dict(options)
        if kwargs.get("stepsize") == TRACED:
            kwargs["stepsize"] = lambda iteration: stepsize
        if name == "ProximalGradient":
            kwargs["prox"] = shrunk
        return getattr(library, name)(
            value_and_gradient, value_and_grad=True, implicit_diff=False, unroll=False, **kwargs
        )

    def extra(neuron, objective):  # what ProximalGradient gives to its prox comes before the data
        return ((neuron, objective),) if name == "ProximalGradient" else ()

    @jax.jit
    def init(params, X, y, objective, mask, stepsize):
        start, neurons, *data = _batch(params, X, y, mask)
        begin = solver(stepsize).init_state
        one = lambda args: begin(args[0], *extra(args[1], objective), args[1], *data, objective, mask)
        return over_neurons(one, (start, neurons))

    @jax.jit
    def update(params, state, X, y, objective, mask, stepsize):
        start, neurons, *data = _batch(params, X, y, mask)
        _same_state(state, jax.eval_shape(init, params, X, y, objective, mask, stepsize), name)
        step = solver(stepsize).update
        one = lambda args: tuple(step(*args[:2], *extra(args[2], objective), args[2], *data, objective, mask))
        (coef, intercept), state = over_neurons(one, (start, state, neurons))
        return (coef.T.reshape(params[0].shape), intercept), state

    @jax.jit
    def run(start, design, bins, objective, mask, stepsize):
        go = solver(stepsize).run
        one = lambda args: tuple(go(args[0], *extra(args[1], objective), args[1], design, bins, objective, mask))
        end, state = over_neurons(one, (start, jnp.arange(len(bins))))

        def slope(args):  # how far a step of length 1 would go
            (coef, _), neuron = args
            d_coef, d_intercept = value_and_gradient(*args, design, bins, objective, mask)[1]
            shorter = objective.penalty.prox(strength_of(neuron, objective), coef - d_coef, 1.0)
            return jnp.hypot(jnp.linalg.norm(coef - shorter), d_intercept)

        return end, state.iter_num, state.error, over_neurons(slope, (end, jnp.arange(len(bins))))

    return Functions(init, update, run)


def _vmap(f, args):
    """All neurons in one product. Only for fixed steps: a line search's `cond` would copy the data for every neuron."""
    return jax.vmap(f)(args)


def _one_neuron(block, model, coef, intercept, neuron):
    pick = partial(jax.lax.dynamic_slice_in_dim, slice_size=1, axis=1)
    model = jax.tree.map(lambda scale: jax.lax.dynamic_slice_in_dim(scale, neuron, 1), model)
    weight = block.weight if block.weight.shape[1] == 1 else pick(block.weight, neuron)
    return _objective.loss_and_gradient(Block(block.X, pick(block.y, neuron), weight), model, coef, intercept)


def _batch(params, X, y, mask):
    """A batch as a design of one block, and the parameters with the neurons first. Checked while it is traced."""
    neurons = y.shape[1:]
    coef, intercept = _check_model.parameters(params, (X.shape[1], *neurons), neurons or (1,))
    y = y if y.ndim == 2 else y[:, None]
    X, y = X.astype(coef.dtype), y.astype(coef.dtype)
    counted = ~jnp.isnan(X).any(1)
    chunk = Chunk(Stored(jnp.where(counted[:, None], X, 0)), y, counted, jnp.zeros(1, int), jnp.asarray(1))
    bins = jnp.maximum(chunk.block(0).weight.sum(0), 1)
    start = mask * coef.reshape(len(coef), -1).T, intercept
    return start, jnp.arange(y.shape[1]), chunk, bins


def _same_state(state, expected, name):
    same = jax.tree.structure(state) == jax.tree.structure(expected) and all(
        (a.shape, a.dtype) == (b.shape, b.dtype)
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True)
    )
    if not same:
        raise TypeError(
            f"`state` must come from `initialize_state` of this model with the same parameters; {name} cannot go on "
            f"from this {type(state).__name__}. Call `initialize_state` again after a change of solver or of shapes."
        )
