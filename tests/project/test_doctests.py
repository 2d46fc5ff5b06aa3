"""Every example in a docstring of the package runs, and shows what it says."""

import doctest
import inspect
import pkgutil
from importlib import import_module

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

import popglm

MODULES = ["popglm", *(module.name for module in pkgutil.walk_packages(popglm.__path__, "popglm."))]


CACHE_OPTIONS = [name for name in jax.config.values if "compilation_cache" in name or "persistent_cache" in name]


@pytest.fixture(autouse=True)
def no_cache_for_other_tests():
    """The example of `popglm.cache` acts on the whole process."""
    before = {name: jax.config.values[name] for name in CACHE_OPTIONS}
    yield
    if before != {name: jax.config.values[name] for name in CACHE_OPTIONS}:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("name", popglm._MODULES)
def test_a_public_module_has_an_example(name):
    """In its own docstring, or in that of a public object, whatever file defines it."""
    module = import_module(f"popglm.{name}")
    objects = [getattr(module, public) for public in module.__all__]
    docs = [module.__doc__, *(part.__doc__ for thing in objects for part in (thing, *members(thing)))]
    assert any(">>>" in (doc or "") for doc in docs), f"no public object of {name} has an example"


def members(thing):
    """Public methods and properties of a class."""
    if not inspect.isclass(thing):
        return []
    return [part for name, part in vars(thing).items() if not name.startswith("_")]
