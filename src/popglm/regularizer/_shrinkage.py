"""Penalties that pull coefficients towards 0: squares, absolute values, norms of groups."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from popglm._checks.values import as_share
from popglm.regularizer._base import Regularizer, as_group_sizes, divide_into_groups, require_whole_inputs
from popglm.regularizer._parts import QuadraticParts, free_block, ridge_block, stack_parts


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

    def quadratic_parts(self, n_features: int) -> QuadraticParts:
        """Return no part."""
        return stack_parts(self._blocks(n_features))

    def _blocks(self, n_features):
        return [free_block(n_features)]


@jax.tree_util.register_static
@dataclass(frozen=True, repr=False)
class Ridge(Regularizer):
    r"""Half the sum of squares: :math:`\frac{s}{2} \sum_j w_j^2`, added to each neuron's mean loss.

    The strength `s` is on the scale of a mean over bins. It equals scikit-learn's `alpha`, and the precision of a Gaussian
    prior divided by the number of valid bins.

    Parameters
    ----------
    sizes : int or tuple of int
        Number of features of each input, if an array of strengths has one for each input. None: an array has one strength
        for each feature; strengths by evidence are those of the inputs that the features tell.

    References
    ----------
    Hoerl and Kennard (1970), *Technometrics* 12:55-67.

    Examples
    --------
    >>> from popglm.glm import PopulationGLM
    >>> PopulationGLM(regularizer="Ridge", regularizer_strength=0.01)
    PopulationGLM(regularizer='Ridge', regularizer_strength=0.01)
    """

    sizes: int | tuple | None = None
    l2_share = 1.0

    def __post_init__(self) -> None:
        """Check the settings, and store `sizes` as a number or a tuple, which are hashable."""
        if self.sizes is not None:
            object.__setattr__(self, "sizes", as_group_sizes(self.sizes))

    def groups(self, n_features: int) -> Int[np.ndarray, " groups"]:
        """Number of features that have one strength: those of an input, or each alone without `sizes`."""
        return divide_into_groups(type(self).__name__, 1 if self.sizes is None else self.sizes, n_features)

    def needs_layout(self, by_evidence: bool = False) -> bool:
        """Return whether each input has a strength, and nobody has said how many features it has."""
        return by_evidence and self.sizes is None

    def resolve(self, layout: Any, *, by_evidence: bool = False) -> "Ridge":
        """Return the penalty with the sizes of the inputs, if strengths are chosen by evidence."""
        if not self.needs_layout(by_evidence):
            return self
        require_whole_inputs(layout)
        return replace(self, sizes=tuple(one.n_features for one in layout))

    def _blocks(self, n_features):
        return [ridge_block(int(size)) for size in self.groups(n_features)]


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
