"""Writes what Sphinx has understood of a page as plain Markdown, which every notebook program shows.

Roles, labels, boxes and citations are resolved by then: of MyST, nothing can be left. A kind of node that no method here
writes is a warning, which fails the strict build.
"""

import re
from collections.abc import Callable, Iterator

from docutils import nodes
from sphinx.util import logging

log = logging.getLogger(__name__)
SPECIAL = re.compile(r"([\\`*\[\]<>$]|(?<!\w)_|_(?!\w))")  # an underscore inside of a word is itself
LINE_START = re.compile(r"^(\d*)([#+.)-]+(?=\s|$))", re.MULTILINE)  # of a heading or an item


class Writer:
    """Markdown of nodes, by a method for each kind; `address` returns where a reference leads."""

    def __init__(self, address: Callable[[nodes.reference], str]):
        self.address = address

    def pieces(self, node: nodes.Element, level: int = 0) -> Iterator[str | nodes.container]:
        """Yield the Markdown of each block of a document or a section, and the code cells between them as they are."""
        for child in node.children:
            if isinstance(child, nodes.section):
                yield from self.pieces(child, level + 1)
            elif isinstance(child, nodes.title):
                yield f"{'#' * level} {self.inline(child)}"
            elif child.get("nb_element") == "cell_code":
                yield child
            else:
                yield self.write(child)

    def write(self, node: nodes.Node) -> str:
        """Return the Markdown of a node."""
        method = (
            self.admonition if isinstance(node, nodes.Admonition) else getattr(self, node.tagname.lstrip("#"), None)
        )
        if method is None:
            log.warning("no Markdown for <%s>: notebooks lack it", node.tagname, location=node)
            return escape(node.astext())
        return method(node)

    def blocks(self, node: nodes.Element) -> str:
        """Return blocks with an empty line between them."""
        return "\n\n".join(filter(None, map(self.write, node.children)))

    def inline(self, node: nodes.Element) -> str:
        """Return parts of a line."""
        return "".join(map(self.write, node.children))

    def text(self, node):
        return escape(node.astext())

    def paragraph(self, node):
        return LINE_START.sub(r"\1\\\2", self.inline(node))

    def emphasis(self, node):
        return f"*{self.inline(node)}*"

    def strong(self, node):
        return f"**{self.inline(node)}**"

    def literal(self, node):
        return code(node.astext())

    def math(self, node):
        return f"${node.astext()}$"

    def reference(self, node):
        return f"[{self.inline(node)}]({self.address(node)})"

    def target(self, node):
        """Links lead to the page of the book, so a notebook needs no anchors."""
        return ""

    def math_block(self, node):
        return f"$$\n{node.astext().strip()}\n$$"

    def literal_block(self, node):
        return f"```{node.get('language', '')}\n{node.astext()}\n```"

    def bullet_list(self, node):
        return "\n".join(indent(self.blocks(item), "- ") for item in node.children)

    def enumerated_list(self, node):
        items = enumerate(node.children, node.get("start", 1))
        return "\n".join(indent(self.blocks(item), f"{number}. ") for number, item in items)

    def admonition(self, node):
        """Write a box as a quotation that begins with its title."""
        title = next(iter(node.findall(nodes.title)), None)
        name = self.inline(title) if title else node.tagname.capitalize()
        body = [self.write(child) for child in node.children if child is not title]
        return quote("\n\n".join(filter(None, [f"**{name}**", *body])))

    def table(self, node):
        head, *body = [list(map(self.entry, row.children)) for row in node.findall(nodes.row)]
        return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])

    def entry(self, node):
        """Write a cell of a table: in one line, where a bar would end it even in code."""
        return self.blocks(node).replace("\n", " ").replace("|", r"\|")


def escape(text: str) -> str:
    """Return Markdown that shows just this text."""
    return SPECIAL.sub(r"\\\1", text)


def code(text: str) -> str:
    """Return Markdown of code, between more backticks than stand in a row inside of it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    marks, space = "`" * (longest + 1), " " if longest else ""
    return f"{marks}{space}{text}{space}{marks}"


def indent(text: str, mark: str) -> str:
    """Return text as an item of a list."""
    return mark + text.replace("\n", "\n" + " " * len(mark)).replace("\n" + " " * len(mark) + "\n", "\n\n")


def quote(text: str) -> str:
    """Return text as a quotation."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())
