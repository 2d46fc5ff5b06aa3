"""The first pass of a fit by batches: every batch moves the parameters.

By its share of a Newton step, ``(m / b) P^-1 g``: m of the b bins seen so far, g the mean gradient of the batch where the
parameters stand, P each neuron's Hessian there, from a sample of the rows. For a quadratic loss this is the optimum of all bins
seen so far (Bertsekas 1996, *SIAM Journal on Optimization* 6:807-822).
"""

from functools import partial

import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import machine_epsilon, rows_with_nan
from popglm._design.design import Design, MatrixRows
from popglm._design.total import collect_entries, total
from popglm._solver.exact import objective_from_sums
from popglm._solver.preconditioner import prepare_problem
from popglm._sums.losses import (
    fit_null_model,
    loss_and_gradient,
    loss_curvature,
    loss_residuals,
    null_model_loss,
    stack_params,
)
from popglm._sums.moments import bins_and_events, feature_moments
from popglm.batching._sample import sample_losses, sample_optimum, with_sampled_hessians
from popglm.batching._state import BatchFitState, dispersion_from_sample, estimates_dispersion

PRIOR_EVENTS_PER_FEATURE = 2  # events per feature that hold a neuron where it starts


RENEWAL_GROWTH = 2.0  # of the bins seen, before the curvature is computed again


MAX_RMS_ETA_CHANGE = 1.0  # of the linear predictor in one step, root mean square over the rows seen so far


MAX_ROW_ETA_CHANGE = 3.0  # of the linear predictor in one step, in any row of the batch


MIN_RESIDUAL_ROWS = 64  # that residuals are computed of at a time


LOSS_NOISE_FACTORS = (
    3.0,
    5.0,
)  # excess over the null model's loss, in roots of its information and in nats, that no noise makes


def step_in_first_pass(state, objective, mask, data, X, y) -> tuple[BatchFitState, float]:
    """Take in one batch, less the center, as a design and as arrays. Also returns its mean loss."""
    tally = total(bins_and_events, data)
    _, null, _ = fit_null_model(objective.model, state.bins + tally[0], state.events + tally[1])
    state = state._replace(intercept=np.where(np.isnan(state.intercept), null, state.intercept))
    state, new_moments, sums, null_loss = _reset_lost_neurons(state, objective, data, null, *tally)
    new_bins, counted = tally[0], ~rows_with_nan(X)
    residuals = partial(_batch_residuals, objective.model, state.coef, state.intercept, len(X))
    n, _, gram = moments = tuple(a + b for a, b in zip(state.moments, new_moments, strict=True))
    X, y = X[counted], y[counted]
    spread = np.maximum(np.diag(gram) / n, np.finfo(float).tiny)
    sample = state.sample.with_rows(X, y, residuals, 1 + (X**2 / spread).mean(1))
    state = state._replace(
        bins=state.bins + new_bins,
        events=state.events + tally[1],
        moments=moments,
        gradients=state.gradients + stack_params(*sums[1:]),
        sample=sample,
    )
    if state.bins.max() >= state.renew_at:
        state = renew_curvature(state, objective, mask)._replace(renew_at=RENEWAL_GROWTH * state.bins.max())
    loss, gradient = objective_from_sums(sums, state.problem, state.coef, np.maximum(new_bins, 1))
    size = np.sqrt(np.maximum(objective.model.nat(null_loss / np.maximum(new_bins, 1)), 1))  # of identity links
    state = _apply_newton_share(state, gradient, new_bins, X, size)
    return state, float(loss[new_bins > 0].mean())


def _batch_residuals(model, coef, intercept, n_rows, X, y):
    """Derivatives of the loss in the linear predictor for some rows of a batch of so many.

    With others that do not count they are as many as the batch, or half, a quarter, ... of it, so that little is compiled.
    """
    length, dtype = n_rows, jnp.result_type(float)
    while length // 2 >= max(len(X), MIN_RESIDUAL_ROWS):
        length //= 2
    empty = np.full((length - len(X), X.shape[1]), np.nan)
    data = batch_design(np.concatenate([X, empty]), np.concatenate([y, np.zeros((len(empty), y.shape[1]), y.dtype)]))
    here = coef.astype(dtype), intercept.astype(dtype)
    return collect_entries(loss_residuals, data, y.shape[1], model, *here)[: len(X)]


