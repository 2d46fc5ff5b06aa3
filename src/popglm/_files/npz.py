"""Files of arrays with a header in JSON (.npz): written whole or not at all, and read without running code from them.

A file holds a tree of tuples, dictionaries, numbers, strings and arrays, without their classes, which the reader restores.
Records whose form in files differs from their fields define `to_tuple`.
"""

import contextlib
import glob
import io
import json
import os
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from popglm._files._checks import as_storable_array, require_file_kind, require_intact_file

PARTIAL_SUFFIX = ".partial"


STALE_SECONDS = 600.0  # age of partial files that no process writes to any more


def write_npz(path: Path, kind: str, version: int, tree: Any) -> None:
    """Write to a partial file and rename it, so that `path` always holds a whole file, the new one or the one before."""
    arrays: list[np.ndarray] = []
    header = json.dumps({"kind": kind, "version": version, "tree": _encode(tree, arrays)})
    # another process or thread may write to the same path
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL_SUFFIX}")
    try:
        with open(partial, "wb") as file:
            np.savez(file, header=np.frombuffer(header.encode(), np.uint8), **{str(i): a for i, a in enumerate(arrays)})  # type: ignore[arg-type]
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


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_partial_files(path: Path) -> None:
    """Remove partial files of processes that were killed while they wrote."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL_SUFFIX}"):
        with contextlib.suppress(OSError):  # another process may remove it, too
            if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                partial.unlink()


def read_npz(path: Path, kind: str, version: int) -> Any:
    """Read the tree of a file; raise an error if it is not whole, or of another kind or version."""
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            intact = parts.testzip() is None  # checks every part
        with np.load(io.BytesIO(content), allow_pickle=False) as parts:
            arrays = {name: parts[name] for name in parts.files}
        header = json.loads(bytes(arrays.pop("header")))
        actual = header["kind"], header["version"]
        tree = _decode(header["tree"], arrays) if actual == (kind, version) else None
    except Exception:  # a damaged zip raises nearly anything
        intact = False
    require_intact_file(intact, path, kind)
    require_file_kind(path, actual, (kind, version))
    return tree


def require_storable_tree(tree: Any) -> None:
    """Require a tree that a file can hold."""
    _encode(tree, [])


def _encode(tree: Any, arrays: list) -> Any:
    """Convert a tree for JSON; arrays are appended to the list `arrays` and replaced by their numbers in it."""
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


def _decode(description: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Restore a tree; lists become tuples."""
    if isinstance(description, list):
        return tuple(_decode(part, arrays) for part in description)
    if isinstance(description, dict):
        if "array" in description:
            return arrays[str(description["array"])]
        return {key: _decode(part, arrays) for key, part in description["items"]}
    return description
