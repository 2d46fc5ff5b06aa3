"""Every example in a docstring of the package runs, and shows what it says."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import popglm

MODULES = ["popglm", *(module.name for module in pkgutil.walk_packages(popglm.__path__, "popglm."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("name", popglm.__all__)
def test_public_objects_have_examples(name):
    module = import_module(f"popglm.{name}")
    assert any(">>>" in (getattr(module, public).__doc__ or "") for public in module.__all__)
