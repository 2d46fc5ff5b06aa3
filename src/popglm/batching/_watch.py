"""What a fit by batches shows and records: history, callback, held-out scores, the progress bar."""

from contextlib import contextmanager

import numpy as np


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
            stop = bool(self.callback(n, loss, ((coef.T[..., 0] if self.model._single else coef.T), intercept)))
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
def show_step_progress(n_steps, wanted):
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
