"""Fingerprints of data and settings: checksums and sums by which a checkpoint recognises its fit."""

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import jax.numpy as jnp
import numpy as np

from popglm._design.blocks import Block, Chunk
from popglm._design.design import Design
from popglm._design.streams import is_stream
from popglm._design.total import total
from popglm._pynapple import Frame, as_frame, as_plain_array
from popglm.parallel._share import gather

PROBE_ITERATIONS = (0, 1, 2, 10, 100, 1000)  # at which functions of the iteration are evaluated


class _ChecksumDesign:
    """Design that computes checksums of y, with its weights and offsets, and of X while it is iterated."""

    def __init__(self, design: Design) -> None:
        self.design, self.y, self.X = design, 0, 0

    def __iter__(self) -> Iterator[tuple[int, Chunk]]:
        for start, chunk in self.design:
            self.y, self.X = _update_checksum(self.y, chunk.y), _update_checksum(self.X, chunk.valid)
            for array in (chunk.weight, chunk.offset):
                self.y = self.y if array is None else _update_checksum(self.y, array)
            for array in chunk.source.made_of:
                self.X = _update_checksum(self.X, array)
            yield start, chunk


def _data_sums(block: Block) -> tuple:
    rows = block.weight.max(1, keepdims=True)
    y = jnp.where(block.weight > 0, block.y, 0)
    return y.T @ (rows * block.X), (rows * block.X**2).sum(0), (y**2).sum(0)


def design_fingerprint(design: Design) -> dict[str, Any]:
    """Fingerprint of data: checksums of y and of X or its inputs, X'y, and the diagonal of X'X."""
    checksums = _ChecksumDesign(design)
    products, power, activity = total(_data_sums, checksums)
    scale = np.sqrt(np.outer(activity, power))
    y, X = (_join_checksums(each) for each in zip(*gather((checksums.y, checksums.X), "compares data"), strict=True))
    return {"y": y, "X": X, "sums": (products, power), "scales": (scale, power)}


def _join_checksums(checksums: tuple[int, ...]) -> int:
    """Join the checksums of all processes; alone, there is one."""
    return checksums[0] if len(checksums) == 1 else zlib.crc32(repr(checksums).encode())


def batch_fingerprint(X: Any, y: Any, weight: Any = None, offset: Any = None) -> dict[str, Any]:
    """Fingerprint of one batch; features made anew on another machine may differ by round-off, so X has no checksum.

    That of y includes weight and offset, and which of them is given.
    """
    values = np.nan_to_num(np.asarray(X, float))
    power = (values**2).sum(0)
    scale = np.sqrt(power * len(X))
    checksum = _update_checksum(0, y)
    for name, array in ((b"weight", weight), (b"offset", offset)):
        if array is not None:
            checksum = _update_checksum(zlib.crc32(name, checksum), array)
    return {
        "y": checksum,
        "X": f"{X.dtype}, {y.dtype}",
        "sums": (values.sum(0), power),
        "scales": (scale, power),
    }


def objective_fingerprint(objective: Any, mask: Any) -> dict[str, Any]:
    """Fingerprint of an objective. Links are compared by means that they give, since two functions may share a name."""
    model, penalty, strength = objective
    settings = {
        field.name: getattr(model, field.name) for field in fields(model) if field.name not in ("link", "scale")
    }
    means = np.asarray(model.mean(jnp.linspace(-20, 20, 81)), float)
    digits = zlib.crc32(" ".join(f"{mean:.4g}" for mean in means).encode())
    return {
        "observation_model": f"{type(model).__name__}{settings or ''}",
        "scale": None if model.scale is None else float(model.scale),
        "inverse_link_function": f"{model.link.name} ({digits:08x})",
        "regularizer": _describe_penalty(penalty),
        "regularizer_strength": values_checksum(np.asarray(strength, float)) if np.ndim(strength) else float(strength),
        "feature_mask": None if mask is None or np.all(mask) else values_checksum(np.asarray(mask, float)),
        "precision": jnp.result_type(float).name,
    }


def _describe_penalty(penalty: Any) -> str:
    """Name of a penalty with the settings that it has; those that are None mean nothing."""
    settings = {field.name: getattr(penalty, field.name) for field in fields(penalty)}
    given = ", ".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)
    return f"{type(penalty).__name__}({given})" if given else type(penalty).__name__


def options_fingerprint(options: dict) -> dict[str, Any]:
    """Fingerprint of solver options without `maxiter`, which may grow; functions of the iteration are evaluated at some."""
    probe = lambda value: [float(value(i)) for i in PROBE_ITERATIONS] if callable(value) else value
    return {name: probe(value) for name, value in options.items() if name != "maxiter"}


def frame_fingerprint(name: str, frame: Frame) -> dict[str, Any]:
    """Fingerprint of X or y: shape, type and epochs."""
    epochs = None
    if frame.epochs is not None:
        edges = frame.epochs.values
        epochs = f"{len(edges)} from {edges[0, 0]:g} to {edges[-1, 1]:g} s, {values_checksum(edges)}"
    dtype = str(np.dtype(frame.values.dtype))
    return {f"shape of {name}": list(frame.values.shape), f"dtype of {name}": dtype, f"epochs of {name}": epochs}


def values_checksum(*values: Any) -> str:
    """Checksum of the arrays in memory; streams are not read."""
    checksum = 0
    for array in itertools.chain.from_iterable(map(_arrays_in_memory, values)):
        checksum = _update_checksum(checksum, array)
    return f"checksum {checksum:08x}"


def _arrays_in_memory(values: Any) -> Iterator[np.ndarray]:
    """Yield the arrays in memory that values are made of."""
    values = as_frame(values).values
    parts = getattr(values, "made_of", values if isinstance(values, tuple | list) else None)
    if parts is not None:
        for part in parts:
            yield from _arrays_in_memory(part)
    elif not is_stream(values) and not (array := np.asarray(as_plain_array(values))).dtype.hasobject:
        yield array


def _update_checksum(checksum: int, array: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(array), checksum)  # type: ignore[arg-type]
