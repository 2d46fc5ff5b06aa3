"""Every decision has the same form, is in the index once, and names only what exists."""

import re
from pathlib import Path
from pydoc import locate

import pytest

import popglm

ROOT, SOURCE = Path(__file__).parents[2], Path(popglm.__file__).parent
DECISIONS = sorted((ROOT / "decisions").glob("[0-9]*.md"))
INDEX = (ROOT / "decisions/README.md").read_text("utf8")
CODE = "\n".join(path.read_text("utf8") for path in SOURCE.rglob("*.py"))
FORMS = (["Question", "Numbers", "Answer", "Left out"], ["Question", "Answer", "Left out"])


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_sections_and_names_what_exists(path):
    text = path.read_text("utf8")
    title, *sections = re.split(r"^#+ (.*)\n", text, flags=re.MULTILINE)[1::2]
    assert sections in FORMS and text.startswith(f"# {title}\n") and not title.endswith((".", "?"))
    assert all(body.strip() for body in re.split(r"^#+ .*\n", text, flags=re.MULTILINE)[2:]), "an empty section"
    for name in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"[\w./-]+\.(py|json|md|toml|yml)", name):
            assert (ROOT / name).exists() or (SOURCE / name).exists(), f"there is no file {name}"
        elif re.fullmatch(r"popglm(\.\w+)+", name):
            assert locate(name) is not None, f"there is no {name}"
        elif re.fullmatch(r"_?[A-Z][A-Z_]+[A-Z]", name):
            assert re.search(rf"^{name}\b.* = ", CODE, re.MULTILINE), f"the package has no constant {name}"


def test_decisions_are_numbered_and_each_is_in_the_index_once():
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    titles = [path.read_text("utf8").split("\n")[0].removeprefix("# ") for path in DECISIONS]
    links = re.findall(r"^- \[(.+)\]\((.+)\)$", INDEX, re.MULTILINE)
    assert sorted(links) == sorted(zip(titles, (path.name for path in DECISIONS), strict=True))


def test_the_index_names_folders_of_the_package():
    headings = re.findall(r"^## (.*)$", INDEX, re.MULTILINE)
    names = [name for heading in headings for name in re.findall("`([^`]+)`", heading)]
    assert all((SOURCE / name).exists() for name in names) and len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "ARCHITECTURE.md", "recipes", "decisions"])
def test_links_lead_to_files(name):
    path = ROOT / name
    for file in sorted(path.glob("*.md")) if path.is_dir() else [path]:
        for link in re.findall(r"\]\(([^)]+)\)", file.read_text("utf8")):
            assert (file.parent / link).exists(), f"{file.name} links to {link}"


def test_what_contributors_read_first_is_one_screen():
    lines = (ROOT / "CONTRIBUTING.md").read_text("utf8").splitlines()
    assert len(lines) <= 60 and max(map(len, lines)) <= 130
