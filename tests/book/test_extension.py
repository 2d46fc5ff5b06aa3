"""The extension of the book, on a small book that the tests may change and break."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from builds import Build, build, write_page
from nbclient import NotebookClient
from popglm_book.buttons import book_address, repository
from popglm_book.kernel import kernel_environment

THUMBNAIL = "_static/thumbnails/part/figure.svg"
MEETING = """import time
from pathlib import Path

import popglm

print("begin", flush=True)
Path(f"{page}{{popglm.number}}").touch()
for _ in range(1000):
    if Path(f"{other}{{popglm.number}}").exists():
        break
    time.sleep(0.1)
else:
    raise RuntimeError("the other page does not run")
print("number", popglm.number)"""


def outputs(done, page="figure") -> str:
    """Return all that the downloadable notebook of a page shows."""
    notebook = nbformat.read(done.html / f"_sources/book/part/{page}.ipynb", 4)
    return json.dumps([cell.get("outputs") for cell in notebook.cells])


@pytest.fixture(scope="module")
def first(small_book):
    """Build the small book for the first time."""
    done = build(small_book)
    assert not done.problems
    done.thumbnail = (done.html / THUMBNAIL).read_bytes()
    return done


def test_first_build_runs_pages_and_writes_downloads_and_thumbnails(first):
    """Traps 4, 10, 11: a fresh build; the figure is an SVG without a date."""
    assert first.executed == ["figure"]
    assert "number 1" in outputs(first)
    assert "figure.ipynb" in (first.html / "book/part/figure.html").read_text()
    assert first.thumbnail.lstrip().startswith(b"<?xml") and b"<dc:date>" not in first.thumbnail


def test_unchanged_build_runs_nothing(first, small_book):
    """Traps 1 and 3: the second build takes everything from the cache, and resolves the same links."""
    again = build(small_book)
    assert not again.problems
    assert again.executed == []


def test_cleaned_build_has_outputs_and_thumbnail(first, small_book):
    """Traps 4 and 10: what was built is gone, the executions are not."""
    for name in ["html", ".doctrees", "jupyter_execute"]:
        shutil.rmtree(small_book / "_build" / name)
    again = build(small_book)
    assert not again.problems
    assert again.executed == []
    assert "number 1" in outputs(again)
    assert (again.html / THUMBNAIL).read_bytes() == first.thumbnail


def test_read_the_docs_writes_the_same(first, small_book, tmp_path):
    """Traps 9 and 10: `sphinx -b html`, into a folder outside of the checkout."""
    there = build(small_book, readthedocs=tmp_path)
    assert not there.problems
    assert (there.html / THUMBNAIL).read_bytes() == first.thumbnail
    assert "number 1" in outputs(there)
    assert (there.html / "index.html").is_file()


@pytest.mark.parametrize("file", ["src/popglm/__init__.py", "requirements.lock", "book/_ext/popglm_book/kernel.py"])
def test_change_runs_pages_again(first, small_book, file):
    """Trap 1: what the pages import, the versions, and the set-up of the kernels decide what is still valid."""
    path = small_book / file
    before = path.read_text()
    change = "number = 2\n" if "popglm" in path.parts else "# changed\n"
    path.write_text(before + change)
    again = build(small_book)
    path.write_text(before)
    assert not again.problems
    assert again.executed == ["figure"]
    assert ("number 2" if change.startswith("number") else "number 1") in outputs(again)
    assert (again.html / THUMBNAIL).read_bytes() == first.thumbnail, "figures must not depend on when they were drawn"


@pytest.mark.skipif(os.cpu_count() < 2, reason="a machine with one core runs one page at a time")
def test_pages_run_at_the_same_time(small_book, tmp_path):
    """Two pages that wait for each other both end; a change of the package makes both run again."""
    root = tmp_path / "meeting"
    shutil.copytree(small_book, root, ignore=shutil.ignore_patterns("_build"))
    for page, other in [("first", "second"), ("second", "first")]:
        write_page(root / f"book/part/{page}.md", page.title(), MEETING.format(page=page, other=other))
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n  - file: book/part/first\n  - file: book/part/second\n"
    )
    (root / "book/index.md").write_text("# Home\n")
    for number in (1, 2):
        (root / "src/popglm/__init__.py").write_text(f"number = {number}\n")
        done = build(root)
        assert not done.problems
        assert sorted(done.executed) == ["first", "second"]
        for page in ("first", "second"):
            assert outputs(done, page).count(f"number {number}") == 1  # a second piece of the output, merged or not


def test_gallery(first):
    """The card has title, line, picture and its text; a page without a picture still has its card."""
    cards = re.findall(r'<a class="book-card".*?</a>', (first.html / "book/index.html").read_text(), re.DOTALL)
    assert len(cards) == 2
    assert 'src="../_static/thumbnails/part/figure.svg" alt="A rising line."' in cards[0]
    assert (
        "Figure</span>" in cards[0] and "A line about it.</span>" in cards[0] and 'href="part/figure.html"' in cards[0]
    )
    assert "<img" not in cards[1] and "Plain</span>" in cards[1]


def test_mistakes_fail_the_build(small_book, tmp_path):
    """Traps 5 and 10: each mistake is named with its place, and the exit status is not 0."""
    broken = tmp_path / "broken"
    shutil.copytree(small_book, broken, ignore=shutil.ignore_patterns("_build"))
    index = broken / "book/index.md"
    index.write_text(index.read_text().replace("part/plain:", "part/absent:"))
    write_page(broken / "book/part/tagged.md", "Tagged", "1 + 1", tags="[thumbnail]")
    write_page(broken / "book/part/silent.md", "Silent", "import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    write_page(broken / "book/part/raises.md", "Raises", "1 / 0")
    write_page(broken / "book/part/warns.md", "Warns", "import warnings\nwarnings.warn('look')")
    names = ["tagged", "silent", "raises", "warns"]
    toc = broken / "_toc.yml"
    toc.write_text(toc.read_text() + "".join(f"  - file: book/part/{name}\n" for name in names))
    done = build(broken)
    assert done.status != 0
    plain = re.sub(r"\x1b\[\d+(;\d+)*m", "", done.output)
    for place, message in {
        r"index\.md:3": "there is no page 'part/absent'",
        r"tagged\.md:\d+": "the cell is tagged 'thumbnail' but shows no figure",
        r"silent\.md:\d+": "a figure has no alternative text",
        r"raises\.md": "Executing notebook failed",
        r"warns\.md:\d+": "stderr was found",
    }.items():
        assert re.search(rf"{place}.*{message}", plain), plain
    assert len(re.findall("Executing notebook failed", plain)) == 1
    assert done.executed.count("raises") == 2 and done.executed.count("warns") == 1  # what failed runs again, alone


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"GITHUB_SERVER_URL": "https://github.com"}, None),
        (
            {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "a/b", "GITHUB_REF_NAME": "dev"},
            ("https://github.com/a/b", "dev"),
        ),
        ({"READTHEDOCS_GIT_CLONE_URL": "https://github.com/a/b.git"}, ("https://github.com/a/b", "main")),
        ({"READTHEDOCS_GIT_CLONE_URL": "git@gitlab.com:a/b.git"}, ("https://gitlab.com/a/b", "main")),
        ({"READTHEDOCS_GIT_CLONE_URL": "https://example.org/a/b"}, None),
    ],
)
def test_repository(environment, expected):
    """Trap 12: the address comes from the environment, or is unknown."""
    assert repository(environment) == expected


def test_no_buttons_where_the_address_is_unknown(first):
    """Trap 12: none, and no foreign address."""
    page = (first.html / "book/part/figure.html").read_text()
    assert not re.search("github.com|mybinder.org|colab.research", page)
    assert not (first.html / "_notebooks").exists()


@pytest.fixture(scope="module")
def known(first, small_book, tmp_path_factory):
    """Build the small book where the address is known."""
    folder = tmp_path_factory.mktemp("known")
    done = build(
        small_book, readthedocs=folder, GITHUB_SERVER_URL="https://github.com", GITHUB_REPOSITORY="someone/something"
    )
    assert not done.problems
    return done


def test_buttons(known):
    """Trap 12: edit, Binder and Colab for a page that runs; Colab takes notebooks from a branch of their own."""
    page = (known.html / "book/part/figure.html").read_text()
    assert "https://github.com/someone/something/edit/main/book/part/figure.md" in page
    assert "https://mybinder.org/v2/gh/someone/something/main?urlpath=lab/tree/book/part/figure.md" in page
    colab = "https://colab.research.google.com/github/someone/something/blob/notebooks/book/part/figure.ipynb"
    assert page.count(colab) == 1
    assert "colab.research" not in (known.html / "book/part/plain.html").read_text()


def test_notebooks_for_colab_install_popglm_first(known):
    """The rest is the download, with outputs, which come from the cache."""
    assert known.executed == [] and "number 1" in outputs(known)
    notebook = nbformat.read(known.html / "_notebooks/book/part/figure.ipynb", 4)
    nbformat.validate(notebook)
    install, *cells = notebook.cells
    assert '%pip install --quiet "popglm[notebooks] @ git+https://github.com/someone/something@main"' in install.source
    download = nbformat.read(known.html / "_sources/book/part/figure.ipynb", 4)
    assert [cell.source for cell in cells] == [cell.source for cell in download.cells]
    assert any(cell.get("outputs") for cell in cells)


def test_old_addresses_lead_on(first, small_book, tmp_path):
    """From any depth; a redirect to a page that does not exist fails the build, as does one that hides a page."""
    root = tmp_path / "moved"
    shutil.copytree(small_book, root, ignore=shutil.ignore_patterns("html", ".doctrees"))
    (root / "book/redirects.yml").write_text("book/old/deep/figure: book/part/figure\n")
    done = build(root)
    assert not done.problems
    page = (done.html / "book/old/deep/figure.html").read_text()
    assert 'url=../../../book/part/figure.html"' in page and "<title>Figure</title>" in page
    assert 'url=book/index.html"' in (done.html / "index.html").read_text()
    (root / "book/redirects.yml").write_text("book/old: book/absent\nbook/part/plain: book/part/figure\n")
    done = build(root)
    assert done.status != 0
    assert "book/old -> book/absent" in done.output and "book/part/plain -> book/part/figure" in done.output


def test_all_links_of_the_page_not_found_hold_everywhere(first, known):
    """Its links begin at the root of the site: of this machine's, and of GitHub's pages."""
    for done, root in ((first, "/"), (known, "/something/")):
        text = (done.html / "404.html").read_text()
        links = re.findall(r'\b(?:href|src|data-content_root)="([^"#][^"]*)"', text)
        inside = [link for link in links if not re.match("[a-z]+:", link)]
        assert len(inside) > 10 and all(link.startswith(root) for link in inside), inside
        files = {link.removeprefix(root).partition("?")[0].partition("#")[0] for link in inside}
        missing = [file for file in files if not (done.html / file).exists()]
        assert set(missing) <= {"book/reference/getting_help.html"}, missing  # which the small book lacks
        assert "There is no page at this address" in text and "Figure" in text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        ({"GITHUB_REPOSITORY": "a/b", "GITHUB_SERVER_URL": "https://github.com"}, "https://a.github.io/b/"),
        (
            {"GITHUB_REPOSITORY": "Lab/lab.github.io", "GITHUB_SERVER_URL": "https://github.com"},
            "https://lab.github.io/",
        ),
        ({"GITHUB_REPOSITORY": "a/b", "GITHUB_SERVER_URL": "https://git.example.org"}, ""),
        ({"READTHEDOCS_CANONICAL_URL": "https://x.readthedocs.io/en/latest/"}, "https://x.readthedocs.io/en/latest/"),
    ],
)
def test_book_address(environment, expected):
    """From the environment; unknown, links are relative."""
    assert book_address(environment) == expected


def test_pages_show_the_version(first):
    """That of the package, in the footer; `objects.inv` has it, too."""
    assert f"popglm {version('popglm')}" in (first.html / "book/part/plain.html").read_text()
    assert f"# Version: {version('popglm')}".encode() in (first.html / "objects.inv").read_bytes()


def test_downloaded_notebook_runs_elsewhere(first, small_book, tmp_path, monkeypatch):
    """Trap 10: without the book's kernel set-up, in another folder, with pictures as Jupyter makes them."""
    for name in ["IPYTHONDIR", "MPLBACKEND"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(small_book / "src"))
    notebook = nbformat.read(first.html / "_sources/book/part/figure.ipynb", 4)
    assert "source_map" not in notebook.metadata
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)


