"""`popglm.cache`: what one process has compiled, the next one reads; the folder; bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from messages import SOURCE, assert_refused

import popglm
from popglm._files.cache import _user_cache_folder

FIT = """
import sys, json, jax
counts = {"cache_hits": 0, "cache_misses": 0}
def count(event, **kwargs):
    name = event.rsplit("/", 1)[-1]
    counts[name] = counts.get(name, 0) + 1
jax.monitoring.register_event_listener(count)
before = jax.jit(lambda x: x + 1)(0)  # JAX has looked at its options already
import popglm
folder = popglm.cache(*sys.argv[1:])
import numpy as np
from popglm.glm import PopulationGLM
rng = np.random.default_rng(0)
model = PopulationGLM().fit(rng.normal(size=(200, 3)), rng.poisson(0.3, (200, 2)))
print(json.dumps([str(folder), counts["cache_hits"], counts["cache_misses"], model.coef_.tolist()]))
"""


def fit_in_a_process(*arguments, **environment):
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", FIT, *arguments], capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(SOURCE.parent), "PATH": "", "JAX_PLATFORMS": "cpu", **environment},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return *json.loads(process.stdout.splitlines()[-1]), process.stderr


def test_the_second_process_compiles_nothing(tmp_path):
    """Without an argument, in the user's folder of caches; nothing is printed, and the numbers are the same bits."""
    environment = {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "caches")}
    folder, hits, misses, coef, _ = fit_in_a_process(**environment)
    assert Path(folder).is_relative_to(tmp_path) and any(Path(folder).iterdir())
    assert hits == 0 and misses >= 3
    again, hits, new, same_coef, errors = fit_in_a_process(folder)
    assert (again, hits, new, same_coef, errors) == (folder, misses, 0, coef, "")


@pytest.fixture
def options(monkeypatch):
    """Options that `cache` sets, recorded and not set."""
    found = {}
    monkeypatch.setattr(jax.config, "update", found.__setitem__)
    return found


def test_the_folder_is_made_and_returned(tmp_path, options):
    folder = popglm.cache(tmp_path / "new" / "folder")
    assert folder == tmp_path / "new" / "folder" and folder.is_dir()
    assert options["jax_compilation_cache_dir"] == str(folder)
    assert options["jax_persistent_cache_min_compile_time_secs"] == 0


@pytest.mark.parametrize("known", ["{}/own", "gs://lab/programs"])
def test_the_folder_that_jax_has_is_kept(tmp_path, options, monkeypatch, known):
    known = known.format(tmp_path)
    monkeypatch.setitem(jax.config.values, "jax_compilation_cache_dir", known)
    monkeypatch.setattr(type(jax.config), "jax_compilation_cache_dir", known, raising=False)
    assert popglm.cache() == Path(known)
    assert options["jax_compilation_cache_dir"] == known


@pytest.mark.parametrize("platform, end", [
    ("linux", "caches/popglm"), ("darwin", "Library/Caches/popglm"), ("win32", "local/popglm/Cache"),
])  # fmt: skip
def test_the_folder_of_each_system(monkeypatch, tmp_path, platform, end):
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in {"XDG_CACHE_HOME": "caches", "LOCALAPPDATA": "local", "HOME": "."}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert _user_cache_folder().as_posix().endswith(end)


@pytest.mark.parametrize("folder, error, message", [
    (3, TypeError, "`folder` must be the path of a folder, such as 'compiled'; got 3"),
    (b"x", TypeError, "must be the path"),
    ("gs://lab/x", ValueError, "must be a folder of this machine; got 'gs://lab/x'. Give such an address to JAX"),
    ("{}/file", ValueError, "is a file. Give another path"),
    ("{}/file/below", ValueError, "cannot be made: .* Give another path"),
    ("nul\0", ValueError, "cannot be made"),
])  # fmt: skip
def test_bad_folders_are_refused(s, tmp_path, options, folder, error, message):
    (tmp_path / "file").write_text("")
    folder = folder.format(tmp_path) if isinstance(folder, str) else folder
    assert_refused(s, lambda s: popglm.cache(folder), error, message)
    assert not options


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of Unix")
def test_a_folder_without_rights_is_refused(s, tmp_path, options, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root, who may write anywhere
    assert_refused(s, lambda s: popglm.cache(tmp_path), ValueError, "must be writable")
    assert not options
