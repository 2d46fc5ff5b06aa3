"""Penalty on differences along the functions of a basis."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from popglm._checks.values import as_number, as_positive_integer, require_flag
from popglm.regularizer._base import Regularizer, as_group_sizes, divide_into_groups
from popglm.regularizer._parts import QuadraticParts, smoothness_block, stack_parts, stack_rows


@jax.tree_util.register_static
@dataclass(frozen=True)
class Smoothness(Regularizer):
    r"""Squared differences along the functions of a basis: :math:`\frac{s}{2} \sum_g \lVert \Delta^d w_g \rVert^2`.

    With a B-spline basis these are P-splines: many functions, and as much detail as the data support. Differences of order d
    do not penalise polynomials of degree below d, such as a straight line for d = 2; only the share `ridge` does.

    Parameters
    ----------
    sizes : int or tuple of int
        Number of functions of each input: ``basis.n_basis_funcs``, or one number for each input. An input with at most
        `order` functions has no differences.
    order : int
        Order of the differences, d.
    cyclic : bool
        True for a cyclic basis: the first function follows the last.
    ridge : float
        Share of the strength that penalises the coefficients themselves, as `Ridge` does. It makes them unique if the
        functions sum to 1, as splines do, and so are collinear with the intercept.

    References
    ----------
    Eilers and Marx (1996), *Statistical Science* 11:89-121.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import BSplineEval
    >>> from popglm.glm import GLM
    >>> from popglm.regularizer import Smoothness
    >>> position = np.linspace(0, 1, 2000)
    >>> y = np.random.default_rng(0).poisson(np.exp(np.sin(6 * position)))
    >>> X = BSplineEval(20).compute_features(position)
    >>> model = GLM(regularizer=Smoothness(20), regularizer_strength=1e-3).fit(X, y)
    """

    sizes: int | tuple
    order: int = 2
    cyclic: bool = False
    ridge: float = 1e-3
    select: bool | None = None
    l2_share = 1.0

    def __post_init__(self) -> None:
        """Check the settings, and store `sizes` as a number or a tuple, which are hashable."""
        object.__setattr__(self, "sizes", as_group_sizes(self.sizes))
        object.__setattr__(self, "ridge", as_number("ridge", self.ridge, 0))
        object.__setattr__(self, "order", as_positive_integer("order", self.order))
        require_flag("cyclic", self.cyclic)

    def groups(self, n_features: int) -> Int[np.ndarray, " groups"]:
        """Number of functions of each input."""
        return divide_into_groups(type(self).__name__, self.sizes, n_features)

    def for_evidence(self) -> "Smoothness":
        """Return the penalty with a strength for its null space, unless `select` is False."""
        return replace(self, select=True) if self.select is None else self

    def differences(self, n_features: int) -> tuple[Any, np.ndarray]:
        """Return differences of adjacent coefficients and a share of all coefficients, and the input of every row."""
        return _stack_rows(self, n_features)

    def quadratic_parts(self, n_features: int) -> QuadraticParts:
        """Return the parts of the penalty: differences of each input, and its null space if that has a strength."""
        return _stack_parts(self, n_features)

    def _blocks(self, n_features):
        sizes = self.groups(n_features)
        return [smoothness_block((int(n),), self.order, (self.cyclic,), self.ridge, bool(self.select)) for n in sizes]


@lru_cache(maxsize=16)
def _stack_rows(penalty, n_features):
    return stack_rows(penalty._blocks(n_features), np.float64 if penalty.select else np.float32)


@lru_cache(maxsize=16)
def _stack_parts(penalty, n_features):
    return stack_parts(penalty._blocks(n_features))
