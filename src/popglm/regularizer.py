r"""Penalties on the coefficients, for NumPy and JAX arrays. The intercept is never penalised.

A penalty is half a sum of squares, of the coefficients or their differences, plus a sum of group norms:
:math:`\frac{1}{2} \sum_r s_r (A w)_r^2 + \sum_g s_g \sqrt{n_g}\, \lVert w_g \rVert`. A class defines the shares of the
strength for the two sums, the matrix A and the groups. Coefficients have shape (neurons, features). A strength is one number,
or has shape (parts,) or (neurons, parts), with one entry for each part (feature or group), or 1 for all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from popglm._checks.old_names import OldName, alias_old_names
from popglm._checks.values import as_number, as_plain_number, as_positive_integer, as_share, require_flag
from popglm._types import Coefficients, PerNeuron, Strength

__all__ = ["ElasticNet", "GroupLasso", "Lasso", "Ridge", "Smoothness", "UnRegularized"]


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


class Regularizer:
    """Base class of penalties. A subclass defines `l2_share`, `l1_share`, `groups` and `differences`."""

    default_strength = 1.0
    l2_share = 0.0  # share of the strength for the sum of squares
    l1_share = 0.0  # share of the strength for the group norms, which are non-smooth at 0

    squares, lengths, thresholds = OldName("l2_share"), OldName("l1_share"), OldName("group_weights")

    def __init_subclass__(cls) -> None:
        """Read the names that a user's class had in version 0.1."""
        alias_old_names(cls)

    def groups(self, n_features: int) -> Int[np.ndarray, " groups"]:
        """Number of features in each group; a group is a run of adjacent features."""
        return np.ones(n_features, int)

    def differences(self, n_features: int) -> tuple[Any, np.ndarray]:
        """Return the matrix A, None for the identity, and for each of its rows the part whose strength it has."""
        sizes = self.groups(n_features)
        return None, np.repeat(np.arange(len(sizes)), sizes)

    def check(self, strength: Strength, n_features: int, n_neurons: int) -> None:
        """Raise unless the strength has a shape for this number of features and neurons."""
        shape, n_parts = np.shape(strength), len(self.groups(n_features))
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


def _part_strengths(strength, part):
    """Return the strength of each row, from the part it belongs to."""
    return strength if not np.ndim(strength) or strength.shape[-1] == 1 else strength[..., part]


@lru_cache(maxsize=16)
def _group_membership(sizes):
    """Return the membership of features in groups, 0 or 1, shape (features, groups)."""
    return np.repeat(np.eye(len(sizes), dtype=np.float32), sizes, 0)


