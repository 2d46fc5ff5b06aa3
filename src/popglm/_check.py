"""Checks of single values: names, numbers, flags.

Every check of what a user gives is one function per fact, here, in `_settings` or in the other `_check_*.py`. A message says
what was expected, what came, and the fix.
"""

import difflib
import numbers
import sys
import warnings

import jax.numpy as jnp
import numpy as np

INT32 = np.iinfo(np.int32)
OURS = ("popglm", "sklearn", "jaxtyping")  # whose lines a warning does not point at


def option(name, value, choices):
    """One of the names in `choices`; a near miss is answered with the name that was meant."""
    if isinstance(value, str) and value in choices:
        return value
    close = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}.{hint}")


def positive_integer(name, value, unit="", hint=""):
    """A whole number of at least 1, and one that 32 bits hold."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and 1 <= value <= INT32.max:
        return int(value)
    raise ValueError(f"`{name}` must be a positive integer{unit}; got {value!r}.{hint}")


def whole_number(name, value):
    """A whole number that is not negative."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= 0:
        return int(value)
    raise ValueError(f"`{name}` must be a whole number, 0 or above; got {value!r}.")


def number(name, value, low=-np.inf, *, strict=False):
    """A finite real number of at least `low` (above it, if strict)."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            real = float(value)
        except OverflowError:
            real = np.inf
        if abs(real) <= float(jnp.finfo(jnp.result_type(float)).max) and (real > low if strict else real >= low):
            return real
    bound = "" if low == -np.inf else f" {'above' if strict else 'of at least'} {low:g}"
    raise ValueError(f"`{name}` must be a finite number{bound}; got {value!r}.")


def flag(name, value):
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False; got {value!r}.")


def listed(which, names):
    """Names of these, or their numbers; ten at most."""
    some = [str(n if names is None else names[n]) for n in which[:10]]
    return ", ".join(some) + (", ..." if len(which) > 10 else "")


def warn(text, category=UserWarning):
    """Warn at the line of the user, however many steps of this package lie between."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in OURS:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
