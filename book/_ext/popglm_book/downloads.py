"""Each executable page is offered as a notebook with its outputs, whether it ran just now or came from the cache."""

from contextlib import suppress
from pathlib import Path

import nbformat
from jupyter_cache import get_cache


def offer_notebook(app, pagename, templatename, context, doctree):
    """Write the page's notebook beside its source and tell the theme, which then shows a button for it."""
    if "kernelspec" not in app.env.metadata.get(pagename, {}):
        return
    notebook = nbformat.read(Path(app.env.mystnb_config.output_folder, f"{pagename}.ipynb"), 4)
    if not any(cell.get("outputs") for cell in notebook.cells):  # MyST-NB writes it without them on a cache hit
        with suppress(KeyError):  # a page that raised is in no cache; the build has warned of it
            _, notebook = get_cache(app.env.mystnb_config.execution_cache_path).merge_match_into_notebook(notebook)
    notebook.metadata.pop("source_map", None)
    target = Path(app.outdir, "_sources", f"{pagename}.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    context["ipynb_source"] = f"{pagename}.ipynb"
