"""Observation of a fit by batches: history, callback, held-out scores, the progress bar."""

from contextlib import contextmanager

import numpy as np

from popglm._checks.progress import open_bar


class Watch:
    """Observer of every step: progress, history, callback, scores of held-out data. Calling it returns True to end the run.

    `callback(n, loss, params)` and `score(params, dispersion)` take pairs (coef, intercept), neurons first.
    """

    def __init__(self, report, callback=None, score=None, check_every=1, patience=1):
        self.report, self.callback, self.score = report, callback, score
        self.check_every, self.patience = check_every, patience
        self.history, self._best = {"loss": [], "checked": [], "score": []}, None  # type: ignore[var-annotated]

    def __call__(self, n, loss, stepper) -> bool:
        """Look at step `n`; True ends the run."""
        self.report(loss)
        self.history["loss"].append(loss)
        stop = self.callback is not None and bool(self.callback(n, loss, stepper.params))
        return self._check(n, stepper) or stop if self.score is not None and n % self.check_every == 0 else stop

    def _check(self, n, stepper) -> bool:
        """Score the held-out data; True if `patience` checks have not improved the best score."""
        params, dispersion, scores = stepper.params, stepper.dispersion, self.history["score"]
        score = self.score(params, dispersion)
        score = score if np.isfinite(score) else -np.inf
        if score > max(scores, default=-np.inf):
            self._best = n, params, dispersion
        scores.append(score)
        self.history["checked"].append(n)
        return len(scores) - 1 - int(np.argmax(scores)) >= self.patience

    def best(self, params, dispersion):
        """Parameters and dispersion of the best check, or these, those at the end, if none was better."""
        if self._best is None or self.score(params, dispersion) > max(self.history["score"]):
            return params, dispersion
        return self._best[1:]

    def snapshot(self, n):
        """History and best parameters after step `n`, for the checkpoint: the run may have been stopped in a later step."""
        checks = sum(step <= n for step in self.history["checked"])
        lengths = {"loss": n, "checked": checks, "score": checks}
        # A best check after step n is found again.
        best = None if self._best is None or self._best[0] > n else self._best
        return {name: np.asarray(self.history[name][:length]) for name, length in lengths.items()}, best

    def resume(self, snapshot, n):
        """Restore history and best parameters from a checkpoint after step `n`."""
        history, self._best = snapshot
        self.history = {name: values.tolist() for name, values in history.items()}
        self.report(self.history["loss"][-1], n)


@contextmanager
def show_step_progress(n_steps, show):
    """Show a bar with the loss of the last batches and the time left, if `show`; yield the function that moves it."""
    if not show:
        yield lambda loss, n=1: None
        return
    smooth = None
    with open_bar(n_steps, "step") as bar:

        def report(loss, n=1):
            nonlocal smooth
            smooth = loss if smooth is None else 0.95 * smooth + 0.05 * loss
            bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
            bar.update(n)

        yield report
