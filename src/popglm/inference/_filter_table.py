"""Table of filters: a row for each neuron and input, with its degrees of freedom, strengths, test and discovery."""

from typing import Any

import numpy as np

from popglm._pynapple import as_object_array
from popglm._types import Groups, Table
from popglm.inference._false_discovery import discovery_columns
from popglm.inference._groups import as_feature_groups
from popglm.inference._uncertainty import Uncertainty


def filter_table(
    errors: Uncertainty, features: Groups | None = None, *, level: float = 0.05, method: str = "bh"
) -> Table:
    r"""Table of the filters of a fit, a row for each neuron and input: freedom, strengths of the penalty, test, discovery.

    The test is that of `Uncertainty.test`: all coefficients of the filter are 0.

    Parameters
    ----------
    errors
        Result of `uncertainty`, of a `GLM` or a `PopulationGLM`.
    features
        Which filters, as for `Uncertainty.test`: by default all inputs, or the label of a term, such as "heading". Features of
        which nothing is known, such as those of a plain array, are one input.
    level, method
        As for `false_discovery`, over all rows: take one term only if its filters are the question.

    Returns
    -------
    pandas.DataFrame
        Neuron by neuron, with the columns

        - neuron, term, input: names, or numbers; "" where there is none;
        - functions: coefficients of the filter, without those that a mask holds at 0;
        - edf: effective degrees of freedom; without a penalty the number of coefficients that the data determine;
        - strength_ridge, strength_differences, strength_null_space, ...: strengths of the parts of the penalty, in nats per
          bin, such a column for each part that the penalty has; NaN for filters without this part, or with several strengths;
        - statistic, df, p, q, found: as in `coupling_table`.

        Neurons without errors (silent ones, or those far from their optimum, which `uncertainty` names) have NaN from edf on.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import BSplineEval, CyclicBSplineEval
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.inference import filter_table, uncertainty
    >>> rng = np.random.default_rng(0)
    >>> heading, speed = rng.uniform(0, 360, 3000), rng.uniform(0, 30, 3000)
    >>> y = rng.poisson(0.2 * np.exp(np.cos(np.deg2rad(heading)))[:, None], (3000, 2))
    >>> basis = CyclicBSplineEval(8, bounds=(0, 360), label="heading") + BSplineEval(6, label="speed")
    >>> X = basis.lazy_features(heading, speed)
    >>> model = PopulationGLM(regularizer="Smoothness", regularizer_strength="evidence").fit(X, y)
    >>> table = filter_table(uncertainty(model, X, y))
    >>> table[["neuron", "term", "functions", "found"]].values.tolist()
    [[0, 'heading', 8, True], [0, 'speed', 6, False], [1, 'heading', 8, True], [1, 'speed', 6, False]]
    """
    import pandas

    estimates, groups = errors._estimates, as_feature_groups(features, errors._layout).groups
    numbers = [group.features for group in groups]
    edf = np.array([estimates.filter_edf(group) for group in numbers])
    statistic, df, p = np.array([estimates.group_test(group) for group in numbers]).swapaxes(0, 1)
    names = range(len(estimates.values)) if errors.columns is None else np.asarray(errors.columns).tolist()
    labels = {
        part: as_object_array([_as_label(getattr(group, part)) for group in groups]) for part in ("term", "input")
    }
    columns: dict[str, Any] = {"neuron": np.repeat(as_object_array(list(names)), len(groups))}
    columns |= {part: np.tile(values, len(names)) for part, values in labels.items()}
    values = {"functions": np.array([estimates.free[:, group].sum(1) for group in numbers]), "edf": edf}
    values |= _strength_columns(estimates, numbers, np.isfinite(edf))
    values |= {"statistic": statistic, "df": np.where(np.isfinite(edf), df, np.nan), "p": p}
    columns |= {name: array.T.ravel() for name, array in values.items()}
    return pandas.DataFrame(columns | discovery_columns(columns["p"], level, method)).infer_objects()


def _as_label(value):
    return "" if value is None else value


def _strength_columns(estimates, groups, known) -> dict[str, np.ndarray]:
    """Strengths of the parts of each kind, (groups, neurons); NaN where a filter has none, or several."""
    if estimates.posterior is None:
        return {}
    prior, columns = estimates.posterior.prior, {}
    for label in dict.fromkeys(prior.labels):
        one = np.full((len(groups), len(estimates.values)), np.nan)
        for (i, neuron), is_known in np.ndenumerate(known):
            seen = prior.sees[:, groups[i][estimates.free[neuron, groups[i]]]].any(1)
            strengths = np.unique(prior.strength[neuron, seen & (np.array(prior.labels) == label)])
            if is_known and len(strengths) == 1:
                one[i, neuron] = strengths[0]
        columns["strength_" + label.replace(" ", "_")] = one
    return columns
