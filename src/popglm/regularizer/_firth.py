"""Firth's penalty, which reduces the bias of estimates and keeps all of them finite."""

from dataclasses import dataclass

import jax

from popglm.regularizer._base import Regularizer
from popglm.regularizer._parts import QuadraticParts


@jax.tree_util.register_static
@dataclass(frozen=True, repr=False)
class Firth(Regularizer):
    r"""Half the logarithm of the determinant of Fisher's information: Jeffreys' prior, for few events and for separation.

    Each neuron's estimates, the intercept's included, maximise

    .. math:: \ell(w, b) + \tfrac{1}{2} \log \det I(w, b), \qquad I = \sum_t f'(\eta_t)\, \tilde x_t \tilde x_t^\top,
       \quad \tilde x_t = (x_t, 1) .

    This removes the first term of the bias of maximum likelihood, and estimates are finite even if no event comes with a
    feature, or the features separate bins with an event from those without (Heinze and Schemper 2002). There is no strength to
    choose: with many events the penalty is nothing. For Poisson counts with the link "exp" and for Bernoulli activity with
    "logistic", by `fit` only. Estimates are those of ``brglmFit(type="AS_mean")`` of R's brglm2.

    A Poisson neuron with p parameters gets p / 2 more expected events than it has, which are spread over its bins by
    their leverage; rates are too large by this much on average. Intervals of coefficients that were separated are skewed: take
    them from `popglm.inference.profile_interval`; `popglm.inference.uncertainty` has Wald's.

    It costs two passes over the data for each of some ten steps, each 2 x time x features² x neurons operations, and memory of
    8 bytes x 8 neurons x features².

    References
    ----------
    Firth (1993), *Biometrika* 80:27-38; Heinze and Schemper (2002), *Statistics in Medicine* 21:2409-2419; Kosmidis and Firth
    (2009), *Biometrika* 96:793-804.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> X = np.repeat([[0.0], [1.0]], [90, 10], axis=0)
    >>> y = np.zeros(100)
    >>> y[:30] = 1  # none of the events comes with the feature
    >>> model = GLM(regularizer="Firth").fit(X, y)
    >>> bool(abs(np.exp(model.coef_ + model.intercept_) - 0.05) < 1e-3)  # a rate of half an event in ten bins
    True
    """

    default_strength = 0.0

    def quadratic_parts(self, n_features: int) -> QuadraticParts:
        """Raise, as the penalty is no sum of squares."""
        self._require_quadratic(has_parts=False)
        raise AssertionError
