"""Earlier names of attributes that users' own classes may define: read until version 0.3, with a warning."""

from collections.abc import Callable
from inspect import get_annotations
from operator import attrgetter
from typing import Any

from popglm._checks.values import warn_user

ADVICE = "Rename it: version 0.3, not before April 2027, will not read the earlier name."


class _Alias(property):
    """Attribute under its new name, in a class that defines the earlier one."""


class OldName:
    """Earlier name of an attribute, in a base class. Reading it gives `convert` of the attribute that is called `new` now."""

    def __init__(self, new: str, convert: Callable[[Any], Any] = lambda value: value) -> None:
        self.new, self.convert = new, convert

    def __set_name__(self, owner: type, name: str) -> None:
        self.old = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:  # the class has no such attribute, so that a field of a dataclass gets no default
            raise AttributeError(f"`{self.old}` of {owner.__name__} is now `{self.new}`.")
        values = [vars(cls)[self.new] for cls in owner.__mro__ if self.new in vars(cls)]
        if not any(isinstance(value, _Alias) for value in values):
            warn_user(f"`{self.old}` of {owner.__name__} is now `{self.new}`. {ADVICE}", FutureWarning)
        value = next(value for value in values if not isinstance(value, _Alias))  # an alias would lead back here
        return self.convert(value.__get__(instance, owner) if hasattr(value, "__get__") else value)


def warn_old_names(cls: type) -> dict[str, str]:
    """Warn of the earlier names that a new class defines, but not the new ones; return their new names."""
    defined = vars(cls).keys() | get_annotations(cls)
    old_names = {name: old.new for base in cls.__mro__ for name, old in vars(base).items() if isinstance(old, OldName)}
    found = {name: new for name, new in sorted(old_names.items()) if name in defined and new not in defined}
    if found:
        names = ", ".join(f"`{name}` of {cls.__name__} is now `{new}`" for name, new in found.items())
        warn_user(f"{names}. {ADVICE}", FutureWarning)
    return found


def alias_old_names(cls: type) -> None:
    """Give a new class that defines earlier names the same attributes under the new ones; warn once."""
    for old, new in warn_old_names(cls).items():
        setattr(cls, new, _Alias(attrgetter(old)))
