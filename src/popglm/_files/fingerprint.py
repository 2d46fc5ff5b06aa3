"""Fingerprints that tell data and settings apart: checksums and sums that a checkpoint is compared by."""

import itertools
import zlib
from dataclasses import fields

import jax.numpy as jnp
import numpy as np

from popglm._design.streams import is_stream
from popglm._design.total import total
from popglm._pynapple import Frame, as_frame, as_plain_array

PROBE_ITERATIONS = (0, 1, 2, 10, 100, 1000)  # at which a function of the iteration is looked at


class _ChecksumDesign:
    """A design, and the checksum of what passes by."""

    def __init__(self, design):
        self.design, self.y, self.X = design, 0, 0

    def __iter__(self):
        for at, chunk in self.design:
            self.y, self.X = _update_checksum(self.y, chunk.y), _update_checksum(self.X, chunk.valid)
            for array in chunk.source.made_of:
                self.X = _update_checksum(self.X, array)
            yield at, chunk


def _data_sums(block):
    rows = block.weight.max(1, keepdims=True)
    y = jnp.where(block.weight > 0, block.y, 0)
    return y.T @ (rows * block.X), (rows * block.X**2).sum(0), (y**2).sum(0)


def design_fingerprint(design) -> dict:
    """What tells data apart: checksums of y and of X, or its inputs; X'y; the diagonal of X'X (its sum is the trace)."""
    watched = _ChecksumDesign(design)
    products, power, activity = total(_data_sums, watched)
    scale = np.sqrt(np.outer(activity, power))
    return {"y": watched.y, "X": watched.X, "sums": (products, power), "scales": (scale, power)}


def batch_fingerprint(X, y) -> dict:
    """The same of one batch. Features that are made anew may differ by round-off, on another machine."""
    known = np.nan_to_num(np.asarray(X, float))
    power = (known**2).sum(0)
    scale = np.sqrt(power * len(X))
    return {
        "y": _update_checksum(0, y),
        "X": f"{X.dtype}, {y.dtype}",
        "sums": (known.sum(0), power),
        "scales": (scale, power),
    }


def objective_fingerprint(objective, mask) -> dict:
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
        "regularizer_strength": float(strength)
        if np.ndim(strength) == 0
        else values_checksum(np.asarray(strength, float)),
        "feature_mask": None if mask is None or np.all(mask) else values_checksum(np.asarray(mask, float)),
        "precision": jnp.result_type(float).name,
    }


def options_fingerprint(options) -> dict:
    """Settings of a solver; the number of its iterations may grow. A function of the iteration is known by some values."""
    known = {name: value for name, value in options.items() if name != "maxiter"}
    return {
        name: [float(value(i)) for i in PROBE_ITERATIONS] if callable(value) else value for name, value in known.items()
    }


def frame_fingerprint(name, frame: Frame) -> dict:
    """Shape, type and epochs of X or y."""
    epochs = None
    if frame.epochs is not None:
        edges = frame.epochs.values
        epochs = f"{len(edges)} from {edges[0, 0]:g} to {edges[-1, 1]:g} s, {values_checksum(edges)}"
    dtype = str(np.dtype(frame.values.dtype))
    return {f"shape of {name}": list(frame.values.shape), f"dtype of {name}": dtype, f"epochs of {name}": epochs}


def values_checksum(*values) -> str:
    """The checksum of what is in memory; of what would have to be read, nothing."""
    checksum = 0
    for array in itertools.chain.from_iterable(map(_arrays_in_memory, values)):
        checksum = _update_checksum(checksum, array)
    return f"checksum {checksum:08x}"


def _arrays_in_memory(values):
    """The arrays that these values are made of, as far as they are in memory."""
    values = as_frame(values).values
    parts = getattr(values, "made_of", values if isinstance(values, tuple | list) else None)
    if parts is not None:
        for part in parts:
            yield from _arrays_in_memory(part)
    elif not is_stream(values) and not (array := np.asarray(as_plain_array(values))).dtype.hasobject:
        yield array


def _update_checksum(checksum: int, array) -> int:
    return zlib.crc32(np.ascontiguousarray(array), checksum)
