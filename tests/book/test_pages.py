"""The tests of the pages are themselves tested: on pages that must fail, and on which pages they find."""

import re
import subprocess
import sys

import pytest
import yaml
from builds import HEAD, ROOT

from tests.plugin_pages import EXECUTED

PAGES = sorted((ROOT / "book").rglob("*.md"))


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
