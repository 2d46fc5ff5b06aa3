"""Below each public name of the API stand the pages that use it: first those that link to it, then those whose code does."""

import ast
import re
from collections import defaultdict
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

MOST = 6  # pages named below a name; of the others the number
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(?:---\n.*?^---\n|(?::\w.*\n)*)(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((popglm(?:\.\w+)+)\)")


def names_in_code(code):
    """Full names of popglm that the code of a page uses, such as popglm.glm.GLM and popglm.glm.GLM.fit."""
    tree, known, used = ast.parse(code), {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name == "popglm"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "popglm":
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        parts = []
        while isinstance(node, ast.Attribute):
            node, parts = node.value, [node.attr, *parts]
        if isinstance(node, ast.Name) and node.id in known:
            used.add(".".join([known[node.id], *parts]))
    return used


def names_on_page(text):
    """Full names that a page links to, and those that its code uses."""
    return set(LINK.findall(text)), names_in_code("\n".join(CELL.findall(text)))


def collect(app, env):
    """Read which page uses which name, and write the pages of the API again: this may have changed."""
    linked, used = defaultdict(list), defaultdict(list)
    for page in sorted(env.found_docs, key=order_of_pages(env)):
        if not page.startswith("book/reference/"):
            links, names = names_on_page(Path(env.doc2path(page)).read_text("utf8"))
            for name in links:
                linked[name].append(page)
            for name in names - links:
                used[name].append(page)
    app.pages_that_use = {name: [*linked[name], *used[name]] for name in {*linked, *used}}
    return sorted(page for page in env.found_docs if page.startswith("book/reference/api/"))


def order_of_pages(env):
    """Key that sorts pages as the table of contents does."""
    places, queue = {}, [env.config.root_doc]
    while queue:
        page = queue.pop(0)
        if page not in places:
            places[page] = len(places)
            queue = [*env.toctree_includes.get(page, ()), *queue]
    return lambda page: (places.get(page, len(places)), page)


def paragraph(app, docname, pages):
    """Return a line of links to pages."""
    line = nodes.paragraph("", "Used on: ", classes=["used-on"])
    for page in pages[:MOST]:
        title, address = app.env.titles[page].astext(), app.builder.get_relative_uri(docname, page)
        line += [nodes.reference("", title, internal=True, refuri=address), nodes.Text(", ")]
    line.pop()
    if len(pages) > MOST:
        line += nodes.Text(f" and {len(pages) - MOST} more pages" if len(pages) > MOST + 1 else " and one more page")
    return line


def show(app, doctree, docname):
    """Add the line below each name that a page uses."""
    for description in list(doctree.findall(addnodes.desc)):
        ids = [i for i in description[0].get("ids", []) if i in app.pages_that_use]
        if description["domain"] == "py" and ids:
            description[-1] += paragraph(app, docname, app.pages_that_use[ids[0]])
