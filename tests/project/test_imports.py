"""What an import costs, and who may import whom."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from messages import assert_refused

import popglm

SOURCE = Path(popglm.__file__).parent
FILES = {  # by their names in the package: "links", "glm._model", "glm.__init__"
    ".".join(path.relative_to(SOURCE).with_suffix("").parts): ast.parse(path.read_text("utf8"))
    for path in sorted(SOURCE.rglob("*.py"))
    if path != SOURCE / "__init__.py"
}


def run(code):
    """The last line that the code prints in a fresh interpreter, from JSON."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(SOURCE.parent), "PATH": "", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_import_loads_nothing_heavy_and_sets_nothing():
    code = """
import sys, json, jax
before, flags = set(sys.modules), dict(jax.config.values)
import popglm
new = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(json.dumps([sorted(new), flags == dict(jax.config.values)]))
"""
    new, untouched = run(code)
    assert set(new) == {"popglm"}
    assert untouched


def test_modules_load_what_they_use_when_they_use_it():
    """The public modules need neither jaxopt, pynapple nor matplotlib, and set no flag of JAX."""
    code = """
import sys, json, jax
flags = dict(jax.config.values)
import popglm
for name in popglm.__all__:
    getattr(popglm, name)
loaded = [name for name in ("jaxopt", "pynapple", "matplotlib", "statsmodels") if name in sys.modules]
print(json.dumps([loaded, flags == dict(jax.config.values)]))
"""
    assert run(code) == [[], True]


def test_warnings_point_at_the_line_of_the_user():
    code = """
import warnings, json
import numpy as np
from popglm.glm import PopulationGLM
X, y = np.random.default_rng(0).normal(size=(50, 2)), np.zeros((50, 2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model = PopulationGLM().fit(X, y)
    model.initialize_state(X, y, model.initialize_params(X, y))
    PopulationGLM(regularizer="Lasso").fit_path(X, y, [0.1])
print(json.dumps([warning.filename for warning in caught]))
"""
    assert run(code) == ["<string>"] * 3


def test_a_module_that_is_missing_is_named(s):
    message = "has no attribute 'plot'; it has assessment, basis"
    assert_refused(s, lambda s: popglm.plot, AttributeError, message)


@pytest.mark.parametrize("module", ["popglm", *(f"popglm.{name}" for name in popglm._MODULES)])
def test_a_public_module_shows_its_public_names_and_no_others(module):
    module = import_module(module)
    assert dir(module) == sorted([*module.__all__, *(["__version__"] if module is popglm else [])])


# A folder, or a module at the top of the package, imports what stands on its line, and nothing else of the package.
RULE = """
    _public            _checks
    _types
    _pynapple
    parallel
    _checks            _pynapple parallel
    _design            _checks _pynapple parallel
    _sums              _design parallel
    _solver            _checks _design _sums parallel
    _files             _checks _design _pynapple parallel
    links              _checks
    regularizer        _checks
    observation_models _checks _sums links
    basis              _checks _design _pynapple
    batching           _checks _design _files _pynapple _solver _sums
    glm                _checks _design _files _pynapple _solver _sums batching links observation_models parallel regularizer
    plotting           _checks _design _pynapple basis glm model_selection
    recording          _checks _pynapple
    assessment         _checks _pynapple _sums glm observation_models
    inference          _checks _design _pynapple _solver _sums glm observation_models parallel
    model_selection    _checks _design _pynapple _sums glm parallel
    simulation         _checks _design _pynapple _sums basis glm links observation_models
    io                 _checks _files basis glm links
"""
RULE = {name: set(uses) for name, *uses in map(str.split, RULE.strip().splitlines())}
# Of a public package, others take nothing whose name begins with `_`, but for these modules.
OF_MODELS = {"glm._model", "glm._access", "glm._settings", "glm._score"}
PRIVATE = {name: set(OF_MODELS) for name, uses in RULE.items() if "glm" in uses}
PRIVATE["simulation"] |= {"glm._draw", "basis._tree"}
PRIVATE["glm"] = {f"batching.{name.split('.')[1]}" for name in FILES if name.startswith("batching._")}
PRIVATE["glm"] -= {"batching._lazy_counts", "batching._windows"}  # the others make up the fit by batches
for name, uses in RULE.items():
    PRIVATE[name] = PRIVATE.get(name, set()) | ({"parallel._share"} & {f"{use}._share" for use in uses})
ONLY_HERE = {"jaxopt": "_solver.jaxopt", "pynapple": "_pynapple", "matplotlib": "plotting._axes"}


def imported(file):
    """Full names of all that a file imports, at its top or later: (name, at the top)."""
    for node in ast.walk(FILES[file]):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write absolute imports"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from ((name, node in FILES[file].body) for name in names)


def inside(file):
    """What a file imports of the package: pairs of a folder or module at the top, and the rest of the name."""
    names = (name.split(".") for name, _ in imported(file))
    return {(name[1], ".".join(name[2:])) for name in names if name[0] == "popglm"}


def files_of(unit):
    return [file for file in FILES if file.split(".")[0] == unit]


def test_the_top_of_the_package_can_be_read_at_a_glance():
    units = {file.split(".")[0] for file in FILES}
    assert units == RULE.keys(), "say in this test what a new folder imports"
    assert len(units) <= 22


@pytest.mark.parametrize("unit", RULE)
def test_a_folder_imports_what_stands_on_its_line(unit):
    """Besides `_public` and `_types`, which public packages use to name their objects and the types of arguments."""
    uses = {other for file in files_of(unit) for other, _ in inside(file)}
    assert uses - {unit, "_public", "_types"} == RULE[unit]
    assert not (unit.startswith("_") and uses & {"_public", "_types"})


def test_the_rule_has_no_circle():
    assert_no_circle(RULE)


@pytest.mark.parametrize("unit", RULE)
def test_the_modules_of_a_folder_have_no_circle(unit):
    uses = {}
    for file in files_of(unit):
        names = [f"{other}.{rest}" for other, rest in inside(file) if other == unit]
        uses[file] = {module for name in names for module in (longest(name),) if module in FILES}
    assert_no_circle(uses)


def longest(name):
    """The module that a full name leads to: itself, or what it is in."""
    return next(
        (module for module in (name, name.rpartition(".")[0]) if module in FILES), f"{name.split('.')[0]}.__init__"
    )


def assert_no_circle(uses):
    done = set()
    while len(done) < len(uses):
        ready = {name for name, others in uses.items() if others <= done} - done
        assert ready, f"a circle among {set(uses) - done}"
        done |= ready


@pytest.mark.parametrize("unit", RULE)
def test_a_public_package_keeps_its_private_parts(unit):
    for file in files_of(unit):
        for other, rest in inside(file):
            if other != unit and not other.startswith("_") and rest.startswith("_"):
                module = f"{other}.{rest.split('.')[0]}"
                assert module in PRIVATE.get(unit, ()), f"{file} takes {other}.{rest}"


@pytest.mark.parametrize("unit", RULE)
def test_heavy_packages_have_one_place_each_and_load_late(unit):
    for file in files_of(unit):
        for name, at_top in imported(file):
            package = name.split(".")[0]
            if package in ONLY_HERE:
                assert file == ONLY_HERE[package] and not at_top, f"{file} imports {name}"
