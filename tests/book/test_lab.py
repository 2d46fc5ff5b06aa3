"""`make lab`: JupyterLab opens pages as notebooks, and leaves the user's home and the pages' front matter alone."""

import json
import os
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import jupytext
import pytest
from builds import ROOT
from jupytext.config import load_jupytext_config

PAGE = "book/quickstart.md"


@pytest.fixture(scope="module")
def get(tmp_path_factory):
    """Start the server with an empty home, and return a function that reads from it."""
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=test"]
    log = home.parent / "lab.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "book/lab.py", *options],
            cwd=ROOT,
            env=os.environ | {"HOME": str(home)},
            stdout=output,
            stderr=output,
        )

    def read(path):
        joint = "&" if "?" in path else "?"
        with urlopen(f"http://127.0.0.1:{port}/{path}{joint}token=test", timeout=30) as answer:
            return json.load(answer)

    for _ in range(120):
        try:
            read("api")
            break
        except URLError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
    yield read
    server.terminate()
    server.wait(timeout=30)
    assert not {".jupyter", ".local", ".ipython"} & {path.name for path in home.iterdir()}


def test_markdown_opens_as_notebook(get):
    """Trap 15: the default viewer of JupyterLab is Jupytext's notebook view."""
    schema = get("lab/api/settings/@jupyterlab/docmanager-extension:plugin")["schema"]
    viewers = schema["properties"]["defaultViewers"]["default"]
    assert viewers["markdown"] == viewers["myst"] == "Jupytext Notebook"


def test_page_is_read_as_notebook(get):
    """Trap 15: the server gives the page as a notebook with its code cells."""
    page = get(f"api/contents/{PAGE}?type=notebook")
    assert page["type"] == "notebook"
    assert any(cell["cell_type"] == "code" for cell in page["content"]["cells"])


def test_saving_keeps_front_matter():
    """What JupyterLab would save starts as the page does, although the notebook has gained metadata meanwhile."""
    text = (ROOT / PAGE).read_text("utf8")
    notebook = jupytext.reads(text, fmt="md:myst")
    notebook.metadata["language_info"] = {"name": "python", "version": "3"}
    saved = jupytext.writes(notebook, fmt="md:myst", config=load_jupytext_config(str(ROOT / PAGE)))
    head = text[: text.index("---\n", 4)]
    assert saved.startswith(head)
