"""Public names: `help`, errors and pickles name public packages and methods, and errors know the names of other tools."""

import sys
from functools import partial
from inspect import isclass, isfunction, unwrap
from typing import Any

from popglm._checks.other_names import refuse_attribute, with_argument_hints


def export(package: str, namespace: dict[str, Any]) -> None:
    """Let the public objects of a package, `namespace["__all__"]`, name the package as their module.

    Public methods of their private base classes lose the name of the class, so that a TypeError says `fit()`, not
    `PrivateBase.fit()`. In return `inspect.getsource` of a class (not of its methods) finds no source. Attributes and
    arguments that another tool has are refused with their name here.
    """
    objects = [namespace[name] for name in namespace["__all__"]]
    classes = {one for one in objects if isclass(one)}
    private = {base for one in classes for base in one.__mro__ if base.__module__.startswith("popglm.")} - classes
    for base in private:
        for name, method in vars(base).items():
            if isfunction(method) and not name.startswith("_"):
                method.__qualname__ = unwrap(method).__qualname__ = name
    for one in objects:
        if isclass(one) or isfunction(one):
            one.__module__ = package
    for cls in classes | private:
        _add_argument_hints(cls)
    namespace["__getattr__"] = partial(_refuse_name, package)


def _add_argument_hints(cls: type) -> None:
    """Let the constructor and the public methods of a class know the arguments of other tools."""
    for name, method in list(vars(cls).items()):
        if isfunction(method) and (name == "__init__" or not name.startswith("_")):
            hinted = with_argument_hints(method, cls.__name__ if name == "__init__" else name)
            if hinted is not method:
                setattr(cls, name, hinted)


def _refuse_name(package: str, name: str) -> Any:
    refuse_attribute(f"module {package!r}", name, sys.modules[package])
