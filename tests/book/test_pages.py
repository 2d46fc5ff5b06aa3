"""The tests of the pages are themselves tested: on pages that must fail, and on which pages they find."""

import re
import shutil
import subprocess
import sys

import prose
import pytest
import yaml
from builds import HEAD, ROOT

from tests.plugin_pages import EXECUTED

PAGES = sorted((ROOT / "book").rglob("*.md"))
GLOSSARY = prose.read_glossary((ROOT / "book/reference/glossary.md").read_text("utf8"))
STATUS = ROOT / "book/reference/status.md"  # a table about the build, not a lesson
LESSONS = [page for page in PAGES if page.read_text("utf8").startswith(HEAD) and page != STATUS]
BOX = re.compile(
    r":::\{admonition\} Before you start\n:class: note\n\*\*You need\*\*\s.*\*\*Reading\*\*\s.*"
    r"\bminutes?\b.*\*\*running\*\*\s.*\b(second|minute)s?\b.*\n:::",
    re.DOTALL,
)


def run(*arguments):
    """Run pytest on pages, as `make test` does."""
    command = [sys.executable, "-m", "pytest", "-q", "--nbmake", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("raises", "this page raises on purpose"),
        ("asserts", "this hidden assertion fails on purpose"),
        ("warns", "this page warns on purpose"),
    ],
)
def test_canary_fails(page, message):
    """Trap 8: a page that raises, one whose hidden assertion fails, and one that shows a warning."""
    done = run(f"tests/canaries/{page}.md")
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout
    assert message in done.stdout


def test_page_passes():
    """Trap 8: the same machinery passes a sound page, run in its own folder."""
    done = run("tests/canaries/passes.md")
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
    assert not list(EXECUTED.glob("*canaries*")), "only pages of the book are kept for its build"


def test_every_notebook_is_collected():
    """Trap 8: the pages with code are those that pytest finds, and nothing else."""
    found = set(re.findall(r"^(book/\S+\.md)::", run("--collect-only", "book").stdout, re.MULTILINE))
    notebooks = {str(page.relative_to(ROOT)) for page in PAGES if "```{code-cell}" in page.read_text("utf8")}
    assert found == notebooks and len(found) >= 3


def test_every_page_is_in_the_table_of_contents():
    """A page that is not in _toc.yml would never be built."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    files = [toc["root"], *(page["file"] for chapter in chapters for page in (chapter, *chapter.get("sections", [])))]
    assert sorted(files) == sorted(str(page.relative_to(ROOT).with_suffix("")) for page in PAGES)


def git(root, *words):
    """Return what git says in a repository."""
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout


def find_lost_addresses(root):
    """Return pages that git knows, that are gone, and that have no redirect to a page of the book."""
    log = git(root, "log", "--diff-filter=DR", "--name-status", "--format=", "--", "book")
    old = {line.split("\t")[1] for line in log.splitlines()}
    gone = {name for name in old if name.endswith(".md") and not (root / name).exists()}
    moved = yaml.safe_load((root / "book/redirects.yml").read_text("utf8")) or {}
    return sorted(gone - {f"{name}.md" for name, new in moved.items() if (root / f"{new}.md").exists()})


def test_pages_that_moved_have_redirects():
    """Links from elsewhere lead to the page, wherever it is now."""
    if shutil.which("git") is None or git(ROOT, "rev-parse", "--is-shallow-repository").strip() != "false":
        pytest.skip("needs the history of the repository")
    assert find_lost_addresses(ROOT) == []


def test_a_page_that_moves_without_a_redirect_is_noticed(tmp_path):
    """Renamed, deleted, or led to a page that does not exist."""
    (tmp_path / "book").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / f"book/{name}.md").write_text(f"# Page {name}\n")
    redirects = tmp_path / "book/redirects.yml"
    redirects.write_text("{}\n")
    git(tmp_path, "init", "--quiet")
    commit = ["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "--quiet", "--all", "--message", "x"]
    git(tmp_path, "add", ".")
    git(tmp_path, *commit)
    git(tmp_path, "mv", "book/a.md", "book/new.md")
    git(tmp_path, "rm", "--quiet", "book/b.md")
    git(tmp_path, *commit)
    assert find_lost_addresses(tmp_path) == ["book/a.md", "book/b.md"]
    redirects.write_text("book/a: book/new\nbook/b: book/absent\n")
    assert find_lost_addresses(tmp_path) == ["book/b.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_is_plain(page):
    """Front matter as short as Jupytext needs; no raw HTML, no magics, no glue."""
    text = page.read_text("utf8")
    assert not text.startswith("---") or text.startswith(HEAD.rstrip() + "\n\n# ")
    prose = re.sub(r"^(`{3,}|:{3,}).*?^\1$|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"</?[a-z][a-z0-9]*[ >/]", prose), "raw HTML"
    assert not re.search(r"^\s*[%!]\w+|\bglue\(|```\{(glue|raw)\}", text, re.MULTILINE)


def name_page(page):
    """Return a page's name for the report."""
    return page.stem


