"""The tests of the pages are themselves tested: on pages that must fail, and on which pages they find."""

import re
import subprocess
import sys

import pytest
import yaml
from builds import HEAD, ROOT
from prose import find_figure_widths, find_font_sizes, find_names, read_cells, read_glossary, read_headings, read_terms

from tests.plugin_pages import EXECUTED

PAGES = sorted((ROOT / "book").rglob("*.md"))
GLOSSARY = ROOT / "book/reference/glossary.md"
STATUS = ROOT / "book/reference/status.md"  # a table about the build, not a lesson
LESSONS = [page for page in PAGES if page.read_text("utf8").startswith(HEAD) and page != STATUS]
BOX = re.compile(
    r":::\{admonition\} Before you start\n:class: note\n\*\*You need\*\*\s.*\*\*Reading\*\*\s.*"
    r"\bminutes?\b.*\*\*running\*\*\s.*\b(second|minute)s?\b.*\n:::",
    re.DOTALL,
)
# Pronouns, prepositions, participles, adverbs and numbers say nothing as the name of a value.
NOT_NOUNS = """
    one some all any both each every other others many few none it them these whose same this that who what which where how
    of on at in off out by to from above below beside before after with without within under over inside outside
    seen told found kept given held shown taken left lost done made drawn wanted settled born known hidden missing removed
    used said read caught heard fitted missed moved asked chosen called worked passed stopped
    late early here there again now near far once apart alone enough exactly two three four five six seven eight nine ten
"""
ENDINGS = ("_of", "_on", "_at", "_in", "_to", "_by", "_from", "_with", "_for")
PROPER_NAMES = """
    Poisson Pearson Bernoulli Gaussian Gamma McFadden Cohen Newton Fisher Wald Fourier Python Phy Kilosort Windows Linux
"""
IDIOMS = re.compile(
    r"\bchance\s+comes\b|\bdata\s+of\s+the\s+fit\b|\bstays?\s+where\s+(it|they)\s+(is|are)\b|\bthe\s+patient\b|\bmend(s|ed|ing)?\b"
    r"|\btakes?\s+a\s+key\b|\bknows?\s+nothing\s+but\b|\blives?\s+like\b|\beveryone\s+hears?\b|\bof\s+which\s+no\b",
    re.IGNORECASE,
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
    files = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    assert sorted(files) == sorted(str(page.relative_to(ROOT).with_suffix("")) for page in PAGES)


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


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_code_fits_its_column(page):
    """A longer line is cut at the width of a laptop."""
    text = page.read_text("utf8")
    cells = read_cells(text)
    long = [cell.place(i) for cell in cells for i, line in enumerate(cell.code.splitlines(), 1) if len(line) > 70]
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    long += [line for block in blocks for line in block.splitlines() if len(line) > 70]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("page", LESSONS, ids=name_page)
def test_names_in_code_are_nouns(page):
    """A value is named by what it is: `result`, `table`, `intervals`."""
    wrong = [
        f"`{name}` in {cell.place(line)}"
        for cell in read_cells(page.read_text("utf8"))
        for name, line in find_names(cell.code)
        if name.lower() in NOT_NOUNS.split() or name.endswith(ENDINGS)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", LESSONS, ids=name_page)
def test_figures_have_one_of_two_widths(page):
    """The style's 6.2 inches for one panel, 7 for several, and letters of 11 points: then they are legible on a phone."""
    cells = read_cells(page.read_text("utf8"))
    widths = [(width, cell.place(line)) for cell in cells for width, line in find_figure_widths(cell.code)]
    sizes = [(size, cell.place(line)) for cell in cells for size, line in find_font_sizes(cell.code)]
    wrong = [place for width, place in widths if width not in (6.2, 7)] + [place for size, place in sizes if size < 11]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_headings_are_plain(page):
    """In sentence case; a question starts with its question word and says what it is about."""
    wrong = []
    for heading in read_headings(page.read_text("utf8")):
        words = re.findall(r"[\w-]+", re.sub(r"`[^`]*`|\$[^$]*\$|\"[^\"]*\"|\{[^}]*\}", "", heading))
        capitals = [w for w in words[1:] if w[0].isupper() and w[1:].islower() and w not in PROPER_NAMES.split()]
        capitals = [w for w in capitals if not re.search(rf"[:.?] {w}", heading)]
        riddle = heading.endswith("?") and (
            not re.match(r"(How|What|Which|Why|When|Where)\b", heading) or re.search(r"\b(it|they|them)\b", heading)
        )
        if capitals or riddle or re.match(r"[a-z]{2}", heading) or heading.endswith("."):
            wrong.append(heading)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_phrases_are_plain(page):
    """Not in the idiom that the book was first written in: "training data", "example", "fix"."""
    text = page.read_text("utf8")
    found = [f"line {text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}" for match in IDIOMS.finditer(text)]
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
    glossary = read_glossary(GLOSSARY)
    assert len(glossary) >= 61
    known, wrong = set(), []
    for term, definition in glossary.items():
        sentences = len(re.findall(r"[.?](?=\s|$)", definition))
        taught = re.search(r"\]\(\.\./[\w/]+\)\.$", definition.strip())
        if not taught or sentences > 4 or not read_terms(definition) <= known:
            wrong.append(term)
        known.add(term)
    assert wrong == []


def test_terms_that_pages_use_are_defined():
    """A link to a term leads somewhere."""
    glossary = read_glossary(GLOSSARY)
    missing = [f"{page.stem}: {term}" for page in PAGES for term in read_terms(page.read_text("utf8")) - set(glossary)]
    assert not missing, "\n".join(sorted(missing))


def test_terms_of_the_glossary_are_used():
    """A term that no page links to is not missed by any reader."""
    used = {term for page in PAGES if page != GLOSSARY for term in read_terms(page.read_text("utf8"))}
    unused = [term for term in read_glossary(GLOSSARY) if term not in used]
    assert not unused, "\n".join(unused)


def read_exercises(page):
    """Return the last section with exercises: how many tasks it has, and the cell after each solution."""
    section = re.search(r"^## Exercises\n(.*?)(?=^## |\Z)", page.read_text("utf8"), re.MULTILINE | re.DOTALL)
    if section is None:
        return 0, []
    parts = section[1].split("\n**Solution**\n")
    tasks = len(re.findall(r"^\*\*Exercise(?: \d+)?\.\*\*", section[1], re.MULTILINE))
    return tasks, [(read_cells(part) or [None])[0] for part in parts[1:]]


@pytest.mark.parametrize("page", LESSONS, ids=name_page)
def test_solutions_are_folded_and_asserted(page):
    """Each exercise has a solution in a folded cell, which checks its own result in sight."""
    tasks, solutions = read_exercises(page)
    assert tasks == len(solutions)
    assert all(
        cell and "hide-cell" in cell.options and re.search(r"^assert ", cell.code, re.MULTILINE) for cell in solutions
    )


def test_six_pages_have_exercises():
    """Reading is not yet knowing."""
    pages = [page.stem for page in LESSONS if read_exercises(page)[0]]
    assert len(pages) >= 6 and "what_is_a_glm" in pages, pages
