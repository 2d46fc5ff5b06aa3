"""The run of a fit by batches: take batches, step, end passes, report, write checkpoints, stop."""

from functools import partial
from typing import NamedTuple

import numpy as np

from popglm._checks.names import Names
from popglm._checks.values import warn_user
from popglm._files.fingerprint import batch_fingerprint
from popglm.batching._batches import END_OF_PASS
from popglm.batching._checks import require_any_batch, require_checkpoint_batch


class Place(NamedTuple):
    """Place of a run in its batches: current pass, batches of this pass already used, and steps since its start."""

    pass_number: int = 0
    n_batches: int = 0
    n_steps: int = 0

    def after_batch(self) -> "Place":
        """Place one batch later."""
        return self._replace(n_batches=self.n_batches + 1, n_steps=self.n_steps + 1)

    def after_pass(self) -> "Place":
        """Place at the start of the next pass."""
        return self._replace(pass_number=self.pass_number + 1, n_batches=0)


class RunState(NamedTuple):
    """Progress of a fit by batches: name and state of its solver, shape and names of its batches, place in them.

    It holds no functions, so that it can be pickled. A later run continues from it.
    """

    solver: str
    solver_state: object
    shape: tuple[int, int]  # features and neurons
    names: Names
    place: Place


class SavedRun(NamedTuple):
    """A run as it is written to a file after a step. The order of the fields is that of the file."""

    solver: tuple
    place: tuple  # shape of the batches, pass, batches of this pass already used
    n_steps: int
    is_last: bool  # whether the run ended with this step
    watch: tuple

    @classmethod
    def after(cls, place, stepper, shape, is_last, watch) -> "SavedRun":
        """Run after the step at this place."""
        return cls(
            solver=stepper.to_tuple(),
            place=(shape, place.pass_number, place.n_batches),
            n_steps=place.n_steps,
            is_last=is_last,
            watch=watch.snapshot(place.n_steps),
        )

    def resume(self, batches, stepper, watch, checkpoint):
        """Continue this run, if the last batch it used is the same. Return its place and the stepper in its state."""
        _, pass_number, n_batches = self.place
        n_before = (self.n_steps if batches.is_iterator else n_batches) - 1
        batches.seek(pass_number, n_before, restart=True)
        batch = require_checkpoint_batch(batches.read_next(), checkpoint.path)
        checkpoint.verify_data(batch_fingerprint(*batch), "Batches must come in the same order again. ")
        stepper = stepper.from_tuple(self.solver, batch)
        watch.resume(self.watch, self.n_steps)
        return Place(pass_number=pass_number, n_batches=n_batches, n_steps=self.n_steps), stepper


def read_shape(batches, checkpoint=None):
    """Features and neurons of the run: those of the run that the checkpoint holds, or else those of the batches."""
    if checkpoint and checkpoint.saved:
        shape, *_ = SavedRun(*checkpoint.saved).place
        return shape
    return batches.read_shape()


def run_batches(batches, stepper, n_steps, place, watch, checkpoint=None):
    """Take up to `n_steps` steps from a place on. Return the stepper after the last one, and its place.

    The stepper, a `BatchFit` or `UserSolver`, decides how to step and may be done earlier; `watch` sees every step and may end
    the run. A run that the `checkpoint` holds is continued instead.
    """
    if checkpoint and checkpoint.saved:
        saved = SavedRun(*checkpoint.saved)
        place, stepper = saved.resume(batches, stepper, watch, checkpoint)
        if saved.is_last:
            return stepper, place
    for batch in batches.take(n_steps - place.n_steps):
        if batch is END_OF_PASS:
            stepper, place = stepper.end_pass(), place.after_pass()
            if stepper.done:
                return stepper, place
            continue
        stepper, loss = stepper.step(batch)
        place = place.after_batch()
        is_last = watch(place.n_steps, loss, stepper)
        if checkpoint:
            batch_copy = batch.map(np.copy)  # the next batch may be written where this one was
            saved = partial(SavedRun.after, place, stepper, batches.shape, is_last, watch)
            checkpoint.save_if_due(saved, partial(batch_fingerprint, *batch_copy))
        if is_last:
            return stepper, place
    require_any_batch(place.n_steps)
    if place.n_steps < n_steps:
        warn_user(
            f"the batches ended after {place.n_steps} of {n_steps} steps. For more, give something that can be iterated "
            "again: a list, `random_windows`, but no generator.",
            RuntimeWarning,
        )
    return stepper, place
