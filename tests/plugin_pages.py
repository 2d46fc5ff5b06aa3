"""The pages of the book as tests: `pytest --nbmake book` runs each MyST page in its own folder.

A page's hidden assertions stand in the metadata of its cells, as `nbmake: {post_cell_execute: [...]}`. Beyond running,
a page must show no warning, progress frame or memory address. What ran is kept where the build of the book looks for
it, so that one execution serves both.
"""

import os
import re
import sys
import time
from pathlib import Path
from unittest import mock

import nbformat
from nbmake.nb_run import NotebookRun
from nbmake.pytest_items import NotebookFailedException, NotebookFile, NotebookItem

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))
from popglm_book.kernel import execution_cache, kernel_environment

NOISE = re.compile(r"\w*Warning\b|Traceback|\r|\bat 0x[0-9a-f]{6,}")
HEAD = "---\njupytext:"
EXECUTED = ROOT / "_build" / "executed" / execution_cache(ROOT).name  # of this very package


class MystPage(NotebookItem):
    """One page, run from its first cell to its last."""

    def runtest(self):
        from myst_nb.core.read import myst_nb_reader_plugin  # slow imports wait until a page is run

        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        environment = kernel_environment(ROOT, threads=max(1, (os.cpu_count() or 1) // workers))
        run = NotebookRun(self.path, self.config.option.nbmake_timeout)
        start = time.perf_counter()
        with (
            mock.patch("nbmake.nb_run.nbformat.read", lambda file, version: myst_nb_reader_plugin(file)),
            mock.patch.dict(os.environ, environment),
        ):
            result = run.execute()
        if result.error is not None:
            raise NotebookFailedException(result)
        noise = [text for text in shown(result.nb) if NOISE.search(text)]
        assert not noise, f"{self.path.name} shows what a reader should not see:\n" + "\n".join(noise)
        if self.path.is_relative_to(ROOT / "book"):
            keep(result.nb, self.path, time.perf_counter() - start)

    def repr_failure(self, excinfo, style=None):
        if excinfo.errisinstance(NotebookFailedException):
            return super().repr_failure(excinfo, style)
        return str(excinfo.value).split("\n\n{'header'")[0]  # of a hidden assertion: without the kernel's whole reply


class MystFile(NotebookFile):
    """A Markdown file that is a notebook."""

    def collect(self):
        yield MystPage.from_parent(self, filename=str(self.path))


def pytest_collect_file(file_path, parent):
    """Collect the Markdown files that start as notebooks do."""
    wanted = parent.config.getoption("nbmake", False) and file_path.suffix == ".md" and "_build" not in file_path.parts
    if wanted and file_path.read_text("utf8").startswith(HEAD):
        return MystFile.from_parent(parent, path=file_path)
    return None


def pytest_sessionfinish(session):
    """Put the executed pages into the build's cache, from one process: its database does not like two."""
    if not session.config.getoption("nbmake", False) or os.environ.get("PYTEST_XDIST_WORKER"):
        return
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    for file in sorted(EXECUTED.glob("*.ipynb")):
        notebook = nbformat.read(file, 4)
        data = notebook.metadata.pop("executed")
        bundle = CacheBundleIn(notebook, data["page"], data={"execution_seconds": data["seconds"]})
        get_cache(execution_cache(ROOT)).cache_notebook_bundle(bundle, overwrite=True)
        file.unlink()


def shown(notebook):
    """Yield every text that the page's cells print; all of standard error counts as a warning."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if output.output_type == "stream":
            yield ("Warning on standard error: " if output.name == "stderr" else "") + output.text
        else:
            yield output.get("data", {}).get("text/plain", "")


def keep(notebook, path, seconds):
    """Write the executed page down as it would be without its hidden assertions."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.metadata.pop("execution", None)
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    notebook.metadata["executed"] = {"page": str(path), "seconds": seconds}
    EXECUTED.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, EXECUTED / f"{'.'.join(path.relative_to(ROOT).parts)}.ipynb")
