"""Runs that survive: the file that a fit is written to now and then, and to whose state the same call goes back.

A checkpoint belongs to one call: to its settings, and to its data, of which sums are kept. Going on from it leads to the
very numbers of a run that was never interrupted, on the same machine with the same versions.
"""

import json
import time

from popglm._design.arrays import machine_epsilon
from popglm._files._checks import as_writable_path, require_same_data, require_same_fit
from popglm._files.npz import read_npz, remove_partial_files, require_storable_tree, write_npz

CHECKPOINT_KIND, CHECKPOINT_VERSION = "checkpoint", 1


SAVE_INTERVAL = 30.0  # seconds between two writings


class Checkpoint:
    """The file of one run. `saved` is the state that the run was in when it was last written; None if it is new."""

    def __init__(self, path, settings: dict):
        self.path = as_writable_path("checkpoint", path)
        self._settings = json.loads(json.dumps(settings))
        self.saved, self._saved_data, self._data, self._staged, self._is_storable = None, None, None, None, False
        self._written_at = time.monotonic()
        remove_partial_files(self.path)
        if self.path.exists():
            then, self._saved_data, self.saved = read_npz(self.path, CHECKPOINT_KIND, CHECKPOINT_VERSION)
            require_same_fit(self.path, json.loads(then), self._settings)

    def verify_data(self, data: dict, what=""):
        """The data are those of the file, if there is one; `what` says more of what they must be."""
        if self._saved_data is not None:
            eps = machine_epsilon()
            require_same_data(self.path, self._saved_data, data, 16 * eps, what)
        self._data = data

    def stage(self, state, data=None):
        """Take the state to be written, and what tells its data apart if that changes: both as functions that make them."""
        if not self._is_storable:
            require_storable_tree(state())
            self._is_storable = True
        self._staged = state, data or (lambda: self._data)

    def save_if_due(self, state, data=None):
        """Hold the state, and write it if the last time was long ago."""
        self.stage(state, data)
        if time.monotonic() - self._written_at >= SAVE_INTERVAL:
            self.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Write the last state, whatever ended the run: its end, an error, or who runs it."""
        self.close()

    def close(self):
        """Write the state that is held, unless it is written or could not be."""
        held, self._staged = self._staged, None
        if held is not None:
            state, data = held
            write_npz(self.path, CHECKPOINT_KIND, CHECKPOINT_VERSION, (json.dumps(self._settings), data(), state()))
            self._written_at = time.monotonic()