def _reset_lost_neurons(state, objective, data, null, bins, events):
    """Sums of a batch where the parameters stand. A neuron that they do not describe at all goes back to the null model.

    Its steps went too far for rows like these: of a feature that had hardly varied, or of an outlier.
    """
    moments, sums, null_loss = batch_total(_moments_and_losses, state.coef, state.intercept, objective, data, null)
    finite = np.isfinite(sums[0]) & np.isfinite(sums[1]).all(1)
    lost = ~finite | (sums[0] > null_loss + max_loss_noise(objective.model, bins, events, null_loss))
    lost &= (bins > 0) & state.coef.any(1) | ~finite
    if not lost.any():
        return state, moments, sums, null_loss
    coef, intercept = np.where(lost[:, None], 0, state.coef), np.where(lost, null, state.intercept)
    _, sums, _ = batch_total(_moments_and_losses, coef, intercept, objective, data, null)
    return state._replace(coef=coef, intercept=intercept), moments, sums, null_loss


def max_loss_noise(model, bins, events, null_loss):
    """The most that a likely loss of these bins may lie above another."""
    mean, null, _ = fit_null_model(model, bins, events)
    bins = np.maximum(bins, 1)
    information = bins * np.asarray(loss_curvature(model, null, mean), float)
    return model.nat(null_loss / bins) * (LOSS_NOISE_FACTORS[0] * np.sqrt(information) + LOSS_NOISE_FACTORS[1])


def _apply_newton_share(state, gradient, new_bins, X, large) -> BatchFitState:
    """The share that a batch has in a Newton step."""
    coordinates, precondition = state.problem.coordinates, state.problem.precondition
    held = PRIOR_EVENTS_PER_FEATURE * coordinates.mean.size / np.maximum(precondition.curvature, 1e-9)
    move = -(new_bins / (state.bins + held))[:, None] * precondition(gradient)
    size = np.sqrt(np.einsum("nf,fg,ng->n", move, precondition.correlation, move))
    coef, intercept = coordinates.to_model(move)  # a move from coefficients 0 and intercept 0
    change = np.abs(X.astype(np.float32) @ coef.T.astype(np.float32) + intercept).max(0)
    shorter = np.minimum(
        1,
        large
        * np.minimum(MAX_RMS_ETA_CHANGE / np.maximum(size, 1e-12), MAX_ROW_ETA_CHANGE / np.maximum(change, 1e-12)),
    )
    return state._replace(coef=state.coef + shorter[:, None] * coef, intercept=state.intercept + shorter * intercept)


def renew_curvature(state, objective, mask) -> BatchFitState:
    """Coordinates and curvatures from the bins seen so far, at the present parameters."""
    eps, bins = machine_epsilon(), np.maximum(state.bins, 1)
    mean, null, _ = fit_null_model(objective.model, state.bins, state.events)
    if estimates_dispersion(state):
        state, objective = dispersion_from_sample(state, objective)
    n_features = state.coef.shape[1]
    few = n_features / bins.max()  # the correlations of few rows are not to be trusted in every direction
    problem = prepare_problem(objective, mask, bins, mean, null, state.moments, eps, few)[0]
    return state._replace(problem=with_sampled_hessians(problem, state.sample, state.here, few))


def refine_parameters(state, objective, mask) -> BatchFitState:
    """Parameters at the optimum of all bins seen so far, as far as their sums and the sample tell."""
    state = renew_curvature(state, objective, mask)
    _, null, silent = fit_null_model(objective.model, state.bins, state.events)
    coef, intercept = state.here
    at_null = sample_losses(state.sample, objective.model, np.zeros_like(coef), null)
    limit = at_null + max_loss_noise(objective.model, state.bins, state.events, at_null)
    lost = ~(sample_losses(state.sample, objective.model, coef, intercept) <= limit)  # too far away to find back
    params = np.where(lost[:, None], 0, coef), np.where(lost, null, intercept)
    coef, intercept = sample_optimum(state.sample, state.gradients, state.bins, silent, state.problem, params)
    state = state._replace(coef=coef, intercept=intercept)
    return dispersion_from_sample(state, objective)[0] if estimates_dispersion(state) else state


def batch_design(X, y) -> Design:
    """One batch as a design."""
    return Design(MatrixRows(X), y)


def batch_total(f, coef, intercept, objective, data, null):
    """Sums of a batch at parameters in double precision."""
    dtype = jnp.result_type(float)
    return total(f, data, objective.model, *(a.astype(dtype) for a in (coef, intercept, null)))


def _moments_and_losses(block, model, coef, intercept, null):
    losses = loss_and_gradient(block, model, coef, intercept)
    return feature_moments(block), losses, null_model_loss(block, model, null)
