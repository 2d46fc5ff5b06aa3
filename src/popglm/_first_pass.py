"""The first pass of a fit by batches: every batch moves the parameters.

By its share of a Newton step, ``(m / b) P^-1 g``: m of the b bins seen so far, g the mean gradient of the batch where the
parameters stand, P each neuron's Hessian there, from a sample of the rows. For a quadratic loss this is the optimum of all bins
seen so far (Bertsekas 1996, *SIAM Journal on Optimization* 6:807-822).
"""

from functools import partial

import jax.numpy as jnp
import numpy as np

from popglm import _design, _fit, _objective, _precondition, _sample
from popglm._batch_state import State, estimated, likely

PRIOR = 2  # events per feature that hold a neuron where it starts
GROWTH = 2.0  # of the bins seen, before the curvature is computed again
MAX_MOVE = 1.0  # of the linear predictor in one step, root mean square over the rows seen so far
MAX_CHANGE = 3.0  # of the linear predictor in one step, in any row of the batch
LEAST_ROWS = 64  # that residuals are computed of at a time
LOST = 3.0, 5.0  # excess over the null model's loss, in roots of its information and in nats, that no noise makes


def step(state, objective, mask, data, X, y) -> tuple[State, float]:
    """Take in one batch, less the center, as a design and as arrays. Also returns its mean loss."""
    tally = _design.total(_objective.tally, data)
    _, null, _ = _objective.null_model(objective.model, state.bins + tally[0], state.events + tally[1])
    state = state._replace(intercept=np.where(np.isnan(state.intercept), null, state.intercept))
    state, new_moments, sums, null_loss = _guarded(state, objective, data, null, *tally)
    new_bins, counted = tally[0], ~_design.missing_rows(X)
    residuals = partial(_residuals, objective.model, state.coef, state.intercept, len(X))
    n, _, gram = moments = tuple(a + b for a, b in zip(state.moments, new_moments, strict=True))
    X, y = X[counted], y[counted]
    spread = np.maximum(np.diag(gram) / n, np.finfo(float).tiny)
    sample = state.sample.with_rows(X, y, residuals, 1 + (X**2 / spread).mean(1))
    state = state._replace(
        bins=state.bins + new_bins,
        events=state.events + tally[1],
        moments=moments,
        gradients=state.gradients + _objective.joined(*sums[1:]),
        sample=sample,
    )
    if state.bins.max() >= state.renew_at:
        state = renewed(state, objective, mask)._replace(renew_at=GROWTH * state.bins.max())
    loss, gradient = _fit.mean(sums, state.problem, state.coef, np.maximum(new_bins, 1))
    size = np.sqrt(np.maximum(objective.model.nat(null_loss / np.maximum(new_bins, 1)), 1))  # of identity links
    state = _moved(state, gradient, new_bins, X, size)
    return state, float(loss[new_bins > 0].mean())


def _residuals(model, coef, intercept, n_rows, X, y):
    """Derivatives of the loss in the linear predictor for some rows of a batch of so many.

    With others that do not count they are as many as the batch, or half, a quarter, ... of it, so that little is compiled.
    """
    length, dtype = n_rows, jnp.result_type(float)
    while length // 2 >= max(len(X), LEAST_ROWS):
        length //= 2
    empty = np.full((length - len(X), X.shape[1]), np.nan)
    data = design(np.concatenate([X, empty]), np.concatenate([y, np.zeros((len(empty), y.shape[1]), y.dtype)]))
    here = coef.astype(dtype), intercept.astype(dtype)
    return _design.entries(_objective.residuals, data, y.shape[1], model, *here)[: len(X)]


