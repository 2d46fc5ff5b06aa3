"""The book itself, built strictly by both programs that build it."""

import importlib
import pickle
import re
import shutil
from pathlib import Path

import jupytext
import nbformat
import pytest
from builds import ROOT, build
from sphinx.util.inventory import InventoryFile

import popglm

NOTEBOOKS = [page for page in sorted((ROOT / "book").rglob("*.md")) if "```{code-cell}" in page.read_text("utf8")]
GUIDE = "_static/thumbnails/how_to_guide/plot_04_batch_glm.svg"


@pytest.fixture(scope="module")
def first():
    """Build the book as a reader of a fresh checkout does; pages that were executed as tests are not run again."""
    for name in ["html", ".doctrees", "jupyter_execute"]:
        shutil.rmtree(ROOT / "_build" / name, ignore_errors=True)
    done = build(ROOT)
    assert not done.problems
    return done


@pytest.fixture(scope="module")
def readthedocs(first, tmp_path_factory):
    """Build the book as Read the Docs does."""
    done = build(ROOT, readthedocs=tmp_path_factory.mktemp("readthedocs"))
    assert not done.problems
    return done


def test_second_build_is_quick_and_runs_nothing(first):
    """Trap 1: 15 s is the aim; it fails at eight times that, since a slow machine is no fault."""
    second = build(ROOT)
    assert not second.problems
    assert second.executed == []
    assert second.seconds < 120


def test_thumbnails(first, readthedocs):
    """Trap 10: each page with a tag has its thumbnail, whichever program builds; the guide's keeps its place."""
    tagged = [
        page for page in NOTEBOOKS if re.search(r"^(:?tags: .*|- )\bthumbnail\b", page.read_text("utf8"), re.MULTILINE)
    ]
    folder = first.html / "_static" / "thumbnails"
    pages = {file.relative_to(folder).with_suffix("") for file in folder.rglob("*") if file.is_file()}
    assert pages == {page.relative_to(ROOT / "book").with_suffix("") for page in tagged}
    assert (first.html / GUIDE).read_bytes() == (readthedocs.html / GUIDE).read_bytes()


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_download_has_outputs(first, readthedocs, page):
    """Trap 4: whether the page was executed or cached."""
    for html in [first.html, readthedocs.html]:
        file = html / "_sources" / page.relative_to(ROOT).with_suffix(".ipynb")
        notebook = nbformat.read(file, 4)
        nbformat.validate(notebook)
        assert any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_download_is_plain_and_its_links_lead_to_pages(first, page):
    """Nothing of MyST is left; the code is that of the page; a link has its page, and the place on it."""
    file = first.html / "_sources" / page.relative_to(ROOT).with_suffix(".ipynb")
    cells = nbformat.read(file, 4).cells
    code = [cell.source for cell in jupytext.reads(page.read_text("utf8"), "md:myst").cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells if cell.cell_type == "code"] == code
    for cell in (cell for cell in cells if cell.cell_type == "markdown"):
        text = re.sub(r"^```.*?^```$|(`+).+?\1|(\$+)[^$]+\2", "", cell.source, flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"^:::|^\([\w-]+\)=|^\+\+\+|\{[\w:-]+\}", text, re.MULTILINE), text
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if not link.startswith("http"):
                target, _, place = link.partition("#")
                html = (file.parent / target).read_text("utf8")
                assert not place or f'id="{place}"' in html, link


def test_every_public_name_is_documented(first):
    """Traps 3 and 5: objects.inv, by which other books link here, holds what `__all__` of each module names."""
    names = {"popglm.cache"}
    for module in ["popglm", *(f"popglm.{name}" for name in popglm._MODULES)]:
        public = importlib.import_module(module)
        names |= {module} | {f"{module}.{name}" for name in public.__all__}
    with (first.html / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    documented = {name for kind, objects in inventory.items() if kind.startswith("py:") for name in objects}
    assert names <= documented, f"missing on the pages of book/reference/api: {sorted(names - documented)}"


def test_both_configurations_are_equal(first, readthedocs):
    """Trap 9: what Sphinx was told by jupyter-book and by conf.py, value by value."""
    # One is absolute in one route; the other is LaTeX's, which the book is not built with.
    elsewhere = {"external_toc_path", "latex_documents"}

    def values(file):
        config = pickle.loads(file.read_bytes()).config
        told = {name: config[name] for name in config.values if name not in elsewhere}
        return told | {"html_static_path": {Path(folder).resolve() for folder in told["html_static_path"]}}

    ours = values(ROOT / "_build/.doctrees/environment.pickle")
    theirs = values(readthedocs.html.parent / "doctrees/environment.pickle")
    assert {name: (ours[name], theirs.get(name)) for name in ours if ours[name] != theirs.get(name)} == {}


def test_pages_need_no_network_and_tell_no_paths(first):
    """Traps 2, 6, 7, 12: nothing is loaded from another host; no path of this machine is shown."""
    for file in first.html.rglob("*.html"):
        text = file.read_text("utf8")
        loaded = re.findall(r'<(?:script|img|link|iframe|source)\b[^>]*(?:src|href)="((?:https?:)?//[^"]+)"', text)
        assert loaded == [], file
        assert str(ROOT) not in text, file
    assert (first.html / "_static/mathjax/tex-chtml.js").is_file()
    assert not list(first.html.rglob("*pytest_cache*")) and not (first.html / "README.html").exists()
