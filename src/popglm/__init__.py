"""Generalized linear models of neural populations, fitted by batches or exactly, on JAX.

The public surface is the lists below; each module is loaded when it is first used, so that
``import popglm`` costs next to nothing.
"""

from importlib import import_module
from importlib.metadata import version

__version__ = version("popglm")
_MODULES = [
    "assessment",
    "basis",
    "batching",
    "glm",
    "inference",
    "io",
    "links",
    "model_selection",
    "observation_models",
    "parallel",
    "plotting",
    "recording",
    "regularizer",
    "simulation",
]
__all__ = [*_MODULES, "cache"]


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name == "cache":
        from popglm._files.cache import cache

        return cache
    from popglm._checks.other_names import ATTRIBUTES

    hint = f". Here it is {ATTRIBUTES[name]}" if name in ATTRIBUTES else ""
    raise AttributeError(f"module 'popglm' has no attribute {name!r}; it has {', '.join(__all__)}{hint}")


def __dir__():
    return [*__all__, "__version__"]
