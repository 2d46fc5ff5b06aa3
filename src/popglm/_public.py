"""Public names: `help`, TypeErrors and pickles name public packages and methods, not the private files behind them."""

from inspect import isclass, isfunction, unwrap
from typing import Any


def export(package: str, namespace: dict[str, Any]) -> None:
    """Let the public objects of a package, `namespace["__all__"]`, name the package as their module.

    Public methods of their private base classes lose the name of the class, so that a TypeError says `fit()`, not
    `PrivateBase.fit()`. In return `inspect.getsource` of a class (not of its methods) finds no source.
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
