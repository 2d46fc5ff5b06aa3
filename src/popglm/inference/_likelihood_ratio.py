"""Likelihood-ratio tests of a fit against fits with fewer features."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from popglm._checks.models import as_feature_mask, require_n_neurons
from popglm._checks.names import Names, join_names
from popglm._design.arrays import as_divisor, machine_epsilon
from popglm._design.design import Design
from popglm._design.total import total
from popglm._sums.losses import fit_null_model, linear_predictor, weighted_sum
from popglm._sums.moments import first_pass_sums, neuron_moments
from popglm._sums.rank import Rank
from popglm._types import Counts, Features, Groups, Numbers, RowValues
from popglm.glm import GLM, PopulationGLM
from popglm.glm._access import as_user_array, fitted_names
from popglm.inference._checks import (
    COLLINEAR,
    LESS_LIKELY,
    NOT_CONVERGED,
    as_reduced_columns,
    require_near_optimum,
    require_nested,
    require_same_model,
    warn_missing_tests,
)
from popglm.inference._fit_on_data import FitOnData, as_unpenalised_model, params_in_double
from popglm.inference._groups import as_feature_groups
from popglm.inference._information import estimate_covariance
from popglm.inference._quantiles import tail_probability
from popglm.inference._reduced_fit import fit_reduced
from popglm.inference._uncertainty import GroupTests

# A statistic above this is 0 but for round-off and the distances of both fits from their optimum.
MIN_STATISTIC = -0.5

# Nodes and weights on [-1, 1]; up to this change of the linear predictor their error is below 1e-8 of the change.
QUADRATURE = tuple(values.tolist() for values in np.polynomial.legendre.leggauss(3))
MAX_QUADRATURE_CHANGE = 0.5


def likelihood_ratio_test(
    full: GLM | PopulationGLM,
    reduced: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    columns: Numbers | None = None,
    *,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> GroupTests:
    r"""Test for each neuron whether a model is better than one with fewer features, by more than chance.

    .. math:: 2\,(\log L_{\mathrm{full}} - \log L_{\mathrm{reduced}}) \sim \chi^2 \quad \text{if the reduced model is right,}

    with as many degrees of freedom as coefficients are left out, minus those that are collinear with other features: six
    B-splines that sum to 1 have five beside the intercept. A dispersion that divides the loss is that of `full`; if it was
    estimated, the statistic over its degrees of freedom is compared with F.

    Parameters
    ----------
    full, reduced
        Fits to the same data without a penalty. `reduced` has a mask with more zeros, or was fitted to ``X[:, columns]``.
    X, y
        The data of both fits, with the features of `full`.
    columns
        Numbers of the features of X that `reduced` has; None means all.
    sample_weight, offset
        Those of both fits. The test counts a row of weight 2 as two rows; for weights that are no such numbers see
        `uncertainty`.

    Returns
    -------
    GroupTests
        `statistic`, `df` and `p_values`, one for each neuron; NaN for neurons without events, far from the optimum, or where
        the features left out are collinear with the others.

    Raises
    ------
    ValueError
        If `reduced` is not nested in `full`, if there is a penalty, or if a model lies more than 0.3 standard errors from the
        optimum of these data, because they are other data or the fit had not converged.

    Warns
    -----
    RuntimeWarning
        Names neurons far from their optimum, and those without a test for another reason.

    References
    ----------
    Wilks (1938), *Annals of Mathematical Statistics* 9:60-62.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> from popglm.inference import likelihood_ratio_test
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 3))
    >>> y = rng.poisson(np.exp(0.3 * X[:, 0] - 1))
    >>> full, reduced = GLM().fit(X, y), GLM().fit(X[:, [1, 2]], y)
    >>> bool(likelihood_ratio_test(full, reduced, X, y, columns=[1, 2]).p_values[0] < 1e-3)
    True
    """
    reduced_model, fit = (
        as_unpenalised_model(reduced, "reduced"),
        FitOnData.from_fit(full, X, y, "full", sample_weight, offset),
    )
    require_same_model(fit.observation_model, reduced_model)
    n_neurons, n_features = fit.coef.shape
    indices = as_reduced_columns(columns, n_features, len(reduced.coef_))
    reduced_coef, intercept = params_in_double(reduced)
    require_n_neurons(n_neurons, len(intercept))
    _require_names_of_reduced(reduced, fit.data, indices)
    free, coef = np.zeros((n_neurons, n_features), bool), np.zeros((n_neurons, n_features))
    free[:, indices] = as_feature_mask(reduced.feature_mask, len(indices), n_neurons) > 0
    coef[:, indices] = reduced_coef
    require_nested(fit.free, free)
    comparison = NestedComparison.from_fit(fit)
    nested = fit._replace(observation_model=reduced_model, coef=coef, intercept=intercept, free=free)
    far, names = np.zeros(n_neurons, bool), fit.data.y.columns
    for name, each in (("full", fit), ("reduced", nested)):
        distance = estimate_covariance(each).distance
        far |= require_near_optimum(distance, comparison.silent, names, name, "the test is")
    tests, reasons = comparison.likelihood_ratio(nested, ~far)
    warn_missing_tests(reasons, names)
    return tests


def _require_names_of_reduced(reduced, data, indices):
    """Require that the reduced model was fitted to these features and neurons, where it knows their names."""
    features = None if data.X.columns is None else [data.X.columns[i] for i in indices]
    join_names(fitted_names(reduced), Names(features, data.y.columns))


def leave_out_test(
    model: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    features: Groups | None = None,
    *,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> GroupTests:
    r"""Likelihood-ratio tests of groups of features, each group left out in turn.

    The model without a group is fitted anew: one population fit for each group serves all neurons, since they are independent.
    For couplings this is one fit for each sender. These fits are exact, by the default solver, whatever solver fitted `model`.

    Parameters
    ----------
    model
        A fit without a penalty; after a quadratic penalty ``uncertainty(model, X, y).test(features)`` has such tests.
    X, y
        The data of the fit; X may be lazy.
    features
        The groups, by default all inputs of the model; as for `Uncertainty.test`.
    sample_weight, offset
        Those of the fit, as for `likelihood_ratio_test`.

    Returns
    -------
    GroupTests
        `statistic`, `df` and `p_values` of shape (groups, neurons), or (groups,) for GLM.

    Raises
    ------
    ValueError
        As for `likelihood_ratio_test`.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.inference import leave_out_test
    >>> counts = np.random.default_rng(0).poisson(0.2, (4000, 3))
    >>> X = RaisedCosineLogConv(4, window_size=20).lazy_features(counts)
    >>> tests = leave_out_test(PopulationGLM().fit(X, counts), X, counts, features=4)
    >>> tests
    GroupTests: 9 tests, shape (3, 3)
    >>> float(tests.df[0, 0])  # sender, receiver
    4.0
    """
    weights = {"sample_weight": sample_weight, "offset": offset}
    fit = FitOnData.from_fit(model, X, y, "model", **weights)
    names = fit.data.y.columns
    groups = as_feature_groups(features, fit.layout)
    comparison = NestedComparison.from_fit(fit)
    far = require_near_optimum(estimate_covariance(fit).distance, comparison.silent, names, result="tests are")
    tests, reasons = [], []
    for group in groups.features:
        free = fit.free.copy()
        free[:, group] = False
        # The start keeps the mean of the linear predictor.
        start = (fit.coef * free).T, fit.intercept + (fit.coef * ~free) @ comparison.mean
        nested, converged = fit_reduced(model, X, fit, free, start, ~far & ~comparison.silent, weights)
        group_tests, group_reasons = comparison.likelihood_ratio(nested, ~far, converged)
        tests.append(group_tests)
        reasons.append(group_reasons)
    warn_missing_tests(np.array(reasons), names)
    tests = GroupTests(*map(np.array, zip(*tests, strict=True)))
    tests = GroupTests(*(part[0] for part in tests)) if groups.is_single else tests
    return GroupTests(*(as_user_array(model, values) for values in tests))


class NestedComparison(NamedTuple):
    """A fit, and the sums over its data that all comparisons with fits to fewer features share.

    `mean` is that of the features; `ranks` are of each neuron, by its own weights.
    """

    full: FitOnData
    design: Design
    silent: Bool[np.ndarray, " neurons"]
    bins: Float[np.ndarray, " neurons"]
    mean: Float[np.ndarray, " features"]
    ranks: list[Rank]

    @classmethod
    def from_fit(cls, full: FitOnData) -> "NestedComparison":
        """Make one pass over the data, or two if the neurons differ in their weights."""
        design = full.data.make_design()
        ((bins, events), (n, first, gram)), n_lighter = total(_sums_and_lighter_rows, design)
        silent = fit_null_model(full.observation_model, bins, events).silent
        eps = machine_epsilon()
        if (n_lighter == 0).all():
            ranks = [Rank.from_moments((n, first, gram), eps)] * len(bins)
        else:
            sums = total(neuron_moments, design)
            ranks = [Rank.from_moments(moments, eps) for moments in zip(as_divisor(bins), *sums, strict=True)]
        mean = first / n + full.center
        return cls(full=full, design=design, silent=silent, bins=bins, mean=mean, ranks=ranks)

    def likelihood_ratio(self, reduced: FitOnData, valid, converged=True) -> tuple[GroupTests, np.ndarray]:
        """Tests of the `valid` neurons, and the number of the reason why a neuron has none (0 if it has one).

        The statistic is twice the difference of log-likelihoods. It is NaN, too, where the dispersion is.
        """
        full, model = self.full, self.full.observation_model
        reduced_model = model if model.dispersion == "pearson" else reduced.observation_model
        params = full.params_and_changes(reduced)
        statistic = 2 * total(log_likelihood_difference, self.design, model, reduced_model, *params)
        free = [
            rank.n_params(np.stack(masks)) for rank, *masks in zip(self.ranks, full.free, reduced.free, strict=True)
        ]
        n_full, n_reduced = np.array(free, float).T
        df = n_full - n_reduced
        residual_df = as_divisor(self.bins - n_full - 1) if full.divisor_is_estimated else np.inf
        left_out = (full.free & ~reduced.free).any(1)
        valid = valid & ~self.silent & left_out
        reasons = {
            NOT_CONVERGED: ~np.broadcast_to(converged, valid.shape),
            COLLINEAR: df == 0,
            LESS_LIKELY: statistic < MIN_STATISTIC,
        }
        reason = valid * np.select(list(reasons.values()), list(reasons), 0)
        statistic = np.where(valid & (reason == 0), np.maximum(statistic, 0), np.nan)
        p_values = tail_probability(statistic / np.maximum(df, 1), df, residual_df)
        return GroupTests(statistic=statistic, df=df, p_values=p_values), reason


def _sums_and_lighter_rows(block):
    """Sums of the first pass, and the number of rows in which each neuron has less than the largest weight."""
    return first_pass_sums(block), (block.weight < block.weight.max(1, keepdims=True)).sum(0)


def log_likelihood_difference(block, full, reduced, coef, intercept, coef_change, intercept_change):
    """Difference of the log-likelihoods of two fits, of each neuron: a sum over bins of differences of small numbers."""
    y, eta = block.y.T, linear_predictor(block, coef, intercept)
    change = coef_change @ block.X.T + intercept_change[:, None]
    lacks_more = _shortfall_change(reduced, eta, change, y) + reduced.shortfall(eta, y) - full.shortfall(eta, y)
    return weighted_sum(block.weight.T, lacks_more + (full.saturated(y) - reduced.saturated(y)))


def _shortfall_change(model, eta, change, y):
    """What the log-likelihood loses where the linear predictor changes, by Gauss's quadrature of the slope along a short way.

    The round-off of `eta` is then multiplied by the change, and not by the residual.
    """
    slope = lambda at: jax.jvp(lambda e: model.shortfall(e, y), (at,), (jnp.ones_like(at),))[1]
    short = jnp.abs(change) < MAX_QUADRATURE_CHANGE
    step = jnp.where(short, change, 0)
    along = sum(weight / 2 * slope(eta + (1 + node) / 2 * step) for node, weight in zip(*QUADRATURE, strict=True))
    return jnp.where(short, step * along, model.shortfall(eta + change, y) - model.shortfall(eta, y))