BAD_PAGE = """# A page
## {heading}
{prose}
```{{code-cell}} ipython3
---
nbmake: {{post_cell_execute: [of = "a hidden hook may be as long as it likes, and name its values as it likes"]}}
---
{code}
```
"""


@pytest.mark.parametrize(
    ("find", "wrong"),
    [
        (prose.find_long_lines, {"code": f"x = '{70 * 'x'}'"}),
        (prose.find_poor_names, {"code": "for of in range(3): pass"}),
        (prose.find_poor_names, {"code": "def filters_of(x): pass"}),
        (prose.find_poor_names, {"code": "double = lambda seen: 2 * seen"}),
        (prose.find_odd_figures, {"code": "plt.figure(figsize=(7.2, 3))"}),
        (prose.find_odd_figures, {"code": "ax.legend(fontsize=9.5)"}),
        (prose.find_odd_headings, {"heading": "The Fit"}),
        (prose.find_odd_headings, {"heading": "Does it live?"}),
        (prose.find_idioms, {"prose": "On the data\nof the fit."}),
    ],
)
def test_lints_notice(find, wrong):
    """A lint returns what is wrong with a page, and nothing of one that is right, whatever its hidden hooks say."""
    right = {"heading": "How large is X", "prose": "We recommend it.", "code": "plt.figure(figsize=(7, 3), dpi=100)"}
    assert find(BAD_PAGE.format(**right)) == []
    assert len(find(BAD_PAGE.format(**right | wrong))) == 1


@pytest.mark.parametrize("page", PAGES, ids=name_page)
@pytest.mark.parametrize(
    "find",
    [prose.find_long_lines, prose.find_poor_names, prose.find_odd_figures, prose.find_odd_headings, prose.find_idioms],
)
def test_page_is_readable(page, find):
    """Code lines fit, values are named by nouns, figures are legible on a phone, headings and sentences are plain."""
    found = find(page.read_text("utf8"))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", LESSONS, ids=name_page)
def test_lesson_begins_with_its_box_and_ends_with_the_next_page(page):
    """Before the first section stand what is needed and how long it takes; the last paragraph leads on."""
    text = page.read_text("utf8")
    assert BOX.search(text.split("\n## ")[0]), "no box with what is needed, and the minutes"
    last = text.rstrip().split("\n\n")[-1]
    assert last.startswith("Next: "), last
    links = re.findall(r"\]\(([\w./-]+?)(?:\.md)?(?:#[\w-]+)?\)", last)
    targets = [(page.parent / f"{link}.md").resolve() for link in links]
    assert targets and all(target.exists() and target != page for target in targets), links


def test_glossary_defines_terms_in_order():
    """A definition is short, links to the page that teaches the term, and uses only terms above it: none goes in a circle."""
    known, wrong = set(), []
    for term, definition in GLOSSARY.items():
        sentences = len(re.findall(r"[.?](?=\s|$)", definition))
        taught = re.search(r"\]\(\.\./[\w/]+\)\.$", definition.strip())
        if not taught or sentences > 4 or not prose.read_terms(definition) <= known:
            wrong.append(term)
        known.add(term)
    assert len(known) >= 61 and not wrong, "\n".join(wrong)


def test_terms_that_pages_use_are_defined():
    """A link to a term leads somewhere."""
    terms = {page.stem: prose.read_terms(page.read_text("utf8")) for page in PAGES}
    missing = [f"{page}: {term}" for page in terms for term in sorted(terms[page] - set(GLOSSARY))]
    assert not missing, "\n".join(missing)


def test_terms_of_the_glossary_are_used():
    """Every term is linked from a page."""
    used = set().union(*(prose.read_terms(page.read_text("utf8")) for page in PAGES if page.stem != "glossary"))
    unused = [term for term in GLOSSARY if term not in used]
    assert not unused, "\n".join(unused)


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_links_to_pages_are_not_names_of_something_else(page):
    """MyST cannot tell the page `regularisation` from the term of this name; `regularisation.md` is the page."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf8"))
    assert [link for link in links if link.lower() in {*GLOSSARY, "simulate", "uncertainty"}] == []


@pytest.mark.parametrize("page", LESSONS, ids=name_page)
def test_solutions_are_folded_and_asserted(page):
    """Each exercise has a solution in a folded cell, which checks its own result in sight."""
    n_exercises, solutions = prose.read_exercises(page.read_text("utf8"))
    assert n_exercises == len(solutions)
    for cell in solutions:
        assert "hide-cell" in cell.options and re.search(r"^ *assert ", cell.code, re.MULTILINE), cell.code


def test_six_pages_have_exercises():
    """Readers try what they read."""
    pages = [page.stem for page in LESSONS if prose.read_exercises(page.read_text("utf8"))[0]]
    assert len(pages) >= 6, pages
