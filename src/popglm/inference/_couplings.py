"""Couplings of a population: false discoveries among many tests, and a table of all pairs of sender and receiver."""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from popglm._checks.arrays import as_real_array, require_shape, require_shares
from popglm._checks.index import is_sender_receiver_pair
from popglm._checks.values import require_option
from popglm._types import Groups, Kernel, Numbers, Table
from popglm.inference._checks import (
    as_feature_groups,
    as_function_values,
    as_ids,
    as_level,
    require_comparable_ids,
)
from popglm.inference._uncertainty import GroupTests, Uncertainty


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


def coupling_table(
    errors: Uncertainty,
    kernel: Kernel,
    *,
    features: Groups | None = None,
    tests: GroupTests | None = None,
    units: Any = None,
    own: bool = False,
    level: float = 0.05,
    method: str = "bh",
) -> Table:
    r"""Table of the couplings of a population, one row for each pair: strength, error, test and discovery.

    The strength of a filter is its sum over lags, :math:`\sum_l \sum_k h_k(l) w_k`: the log of the total gain of one event. Its
    Wald test is that all its coefficients are 0, so it also detects a filter whose parts cancel.

    Parameters
    ----------
    errors
        Result of `uncertainty` for a population, without a penalty or with a quadratic one, such as `Ridge` with a strength
        for each sender; "df" is then the mean of the statistic where there is no coupling.
    kernel
        The basis over lags, shape (lags, functions).
    features
        Groups as for `leave_out_test`, one for each sender; for a sum of bases those of the couplings,
        ``basis.split_by_feature(np.arange(len(coef)), axis=0)["coupling"]``. By default all features of a single basis, in
        groups of as many as the kernel has functions.
    tests
        Other tests of the same groups, such as those of `leave_out_test`.
    units
        Ids, the same for senders and receivers, or a pair (senders, receivers) of lists; by default those of the pynapple data.
    own
        Whether to include the filters of units on themselves, in the table and among the tests.
    level, method
        As for `false_discovery`, over all rows.

    Returns
    -------
    pandas.DataFrame
        Columns sender, receiver, strength, se, statistic, df, p, q, found; the smallest p-value first.

    Raises
    ------
    ValueError
        If shapes or ids do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.inference import coupling_table, uncertainty
    >>> counts = np.random.default_rng(0).poisson(0.2, (4000, 3))
    >>> basis = RaisedCosineLogConv(4, window_size=20)
    >>> X = basis.lazy_features(counts)
    >>> table = coupling_table(uncertainty(PopulationGLM().fit(X, counts), X, counts), basis.kernel)
    >>> len(table), int(table.found.sum())  # pairs; none is coupled
    (6, 0)
    """
    import pandas

    kernel = as_function_values("kernel", kernel, (2,))
    terms = [] if errors._terms is None else list(dict.fromkeys(errors._terms.tolist()))
    if features is None and units is None and len(terms) > 1:
        fix = "Take a part of basis.split_by_feature(np.arange(n_features), axis=0), by its label."
        came = ", ".join(map(repr, terms))
        raise ValueError(f"`features` must say which are those of the senders: the model has {came}. {fix}")
    names, groups, _ = as_feature_groups(features, len(errors.coef_se), kernel.shape[1])
    pair = units if is_sender_receiver_pair(units) else (units, units)
    # Groups that are only numbered get the ids of the inputs.
    if [str(name) for name in names] == [str(i) for i in range(len(groups))]:
        names = None if errors.inputs is None else [errors.inputs[group[0]] for group in groups]
    strength, se = errors.weighted_sum(kernel.sum(0), groups)
    if strength.ndim != 2:
        raise ValueError(
            "`errors` must be those of a PopulationGLM; a GLM has one receiver only: use errors.test(features)."
        )
    senders, receivers = names if pair[0] is None else pair[0], errors.columns if pair[1] is None else pair[1]
    if not own:
        require_comparable_ids(senders, receivers, *strength.shape)
    senders, receivers = map(as_ids, (senders, receivers), strength.shape)
    tests = errors.test(groups) if tests is None else tests
    fix = " The tests must be of all pairs: give both the same `features`."
    statistic, df, p = (np.asarray(require_shape("tests", t, strength.shape, "senders, receivers", fix)) for t in tests)
    pairs = [(s, r) for s in range(len(senders)) for r in range(len(receivers)) if own or senders[s] != receivers[r]]
    index = tuple(np.array(pairs, int).reshape(-1, 2).T)
    columns = {"sender": [senders[s] for s, _ in pairs], "receiver": [receivers[r] for _, r in pairs]}
    numbers = {"strength": strength, "se": se, "statistic": statistic, "df": df, "p": p}
    columns |= {name: values[index] for name, values in numbers.items()}
    discoveries = false_discovery(p[index], level, method)
    table = pandas.DataFrame(columns | {"q": discoveries.q_values, "found": discoveries.found})
    return table.sort_values(["p", "statistic"], ascending=[True, False], kind="stable", ignore_index=True)