def _guarded(state, objective, data, null, bins, events):
    """Sums of a batch where the parameters stand. A neuron that they do not describe at all goes back to the null model.

    Its steps went too far for rows like these: of a feature that had hardly varied, or of an outlier.
    """
    moments, sums, null_loss = summed(_first_sums, state.coef, state.intercept, objective, data, null)
    finite = np.isfinite(sums[0]) & np.isfinite(sums[1]).all(1)
    lost = ~finite | (sums[0] > null_loss + noise(objective.model, bins, events, null_loss))
    lost &= (bins > 0) & state.coef.any(1) | ~finite
    if not lost.any():
        return state, moments, sums, null_loss
    coef, intercept = np.where(lost[:, None], 0, state.coef), np.where(lost, null, state.intercept)
    _, sums, _ = summed(_first_sums, coef, intercept, objective, data, null)
    return state._replace(coef=coef, intercept=intercept), moments, sums, null_loss


def noise(model, bins, events, null_loss):
    """The most that a likely loss of these bins may lie above another."""
    mean, null, _ = _objective.null_model(model, bins, events)
    bins = np.maximum(bins, 1)
    information = bins * np.asarray(_objective.curvature(model, null, mean), float)
    return model.nat(null_loss / bins) * (LOST[0] * np.sqrt(information) + LOST[1])


def _moved(state, gradient, new_bins, X, large) -> State:
    """The share that a batch has in a Newton step."""
    coordinates, precondition = state.problem.coordinates, state.problem.precondition
    held = PRIOR * coordinates.mean.size / np.maximum(precondition.curvature, 1e-9)
    move = -(new_bins / (state.bins + held))[:, None] * precondition(gradient)
    size = np.sqrt(np.einsum("nf,fg,ng->n", move, precondition.correlation, move))
    coef, intercept = coordinates.to_model(move)  # a move from coefficients 0 and intercept 0
    change = np.abs(X.astype(np.float32) @ coef.T.astype(np.float32) + intercept).max(0)
    shorter = np.minimum(
        1, large * np.minimum(MAX_MOVE / np.maximum(size, 1e-12), MAX_CHANGE / np.maximum(change, 1e-12))
    )
    return state._replace(coef=state.coef + shorter[:, None] * coef, intercept=state.intercept + shorter * intercept)


def renewed(state, objective, mask) -> State:
    """Coordinates and curvatures from the bins seen so far, at the present parameters."""
    eps, bins = _design.eps(), np.maximum(state.bins, 1)
    mean, null, _ = _objective.null_model(objective.model, state.bins, state.events)
    if estimated(state):
        state, objective = likely(state, objective)
    n_features = state.coef.shape[1]
    few = n_features / bins.max()  # the correlations of few rows are not to be trusted in every direction
    problem = _precondition.prepare(objective, mask, bins, mean, null, state.moments, eps, few)[0]
    return state._replace(problem=_sample.with_own(problem, state.sample, state.here, few))


def refined(state, objective, mask) -> State:
    """Parameters at the optimum of all bins seen so far, as far as their sums and the sample tell."""
    state = renewed(state, objective, mask)
    _, null, silent = _objective.null_model(objective.model, state.bins, state.events)
    coef, intercept = state.here
    at_null = _sample.losses(state.sample, objective.model, np.zeros_like(coef), null)
    limit = at_null + noise(objective.model, state.bins, state.events, at_null)
    lost = ~(_sample.losses(state.sample, objective.model, coef, intercept) <= limit)  # too far away to find back
    params = np.where(lost[:, None], 0, coef), np.where(lost, null, intercept)
    coef, intercept = _sample.optimum(state.sample, state.gradients, state.bins, silent, state.problem, params)
    state = state._replace(coef=coef, intercept=intercept)
    return likely(state, objective)[0] if estimated(state) else state


def design(X, y) -> _design.Design:
    """One batch as a design."""
    return _design.Design(_design.Matrix(X), y)


def summed(f, coef, intercept, objective, data, null):
    """Sums of a batch at parameters in double precision."""
    dtype = jnp.result_type(float)
    return _design.total(f, data, objective.model, *(a.astype(dtype) for a in (coef, intercept, null)))


def _first_sums(block, model, coef, intercept, null):
    losses = _objective.loss_and_gradient(block, model, coef, intercept)
    return _objective.moments(block), losses, _objective.null_loss(block, model, null)
