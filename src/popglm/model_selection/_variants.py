"""Variants of a model: the features that each of them uses, by the labels of inputs or by masks."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from popglm._checks.models import as_feature_mask
from popglm._checks.values import list_names
from popglm._design.layout import InputLayout

LEAVE_ONE_OUT = "leave-one-out"

ALL = "all"

FORM = (
    'a dictionary of variants and the labels of their inputs, such as {"heading": ["heading"], "heading + history": '
    f'["heading", "history"]}}, or "{LEAVE_ONE_OUT}"'
)


def read_variants(
    variants: Any, layout: tuple[InputLayout, ...], columns: Any, mask: Float[np.ndarray, "neurons features"]
) -> dict[str, Float[np.ndarray, "neurons features"]]:
    """Features of each variant and neuron, 1 or 0: those of the variant that the mask of the model has, too."""
    features = _label_features(layout, columns)
    if isinstance(variants, str) and variants == LEAVE_ONE_OUT:
        variants = _leave_one_out(layout, columns, mask.shape[1])
    if not isinstance(variants, Mapping) or len(variants) < 2:
        came = f"{len(variants)} variant(s)" if isinstance(variants, Mapping) else repr(variants)
        raise ValueError(f"`variants` must be two at least, {FORM}; got {came}.")
    return {str(name): mask * _as_mask(name, value, features, mask) for name, value in variants.items()}


def _label_features(layout, columns) -> dict[str, list[int]]:
    """Features by each label that a variant may use: a term, "term/input", an input, or a column, in this order."""
    found: dict[str, list[int]] = {}
    names = [str(name) for one in layout for name in [one.name] * one.n_features]
    terms = [str(one.term) for one in layout for _ in range(one.n_features)]
    paths = [f"{term}/{name}" for term, name in zip(terms, names, strict=True)]
    for labels in (terms, paths, names, list(map(str, _own_columns(layout, columns)))):
        for label in dict.fromkeys(labels):
            if label not in ("", "/"):
                found.setdefault(label, [feature for feature, other in enumerate(labels) if other == label])
    return found


def _own_columns(layout, columns):
    """Names of columns that are inputs themselves, not functions of a basis, which are named "input:function"."""
    is_basis = columns is None or len(layout) > 1 or all(":" in str(name) for name in columns)
    return [] if is_basis else list(columns)


def _leave_one_out(layout, columns, n_features) -> dict[str, list[str]]:
    """All inputs, and all but each term; of features without terms each input, or each column."""
    terms = dict.fromkeys(str(one.term) for one in layout)
    if len(terms) == 1:
        terms = dict.fromkeys(str(one.name) for one in layout)
    if len(terms) == 1:
        terms = dict.fromkeys(map(str, _own_columns(layout, columns)))
    if len(terms) < 2:
        raise ValueError(
            f'"{LEAVE_ONE_OUT}" needs two inputs with names; X has {n_features} features without. Give the features of a sum '
            f"of bases with labels, or `variants` as a dictionary of masks of shape (features,)."
        )
    return {ALL: list(terms), **{f"without {left}": [term for term in terms if term != left] for left in terms}}


def _as_mask(name, value, features, mask):
    """Mask (neurons, features) of a variant by labels, or from a mask (features,) or (features, neurons)."""
    array = np.asarray(value) if isinstance(value, np.ndarray) else None
    if array is not None and array.dtype.kind in "bif":
        array = np.repeat(array[:, None], len(mask), axis=1) if array.ndim == 1 else array
        return as_feature_mask(array.astype(float), mask.shape[1], len(mask), f"variants[{name!r}]")
    labels = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    used = np.zeros(mask.shape[1])
    for label in labels:
        if str(label) not in features:
            known = list_names(range(len(features)), list(features)) if features else "no names"
            raise ValueError(
                f"variant {name!r} must name inputs of X, which has {known}; got {label!r}. Labels are those of the terms of a "
                'sum of bases, label="heading" (of a product: basis.Product(a, b, label=...)), in lazy features or those of '
                "pynapple objects; else give a mask, a NumPy array of 0 and 1 of shape (features,)."
            )
        used[features[str(label)]] = 1
    return used
