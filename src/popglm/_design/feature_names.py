"""Names of features as their term, input and function, from metadata or from names of columns such as "coupling/3:2"."""

from typing import Any, NamedTuple

import numpy as np

from popglm._design.lazy import LazyFeatures
from popglm._pynapple import as_object_array, column_metadata

PARTS = ("term", "input", "function")


class FeatureNames(NamedTuple):
    """Term of a sum, input, and function of each feature; "" where there is none."""

    term: np.ndarray
    input: np.ndarray
    function: np.ndarray

    @classmethod
    def of_features(cls, X: Any, columns: Any, n_features: int) -> "FeatureNames":
        """Names by the metadata of X, else by the names of its columns, else numbers."""
        parts = [feature_metadata(X, part) for part in PARTS]
        if parts[1] is None:
            names = range(n_features) if columns is None else list(columns)
            parts = list(zip(*_split_names(names), strict=True)) or [()] * 3
        return cls(*(as_object_array([""] * n_features if part is None else list(part)) for part in parts))


def feature_metadata(X: Any, part: str) -> np.ndarray | None:
    """Metadata of each feature of X, such as the input that it is computed from; None where there are none."""
    values = X.metadata.get(part) if isinstance(X, LazyFeatures) and X.metadata else column_metadata(X, part)
    return None if values is None else np.asarray(values)


def _split_names(names: Any) -> list[tuple]:
    """Terms, inputs and functions of columns, as bases name them; other names are inputs."""
    has_terms = all("/" in str(name) for name in names)
    return [_split_name(name, has_terms) for name in names]


def _split_name(name: Any, has_term: bool) -> tuple:
    """Split "term/input:function"; in a product of bases several of these are joined by "*"."""
    term, _, rest = str(name).partition("/") if has_term else ("", "", str(name))
    pairs = [part.rpartition(":") for part in rest.split("*")]
    if not (isinstance(name, str) and all(unit and function.isdigit() for unit, _, function in pairs)):
        return "", name, ""
    return term, *(_as_id("*".join(pair[place] for pair in pairs)) for place in (0, 2))


def _as_id(text: str) -> int | str:
    return int(text) if text.isdigit() else text
