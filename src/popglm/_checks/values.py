"""Checks of single values: names, numbers, flags; and the two ways to speak to the user, a list of names and a warning.

`as_...` converts and returns, `require_...` raises if a fact does not hold, `warn_...` warns. A message says what was expected,
what came, and the fix. A check that one folder alone needs lives in the `_checks` module of that folder.
"""

import difflib
import numbers
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np

INT32 = np.iinfo(np.int32)
INTERNAL_PACKAGES = ("popglm", "sklearn", "jaxtyping")  # whose lines a warning does not point at


def require_option(name, value, choices):
    """One of the names in `choices`; a near miss is answered with the name that was meant."""
    if isinstance(value, str) and value in choices:
        return value
    close = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}.{hint}")


def as_positive_integer(name, value, unit="", hint=""):
    """A whole number of at least 1, and one that 32 bits hold."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and 1 <= value <= INT32.max:
        return int(value)
    raise ValueError(f"`{name}` must be a positive integer{unit}; got {value!r}.{hint}")


def as_nonnegative_integer(name, value):
    """A whole number that is not negative."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= 0:
        return int(value)
    raise ValueError(f"`{name}` must be a whole number, 0 or above; got {value!r}.")


def as_number(name, value, low=-np.inf, *, strict=False):
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


def require_flag(name, value):
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False; got {value!r}.")


def list_names(which, names):
    """Names of these, or their numbers; ten at most."""
    some = [str(n if names is None else names[n]) for n in which[:10]]
    return ", ".join(some) + (", ..." if len(which) > 10 else "")


def warn_user(text, category=UserWarning):
    """Warn at the line of the user, however many steps of this package lie between."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in INTERNAL_PACKAGES:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def as_lead_function(value):
    """Which bins a convolution sees, as the number of bins by which its windows lie ahead of the past: of the window."""
    option = require_option("predictor_causality", value, ("causal", "anti-causal", "acausal"))
    return {
        "causal": lambda window: 0,
        "anti-causal": lambda window: window + 1,
        "acausal": lambda window: window // 2 + 1,
    }[option]


def describe_range(low, high):
    return "finite" if low == -np.inf else "positive" if high == np.inf else f"between {low:g} and {high:g}"


def require_function(name, value, of):
    """A function, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"`{name}` must be a function of {of}, or None; got {value!r}.")


def require_key(value):
    """A random key of JAX."""
    dtype = getattr(value, "dtype", None)
    new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and value.shape == ()
    if not (new or (dtype == np.uint32 and value.shape == (2,))):
        seed = value if isinstance(value, numbers.Integral) else 0
        raise TypeError(f"`key` must be a JAX key; got {value!r}. Write jax.random.key({seed}).")
    return value


def as_share(name, value):
    """A number from 0 to 1."""
    value = as_number(name, value, 0)
    if value > 1:
        raise ValueError(f"`{name}` must be a share from 0 to 1; got {value}.")
    return value
