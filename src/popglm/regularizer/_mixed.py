"""Several penalties in one model, each on the features of its own inputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from math import prod
from typing import Any

import jax

from popglm._checks.values import as_plain_number
from popglm.regularizer._base import BlockPenalty, Regularizer, as_group_sizes
from popglm.regularizer._shrinkage import Ridge


@jax.tree_util.register_static
@dataclass(frozen=True, repr=False)
class Mixed(BlockPenalty):
    r"""Quadratic penalties side by side: :math:`\frac{1}{2} \sum_g \sum_j s_{gj}\, w_g^\top S_{gj} w_g`.

    Parameters
    ----------
    penalties : dict or list
        A penalty for each term of a sum of bases, by its label, or a list in the order of the features: `Smoothness`, `Ridge`
        or `UnRegularized`. Each term must be named.
    sizes : tuple of int
        Number of features of each penalty in a list. Taken from the sizes of the penalties themselves, else from the terms of
        the features.

    Notes
    -----
    The strength is one number for all, or has a number for each part, in the order of the features: one for each input of a
    `Ridge`, and for each input of a `Smoothness` one for each direction of its basis, and one more if it has ``select=True``.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import CyclicBSplineEval, RaisedCosineLogConv
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.regularizer import Mixed, Ridge, Smoothness
    >>> rng = np.random.default_rng(0)
    >>> angle, counts = rng.uniform(0, 2 * np.pi, 2000), rng.poisson(0.3, (2000, 2))
    >>> heading = CyclicBSplineEval(8, bounds=(0, 2 * np.pi), label="heading")
    >>> basis = heading + RaisedCosineLogConv(4, window_size=20, label="coupling")
    >>> penalty = Mixed({"heading": Smoothness(), "coupling": Ridge()})
    >>> model = PopulationGLM(regularizer=penalty, regularizer_strength=0.01)
    >>> model.fit(basis.lazy_features(angle, counts), counts).coef_.shape
    (16, 2)
    """

    penalties: Any
    sizes: tuple | None = None

    def __post_init__(self) -> None:
        """Check the penalties, and store them as a tuple, of pairs with labels if there are labels."""
        object.__setattr__(self, "penalties", _as_penalties(self.penalties))
        if self.sizes is not None:
            sizes = as_group_sizes(self.sizes)
            object.__setattr__(self, "sizes", sizes if isinstance(sizes, tuple) else (sizes,) * len(self.penalties))
            if len(self.sizes) != len(self.penalties):
                raise ValueError(
                    f"`sizes` of Mixed must have a number for each of {len(self.penalties)} penalties; got {self.sizes}."
                )

    def __repr__(self) -> str:
        inside = repr(dict(self.penalties)) if self._is_labelled else repr(list(self.penalties))
        return f"Mixed({inside})" if self.sizes is None else f"Mixed({inside}, sizes={self.sizes})"

    @property
    def _is_labelled(self):
        return isinstance(self.penalties[0], tuple)

    @property
    def _members(self):
        return [entry[1] if self._is_labelled else entry for entry in self.penalties]

    def groups(self, n_features: int) -> Any:
        """Number of features of each penalty."""
        return self._shares(n_features)

    def needs_layout(self, by_evidence: bool = False) -> bool:
        """Return whether sizes are not given, or a penalty has something to fill in."""
        return self.sizes is None or any(
            member.needs_layout(by_evidence or isinstance(member, Ridge)) for member in self._members
        )

    def resolve(self, layout: Any, *, by_evidence: bool = False) -> "Mixed":
        """Return the penalty with the sizes of all penalties, and what they take from their inputs."""
        terms = {str(term): list(inputs) for term, inputs in groupby(layout, lambda one: one.term)}
        penalties, sizes = self.penalties, self.sizes
        if sizes is None and self._is_labelled:
            penalties = _sort_by_terms(dict(self.penalties), terms)
        if sizes is None:
            own, n_features = list(map(_own_size, self._members)), sum(one.n_features for one in layout)
            by_terms = self._is_labelled or (sum(size or 0 for size in own) != n_features and len(terms) == len(own))
            sizes = tuple(sum(one.n_features for one in inputs) for inputs in terms.values()) if by_terms else None
        found = replace(self, penalties=penalties, sizes=sizes)
        shares = found._shares(sum(one.n_features for one in layout))
        members = [
            _resolve_member(member, _inputs_between(layout, start, stop), by_evidence)
            for member, (start, stop) in zip(found._members, pairwise(accumulate(shares, initial=0)), strict=True)
        ]
        if self._is_labelled:
            members = [(label, member) for (label, _), member in zip(found.penalties, members, strict=True)]
        return replace(found, penalties=tuple(members), sizes=tuple(shares))

    def _shares(self, n_features):
        """Number of features of each penalty; raise if they are unknown, or not all features."""
        sizes = list(map(_own_size, self._members)) if self.sizes is None else list(self.sizes)
        if None in sizes or sum(sizes) != n_features:
            came = "some have no `sizes`" if None in sizes else f"the penalties have {sum(sizes)}: {tuple(sizes)}"
            raise ValueError(
                f"`Mixed` must know the features of each of its {len(sizes)} penalties; X has {n_features} features, and "
                f"{came}. Give them, Mixed([Smoothness(12), Ridge(8)]), or a dictionary of the terms of a sum of bases."
            )
        return sizes

    def _blocks(self, n_features):
        shares = zip(self._members, self._shares(n_features), strict=True)
        return [block for member, size in shares for block in member._blocks(size)]


def _as_penalties(value):
    """Convert a dictionary or list of penalties to a tuple; refuse what is no sum of squares."""
    entries = tuple(value.items() if isinstance(value, Mapping) else value) if isinstance(value, Iterable) else ()
    if not entries or isinstance(value, str):
        expected = "a dictionary of penalties by the labels of terms, or a list of penalties"
        raise TypeError(f"`penalties` of Mixed must be {expected}; got {value!r}.")
    labelled = [isinstance(entry, tuple) and len(entry) == 2 for entry in entries]
    for entry, has_label in zip(entries, labelled, strict=True):
        member = entry[1] if has_label and labelled[0] else entry
        if not isinstance(member, Regularizer) or not hasattr(member, "_blocks"):
            raise TypeError(
                f"`Mixed` takes sums of squares, Smoothness, Ridge and UnRegularized; got {member!r}. A penalty that is not "
                "smooth at 0 stands alone: regularizer=GroupLasso(...)."
            )
    return entries


def _own_size(penalty):
    """Number of features that a penalty names; one number is that of a single input. None if it names none."""
    sizes = as_plain_number(getattr(penalty, "sizes", None))
    if not isinstance(sizes, tuple):
        return sizes
    return sum(prod(size) if isinstance(size, tuple) else size for size in sizes)


def _sort_by_terms(penalties, terms):
    """Pairs of label and penalty in the order of the terms; every term must be named, and no other."""
    by_label = {str(label): penalty for label, penalty in penalties.items()}
    if set(by_label) != set(terms):
        known = (
            "is no sum of bases with labels" if set(terms) == {""} else f"has the terms {', '.join(map(repr, terms))}"
        )
        fix = 'Name each term once (UnRegularized() for one without a penalty); labels are those of the bases: label="heading".'
        raise ValueError(
            f"`Mixed` must name the terms of X; X {known}, and got {', '.join(map(repr, by_label))}. {fix}"
        )
    return tuple((term, by_label[term]) for term in terms)


def _inputs_between(layout, start, stop):
    """Inputs of the features from `start` to `stop`; if these cut an input, they count as one input."""
    edges = list(accumulate((one.n_features for one in layout), initial=0))
    if start in edges and stop in edges:
        return tuple(layout[edges.index(start) : edges.index(stop)])
    return (layout[0]._replace(name="", shape=(stop - start,), cyclic=(False,)),)


def _resolve_member(penalty, inputs, by_evidence):
    """Penalty of some inputs with all that it takes from them; a ridge has a strength for each of them."""
    return penalty.resolve(inputs, by_evidence=by_evidence or isinstance(penalty, Ridge))
