"""The default fit by batches: one pass of steps with a sampled curvature, then whole passes by ask and tell.

The first pass is `_first_pass`. At its end, or at that of the run, a sample of the rows mends what is not quadratic
(`_sample`). Once the batches have shown the same bins a second time, what they sum to is exact, and the solver of `_fit`
decides.
"""

import jax
import jax.numpy as jnp
import numpy as np

from popglm._checks.arrays import require_small_offset, require_valid_bins
from popglm._design.arrays import machine_epsilon
from popglm._design.centering import pooled_mean_sd
from popglm._design.row_counter import record_rows
from popglm._solver.ask_tell import DONE, RUNNING, ask, initial_state, restart_neurons, tell
from popglm._solver.exact import MAX_HIDDEN_GAIN, SOLVER_TOL, objective_from_sums, replace_dispersion
from popglm._solver.preconditioner import prepare_problem
from popglm._solver.problem import Objective
from popglm._sums.losses import fit_null_model, loss_and_gradient, null_model_loss
from popglm._sums.moments import bins_and_events
from popglm._sums.scale import (
    LOG_DISPERSION_TOL,
    MAX_DISPERSION,
    MIN_DISPERSION,
    chi_squared_sums,
    dispersion_slopes,
    estimate_dispersion,
    log_dispersion_step,
    needs_chi_squared,
)
from popglm.batching._first_pass import (
    batch_design,
    batch_total,
    max_loss_noise,
    refine_parameters,
    renew_curvature,
    step_in_first_pass,
)
from popglm.batching._sample import sample_losses, with_sampled_hessians
from popglm.batching._state import BatchFitState, apply_dispersion, estimates_dispersion

MAX_SHORTENINGS = 6  # times that a step is shortened to a tenth


def step_on_batch(state: BatchFitState, objective: Objective, mask, X, y) -> tuple[BatchFitState, float]:
    """Take in one batch: arrays (rows, features) and (rows, neurons). Also returns its mean loss."""
    record_rows(y)
    state, objective = apply_dispersion(state, objective)
    if state.center is None:
        center, sd = pooled_mean_sd([X], pooled_mean_sd([X], 0)[0])
        require_small_offset(center, sd)
        state = state._replace(center=center, intercept=state.intercept + state.coef @ center)
    X = X - state.center  # in double precision; the design rounds it
    data = batch_design(X, y)
    if state.passing is not None:
        return _step_in_exact_pass(state, objective, data)
    return step_in_first_pass(state, objective, mask, data, X, y)


def _mean_magnitude(y):
    """Mean size of what is not missing."""
    return np.nan_to_num(np.abs(y)).sum(0) / np.maximum((~np.isnan(y)).sum(0), 1)


def _step_in_exact_pass(state, objective, data):
    coef, intercept = state.problem.coordinates.to_model(ask(state.passing))
    _, null, _ = fit_null_model(objective.model, state.bins, state.events)
    new = batch_total(exact_pass_sums, coef, intercept, objective, data, null)
    loss, bins = new[0][0], new[1][0]
    state = state._replace(sums=new if state.sums is None else jax.tree.map(np.add, state.sums, new))
    return state, float((loss / np.maximum(bins, 1))[bins > 0].mean())


def end_batch_pass(state: BatchFitState, objective: Objective, mask) -> BatchFitState:
    """After the last batch of a pass: accept or shorten the steps that it was evaluated at."""
    if state.fresh:
        return state
    state, objective = apply_dispersion(state, objective)
    if state.passing is None:
        return _start_exact_passes(state, objective, mask)
    if not _same_bins(state):
        coef, intercept = state.here  # every pass shows other bins: what they sum to can not be compared
        return state._replace(coef=coef, intercept=intercept, passing=None, sums=None, of_scale=None, fresh=True)
    return _tell_solver(state, objective)


def _same_bins(state) -> bool:
    """Whether this pass showed the bins of the first, as far as their sums tell, to round-off."""
    _, (bins, events), features, *_ = state.sums
    _, first, gram = state.moments
    eps = machine_epsilon()
    apart = np.abs(features - first) / np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    sizes = bins * _mean_magnitude(state.sample.y[: state.sample.n])
    same_events = np.abs(events - state.events) <= 1e3 * eps * sizes
    return bool(np.array_equal(bins, state.bins) and same_events.all() and (apart < 1e-2).all())


def _start_exact_passes(state, objective, mask) -> BatchFitState:
    state = renew_curvature(refine_parameters(state, objective, mask), objective, mask)
    _, _, silent = fit_null_model(objective.model, state.bins, state.events)
    point = state.problem.coordinates.from_model(state.coef, state.intercept)
    return state._replace(passing=initial_state(point, silent), renew_at=np.inf)


