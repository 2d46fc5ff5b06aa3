"""What a reader sees of a page, and what a reader should not see: each `find_...` returns the places to correct.

Only what is on the screen counts: a page's code without the hidden assertions in the options of its cells.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^(`{3,}|:{3,})[^\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
OPTIONS = re.compile(r"\A(?:---\n.*?^---\n|(?::[^\n]*\n)+)", re.MULTILINE | re.DOTALL)
LONGEST_LINE, WIDTHS, SMALLEST_FONT = 70, (6.2, 7), 11  # characters, inches, points
# Pronouns, prepositions, participles, adverbs and numbers say nothing as the name of a value.
NOT_NOUNS = """
    one some all any both each every other others many few none it them these whose same this that who what which where how
    of on at in off out by to from above below beside before after with without within under over inside outside
    seen told found kept given held shown taken left lost done made drawn wanted settled born known hidden missing removed
    used said caught heard fitted missed moved asked chosen called worked passed stopped
    late early here there again now near far once apart alone enough exactly two three four five six seven eight nine ten
"""
ENDINGS = ("_of", "_on", "_at", "_in", "_to", "_by", "_from", "_with", "_for")
PROPER_NAMES = """
    Poisson Pearson Bernoulli Gaussian Gamma McFadden Cohen Newton Fisher Wald Fourier Python Phy Kilosort Windows Linux
"""
# Phrases that the book was first written in; now it says "random numbers come", "training data", "example", "fix".
IDIOMS = re.compile(
    r"\bchance\s+comes\b|\bdata\s+of\s+the\s+fit\b|\bstays?\s+where\s+(it|they)\s+(is|are)\b|\bthe\s+patient\b|\bmend(s|ed|ing)?\b"
    r"|\btakes?\s+a\s+key\b|\bknows?\s+nothing\s+but\b|\blives?\s+like\b|\beveryone\s+hears?\b|\bof\s+which\s+no\b",
    re.IGNORECASE,
)


@dataclass
class Cell:
    """A code cell: its options as they are written, its code, and the line of the page on which the code starts."""

    options: str
    code: str
    line: int

    def place(self, line: int) -> str:
        """Return a line of the code with its number on the page."""
        return f"line {self.line + line - 1}: {self.code.splitlines()[line - 1]}"

    def nodes(self, kind: type) -> Iterator:
        """Yield the nodes of one kind of the syntax tree of the code."""
        return (node for node in ast.walk(ast.parse(self.code)) if isinstance(node, kind))


def read_cells(text: str) -> list[Cell]:
    """Return the code cells of a page."""
    cells = []
    for match in CELL.finditer(text):
        head = OPTIONS.match(match[1])
        options = head[0] if head else ""
        line = text.count("\n", 0, match.start(1) + len(options)) + 1
        cells.append(Cell(options, match[1][len(options) :], line))
    return cells


def read_terms(text: str) -> set[str]:
    """Return the terms of the glossary that a page links to, in lower case."""
    links = (re.search(r"<([^>]+)>$", link) or [None, link] for link in re.findall(r"\{term\}`([^`]+)`", text))
    return {re.sub(r"\s+", " ", link[1]).strip().lower() for link in links}


def read_glossary(text: str) -> dict[str, str]:
    """Return {term in lower case: definition}, in the order of the page."""
    blocks = re.findall(r"^```\{glossary\}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    entries = [entry.partition("\n") for block in blocks for entry in re.split(r"\n\n(?=\S)", block.strip())]
    return {term.strip().lower(): definition for term, _, definition in entries}


def read_exercises(text: str) -> tuple[int, list[Cell | None]]:
    """Return how many exercises a page has, and the cell after each solution."""
    section = re.search(r"^## Exercises\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None:
        return 0, []
    solutions = section[1].split("\n**Solution**\n")[1:]
    tasks = re.findall(r"^\*\*(?:Exercise )?\d+\.\*\*", section[1], re.MULTILINE)
    return len(tasks), [next(iter(read_cells(solution)), None) for solution in solutions]


def find_long_lines(text: str) -> list[str]:
    """Return lines of code that a laptop would cut."""
    cells = read_cells(text)
    lines = [
        cell.place(i) for cell in cells for i, line in enumerate(cell.code.splitlines(), 1) if len(line) > LONGEST_LINE
    ]
    return lines + [line for block in PYTHON.findall(text) for line in block.splitlines() if len(line) > LONGEST_LINE]


def find_poor_names(text: str) -> list[str]:
    """Return values, functions and arguments with a name that is no noun."""
    poor = []
    for cell in read_cells(text):
        names = [(node.id, node.lineno) for node in cell.nodes(ast.Name) if isinstance(node.ctx, ast.Store)]
        names += [(node.name, node.lineno) for node in cell.nodes(ast.FunctionDef | ast.ClassDef)]
        names += [(node.arg, node.lineno) for node in cell.nodes(ast.arg)]
        names = [(name, line) for name, line in names if name.lower() in NOT_NOUNS.split() or name.endswith(ENDINGS)]
        poor += [f"`{name}` in {cell.place(line)}" for name, line in names]
    return poor


def find_odd_figures(text: str) -> list[str]:
    """Return figures of another width than those of the book, and text in figures that is too small for a phone."""
    odd = []
    for cell in read_cells(text):
        for option in cell.nodes(ast.keyword):
            value = getattr(option.value, "value", None)
            if option.arg == "figsize":
                width = option.value.elts[0] if isinstance(option.value, ast.Tuple) else None
                wrong = getattr(width, "value", None) not in WIDTHS
            else:
                text_size = option.arg in ("fontsize", "title_fontsize", "labelsize") and isinstance(value, int | float)
                wrong = text_size and value < SMALLEST_FONT
            if wrong:
                odd.append(cell.place(option.value.lineno))
    return odd


def find_odd_headings(text: str) -> list[str]:
    """Return headings that are not in sentence case, and questions without a question word or with "it" for their subject."""
    odd = []
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE):
        words = re.findall(r"[\w-]+", re.sub(r"`[^`]*`|\$[^$]*\$|\"[^\"]*\"|\{[^}]*\}", "", heading))
        capitals = [w for w in words[1:] if w[0].isupper() and w[1:].islower() and w not in PROPER_NAMES.split()]
        capitals = [w for w in capitals if not re.search(rf"[:.?] {w}", heading)]
        asks = re.search(r"(?i)(?:^|: )(how|what|which|why|when|where)\b", heading)
        asks = asks and not re.search(r"\b(it|they|them)\b", heading)
        if capitals or heading.endswith(".") or re.match(r"[a-z]{2}", heading) or (heading.endswith("?") and not asks):
            odd.append(heading)
    return odd


def find_idioms(text: str) -> list[str]:
    """Return phrases at which readers with English as a second language stop."""
    return [f"line {text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}" for match in IDIOMS.finditer(text)]
