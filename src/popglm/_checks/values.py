"""Checks of single values (names, numbers, flags), and how the user is addressed: lists of names, and warnings.

`as_...` converts and returns, `require_...` raises if a fact does not hold, `warn_...` warns. A message says what was expected,
what came, and the fix. A check that one folder alone needs lives in the `_checks` module of that folder.
"""

import difflib
import numbers
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from popglm._checks.other_names import SOLVERS, option_hint
from popglm.parallel._share import is_first, shares_rows

INT32 = np.iinfo(np.int32)
OWN_FRAMES = ("popglm", "jaxtyping", "beartype")  # of this package, and what stands between them in tests
INTERNAL_PACKAGES = ("popglm", "sklearn", "jaxtyping", "abc")  # warnings do not point at their lines


def require_option(name: str, value: Any, choices: Collection[str]) -> str:
    """Require one of the names in `choices`; the error suggests the nearest."""
    if isinstance(value, str) and value in choices:
        return value
    other = option_hint(value, choices)
    close = [other] if other else difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if name == "solver_name" and not other and isinstance(value, str):
        hint = f" {SOLVERS[value]}" if value in SOLVERS else hint
    raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}.{hint}")


def as_plain_number(value: Any) -> Any:
    """Convert a scalar of NumPy or JAX, or an array without axes, to Python's number; return any other value as it is."""
    is_array = isinstance(value, np.ndarray | np.generic | jax.Array) and not isinstance(value, jax.core.Tracer)
    if is_array and value.ndim == 0 and getattr(value.dtype, "kind", "O") in "biuf":
        return value.item()
    return value


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def as_positive_integer(name: str, value: Any, unit: str = "", hint: str = "") -> int:
    """Convert to an integer of at least 1 that fits into 32 bits."""
    value = as_plain_number(value)
    if not (_is_number(value, numbers.Integral) and 1 <= value <= INT32.max):
        raise ValueError(f"`{name}` must be a positive integer{unit}; got {value!r}.{hint}")
    return int(value)


def as_nonnegative_integer(name: str, value: Any) -> int:
    """Convert to an integer of at least 0."""
    value = as_plain_number(value)
    if not (_is_number(value, numbers.Integral) and value >= 0):
        raise ValueError(f"`{name}` must be a whole number, 0 or above; got {value!r}.")
    return int(value)


def as_number(name: str, value: Any, low: float = -np.inf, *, strict: bool = False) -> float:
    """Convert to a finite float of at least `low` (above it, if strict)."""
    value = as_plain_number(value)
    try:
        real = float(value) if _is_number(value, numbers.Real) else np.inf
    except OverflowError:
        real = np.inf
    if abs(real) <= float(jnp.finfo(jnp.result_type(float)).max) and (real > low if strict else real >= low):
        return real
    bound = "" if low == -np.inf else f" {'above' if strict else 'of at least'} {low:g}"
    raise ValueError(f"`{name}` must be a finite number{bound}; got {value!r}.")


def as_share(name: str, value: Any, fix: str = "", *, strict: bool = False) -> float:
    """Convert to a float from 0 to 1 (between them, if strict)."""
    value = as_number(name, value, 0, strict=strict)
    if value > 1 or (strict and value == 1):
        expected = "lie between 0 and 1, both excluded" if strict else "be a share from 0 to 1"
        raise ValueError(f"`{name}` must {expected}; got {value:g}.{fix}")
    return value


def as_range(
    name: str, value: Any, expected: str = "(lowest, highest)", low: float = -np.inf, *, strict: bool = True
) -> tuple[float, float]:
    """Convert to two floats above `low`, the second above the first (or equal to it, unless strict)."""
    if (
        not isinstance(value, Sequence | np.ndarray | jax.Array)
        or isinstance(value, str)
        or np.shape(value)[:1] != (2,)
    ):
        raise TypeError(f"`{name}` must be a pair {expected}; got {value!r}.")
    start, end = (as_number(name, number, low, strict=True) for number in value)
    if not (start < end or (start == end and not strict)):
        raise ValueError(f"`{name}` must be a pair {expected}; got {start:g} and {end:g}.")
    return start, end


def require_pair(value: Any, expected: str, fix: str = "", kinds: Any = tuple | list) -> Any:
    """Require two things in a tuple or a list, and return it."""
    if not (isinstance(value, kinds) and len(value) == 2):
        raise TypeError(f"{expected}; got {type(value).__name__}.{fix}")
    return value


def as_names(name: str, value: Any, n: int, what: str = "names") -> list:
    """Convert to a list of `n` names; None becomes numbers. `what` describes them in a message."""
    if value is None:
        return list(range(n))
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise TypeError(f"`{name}` must be a list of {n} {what}; got {value!r}.")
    if len(value) != n:
        raise ValueError(f"`{name}` must hold {n} {what}; got {len(value)}.")
    return list(value)


def require_flag(name: str, value: Any) -> None:
    """Require True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False; got {value!r}.")


def require_function(name: str, value: Any, of: str) -> None:
    """Require a function `of` these arguments, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"`{name}` must be a function of {of}, or None; got {value!r}.")


def require_key(value: Any) -> jax.Array:
    """Require a random key of JAX."""
    dtype = getattr(value, "dtype", None)
    new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and value.shape == ()
    if not (new or (dtype == np.uint32 and value.shape == (2,))):
        seed = value if isinstance(value, numbers.Integral) else 0
        raise TypeError(f"`key` must be a JAX key; got {value!r}. Write jax.random.key({seed}).")
    return value


def count_bins_ahead(causality: Any, window: int) -> int:
    """Count the bins that a window lies ahead of the past, by its `predictor_causality`."""
    ahead = {"causal": 0, "anti-causal": window + 1, "acausal": window // 2 + 1}
    return ahead[require_option("predictor_causality", causality, tuple(ahead))]


def trace_function(function: Callable, inputs: Any, expected: str, fix: str = "") -> list[np.ndarray]:
    """Return what a function gives for each of the inputs, compiled by JAX; refuse one that cannot be traced."""
    try:
        compiled = jax.jit(lambda x: function(x))
        return [np.asarray(compiled(x)) for x in inputs]
    except Exception as error:
        came = f"{function!r}, which JAX cannot trace ({type(error).__name__})"
        raise TypeError(f"{expected}; got {came}.{fix}") from error


def describe_range(low: float, high: float) -> str:
    """Describe a range of means in words."""
    return "finite" if low == -np.inf else "positive" if high == np.inf else f"between {low:g} and {high:g}"


def list_names(indices: Any, names: Any) -> str:
    """Join the names at these indices, or the indices if `names` is None; at most ten."""
    listed = [str(n if names is None else names[n]) for n in indices[:10]]
    return ", ".join(listed) + (", ..." if len(indices) > 10 else "")


def is_called_from(module: str) -> bool:
    """Return whether a function of this module, or of one below it, is among those that called."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and not f"{frame.f_globals.get('__name__', '')}.".startswith(f"{module}."):
        frame = frame.f_back
    return frame is not None


def calling_module() -> str:
    """Name of the module whose code called this package."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in OWN_FRAMES:
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")


def warn_user(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's code, at whatever depth inside this package; of shared rows in the first process."""
    if shares_rows() and not is_first():
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in INTERNAL_PACKAGES:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
