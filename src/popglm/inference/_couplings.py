"""Couplings of a population: a table of all pairs of sender and receiver."""

from typing import Any

import numpy as np

from popglm._checks.arrays import require_shape
from popglm._checks.index import is_sender_receiver_pair
from popglm._types import Groups, Kernel, Table
from popglm.inference._checks import as_function_values, as_ids, require_comparable_ids
from popglm.inference._false_discovery import discovery_columns
from popglm.inference._groups import as_feature_groups
from popglm.inference._uncertainty import GroupTests, Uncertainty


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

    It is the `filter_table` of the senders' filters, without those of units on themselves. The strength of a filter is its sum
    over lags, :math:`\sum_l \sum_k h_k(l) w_k`: the log of the total gain of one event. Its
    Wald test is that all its coefficients are 0, so it also detects a filter whose parts cancel.

    Parameters
    ----------
    errors
        Result of `uncertainty` for a population, without a penalty or with a quadratic one, such as `Ridge` with a strength
        for each sender; "df" is then the mean of the statistic where there is no coupling.
    kernel
        The basis over lags, shape (lags, functions).
    features
        The filters, one for each sender, as for `Uncertainty.test`: for a sum of bases the label of the couplings, such as
        "coupling". By default all features of a single basis, in groups of as many as the kernel has functions.
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
    named = as_feature_groups(features, errors._layout, kernel.shape[1])
    groups, names = named.features, [group.input for group in named.groups]
    pair = units if is_sender_receiver_pair(units) else (units, units)
    strength, se = errors.weighted_sum(kernel.sum(0), groups)
    if strength.ndim != 2:
        raise ValueError(
            "`errors` must be those of a PopulationGLM; a GLM has one receiver only: use filter_table(errors)."
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
    table = pandas.DataFrame(columns | discovery_columns(p[index], level, method))
    return table.sort_values(["p", "statistic"], ascending=[True, False], kind="stable", ignore_index=True)
