"""What a reader sees of a page: its code without hidden hooks, its headings, its links to the glossary."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^(`{3,}|:{3,})[^\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
OPTIONS = re.compile(r"\A(?:---\n.*?^---\n|(?::[^\n]*\n)+)", re.MULTILINE | re.DOTALL)
TERM = re.compile(r"\{term\}`([^`]+)`")


@dataclass
class Cell:
    """A code cell: its options as they are written, its code, and the line of the page on which the code starts."""

    options: str
    code: str
    line: int

    def place(self, line: int) -> str:
        """Return a line of the code with its number on the page."""
        return f"line {self.line + line - 1}: {self.code.splitlines()[line - 1]}"


def read_cells(text: str) -> list[Cell]:
    """Return the code cells of a page."""
    cells = []
    for match in CELL.finditer(text):
        head = OPTIONS.match(match[1])
        options = head[0] if head else ""
        line = text.count("\n", 0, match.start(1) + len(options)) + 1
        cells.append(Cell(options, match[1][len(options) :], line))
    return cells


def read_headings(text: str) -> list[str]:
    """Return the headings of a page, with its title first."""
    return re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)


def read_terms(text: str) -> set[str]:
    """Return the terms of the glossary that a page links to, in lower case."""
    targets = (re.search(r"<([^>]+)>$", link) or [None, link] for link in TERM.findall(text))
    return {re.sub(r"\s+", " ", target[1]).strip().lower() for target in targets}


def read_glossary(path: Path) -> dict[str, str]:
    """Return {term in lower case: definition}, in the order of the page."""
    blocks = re.findall(r"^```\{glossary\}\n(.*?)^```$", path.read_text("utf8"), re.MULTILINE | re.DOTALL)
    entries = [entry for block in blocks for entry in re.split(r"\n\n(?=\S)", block.strip())]
    return {term.strip().lower(): definition for term, _, definition in (entry.partition("\n") for entry in entries)}


def find_names(code: str) -> list[tuple[str, int]]:
    """Return every name that the code gives to something, with the line of the code."""
    names = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append((node.id, node.lineno))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append((node.name, node.lineno))
        elif isinstance(node, ast.arg):
            names.append((node.arg, node.lineno))
        elif isinstance(node, ast.alias) and node.asname:
            names.append((node.asname, node.lineno))
    return names


def find_figure_widths(code: str) -> list[tuple[object, int]]:
    """Return the width in inches of every figure of which the code says the size; None where it is no number."""
    widths = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.keyword) and node.arg == "figsize":
            first = node.value.elts[0] if isinstance(node.value, ast.Tuple) else None
            widths.append((first.value if isinstance(first, ast.Constant) else None, node.value.lineno))
    return widths


def find_font_sizes(code: str) -> list[tuple[float, int]]:
    """Return the size in points of all text for which the code says one."""
    names = ("fontsize", "labelsize", "title_fontsize")
    keywords = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.keyword) and node.arg in names]
    sizes = [(node.value.value, node.value.lineno) for node in keywords if isinstance(node.value, ast.Constant)]
    return [(size, line) for size, line in sizes if isinstance(size, int | float)]
