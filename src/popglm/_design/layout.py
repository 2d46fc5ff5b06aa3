"""Inputs that the features of X are made of, as penalties need them: how many functions each has, and in which order."""

from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from popglm._design.feature_names import FeatureNames, feature_metadata
from popglm._pynapple import as_frame


class InputLayout(NamedTuple):
    """Adjacent features of one input: its term in a sum, its name, and the number of functions along each direction.

    A product of bases has a direction for each of them, of which the last runs fastest. `cyclic` tells for each direction
    if the first function follows the last. `trouble` says why a penalty cannot know the input by its columns.
    """

    term: Any
    name: Any
    shape: tuple[int, ...]
    cyclic: tuple[bool, ...]
    trouble: str = ""

    @property
    def n_features(self) -> int:
        """Number of features of this input."""
        return prod(self.shape)


class Column(NamedTuple):
    """A feature: its term and input, its function ("2*0" in a product), and if its functions are on a circle."""

    term: Any
    input: Any
    function: str
    cyclic: str


def read_layout(X: Any, known: tuple[InputLayout, ...] | None = None) -> tuple[InputLayout, ...]:
    """Inputs of X by its metadata, else by names of columns that a basis made; X without them is one input.

    If X says nothing of its inputs, they are those of the layout that is `known`.
    """
    frame = as_frame(X)
    shape: tuple = getattr(frame.values, "shape", ())
    n_features = shape[1] if len(shape) == 2 else 1
    columns = _describe_columns(X, frame.columns, n_features)
    if not any(column.function for column in columns):
        alone = (InputLayout("", "", (n_features,), (False,)),)
        return alone if known is None or sum(one.n_features for one in known) != n_features else known
    runs = _split_inputs(columns)
    return tuple(map(_describe_input, runs, _find_torn(runs)))


def _describe_columns(X: Any, names: Any, n_features: int) -> list[Column]:
    terms, inputs, functions = FeatureNames.of_features(X, names, n_features)
    cyclic = feature_metadata(X, "cyclic")
    flags = [False] * n_features if cyclic is None else cyclic
    return [
        Column(_as_plain(term), _as_plain(unit), str(function), str(flag))
        for term, unit, function, flag in zip(terms, inputs, functions, flags, strict=True)
    ]


def _split_inputs(columns: list[Column]) -> list[list[Column]]:
    """Split columns where the name of the input changes, or a function comes again."""
    runs: list[list[Column]] = []
    for column in columns:
        last = runs[-1] if runs else [column]
        if last[0][:2] != column[:2] or any(other.function == column.function for other in last):
            runs.append([])
        runs[-1].append(column)
    return runs


def _find_torn(runs: list[list[Column]]) -> list[bool]:
    """Return for each run of columns whether other functions of its input stand elsewhere."""
    same_input: dict[tuple, list[int]] = {}
    for number, run in enumerate(runs):
        same_input.setdefault(run[0][:2], []).append(number)
    functions, torn = [{column.function for column in run} for run in runs], [False] * len(runs)
    for numbers in same_input.values():
        for first, second in pairwise(numbers):
            if not functions[first] & functions[second]:
                torn[first] = torn[second] = True
    return torn


def _describe_input(run: list[Column], torn: bool) -> InputLayout:
    """Layout of adjacent columns of one input."""
    (term, name, _, cyclic), shape, trouble = run[0], _count_functions(run), ""
    if torn:
        fix = "In a product, let the basis with several input columns come first: coupling * speed."
        trouble = f"a penalty needs the features of each input side by side; those of input {name!r} are not. {fix}"
    elif prod(shape) != len(run):
        came = f"X has {len(run)} of {prod(shape)} features of input {name!r}"
        trouble = f"a penalty needs every feature of a product; {came}. Keep all columns, or give `sizes`."
    flags = tuple(flag == "True" for flag in cyclic.split("*"))
    if trouble or len(flags) != len(shape):
        shape, flags = (len(run),), (False,)
    return InputLayout(term, name, shape, flags, trouble)


def _count_functions(run: list[Column]) -> tuple[int, ...]:
    """Number of functions along each direction of a product."""
    directions = zip(*(column.function.split("*") for column in run), strict=True)
    return tuple(len(set(direction)) for direction in directions)


def _as_plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
