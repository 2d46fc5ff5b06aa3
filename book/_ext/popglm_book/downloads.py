"""Each executable page is offered as a notebook: with its outputs, and with its text in plain Markdown.

The text is written from what Sphinx has understood of the page (`markdown`), so links lead where those of the page do:
to the book's address if it is known (`buttons`), else to the pages of the same build, seen from the notebook's place in it.
"""

from contextlib import suppress
from itertools import groupby
from pathlib import Path
from urllib.parse import urljoin

import nbformat
from jupyter_cache import get_cache

from .markdown import Writer


def offer_notebook(app, pagename, templatename, context, doctree):
    """Write the page's notebook beside its source and tell the theme, which then shows a button for it."""
    if "kernelspec" not in app.env.metadata.get(pagename, {}):
        return
    notebook = nbformat.read(Path(app.env.mystnb_config.output_folder, f"{pagename}.ipynb"), 4)
    if not any(cell.get("outputs") for cell in notebook.cells):  # MyST-NB writes it without them on a cache hit
        with suppress(KeyError):  # a page that raised is in no cache; the build has warned of it
            _, notebook = get_cache(app.env.mystnb_config.execution_cache_path).merge_match_into_notebook(notebook)
    book = app.config.html_baseurl or "../" * (1 + pagename.count("/"))
    writer = Writer(lambda node: address(node, book, app.builder.get_target_uri(pagename)))
    target = Path(app.outdir, "_sources", f"{pagename}.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(plain_notebook(notebook, writer.pieces(doctree)), target)
    context["ipynb_source"] = f"{pagename}.ipynb"


def address(reference, book, page):
    """Return where a reference on a page leads, as seen from outside of the book, which is at `book`."""
    here = f"#{reference['refid']}" if "refid" in reference else ""  # a page that links to itself has neither
    link = urljoin(f"/{page}", reference.get("refuri") or here)
    return book + link[1:] if link.startswith("/") else link


def plain_notebook(notebook, pieces):
    """Return a notebook with the code cells of `notebook` and, before, between and after them, the text of `pieces`."""
    cells, start = [], 0
    for is_text, group in groupby(pieces, lambda piece: isinstance(piece, str)):
        if is_text:
            cells.append(nbformat.v4.new_markdown_cell("\n\n".join(filter(None, group))))
        else:  # with those before the last that the page runs and does not show
            stop = [piece["cell_index"] for piece in group][-1] + 1
            cells += [cell for cell in notebook.cells[start:stop] if cell.cell_type == "code"]
            start = stop
    cells += [cell for cell in notebook.cells[start:] if cell.cell_type == "code"]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # not by chance: the same build writes the same file
    return nbformat.v4.new_notebook(metadata={"kernelspec": notebook.metadata.kernelspec}, cells=cells)
