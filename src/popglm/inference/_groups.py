"""Groups of features that a test, a band or a row of a table is about: named by labels of terms, by size, or by numbers."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from popglm._checks.values import as_plain_number, as_positive_integer, require_option
from popglm._design.layout import InputLayout
from popglm.inference._checks import as_feature_numbers


class FeatureGroup(NamedTuple):
    """Numbers of the features of one group, and the term and the name of its input; None for what is not known."""

    term: Any
    input: Any
    features: Int[np.ndarray, " features"]


class FeatureGroups(NamedTuple):
    """Groups in the order in which they were named; `is_single` if the user named one only, which then has no axis."""

    groups: list[FeatureGroup]
    is_single: bool

    @property
    def features(self) -> list[Int[np.ndarray, " features"]]:
        """Numbers of the features of each group."""
        return [group.features for group in self.groups]


def as_feature_groups(features: Any, layout: tuple[InputLayout, ...], size: int | None = None) -> FeatureGroups:
    """Find the groups that are named by labels, a size, numbers of features, or a dictionary of numbers; None is all inputs.

    `size` is the number of features that each group must have; None allows any.
    """
    inputs, n_features = split_inputs(layout), sum(one.n_features for one in layout)
    features = as_plain_number(features)
    if features is None:
        features = _default_groups(inputs, size)
    if isinstance(features, str):
        groups = _find_term(inputs, features)
        found = FeatureGroups(groups, len(groups) == 1)
    elif isinstance(features, Mapping):
        found = FeatureGroups(_read_mapping(features, inputs, n_features), False)
    elif not hasattr(features, "__len__"):
        length = as_positive_integer("features", features)
        found = FeatureGroups(_name_groups(_divide_features(n_features, length), inputs), False)
    elif len(features) and all(isinstance(label, str) for label in features):
        found = FeatureGroups([group for label in features for group in _find_term(inputs, label)], False)
    elif len(features) and all(isinstance(group, FeatureGroup) for group in features):
        found = FeatureGroups(list(features), False)
    else:
        single = not (len(features) and hasattr(features[0], "__len__"))
        numbers = [as_feature_numbers(group, n_features) for group in ([features] if single else features)]
        found = FeatureGroups(_name_groups(numbers, inputs), single)
    return _require_sizes(found, size)


def split_inputs(layout: tuple[InputLayout, ...]) -> list[FeatureGroup]:
    """Return the features of each input; those of a torn one are joined."""
    runs: dict[tuple, list[np.ndarray]] = {}
    stops = accumulate(one.n_features for one in layout)
    for number, (one, stop) in enumerate(zip(layout, stops, strict=True)):
        key = (one.term, one.name, None if one.trouble else number)
        runs.setdefault(key, []).append(np.arange(stop - one.n_features, stop))
    return [FeatureGroup(term, name, np.concatenate(numbers)) for (term, name, _), numbers in runs.items()]


def _default_groups(inputs, size):
    """All inputs; of a single input without functions of its own, groups of as many features as a kernel has functions."""
    terms = _list_terms(inputs)
    if size is not None and len(terms) > 1:
        known = ", ".join(map(repr, terms))
        raise ValueError(
            f"`features` must say whose functions these are: the model has the terms {known}. Give a label."
        )
    return inputs if size is None or len(inputs) > 1 else size


def _list_terms(inputs):
    return list(dict.fromkeys(str(group.term) for group in inputs))


def _find_term(inputs: list[FeatureGroup], label: str) -> list[FeatureGroup]:
    """Return the inputs of the term with this label."""
    terms = _list_terms(inputs)
    if terms == [""]:
        fix = "Leave `features` out, or give numbers of features; the terms of a sum of bases have labels."
        raise ValueError(
            f"`features` must hold numbers, since the features of the model have no labels; got {label!r}. {fix}"
        )
    require_option("features", label, terms)
    return [group for group in inputs if str(group.term) == label]


def _name_groups(numbers: list[np.ndarray], inputs: list[FeatureGroup]) -> list[FeatureGroup]:
    """Groups of these features, with the names of the inputs that they lie in; else numbered."""
    owner = np.empty(sum(len(one.features) for one in inputs), int)
    for i, one in enumerate(inputs):
        owner[one.features] = i
    groups = []
    for i, features in enumerate(numbers):
        one = inputs[owner[features[0]]]
        is_known = (one.term, one.input) != ("", "") and (owner[features] == owner[features[0]]).all()
        groups.append(FeatureGroup(one.term if is_known else None, one.input if is_known else i, features))
    return groups


def _divide_features(n_features, length):
    """Consecutive groups of this length."""
    if n_features % length:
        fix = "Name the features of each group, by the label of a term, such as 'coupling', or by numbers."
        raise ValueError(f"the {n_features} features are not whole groups of {length} functions. {fix}")
    return list(np.arange(n_features).reshape(-1, length))


def _require_sizes(found, size):
    """Require at least one group, and that each has as many features as a kernel has functions."""
    if not found.groups:
        raise ValueError("`features` must name at least one group; got none.")
    if size is not None and any(len(group) != size for group in found.features):
        came = [len(group) for group in found.features][:8]
        expected = f"{size} features for each filter, as many as the kernel has functions"
        raise ValueError(f"`features` must name {expected}; got {came}.")
    return found


def _read_mapping(features, inputs, n_features) -> list[FeatureGroup]:
    """Groups of a dictionary: words are the user's names, numbers those of a basis for inputs that may have names."""
    names, numbers = zip(*_flatten_groups(features), strict=True) if features else ((), ())
    groups = _name_groups([as_feature_numbers(group, n_features) for group in numbers], inputs)
    as_named = lambda group, name: group._replace(term=None, input=name) if isinstance(name, str) else group
    return [as_named(group, name) for group, name in zip(groups, names, strict=True)]


def _flatten_groups(features, path=()):
    """Pairs of name and group of nested dictionaries, as a sum of bases has them; a nested name is a tuple."""
    for name, group in features.items():
        if isinstance(group, Mapping):
            yield from _flatten_groups(group, (*path, name))
        else:
            yield ((*path, name) if path else name), group
