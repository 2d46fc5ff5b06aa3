"""Models and bases in files: arrays, and a header in JSON that says what they are. Reading makes objects and runs no code.

What is neither a number, a word nor an array of numbers stands in the header as what it is, and what it is made of. Which
classes there may be, and how each is taken apart and put together, one table says.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from popglm import _check, _check_runs, _file, basis, links
from popglm._estimator import OBSERVATION_MODELS, REGULARIZERS
from popglm.glm import GLM, PopulationGLM
from popglm.links import LINKS, Link

__all__ = ["load", "save"]

KIND, VERSION = "model", 1
# what a fit knows, or a basis of its inputs, besides names that end in an underscore
PRIVATE = ("_columns", "_train_mean", "_saw", "_input_shape", "_given", "_all_given")
LEFT_OUT = ("batch_state_",)
FUNCTIONS = {function.__name__: function for function in LINKS if not isinstance(function, str)}


class Made(NamedTuple):
    """How objects of a class are taken apart, into a dictionary, and put together from it again."""

    cls: type
    parts: Callable
    make: Callable


def _settled(cls) -> Made:
    """Settings as they were given, and whatever a fit has left."""

    def parts(model):
        settings = model.get_params(deep=False)
        return {"settings": settings, "fit": _known(model, settings)}

    def make(settings, fit):
        model = cls(**settings)
        return _knowing(model, fit)

    return Made(cls, parts, make)


def _node(cls) -> Made:
    """The bases of a sum or a product, as they stand in it, its label, and what it knows of its inputs."""

    def parts(node):
        return {"bases": node.bases, "label": node.label, "fit": _known(node, ("bases", "label"))}

    def make(bases, label, fit):
        node = cls(*bases, label=label)
        node.bases = bases  # a sum that was put into a sum by `set_params` is not taken apart
        return _knowing(node, fit)

    return Made(cls, parts, make)


def _known(value, settings) -> dict:
    return {name: part for name, part in vars(value).items() if name not in settings and _of_fit(name)}


def _knowing(value, fit: dict):
    vars(value).update({name: part for name, part in fit.items() if _of_fit(name)})
    return value


def _of_fit(name):
    return (name in PRIVATE or (name.endswith("_") and not name.startswith("_"))) and name not in LEFT_OUT


def _dataclass(cls) -> Made:
    """Its fields."""
    return Made(cls, lambda value: {field.name: getattr(value, field.name) for field in fields(value)}, cls)


def _link_parts(link):
    _check_runs.packable("link", link.inverse, LINKS.get(link.name) == link)
    return {"name": link.name}


MODELS, NODES = (GLM, PopulationGLM), (basis.Sum, basis.Product)
LEAVES = tuple(
    getattr(basis, name) for name in basis.__all__ if name not in ("Conv", "Eval", "LazyFeatures", "Product", "Sum")
)
MADE = (
    *map(_settled, MODELS + LEAVES),
    *map(_node, NODES),
    *map(_dataclass, (*OBSERVATION_MODELS.values(), *REGULARIZERS.values())),
    Made(Link, _link_parts, lambda name: LINKS[name]),
)
CLASSES = {made.cls.__name__: made for made in MADE}
SAVED = (*MODELS, *NODES, *LEAVES)


def _inside(value) -> list:
    """What a dictionary, tuple or list of objects holds; any other object is itself."""
    if type(value) in (dict, list, tuple):
        return [part for some in (value.values() if type(value) is dict else value) for part in _inside(some)]
    return [value]


def save(model, path):
    """Write a model or a basis, or several of them, to a file: settings, and what was learned from data.

    The file (.npz) holds arrays and a header in JSON, no pickle. It is written beside its place and moved there: whatever
    happens, at `path` is the whole new file or the one before. Arrays keep their types and every bit, and are read as NumPy's.

    Of a basis the file holds its settings and labels, those of all of its parts, and their bounds and categories: new data
    are treated as those of the fit. A model and its basis go into one file as a pair, or as a dictionary with names.

    What is not saved: the `batch_state_` of a fit by batches (give `fit_batches` a ``checkpoint`` to go on from there), and
    attributes of your own.

    Parameters
    ----------
    model
        `GLM` or `PopulationGLM`, fitted or not; a basis of `popglm.basis`, alone or combined; or a dictionary, tuple or list
        of these.
    path
        Path of the file; by habit it ends in .npz.

    Raises
    ------
    TypeError
        If an object is of another class, or holds a function of your own (a link, a step size, one of a `CustomBasis`):
        nothing is written then.
    ValueError
        If the folder does not exist or is not writable.
    OSError
        If the file cannot be written, for example to a full disk. What was at `path` is untouched.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from popglm import glm, io
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(500, 3)), rng.poisson(0.5, (500, 2))
    >>> model = glm.PopulationGLM(regularizer="Ridge").fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     io.save(model, f"{folder}/model.npz")
    ...     again = io.load(f"{folder}/model.npz")
    >>> np.array_equal(again.predict(X), model.predict(X))
    True

    With its basis, and the bounds that this has learned:

    >>> from popglm.basis import BSplineEval
    >>> basis, position = BSplineEval(4), rng.uniform(0, 80, 500)
    >>> model = glm.GLM(regularizer="Ridge").fit(basis.compute_features(position), y[:, 0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     io.save((basis, model), f"{folder}/place.npz")
    ...     basis, model = io.load(f"{folder}/place.npz")
    >>> model.predict(basis.compute_features([20.0, 40.0])).shape
    (2,)
    """
    _check_runs.savable(_inside(model), SAVED)
    path = _check_runs.file_to_write("path", path)
    tree = _packed("model", model)
    _file.clear(path)
    _file.write(path, KIND, VERSION, tree)


def load(path):
    """Read what `save` has written, without running anything that stands in the file.

    The model is what the saved one would be in this session: it predicts and scores as JAX computes now. A fit in 64 bits
    keeps its 64 bits in `coef_`; without ``jax_enable_x64``, predictions round them, and a warning says so.

    Parameters
    ----------
    path
        Path of the file.

    Returns
    -------
    GLM, PopulationGLM, a basis, or a dictionary, tuple or list of them
        With the settings, coefficients, bounds and names of what was saved.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If the file is damaged, truncated, not popglm's, of another version, or holds another class.

    Warns
    -----
    RuntimeWarning
        If the model was fitted in 64 bits and JAX computes in 32.

    Examples
    --------
    >>> import tempfile
    >>> from popglm import glm, io
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     io.save(glm.GLM(inverse_link_function="softplus"), f"{folder}/model.npz")
    ...     io.load(f"{folder}/model.npz")
    GLM(inverse_link_function='softplus')
    """
    path = _check_runs.file_to_read("path", path)
    tree, foreign, model = _file.read(path, KIND, VERSION), [], None
    try:
        model = _unpacked(tree, foreign)
    except Exception:  # a header that somebody else has made raises anything
        model = None
    _check_runs.known_classes(path, foreign, CLASSES)
    parts = _inside(model)
    _check_runs.whole_file(bool(parts) and all(type(part) in SAVED for part in parts), path, KIND)
    wide = [part.coef_.dtype.itemsize for part in parts if hasattr(part, "coef_")]
    if max(wide, default=0) > jnp.result_type(float).itemsize:
        _check.warn(
            f"{path} holds a fit in 64 bits, and JAX computes in {jnp.result_type(float)}: `coef_` is what it was, predictions "
            'and scores are rounded. For 64 bits: jax.config.update("jax_enable_x64", True).',
            RuntimeWarning,
        )
    return model


def _packed(name, value):
    """A value as `_file` can hold it: a tuple, but those that are written as they are; the name is for messages."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, Mapping):
        for key in value:
            _check_runs.packable(name, key, isinstance(key, str))
        return {str(key): _packed(key, part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value).__name__, [_packed(name, part) for part in value]
    made = CLASSES.get(type(value).__name__)
    if made is not None and type(value) is made.cls:
        return "object", type(value).__name__, _packed(name, made.parts(value))
    if callable(value):
        word = next((word for word, function in FUNCTIONS.items() if function is links.original(value)), None)
        _check_runs.packable(name, value, word is not None)
        return "function", word
    try:
        array = np.asarray(value)
    except Exception:  # whatever an object of somebody else raises
        array = np.asarray(None)
    if isinstance(value, np.generic) and array.dtype.kind in "biufc":
        return "scalar", array
    if array.dtype.kind in "OU" and array.ndim:
        return "labels", array.dtype.str, array.shape, [_packed(name, label) for label in array.ravel().tolist()]
    _check_runs.packable(name, value, array.dtype.kind in "biufc")
    return array


def _unpacked(value, foreign: list):
    """The value again; names of classes that are not in the table are appended to a list."""
    if isinstance(value, dict):
        return {name: _unpacked(part, foreign) for name, part in value.items()}
    if not isinstance(value, tuple):
        return value
    match value:
        case "list", parts:
            return [_unpacked(part, foreign) for part in parts]
        case "tuple", parts:
            return tuple(_unpacked(part, foreign) for part in parts)
        case "object", name, parts:
            if name not in CLASSES:
                foreign.append(name)
            return CLASSES[name].make(**_unpacked(parts, foreign))
        case "function", name:
            return FUNCTIONS[name]
        case "scalar", array:
            return array[()]
        case "labels", str(dtype), shape, parts if np.dtype(dtype).kind in "OU":
            labels = np.empty(len(parts), dtype)
            for i, part in enumerate(parts):  # one by one: a label may be a tuple
                labels[i] = _unpacked(part, foreign)
            return labels.reshape(shape)
    raise ValueError(f"nothing is written as {value!r}")
