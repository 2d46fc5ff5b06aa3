"""Penalty on differences along the functions of a basis."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from popglm._checks.values import as_number, as_plain_number, as_positive_integer, require_flag
from popglm.regularizer._base import BlockPenalty, as_input_sizes, divide_into_shapes, require_whole_inputs
from popglm.regularizer._parts import smoothness_block


@jax.tree_util.register_static
@dataclass(frozen=True, repr=False)
class Smoothness(BlockPenalty):
    r"""Squared differences along the functions of each input: :math:`\frac{1}{2} \sum_g s_g \lVert \Delta^d w_g \rVert^2`.

    With a B-spline basis these are P-splines: many functions, and as much detail as the data support. Differences of order d
    do not see polynomials of degree below d, such as a straight line for d = 2 (on a circle only the constant): these have the
    share `ridge` of the strength, or with `select` a strength of their own. A product of bases, such as a map of two
    directions, has differences and a strength along each of them.

    Parameters
    ----------
    sizes : int or tuple
        Number of functions of each input: ``basis.n_basis_funcs``, or a tuple with one number for each input, and in it a tuple
        for a product: ``(12, (10, 8))``. None takes them from features that say what a basis made, lazy ones or those of
        pynapple objects; a plain array, as `compute_features` makes of arrays, says nothing and counts as one input that is
        not cyclic. An input with at most `order` functions has no differences.
    order : int or tuple of int
        Order of the differences, d: one for all inputs, or one for each.
    cyclic : bool or tuple
        True if the first function follows the last: one for all inputs, or one for each, and in it a tuple for a product. None:
        as the basis of each input is, and not cyclic if X does not tell.
    ridge : float or tuple of float
        Share of the strength that penalises the coefficients themselves, as `Ridge` does: one for all inputs, or one for each.
        It makes them unique if the functions sum to 1, as splines do, and so are collinear with the intercept. Not used with
        ``select=True``, and where strengths are chosen by evidence.
    select : bool
        True: what the differences do not see is a part with a strength of its own, so that an input without effect can vanish.
        False: it has the share `ridge`, or no penalty where strengths are chosen by evidence (so ``ridge=0`` gives such a fit
        again at its strengths). None: True where they are, or are an array with as many, else False.

    Raises
    ------
    ValueError
        If sizes are not those of X, or there are other numbers of orders, cycles or ridges than of inputs; if `sizes` is None
        and the features of an input do not stand side by side.

    Notes
    -----
    The strength is one number, or one for each part: for every input one (in a product, for each direction), then with `select`
    one for what these do not see.

    References
    ----------
    Eilers and Marx (1996), *Statistical Science* 11:89-121; for products Eilers and Marx (2003), *Chemometrics and Intelligent
    Laboratory Systems* 66:159-174; for `select` Marra and Wood (2011), *Computational Statistics & Data Analysis* 55:2372-2387.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import BSplineEval
    >>> from popglm.glm import GLM
    >>> from popglm.regularizer import Smoothness
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.uniform(0, 1, (2, 2000))
    >>> counts = rng.poisson(np.exp(np.sin(6 * x)))
    >>> X = BSplineEval(20, bounds=(0, 1)).compute_features(x)
    >>> model = GLM(regularizer=Smoothness(), regularizer_strength=1e-3).fit(X, counts)

    A map, smoother along its first direction:

    >>> place = BSplineEval(8, bounds=(0, 1)) * BSplineEval(6, bounds=(0, 1))
    >>> model = GLM(regularizer=Smoothness(), regularizer_strength=np.array([0.1, 0.01]))
    >>> model.fit(place.lazy_features(x, y), counts).coef_.shape
    (48,)
    """

    sizes: int | tuple | None = None
    order: int | tuple = 2
    cyclic: bool | tuple | None = None
    ridge: float | tuple = 1e-3
    select: bool | None = None

    def __post_init__(self) -> None:
        """Check the settings, and store them as numbers, flags and tuples, which are hashable."""
        settings = {
            "sizes": None if self.sizes is None else as_input_sizes(self.sizes),
            "order": _map_inputs(self.order, lambda value: as_positive_integer("order", value)),
            "cyclic": None if self.cyclic is None else _map_inputs(self.cyclic, _as_flags),
            "ridge": _map_inputs(self.ridge, lambda value: as_number("ridge", value, 0)),
        }
        if self.select is not None:
            require_flag("select", self.select)
        for name, value in settings.items():
            object.__setattr__(self, name, value)

    def groups(self, n_features: int) -> Int[np.ndarray, " groups"]:
        """Number of functions of each input."""
        return np.array([prod(shape) for shape in self._shapes(n_features)])

    def needs_layout(self, by_evidence: bool = False) -> bool:
        """Return whether sizes or cycles are not given, or the null space depends on how strengths are chosen."""
        return self.sizes is None or self.cyclic is None or by_evidence

    def resolve(self, layout: Any, *, by_evidence: bool = False) -> "Smoothness":
        """Return the penalty with the sizes and the cycles of the inputs, where they are not given."""
        found = self if self.sizes is not None else replace(self, sizes=_sizes_of(layout))
        if found.cyclic is None:
            shapes = found._shapes(sum(one.n_features for one in layout))
            same = shapes == [tuple(one.shape) for one in layout]
            found = replace(found, cyclic=_join_flags([one.cyclic for one in layout]) if same else False)
        if by_evidence:
            return replace(found, ridge=0) if self.select is False else replace(found, select=True)
        return found

    def _shapes(self, n_features):
        """Number of functions of each input along each direction."""
        return divide_into_shapes(type(self).__name__, n_features if self.sizes is None else self.sizes, n_features)

    def _blocks(self, n_features):
        shapes = self._shapes(n_features)
        settings = [
            self._of_inputs(name, value, len(shapes))
            for name, value in {"order": self.order, "cyclic": self.cyclic or False, "ridge": self.ridge}.items()
        ]
        return [
            smoothness_block(shape, order, _of_directions(cyclic, shape), ridge, bool(self.select))
            for shape, order, cyclic, ridge in zip(shapes, *settings, strict=True)
        ]

    @staticmethod
    def _of_inputs(name, value, n_inputs):
        """Value for each input, from one for all or one for each."""
        values = value if isinstance(value, tuple) else (value,) * n_inputs
        if len(values) != n_inputs:
            raise ValueError(
                f"`{name}` of Smoothness must be one value, or a tuple with one for each of {n_inputs} inputs; got "
                f"{len(values)}: {value!r}."
            )
        return values


def _sizes_of(layout):
    """Number of functions of each input; that along each direction for a product."""
    require_whole_inputs(layout)
    return tuple(one.shape if len(one.shape) > 1 else one.shape[0] for one in layout)


def _map_inputs(value, convert):
    """Convert one value, or a tuple with one for each input."""
    value = as_plain_number(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(map(convert, value))
    return convert(value)


def _as_flags(value):
    """Convert a flag, or a tuple with one for each direction of a product."""
    if isinstance(value, list | tuple):
        return tuple(map(_as_flags, value))
    require_flag("cyclic", value)
    return bool(value)


def _of_directions(cyclic, shape):
    """Flag for each direction, from one for all or one for each."""
    flags = cyclic if isinstance(cyclic, tuple) else (cyclic,) * len(shape)
    if len(flags) != len(shape):
        raise ValueError(
            f"`cyclic` of Smoothness must have one flag for each direction of an input with {shape} functions; got {cyclic!r}. "
            "Write ((True, False), False) for a product and another input."
        )
    return flags


def _join_flags(inputs):
    """One flag if all inputs agree in all directions, else one for each input."""
    if len({flag for flags in inputs for flag in flags}) == 1:
        return inputs[0][0]
    return tuple(flags if len(flags) > 1 else flags[0] for flags in inputs)
