"""Sums of chunks on several devices: one compiled function for all, each of which sums its own chunk."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from popglm._design.blocks import Chunk

CHUNK = PartitionSpec("chunk")


def sums_on_devices(
    chunk_sums: Callable, f: Callable, chunks: Iterable[tuple[int, Chunk]], devices: tuple, args: tuple
) -> Iterator[tuple[int, Any]]:
    """Yield first row and ``chunk_sums(f, chunk, *args)`` of every chunk; the devices sum while the next chunks are made."""
    mesh, waiting = Mesh(np.array(devices), ("chunk",)), None
    for group in _group_chunks(chunks, len(devices)):
        started = [start for start, _ in group], _group_sums(chunk_sums, f, mesh, group, args)
        if waiting is not None:
            yield from _split(*waiting)
        waiting = started
    if waiting is not None:
        yield from _split(*waiting)


def _group_chunks(chunks: Iterable[tuple[int, Chunk]], size: int) -> Iterator[list[tuple[int, Chunk]]]:
    """Consecutive chunks, as many as there are devices, of the same shapes and types."""
    group: list[tuple[int, Chunk]] = []
    for start, chunk in chunks:
        if group and (len(group) == size or _form(chunk) != _form(group[0][1])):
            yield group
            group = []
        group.append((start, chunk))
    if group:
        yield group


def _form(chunk: Chunk) -> Any:
    return jax.tree.structure(chunk), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(chunk)]


def _group_sums(chunk_sums: Callable, f: Callable, mesh: Mesh, group: list[tuple[int, Chunk]], args: tuple) -> Any:
    """Start the sums of a group. Devices that are left over get a copy of the last chunk, of which they visit no block."""
    chunks = [chunk for _, chunk in group]
    n_left_over, devices = mesh.size - len(chunks), mesh.devices.tolist()
    n_valid_blocks = [int(chunk.n_valid_blocks) for chunk in chunks] + [0] * n_left_over
    chunks = [chunk._replace(n_valid_blocks=None) for chunk in [*chunks, *[chunks[-1]] * n_left_over]]

    def join(*parts: Any) -> jax.Array:
        parts = tuple(jax.device_put(part, device) for part, device in zip(parts, devices, strict=True))
        shape = (len(parts) * parts[0].shape[0], *parts[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, NamedSharding(mesh, CHUNK), list(parts))

    joined = jax.tree.map(join, *chunks)._replace(n_valid_blocks=np.array(n_valid_blocks, np.int32))
    return mesh_sums(chunk_sums, f, mesh, joined, *args)


@partial(jax.jit, static_argnums=(0, 1, 2))
def mesh_sums(chunk_sums: Callable, f: Callable, mesh: Mesh, chunks: Chunk, *args: Any) -> Any:
    """Sums of one chunk for each device, along a new first axis. The arrays of `chunks` are joined along their first axis."""

    def on_device(chunk: Chunk, *args: Any) -> Any:
        sums = chunk_sums(f, chunk._replace(n_valid_blocks=chunk.n_valid_blocks[0]), *args)
        return jax.tree.map(lambda a: jnp.expand_dims(a, 0), sums)

    specs = CHUNK, *[PartitionSpec()] * len(args)
    return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=CHUNK, check_vma=False)(chunks, *args)


def _split(starts: list[int], sums: Any) -> Iterator[tuple[int, Any]]:
    """Yield first row and sums of each chunk of a group."""
    sums = jax.tree.map(np.asarray, sums)
    for i, start in enumerate(starts):
        yield start, jax.tree.map(lambda a, i=i: a[i], sums)
