"""Types: every public function says what it takes and what it gives, and checkers know it."""

import inspect
import tomllib
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped
from samples import FULL
from shape_checks import CHECKED_CALLS, check

import popglm
from popglm._solver.ask_tell import row_dot

ROOT, SOURCE = Path(__file__).parents[2], Path(popglm.__file__).parent
MYPY = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["mypy"]


def public_functions():
    """Yield the functions of all public names, and the methods, properties and constructors of their classes."""
    yield popglm.cache
    for module in map(popglm.__getattr__, popglm._MODULES):
        for public in (getattr(module, name) for name in module.__all__):
            classes = public.__mro__ if inspect.isclass(public) else ()
            members = (member for one in classes for name, member in vars(one).items() if not is_private(name))
            for member in (public, *members):
                function = getattr(member, "fget", getattr(member, "func", getattr(member, "__func__", member)))
                if inspect.isfunction(function) and is_ours(function := inspect.unwrap(function)):
                    yield function


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def is_ours(function):
    """Return whether the function is written in the package; those of records and dataclasses are made at run time."""
    return Path(function.__code__.co_filename).is_relative_to(SOURCE)


def missing_types(function):
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name not in ("self", "cls")]
    return [name for name in (*names, "return") if name not in function.__annotations__]


def test_public_functions_say_what_they_take_and_give():
    functions = set(public_functions())
    assert len(functions) > 180
    untyped = {f"{f.__module__}.{f.__qualname__}": missing_types(f) for f in functions if missing_types(f)}
    assert untyped == {}


def test_checkers_find_the_types_of_an_installed_package():
    assert (SOURCE / "py.typed").read_text() == ""


def test_the_core_is_wholly_typed():
    """Mypy refuses a function of the core without types."""
    core = sorted(f"popglm.{path.name}.*" for path in SOURCE.glob("_[a-z]*") if path.is_dir())
    strict = [part for part in MYPY["overrides"] if part.get("disallow_untyped_defs")]
    assert [part["module"] for part in strict] == [core] and strict[0]["disallow_incomplete_defs"]
    assert MYPY["files"] == ["src/popglm"] and MYPY["check_untyped_defs"]


def typed_function(module):
    def scale(x, times: int) -> Float[np.ndarray, " time"]:
        return x * times

    scale.__module__ = module
    return jaxtyped(scale, typechecker=check)


@pytest.mark.parametrize(("module", "x", "times", "refused"), [
    ("popglm._sums.rank", np.ones(2), 2, None),
    ("popglm._sums.rank", np.ones(2), 2.0, "parameter 'times'"),
    ("popglm._sums.rank", np.ones((2, 2)), 2, "return value"),
    ("popglm.inference", np.ones(2), 2.0, None),
    ("popglm.inference", np.ones((2, 2)), 2, "return value"),
])  # fmt: skip
def test_arguments_of_public_functions_meet_the_messages_of_the_package_first(module, x, times, refused):
    """Tests check by annotations what public functions return, but not what they are given."""
    call = typed_function(module)
    if refused is None:
        assert len(call(x, times)) == len(x)
    else:
        with pytest.raises(TypeCheckError, match=refused):
            call(x, times)


def test_a_function_is_checked_in_its_first_calls_of_a_test():
    """Here the one that solvers call most; with FULL=1 in all calls."""
    wrong = np.ones((2, 3)), np.ones(4)
    for _ in range(min(CHECKED_CALLS, 100)):
        with pytest.raises(TypeCheckError):
            row_dot(*wrong)
    if not FULL:
        with pytest.raises(ValueError):  # of NumPy
            row_dot(*wrong)
