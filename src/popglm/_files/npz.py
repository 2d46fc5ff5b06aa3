"""Files of arrays with a header in JSON (.npz): written whole or not at all, and read without running what stands in them.

A file holds a tree of tuples, dictionaries, numbers, words and arrays. Which classes they belong to, the reader knows.
"""

import contextlib
import glob
import io
import json
import os
import time
import zipfile
from pathlib import Path

import numpy as np

from popglm._files._checks import as_storable_array, require_file_kind, require_intact_file

PARTIAL_SUFFIX = ".partial"


STALE_SECONDS = 600.0  # seconds ago, nobody writes any more


def write_npz(path: Path, kind: str, version: int, tree):
    """Write to a name beside it and move: a file of this name is always a whole one, or the one before."""
    arrays: list[np.ndarray] = []
    header = json.dumps({"kind": kind, "version": version, "tree": _encode(tree, arrays)})
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")  # another run may write to the same path
    try:
        with open(partial, "wb") as file:
            np.savez(file, header=np.frombuffer(header.encode(), np.uint8), **{str(i): a for i, a in enumerate(arrays)})
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"the {kind} could not be written: {error.strerror}. What was at this place before is untouched. Make room, or "
            "give another path",
            str(path),
        ) from None


def _sync_folder(folder: Path):
    """See to it that a move outlives a power failure, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_partial_files(path: Path):
    """Remove what was left by processes that were killed while they wrote."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL_SUFFIX}"):
        with contextlib.suppress(OSError):  # of another who does the same
            if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                partial.unlink()


def read_npz(path: Path, kind: str, version: int):
    """The tree of a file; an error if it is not whole, or another kind or version."""
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            whole = parts.testzip() is None  # the checksum of every part
        with np.load(io.BytesIO(content), allow_pickle=False) as parts:
            arrays = {name: parts[name] for name in parts.files}
        header = json.loads(bytes(arrays.pop("header")))
        found = header["kind"], header["version"]
        tree = _decode(header["tree"], arrays) if found == (kind, version) else None
    except Exception:  # a damaged zip raises nearly anything
        whole = False
    require_intact_file(whole, path, kind)
    require_file_kind(path, found, (kind, version))
    return tree


def require_storable_tree(tree):
    """Whether a file can hold this; an error if not."""
    _encode(tree, [])


def _encode(tree, arrays: list):
    """A tree for JSON. Its arrays are appended to a list and stand there by their numbers."""
    tree = tree.to_tuple() if hasattr(tree, "to_tuple") else tree
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if isinstance(tree, tuple | list):
        return [_encode(part, arrays) for part in tree]
    if isinstance(tree, dict):
        keys = (key if isinstance(key, str) else int(key) for key in tree)
        return {"items": [[key, _encode(part, arrays)] for key, part in zip(keys, tree.values(), strict=True)]}
    array = as_storable_array(tree)
    arrays.append(array)
    return {"array": len(arrays) - 1}


def _decode(description, arrays):
    """The tree again; what was a list is a tuple."""
    if isinstance(description, list):
        return tuple(_decode(part, arrays) for part in description)
    if isinstance(description, dict):
        if "array" in description:
            return arrays[str(description["array"])]
        return {key: _decode(part, arrays) for key, part in description["items"]}
    return description
