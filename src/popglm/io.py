"""Models and bases in files: arrays, and a header in JSON that says what they are. Reading makes objects and runs no code.

What is neither a number, a word nor an array of numbers stands in the header as what it is, and what it is made of. Which
classes there may be, and how each is taken apart and put together, one table says.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from popglm import basis
from popglm._checks.values import warn_user
from popglm._files._checks import (
    as_readable_path,
    as_writable_path,
    require_encodable,
    require_intact_file,
    require_known_classes,
    require_savable,
)
from popglm._files.npz import read_npz, remove_partial_files, write_npz
from popglm.basis import Product, Sum
from popglm.glm import GLM, PopulationGLM
from popglm.glm._settings import OBSERVATION_MODELS, REGULARIZERS
from popglm.links import LINKS, Link, resolve_builtin

__all__ = ["load", "save"]


MODEL_FILE_KIND, MODEL_FILE_VERSION = "model", 1


# what a fit knows, or a basis of its inputs, besides names that end in an underscore
PRIVATE_ATTRIBUTES = ("_columns", "_train_mean", "_saw", "_input_shape", "_given", "_all_given")


UNSAVED_ATTRIBUTES = ("batch_state_",)


LINK_FUNCTIONS = {function.__name__: function for function in LINKS if not isinstance(function, str)}


class Codec(NamedTuple):
    """How objects of a class are taken apart, into a dictionary, and put together from it again."""

    cls: type
    parts: Callable
    make: Callable


def _settings_codec(cls) -> Codec:
    """Settings as they were given, and whatever a fit has left."""

    def parts(model):
        settings = model.get_params(deep=False)
        return {"settings": settings, "fit": _fit_attributes(model, settings)}

    def make(settings, fit):
        model = cls(**settings)
        return _restore_attributes(model, fit)

    return Codec(cls, parts, make)


def _node_codec(cls) -> Codec:
    """The bases of a sum or a product, as they stand in it, its label, and what it knows of its inputs."""

    def parts(node):
        return {"bases": node.bases, "label": node.label, "fit": _fit_attributes(node, ("bases", "label"))}

    def make(bases, label, fit):
        node = cls(*bases, label=label)
        node.bases = bases  # a sum that was put into a sum by `set_params` is not taken apart
        return _restore_attributes(node, fit)

    return Codec(cls, parts, make)


def _fit_attributes(value, settings) -> dict:
    return {name: part for name, part in vars(value).items() if name not in settings and _is_fit_attribute(name)}


def _restore_attributes(value, fit: dict):
    vars(value).update({name: part for name, part in fit.items() if _is_fit_attribute(name)})
    return value


def _is_fit_attribute(name):
    return (
        name in PRIVATE_ATTRIBUTES or (name.endswith("_") and not name.startswith("_"))
    ) and name not in UNSAVED_ATTRIBUTES


def _dataclass_codec(cls) -> Codec:
    """Its fields."""
    return Codec(cls, lambda value: {field.name: getattr(value, field.name) for field in fields(value)}, cls)


def _encode_link(link):
    require_encodable("link", link.inverse, LINKS.get(link.name) == link)
    return {"name": link.name}


MODEL_CLASSES, NODE_CLASSES = (GLM, PopulationGLM), (Sum, Product)


LEAF_CLASSES = tuple(
    getattr(basis, name) for name in basis.__all__ if name not in ("Conv", "Eval", "LazyFeatures", "Product", "Sum")
)


CODECS = (
    *map(_settings_codec, MODEL_CLASSES + LEAF_CLASSES),
    *map(_node_codec, NODE_CLASSES),
    *map(_dataclass_codec, (*OBSERVATION_MODELS.values(), *REGULARIZERS.values())),
    Codec(Link, _encode_link, lambda name: LINKS[name]),
)


CODEC_BY_NAME = {made.cls.__name__: made for made in CODECS}


SAVABLE_CLASSES = (*MODEL_CLASSES, *NODE_CLASSES, *LEAF_CLASSES)


def _flatten_containers(value) -> list:
    """What a dictionary, tuple or list of objects holds; any other object is itself."""
    if type(value) in (dict, list, tuple):
        return [
            part for some in (value.values() if type(value) is dict else value) for part in _flatten_containers(some)
        ]
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
    require_savable(_flatten_containers(model), SAVABLE_CLASSES)
    path = as_writable_path("path", path)
    tree = _encode_value("model", model)
    remove_partial_files(path)
    write_npz(path, MODEL_FILE_KIND, MODEL_FILE_VERSION, tree)


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
    path = as_readable_path("path", path)
    tree, foreign, model = read_npz(path, MODEL_FILE_KIND, MODEL_FILE_VERSION), [], None
    try:
        model = _decode_value(tree, foreign)
    except Exception:  # a header that somebody else has made raises anything
        model = None
    require_known_classes(path, foreign, CODEC_BY_NAME)
    parts = _flatten_containers(model)
    require_intact_file(bool(parts) and all(type(part) in SAVABLE_CLASSES for part in parts), path, MODEL_FILE_KIND)
    wide = [part.coef_.dtype.itemsize for part in parts if hasattr(part, "coef_")]
    if max(wide, default=0) > jnp.result_type(float).itemsize:
        warn_user(
            f"{path} holds a fit in 64 bits, and JAX computes in {jnp.result_type(float)}: `coef_` is what it was, predictions "
            'and scores are rounded. For 64 bits: jax.config.update("jax_enable_x64", True).',
            RuntimeWarning,
        )
    return model


def _encode_value(name, value):
    """A value as `_file` can hold it: a tuple, but those that are written as they are; the name is for messages."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, Mapping):
        for key in value:
            require_encodable(name, key, isinstance(key, str))
        return {str(key): _encode_value(key, part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value).__name__, [_encode_value(name, part) for part in value]
    made = CODEC_BY_NAME.get(type(value).__name__)
    if made is not None and type(value) is made.cls:
        return "object", type(value).__name__, _encode_value(name, made.parts(value))
    if callable(value):
        word = next((word for word, function in LINK_FUNCTIONS.items() if function is resolve_builtin(value)), None)
        require_encodable(name, value, word is not None)
        return "function", word
    try:
        array = np.asarray(value)
    except Exception:  # whatever an object of somebody else raises
        array = np.asarray(None)
    if isinstance(value, np.generic) and array.dtype.kind in "biufc":
        return "scalar", array
    if array.dtype.kind in "OU" and array.ndim:
        return "labels", array.dtype.str, array.shape, [_encode_value(name, label) for label in array.ravel().tolist()]
    require_encodable(name, value, array.dtype.kind in "biufc")
    return array


def _decode_value(value, foreign: list):
    """The value again; names of classes that are not in the table are appended to a list."""
    if isinstance(value, dict):
        return {name: _decode_value(part, foreign) for name, part in value.items()}
    if not isinstance(value, tuple):
        return value
    match value:
        case "list", parts:
            return [_decode_value(part, foreign) for part in parts]
        case "tuple", parts:
            return tuple(_decode_value(part, foreign) for part in parts)
        case "object", name, parts:
            if name not in CODEC_BY_NAME:
                foreign.append(name)
            return CODEC_BY_NAME[name].make(**_decode_value(parts, foreign))
        case "function", name:
            return LINK_FUNCTIONS[name]
        case "scalar", array:
            return array[()]
        case "labels", str(dtype), shape, parts if np.dtype(dtype).kind in "OU":
            labels = np.empty(len(parts), dtype)
            for i, part in enumerate(parts):  # one by one: a label may be a tuple
                labels[i] = _decode_value(part, foreign)
            return labels.reshape(shape)
    raise ValueError(f"nothing is written as {value!r}")


def __dir__():
    return __all__
