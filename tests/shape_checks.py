"""What tests check of annotations while the package runs: handed to jaxtyping's import hook, which wraps every function.

The core is checked by beartype, arguments and results. A public folder answers bad input with messages of its own, which must
come first; so there an argument is checked only where its annotation holds a shape, as those of private functions do: arrays
of users have aliases (`popglm._types`) that mean nothing at run time. All that is not a shape is mypy's work (`make lint`).

A check takes longer than a small sum, and solvers call small functions a hundred thousand times. So a function is checked in
its first calls of each test; with FULL=1 in all of them.
"""

from collections import Counter
from functools import wraps
from inspect import isclass
from typing import Any, Self, get_args

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray
from samples import FULL

CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as it is for mypy
CHECKED_CALLS = float("inf") if FULL else 20
calls = Counter()  # of each function's code in this test


def install_shape_checks(package: str) -> None:
    """Check the calls of all functions of a package that is not imported yet."""
    every_call = jaxtyping.jaxtyped

    def first_calls(*function, typechecker):
        if function:  # from a test
            return every_call(*function, typechecker=typechecker)

        def decorate(function):
            if isclass(function):
                return every_call(function, typechecker=typechecker)
            checked = None

            @wraps(function)
            def call(*args, **kwargs):
                nonlocal checked
                calls[function.__code__] += 1
                if calls[function.__code__] > CHECKED_CALLS:
                    return function(*args, **kwargs)
                checked = checked or every_call(function, typechecker=typechecker)
                return checked(*args, **kwargs)

            return call

        return decorate

    jaxtyping.jaxtyped = first_calls  # which the hook looks up where a function is defined
    jaxtyping.install_import_hook(package, "shape_checks.check")


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
