"""The first pass of a fit by batches: every batch moves the parameters.

A batch contributes its share of a Newton step, ``(m / b) P^-1 g``: m of the b bins seen so far, g the mean gradient of the
batch at the parameters that it meets, P each neuron's Hessian there, from a sample of the rows. For a quadratic loss this
leads to the optimum of all bins seen so far (Bertsekas 1996, *SIAM Journal on Optimization* 6:807-822).

`fit` is the `BatchFit`; functions return the next one.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import as_divisor, machine_epsilon
from popglm._design.design import Design
from popglm._design.total import collect_entries, total
from popglm._solver.passes import objective_from_sums
from popglm._solver.preconditioner import prepare_problem
from popglm._sums.losses import (
    fit_null_model,
    loss_and_gradient,
    loss_curvature,
    loss_residuals,
    null_model_loss,
    stack_params,
)
from popglm._sums.moments import feature_moments
from popglm._sums.null_model import null_model_of, solve_null_model
from popglm._sums.scale import dispersion_slopes, fit_dispersion
from popglm.batching._batch import Batch
from popglm.batching._sample import sample_losses, sample_optimum, with_sampled_hessians
from popglm.batching._state import BinSums, FirstPass, Totals, bin_sums

# Events per feature that hold a neuron where it starts.
PRIOR_EVENTS_PER_FEATURE = 2

# Factor by which the number of bins grows before the curvature is computed again.
RENEWAL_GROWTH = 2.0

# Largest change of the linear predictor in one step: root mean square over the rows seen so far, and in any row of the batch.
MAX_RMS_ETA_CHANGE = 1.0
MAX_ROW_ETA_CHANGE = 3.0

# Smallest number of rows for which residuals are computed at a time.
MIN_RESIDUAL_ROWS = 64

# Excess over the loss of the null model, in roots of its information and in nats, that noise does not reach.
LOSS_NOISE_FACTORS = (3.0, 5.0)


class BatchSums(NamedTuple):
    """Sums over one batch at the parameters that it meets."""

    moments: tuple
    losses: tuple  # loss of each neuron, gradient in its coefficients and in its intercept
    null_loss: np.ndarray


def step_in_first_pass(fit, batch):
    """Take in one batch of centred features. Return the next fit and the mean loss of the batch."""
    model, state, design = fit.objective.model, fit.state, batch.design()
    counts = total(bin_sums, design)
    totals, bins = _count_bins(state.totals, model, design, counts), as_divisor(counts.bins)
    state = replace(state, intercept=np.where(np.isnan(state.intercept), totals.null.intercept, state.intercept))
    state, sums = _reset_diverged_neurons(state, model, design, totals, counts)
    _, *gradients = sums.losses

    residuals = partial(_batch_residuals, model, state.coef, state.intercept, len(batch.X))
    n_rows, _, gram = moments = tuple(a + b for a, b in zip(totals.moments, sums.moments, strict=True))
    rows = batch.select_counted()
    variance = np.maximum(np.diag(gram) / n_rows, np.finfo(float).tiny)
    totals = replace(
        totals,
        moments=moments,
        gradients=totals.gradients + stack_params(*gradients),
        sample=totals.sample.add_rows(rows, residuals, 1 + (rows.X**2 / variance).mean(1), totals.bins),
    )
    fit = replace(fit, state=replace(state, totals=totals))
    if totals.bins.max() >= state.renewal_bins:
        fit = renew_curvature(fit).update(renewal_bins=RENEWAL_GROWTH * totals.bins.max())
    loss, gradient = objective_from_sums(sums.losses, fit.state.problem, state.coef, bins)
    # The size of a nat is that of the linear predictor if the link is the identity.
    max_change = np.sqrt(np.maximum(model.nat(sums.null_loss / bins), 1))
    fit = replace(fit, state=_apply_newton_share(fit.state, gradient, counts.bins, rows.X, max_change))
    return fit, float(loss[counts.bins > 0].mean())


def _count_bins(totals: Totals, model, design: Design, new: BinSums) -> Totals:
    """Add the sums of a batch, and renew the null model. With an offset, its intercept begins at that of the first batch."""
    counts, last = totals.counts.add(new), totals.null
    if last is None and design.has_offset:
        last = null_model_of(design, model, new.bins, new.events)
    null = fit_null_model(model, counts.bins, counts.events)
    return replace(totals, counts=counts, null=null if last is None else null.with_intercept(last.offset_intercept))


def _batch_residuals(model, coef, intercept, n_rows, X, y, offset):
    """Derivatives of the loss in the linear predictor for some rows of a batch of `n_rows`.

    They are padded to `n_rows`, or a half, a quarter, ... of it, so that few lengths are compiled.
    """
    length, dtype = n_rows, jnp.result_type(float)
    while length // 2 >= max(len(X), MIN_RESIDUAL_ROWS):
        length //= 2
    empty = np.full((length - len(X), X.shape[1]), np.nan)
    X_padded = np.concatenate([X, empty])
    y_padded = np.concatenate([y, np.zeros((len(empty), y.shape[1]), y.dtype)])
    if offset is not None:
        offset = np.concatenate([offset, np.zeros((len(empty), offset.shape[1]))])
    batch = Batch(X_padded, y_padded, offset=offset).design()
    params = coef.astype(dtype), intercept.astype(dtype)
    return collect_entries(loss_residuals, batch, y.shape[1], model, *params)[: len(X)]


def _reset_diverged_neurons(state, model, batch, totals, counts) -> tuple[FirstPass, BatchSums]:
    """Set neurons whose parameters do not describe the batch at all back to the null model. Return also the batch's sums.

    Their steps went too far for rows like these: those of a feature that had hardly varied, or of an outlier.
    """
    null, bins = totals.null.intercept, counts.bins
    sums = batch_total(_moments_and_losses, batch, model, state.coef, state.intercept, null)
    loss, d_coef, _ = sums.losses
    finite = np.isfinite(loss) & np.isfinite(d_coef).all(1)
    noise = max_loss_noise(model, fit_null_model(model, bins, counts.events), counts, sums.null_loss)
    diverged = ~finite | (loss > sums.null_loss + noise)
    diverged &= (bins > 0) & state.coef.any(1) | ~finite
    if not diverged.any():
        return state, sums
    coef, intercept = np.where(diverged[:, None], 0, state.coef), np.where(diverged, null, state.intercept)
    losses = batch_total(_moments_and_losses, batch, model, coef, intercept, null).losses
    return replace(state, coef=coef, intercept=intercept), sums._replace(losses=losses)


def max_loss_noise(model, null, counts, null_loss):
    """Largest amount by which a likely loss of these bins exceeds another; `null` is their mean, `null_loss` its loss."""
    n_bins = as_divisor(counts.n_effective)
    information = n_bins * np.asarray(loss_curvature(model, null.eta, null.mean), float)
    nats = LOSS_NOISE_FACTORS[0] * np.sqrt(information) + LOSS_NOISE_FACTORS[1]
    return counts.unit * model.nat(null_loss / as_divisor(counts.bins)) * nats


def _apply_newton_share(state, gradient, new_bins, X, max_change) -> FirstPass:
    """Move the parameters by the batch's share of a Newton step; `max_change` scales the largest change."""
    coordinates, precondition = state.problem.coordinates, state.problem.precondition
    prior_bins = PRIOR_EVENTS_PER_FEATURE * coordinates.mean.size / np.maximum(precondition.curvature, 1e-9)
    prior_bins = prior_bins * state.totals.counts.unit
    move = -(new_bins / (state.totals.bins + prior_bins))[:, None] * precondition(gradient)
    rms_change = np.sqrt(np.einsum("nf,fg,ng->n", move, precondition.correlation, move))
    coef, intercept = coordinates.to_model(move)  # a move from coefficients 0 and intercept 0
    row_change = np.abs(X.astype(np.float32) @ coef.T.astype(np.float32) + intercept).max(0)
    rms_limit = MAX_RMS_ETA_CHANGE / np.maximum(rms_change, 1e-12)
    row_limit = MAX_ROW_ETA_CHANGE / np.maximum(row_change, 1e-12)
    step = np.minimum(1, max_change * np.minimum(rms_limit, row_limit))
    return replace(state, coef=state.coef + step[:, None] * coef, intercept=state.intercept + step * intercept)


