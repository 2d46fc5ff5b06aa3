"""Thumbnails: the figure of the cell tagged `thumbnail` is copied to _static/thumbnails/<part>/<page>.<format>.

The build does it, never the page: a page taken from the cache does not run, and does not know where the book is built.
"""

import shutil
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

FORMATS = ("image/svg+xml", "image/png", "image/jpeg")
log = logging.getLogger(__name__)


def figures(cell):
    """Return {format: image node} of a code cell's first figure in each format."""
    found = {}
    for output in cell.findall(nodes.container):
        if output.get("mime_type") in FORMATS:
            for image in output.findall(nodes.image):
                found.setdefault(output["mime_type"], image)
    return found


def collect(app, doctree):
    """Remember the page's thumbnail; warn of a tag without a figure and of a figure without alternative text."""
    for cell in doctree.findall(lambda n: isinstance(n, nodes.container) and n.get("nb_element") == "cell_code"):
        found = figures(cell)
        if any(not image.get("alt") for image in found.values()):
            log.warning("a figure has no alternative text; give the cell `mystnb: {image: {alt: ...}}`", location=cell)
        if "thumbnail" not in cell.get("cell_metadata", {}).get("tags", []):
            continue
        if not found:
            log.warning("the cell is tagged 'thumbnail' but shows no figure", location=cell)
            continue
        image = next(found[form] for form in FORMATS if form in found)
        uri = image.get("candidates", {}).get("*", image["uri"])
        thumbnails(app.env)[app.env.docname] = (str(Path(app.srcdir, uri.lstrip("/"))), image.get("alt", ""))


def thumbnails(env):
    """Return {page: (file, alternative text)}, kept in Sphinx's environment."""
    if not hasattr(env, "book_thumbnails"):
        env.book_thumbnails = {}
    return env.book_thumbnails


def forget(app, env, docname):
    """Forget a page that is read again or removed."""
    thumbnails(env).pop(docname, None)


def address(docname, file):
    """Return the thumbnail's place in the built book."""
    return Path("_static", "thumbnails", docname.removeprefix("book/") + Path(file).suffix)


def export(app, exception):
    """Copy the thumbnails into the built book, whichever program builds it."""
    if exception or app.builder.format != "html":
        return
    for docname, (file, _) in thumbnails(app.env).items():
        target = Path(app.outdir) / address(docname, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
