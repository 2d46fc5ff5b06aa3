"""HTML that others write, mended for screen readers and browsers."""

from pathlib import Path

DOOR = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title><link rel="icon" href="_static/favicon.svg">
<meta http-equiv="refresh" content="0; url={page}"></head>
<body><a href="{page}">{title}</a></body>
</html>
"""


def mend_roles(app, pagename, templatename, context, doctree):
    """Make the entries of a bibliography items of their list: docutils gives them a role that no list may hold."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def name_toggles(app, pagename, templatename, context, doctree):
    """Say what the toggle beside a page with sections does: in the theme's table of contents it is a picture alone."""
    make = context.get("generate_toctree_html")
    if make is not None:
        named = '<summary aria-label="Show or hide its pages">'
        context["generate_toctree_html"] = lambda *args, **options: str(make(*args, **options)).replace(
            "<summary>", named
        )


def open_door(app, exception):
    """Lead the site's address to the first page; sphinx-external-toc's page for that has no title, text or icon."""
    if exception is None and app.builder.format == "html":
        page = DOOR.format(title=app.config.html_title, page=f"{app.config.root_doc}.html")
        Path(app.outdir, "index.html").write_text(page, "utf8")