def renew_curvature(fit):
    """Compute coordinates and curvatures anew from the bins seen so far, at the present parameters."""
    if fit.estimates_dispersion:
        fit, objective = _fit_dispersion_to_sample(fit)
    else:
        objective = fit.objective
    fit = _fit_null_model_to_sample(fit, objective.model)
    state, totals = fit.state, fit.state.totals
    bins, n_features = as_divisor(totals.bins), state.coef.shape[1]
    # The correlations of few rows are not to be trusted in every direction.
    ridge = n_features / as_divisor(totals.counts.n_effective).max()
    problem = prepare_problem(
        objective, fit.mask, bins, totals.null.mean, totals.null.eta, totals.moments, machine_epsilon(), ridge
    ).problem
    return fit.update(problem=with_sampled_hessians(problem, totals.sample, state.centered_params, ridge))


def refine_parameters(fit):
    """Move the parameters to the optimum of all bins seen so far, as far as the sums and the sample determine it."""
    fit = renew_curvature(fit)
    model, state, totals = fit.objective.model, fit.state, fit.state.totals
    coef, intercept = state.centered_params
    null_losses = sample_losses(totals.sample, model, np.zeros_like(coef), totals.null.intercept)
    limit = null_losses + max_loss_noise(model, totals.null, totals.counts, null_losses)
    diverged = ~(sample_losses(totals.sample, model, coef, intercept) <= limit)  # too far away to find back
    start = np.where(diverged[:, None], 0, coef), np.where(diverged, totals.null.intercept, intercept)
    coef, intercept = sample_optimum(totals, state.problem, start)
    fit = fit.update(coef=coef, intercept=intercept)
    return _fit_dispersion_to_sample(fit)[0] if fit.estimates_dispersion else fit


def _fit_dispersion_to_sample(fit):
    """Set the dispersion to the most likely one for the rows of the sample. Return the fit, and its objective with that."""
    model, sample = fit.objective.model, fit.state.totals.sample
    if sample.n:
        model = fit_dispersion(partial(sample.total, dispersion_slopes), model, *fit.state.centered_params)
    fit = fit.update(dispersion=np.asarray(model.scale, float)[:, 0])
    return fit, fit.objective._replace(model=model)


def _fit_null_model_to_sample(fit, model):
    """Set the intercept of the null model to the most likely one for the rows of the sample, if they have an offset."""
    totals = fit.state.totals
    if totals.null.offset_intercept is None:
        return fit
    return fit.update(totals=replace(totals, null=solve_null_model(totals.sample.total, model, totals.null)))


def batch_total(f, batch: Design, model, *params):
    """Sums of ``f(block, model, *params)`` over a batch, at parameters in double precision."""
    as_param = lambda a: a if a.dtype == bool else a.astype(jnp.result_type(float))
    return total(f, batch, model, *map(as_param, params))


def _moments_and_losses(block, model, coef, intercept, null) -> BatchSums:
    losses = loss_and_gradient(block, model, coef, intercept)
    return BatchSums(moments=feature_moments(block), losses=losses, null_loss=null_model_loss(block, model, null))
