"""Couplings: many tests, false discoveries, and the table of senders and receivers."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from popglm._checks.index import is_sender_receiver_pair
from popglm._checks.values import require_option
from popglm.inference._checks import (
    as_feature_groups,
    as_function_values,
    as_ids,
    as_level,
    as_p_values,
    as_pair_tests,
    require_comparable_ids,
    require_one_term,
    require_population,
)


class Discoveries(NamedTuple):
    """What is left of many tests; `q_values` are p-values adjusted for their number. False and NaN where p is NaN."""

    found: np.ndarray
    q_values: np.ndarray


def false_discovery(p_values, level=0.05, method="bh") -> Discoveries:
    r"""Which of many tests to believe, so that of those believed a share of at most `level` is wrong, on average.

    Of m p-values in order, those up to the largest k with :math:`p_{(k)} \le k\,\mathrm{level} / m` are found.

    Parameters
    ----------
    p_values
        Of any shape. NaN are no tests, and are left out.
    level
        The share, the false discovery rate.
    method
        "bh" for Benjamini and Hochberg, for tests that are independent or positively dependent; "by" for Benjamini and
        Yekutieli, for any dependence, which finds less.

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
    >>> false_discovery([0.001, 0.02, 0.4, float("nan")]).found.tolist()
    [True, True, False, False]
    """
    p, level = as_p_values(p_values), as_level(level)
    require_option("method", method, ("bh", "by"))
    q, known = np.full(p.shape, np.nan), ~np.isnan(p)
    if known.any():
        q[known] = stats.false_discovery_control(p[known], method=method)
    return Discoveries(q <= level, q)


def coupling_table(errors, kernel, *, features=None, tests=None, units=None, own=False, level=0.05, method="bh"):
    r"""Couplings of a population as a table, one row for each pair: how strong, how certain, which to believe.

    The strength of a filter is its sum over lags, :math:`\sum_l \sum_k h_k(l) w_k`: the log of the gain that one event has in
    all. Its test is Wald's, of all its coefficients being 0: a filter whose parts cancel is found, too.

    Parameters
    ----------
    errors
        Of `uncertainty`, for a population.
    kernel
        The basis over lags, shape (lags, functions).
    features
        As for `leave_out_test`, one group for each sender: of a sum of bases the part of the couplings,
        ``basis.split_by_feature(np.arange(len(coef)), axis=0)["coupling"]``. By default all features of a single basis, in
        groups as long as the kernel is wide.
    tests
        Other tests of the same groups, such as those of `leave_out_test`.
    units
        Ids, the same for senders and receivers, or a pair (senders, receivers) of lists; by default those that pynapple knows.
    own
        Whether filters of units on themselves are in it, too, and count among the tests.
    level, method
        As for `false_discovery`, over all rows.

    Returns
    -------
    pandas.DataFrame
        Columns sender, receiver, strength, se, statistic, df, p, q, found; the surest first.

    Raises
    ------
    ValueError
        If shapes do not belong together.

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

    kernel = as_function_values(kernel)
    if features is None and units is None:
        require_one_term(errors._terms)
    names, groups, _ = as_feature_groups(features, len(errors.coef_se), kernel.shape[1])
    pair = units if is_sender_receiver_pair(units) else (units, units)
    if [str(name) for name in names] == [str(i) for i in range(len(groups))]:  # numbers, and no names
        names = None if errors.inputs is None else [errors.inputs[group[0]] for group in groups]
    strength, se = errors.weighted_sum(kernel.sum(0), groups)
    require_population(strength)
    given = (pair[0] if pair[0] is not None else names, pair[1] if pair[1] is not None else errors.columns)
    require_comparable_ids(own, *given, len(groups), strength.shape[1])
    senders = as_ids("units", pair[0], len(groups), names)
    receivers = as_ids("units", pair[1], strength.shape[1], errors.columns)
    found = errors.test(groups) if tests is None else tests
    statistic, df, p = (as_pair_tests(part, strength.shape) for part in found)
    at = [(s, r) for s in range(len(senders)) for r in range(len(receivers)) if own or senders[s] != receivers[r]]
    index = tuple(np.array(at, int).reshape(-1, 2).T)
    columns = {"sender": [senders[s] for s, _ in at], "receiver": [receivers[r] for _, r in at]}
    numbers = {"strength": strength, "se": se, "statistic": statistic, "df": df, "p": p}
    columns |= {name: part[index] for name, part in numbers.items()}
    found = false_discovery(p[index], level, method)
    table = pandas.DataFrame(columns | {"q": found.q_values, "found": found.found})
    return table.sort_values(["p", "statistic"], ascending=[True, False], kind="stable", ignore_index=True)
