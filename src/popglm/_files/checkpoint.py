"""Checkpoints: the state of a fit is saved at intervals, and the same call continues from it.

A checkpoint belongs to one call: to its settings, and to its data, of which it keeps checksums and sums. A continued fit gives
the same numbers as one that was never interrupted, on the same machine with the same versions.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from popglm._checks.values import warn_user
from popglm._design.arrays import machine_epsilon
from popglm._files._checks import as_writable_path, require_same_data, require_same_fit
from popglm._files.npz import read_npz, remove_partial_files, require_storable_tree, write_npz
from popglm.parallel._share import describe_job, is_first, on_first

CHECKPOINT_KIND, CHECKPOINT_VERSION = "checkpoint", 1


SAVE_INTERVAL = 30.0  # seconds between two writes


class Checkpoint:
    """File of one fit. `saved` is the state that was last written; None for a new file."""

    saved: Any
    _saved_data: Any
    _data: Any
    _staged: Any

    def __init__(self, path: Any, settings: dict) -> None:
        self._settings = json.loads(json.dumps(settings | describe_job()))
        self._saved_data = self._data = self._staged = None
        self._is_storable = False
        self._written_at = time.monotonic()
        self.path, content = on_first(lambda: _read_checkpoint(path), "reads the checkpoint")
        self.saved = None
        if content is not None:
            settings, self._saved_data, self.saved = content
            require_same_fit(self.path, json.loads(settings), self._settings)

    def verify_data(self, data: dict, hint: str = "") -> None:
        """Require the data of the file, if it exists; the message of the error contains `hint`."""
        if self._saved_data is not None:
            require_same_data(self.path, self._saved_data, data, 16 * machine_epsilon(), hint)
        self._data = data

    def stage(self, state: Callable[[], Any], data: Callable[[], Any] | None = None) -> None:
        """Set the state to write next, and the fingerprint of its data if that changes: both as functions that make them."""
        if not self._is_storable:
            require_storable_tree(state())
            self._is_storable = True
        self._staged = state, data or (lambda: self._data)

    def save_if_due(self, state: Callable[[], Any], data: Callable[[], Any] | None = None) -> None:
        """Stage the state, and write it if the last write was long ago."""
        self.stage(state, data)
        if time.monotonic() - self._written_at >= SAVE_INTERVAL:
            self.close()

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, error: object, *details: object) -> None:
        """Write the last state, also after an error or an interrupt; a fit that has ended is not lost if this fails."""
        try:
            self.close()
        except OSError as failure:
            if error is not None:
                raise
            warn_user(f"the fit has ended and the model has its result, but {failure}.", RuntimeWarning)

    def close(self) -> None:
        """Write the staged state, if there is one that is not written yet, in the first process."""
        staged, self._staged = self._staged, None
        if staged is not None and is_first():
            state, data = staged
            write_npz(self.path, CHECKPOINT_KIND, CHECKPOINT_VERSION, (json.dumps(self._settings), data(), state()))
            self._written_at = time.monotonic()


def _read_checkpoint(path: Any) -> tuple[Path, Any]:
    """Path of a checkpoint, and what the file holds, None if there is no file."""
    path = as_writable_path("checkpoint", path)
    remove_partial_files(path)
    return path, read_npz(path, CHECKPOINT_KIND, CHECKPOINT_VERSION) if path.exists() else None
