"""Exact passes of a fit by batches: every pass is one step of the exact solver for all neurons.

While a pass goes by, the batches are summed at the trial points of the solver. At its end the solver is told the sums, if the
pass has shown the bins of the first one. `fit` is the `BatchFit`; functions return the next one.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import as_divisor, machine_epsilon
from popglm._solver.ask_tell import DONE, RUNNING, ask, initial_state, restart_neurons, tell
from popglm._solver.exact import SOLVER_TOL
from popglm._solver.passes import MAX_HIDDEN_GAIN, objective_from_sums, replace_dispersion
from popglm._sums.losses import loss_and_gradient, null_model_loss
from popglm._sums.null_model import null_slope_and_information
from popglm._sums.scale import (
    LOG_DISPERSION_TOL,
    MAX_DISPERSION,
    MIN_DISPERSION,
    chi_squared_sums,
    dispersion_slopes,
    log_dispersion_step,
    needs_chi_squared,
)
from popglm.batching._first_pass import batch_total, max_loss_noise, refine_parameters, renew_curvature
from popglm.batching._sample import sample_losses, with_sampled_hessians
from popglm.batching._state import ExactPasses, NewBins, PassSums, bin_sums

# Number of times that a step is shortened to a tenth.
MAX_SHORTENINGS = 6


def start_exact_passes(fit):
    """Begin the exact passes after a first one, at the refined parameters."""
    fit = renew_curvature(refine_parameters(fit))
    state, totals = fit.state, fit.state.totals
    point = state.problem.coordinates.from_model(*state.centered_params)
    solver = initial_state(point, totals.null.silent)
    exact = ExactPasses(totals=totals, solver=solver, problem=state.problem, dispersion=state.dispersion)
    return replace(fit, state=exact)


def start_new_bins(fit):
    """Go back to steps with every batch, since every pass shows other bins and their sums cannot be compared."""
    state = fit.state
    coef, intercept = state.centered_params
    new = NewBins(
        totals=state.totals,
        coef=coef,
        intercept=intercept,
        problem=state.problem,
        renewal_bins=np.inf,
        dispersion=state.dispersion,
    )
    return replace(fit, state=new)


def step_in_exact_pass(fit, batch):
    """Add one batch of centred features to the sums of the pass. Return the next fit and the mean loss of the batch."""
    state, model = fit.state, fit.objective.model
    coef, intercept = state.problem.coordinates.to_model(ask(state.solver))
    null = state.totals.null
    params = coef, intercept, null.intercept, null.mean, null.silent
    sums = batch_total(_pass_sums, batch.design(), model, *params)
    loss, bins = sums.losses[0], sums.counts.bins
    fit = fit.update(sums=sums if state.sums is None else jax.tree.map(np.add, state.sums, sums))
    return fit, float((loss / as_divisor(bins))[bins > 0].mean())


def _pass_sums(block, model, coef, intercept, null, mean, silent) -> PassSums:
    dispersion = ()
    if needs_chi_squared(model):
        dispersion = chi_squared_sums(block, model, coef, intercept, null)
    elif model.dispersion == "likelihood":
        dispersion = dispersion_slopes(block, model, coef, intercept)
    return PassSums(
        losses=loss_and_gradient(block, model, coef, intercept),
        counts=bin_sums(block),
        features=(block.weight.max(1, keepdims=True) * block.X).sum(0),
        null_loss=null_model_loss(block, model, null),
        dispersion=dispersion,
        null_slopes=() if block.offset is None else null_slope_and_information(block, model, null, mean, silent),
    )


def shows_same_bins(state: ExactPasses) -> bool:
    """True if this pass showed the bins of the first, as far as sums tell them apart from others."""
    totals, (bins, events, _) = state.totals, state.sums.counts
    eps, sample = machine_epsilon(), totals.sample
    _, features, gram = totals.moments
    power = np.maximum(np.diag(gram) * totals.counts.unit.max(where=bins > 0, initial=0), np.finfo(float).tiny)
    feature_error = np.abs(state.sums.features - features) / np.sqrt(power)
    y = sample.rows.y
    weight = np.where(np.isnan(y), 0, sample.row_weight)
    mean_magnitude = (weight * np.nan_to_num(np.abs(y))).sum(0) / as_divisor(weight.sum(0))
    same_events = np.abs(events - totals.counts.events) <= 1e3 * eps * (bins * mean_magnitude)
    round_off = 1e2 * eps * bins if sample.columns[0] else 0  # of sums of weights
    same_bins = np.abs(bins - totals.bins) <= round_off
    return bool(same_bins.all() and same_events.all() and (feature_error < 1e-2).all())


def take_solver_step(fit):
    """Tell the solver the sums of a pass, and let it choose the next trial points."""
    state, totals, model, sums = fit.state, fit.state.totals, fit.objective.model, fit.state.sums
    bins, ridge = as_divisor(totals.bins), fit.mask.shape[1] / totals.counts.n_effective.max()
    n_bins = totals.counts.n_counted
    eps, dtype = machine_epsilon(), jnp.result_type(float)
    coef, intercept = state.problem.coordinates.to_model(ask(state.solver))
    value, gradient = objective_from_sums(sums.losses, state.problem, coef, bins)
    problem = with_sampled_hessians(state.problem, totals.sample, (coef, intercept), ridge)
    nat = model.nat(np.maximum(np.where(np.isfinite(value), value, 1), eps * sums.null_loss / bins))
    tol, hidden = SOLVER_TOL[dtype.name] * nat / n_bins, MAX_HIDDEN_GAIN * nat / n_bins
    curvature = problem.precondition.curvature
    solver = tell(state.solver, value, gradient, problem.precondition, tol, curvature * nat, eps, hidden)
    fit = fit.update(problem=problem, solver=solver, sums=None, dispersion_sums=sums.dispersion)
    if fit.estimates_dispersion:
        fit = _step_dispersion(fit)
    is_first = (state.solver.n_evaluated == 0) & (state.solver.status == RUNNING)
    null_value = sums.null_loss / bins
    above_null = is_first & ~(value <= null_value + 1e3 * eps * np.abs(null_value))
    if coef[above_null].any():
        fit = _restart_at_null_model(fit, above_null)
    fit = _shorten_risky_steps(fit, sums.null_loss)
    return _step_null_model(fit, sums.null_slopes) if sums.null_slopes else fit


def _step_null_model(fit, slopes):
    """Take a step of scoring of the null model's intercept; it begins at the optimum for the sample."""
    totals, (slope, information) = fit.state.totals, slopes
    intercept = totals.null.intercept + np.clip(-slope / as_divisor(information), -1, 1)
    return fit.update(totals=replace(totals, null=totals.null.with_intercept(intercept)))


