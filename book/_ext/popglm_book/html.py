"""HTML that others write, mended for screen readers and browsers."""


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
