"""The tables of arguments in the API name types and shapes, in words."""

from typing import Annotated, Any, Literal

import pytest
from docutils import nodes
from popglm_book.parameters import describe, make_table, read_types

TYPES = {
    "integer or None": int | None,
    "array (time, features)": Annotated[Any, "time features"],
    "array (time,) or (time, neurons) or None": Annotated[Any, "time #neurons"] | None,
    "array (points,)": Annotated[Any, "points"],
    "pair of numbers": Annotated[Any, "2"],
    "array (features, neurons) and array (neurons,)": Annotated[tuple, "(features neurons, neurons)"],
    "list": list[int],
    '"drop" or "keep"': Literal["drop", "keep"],
    "": Any | None,
}


@pytest.mark.parametrize("words", TYPES)
def test_a_type_in_words(words):
    assert describe(TYPES[words]) == words


def test_types_of_a_public_method():
    words = read_types("popglm.glm.PopulationGLM.fit")
    assert words["X"] == "array (time, features)" and words["progress"] == "True or False"


def test_a_row_of_a_table():
    table = make_table([("X, y", [nodes.paragraph("", "Data.")])], {"X": "array", "y": "array"})
    assert table.astext().split() == ["X", "y", "array", "Data."]
