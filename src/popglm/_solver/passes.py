"""One pass of a fit over the data: losses and gradients at every neuron's trial point, and Hessians of slow neurons."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from popglm._design.arrays import machine_epsilon
from popglm._design.design import Design
from popglm._design.sizes import SIZES
from popglm._design.total import total
from popglm._solver.ask_tell import (
    RUNNING,
    NeuronScalars,
    Points,
    SolverState,
    ask,
    forget_history,
    redirect_neurons,
    tell,
)
from popglm._solver.preconditioner import MAX_FACTOR_ENTRIES, Problem
from popglm._sums.losses import (
    NullModel,
    curved_row_hessians,
    loss_and_gradient,
    loss_and_scale_gradient,
    loss_curvature,
    of_selected_neurons,
)

# Gain, in nats, that round-off may hide from a neuron that is done; 1e-4 nats are 0.014 standard errors.
MAX_HIDDEN_GAIN = 1e-4


REFACTOR_INTERVAL = 10  # passes between two updates of the own factors of neurons that still run


HESSIANS_PER_PASS = 8  # neurons whose Hessians are summed in one pass


NARROW_SHARES = (4, 2)  # a pass over at most this part of the neurons, a quarter or half, computes no others


# Products of a fit, rows times features times neurons, that neurons which do not run have cost before it compiles narrow
# passes: about a third of what a compilation costs, so short fits never compile one.
MIN_WASTED_PRODUCTS = 1e9


class FitConstants(NamedTuple):
    """Results of the first pass, and settings, that stay the same during a fit."""

    null: NullModel
    collinear: Array
    constant: Array
    eventless: Array  # features (neurons, features) that are 0 in every bin with an event
    n_params: Array  # parameters of each neuron that the data determine
    n_rows: Array  # bins of each neuron or rows that count, whichever is more: weights may be small numbers
    min_loss: Array | float  # round-off of the loss
    tol: float


def run_pass(
    design: Design, constants: FitConstants, problem: Problem, state: SolverState
) -> tuple[Problem, SolverState]:
    """Evaluate every neuron's trial point in one pass over the data, and move on from there."""
    dtype, eps = jnp.result_type(float), machine_epsilon()
    neurons = neurons_to_evaluate(constants, state, problem.coordinates.mean.size)
    value, gradient, trial = evaluate_objective(design, problem, ask(state), dtype, constants.null, neurons)
    nat = loss_per_nat(constants, problem, value)
    precondition, nat_per_bin = trial.precondition, nat / constants.n_rows
    tol, hidden = constants.tol * nat_per_bin, MAX_HIDDEN_GAIN * nat_per_bin
    new = tell(state, value, gradient, precondition, tol, precondition.value_scale * nat, eps, hidden)
    return _keep_dispersion(problem, trial, state, new, tol)


def neurons_to_evaluate(constants: FitConstants, state: SolverState, n_features: int) -> Array | None:
    """Neurons of a narrow pass, those that run; None for all.

    It depends on the state alone, so that a fit that goes on from a checkpoint makes the same passes.
    """
    running, n_neurons = np.flatnonzero(state.status == RUNNING), len(state.status)
    n_wasted = (state.n_evaluated.max() - state.n_evaluated).sum()
    worth = n_wasted * float(constants.n_rows.max()) * n_features >= MIN_WASTED_PRODUCTS
    return running if worth and len(running) <= _width(n_neurons, NARROW_SHARES[-1]) else None


