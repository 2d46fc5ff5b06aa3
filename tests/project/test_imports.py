"""What an import costs, and who may import whom."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import popglm

SOURCE = Path(popglm.__file__).parent
MODULES = {path.stem: ast.parse(path.read_text("utf8")) for path in SOURCE.glob("*.py") if path.stem != "__init__"}


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


# Who may import whom: a module on the left sees those on its right, and nothing else of the package.
ALLOWED = {
    "_pynapple": set(),
    "_check": set(),
    "_check_arrays": {"_check", "_pynapple"},
    "_check_times": {"_pynapple"},
    "_check_index": set(),
    "_check_model": {"_check_arrays"},
    "_check_runs": {"_check_model"},
    "_check_plots": {"_check_arrays"},
    "_check_penalties": {"_check", "_check_arrays"},
    "_check_splits": {"_check"},
    "_settings": {"_check", "_check_arrays", "_check_penalties"},
    "_file": {"_check_runs"},
    "_checkpoint": {"_check_runs", "_design", "_file", "_pynapple"},
    "_convolve": set(),
    "_design": {"_check_arrays", "_convolve"},
    "_check_bases": {"_check"},
    "_terms": {"_check_arrays", "_design"},
    "_lazy": {"_check_index", "_check_times", "_design", "_pynapple", "_terms"},
    "_data": {"_check_arrays", "_check_times", "_design", "_lazy", "_pynapple"},
    "_objective": set(),
    "_ask_tell": set(),
    "_proximal": {"_ask_tell"},
    "_rank": set(),
    "_precondition": {"_ask_tell", "_objective", "_proximal", "_rank"},
    "_separation": set(),
    "_scale": {"_design", "_objective", "_separation"},
    "_fit": {"_ask_tell", "_check_arrays", "_design", "_objective", "_precondition", "_scale"},
    "links": {"_settings"},
    "_jaxopt": {"_check_arrays", "_check_model", "_design", "_objective", "_rank", "_scale", "_settings"},
    "_score": {"_check_arrays", "_design", "_objective", "_settings"},
    "observation_models": {"_settings", "links"},
    "regularizer": {"_check_penalties"},
    "_shapes": {"_check_bases"},
    "_transformer": {"_check_arrays", "_check_bases", "_check_times", "_lazy", "_pynapple"},
    "_basis": {
        "_check",
        "_check_arrays",
        "_check_bases",
        "_check_index",
        "_design",
        "_pynapple",
        "_terms",
        "_transformer",
    },
    "_conv": {"_basis", "_check_bases", "_check_times", "_design", "_pynapple", "_shapes", "_terms"},
    "_eval": {"_basis", "_check_arrays", "_check_bases", "_check_times", "_design", "_pynapple", "_shapes", "_terms"},
    "basis": {"_basis", "_conv", "_eval", "_lazy"},
    "batching": {"_check", "_check_index", "_check_times", "_data", "_design", "_pynapple"},
    "_sample": {"_ask_tell", "_design", "_fit", "_objective", "_precondition"},
    "_batch_state": {"_ask_tell", "_objective", "_precondition", "_sample", "_scale"},
    "_first_pass": {"_batch_state", "_design", "_fit", "_objective", "_precondition", "_sample"},
    "_batches": {
        "_ask_tell",
        "_batch_state",
        "_check_arrays",
        "_design",
        "_first_pass",
        "_fit",
        "_objective",
        "_precondition",
        "_sample",
        "_scale",
    },
    "_run": {
        "_batch_state",
        "_batches",
        "_check",
        "_check_runs",
        "_checkpoint",
        "_design",
        "_first_pass",
        "_jaxopt",
        "_objective",
        "batching",
    },
    "_steps": {"_check", "_check_arrays", "_check_model", "_data", "_design", "_jaxopt", "_objective"},
    "_check_simulation": {"_check", "_check_arrays", "_pynapple"},
    "_draw": {"_check_simulation", "_design", "observation_models"},
    "_rollout": {"_check_simulation", "_design", "_draw"},
    "_recurrence": {
        "_basis",
        "_check_bases",
        "_check_simulation",
        "_conv",
        "_data",
        "_design",
        "_objective",
        "_rollout",
    },
    "_mean_field": set(),
    "_simulate": {
        "_check",
        "_check_model",
        "_check_simulation",
        "_check_times",
        "_estimator",
        "_mean_field",
        "_pynapple",
        "_recurrence",
        "_rollout",
        "_settings",
    },
    "_fit_batches": {
        "_batches",
        "_check",
        "_check_arrays",
        "_check_model",
        "_check_penalties",
        "_check_runs",
        "_checkpoint",
        "_data",
        "_fit",
        "_run",
        "_settings",
        "_steps",
        "batching",
    },
    "simulation": {
        "_check",
        "_check_bases",
        "_check_simulation",
        "_pynapple",
        "_rollout",
        "_settings",
        "_simulate",
        "links",
        "observation_models",
    },
    "_fit_path": {"_check", "_check_model", "_check_penalties", "_data", "_design", "_fit"},
    "_predict": {
        "_check",
        "_check_model",
        "_data",
        "_design",
        "_draw",
        "_objective",
        "_pynapple",
        "_scale",
        "_score",
        "_settings",
    },
    "_estimator": {
        "_check",
        "_check_arrays",
        "_check_model",
        "_check_penalties",
        "_check_runs",
        "_checkpoint",
        "_data",
        "_design",
        "_fit",
        "_fit_batches",
        "_fit_path",
        "_jaxopt",
        "_objective",
        "_predict",
        "_scale",
        "_settings",
        "_steps",
        "links",
        "observation_models",
        "regularizer",
    },
    "glm": {"_estimator", "_fit_path"},
    "_splits": {"_check", "_check_splits", "_check_times", "_lazy", "_pynapple"},
    "_cross_validation": {
        "_check",
        "_check_model",
        "_check_splits",
        "_estimator",
        "_data",
        "_design",
        "_lazy",
        "_objective",
        "_scale",
        "_splits",
    },
    "model_selection": {"_cross_validation", "_splits"},
    "_check_inference": {"_check", "_check_arrays"},
    "_information": {"_design", "_objective"},
    "_uncertainty": {"_check", "_check_inference", "_information", "_rank"},
    "_maximum": {
        "_check_inference",
        "_check_model",
        "_data",
        "_design",
        "_estimator",
        "_information",
        "_pynapple",
        "observation_models",
    },
    "_likelihood_ratio": {
        "_check_inference",
        "_check_model",
        "_design",
        "_maximum",
        "_objective",
        "_rank",
        "_uncertainty",
        "glm",
    },
    "inference": {
        "_check",
        "_check_inference",
        "_data",
        "_design",
        "_information",
        "_lazy",
        "_likelihood_ratio",
        "_maximum",
        "_pynapple",
        "_separation",
        "_uncertainty",
    },
    "_rescale": set(),
    "assessment": {
        "_check",
        "_check_arrays",
        "_check_model",
        "_check_plots",
        "_estimator",
        "_objective",
        "_pynapple",
        "_rescale",
        "_score",
        "_settings",
        "observation_models",
    },
    "plotting": {"_check", "_check_inference", "_check_plots", "_pynapple"},
    "io": {"_check", "_check_runs", "_estimator", "_file", "basis", "glm", "links"},
}
ONLY_HERE = {"jaxopt": "_jaxopt", "pynapple": "_pynapple", "matplotlib": "plotting"}


def imported(tree):
    """Names of all modules that a file imports, at its top or later: (name, at the top)."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "popglm":
            names = [f"popglm.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write absolute imports"
            names = [node.module]
        yield from ((name, node in tree.body) for name in names)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name):
    inside = {module.split(".")[1] for module, _ in imported(MODULES[name]) if module.startswith("popglm.")}
    assert name in ALLOWED, f"say in this test what {name} imports"
    assert inside == ALLOWED[name]


def test_the_allowed_directions_have_no_cycle():
    done = set()
    while len(done) < len(ALLOWED):
        ready = {name for name, uses in ALLOWED.items() if uses <= done} - done
        assert ready, f"a cycle among {set(ALLOWED) - done}"
        done |= ready


@pytest.mark.parametrize("name", MODULES)
def test_heavy_packages_have_one_place_each_and_load_late(name):
    for module, at_top in imported(MODULES[name]):
        package = module.split(".")[0]
        if package in ONLY_HERE:
            assert name == ONLY_HERE[package] and not at_top
