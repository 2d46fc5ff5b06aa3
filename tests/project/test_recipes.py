"""The recipes are right: done to a copy of the repository, their tests pass, and notice the faults that they name."""

import os
import re
import runpy
import shlex
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


def faults_of(root):
    return {
        name: fault for path in root.glob("tests/*/faults.py") for name, fault in runpy.run_path(path)["FAULTS"].items()
    }


def start(root, *arguments):
    """Start Python in a copy of the repository."""
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A copy in which all recipes were followed, another with their faults, and the arguments of their tests."""
    right, wrong = (tmp_path_factory.mktemp(name) / "copy" for name in ("right", "wrong"))
    ignore = shutil.ignore_patterns("__pycache__", "v0.*", "canaries")
    for folder in ("src", "tests", "book/reference"):
        shutil.copytree(ROOT / folder, right / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", right)
    files, words = [], []
    for path in RECIPES:
        recipe = path.read_text("utf8")
        follow(recipe, right)
        command = re.search(r"^\.venv/bin/python -m pytest -q (.*) -k (.*)$", recipe, re.MULTILINE)
        files += command[1].split()
        words += shlex.split(command[2])
    shutil.copytree(right, wrong)
    new = {name: fault for name, fault in faults_of(right).items() if name not in faults_of(ROOT)}
    for fault in new.values():
        file = wrong / "src/popglm" / fault.file
        assert file.read_text("utf8").count(fault.right) == 1, fault
        file.write_text(file.read_text("utf8").replace(fault.right, fault.wrong), "utf8")
    return right, wrong, new, ["pytest", "-q", "-p", "no:cacheprovider", *files, "-k", " or ".join(words)]


def test_recipes_work_and_their_faults_are_noticed(done):
    """In two processes at a time; every recipe has a fault, and new code is as lint wants it."""
    right, wrong, faults, tests = done
    passing, failing = start(right, *tests), start(wrong, *tests, "--tb=no", "-rf")
    output, failures = passing.communicate()[0], failing.communicate()[0]
    assert passing.returncode == 0, output[-5000:]
    named = [name for path in RECIPES for name in faults if name in path.read_text("utf8")]
    assert len(named) == len(faults) == len(RECIPES)
    for fault in faults.values():
        assert re.search(rf"^FAILED tests/{fault.tests}::\w*{fault.select}", failures, re.MULTILINE), failures
    for check in (["check"], ["format", "--check"]):
        ruff = start(right, "ruff", *check, "src", "tests")
        assert ruff.wait() == 0, ruff.stdout.read()


def test_a_recipe_whose_line_is_gone_fails(tmp_path):
    (tmp_path / "a.py").write_text("one = 1\n")
    recipe = "In `a.py`, after the line `{}`:\n\n```python\ntwo = 2\n```\n"
    follow(recipe.format("one = 1"), tmp_path)
    assert (tmp_path / "a.py").read_text() == "one = 1\ntwo = 2\n"
    with pytest.raises(AssertionError, match="has 0 times the line: one = 3"):
        follow(recipe.format("one = 3"), tmp_path)
    with pytest.raises(AssertionError, match="says no place"):
        follow(recipe.replace("after the line", "somewhere near"), tmp_path)
