"""The recipes are right: done to a copy of the repository, their tests pass, and notice the faults that they name."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import ONE_THREAD

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("add-*.md"))
BLOCK = re.compile(
    r"^(?:New file `(?P<new>[^`]+)`|In `(?P<file>[^`]+)`, (?P<where>after|before|in place of) the line `(?P<line>[^`]+)`):\n\n"
    r"```(?:python|rst)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def follow(recipe, root):
    """Do what a recipe says to the copy in this folder."""
    blocks = list(BLOCK.finditer(recipe))
    assert len(blocks) == len(re.findall(r"^```(?:python|rst)$", recipe, re.MULTILINE)), "a block that says no place"
    for block in blocks:
        path = root / (block["new"] or block["file"])
        if block["new"]:
            assert not path.exists(), f"{block['new']} is there already"
            path.write_text(block["text"], "utf8")
            continue
        lines = path.read_text("utf8").splitlines(keepends=True)
        places = [i for i, line in enumerate(lines) if line.strip() == block["line"]]
        assert len(places) == 1, f"{block['file']} has {len(places)} times the line: {block['line']}"
        start = places[0] + (block["where"] == "after")
        lines[start : start + (block["where"] == "in place of")] = [block["text"]]
        path.write_text("".join(lines), "utf8")


def faults_in(root):
    """Return the named faults of a copy of the repository."""
    files = root.glob("tests/*/faults.py")
    return {name: fault for file in files for name, fault in runpy.run_path(str(file))["FAULTS"].items()}


def start(root, *arguments):
    """Start a module of Python in a copy of the repository."""
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=root, env=environment, **pipes)


def test_the_recipes_work_and_their_tests_notice_their_faults(tmp_path):
    """All recipes in one copy, all their faults in another; the new code is as lint wants it."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for folder in ("src", "tests", "book/reference"):
        shutil.copytree(ROOT / folder, right / folder, ignore=shutil.ignore_patterns("__pycache__", "v0.*"))
    shutil.copy(ROOT / "pyproject.toml", right)
    recipes = [path.read_text("utf8") for path in RECIPES]
    for recipe in recipes:
        follow(recipe, right)
    shutil.copytree(right, wrong)
    here = faults_in(ROOT)
    faults = {name: fault for name, fault in faults_in(right).items() if name not in here}
    assert all(sum(f'faults.py "{name}"' in recipe for name in faults) == 1 for recipe in recipes)
    for fault in faults.values():
        file = wrong / "src/popglm" / fault.file
        code = file.read_text("utf8")
        assert code.count(fault.right) == 1, fault
        file.write_text(code.replace(fault.right, fault.wrong), "utf8")

    commands = [re.search(r"^\.venv/bin/python -m pytest -q (.*) -k (.*)$", recipe, re.MULTILINE) for recipe in recipes]
    files, words = " ".join(c[1] for c in commands).split(), " or ".join(c[2].strip('"') for c in commands)
    passing = start(right, "pytest", "-q", *files, "-k", words)
    files, words = {f"tests/{f.tests}" for f in faults.values()}, " or ".join(f.select for f in faults.values())
    failing = start(wrong, "pytest", "-q", "-rf", "--tb=no", *files, "-k", words)
    output, failures = passing.communicate()[0], failing.communicate()[0]
    assert passing.returncode == 0, output[-5000:]
    unnoticed = [
        name for name, f in faults.items() if not re.search(rf"FAILED tests/{f.tests}::\w*{f.select}", failures)
    ]
    assert not unnoticed, failures
    for check in (["check"], ["format", "--check"]):
        ruff = start(right, "ruff", *check, "src", "tests")
        output = ruff.communicate()[0]
        assert ruff.returncode == 0, output


def test_a_recipe_whose_line_is_gone_fails(tmp_path):
    (tmp_path / "a.py").write_text("one = 1\n")
    recipe = "In `a.py`, after the line `{}`:\n\n```python\ntwo = 2\n```\n"
    follow(recipe.format("one = 1"), tmp_path)
    assert (tmp_path / "a.py").read_text() == "one = 1\ntwo = 2\n"
    with pytest.raises(AssertionError, match="has 0 times the line: one = 3"):
        follow(recipe.format("one = 3"), tmp_path)
    with pytest.raises(AssertionError, match="says no place"):
        follow(recipe.replace("after the line", "somewhere near"), tmp_path)
