"""Models and bases in files: arrays, and a header in JSON that describes the objects. Loading a file runs no code from it.

Numbers, words and arrays are stored as they are, other objects as the name of their class and its parts. The table `CODECS`
lists the allowed classes, and how each is encoded into parts and decoded again.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

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
from popglm._public import export
from popglm._types import FilePath
from popglm.basis import Product, Sum
from popglm.glm import GLM, PopulationGLM
from popglm.glm._settings import OBSERVATION_MODELS, REGULARIZERS
from popglm.links import LINKS, Link, resolve_builtin

__all__ = ["load", "save"]


MODEL_FILE_KIND, MODEL_FILE_VERSION = "model", 1


# learned attributes that are saved although their names do not end in an underscore
PRIVATE_ATTRIBUTES = (
    "_columns",
    "_feature_ids",
    "_train_mean",
    "_saw",
    "_input_shape",
    "_layout",
    "_given",
    "_all_given",
)


UNSAVED_ATTRIBUTES = ("batch_state_",)


LINK_FUNCTIONS = {function.__name__: function for function in LINKS if not isinstance(function, str)}


class Codec(NamedTuple):
    """Rule for a class: `encode` turns an object into a dictionary of parts, `decode` makes the object from the parts."""

    cls: type
    encode: Callable
    decode: Callable


def _settings_codec(cls) -> Codec:
    """Return the codec of a model or a leaf: the settings of its constructor, and the attributes learned from data."""

    def encode(model):
        settings = model.get_params(deep=False)
        return {"settings": settings, "fit": _fit_attributes(model, settings)}

    def decode(settings, fit):
        model = cls(**settings)
        return _restore_attributes(model, fit)

    return Codec(cls, encode, decode)


def _node_codec(cls) -> Codec:
    """Return the codec of a sum or a product: its bases, its label, and the attributes learned from its inputs."""

    def encode(node):
        return {"bases": node.bases, "label": node.label, "fit": _fit_attributes(node, ("bases", "label"))}

    def decode(bases, label, fit):
        node = cls(*bases, label=label)
        node.bases = bases  # the constructor flattens a sum inside a sum, `set_params` does not
        return _restore_attributes(node, fit)

    return Codec(cls, encode, decode)


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
    """Return the codec of a dataclass: its fields."""
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


CODEC_BY_NAME = {codec.cls.__name__: codec for codec in CODECS}


SAVABLE_CLASSES = (*MODEL_CLASSES, *NODE_CLASSES, *LEAF_CLASSES)


def _flatten_containers(value) -> list:
    """List the objects in nested dictionaries, tuples and lists; any other object is a list of itself."""
    if type(value) in (dict, list, tuple):
        return [
            part for item in (value.values() if type(value) is dict else value) for part in _flatten_containers(item)
        ]
    return [value]


def save(model: Any, path: FilePath) -> None:
    """Save one or several models or bases to a file: their settings, and everything learned from data.

    The file (.npz) holds arrays and a header in JSON, no pickle. It is written under another name and then moved to `path`, so
    `path` always holds the complete new file or the previous one. Arrays keep their types and every bit, and are loaded as
    NumPy arrays.

    For a basis the file holds the settings, labels, bounds and categories of all its parts, so that new data are treated as
    the data of the fit. Save a model and its basis in one file as a pair, or as a dictionary.

    Not saved are the `batch_state_` of a fit by batches (to continue such a fit, give `fit_batches` a ``checkpoint``), and
    attributes that you set yourself.

    Parameters
    ----------
    model
        `GLM` or `PopulationGLM`, fitted or not; a basis of `popglm.basis`, alone or combined; or a dictionary, tuple or list
        of these.
    path
        Path of the file, usually ending in .npz.

    Raises
    ------
    TypeError
        If an object is of another class, or holds your own function (a link, a step size, a function of a `CustomBasis`).
        Nothing is written in this case.
    ValueError
        If the folder does not exist or is not writable.
    OSError
        If the file cannot be written, for example to a full disk. A previous file at `path` stays as it was.

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

    Save a model with its basis, and the bounds that the basis learned:

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


def load(path: FilePath) -> Any:
    """Load a file written by `save`, without running code from the file.

    The model predicts and scores in the precision of the current session. A fit in 64 bits keeps 64 bits in `coef_`; without
    ``jax_enable_x64``, predictions round them, and a warning says so.

    Parameters
    ----------
    path
        Path of the file.

    Returns
    -------
    GLM, PopulationGLM, a basis, or a dictionary, tuple or list of them
        With the settings, coefficients, bounds and names that were saved.

    Raises
    ------
    FileNotFoundError
        If there is no file at `path`.
    ValueError
        If the file is damaged, truncated, not written by popglm, of another version, or holds another class.

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
    tree, foreign, model = read_npz(path, MODEL_FILE_KIND, MODEL_FILE_VERSION), [], None  # type: ignore[var-annotated]
    try:
        model = _decode_value(tree, foreign)
    except Exception:  # a header not written by `save` can raise anything
        model = None
    require_known_classes(path, foreign, CODEC_BY_NAME)
    parts = _flatten_containers(model)
    require_intact_file(bool(parts) and all(type(part) in SAVABLE_CLASSES for part in parts), path, MODEL_FILE_KIND)
    wide = [part.coef_.dtype.itemsize for part in parts if hasattr(part, "coef_")]
    if max(wide, default=0) > jnp.result_type(float).itemsize:
        warn_user(
            f"{path} holds a fit in 64 bits, and JAX computes in {jnp.result_type(float)}: `coef_` keeps 64 bits, predictions "
            'and scores are rounded. For 64 bits: jax.config.update("jax_enable_x64", True).',
            RuntimeWarning,
        )
    return model


def _encode_value(name, value):
    """Encode a value as JSON values, arrays and tagged tuples, which `write_npz` can write; `name` is for messages."""
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
    codec = CODEC_BY_NAME.get(type(value).__name__)
    if codec is not None and type(value) is codec.cls:
        return "object", type(value).__name__, _encode_value(name, codec.encode(value))
    if callable(value):
        word = next((word for word, function in LINK_FUNCTIONS.items() if function is resolve_builtin(value)), None)
        require_encodable(name, value, word is not None)
        return "function", word
    try:
        array = np.asarray(value)
    except Exception:  # an object of another package can raise anything
        array = np.asarray(None)
    if isinstance(value, np.generic) and array.dtype.kind in "biufc":
        return "scalar", array
    if array.dtype.kind in "OU" and array.ndim:
        return "labels", array.dtype.str, array.shape, [_encode_value(name, label) for label in array.ravel().tolist()]
    require_encodable(name, value, array.dtype.kind in "biufc")
    return array


def _decode_value(value, foreign: list):
    """Decode a value; append names of classes without a codec to the list `foreign`."""
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
            return CODEC_BY_NAME[name].decode(**_decode_value(parts, foreign))
        case "function", name:
            return LINK_FUNCTIONS[name]
        case "scalar", array:
            return array[()]
        case "labels", str(dtype), shape, parts if np.dtype(dtype).kind in "OU":
            labels = np.empty(len(parts), dtype)
            for i, part in enumerate(parts):  # one by one, since a label may be a tuple
                labels[i] = _decode_value(part, foreign)
            return labels.reshape(shape)
    raise ValueError(f"no value is encoded as {value!r}")


export(__name__, globals())


def __dir__():
    return __all__
