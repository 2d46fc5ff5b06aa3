"""Penalties on the coefficients, of NumPy and JAX arrays alike. The intercept is never penalised."""

from dataclasses import dataclass

import jax

__all__ = ["Ridge", "UnRegularized"]


@jax.tree_util.register_static
@dataclass(frozen=True)
class UnRegularized:
    """No penalty: maximum likelihood.

    Examples
    --------
    >>> from popglm.glm import GLM
    >>> GLM(regularizer="UnRegularized")
    GLM()
    """

    default_strength = 0.0

    def penalty(self, strength, coef):
        """Zero, per neuron."""
        return 0 * coef[..., 0]

    def gradient(self, strength, coef):
        """Zero, per coefficient."""
        return 0 * coef

    def curvature(self, strength):
        """Second derivative of the penalty in any coefficient."""
        return 0.0


@jax.tree_util.register_static
@dataclass(frozen=True)
class Ridge:
    r"""Half the sum of squares: :math:`\frac{s}{2} \sum_j w_j^2`, added to each neuron's mean loss.

    The strength `s` is on the scale of a mean over bins: it is scikit-learn's `alpha`, and it is the precision
    of a Gaussian prior divided by the number of valid bins.

    References
    ----------
    Hoerl and Kennard (1970), *Technometrics* 12:55-67.

    Examples
    --------
    >>> from popglm.glm import PopulationGLM
    >>> PopulationGLM(regularizer="Ridge", regularizer_strength=0.01)
    PopulationGLM(regularizer='Ridge', regularizer_strength=0.01)
    """

    default_strength = 1.0

    def penalty(self, strength, coef):
        """Penalty of each neuron; `coef` has the features last."""
        return strength / 2 * (coef**2).sum(-1)

    def gradient(self, strength, coef):
        """Its derivative in every coefficient."""
        return strength * coef

    def curvature(self, strength):
        """Second derivative of the penalty in any coefficient."""
        return strength
