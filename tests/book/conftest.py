"""What the tests of the book share: a small book to change and to break, and the whole book, built."""

import fcntl
import shutil
from pathlib import Path

import pytest
from builds import ROOT, build, write_page


@pytest.fixture(scope="session")
def small_book(tmp_path_factory) -> Path:
    """Return a book with the real machinery, two pages, and a package `popglm` of one number."""
    root = tmp_path_factory.mktemp("small") / "checkout"
    for name in [
        "_config.yml",
        "conf.py",
        "requirements.lock",
        "book/_ext",
        "book/_static",
        "book/references.bib",
        "book/redirects.yml",
    ]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    (root / "src/popglm").mkdir(parents=True)
    (root / "src/popglm/__init__.py").write_text("number = 1\n")
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n  - file: book/part/figure\n  - file: book/part/plain\n"
    )
    cards = "```{book-gallery}\npart/figure: A line about it.\npart/plain: No picture.\n```\n"
    (root / "book/index.md").write_text(f"# Home\n\n{cards}")
    code = "import matplotlib.pyplot as plt\n\nimport popglm\n\nprint('number', popglm.number)\nplt.plot([1, 2]);"
    write_page(
        root / "book/part/figure.md", "Figure", code, tags="[thumbnail]", mystnb='{"image": {"alt": "A rising line."}}'
    )
    write_page(root / "book/part/plain.md", "Plain")
    return root


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id) -> Path:
    """Return the folder of the built book, brought up to date by the first of the processes that ask."""
    folder = tmp_path_factory.getbasetemp()
    note = (folder if worker_id == "master" else folder.parent) / "site"
    with note.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if note.stat().st_size == 0:
            done = build(ROOT)
            assert not done.problems
            file.write("built")
    return ROOT / "_build" / "html"
