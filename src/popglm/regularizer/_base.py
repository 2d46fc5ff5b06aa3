"""Base class of penalties: what the solver asks of a penalty, from its shares, groups and differences."""

from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from popglm._checks.old_names import OldName, alias_old_names
from popglm._checks.values import as_plain_number, as_positive_integer
from popglm._types import Coefficients, PerNeuron, Strength
from popglm.regularizer._parts import Block, QuadraticParts, stack_parts, stack_rows


def as_group_sizes(value):
    """Return the sizes of groups: one whole number, or a tuple of them."""
    value = as_plain_number(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(as_positive_integer("sizes", n, " number of features for each group") for n in value)
    return as_positive_integer("sizes", value, " number of features, or one for each group")


def divide_into_groups(name, sizes, n_features):
    """Return the size of every group; raise unless the groups contain all features."""
    group_sizes = np.full(n_features // sizes, sizes) if isinstance(sizes, int) else np.asarray(sizes)
    if group_sizes.sum() != n_features:
        made = f"groups of {sizes}" if isinstance(sizes, int) else f"groups of {group_sizes.sum()} features in all"
        came = f"X has {n_features} features, which are no {made}"
        fix = f"Give basis.n_basis_funcs, or a tuple with the number of features of every input: {name}((8, 8, 5))."
        raise ValueError(f"`sizes` of {name} must divide the features into groups; {came}. {fix}")
    return group_sizes


def as_input_sizes(value):
    """Return the sizes of inputs: as those of groups, but a product of bases may have a tuple, a number for each direction."""
    value = as_plain_number(value)
    if not isinstance(value, Iterable) or isinstance(value, str):
        return as_group_sizes(value)
    return tuple(as_group_sizes(one) if isinstance(one, list | tuple) else as_group_sizes([one])[0] for one in value)


def divide_into_shapes(name, sizes, n_features):
    """Return the number of functions of every input along each direction; raise unless the inputs have all features."""
    if isinstance(sizes, int):
        return [(int(size),) for size in divide_into_groups(name, sizes, n_features)]
    shapes = [one if isinstance(one, tuple) else (one,) for one in sizes]
    divide_into_groups(name, tuple(map(prod, shapes)), n_features)
    return shapes


def require_whole_inputs(layout):
    """Refuse to take sizes from inputs of which the columns do not tell them."""
    for one in layout:
        if one.trouble:
            raise ValueError(one.trouble)


class Regularizer:
    """Base class of penalties. A subclass defines `l2_share`, `l1_share`, `groups` and `differences`."""

    default_strength = 1.0
    l2_share = 0.0  # share of the strength for the sum of squares
    l1_share = 0.0  # share of the strength for the group norms, which are non-smooth at 0

    squares, lengths, thresholds = OldName("l2_share"), OldName("l1_share"), OldName("group_weights")

    def __init_subclass__(cls) -> None:
        """Read the names that a user's class had in version 0.1."""
        alias_old_names(cls)

    def __repr__(self) -> str:
        """Settings that differ from their defaults; for classes made with ``@dataclass(repr=False)``."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}  # type: ignore[arg-type]
        settings = [f"{name}={value!r}" for name, (value, default) in values.items() if value != default]
        return f"{type(self).__name__}({', '.join(settings)})"

    def groups(self, n_features: int) -> Int[np.ndarray, " groups"]:
        """Number of features in each group; a group is a run of adjacent features."""
        return np.ones(n_features, int)

    def differences(self, n_features: int) -> tuple[Any, np.ndarray]:
        """Return the matrix A, None for the identity, and for each of its rows the part whose strength it has."""
        sizes = self.groups(n_features)
        return None, np.repeat(np.arange(len(sizes)), sizes)

    def needs_layout(self, by_evidence: bool = False) -> bool:
        """Return whether `resolve` has something to fill in."""
        return False

    def resolve(self, layout: Any, *, by_evidence: bool = False) -> "Regularizer":
        """Return the penalty with what it takes from the inputs that the features are made of.

        Parameters
        ----------
        layout
            For each input its `term`, `name`, `shape` (number of functions along each direction), `cyclic` (for each
            direction) and `n_features`, and its `trouble`, a message if the columns do not tell them.
        by_evidence : bool
            True if strengths are chosen by evidence: each input has its own.

        Returns
        -------
        Regularizer
        """
        return self

    def n_parts(self, n_features: int) -> int:
        """Count the parts that may have strengths of their own."""
        return len(self.groups(n_features))

    def part_labels(self, n_features: int) -> tuple[str, ...]:
        """Name the kind of each part: "ridge", "differences" or "null space"."""
        return ("ridge",) * self.n_parts(n_features)

    def quadratic_parts(self, n_features: int) -> QuadraticParts:
        """Return the parts of a sum of squares, each with a strength of its own; raise if the penalty is no sum of squares.

        Parameters
        ----------
        n_features : int
            Number of features.

        Returns
        -------
        QuadraticParts
            `basis` U (features, features), `weights` D (parts, features), `group` (parts,), `sizes` (inputs,) and `labels`:
            the Hessian at the strengths s is U diag(s D) U'.
        """
        A, part = self.differences(n_features)
        self._require_quadratic(A is None)
        n_parts = self.n_parts(n_features)
        weights = self.l2_share * (part == np.arange(n_parts)[:, None])
        sizes, labels = self.groups(n_features), self.part_labels(n_features)
        return QuadraticParts(np.eye(n_features), weights, np.arange(n_parts), sizes, labels)

    def _require_quadratic(self, has_parts=True):
        if self.l1_share or not has_parts:
            fix = "Use Ridge, Smoothness or Mixed, or define `quadratic_parts` of your own penalty."
            raise ValueError(f"this needs a penalty that is a sum of squares; {type(self).__name__} is none. {fix}")

    def check(self, strength: Strength, n_features: int, n_neurons: int) -> None:
        """Raise unless the strength has a shape for this number of features and neurons."""
        shape, n_parts = np.shape(strength), self.n_parts(n_features)
        by_neuron = len(shape) == 2 and shape[0] in (1, n_neurons) and shape[1] in (1, n_parts)
        if shape and shape != (n_parts,) and not by_neuron:
            raise ValueError(
                f"`regularizer_strength` of {type(self).__name__} must be a number, an array ({n_parts},) with one for each "
                f"of its features or groups, or one of 1 or {n_parts} rows and {n_neurons} columns, which are the neurons; got "
                f"shape {shape[::-1]}."
            )

    def penalty(self, strength: Strength, coef: Coefficients) -> PerNeuron:
        """Return the penalty of each neuron."""
        value = self.smooth(strength, coef)
        if self.l1_share:
            value = value + (self.group_weights(strength, coef.shape[-1]) * self._norms(coef)).sum(-1)
        return value

    def smooth(self, strength: Strength, coef: Coefficients) -> PerNeuron:
        """Return the smooth part of the penalty: the sum of squares."""
        weight, rows, _ = self._rows(strength, coef)
        return (weight * rows**2).sum(-1) / 2

    def gradient(self, strength: Strength, coef: Coefficients) -> Coefficients:
        """Return the gradient of the smooth part, shape of `coef`."""
        weight, rows, A = self._rows(strength, coef)
        return weight * rows if A is None else (weight * rows) @ A

    def hessian(self, strength: Strength, n_features: int) -> Float[np.ndarray, "features features"]:
        """Return the Hessian of the smooth part, shape (features, features), for the strength of one neuron."""
        weight, rows, A = self._rows(strength, np.eye(n_features))
        weighted = weight * rows
        return weighted if A is None else weighted @ A

    def group_weights(self, strength: Strength, n_features: int) -> Strength:
        """Return the weight of each group norm in the penalty."""
        sizes = self.groups(n_features)
        return self.l1_share * np.sqrt(sizes) * _part_strengths(strength, np.arange(len(sizes)))

    def prox(self, strength: Strength, coef: Coefficients, step: Any) -> Coefficients:
        """Return the proximal step of the group norms: groups with a norm below the threshold become 0."""
        if not self.l1_share:
            return coef
        n_features = coef.shape[-1]
        threshold, norms = step * self.group_weights(strength, n_features), self._norms(coef)
        factor = (norms > threshold) * (1 - threshold / (norms + (norms == 0)))
        if factor.shape[-1] != n_features:
            factor = factor @ _group_membership(tuple(self.groups(n_features))).T
        return coef * factor

    def _rows(self, strength, coef):
        A, part = self.differences(coef.shape[-1])
        return self.l2_share * _part_strengths(strength, part), coef if A is None else coef @ A.T, A

    def _norms(self, coef):
        sizes = self.groups(coef.shape[-1])
        return abs(coef) if len(sizes) == coef.shape[-1] else (coef**2 @ _group_membership(tuple(sizes))) ** 0.5


class BlockPenalty(Regularizer):
    """Sum of squares that is a sum over inputs: a subclass lists the block of each input in `_blocks`."""

    l2_share = 1.0

    def _blocks(self, n_features: int) -> list[Block]:
        raise NotImplementedError

    def differences(self, n_features: int) -> tuple[Any, np.ndarray]:
        """Return the matrix A, of which every row has the strength of a part, and the part of each row."""
        return _stack_rows(self, n_features)

    def quadratic_parts(self, n_features: int) -> QuadraticParts:
        """Return the parts of the penalty, as every sum of squares does."""
        self._require_quadratic()
        return _stack_parts(self, n_features)

    def n_parts(self, n_features: int) -> int:
        """Count the parts that may have strengths of their own."""
        return len(self.part_labels(n_features))

    def part_labels(self, n_features: int) -> tuple[str, ...]:
        """Name the kind of each part, in the order of the inputs."""
        return _stack_parts(self, n_features).labels


@lru_cache(maxsize=16)
def _stack_rows(penalty, n_features):
    return stack_rows(penalty._blocks(n_features))


@lru_cache(maxsize=16)
def _stack_parts(penalty, n_features):
    return stack_parts(penalty._blocks(n_features))


def _part_strengths(strength, part):
    """Return the strength of each row, from the part it belongs to."""
    return strength if not np.ndim(strength) or strength.shape[-1] == 1 else strength[..., part]


@lru_cache(maxsize=16)
def _group_membership(sizes):
    """Return the membership of features in groups, 0 or 1, shape (features, groups)."""
    return np.repeat(np.eye(len(sizes), dtype=np.float32), sizes, 0)