def test_threads_are_capped(tmp_path):
    """Trap 14: the number given to a kernel is the number of threads that JAX computes with."""
    code = """
import time, jax, jax.numpy as jnp
x = jnp.ones((1500, 1500)); f = jax.jit(lambda x: x @ x); f(x).block_until_ready()
wall, cpu = time.perf_counter(), time.process_time()
for _ in range(10): f(x).block_until_ready()
print((time.process_time() - cpu) / (time.perf_counter() - wall))
"""
    environment = os.environ | kernel_environment(tmp_path, threads=1)
    ratio = subprocess.run(
        [sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True
    ).stdout
    assert float(ratio) < 1.3


def test_what_counts_as_a_problem():
    """Every warning and error does, but not the messages of a kernel that ends."""
    end = "ERROR:tornado.general:Uncaught exception in ZMQStream callback\nTraceback (most recent call last):\n  File ...\n"
    judge = lambda output, status=0: Build(status, f"reading\n{output}done\n", 1.0, Path()).problems
    assert judge(end) == ""
    assert judge(end + "page.md: WARNING: no title\n") == "page.md: WARNING: no title"
    assert judge("ERROR:tornado.general:Something else\nTraceback (most recent call last):\n").count("\n") == 1
    assert judge(end, status=1).startswith("reading")
