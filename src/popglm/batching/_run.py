"""What `fit_batches` does around its steps: take batches, count passes, report, stop."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from popglm._checks.values import warn_user
from popglm._design.streams import prefetch
from popglm._files.fingerprint import batch_fingerprint
from popglm.batching._checks import require_any_batch, require_checkpoint_batch
from popglm.batching._windows import Windows


class RunState(NamedTuple):
    """Where a fit by batches stands: how it steps, the state of that, the pass, and how many batches of it were taken.

    `shape` is (features, neurons), `names` are theirs. For the user, `stepper` is only the name of the way.
    """

    stepper: object
    solver: object
    shape: tuple[int, int]
    number: int = 0
    taken: int = 0
    names: dict | None = None


def iterate_batches(source, number, taken, *, anew=False):
    """Batches from a place in a pass on, pass by pass, None at the end of each; until a pass has none.

    An iterator stands where it stands, unless it is made `anew`, and has no second pass. Its end is not that of a pass: another
    one may go on from there.
    """
    while True:
        if isinstance(source, Windows):
            passing = prefetch(source.of_pass(number, taken))
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


class SavedRun(NamedTuple):
    """A run as it is written to a file, right after step `n`; `stopped` if it was to end there."""

    solver: tuple
    place: tuple  # shape, pass, and how many batches of it were taken
    n: int
    stopped: bool
    watched: tuple

    @classmethod
    def after(cls, n, stand, stopped, watch) -> "SavedRun":
        place = stand.shape, stand.number, stand.taken
        return cls(stand.stepper.packed(stand.solver), place, n, stopped, watch.kept(n))

    def reopened(self, source, stepper, convert, start, watch, keep):
        """Where the run stood, and the batches from there on, after a look at the last one that it had seen."""
        shape, number, taken = self.place
        before = self.n - 1 if isinstance(source, Iterator) else taken - 1
        items = iterate_batches(source, number, before, anew=True)
        X, y = convert(require_checkpoint_batch(next(items, None), keep.path))
        keep.verify_data(batch_fingerprint(X, y), "Batches must come in the same order again. ")
        how = stepper(shape)
        solver = how.unpacked(self.solver, lambda: how.start(*start(shape), X, y))
        watch.resume(self.watched)
        return RunState(how, solver, shape, number, taken), items


def run_batches(source, n_steps, stepper, convert, start, stand, report, watch, keep=None):
    """Take `n_steps` steps. `convert` checks a batch; `report` and `watch` see every step, and `watch` may end the run.

    `stand` is None before the first batch, `keep` is the checkpoint, or None. Returns where the fit stands, and how many
    steps it took.
    """
    n, once = 0, isinstance(source, Iterator)
    if keep and keep.saved:
        kept = SavedRun(*keep.saved)
        stand, items = kept.reopened(source, stepper, convert, start, watch, keep)
        n = kept.n
        report(watch.history["loss"][-1], n)
        if kept.stopped or (once and n >= n_steps):
            return stand, n
    else:
        items = iterate_batches(source, *((0, 0) if stand is None else (stand.number, stand.taken)))
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
            stand = RunState(how, how.start(*start(shape), X, y), shape)
        solver, loss = stand.stepper.step(stand.solver, X, y)
        stand, n = stand._replace(solver=solver, taken=stand.taken + 1), n + 1
        report(loss)
        stopped = watch(n, loss, stand)
        if keep:
            seen = X.copy(), y.copy()  # the next batch may be written where this one was
            keep.save_if_due(partial(SavedRun.after, n, stand, stopped, watch), partial(batch_fingerprint, *seen))
        if stopped or (once and n == n_steps):
            break
    else:
        require_any_batch(n)
        if n < n_steps:
            warn_user(
                f"the batches ended after {n} of {n_steps} steps. For more, give something that can be iterated again: a "
                "list, `random_windows`, but no generator.",
                RuntimeWarning,
            )
    return stand, n
