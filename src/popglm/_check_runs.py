"""Checks of runs that take many steps: their batches, the states they go on from, their files. Messages are as in `_check`."""

import errno
import os
from pathlib import Path

import numpy as np

from popglm import _check_model


def iterable(batches):
    """Something that gives batches."""
    if isinstance(batches, tuple) and len(batches) == 2 and getattr(batches[0], "ndim", 0) == 2:
        raise TypeError("`batches` must give pairs (X, y), many of them; got one pair. For a single one: [(X, y)].")
    if not hasattr(batches, "__iter__"):
        raise TypeError(f"`batches` must give pairs (X, y) when it is iterated; got {type(batches).__name__}.")


def some_batch(n):
    """At least one batch."""
    if not n:
        raise ValueError("`batches` is empty: there is nothing to fit. A generator is empty after it was used once.")


def batch(item, expected="`batches` must give pairs (X, y)"):
    """One batch is a pair (X, y)."""
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise TypeError(f"{expected}; got {type(item).__name__}.")
    return item


def as_first(what, expected, came):
    """Every batch has the shape and the columns, where it names them, of the first."""
    if what == "shape" and came != expected:
        raise ValueError(f"all batches must have as many features and neurons as the first, {expected}; got {came}.")
    if what != "shape" and expected is not None and came is not None and list(expected) != list(came):
        raise ValueError(
            f"all batches must have the columns of the first, in its order; in `{what}` {list(expected)} were expected and "
            f"{list(came)} came. Select the columns by name."
        )


def same_stepper(before, now):
    """The solver that made a state goes on with it."""
    if before != now:
        raise TypeError(
            f"the state in `init` is that of {before}, not of {now}. Give `(params, None)` to start this one there."
        )


def beginning(init):
    """Parameters and the place to go on from; None starts anew."""
    if init is None:
        return None, None
    if not (isinstance(init, tuple | list) and len(init) == 2 and isinstance(init[0], tuple | list)):
        raise TypeError(
            "`init` must be None or a pair (params, state), where params is (coef, intercept) and state None or "
            f"the `batch_state_` of an earlier fit; got {type(init).__name__}."
        )
    params, stand = init
    _check_model.pair(params)
    if stand is not None and type(stand).__name__ != "Stand":
        raise TypeError(
            f"the state in `init` must be None or the `batch_state_` of an earlier fit; got {type(stand).__name__}."
        )
    return params, stand


def stepper(solver, name):
    """An object with `init` and `update`, in a model without a solver of its own."""
    if name is not None:
        raise ValueError(f"the model has the solver {name!r} and `fit_batches` was given another. Give one of them.")
    if not (callable(getattr(solver, "init", None)) and callable(getattr(solver, "update", None))):
        raise TypeError(f"`solver` must have the methods `init` and `update`; got {type(solver).__name__}.")
    return solver


def _no_folder(name, value):
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


def file_to_write(name, value):
    """A path whose folder exists and takes files."""
    path, _ = _no_folder(name, value)
    if not path.parent.is_dir():
        raise ValueError(f"the folder of `{name}` must exist; {path.parent} does not. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"the folder of `{name}` must be writable; {path.parent} is not. Choose another.")
    return path


def file_to_read(name, value):
    """The path of a file that is there."""
    path, there = _no_folder(name, value)
    if not there:
        raise FileNotFoundError(
            errno.ENOENT, f"`{name}` must be a file that is there; there is none. Look at", str(path)
        )
    return path


def storable(value):
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


MEND = {"checkpoint": "Delete it to start anew, or give another path."}


def whole_file(whole, path, kind):
    """A file that can be read."""
    if not whole:
        raise ValueError(
            f"{path} is not a whole {kind} of popglm: it is damaged, truncated, or another kind of file. It was not changed. "
            f"{MEND.get(kind, 'Give another path, or make it again.')}"
        )


def file_kind(path, found, expected):
    """A file of this kind, as this version writes it."""
    if found != expected:
        mend = "Read it with the popglm that wrote it" if found[0] == expected[0] else f"A {found[0]} is read elsewhere"
        raise ValueError(
            f"{path} must be a {expected[0]} of version {expected[1]}; it is a {found[0]} of version {found[1]}. {mend}, or "
            "give another path."
        )


def same_fit(path, then, now):
    """A checkpoint of the fit that is asked for."""
    for name in then | now:
        if then.get(name) != now.get(name):
            raise ValueError(
                f"{path} is the checkpoint of another fit: {name} was {then.get(name)} there and is {now.get(name)} here. "
                "Give another path, or delete it to start anew."
            )


def same_data(path, then, now, tolerance, what):
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


def same_state(expected, got):
    """As many numbers as the solver's state has, of the same shapes."""
    if list(map(np.shape, expected)) != list(map(np.shape, got)):
        raise ValueError(
            "the state in the checkpoint is not one of this solver: it has other shapes. Take the versions that wrote it, or "
            "delete the checkpoint to start anew."
        )


def same_batch(item, path):
    """Batches that reach as far as those of the checkpoint."""
    if item is None:
        raise ValueError(
            f"{path} is the checkpoint of a fit to other data: the batches end before those that it has taken. Give another "
            "path, or delete it to start anew."
        )
    return item


def default_solver(name, checkpoint):
    """The default solver, which can be interrupted between two passes."""
    if checkpoint is not None and name is not None:
        raise ValueError(
            f"`checkpoint` is for the default solver; {name!r} runs in one piece. Leave out `solver_name`, or take "
            "its steps by `fit_batches`."
        )


def savable(parts, classes):
    """Objects of classes that files know, at least one."""
    foreign = next(
        (type(part).__name__ for part in parts if type(part) not in classes), None if parts else "nothing in it"
    )
    if foreign:
        raise TypeError(
            f"`model` must be an object of GLM or PopulationGLM, a basis of popglm.basis, or a dictionary or tuple of "
            f"these; got {foreign}. Of a pipeline save the model in it; of results the arrays, by numpy.savez."
        )


INSTEAD = {
    None: 'Take a named one, such as inverse_link_function="softplus", or save `coef_` and `intercept_` alone by numpy.savez.',
    "funcs": "Save the model alone, and make this basis in your code; or save the values of the functions by numpy.savez.",
    "bases": "Save the model alone, and make this basis in your code.",
}


def packable(name, value, possible):
    """Something that a file can hold as numbers and words."""
    if not possible:
        what = "a function of your own" if callable(value) else f"an object of {type(value).__name__}"
        raise TypeError(
            f"models and bases are saved as numbers and words, and `{name}` holds {what}: {value!r}. Reading it back would "
            f"run code. Nothing was written. {INSTEAD.get(name, INSTEAD[None])}"
        )


def known_classes(path, foreign, classes):
    """A file of objects whose classes are popglm's."""
    if foreign:
        raise ValueError(
            f"{path} holds an object of class {foreign[0]!r}, which this popglm does not read; it reads "
            f"{', '.join(classes)}. Nothing of it was used. Read it with the popglm that wrote it, if you trust it."
        )
