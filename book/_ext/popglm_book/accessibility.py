"""What screen readers need and the writers of the pages get wrong."""


def mend_roles(app, pagename, templatename, context, doctree):
    """Make the entries of a bibliography items of their list: docutils gives them a role that no list may hold."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