def _step_dispersion(fit):
    """Take a step of the dispersion of each neuron that has converged; if it changes, the neuron runs again."""
    state, totals = fit.state, fit.state.totals
    step = log_dispersion_step(*state.dispersion_sums)
    tol = 10 * LOG_DISPERSION_TOL[jnp.result_type(float).name]
    restart = (state.solver.status == DONE) & (np.abs(step) > tol) & (totals.bins > 0)
    dispersion = np.where(restart, state.dispersion * np.exp(step), state.dispersion)
    dispersion = np.clip(dispersion, MIN_DISPERSION, MAX_DISPERSION)
    restart &= dispersion != state.dispersion
    return fit.update(
        solver=restart_neurons(state.solver, restart, state.solver.accepted.point),
        problem=replace_dispersion(state.problem, dispersion, totals.null),
        dispersion=dispersion,
    )


def _restart_at_null_model(fit, above_null):
    """Restart neurons where the exact fit starts: the first pass led them to a loss above that of the null model."""
    state, null = fit.state, fit.state.totals.null.intercept
    point = state.problem.coordinates.from_model(np.zeros(fit.mask.shape), null)
    return fit.update(solver=restart_neurons(state.solver, above_null, point))


def _shorten_risky_steps(fit, null_loss):
    """Shorten steps from which the sample expects a disaster, before a pass is spent on them or the run ends there."""
    state, totals, model = fit.state, fit.state.totals, fit.state.problem.objective.model
    losses_at = lambda point: sample_losses(totals.sample, model, *state.problem.coordinates.to_model(point))
    solver = state.solver
    limit = losses_at(solver.accepted.point) + max_loss_noise(model, totals.null, totals.counts, null_loss)
    for _ in range(MAX_SHORTENINGS):
        risky = ~(losses_at(ask(solver)) <= limit) & (solver.status == RUNNING)
        if not risky.any():
            break
        step = np.where(risky, 0.1, 1) * solver.search.step
        solver = solver._replace(search=solver.search._replace(step=step))
    return fit.update(solver=solver)
