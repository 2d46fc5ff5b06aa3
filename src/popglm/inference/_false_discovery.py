"""False discoveries among many tests."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from popglm._checks.arrays import as_real_array, require_shares
from popglm._checks.values import require_option
from popglm._types import Numbers
from popglm.inference._checks import as_level


class Discoveries(NamedTuple):
    """Significant tests among many; `q_values` are p-values adjusted for their number. False and NaN where p is NaN."""

    found: np.ndarray
    q_values: np.ndarray

    def __repr__(self) -> str:
        """Numbers of discoveries and of tests."""
        n = int(np.isfinite(self.q_values).sum())
        return f"Discoveries: {int(np.sum(self.found))} of {n} tests, shape {np.shape(self.q_values)}"


def false_discovery(p_values: Numbers, level: float = 0.05, method: str = "bh") -> Discoveries:
    r"""Select tests so that the expected share of false ones among them is at most `level`.

    Of m ordered p-values those up to the largest k with :math:`p_{(k)} \le k\,\mathrm{level} / m` are selected.

    Parameters
    ----------
    p_values
        Array of any shape. NaN are left out: they are no tests.
    level
        The false discovery rate.
    method
        "bh" for Benjamini and Hochberg, for tests that are independent or positively dependent; "by" for Benjamini and
        Yekutieli, for any dependence, which selects fewer.

    Returns
    -------
    Discoveries
        `found` (bool) and `q_values`, of the same shape.

    References
    ----------
    Benjamini and Hochberg (1995), *Journal of the Royal Statistical Society B* 57:289-300; Benjamini and Yekutieli (2001),
    *Annals of Statistics* 29:1165-1188.

    Examples
    --------
    >>> from popglm.inference import false_discovery
    >>> result = false_discovery([0.001, 0.02, 0.4, float("nan")])
    >>> result
    Discoveries: 2 of 3 tests, shape (4,)
    >>> result.found.tolist()
    [True, True, False, False]
    """
    p = require_shares("p_values", as_real_array("p_values", p_values, (0, 1, 2, 3)).astype(float))
    level = as_level(level)
    require_option("method", method, ("bh", "by"))
    q, valid = np.full(p.shape, np.nan), ~np.isnan(p)
    if valid.any():
        q[valid] = stats.false_discovery_control(p[valid], method=method)
    return Discoveries(found=q <= level, q_values=q)


def discovery_columns(p_values: np.ndarray, level: float, method: str) -> dict[str, np.ndarray]:
    """Columns "q" and "found" of a table of tests."""
    discoveries = false_discovery(p_values, level, method)
    return {"q": discoveries.q_values, "found": discoveries.found}
