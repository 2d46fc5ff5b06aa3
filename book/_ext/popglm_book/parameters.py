"""Arguments of the API as tables: the name with its type and shape, and what it means.

Types come from the signatures. Arrays are annotated with the names of their axes, "time neurons", which become (time, neurons).
"""

import inspect
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pydoc import locate
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from docutils import nodes
from sphinx import addnodes

WORDS = {
    type(None): "None",
    Any: "",
    object: "",
    bool: "True or False",
    int: "integer",
    float: "number",
    str: "text",
    dict: "dictionary",
    list: "list",
    tuple: "tuple",
    np.ndarray: "array",
    os.PathLike: "path",
}
ABSTRACT = ((Callable, "function"), (Mapping, "dictionary"), (Sequence, "list"), (Iterable, "iterable"))


def describe(annotation):
    """Return a type in words, such as "array (time, neurons) or None"; "" for one that says nothing."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        parts = [describe(part) for part in get_args(annotation)]
        return " or ".join(dict.fromkeys(parts)) if all(parts) else ""
    if origin is Annotated:
        return describe_shape(get_args(annotation)[1])
    if origin is Literal:
        return " or ".join(f'"{value}"' for value in get_args(annotation))
    kind = origin or annotation
    if kind in WORDS:
        return WORDS[kind]
    if kind in dict(ABSTRACT):
        return dict(ABSTRACT)[kind]
    return "JAX array" if kind.__module__.startswith("jax") else kind.__name__


def describe_shape(axes):
    """Return the shape of an array in words."""
    if axes.startswith("("):  # several arrays, or things of other names
        parts = [describe_shape(part) for part in axes.strip("()").split(", ")]
        return axes if " or " in axes else " and ".join(parts)
    if axes in ("...", "2"):
        return {"...": "number or array", "2": "pair of numbers"}[axes]
    names = axes.split()
    shape = ", ".join(name.removeprefix("#") for name in names) + ("," if len(names) == 1 else "")
    shorter = [name for name in names if not name.startswith("#")]
    return f"array ({shape})" if shorter == names else f"array ({shorter[0]},) or ({shape})"


def read_types(name):
    """Types of the arguments of a public class, method or function, in words, by their names."""
    function = locate(name)
    try:
        signature = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {n: describe(p.annotation) for n, p in signature.items() if p.annotation is not p.empty}


def read_items(field):
    """Pairs of the names, such as "X, y", and the nodes that say what they mean."""
    for paragraph in field.findall(nodes.paragraph):
        if paragraph.children and isinstance(paragraph[0], addnodes.literal_strong | nodes.strong):
            at = next((i for i, node in enumerate(paragraph) if " – " in node.astext()), None)
            if at is None:
                return
            others = paragraph.parent.children[1:] if isinstance(paragraph.parent, nodes.list_item) else []
            meaning = nodes.paragraph(
                "", "", nodes.Text(paragraph[at].astext().split(" – ", 1)[1]), *paragraph[at + 1 :]
            )
            yield paragraph[0].astext(), [meaning, *others]


def make_table(items, words):
    """Return the table of some arguments."""
    group = nodes.tgroup(cols=2)
    group += [nodes.colspec(colwidth=30), nodes.colspec(colwidth=70)]
    body = nodes.tbody()
    for names, meaning in items:
        entry = nodes.entry()
        entry += [nodes.paragraph("", "", nodes.literal("", name)) for name in names.split(", ")]
        kinds = dict.fromkeys(words[name] for name in names.split(", ") if words.get(name))
        entry += [nodes.paragraph("", kind, classes=["type"]) for kind in kinds]
        row = nodes.row("", entry, nodes.entry("", *(node.deepcopy() for node in meaning)))
        body += row
    group += body
    table = nodes.table("", group, classes=["parameters"])
    return table


def show(app, doctree, docname):
    """Replace the list of arguments of each public class, method and function by a table."""
    if not docname.startswith("book/reference/api/"):
        return
    for description in doctree.findall(addnodes.desc):
        ids = description[0].get("ids", [])
        fields = [node for node in description[-1].children if isinstance(node, nodes.field_list)]
        for field in [field for fields_ in fields for field in fields_]:
            if ids and field[0].astext() == "Parameters":
                items = list(read_items(field[1]))
                if items:
                    field[1].children = []
                    field[1] += make_table(items, read_types(ids[0]))