def _width(n_neurons: int, share: int) -> int:
    return -(-n_neurons // share)


def sum_neurons(f: Any, design: Design, model: Any, neurons: Array | None, *params: Array) -> Any:
    """Sum ``f(block, model, *params)``, whose sums and parameters lead with the neurons; 0 for neurons left out.

    The selected ones are repeated to one of few numbers, so that few functions are compiled.
    """
    if neurons is None:
        return total(f, design, model, *params)
    n_neurons = len(params[0])
    width = next(width for width in (_width(n_neurons, share) for share in NARROW_SHARES) if len(neurons) <= width)
    repeated = np.resize(neurons, width)
    sums = total(of_selected_neurons(f), design, model, repeated, *(a[repeated] for a in params))

    def spread(part: Array) -> Array:
        out = np.zeros((n_neurons, *part.shape[1:]))
        out[neurons] = part[: len(neurons)]
        return out

    return jax.tree.map(spread, sums)


def loss_per_nat(constants: FitConstants, problem: Problem, value: NeuronScalars) -> NeuronScalars:
    """Change of each neuron's loss, summed over bins, per nat of log-likelihood."""
    return problem.objective.model.nat(np.maximum(np.where(np.isfinite(value), value, 1), constants.min_loss))


def evaluate_objective(
    design: Design, problem: Problem, point: Points, dtype: Any, null: NullModel, neurons: Array | None = None
) -> tuple[NeuronScalars, Points, Problem]:
    """Compute mean loss plus penalty of every neuron at its own point, the gradient, and the problem with the metric there.

    With `neurons` the loss of all others is taken as 0.
    """
    coef, intercept = problem.coordinates.to_model(point)
    arrays, metric = (coef.astype(dtype), intercept.astype(dtype)), problem.precondition.dispersion
    if metric is None:
        sums = sum_neurons(loss_and_gradient, design, problem.objective.model, neurons, *arrays)
        return *objective_from_sums(sums, problem, coef, problem.bins), problem
    scale = metric.coordinate.to_scale(point)
    problem = replace_dispersion(problem, scale, null)
    model, bins = problem.objective.model, problem.bins
    (loss, *gradients), *sums = sum_neurons(loss_and_scale_gradient, design, model, neurons, *arrays)
    magnitude = np.maximum(
        np.nan_to_num(np.abs(loss)) / bins, null.mean * np.abs(null.eta)
    )  # of terms that cancel, too
    loss, slope, information = metric.coordinate.loss_and_slope(model, scale, loss, *sums)
    value, gradient = objective_from_sums((loss, *gradients), problem, coef, bins)
    information = np.maximum(information / bins, np.finfo(np.float32).tiny)
    metric = metric._replace(information=information, magnitude=magnitude)
    problem = problem._replace(precondition=problem.precondition._replace(dispersion=metric))
    return value, np.column_stack([gradient, slope / bins]), problem


def objective_from_sums(
    sums: tuple, problem: Problem, coef: Float[Array, "neurons features"], bins: NeuronScalars
) -> tuple[NeuronScalars, Points]:
    """Mean loss plus penalty, and gradient in the solver's coordinates, from sums over `bins` of each neuron."""
    loss, d_coef, d_intercept = sums
    (_, penalty, strength), _, coordinates, precondition = problem
    with np.errstate(invalid="ignore", over="ignore"):  # `tell` shortens steps that lead too far
        d_coef = d_coef / bins[:, None] + penalty.gradient(strength, coef)
        gradient = precondition.mask * coordinates.gradient(d_coef, d_intercept / bins)
    return loss / bins + penalty.penalty(strength, coef), gradient


def replace_dispersion(problem: Problem, scale: NeuronScalars, null: NullModel) -> Problem:
    """Replace the dispersion of the model, and the curvatures that depend on it.

    These are computed in double precision: of large counts, single precision would leave their round-off.
    """
    model = problem.objective.model.with_scale(scale)
    with jax.enable_x64(True):
        curvature = np.asarray(loss_curvature(problem.objective.model.with_scale(scale), null.eta, null.mean), float)
    return problem._replace(
        objective=problem.objective._replace(model=model),
        precondition=problem.precondition._replace(curvature=curvature),
    )


def _keep_dispersion(
    problem: Problem, trial: Problem, last: SolverState, state: SolverState, tol: NeuronScalars
) -> tuple[Problem, SolverState]:
    """Keep the metric of accepted trials. A neuron that leaves the smallest dispersion, or returns, forgets all curvatures."""
    metric, new = problem.precondition.dispersion, trial.precondition.dispersion
    if metric is None or new is None:
        return problem, state
    point, coordinate = state.accepted.point, new.coordinate
    accepted = (last.status == RUNNING) & (point == ask(last)).all(1)
    kept = np.where(accepted, new.information, metric.information)
    curvature = np.where(accepted, trial.precondition.curvature, problem.precondition.curvature)
    model = problem.objective.model.with_scale(coordinate.to_scale(point))
    problem = problem._replace(
        objective=problem.objective._replace(model=model),
        precondition=problem.precondition._replace(curvature=curvature, dispersion=metric._replace(information=kept)),
    )
    crossed = (coordinate.at_start(point) != coordinate.at_start(last.accepted.point)) & accepted
    if crossed.any():
        problem = problem._replace(precondition=problem.precondition.without_own_factors(crossed))
        state = redirect_neurons(forget_history(state, crossed), problem.precondition, tol, crossed)
    return problem, state


def refactor_slow_neurons(design: Design, problem: Problem, state: SolverState, running: Array) -> Problem:
    """Compute own factors for neurons that still run: strongly modulated, they differ from the null model."""
    n_features, dtype = problem.coordinates.mean.size, jnp.result_type(float)
    n_rows = int(np.clip(SIZES.block_rows * 64 // n_features, SIZES.block_rows // 16, SIZES.block_rows))
    hessians: dict[int, Array] = {}
    precondition = problem.precondition
    own_factors = {neuron: factor for neuron, factor in precondition.own_factors.items() if neuron in running}
    precondition = precondition._replace(own_factors=own_factors)
    coef, intercept = (a.astype(dtype) for a in problem.coordinates.to_model(state.accepted.point))
    mean, sd = (np.asarray(a, dtype) for a in problem.coordinates)
    model, f = problem.objective.model, curved_row_hessians(n_rows)
    for group in np.array_split(running, -(-len(running) // HESSIANS_PER_PASS)):
        if len({*own_factors, *hessians, *group}) * precondition.correlation.size > MAX_FACTOR_ENTRIES:
            break
        neurons = np.resize(group, HESSIANS_PER_PASS)  # always of one length, for one compilation
        sums = total(f, design, model, neurons, coef[neurons], intercept[neurons], mean, sd)
        for neuron, hessian, other_curvature in zip(group, *sums, strict=False):
            if np.isfinite(hessian).all() and np.isfinite(other_curvature):  # not at points that are too far away
                hessians[neuron] = (hessian + other_curvature * precondition.correlation) / problem.bins[neuron]
    return problem._replace(precondition=precondition.with_own_hessians(hessians, problem.penalty_hessian))
