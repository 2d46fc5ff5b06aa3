"""The `book-gallery` directive: a card for each page, with its title, one line of text and its thumbnail.

Each line of the directive is `page: what the reader leaves with`; pages are named relative to the page that shows them.
"""

from html import escape

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .thumbnails import address, thumbnails

log = logging.getLogger(__name__)


class gallery(nodes.General, nodes.Element):
    """The place of a gallery, until titles and thumbnails of all pages are known."""


class Gallery(SphinxDirective):
    """Read the lines of a gallery."""

    has_content = True

    def run(self):
        node = gallery(cards=[])
        self.set_source_info(node)
        for line in filter(None, map(str.strip, self.content)):
            page, _, text = line.partition(":")
            docname = self.env.path2doc(self.env.relfn2path(page.strip() + ".md")[1])
            if docname not in self.env.found_docs:
                log.warning("book-gallery: there is no page %r", page.strip(), location=node)
                continue
            node["cards"].append((docname, text.strip()))
        self.env.metadata[self.env.docname]["has_gallery"] = True
        return [node]


def pages_with_gallery(app, env):
    """Write these again on every build: the titles and thumbnails they show may have changed."""
    return [docname for docname, data in env.metadata.items() if data.get("has_gallery")]


def card(app, docname, page, text):
    """Return one card: a link around a picture (where the page has one), a title and a line."""
    title = escape(app.env.titles[page].astext())
    picture = ""
    if page in thumbnails(app.env):
        file, alt = thumbnails(app.env)[page]
        source = "../" * docname.count("/") + address(page, file).as_posix()
        picture = f'<img src="{source}" alt="{escape(alt)}" loading="lazy">'
    words = f'<span class="book-card-title">{title}</span><span class="book-card-text">{escape(text)}</span>'
    link = escape(app.builder.get_relative_uri(docname, page))
    return f'<li><a class="book-card" href="{link}">{picture}{words}</a></li>'


def resolve(app, doctree, docname):
    """Replace each gallery by its cards; other formats than HTML get nothing."""
    for node in list(doctree.findall(gallery)):
        cards = "\n".join(card(app, docname, page, text) for page, text in node["cards"])
        node.replace_self(nodes.raw("", f'<ul class="book-gallery">\n{cards}\n</ul>', format="html"))
