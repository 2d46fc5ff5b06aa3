"""Every example in a docstring of the package runs, and shows what it says."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import popglm

MODULES = ["popglm", *(f"popglm.{module.name}" for module in pkgutil.iter_modules(popglm.__path__))]
WITHOUT_EXAMPLES = {"popglm"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    if not name.split(".")[-1].startswith("_") and name not in WITHOUT_EXAMPLES:
        assert result.attempted > 0, f"no public object of {name} has an example"
