"""Checks of files: paths, what a file can hold, and whether a checkpoint belongs to this fit."""

import errno
import os
from pathlib import Path

import numpy as np


def _as_file_path(name, value):
    """A path that may be one of a file, of a link what it leads to; and whether something is there."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"`{name}` must be the path of a file, such as 'run.npz'; got {value!r}.")
    try:
        path = Path(value).expanduser().resolve()
        there, folder = path.exists(), path.is_dir()
    except (ValueError, RuntimeError, OSError) as error:
        raise ValueError(f"`{name}` must be the path of a file; {value!r} is none: {error}.") from None
    if folder:
        raise ValueError(f"`{name}` must be the path of a file; {value!r} is a folder. Append a name: run.npz.")
    return path, there


def as_writable_path(name, value):
    """A path whose folder exists and takes files."""
    path, _ = _as_file_path(name, value)
    if not path.parent.is_dir():
        raise ValueError(f"the folder of `{name}` must exist; {path.parent} does not. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"the folder of `{name}` must be writable; {path.parent} is not. Choose another.")
    return path


def as_readable_path(name, value):
    """The path of a file that is there."""
    path, there = _as_file_path(name, value)
    if not there:
        raise FileNotFoundError(
            errno.ENOENT, f"`{name}` must be a file that is there; there is none. Look at", str(path)
        )
    return path


def as_storable_array(value):
    """Numbers, which a file can hold without running anything when it is read, as an array."""
    try:
        array = np.asarray(value)
    except TypeError:  # a random key of JAX
        array = np.asarray(None)
    if array.dtype.kind not in "biufc":
        raise TypeError(
            f"a file can hold numbers and arrays of numbers only; the state of this solver holds {type(value).__name__}. "
            "Leave out `checkpoint`, or take another solver."
        )
    return array


DAMAGED_FILE_FIX = {"checkpoint": "Delete it to start anew, or give another path."}


def require_intact_file(whole, path, kind):
    """A file that can be read."""
    if not whole:
        raise ValueError(
            f"{path} is not a whole {kind} of popglm: it is damaged, truncated, or another kind of file. It was not changed. "
            f"{DAMAGED_FILE_FIX.get(kind, 'Give another path, or make it again.')}"
        )


def require_file_kind(path, found, expected):
    """A file of this kind, as this version writes it."""
    if found != expected:
        mend = "Read it with the popglm that wrote it" if found[0] == expected[0] else f"A {found[0]} is read elsewhere"
        raise ValueError(
            f"{path} must be a {expected[0]} of version {expected[1]}; it is a {found[0]} of version {found[1]}. {mend}, or "
            "give another path."
        )


def require_same_fit(path, then, now):
    """A checkpoint of the fit that is asked for."""
    for name in then | now:
        if then.get(name) != now.get(name):
            raise ValueError(
                f"{path} is the checkpoint of another fit: {name} was {then.get(name)} there and is {now.get(name)} here. "
                "Give another path, or delete it to start anew."
            )


def require_same_data(path, then, now, tolerance, what):
    """A checkpoint of these data: the same y and X, or X with the same sums, to the round-off of another machine."""
    other = next((name for name in ("y", "X") if then[name] != now[name]), None)
    if other is None and any(
        a.shape != b.shape or (np.abs(a - b) > tolerance * scale).any()
        for a, b, scale in zip(then["sums"], now["sums"], now["scales"], strict=True)
    ):
        other = "X"
    if other:
        raise ValueError(
            f"{path} is the checkpoint of a fit to other data: {other} is not what it was. {what}Give another path, or "
            "delete it to start anew."
        )


def require_savable(parts, classes):
    """Objects of classes that files know, at least one."""
    foreign = next(
        (type(part).__name__ for part in parts if type(part) not in classes), None if parts else "nothing in it"
    )
    if foreign:
        raise TypeError(
            f"`model` must be an object of GLM or PopulationGLM, a basis of popglm.basis, or a dictionary or tuple of "
            f"these; got {foreign}. Of a pipeline save the model in it; of results the arrays, by numpy.savez."
        )


UNSAVABLE_FIX = {
    None: 'Take a named one, such as inverse_link_function="softplus", or save `coef_` and `intercept_` alone by numpy.savez.',
    "funcs": "Save the model alone, and make this basis in your code; or save the values of the functions by numpy.savez.",
    "bases": "Save the model alone, and make this basis in your code.",
}


def require_encodable(name, value, possible):
    """Something that a file can hold as numbers and words."""
    if not possible:
        what = "a function of your own" if callable(value) else f"an object of {type(value).__name__}"
        raise TypeError(
            f"models and bases are saved as numbers and words, and `{name}` holds {what}: {value!r}. Reading it back would "
            f"run code. Nothing was written. {UNSAVABLE_FIX.get(name, UNSAVABLE_FIX[None])}"
        )


def require_known_classes(path, foreign, classes):
    """A file of objects whose classes are popglm's."""
    if foreign:
        raise ValueError(
            f"{path} holds an object of class {foreign[0]!r}, which this popglm does not read; it reads "
            f"{', '.join(classes)}. Nothing of it was used. Read it with the popglm that wrote it, if you trust it."
        )
