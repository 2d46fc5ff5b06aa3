"""Runs that survive: the file that a fit is written to now and then, and to whose state the same call goes back.

A checkpoint belongs to one call: to its settings, and to its data, of which sums are kept. Going on from it leads to the
very numbers of a run that was never interrupted, on the same machine with the same versions.
"""

import itertools
import json
import time
import zlib
from dataclasses import fields

import jax.numpy as jnp
import numpy as np

from popglm import _check_runs, _design, _file, _pynapple

KIND, VERSION = "checkpoint", 1
EVERY = 30.0  # seconds between two writings
STEPS = (0, 1, 2, 10, 100, 1000)  # at which a function of the iteration is looked at


class Checkpoint:
    """The file of one run. `saved` is the state that the run was in when it was last written; None if it is new."""

    def __init__(self, path, settings: dict):
        self.path = _check_runs.file_to_write("checkpoint", path)
        self._settings = json.loads(json.dumps(settings))
        self.saved, self._data_then, self._data, self._held, self._can_hold = None, None, None, None, False
        self._written_at = time.monotonic()
        _file.clear(self.path)
        if self.path.exists():
            then, self._data_then, self.saved = _file.read(self.path, KIND, VERSION)
            _check_runs.same_fit(self.path, json.loads(then), self._settings)

    def same_data(self, data: dict, what=""):
        """The data are those of the file, if there is one; `what` says more of what they must be."""
        if self._data_then is not None:
            eps = _design.eps()
            _check_runs.same_data(self.path, self._data_then, data, 16 * eps, what)
        self._data = data

    def hold(self, state, data=None):
        """Take the state to be written, and what tells its data apart if that changes: both as functions that make them."""
        if not self._can_hold:
            _file.can_hold(state())
            self._can_hold = True
        self._held = state, data or (lambda: self._data)

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
        """Write the state that is held, unless it is written or could not be."""
        held, self._held = self._held, None
        if held is not None:
            state, data = held
            _file.write(self.path, KIND, VERSION, (json.dumps(self._settings), data(), state()))
            self._written_at = time.monotonic()


class _Watched:
    """A design, and the checksum of what passes by."""

    def __init__(self, design):
        self.design, self.y, self.X = design, 0, 0

    def __iter__(self):
        for at, chunk in self.design:
            self.y, self.X = _added(self.y, chunk.y), _added(self.X, chunk.counted)
            for array in chunk.source.made_of:
                self.X = _added(self.X, array)
            yield at, chunk


def _sums(block):
    rows = block.weight.max(1, keepdims=True)
    y = jnp.where(block.weight > 0, block.y, 0)
    return y.T @ (rows * block.X), (rows * block.X**2).sum(0), (y**2).sum(0)


def of_design(design) -> dict:
    """What tells data apart: checksums of y and of X, or its inputs; X'y; the diagonal of X'X (its sum is the trace)."""
    watched = _Watched(design)
    products, power, activity = _design.total(_sums, watched)
    scale = np.sqrt(np.outer(activity, power))
    return {"y": watched.y, "X": watched.X, "sums": (products, power), "scales": (scale, power)}


def of_batch(X, y) -> dict:
    """The same of one batch. Features that are made anew may differ by round-off, on another machine."""
    known = np.nan_to_num(np.asarray(X, float))
    power = (known**2).sum(0)
    scale = np.sqrt(power * len(X))
    return {"y": _added(0, y), "X": f"{X.dtype}, {y.dtype}", "sums": (known.sum(0), power), "scales": (scale, power)}


def of_objective(objective, mask) -> dict:
    """Settings that make an objective. A link is known by the means that it takes, since two functions may share a name."""
    model, penalty, strength = objective
    own = {field.name: getattr(model, field.name) for field in fields(model) if field.name not in ("link", "scale")}
    means = np.asarray(model.mean(jnp.linspace(-20, 20, 81)), float)
    digits = zlib.crc32(" ".join(f"{mean:.4g}" for mean in means).encode())
    return {
        "observation_model": f"{type(model).__name__}{own or ''}",
        "scale": None if model.scale is None else float(model.scale),
        "inverse_link_function": f"{model.link.name} ({digits:08x})",
        "regularizer": repr(penalty).removesuffix("()"),
        "regularizer_strength": float(strength) if np.ndim(strength) == 0 else of_values(np.asarray(strength, float)),
        "feature_mask": None if mask is None or np.all(mask) else of_values(np.asarray(mask, float)),
        "precision": jnp.result_type(float).name,
    }


def of_options(options) -> dict:
    """Settings of a solver; the number of its iterations may grow. A function of the iteration is known by some values."""
    known = {name: value for name, value in options.items() if name != "maxiter"}
    return {name: [float(value(i)) for i in STEPS] if callable(value) else value for name, value in known.items()}


def of_frame(name, frame: _pynapple.Frame) -> dict:
    """Shape, type and epochs of X or y."""
    epochs = None
    if frame.epochs is not None:
        edges = frame.epochs.values
        epochs = f"{len(edges)} from {edges[0, 0]:g} to {edges[-1, 1]:g} s, {of_values(edges)}"
    dtype = str(np.dtype(frame.values.dtype))
    return {f"shape of {name}": list(frame.values.shape), f"dtype of {name}": dtype, f"epochs of {name}": epochs}


def of_values(*values) -> str:
    """The checksum of what is in memory; of what would have to be read, nothing."""
    checksum = 0
    for array in itertools.chain.from_iterable(map(_in_memory, values)):
        checksum = _added(checksum, array)
    return f"checksum {checksum:08x}"


def _in_memory(values):
    """The arrays that these values are made of, as far as they are in memory."""
    values = _pynapple.unwrap(values).values
    parts = getattr(values, "made_of", values if isinstance(values, tuple | list) else None)
    if parts is not None:
        for part in parts:
            yield from _in_memory(part)
    elif not _design.is_stream(values) and not (array := np.asarray(_pynapple.plain(values))).dtype.hasobject:
        yield array


def _added(checksum: int, array) -> int:
    return zlib.crc32(np.ascontiguousarray(array), checksum)
