"""What tests check of annotations while the package runs: handed to jaxtyping's import hook, which wraps every function.

The core is checked by beartype, arguments and results. A public folder answers bad input with messages of its own, which must
come first; so there an argument is checked only where its annotation holds a shape, as those of private functions do: arrays
of users have aliases (`popglm._types`) that mean nothing at run time. All that is not a shape is mypy's work (`make lint`).
"""

from inspect import isclass
from typing import Any, Self, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as it is for mypy


def check(function):
    """Check the arguments of a function or its result: jaxtyping asks for one after the other, with the same shapes."""
    hints = function.__annotations__
    if hints.get("return", Any) is not Any:  # arguments were checked by the call before
        function.__annotations__ = {} if hints["return"] is Self else {"return": hints["return"]}
    elif not function.__module__.removeprefix("popglm.").startswith("_"):
        function.__annotations__ = {name: hint for name, hint in hints.items() if holds_shape(hint)}
    return CHECK(function)


def holds_shape(hint):
    """Return whether an annotation is an array with a shape, or is made of one."""
    return (isclass(hint) and issubclass(hint, AbstractArray)) or any(map(holds_shape, get_args(hint)))
