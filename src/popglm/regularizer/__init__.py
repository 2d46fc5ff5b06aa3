r"""Penalties on the coefficients, for NumPy and JAX arrays. The intercept is never penalised.

A penalty is half a sum of squares, of the coefficients or their differences, plus a sum of group norms:
:math:`\frac{1}{2} \sum_r s_r (A w)_r^2 + \sum_g s_g \sqrt{n_g}\, \lVert w_g \rVert`. A class defines the shares of the
strength for the two sums, the matrix A and the groups. Coefficients have shape (neurons, features). A strength is one number,
or has shape (parts,) or (neurons, parts), with one entry for each part (feature, group, or part of an input's penalty), or 1
for all. Sums of squares also name their parts, with eigenvectors that all parts of an input share (`QuadraticParts`).
`Firth` is another kind: it penalises the information of the data, the intercept's included, and has no strength.
"""

from popglm._public import export
from popglm.regularizer._base import Regularizer as Regularizer
from popglm.regularizer._firth import Firth
from popglm.regularizer._mixed import Mixed
from popglm.regularizer._parts import QuadraticParts as QuadraticParts
from popglm.regularizer._shrinkage import ElasticNet, GroupLasso, Lasso, Ridge, UnRegularized
from popglm.regularizer._smoothness import Smoothness

__all__ = [
    "ElasticNet",
    "Firth",
    "GroupLasso",
    "Lasso",
    "Mixed",
    "Ridge",
    "Smoothness",
    "UnRegularized",
]
export(__name__, globals())


def __dir__():
    return __all__
