"""The default fit by batches: one pass of steps with a sampled curvature, then whole passes by ask and tell.

On the first pass every batch moves the parameters by its share of a Newton step, ``(m / b) P^-1 g``: m of the b bins seen so
far, g the mean gradient of the batch where the parameters stand, P each neuron's Hessian there. For a quadratic loss this is
the optimum of all bins seen so far (Bertsekas 1996, *SIAM Journal on Optimization* 6:807-822). P comes from a sample of the
rows. At the end of the pass, or of the run, the sample mends what is not quadratic (`_sample`). Once the batches have shown the
same bins a second time, what they sum to is exact, and the solver of `_fit` decides.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm import _ask_tell, _check_arrays, _design, _fit, _objective, _precondition, _sample, _scale
from popglm._ask_tell import DONE, RUNNING
from popglm._fit import TOL
from popglm._objective import Objective
from popglm._precondition import Problem
from popglm._sample import Sample

PRIOR = 2  # events per feature that hold a neuron where it starts, on the first pass
GROWTH = 2.0  # of the bins seen, before the curvature is computed again
MAX_MOVE = 1.0  # of the linear predictor in one step, root mean square over the rows seen so far
SHORTER = 6  # times that a step is shortened to a tenth
MAX_CHANGE = 3.0  # of the linear predictor in one step, in any row of the batch
LOST = (
    3.0,
    5.0,
)  # excess over the null model's loss on a new batch, in roots of its information and in nats, that no noise makes


class State(NamedTuple):
    """All that the next step needs. `passing` is None on the first pass, and as long as batches show new bins.

    All features are those of the user minus `center`, the mean of the first batch, so none lies far from 0.
    """

    coef: np.ndarray
    intercept: np.ndarray
    center: np.ndarray | None
    bins: np.ndarray  # seen on the first pass, per neuron, with their events and moments
    events: np.ndarray
    moments: tuple
    gradients: np.ndarray  # in coefficients and, last, the intercept: summed, each where its batch met the parameters
    sample: Sample
    problem: Problem | None
    renew_at: float  # bins
    passing: _ask_tell.State | None
    sums: tuple | None  # of this pass: losses, gradients, bins, events and features
    scale: np.ndarray | None  # of the loss, where it has one
    given: bool  # whether the user gave that scale
    spread: tuple | None  # bins and Pearson's chi-squared in the last whole pass
    fresh: bool  # whether batches show bins that passes before did not

    @property
    def here(self):
        """Coefficients and intercepts that these steps have led to, for the centred features."""
        if self.passing is None:
            return self.coef, self.intercept
        ahead = np.where(self.converged, 1, self.passing.step * (self.passing.n_rejected == 0))
        return self.problem.coordinates.to_model(self.passing.point + ahead[:, None] * self.passing.direction)

    @property
    def params(self):
        """The same for the features of the user."""
        coef, intercept = self.here
        return coef, intercept - (0 if self.center is None else coef @ self.center)

    @property
    def converged(self):
        """Which neurons are at their optimum."""
        return np.zeros(len(self.bins), bool) if self.passing is None else self.passing.status == DONE

    @property
    def ended(self):
        """Which neurons no further pass would move."""
        return np.zeros(len(self.bins), bool) if self.passing is None else self.passing.status != RUNNING


def start(coef, intercept) -> State:
    """State before the first batch. An `intercept` of NaN is set by that batch."""
    n_neurons, n_features = coef.shape
    zeros = np.zeros(n_neurons)
    moments = 0.0, np.zeros(n_features), np.zeros((n_features, n_features))
    sample = Sample.empty(n_features, n_neurons)
    gradients = np.zeros((n_neurons, n_features + 1))
    nothing = None, 0.0, None, None, None, False, None, False
    return State(coef, intercept, None, zeros, zeros, moments, gradients, sample, *nothing)


def resumed(state: State, coef, intercept) -> State:
    """The same state with other parameters, if it is not amid an exact pass; nobody else writes to its sample."""
    sample = Sample.of(*state.sample.parts)
    if state.passing is None:
        center = 0 if state.center is None else coef @ state.center
        state = state._replace(coef=coef, intercept=intercept + center)
    return state._replace(sample=sample)


def packed(state: State):
    """The state for a file: what is not of the objective, which is made of settings."""
    problem = None if state.problem is None else state.problem._replace(objective=None)
    return state._replace(problem=problem, sample=state.sample.parts)


def unpacked(saved, objective: Objective) -> State:
    """The state again, from the same as plain tuples."""
    state, objective = _scaled(State(*saved), objective)
    state = state._replace(sample=Sample.of(*state.sample))
    if state.passing is not None:
        state = state._replace(passing=_ask_tell.State(*state.passing))
    if state.problem is not None:
        _, bins, coordinates, precondition = state.problem
        parts = _precondition.Coordinates(*coordinates), _precondition.Preconditioner.again(*precondition)
        state = state._replace(problem=Problem(objective, bins, *parts))
    return state


def step(state: State, objective: Objective, mask, X, y) -> tuple[State, float]:
    """Take in one batch: arrays (rows, features) and (rows, neurons). Also returns its mean loss."""
    state, objective = _scaled(state, objective)
    if state.center is None:
        center, sd = _design.spread([X], _design.spread([X], 0)[0])
        _check_arrays.near(center, sd)
        state = state._replace(center=center, intercept=state.intercept + state.coef @ center)
    X = X - state.center  # in double precision; the design rounds it
    return (_first_pass if state.passing is None else _later_pass)(state, objective, mask, design(X, y), X, y)


def _estimated(state, objective) -> bool:
    return state.scale is not None and not state.given


def _scaled(state, objective):
    """The objective with the scale that the state has led to; a scale that is not known begins at 1."""
    if not objective.model.shapes:
        return state, objective
    if state.scale is None:
        given = objective.model.scale is not None
        scale = np.asarray(_scale.known(objective.model, len(state.bins)).scale, float)[:, 0]
        state = state._replace(scale=scale, given=given)
    return state, objective._replace(model=objective.model.with_scale(state.scale))


def _likely(state, objective):
    """The most likely scale of the rows of the sample."""
    model = objective.model
    if state.sample.n:
        model = _scale.most_likely(partial(state.sample.total, _scale.slopes), model, *state.here)
    return state._replace(scale=np.asarray(model.scale, float)[:, 0]), objective._replace(model=model)


def _size(y):
    """Mean size of what is not missing."""
    return np.nan_to_num(np.abs(y)).sum(0) / np.maximum((~np.isnan(y)).sum(0), 1)


def design(X, y) -> _design.Design:
    """One batch as a design."""
    return _design.Design(_design.Matrix(X), y)


def _first_pass(state, objective, mask, data, X, y):
    tally = _design.total(_objective.tally, data)
    _, null, _ = _objective.null_model(objective.model, state.bins + tally[0], state.events + tally[1])
    state = state._replace(intercept=np.where(np.isnan(state.intercept), null, state.intercept))
    state, new_moments, sums, null_loss = _guarded(state, objective, data, null, *tally)
    new_bins, counted = tally[0], ~_design.missing_rows(X)
    dtype = jnp.result_type(float)
    here = state.coef.astype(dtype), state.intercept.astype(dtype)
    residual = _design.entries(_objective.residuals, data, len(new_bins), objective.model, *here)[counted]
    n, _, gram = moments = tuple(a + b for a, b in zip(state.moments, new_moments, strict=True))
    X, y = X[counted], y[counted]
    spread = np.maximum(np.diag(gram) / n, np.finfo(float).tiny)
    sample = state.sample.with_rows(X, y, residual, 1 + (X**2 / spread).mean(1))
    state = state._replace(
        bins=state.bins + new_bins,
        events=state.events + tally[1],
        moments=moments,
        gradients=state.gradients + _objective.joined(*sums[1:]),
        sample=sample,
    )
    if state.bins.max() >= state.renew_at:
        state = _renewed(state, objective, mask)._replace(renew_at=GROWTH * state.bins.max())
    loss, gradient = _fit.mean(sums, state.problem, state.coef, np.maximum(new_bins, 1))
    size = np.sqrt(np.maximum(objective.model.nat(null_loss / np.maximum(new_bins, 1)), 1))  # of identity links
    state = _moved(state, gradient, new_bins, X, size)
    return state, float(loss[new_bins > 0].mean())


def _guarded(state, objective, data, null, bins, events):
    """Sums of a batch where the parameters stand. A neuron that they do not describe at all goes back to the null model.

    Its steps went too far for rows like these: of a feature that had hardly varied, or of an outlier.
    """
    moments, sums, null_loss = _total(_first_sums, state.coef, state.intercept, objective, data, null)
    finite = np.isfinite(sums[0]) & np.isfinite(sums[1]).all(1)
    lost = ~finite | (sums[0] > null_loss + _noise(objective.model, bins, events, null_loss))
    lost &= (bins > 0) & state.coef.any(1) | ~finite
    if not lost.any():
        return state, moments, sums, null_loss
    coef, intercept = np.where(lost[:, None], 0, state.coef), np.where(lost, null, state.intercept)
    _, sums, _ = _total(_first_sums, coef, intercept, objective, data, null)
    return state._replace(coef=coef, intercept=intercept), moments, sums, null_loss


def _noise(model, bins, events, null_loss):
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


def _renewed(state, objective, mask) -> State:
    """Coordinates and curvatures from the bins seen so far, at the present parameters."""
    eps, bins = float(jnp.finfo(jnp.result_type(float)).eps), np.maximum(state.bins, 1)
    mean, null, _ = _objective.null_model(objective.model, state.bins, state.events)
    if _estimated(state, objective):
        state, objective = _likely(state, objective)
    n_features = state.coef.shape[1]
    few = n_features / bins.max()  # the correlations of few rows are not to be trusted in every direction
    problem = _precondition.prepare(objective, mask, bins, mean, null, state.moments, eps, few)[0]
    return state._replace(problem=_sample.with_own(problem, state.sample, state.here, few))


def _later_pass(state, objective, mask, data, X, y):
    coef, intercept = state.problem.coordinates.to_model(_ask_tell.ask(state.passing))
    _, null, _ = _objective.null_model(objective.model, state.bins, state.events)
    new = _total(later_sums, coef, intercept, objective, data, null)
    loss, bins = new[0][0], new[1][0]
    state = state._replace(sums=new if state.sums is None else jax.tree.map(np.add, state.sums, new))
    return state, float((loss / np.maximum(bins, 1))[bins > 0].mean())


def end_pass(state: State, objective: Objective, mask) -> State:
    """After the last batch of a pass: accept or shorten the steps that it was evaluated at."""
    if state.fresh:
        return state
    state, objective = _scaled(state, objective)
    if state.passing is None:
        return _start_passing(state, objective, mask)
    if not _same_bins(state):
        coef, intercept = state.here  # every pass shows other bins: what they sum to can not be compared
        return state._replace(coef=coef, intercept=intercept, passing=None, sums=None, spread=None, fresh=True)
    return _told(state, objective)


def _same_bins(state) -> bool:
    """Whether this pass showed the bins of the first, as far as their sums tell, to round-off."""
    _, (bins, events), features, *_ = state.sums
    _, first, gram = state.moments
    eps = float(jnp.finfo(jnp.result_type(float)).eps)
    apart = np.abs(features - first) / np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    sizes = bins * _size(state.sample.y[: state.sample.n])
    same_events = np.abs(events - state.events) <= 1e3 * eps * sizes
    return bool(np.array_equal(bins, state.bins) and same_events.all() and (apart < 1e-2).all())


def _start_passing(state, objective, mask) -> State:
    state = _renewed(_refined(state, objective, mask), objective, mask)
    _, _, silent = _objective.null_model(objective.model, state.bins, state.events)
    point = state.problem.coordinates.from_model(state.coef, state.intercept)
    return state._replace(passing=_ask_tell.start(point, silent), renew_at=np.inf)


def _refined(state, objective, mask) -> State:
    """Parameters at the optimum of all bins seen so far, as far as their sums and the sample tell."""
    state = _renewed(state, objective, mask)
    _, null, silent = _objective.null_model(objective.model, state.bins, state.events)
    coef, intercept = state.here
    at_null = _sample.losses(state.sample, objective.model, np.zeros_like(coef), null)
    limit = at_null + _noise(objective.model, state.bins, state.events, at_null)
    lost = ~(_sample.losses(state.sample, objective.model, coef, intercept) <= limit)  # too far away to find back
    params = np.where(lost[:, None], 0, coef), np.where(lost, null, intercept)
    coef, intercept = _sample.optimum(state.sample, state.gradients, state.bins, silent, state.problem, params)
    state = state._replace(coef=coef, intercept=intercept)
    return _likely(state, objective)[0] if _estimated(state, objective) else state


def _told(state, objective) -> State:
    dtype = jnp.result_type(float)
    sums, _, _, null_loss, spread = state.sums
    bins, few = np.maximum(state.bins, 1), state.coef.shape[1] / state.bins.max()
    params = state.problem.coordinates.to_model(_ask_tell.ask(state.passing))
    value, gradient = _fit.mean(sums, state.problem, params[0], bins)
    problem = _sample.with_own(state.problem, state.sample, params, few)
    precondition, eps = problem.precondition, float(jnp.finfo(dtype).eps)
    first = (state.passing.n_evaluated == 0) & (state.passing.status == RUNNING)
    nat = objective.model.nat(np.maximum(np.where(np.isfinite(value), value, 1), eps * null_loss / bins))
    passing = _ask_tell.tell(
        state.passing, value, gradient, precondition, TOL[dtype.name] * nat / bins, precondition.curvature * nat, eps
    )
    scale = state.scale
    if _estimated(state, objective):
        step = _scale.newton(*spread)
        again = (passing.status == DONE) & (np.abs(step) > 10 * _scale.TOL[dtype.name]) & (state.bins > 0)
        scale = np.clip(np.where(again, scale * np.exp(step), scale), _scale.LEAST, _scale.MOST)
        again &= scale != state.scale
        passing = _ask_tell.restarted(passing, again, passing.point)
        mean, null, _ = _objective.null_model(objective.model, state.bins, state.events)
        problem = _fit.scaled(problem, objective.model.with_scale(scale), null, mean)
    worse = first & ~(value <= null_loss / bins + 1e3 * eps * np.abs(null_loss / bins))
    if worse.any() and params[0][worse].any():  # the first pass led them astray: let the solver begin where `fit` does
        _, null, _ = _objective.null_model(objective.model, state.bins, state.events)
        passing = _ask_tell.restarted(passing, worse, problem.coordinates.from_model(np.zeros_like(params[0]), null))
    state = state._replace(problem=problem, passing=passing, sums=None, scale=scale, spread=spread)
    _, objective = _scaled(state, objective)
    return _cautious(state, objective, _noise(objective.model, state.bins, state.events, null_loss))


def _cautious(state, objective, noise) -> State:
    """Steps that the sample expects a disaster of are shortened, before a pass is spent on them or the run ends there."""
    at = lambda point: _sample.losses(state.sample, objective.model, *state.problem.coordinates.to_model(point))
    limit = at(state.passing.point) + noise
    for _ in range(SHORTER):
        passing = state.passing
        lost = ~(at(_ask_tell.ask(passing)) <= limit) & (passing.status == RUNNING)
        if not lost.any():
            break
        state = state._replace(passing=passing._replace(step=np.where(lost, 0.1, 1) * passing.step))
    return state


def finished(state: State, objective: Objective, mask):
    """Coefficients, intercepts, means and silence of all neurons; which are at their optimum, and which failed."""
    _check_arrays.some_valid(state.bins.any())
    state, _ = _scaled(state, objective)
    if state.passing is None:
        state = _refined(state, objective, mask)
    mean, null, silent = _objective.null_model(objective.model, state.bins, state.events)
    coef, intercept = state.params
    failed = ~np.isfinite(coef).all(1) | ~np.isfinite(intercept) | state.ended & ~state.converged
    return (
        np.where(silent[:, None], 0, coef),
        np.where(silent, null, intercept),
        mean,
        silent,
        state.converged | silent,
        failed,
        dispersion(state, objective),
    )


def dispersion(state: State, objective: Objective):
    """Scales and what they tell, from the last whole pass, or from the sample before there is one."""
    state, (model, *_) = _scaled(state, objective)
    mean, null, silent = _objective.null_model(model, state.bins, state.events)
    sums, dtype = state.spread, jnp.result_type(float)
    if not _scale.measured(model):
        sums = None
    elif sums is None:
        arrays = (np.asarray(a, dtype) for a in (*state.here, null))
        sums = state.sample.total(_scale.chi_squared, model, *arrays)
    free = np.full(len(mean), 1.0) if state.problem is None else state.problem.precondition.mask.sum(1)
    return _scale.dispersion(model, mean, free, silent, sums)


def _total(f, coef, intercept, objective, data, null):
    dtype = jnp.result_type(float)
    return _design.total(f, data, objective.model, *(a.astype(dtype) for a in (coef, intercept, null)))


def _first_sums(block, model, coef, intercept, null):
    losses = _objective.loss_and_gradient(block, model, coef, intercept)
    return _objective.moments(block), losses, _objective.null_loss(block, model, null)


def later_sums(block, model, coef, intercept, null):
    """Losses with gradients, whether these are the bins of the first pass, and the loss of the null model."""
    features = (block.weight.max(1, keepdims=True) * block.X).sum(0)
    losses, spread = _objective.loss_and_gradient(block, model, coef, intercept), ()
    if _scale.measured(model):
        spread = _scale.chi_squared(block, model, coef, intercept, null)
    elif model.shapes:
        spread = _scale.slopes(block, model, coef, intercept)
    return losses, _objective.tally(block), features, _objective.null_loss(block, model, null), spread
