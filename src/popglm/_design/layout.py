"""Inputs that the features of X are made of, as penalties need them: how many functions each has, and in which order."""

from itertools import groupby, pairwise
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


def read_layout(X: Any, known: tuple[InputLayout, ...] | None = None) -> tuple[InputLayout, ...]:
    """Inputs of X by its metadata, else by names of columns that a basis made; X without them is one input.

    If X says nothing of its inputs, they are those of the layout that is `known`.
    """
    frame = as_frame(X)
    shape = getattr(frame.values, "shape", ())
    n_features = shape[1] if len(shape) == 2 else 1
    names = FeatureNames.of_features(X, frame.columns, n_features)
    if not any(str(function) for function in names.function):
        fits = known is not None and sum(one.n_features for one in known) == n_features
        return known if fits else (InputLayout("", "", (n_features,), (False,)),)  # type: ignore[return-value]
    cyclic = feature_metadata(X, "cyclic")
    cyclic = [False] * n_features if cyclic is None else cyclic
    columns = [tuple(map(_as_plain, column)) for column in zip(*names, cyclic, strict=True)]
    runs = [list(run) for _, run in groupby(columns, _count_inputs())]
    return tuple(map(_describe_input, runs, _find_torn(runs)))


def _count_inputs():
    """Return a function that numbers the inputs of columns: an input ends where its name changes or a function comes again."""
    number, current, functions = 0, None, set()

    def input_number(column):
        nonlocal number, current, functions
        term, name, function, _ = column
        if (term, name) != current or function in functions:
            number, current, functions = number + 1, (term, name), set()
        functions.add(function)
        return number

    return input_number


def _find_torn(runs):
    """Return for each run of columns whether other functions of its input stand elsewhere."""
    numbers: dict = {}
    for number, run in enumerate(runs):
        numbers.setdefault(run[0][:2], []).append(number)
    torn = [False] * len(runs)
    for same in numbers.values():
        functions = [{function for _, _, function, _ in runs[number]} for number in same]
        for first, second in pairwise(range(len(same))):
            if not functions[first] & functions[second]:
                torn[same[first]] = torn[same[second]] = True
    return torn


def _describe_input(run, torn):
    """Layout of adjacent columns of one input."""
    (term, name, _, cyclic), shape, trouble = run[0], _count_functions(run), ""
    if torn:
        fix = "In a product, let the basis with several input columns come first: coupling * speed."
        trouble = f"a penalty needs the features of each input side by side; those of input {name!r} are not. {fix}"
    elif prod(shape) != len(run):
        came = f"X has {len(run)} of {prod(shape)} features of input {name!r}"
        trouble = f"a penalty needs every feature of a product; {came}. Keep all columns, or give `sizes`."
    flags = tuple(flag == "True" for flag in str(cyclic).split("*"))
    if trouble or len(flags) != len(shape):
        shape, flags = (len(run),), (False,)
    return InputLayout(term, name, shape, flags, trouble)


def _count_functions(run):
    """Number of functions along each direction of a product."""
    functions = [str(function).split("*") for _, _, function, _ in run]
    return tuple(len(set(direction)) for direction in zip(*functions, strict=True))


def _as_plain(value):
    return value.item() if hasattr(value, "item") else value