@lru_cache(maxsize=16)
def _difference_matrix(sizes, order, cyclic, ridge):
    """Return differences along each group, with a share of the coefficients themselves, and the group of every row."""
    blocks = []
    for size in sizes:
        block = np.eye(size)
        for _ in range(order):
            block = np.roll(block, -1, 0) - block if cyclic and size > 1 else np.diff(block, axis=0)
        blocks.append(np.concatenate([block, ridge**0.5 * np.eye(size)]) if ridge else block)
    out, row, column = np.zeros((sum(map(len, blocks)), sum(sizes)), np.float32), 0, 0
    for block in blocks:
        out[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return out, np.repeat(np.arange(len(sizes)), list(map(len, blocks)))


@jax.tree_util.register_static
@dataclass(frozen=True)
class UnRegularized(Regularizer):
    """No penalty: maximum likelihood.

    Examples
    --------
    >>> from popglm.glm import GLM
    >>> GLM(regularizer="UnRegularized")
    GLM()
    """

    default_strength = 0.0


@jax.tree_util.register_static
@dataclass(frozen=True)
class Ridge(Regularizer):
    r"""Half the sum of squares: :math:`\frac{s}{2} \sum_j w_j^2`, added to each neuron's mean loss.

    The strength `s` is on the scale of a mean over bins. It equals scikit-learn's `alpha`, and the precision of a Gaussian
    prior divided by the number of valid bins.

    References
    ----------
    Hoerl and Kennard (1970), *Technometrics* 12:55-67.

    Examples
    --------
    >>> from popglm.glm import PopulationGLM
    >>> PopulationGLM(regularizer="Ridge", regularizer_strength=0.01)
    PopulationGLM(regularizer='Ridge', regularizer_strength=0.01)
    """

    l2_share = 1.0


@jax.tree_util.register_static
@dataclass(frozen=True)
class Lasso(Regularizer):
    r"""The sum of absolute values: :math:`s \sum_j |w_j|`. Coefficients that improve the fit too little are exactly 0.

    The derivative of the mean loss lies between -s and s for a coefficient that is 0; for any other it is -s or s.

    References
    ----------
    Tibshirani (1996), *Journal of the Royal Statistical Society B* 58:267-288.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 3))
    >>> y = rng.poisson(np.exp(0.5 * X[:, 0] - 1))
    >>> GLM(regularizer="Lasso", regularizer_strength=0.05).fit(X, y).coef_ != 0
    array([ True, False, False])
    """

    l1_share = 1.0


@jax.tree_util.register_static
@dataclass(frozen=True)
class ElasticNet(Regularizer):
    r"""A lasso that keeps correlated features together: :math:`s \sum_j \rho |w_j| + \frac{1 - \rho}{2} w_j^2`.

    Parameters
    ----------
    l1_ratio : float
        Share of the absolute values, :math:`\rho`, above 0 and below 1.

    References
    ----------
    Zou and Hastie (2005), *Journal of the Royal Statistical Society B* 67:301-320.

    Examples
    --------
    >>> from popglm.glm import GLM
    >>> from popglm.regularizer import ElasticNet
    >>> GLM(regularizer=ElasticNet(l1_ratio=0.9), regularizer_strength=0.01)
    GLM(regularizer=ElasticNet(l1_ratio=0.9), regularizer_strength=0.01)
    """

    l1_ratio: float = 0.5

    def __post_init__(self) -> None:
        """Check `l1_ratio`, and store it as a float."""
        share = as_share("l1_ratio", self.l1_ratio, " Use Lasso for 1 and Ridge for 0.", strict=True)
        object.__setattr__(self, "l1_ratio", share)

    @property
    def l1_share(self) -> float:  # type: ignore[override]
        """Share of the absolute values."""
        return self.l1_ratio

    @property
    def l2_share(self) -> float:  # type: ignore[override]
        """Share of the squares."""
        return 1 - self.l1_ratio


@jax.tree_util.register_static
@dataclass(frozen=True)
class GroupLasso(Regularizer):
    r"""Norms of groups of coefficients: :math:`s \sum_g \sqrt{n_g}\, \lVert w_g \rVert`. Whole groups become exactly 0.

    A group holds the functions of one input, such as a sender or a stimulus: the penalty selects inputs.

    Parameters
    ----------
    sizes : int or tuple of int
        Number of adjacent features in each group: ``basis.n_basis_funcs`` for the coupling of many senders, one number for
        each group for inputs with different bases.

    References
    ----------
    Yuan and Lin (2006), *Journal of the Royal Statistical Society B* 68:49-67.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> from popglm.regularizer import GroupLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 4))
    >>> y = rng.poisson(np.exp(0.5 * X[:, 0] - 1))
    >>> GLM(regularizer=GroupLasso(2), regularizer_strength=0.05).fit(X, y).coef_ != 0
    array([ True,  True, False, False])
    """

    sizes: int | tuple
    l1_share = 1.0

    def __post_init__(self) -> None:
        """Check the settings, and store `sizes` as a number or a tuple, which are hashable."""
        object.__setattr__(self, "sizes", as_group_sizes(self.sizes))

    def groups(self, n_features: int) -> Int[np.ndarray, " groups"]:
        """Number of features in each group."""
        return divide_into_groups(type(self).__name__, self.sizes, n_features)


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

    def differences(self, n_features: int) -> tuple[Any, np.ndarray]:
        """Return differences of adjacent coefficients and a share of all coefficients, and the input of every row."""
        return _difference_matrix(tuple(self.groups(n_features)), self.order, self.cyclic, self.ridge)


def __dir__():
    return __all__
