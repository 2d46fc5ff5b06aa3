"""Runs that survive: the file that a fit is written to now and then, and to whose state the same call goes back.

A checkpoint belongs to one call: to its settings, and to its data, of which sums are kept. Going on from it leads to the
very numbers of a run that was never interrupted, on the same machine with the same versions.
"""

import json
import time
import zlib

import jax.numpy as jnp
import numpy as np

from popglm import _check_runs, _design, _file, _pynapple

KIND, VERSION = "checkpoint", 1
EVERY = 30.0  # seconds between two writings


class Checkpoint:
    """The file of one run. `saved` is the state that the run was in when it was last written; None if it is new."""

    def __init__(self, path, settings: dict):
        self.path = _check_runs.file_to_write("checkpoint", path)
        self._settings = json.loads(json.dumps(settings))
        self.saved, self._data_then, self._data, self._state = None, None, None, None
        self._written_at = time.monotonic()
        if self.path.exists():
            then, self._data_then, self.saved = _file.read(self.path, KIND, VERSION)
            _check_runs.same_fit(self.path, json.loads(then), self._settings)

    def same_data(self, design):
        """The data are those of the file, if there is one. They are summed when the file is written."""
        sums = fingerprint(design)
        if self._data_then is not None:
            _check_runs.same_data(self.path, self._data_then, sums, float(jnp.finfo(jnp.result_type(float)).eps))
        self._data = lambda: sums

    def hold(self, state, data=None):
        """Take the state, a function that makes it, to be written.

        `data` makes the design whose sums go with it, where these change from step to step.
        """
        self._state = state
        self._data = self._data if data is None else lambda: fingerprint(data())

    def offer(self, state, data=None):
        """Hold the state, and write it if the last time was long ago."""
        self.hold(state, data)
        if time.monotonic() - self._written_at >= EVERY:
            self.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Write the last state, whatever ended the run: its end, an error, or who runs it."""
        self.close()

    def close(self):
        """Write the state that is held, unless it is written."""
        if self._state is None:
            return
        _file.write(self.path, KIND, VERSION, (json.dumps(self._settings), self._data(), self._state()))
        self._state, self._written_at = None, time.monotonic()


class _Watched:
    """A design, and the checksum of the activity that passes by."""

    def __init__(self, design):
        self.design, self.checksum = design, 0

    def __iter__(self):
        for at, chunk in self.design:
            self.checksum = zlib.crc32(np.ascontiguousarray(chunk.y), self.checksum)
            yield at, chunk


def _sums(block):
    rows = block.weight.max(1, keepdims=True)
    y = jnp.where(block.weight > 0, block.y, 0)
    return y.T @ (rows * block.X), (rows * block.X**2).sum(0), (y**2).sum(0)


def fingerprint(design) -> dict:
    """What tells data apart: the checksum of y, X'y, the diagonal of X'X (its sum is the trace), and the squares of y."""
    watched = _Watched(design)
    products, power, activity = _design.total(_sums, watched)
    return {"checksum": watched.checksum, "products": products, "power": power, "activity": activity}


def of_objective(objective, mask) -> dict:
    """Settings that make an objective. A link is known by the means that it takes, since two functions may share a name."""
    model, penalty, strength = objective
    means = np.asarray(model.mean(jnp.asarray([-4.0, -2.0, 0.0, 2.0, 4.0])))
    return {
        "observation_model": type(model).__name__,
        "inverse_link_function": [f"{mean:.5g}" for mean in means],
        "regularizer": type(penalty).__name__,
        "regularizer_strength": float(strength),
        "feature_mask": of_arrays(mask),
        "precision": jnp.result_type(float).name,
    }


def of_options(options) -> dict:
    """Settings of a solver; the number of its iterations may grow."""
    known = {name: value for name, value in options.items() if name != "maxiter"}
    return {
        name: value if isinstance(value, bool | int | float | str | None) else repr(value)
        for name, value in known.items()
    }


def of_frame(name, frame: _pynapple.Frame) -> dict:
    """Shape, type and epochs of X or y."""
    epochs = None
    if frame.epochs is not None:
        edges = frame.epochs.values
        epochs = f"{len(edges)} from {edges[0, 0]:g} to {edges[-1, 1]:g} s, {of_arrays(edges)}"
    dtype = str(np.dtype(frame.values.dtype))
    return {f"shape of {name}": list(frame.values.shape), f"dtype of {name}": dtype, f"epochs of {name}": epochs}


def of_arrays(*arrays) -> str:
    """Their checksum."""
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array, float), checksum)
    return f"checksum {checksum:08x}"
