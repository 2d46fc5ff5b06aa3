"""Files about the repository agree: version and dates, hooks and checks, what is built and what is released."""

import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

from tests import lint, release

ROOT = Path(__file__).parents[2]
CHANGES = (ROOT / "CHANGELOG.md").read_text("utf8")
DATED = re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", CHANGES, re.M)


def test_version_and_date_are_the_same_everywhere():
    assert release.check_release(f"v{release.read_version()}") == []


@pytest.mark.parametrize(
    ("tag", "file", "before", "after", "message"),
    [
        ("v9.9.9", "CITATION.cff", "", "", "the tag must be v"),
        (None, "CITATION.cff", "\nversion: ", "\nversion: 1", "CITATION.cff must have"),
        (None, "CITATION.cff", "date-released: ", "date-released: 1", "CITATION.cff must have"),
        (None, "CHANGELOG.md", "## 0", "## 1", "CHANGELOG.md must be"),
    ],
)
def test_a_tag_that_does_not_fit_is_refused(tmp_path, monkeypatch, tag, file, before, after, message):
    for name in ("CITATION.cff", "CHANGELOG.md", "pyproject.toml"):
        text = (ROOT / name).read_text("utf8")
        (tmp_path / name).write_text(text.replace(before, after, 1) if name == file else text, "utf8")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    assert message in release.check_release(tag or f"v{release.read_version()}")[0]


def test_the_changelog_is_in_order():
    assert CHANGES.count("\n## ") == len(DATED) + 1 and CHANGES.index("## Unreleased") < CHANGES.index("## 0")
    days = [date.fromisoformat(day) for _, day in DATED]
    assert days == sorted(days, reverse=True)
    sections = re.findall(r"^### (.*)$", CHANGES, re.M)
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_hooks_are_the_checks_of_lint():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf8"))["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["entry"] == ".venv/bin/python tests/lint.py" and hook["language"] == "system"
        assert hook["args"] == [hook["name"]] and hook["always_run"] and not hook["pass_filenames"]
    assert [hook["name"] for hook in repository["hooks"]] == list(lint.CHECKS)
    recipe = (ROOT / "Makefile").read_text("utf8").split("\nlint:")[1].split("\n\n")[0]
    assert recipe.splitlines()[1:] == ["\t$(BIN)/python tests/lint.py"]


def test_lint_refuses_a_check_that_it_does_not_have():
    run = subprocess.run([sys.executable, ROOT / "tests/lint.py", "stile"], capture_output=True, text=True)
    assert run.returncode == 2 and "no check stile; the checks are style, layout" in run.stdout


def test_a_release_publishes_what_was_built_and_tested():
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf8"))["jobs"]
    commands = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert commands == ["make PYTHON=python env", 'make TAG="$GITHUB_REF_NAME" dist']
    assert jobs["publish"]["needs"] == "build" and not any("run" in step for step in jobs["publish"]["steps"])
    assert all((ROOT / "tests" / file).is_file() for file in release.LAWS)


def test_blame_passes_over_commits_that_exist():
    lines = (ROOT / ".git-blame-ignore-revs").read_text("utf8").splitlines()
    commits = [line for line in lines if line and not line.startswith("#")]
    assert commits and all(re.fullmatch("[0-9a-f]{40}", commit) for commit in commits)
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    if git("rev-parse", "--is-shallow-repository").stdout.strip() == "false":
        assert all(git("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0 for commit in commits)


def test_the_page_on_help_names_what_the_forms_ask_for():
    """Titles of the forms of issues, and the versions that the form for bugs asks for; Binder installs what pages need."""
    page = (ROOT / "book/reference/getting_help.md").read_text("utf8")
    forms = {
        path.stem: yaml.safe_load(path.read_text("utf8")) for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")
    }
    assert all(f"| {form['name']} |" in page for form in forms.values())
    asked = forms["bug"]["body"][-1]["attributes"]["description"]
    names = re.findall(r"[a-z]+\.[a-z_]+", asked.split("print(")[1])
    assert len(names) == 6 and all(name.replace("numpy.", "np.") in page for name in names)
    assert (ROOT / ".binder/requirements.txt").read_text("utf8").split() == [".[notebooks]"]


def test_the_newest_sphinx_gets_what_the_extra_of_the_book_names():
    """All but Jupyter Book itself, and what it brings along."""
    needs = set((ROOT / "tests/newest/requirements.txt").read_text("utf8").split("\n")[1:]) - {""}
    book = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]["optional-dependencies"]["book"]
    assert {need for need in book if not need.startswith(("popglm", "jupyter-book"))} < needs
    assert "make PYTHON=python sphinx-newest" in (ROOT / ".github/workflows/ci.yml").read_text("utf8")
