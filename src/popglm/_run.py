"""What `fit_batches` does around its steps: take batches, count passes, report, stop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm import _batch_state, _batches, _check, _check_runs, _checkpoint, _design, _first_pass, _jaxopt, _objective
from popglm._objective import Objective
from popglm.batching import Windows

DEFAULT = "the default solver"


class Stand(NamedTuple):
    """Where a fit by batches stands: how it steps, the state of that, the pass, and how many batches of it were taken.

    `shape` is (features, neurons), `names` are theirs. For the user, `stepper` is only the name of the way.
    """

    stepper: object
    solver: object
    shape: tuple[int, int]
    number: int = 0
    taken: int = 0
    names: dict | None = None


class Default(NamedTuple):
    """The default solver of `_batches`."""

    objective: Objective
    mask: np.ndarray
    kind: str = DEFAULT

    def start(self, coef, intercept, X, y):
        return _batch_state.start(coef, intercept)

    def step(self, state, X, y):
        return _batches.step(state, self.objective, self.mask, X, y)

    def resume(self, state, params):
        return _batch_state.resumed(state, *params)

    def packed(self, state):
        return _batch_state.packed(state)

    def unpacked(self, saved, like):
        return _batch_state.unpacked(saved, self.objective)

    def end_pass(self, state):
        return _batches.end_pass(state, self.objective, self.mask)

    def params(self, state):
        return state.params

    def scale(self, state):
        return _batches.dispersion(state, self.objective).scale

    def ended(self, state):
        return state.ended.all()


class Stepper(NamedTuple):
    """Steps of a solver that the user chose. The state is that of the solver, with the parameters before it.

    `init(params, X, y)` makes the solver's state, `update(params, state, X, y)` takes one step; parameters are those of
    the core, neurons first.
    """

    objective: Objective
    init: Callable
    update: Callable
    kind: str

    def start(self, coef, intercept, X, y):
        if np.isnan(intercept).any():
            bins, events = _design.total(_objective.tally, _first_pass.design(X, y))
            _, null, _ = _objective.null_model(self.objective.model, bins, events)
            intercept = np.where(np.isnan(intercept), null, intercept)
        params = tuple(jnp.asarray(a, jnp.result_type(float)) for a in (coef, intercept))
        return params, self.init(params, X, y)

    def step(self, state, X, y):
        (loss, *_), bins = mean_gradient(self.objective, state[0], X, y)
        return self.update(*state, X, y), float(loss[bins > 0].mean())

    def resume(self, state, params):
        return tuple(jnp.asarray(a, jnp.result_type(float)) for a in params), state[1]

    def packed(self, state):
        """Numbers, NumPy's and JAX's arrays stay what they are: they round differently."""
        numpy = lambda leaf: isinstance(leaf, np.ndarray | np.generic)
        return tuple({"numpy": np.asarray(leaf)} if numpy(leaf) else leaf for leaf in jax.tree.leaves(state))

    def unpacked(self, saved, like):
        """The numbers are of the file, what they mean is of the solver, which makes the state before a first step."""
        known = [leaf["numpy"][()] if isinstance(leaf, dict) else leaf for leaf in saved]
        known = [jnp.asarray(a) if isinstance(b, np.ndarray) else a for a, b in zip(known, saved, strict=True)]
        leaves, meaning = jax.tree.flatten(like())
        _check_runs.same_state(leaves, known)
        return jax.tree.unflatten(meaning, known)

    def end_pass(self, state):
        return state

    def params(self, state):
        return tuple(np.asarray(a, float) for a in state[0])

    def scale(self, state):
        """What the user gave, if anything."""

    def ended(self, state):
        return False


def of_jaxopt(objective, mask, name, options) -> Stepper:
    """Steps of a jaxopt solver, those of `update`."""
    mask = mask.astype(jnp.result_type(float))
    public = lambda params: (params[0].T, params[1])

    def update(params, state, X, y):
        params, state = _jaxopt.update(name, options, objective, public(params), state, X, y, mask)
        jax.block_until_ready(params)
        return public(params), state

    init = lambda params, X, y: _jaxopt.initialize(name, options, objective, public(params), X, y, mask)
    return Stepper(objective, init, update, name)


def of_optax(objective, mask, solver) -> Stepper:
    """Steps of an object with optax's `init` and `update`, on the gradient of the batch's mean loss."""

    def update(params, state, X, y):
        (_, d_coef, d_intercept), _ = mean_gradient(objective, params, X, y)
        gradient = tuple(jnp.asarray(a, params[0].dtype) for a in (mask * d_coef, d_intercept))
        moves, state = solver.update(gradient, state, params)
        return jax.tree.map(jnp.add, params, moves), state

    return Stepper(objective, lambda params, X, y: solver.init(params), update, type(solver).__name__)


def mean_gradient(objective, params, X, y):
    """Mean loss of a batch with the penalty and its gradient, and the bins of each neuron."""
    model, penalty, strength = objective
    data = _first_pass.design(X, y)
    loss, d_coef, d_intercept = _design.total(_objective.loss_and_gradient, data, model, *params)
    bins, _ = _design.total(_objective.tally, data)
    n, coef = np.maximum(bins, 1), np.asarray(params[0], float)
    d_coef = d_coef / n[:, None] + penalty.gradient(strength, coef)
    return (loss / n + penalty.penalty(strength, coef), d_coef, d_intercept / n), bins


def batches_of(source, number, taken, *, anew=False):
    """Batches from a place in a pass on, pass by pass, None at the end of each; until a pass has none.

    An iterator stands where it stands, unless it is made `anew`, and has no second pass. Its end is not that of a pass: another
    one may go on from there.
    """
    while True:
        if isinstance(source, Windows):
            passing = _design.ahead(source.of_pass(number, taken))
        elif isinstance(source, Iterator) and not anew:
            passing = source
        else:
            passing = islice(iter(source), taken, None)
        some = False
        for item in passing:
            some = True
            yield item
        if not (some or taken) or isinstance(source, Iterator):
            return
        yield None
        number, taken = number + 1, 0


class Kept(NamedTuple):
    """A run as it is written to a file, right after step `n`; `stopped` if it was to end there."""

    solver: tuple
    place: tuple  # shape, pass, and how many batches of it were taken
    n: int
    stopped: bool
    watched: tuple

    @classmethod
    def after(cls, n, stand, stopped, watch) -> "Kept":
        place = stand.shape, stand.number, stand.taken
        return cls(stand.stepper.packed(stand.solver), place, n, stopped, watch.kept(n))

    def reopened(self, source, stepper, convert, start, watch, keep):
        """Where the run stood, and the batches from there on, after a look at the last one that it had seen."""
        shape, number, taken = self.place
        before = self.n - 1 if isinstance(source, Iterator) else taken - 1
        items = batches_of(source, number, before, anew=True)
        X, y = convert(_check_runs.same_batch(next(items, None), keep.path))
        keep.same_data(_checkpoint.of_batch(X, y), "Batches must come in the same order again. ")
        how = stepper(shape)
        solver = how.unpacked(self.solver, lambda: how.start(*start(shape), X, y))
        watch.resume(self.watched)
        return Stand(how, solver, shape, number, taken), items


def run(source, n_steps, stepper, convert, start, stand, report, watch, keep=None):
    """Take `n_steps` steps. `convert` checks a batch; `report` and `watch` see every step, and `watch` may end the run.

    `stand` is None before the first batch, `keep` is the checkpoint, or None. Returns where the fit stands, and how many
    steps it took.
    """
    n, once = 0, isinstance(source, Iterator)
    if keep and keep.saved:
        kept = Kept(*keep.saved)
        stand, items = kept.reopened(source, stepper, convert, start, watch, keep)
        n = kept.n
        report(watch.history["loss"][-1], n)
        if kept.stopped or (once and n >= n_steps):
            return stand, n
    else:
        items = batches_of(source, *((0, 0) if stand is None else (stand.number, stand.taken)))
    for item in items:
        if item is None and stand:
            solver = stand.stepper.end_pass(stand.solver)
            stand = stand._replace(solver=solver, number=stand.number + 1, taken=0)
            if stand.stepper.ended(solver):
                break
        if n >= n_steps:  # after a look at whether the pass is over
            break
        if item is None:
            continue
        X, y = convert(item)
        if stand is None:
            shape = X.shape[1], y.shape[1]
            how = stepper(shape)
            stand = Stand(how, how.start(*start(shape), X, y), shape)
        solver, loss = stand.stepper.step(stand.solver, X, y)
        stand, n = stand._replace(solver=solver, taken=stand.taken + 1), n + 1
        report(loss)
        stopped = watch(n, loss, stand)
        if keep:
            seen = X.copy(), y.copy()  # the next batch may be written where this one was
            keep.offer(partial(Kept.after, n, stand, stopped, watch), partial(_checkpoint.of_batch, *seen))
        if stopped or (once and n == n_steps):
            break
    else:
        _check_runs.some_batch(n)
        if n < n_steps:
            _check.warn(
                f"the batches ended after {n} of {n_steps} steps. For more, give something that can be iterated again: a "
                "list, `random_windows`, but no generator.",
                RuntimeWarning,
            )
    return stand, n


class Watch:
    """What happens after every step: history, callback, scores of held-out data. True ends the fit."""

    def __init__(self, model, callback, held_out, check_every, patience):
        self.model, self.callback, self.held_out = model, callback, held_out
        self.check_every, self.patience = check_every, patience
        self.history, self.best = {"loss": [], "checked": [], "score": []}, None

    def kept(self, n):
        """What it knew after n steps, as it is written to a file: the run may have been stopped in a later one."""
        checks = sum(step <= n for step in self.history["checked"])
        lengths = {"loss": n, "checked": checks, "score": checks}
        best = None if self.best is None or self.best[0] > n else self.best  # else that step finds it again
        return {name: np.asarray(self.history[name][:length]) for name, length in lengths.items()}, best

    def resume(self, kept):
        """Know this again."""
        history, self.best = kept
        self.history = {name: values.tolist() for name, values in history.items()}

    def __call__(self, n, loss, stand) -> bool:
        self.history["loss"].append(loss)
        stop = False
        if self.callback is not None:
            coef, intercept = stand.stepper.params(stand.solver)
            stop = bool(self.callback(n, loss, (self.model._public(coef.T), intercept)))
        return self._check(n, stand) or stop if self.held_out and n % self.check_every == 0 else stop

    def improved(self) -> bool:
        """Whether the model as it stands at the end has a better score than all before."""
        return self.model.score(*self.held_out) > max(self.history["score"])

    def _check(self, n, stand) -> bool:
        params = stand.stepper.params(stand.solver)
        self.model._adopt(*params)
        scale = stand.stepper.scale(stand.solver)
        if scale is not None:
            self.model.scale_ = scale
        score, scores = self.model.score(*self.held_out), self.history["score"]
        score = score if np.isfinite(score) else -np.inf
        if score > max(scores, default=-np.inf):
            self.best = n, params, scale
        scores.append(score)
        self.history["checked"].append(n)
        return len(scores) - 1 - int(np.argmax(scores)) >= self.patience


@contextmanager
def progress(n_steps, wanted):
    """A bar with the loss of the last batches and the time left, and the function that moves it."""
    if not wanted:
        yield lambda loss, n=1: None
        return
    from tqdm.auto import tqdm

    smooth = None
    with tqdm(total=n_steps, unit="step") as bar:

        def report(loss, n=1):
            nonlocal smooth
            smooth = loss if smooth is None else 0.95 * smooth + 0.05 * loss
            bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
            bar.update(n)

        yield report
