"""The default fit by batches: one pass of steps with a sampled curvature, then whole passes by ask and tell.

The first pass is `_first_pass`. At its end, or at that of the run, a sample of the rows mends what is not quadratic
(`_sample`). Once the batches have shown the same bins a second time, what they sum to is exact, and the solver of `_fit`
decides.
"""

import jax
import jax.numpy as jnp
import numpy as np

from popglm import _ask_tell, _check_arrays, _design, _first_pass, _fit, _objective, _precondition, _sample, _scale
from popglm._ask_tell import DONE, RUNNING
from popglm._batch_state import State, estimated, scaled
from popglm._fit import HIDDEN, TOL
from popglm._objective import Objective

SHORTER = 6  # times that a step is shortened to a tenth


def step(state: State, objective: Objective, mask, X, y) -> tuple[State, float]:
    """Take in one batch: arrays (rows, features) and (rows, neurons). Also returns its mean loss."""
    state, objective = scaled(state, objective)
    if state.center is None:
        center, sd = _design.spread([X], _design.spread([X], 0)[0])
        _check_arrays.near(center, sd)
        state = state._replace(center=center, intercept=state.intercept + state.coef @ center)
    X = X - state.center  # in double precision; the design rounds it
    data = _first_pass.design(X, y)
    if state.passing is not None:
        return _later_pass(state, objective, data)
    return _first_pass.step(state, objective, mask, data, X, y)


def _size(y):
    """Mean size of what is not missing."""
    return np.nan_to_num(np.abs(y)).sum(0) / np.maximum((~np.isnan(y)).sum(0), 1)


def _later_pass(state, objective, data):
    coef, intercept = state.problem.coordinates.to_model(_ask_tell.ask(state.passing))
    _, null, _ = _objective.null_model(objective.model, state.bins, state.events)
    new = _first_pass.summed(later_sums, coef, intercept, objective, data, null)
    loss, bins = new[0][0], new[1][0]
    state = state._replace(sums=new if state.sums is None else jax.tree.map(np.add, state.sums, new))
    return state, float((loss / np.maximum(bins, 1))[bins > 0].mean())


def end_pass(state: State, objective: Objective, mask) -> State:
    """After the last batch of a pass: accept or shorten the steps that it was evaluated at."""
    if state.fresh:
        return state
    state, objective = scaled(state, objective)
    if state.passing is None:
        return _start_passing(state, objective, mask)
    if not _same_bins(state):
        coef, intercept = state.here  # every pass shows other bins: what they sum to can not be compared
        return state._replace(coef=coef, intercept=intercept, passing=None, sums=None, of_scale=None, fresh=True)
    return _told(state, objective)


def _same_bins(state) -> bool:
    """Whether this pass showed the bins of the first, as far as their sums tell, to round-off."""
    _, (bins, events), features, *_ = state.sums
    _, first, gram = state.moments
    eps = _design.eps()
    apart = np.abs(features - first) / np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    sizes = bins * _size(state.sample.y[: state.sample.n])
    same_events = np.abs(events - state.events) <= 1e3 * eps * sizes
    return bool(np.array_equal(bins, state.bins) and same_events.all() and (apart < 1e-2).all())


def _start_passing(state, objective, mask) -> State:
    state = _first_pass.renewed(_first_pass.refined(state, objective, mask), objective, mask)
    _, _, silent = _objective.null_model(objective.model, state.bins, state.events)
    point = state.problem.coordinates.from_model(state.coef, state.intercept)
    return state._replace(passing=_ask_tell.start(point, silent), renew_at=np.inf)


def _told(state, objective) -> State:
    dtype = jnp.result_type(float)
    sums, _, _, null_loss, of_scale = state.sums
    bins, few = np.maximum(state.bins, 1), state.coef.shape[1] / state.bins.max()
    params = state.problem.coordinates.to_model(_ask_tell.ask(state.passing))
    value, gradient = _fit.mean(sums, state.problem, params[0], bins)
    problem = _sample.with_own(state.problem, state.sample, params, few)
    precondition, eps = problem.precondition, _design.eps()
    first = (state.passing.n_evaluated == 0) & (state.passing.status == RUNNING)
    nat = objective.model.nat(np.maximum(np.where(np.isfinite(value), value, 1), eps * null_loss / bins))
    tol, hidden = TOL[dtype.name] * nat / bins, HIDDEN * nat / bins
    passing = _ask_tell.tell(
        state.passing, value, gradient, precondition, tol, precondition.curvature * nat, eps, hidden
    )
    scale = state.scale
    if estimated(state):
        step = _scale.newton(*of_scale)
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
    state = state._replace(problem=problem, passing=passing, sums=None, scale=scale, of_scale=of_scale)
    _, objective = scaled(state, objective)
    return _cautious(state, objective, _first_pass.noise(objective.model, state.bins, state.events, null_loss))


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
    state, _ = scaled(state, objective)
    if state.passing is None:
        state = _first_pass.refined(state, objective, mask)
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
    state, (model, *_) = scaled(state, objective)
    mean, null, silent = _objective.null_model(model, state.bins, state.events)
    sums, dtype = state.of_scale, jnp.result_type(float)
    if not _scale.measured(model):
        sums = None
    elif sums is None:
        arrays = (np.asarray(a, dtype) for a in (*state.here, null))
        sums = state.sample.total(_scale.chi_squared, model, *arrays)
    free = np.full(len(mean), 1.0) if state.problem is None else _free(state, objective)
    return _scale.dispersion(model, mean, free, silent, sums)


def _free(state, objective):
    """Free parameters of each neuron that the bins seen so far determine."""
    mask = state.problem.precondition.mask
    return _rank(state, objective, mask[:, :-1]).free(mask[:, :-1]) + 1 if objective.model.divides else mask.sum(1)


def dependent(state: State, objective: Objective, mask):
    """Features that others determine in the bins of the first pass, penalty included: it may make coefficients unique."""
    return _rank(state, scaled(state, objective)[1], mask).named(mask)


def _rank(state, objective, mask):
    mean, null, _ = _objective.null_model(objective.model, state.bins, state.events)
    bins = np.maximum(state.bins, 1)
    return _precondition.prepare(objective, mask, bins, mean, null, state.moments, _design.eps())[1]


def later_sums(block, model, coef, intercept, null):
    """Losses with gradients, whether these are the bins of the first pass, and the loss of the null model."""
    features = (block.weight.max(1, keepdims=True) * block.X).sum(0)
    losses, of_scale = _objective.loss_and_gradient(block, model, coef, intercept), ()
    if _scale.measured(model):
        of_scale = _scale.chi_squared(block, model, coef, intercept, null)
    elif model.shapes:
        of_scale = _scale.slopes(block, model, coef, intercept)
    return losses, _objective.tally(block), features, _objective.null_loss(block, model, null), of_scale
