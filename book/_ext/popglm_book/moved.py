"""Addresses that no page has: those of pages that moved lead on, all others to a page that says so."""

import re
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from sphinx.util import logging

REDIRECT = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title><link rel="icon" href="{root}_static/favicon.svg">
<link rel="canonical" href="{page}"><meta http-equiv="refresh" content="0; url={page}"></head>
<body><a href="{page}">{title}</a></body>
</html>
"""
NOT_FOUND = """<h1>There is no page at this address</h1>
<p>It may have moved, or the link has a typing error. Search for a word of its title, or begin at the
<a href="{home}.html">first page</a>.</p>
<p>If a link of this book led here, please <a href="book/reference/getting_help.html">say so</a>.</p>
"""
LINK = re.compile(r'(\b(?:href|src|data-content_root)=")(?!#|/|[a-z]+:)(?:\./)?')
log = logging.getLogger(__name__)


def redirects(root):
    """Return {old page: new page} of the pages that have moved."""
    return yaml.safe_load((Path(root) / "book/redirects.yml").read_text("utf8")) or {}


def check_redirects(app, env):
    """Warn of a redirect that leads to no page, or away from one."""
    for old, new in redirects(app.srcdir).items():
        if new not in env.found_docs or old in env.found_docs:
            log.warning("book/redirects.yml: %s -> %s: the new page must exist, and the old one must not", old, new)


def redirect_page(app, page, start):
    """Return the text of the page `start`, which leads to another one."""
    root = "../" * start.count("/")
    title = escape(app.env.titles[page].astext()) if page in app.env.titles else app.config.html_title
    return REDIRECT.format(title=title, page=f"{root}{page}.html", root=root)


def write_redirects(app, exception):
    """Lead the site's address to the first page, and old addresses to the new ones."""
    if exception or app.builder.format != "html":
        return
    pages = {"index": app.config.root_doc} | redirects(app.srcdir)
    for old, new in pages.items():
        file = Path(app.outdir, f"{old}.html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(redirect_page(app, new, old), "utf8")


def not_found(app):
    """Yield the page for all other addresses, for Sphinx to write in the book's look."""
    body = NOT_FOUND.format(home=app.config.root_doc)
    yield "404", {"title": "Page not found", "body": body}, "page.html"


def set_root(app, exception):
    """Make links of the page independent of the address at which it is shown."""
    file = Path(app.outdir, "404.html")
    if exception is None and app.builder.format == "html":
        root = urlsplit(app.config.html_baseurl).path or "/"
        text = LINK.sub(lambda found: found[1] + root, file.read_text("utf8"))
        file.write_text(text, "utf8")
