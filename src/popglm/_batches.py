"""The default fit by batches: one pass of steps with a sampled curvature, then whole passes by ask and tell.

On the first pass every batch moves the parameters by its share of a Newton step, ``(m / b) P^-1 g``: m of the b bins seen so
far, g the mean gradient of the batch where the parameters stand, P each neuron's Hessian there. For a quadratic loss this is
the optimum of all bins seen so far (Bertsekas 1996, *SIAM Journal on Optimization* 6:807-822). P comes from a small sample of
the rows. Once the batches have shown the same bins a second time, what they sum to is exact, and the solver of `_fit` decides.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from popglm import _check, _design, _fit, _objective
from popglm._fit import DONE, TOL, Problem
from popglm._objective import Objective

SAMPLE = 2_000_000  # entries of the features that are kept to compute curvatures from
LEAST = 4096  # rows of the sample at least
PRIOR = 2  # events per feature that hold a neuron where it starts, on the first pass
TRUST = 4  # rows per feature at which a sampled Hessian weighs as much as the null model's
GROWTH = 1.3  # of the bins seen, before the curvature is computed again
MAX_MOVE = 1.0  # of the linear predictor in one step, root mean square


class Sample(NamedTuple):
    """Every `stride`-th row that counted, in batches of any size; when it is full every other row is dropped."""

    X: np.ndarray
    y: np.ndarray
    n: int
    stride: int
    skip: int  # rows to pass over before the next one that is kept

    @classmethod
    def empty(cls, n_features, n_neurons) -> "Sample":
        """Of fixed capacity, so that what is computed from it is compiled once."""
        rows, dtype = max(LEAST, SAMPLE // n_features), jnp.result_type(float)
        return cls(np.zeros((rows, n_features), dtype), np.full((rows, n_neurons), np.nan, dtype), 0, 1, 0)

    def with_rows(self, X, y) -> "Sample":
        """Take in the rows of a batch."""
        some = slice(self.skip, None, self.stride)
        n_new = len(X[some])
        if self.n + n_new > len(self.X):
            n = -(-self.n // 2)
            self.X[:n], self.y[:n] = self.X[: self.n : 2].copy(), self.y[: self.n : 2].copy()
            self.y[n:] = np.nan
            skip = self.skip + (self.n % 2) * self.stride
            return self._replace(n=n, stride=2 * self.stride, skip=skip).with_rows(X, y)
        self.X[self.n : self.n + n_new], self.y[self.n : self.n + n_new] = X[some], y[some]
        return self._replace(n=self.n + n_new, skip=self.skip + n_new * self.stride - len(X))


class State(NamedTuple):
    """All that the next step needs. `passing` is None on the first pass, and as long as batches show new bins."""

    coef: np.ndarray
    intercept: np.ndarray
    bins: np.ndarray  # seen on the first pass, per neuron, with their events and moments
    events: np.ndarray
    moments: tuple
    sample: Sample
    problem: Problem | None
    renew_at: float  # bins
    passing: _fit.State | None
    sums: tuple | None  # losses, gradients, bins and events of this pass
    fresh: bool  # whether batches show bins that passes before did not

    @property
    def params(self):
        """Coefficients and intercepts that these steps have led to."""
        if self.passing is None:
            return self.coef, self.intercept
        ahead = np.where(self.done, 1, self.passing.step * (self.passing.n_rejected == 0))
        return self.problem.coordinates.to_model(self.passing.point + ahead[:, None] * self.passing.direction)

    @property
    def done(self):
        """Which neurons are at their optimum."""
        return np.zeros(len(self.bins), bool) if self.passing is None else self.passing.status == DONE


def start(coef, intercept) -> State:
    """State before the first batch. An `intercept` of NaN is set by that batch."""
    n_neurons, n_features = coef.shape
    zeros = np.zeros(n_neurons)
    moments = 0.0, np.zeros(n_features), np.zeros((n_features, n_features))
    sample = Sample.empty(n_features, n_neurons)
    return State(coef, intercept, zeros, zeros, moments, sample, None, 0.0, None, None, False)


def step(state: State, objective: Objective, mask, X, y) -> tuple[State, float]:
    """Take in one batch: arrays (rows, features) and (rows, neurons). Also returns its mean loss."""
    return (_first_pass if state.passing is None else _later_pass)(state, objective, mask, design(X, y), X, y)


def design(X, y) -> _design.Design:
    """One batch as a design."""
    return _design.Design(_design.Matrix(X), y)


def _first_pass(state, objective, mask, data, X, y):
    if np.isnan(state.intercept).any():
        bins, events = _design.total(_objective.tally, data)
        _, null, _ = _objective.null_model(objective.model, bins, events)
        state = state._replace(intercept=np.where(np.isnan(state.intercept), null, state.intercept))
    (new_bins, new_events), new_moments, sums = _total(_first_sums, state.coef, state.intercept, objective, data)
    counted = ~_design.missing_rows(X)
    state = state._replace(
        bins=state.bins + new_bins,
        events=state.events + new_events,
        moments=tuple(a + b for a, b in zip(state.moments, new_moments, strict=True)),
        sample=state.sample.with_rows(X[counted], y[counted]),
    )
    if state.bins.max() >= state.renew_at:
        state = _renewed(state, objective, mask)._replace(renew_at=GROWTH * state.bins.max())
    loss, gradient = _fit.mean(sums, state.problem, state.coef, np.maximum(new_bins, 1))
    state = _moved(state, gradient, new_bins)
    return state, float(loss[new_bins > 0].mean())


def _moved(state, gradient, new_bins) -> State:
    """The share that a batch has in a Newton step."""
    coordinates, precondition = state.problem.coordinates, state.problem.precondition
    held = PRIOR * coordinates.mean.size / np.maximum(precondition.curvature, 1e-9)
    move = -(new_bins / (state.bins + held))[:, None] * precondition(gradient)
    size = np.sqrt(np.einsum("nf,fg,ng->n", move, precondition.correlation, move))
    move *= np.minimum(1, MAX_MOVE / np.maximum(size, 1e-12))[:, None]
    coef, intercept = coordinates.to_model(coordinates.from_model(state.coef, state.intercept) + move)
    return state._replace(coef=coef, intercept=intercept)


def _renewed(state, objective, mask) -> State:
    """Coordinates and curvatures from the bins seen so far, at the present parameters."""
    eps, bins = float(jnp.finfo(jnp.result_type(float)).eps), np.maximum(state.bins, 1)
    mean, null, _ = _objective.null_model(objective.model, state.bins, state.events)
    n_features = state.coef.shape[1]
    few = n_features / bins.max()  # the correlations of few rows are not to be trusted in every direction
    problem = _fit.prepare(objective, mask, bins, mean, null, state.moments, eps, few)[0]
    return state._replace(problem=_with_own(problem, state.sample, objective, state.params, few))


def _with_own(problem, sample, objective, params, few) -> Problem:
    """Each neuron's Hessian at these parameters, from the sample; of few rows it is drawn to the null model's."""
    known, n_features = problem.precondition, problem.coordinates.mean.size
    if len(known.mask) * known.factor.size > _fit.MAX_OWN:
        return problem
    dtype = sample.X.dtype
    block = _design.Block(sample.X, np.nan_to_num(sample.y), (~np.isnan(sample.y)).astype(dtype))
    units = [np.asarray(a, dtype) for a in (*params, *problem.coordinates)]
    hessians = np.asarray(_objective.sampled_hessians(block, objective.model, *units), float)
    trust = sample.n / (sample.n + TRUST * n_features)
    diagonal = few * np.eye(n_features + 1)
    own = {
        neuron: trust * (hessian + c * diagonal) + (1 - trust) * c * known.correlation
        for neuron, (hessian, c) in enumerate(zip(hessians, known.curvature, strict=True))
        if np.isfinite(hessian).all()
    }
    return problem._replace(precondition=known.with_own(own))


def _later_pass(state, objective, mask, data, X, y):
    coef, intercept = state.problem.coordinates.to_model(_fit.ask(state.passing))
    sums, tally = _total(later_sums, coef, intercept, objective, data)
    new = (*sums, *tally)
    state = state._replace(sums=new if state.sums is None else tuple(map(np.add, state.sums, new)))
    bins = tally[0]
    return state, float((sums[0] / np.maximum(bins, 1))[bins > 0].mean())


def end_pass(state: State, objective: Objective, mask) -> State:
    """After the last batch of a pass: accept or shorten the steps that it was evaluated at."""
    if state.fresh:
        return state
    if state.passing is None:
        return _start_passing(state, objective, mask)
    *sums, bins, events = state.sums
    if not (np.array_equal(bins, state.bins) and np.array_equal(events, state.events)):
        coef, intercept = state.params  # every pass shows other bins: what they sum to can not be compared
        return state._replace(coef=coef, intercept=intercept, passing=None, sums=None, fresh=True)
    return _told(state, objective, mask, sums)


def _start_passing(state, objective, mask) -> State:
    state = _renewed(state, objective, mask)
    silent = state.events <= 0
    point = state.problem.coordinates.from_model(state.coef, state.intercept)
    return state._replace(passing=_fit.start(point, silent), renew_at=np.inf)


def _told(state, objective, mask, sums) -> State:
    dtype = jnp.result_type(float)
    bins, few = np.maximum(state.bins, 1), state.coef.shape[1] / state.bins.max()
    coef, _ = state.problem.coordinates.to_model(_fit.ask(state.passing))
    value, gradient = _fit.mean(sums, state.problem, coef, bins)
    params = state.problem.coordinates.to_model(_fit.ask(state.passing))
    problem = _with_own(state.problem, state.sample, objective, params, few)
    precondition, eps = problem.precondition, float(jnp.finfo(dtype).eps)
    tol = TOL[dtype.name] / bins
    passing = _fit.tell(state.passing, value, gradient, precondition, tol, precondition.curvature, eps)
    return state._replace(problem=problem, passing=passing, sums=None)


def finished(state: State, objective: Objective):
    """Coefficients, intercepts, means and silence of all neurons, and which are at their optimum."""
    _check.some_valid(state.bins.any())
    mean, null, silent = _objective.null_model(objective.model, state.bins, state.events)
    coef, intercept = state.params
    return np.where(silent[:, None], 0, coef), np.where(silent, null, intercept), mean, silent, state.done | silent


def _total(f, coef, intercept, objective, data):
    dtype = jnp.result_type(float)
    return _design.total(f, data, objective.model, coef.astype(dtype), intercept.astype(dtype))


def _first_sums(block, model, coef, intercept):
    return *_objective.census(block), _objective.loss_and_gradient(block, model, coef, intercept)


def later_sums(block, model, coef, intercept):
    """Losses with gradients, and whether these are the bins of the first pass."""
    return _objective.loss_and_gradient(block, model, coef, intercept), _objective.tally(block)
