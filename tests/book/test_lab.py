"""`make lab`: JupyterLab opens pages as notebooks, saves what was edited and nothing else, and leaves the user's home alone."""

import difflib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import Request, urlopen

import nbformat
import pytest
from builds import ROOT

PAGE = "book/quickstart.md"
PLAIN = "book/installation.md"
PAGES = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "book").rglob("*.md"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Return a folder with the pages and `make lab`."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "book", folder / "book")
    shutil.copy(ROOT / "jupytext.toml", folder)
    return folder


@pytest.fixture(scope="module")
def ask(checkout, tmp_path_factory):
    """Start the server with an empty home, and return a function that reads from it, or saves there."""
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=test"]
    log = home.parent / "lab.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "book/lab.py", *options],
            cwd=checkout,
            env=os.environ | {"HOME": str(home)},
            stdout=output,
            stderr=output,
        )

    def send(path, model=None):
        request = Request(f"http://127.0.0.1:{port}/{path}", headers={"Authorization": "token test"})
        if model is not None:
            request.method, request.data = "PUT", json.dumps(model).encode()
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    for _ in range(120):
        try:
            send("api")
            break
        except URLError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
    yield send
    server.terminate()
    server.wait(timeout=30)
    assert not {".jupyter", ".local", ".ipython"} & {path.name for path in home.iterdir()}


def test_markdown_opens_as_notebook(ask):
    """Trap 15: the default viewer of JupyterLab is Jupytext's notebook view."""
    schema = ask("lab/api/settings/@jupyterlab/docmanager-extension:plugin")["schema"]
    viewers = schema["properties"]["defaultViewers"]["default"]
    assert viewers["markdown"] == viewers["myst"] == "Jupytext Notebook"


@pytest.fixture
def edit(ask, checkout):
    """Return a function that opens a page, edits its notebook and saves, and gives the lines that went and that came."""

    def save(page, change=lambda notebook: None):
        before = (checkout / page).read_bytes()
        notebook = ask(f"api/contents/{page}?type=notebook")["content"]
        change(notebook)
        ask(f"api/contents/{page}", {"type": "notebook", "format": "json", "content": notebook})
        after = (checkout / page).read_bytes()
        (checkout / page).write_bytes(before)
        lines = list(difflib.ndiff(*(text.decode().splitlines(keepends=True) for text in (before, after))))
        return [[line[2:] for line in lines if line.startswith(sign)] for sign in "-+"]

    return save


def ran(notebook):
    """Change a notebook as JupyterLab does when it runs."""
    notebook["metadata"]["kernelspec"] = {"display_name": "Another", "language": "python", "name": "another"}
    notebook["metadata"]["language_info"] = {"name": "python", "version": "3", "pygments_lexer": "ipython3"}
    for cell in notebook["cells"]:
        cell["metadata"]["trusted"] = True
        if cell["cell_type"] == "code":
            cell["execution_count"] = 1
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "1"}]


def test_saving_unchanged(edit):
    """Pages that were run and saved have the same bytes."""
    changes = {page: edit(page, ran) for page in PAGES}
    assert {page: lines for page, lines in changes.items() if lines != [[], []]} == {}


def test_examples_are_no_cells(ask):
    """A page without code cells is one cell of text, although it shows Python."""
    assert "\n```python\n" in (ROOT / PLAIN).read_text("utf8")
    cells = ask(f"api/contents/{PLAIN}?type=notebook")["content"]["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown"]


def test_saving_edited_code(edit):
    """Code is edited below metadata in a style of the page: the line changes, nothing else."""

    def change(notebook):
        ran(notebook)
        cell = next(cell for cell in notebook["cells"] if "nbmake" in cell["metadata"])
        cell["source"] += "\n# edited"

    assert edit(PAGE, change) == [[], ["# edited\n"]]


def test_saving_edited_metadata(edit):
    """An entry of metadata is edited: others of the cell keep their style, also tests that are several lines long."""

    def change(notebook):
        cell = next(cell for cell in notebook["cells"] if cell["metadata"].get("tags") == ["hide-cell"])
        assert "\n" in cell["metadata"]["nbmake"]["post_cell_execute"][-1]
        cell["metadata"]["tags"] = ["hide-input"]

    assert edit("book/how_to_guide/uncertainty.md", change) == [["tags: [hide-cell]\n"], ["tags: [hide-input]\n"]]


def test_saving_edited_text(edit):
    """A page without code cells gets no front matter when its text is edited."""

    def change(notebook):
        notebook["cells"][0]["source"] += "\n\nOne line more."

    assert edit(PLAIN, change) == [[], ["\n", "One line more.\n"]]


def test_saving_first_code(edit):
    """A page that gets its first code cell gets the front matter that a page with code needs."""
    went, came = edit(PLAIN, lambda notebook: notebook["cells"].append(nbformat.v4.new_code_cell("1 + 1")))
    assert not went
    assert "".join(came).startswith("---\njupytext:\n")
    assert "".join(came).endswith("\n```{code-cell}\n1 + 1\n```\n")


def test_saving_as_text(ask, checkout):
    """Front matter and metadata that are edited in the text editor are saved as typed."""
    before = (checkout / PAGE).read_text("utf8")
    text = before.replace("---\n", "---\ntocdepth: 2\n", 1).replace("tags: [", "tags:  [")
    ask(f"api/contents/{PAGE}", {"type": "file", "format": "text", "content": text})
    after = (checkout / PAGE).read_text("utf8")
    (checkout / PAGE).write_text(before, "utf8")
    assert before != after == text