def _tell_solver(state, objective) -> BatchFitState:
    dtype = jnp.result_type(float)
    sums, _, _, null_loss, of_scale = state.sums
    bins, few = np.maximum(state.bins, 1), state.coef.shape[1] / state.bins.max()
    params = state.problem.coordinates.to_model(ask(state.passing))
    value, gradient = objective_from_sums(sums, state.problem, params[0], bins)
    problem = with_sampled_hessians(state.problem, state.sample, params, few)
    precondition, eps = problem.precondition, machine_epsilon()
    first = (state.passing.n_evaluated == 0) & (state.passing.status == RUNNING)
    nat = objective.model.nat(np.maximum(np.where(np.isfinite(value), value, 1), eps * null_loss / bins))
    tol, hidden = SOLVER_TOL[dtype.name] * nat / bins, MAX_HIDDEN_GAIN * nat / bins
    passing = tell(state.passing, value, gradient, precondition, tol, precondition.curvature * nat, eps, hidden)
    scale = state.scale
    if estimates_dispersion(state):
        step = log_dispersion_step(*of_scale)
        again = (passing.status == DONE) & (np.abs(step) > 10 * LOG_DISPERSION_TOL[dtype.name]) & (state.bins > 0)
        scale = np.clip(np.where(again, scale * np.exp(step), scale), MIN_DISPERSION, MAX_DISPERSION)
        again &= scale != state.scale
        passing = restart_neurons(passing, again, passing.point)
        mean, null, _ = fit_null_model(objective.model, state.bins, state.events)
        problem = replace_dispersion(problem, objective.model.with_scale(scale), null, mean)
    worse = first & ~(value <= null_loss / bins + 1e3 * eps * np.abs(null_loss / bins))
    if worse.any() and params[0][worse].any():  # the first pass led them astray: let the solver begin where `fit` does
        _, null, _ = fit_null_model(objective.model, state.bins, state.events)
        passing = restart_neurons(passing, worse, problem.coordinates.from_model(np.zeros_like(params[0]), null))
    state = state._replace(problem=problem, passing=passing, sums=None, scale=scale, of_scale=of_scale)
    _, objective = apply_dispersion(state, objective)
    return _shorten_risky_steps(state, objective, max_loss_noise(objective.model, state.bins, state.events, null_loss))


def _shorten_risky_steps(state, objective, noise) -> BatchFitState:
    """Steps that the sample expects a disaster of are shortened, before a pass is spent on them or the run ends there."""
    at = lambda point: sample_losses(state.sample, objective.model, *state.problem.coordinates.to_model(point))
    limit = at(state.passing.point) + noise
    for _ in range(MAX_SHORTENINGS):
        passing = state.passing
        lost = ~(at(ask(passing)) <= limit) & (passing.status == RUNNING)
        if not lost.any():
            break
        state = state._replace(passing=passing._replace(step=np.where(lost, 0.1, 1) * passing.step))
    return state


def batch_fit_result(state: BatchFitState, objective: Objective, mask):
    """Coefficients, intercepts, means and silence of all neurons; which are at their optimum, and which failed."""
    require_valid_bins(state.bins.any())
    state, _ = apply_dispersion(state, objective)
    if state.passing is None:
        state = refine_parameters(state, objective, mask)
    mean, null, silent = fit_null_model(objective.model, state.bins, state.events)
    coef, intercept = state.params
    failed = ~np.isfinite(coef).all(1) | ~np.isfinite(intercept) | state.ended & ~state.converged
    return (
        np.where(silent[:, None], 0, coef),
        np.where(silent, null, intercept),
        mean,
        silent,
        state.converged | silent,
        failed,
        batch_fit_dispersion(state, objective),
    )


def batch_fit_dispersion(state: BatchFitState, objective: Objective):
    """Scales and what they tell, from the last whole pass, or from the sample before there is one."""
    state, (model, *_) = apply_dispersion(state, objective)
    mean, null, silent = fit_null_model(model, state.bins, state.events)
    sums, dtype = state.of_scale, jnp.result_type(float)
    if not needs_chi_squared(model):
        sums = None
    elif sums is None:
        arrays = (np.asarray(a, dtype) for a in (*state.here, null))
        sums = state.sample.total(chi_squared_sums, model, *arrays)
    free = np.full(len(mean), 1.0) if state.problem is None else _n_parameters(state, objective)
    return estimate_dispersion(model, mean, free, silent, sums)


def _n_parameters(state, objective):
    """Free parameters of each neuron that the bins seen so far determine."""
    mask = state.problem.precondition.mask
    return (
        _feature_rank(state, objective, mask[:, :-1]).n_params(mask[:, :-1]) + 1
        if objective.model.divides
        else mask.sum(1)
    )


def collinear_in_batches(state: BatchFitState, objective: Objective, mask):
    """Features that others determine in the bins of the first pass, penalty included: it may make coefficients unique."""
    return _feature_rank(state, apply_dispersion(state, objective)[1], mask).collinear_features(mask)


def _feature_rank(state, objective, mask):
    mean, null, _ = fit_null_model(objective.model, state.bins, state.events)
    bins = np.maximum(state.bins, 1)
    return prepare_problem(objective, mask, bins, mean, null, state.moments, machine_epsilon())[1]


def exact_pass_sums(block, model, coef, intercept, null):
    """Losses with gradients, whether these are the bins of the first pass, and the loss of the null model."""
    features = (block.weight.max(1, keepdims=True) * block.X).sum(0)
    losses, of_scale = loss_and_gradient(block, model, coef, intercept), ()
    if needs_chi_squared(model):
        of_scale = chi_squared_sums(block, model, coef, intercept, null)
    elif model.shapes:
        of_scale = dispersion_slopes(block, model, coef, intercept)
    return losses, bins_and_events(block), features, null_model_loss(block, model, null), of_scale
