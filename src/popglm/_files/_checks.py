"""Checks of paths, of values that files can hold, and of checkpoints that must belong to the same fit."""

import errno
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

import numpy as np


def _as_file_path(name: str, value: Any) -> tuple[Path, bool]:
    """Convert to the path of a file, with links resolved; return it and whether it exists."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"`{name}` must be the path of a file, such as 'run.npz'; got {value!r}.")
    try:
        path = Path(value).expanduser().resolve()
        exists, folder = path.exists(), path.is_dir()
    except (ValueError, RuntimeError, OSError) as error:
        raise ValueError(f"`{name}` must be the path of a file; {value!r} is none: {error}.") from None
    if folder:
        raise ValueError(f"`{name}` must be the path of a file; {value!r} is a folder. Append a name: run.npz.")
    return path, exists


def as_writable_path(name: str, value: Any) -> Path:
    """Convert to a path whose folder exists and is writable."""
    path, _ = _as_file_path(name, value)
    if not path.parent.is_dir():
        raise ValueError(f"the folder of `{name}` must exist; {path.parent} does not. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"the folder of `{name}` must be writable; {path.parent} is not. Choose another.")
    return path


def as_readable_path(name: str, value: Any) -> Path:
    """Convert to the path of an existing file."""
    path, exists = _as_file_path(name, value)
    if not exists:
        text = f"`{name}` must be an existing file; there is none. Check the path"
        raise FileNotFoundError(errno.ENOENT, text, str(path))
    return path


def as_storable_array(value: Any) -> np.ndarray:
    """Convert to an array of numbers, which is read back without running code."""
    try:
        array = np.asarray(value)
    except TypeError:  # a random key of JAX
        array = np.asarray(None)
    if array.dtype.kind not in "biufc":
        came = f"the state of this solver holds {type(value).__name__}"
        fix = "Leave out `checkpoint`, or use another solver."
        raise TypeError(f"a file can hold only numbers and arrays of numbers; {came}. {fix}")
    return array


def require_intact_file(intact: bool, path: Path, kind: str) -> None:
    """Require a file that can be read."""
    if not intact:
        delete = "Delete it to start anew, or give another path."
        fix = delete if kind == "checkpoint" else "Give another path, or make it again."
        why = "it is damaged, truncated, or another kind of file. It was not changed"
        raise ValueError(f"{path} is not a whole {kind} of popglm: {why}. {fix}")


def require_file_kind(path: Path, kind: tuple, expected: tuple[str, int]) -> None:
    """Require a file of the expected (kind, version)."""
    if kind != expected:
        wanted, came = ("{} of version {}".format(*pair) for pair in (expected, kind))
        fix = "Read it with the popglm that wrote it" if kind[0] == expected[0] else f"A {kind[0]} is read elsewhere"
        raise ValueError(f"{path} must be a {wanted}; it is a {came}. {fix}, or give another path.")


def refuse_checkpoint(path: Path, reason: str) -> NoReturn:
    """Refuse a checkpoint that is not the current fit's."""
    raise ValueError(f"{path} is the checkpoint of {reason}Give another path, or delete it to start anew.")


def require_same_fit(path: Path, saved: dict, current: dict) -> None:
    """Require a checkpoint with the settings of the current fit."""
    for name in saved | current:
        before, now = saved.get(name), current.get(name)
        if before != now:
            refuse_checkpoint(path, f"another fit: {name} was {before} there and is {now} here. ")


def require_same_data(path: Path, saved: dict, current: dict, tolerance: float, hint: str) -> None:
    """Require a checkpoint of the current data: equal checksums, and sums equal up to round-off of another machine."""
    changed = next((name for name in ("y", "X") if saved[name] != current[name]), None)
    sums = zip(saved["sums"], current["sums"], current["scales"], strict=True)
    if not changed and any(a.shape != b.shape or (np.abs(a - b) > tolerance * scale).any() for a, b, scale in sums):
        changed = "X"
    if changed:
        refuse_checkpoint(path, f"a fit to other data: {changed} is not what it was. {hint}")


def require_savable(parts: Collection, classes: Collection[type]) -> None:
    """Require at least one object, and only of classes that files can hold."""
    names = [type(part).__name__ for part in parts if type(part) not in classes] if parts else ["nothing in it"]
    if names:
        expected = "an object of GLM or PopulationGLM, a basis of popglm.basis, or a dictionary or tuple of these"
        fix = "Of a pipeline save the model in it; of results the arrays, by numpy.savez."
        raise TypeError(f"`model` must be {expected}; got {names[0]}. {fix}")


UNSAVABLE_FIX = {
    None: 'Use a named one, such as inverse_link_function="softplus", or save `coef_` and `intercept_` alone by numpy.savez.',
    "funcs": "Save the model alone, and make this basis in your code; or save the values of the functions by numpy.savez.",
    "bases": "Save the model alone, and make this basis in your code.",
}


def require_encodable(name: str | None, value: Any, possible: bool) -> None:
    """Require a value that a file can hold as numbers and words."""
    if not possible:
        what = "a function of your own" if callable(value) else f"an object of {type(value).__name__}"
        fix = f"Reading it back would run code. Nothing was written. {UNSAVABLE_FIX.get(name, UNSAVABLE_FIX[None])}"
        came = f"`{name}` holds {what}: {value!r}"
        raise TypeError(f"models and bases are saved as numbers and words, and {came}. {fix}")


def require_known_classes(path: Path, foreign: list, classes: Collection[str]) -> None:
    """Require a file without objects of `foreign` classes."""
    if foreign:
        came = f"an object of class {foreign[0]!r}, which this popglm does not read; it reads {', '.join(classes)}"
        fix = "Nothing of it was used. Read it with the popglm that wrote it, if you trust it."
        raise ValueError(f"{path} holds {came}. {fix}")
