"""Likelihood-ratio tests: whether a fit is better than one with fewer features by more than chance."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from popglm._checks.models import as_feature_mask, require_n_neurons
from popglm._design.arrays import machine_epsilon
from popglm._design.design import Design
from popglm._design.total import total
from popglm._sums.losses import fit_null_model, linear_predictor, weighted_sum
from popglm._sums.moments import first_pass_sums, neuron_moments
from popglm._sums.rank import Rank
from popglm.glm import PopulationGLM
from popglm.glm._access import as_user_array
from popglm.inference._checks import (
    COLLINEAR,
    LESS_LIKELY,
    MAX_OPTIMUM_DISTANCE,
    NOT_CONVERGED,
    as_feature_groups,
    as_reduced_columns,
    require_near_optimum,
    require_nested,
    require_same_model,
    warn_missing_tests,
)
from popglm.inference._quantiles import tail_probability
from popglm.inference._uncertainty import GroupTests
from popglm.inference._unpenalised_fit import UnpenalisedFit, as_unpenalised_model, params_in_double

MIN_STATISTIC = -0.5  # of a statistic that is 0 but for round-off and what distances from the optimum explain


def likelihood_ratio_test(full, reduced, X, y, columns=None) -> GroupTests:
    r"""Whether a model is better than one that has fewer features, by more than chance, for each neuron.

    .. math:: 2\,(\log L_{\mathrm{full}} - \log L_{\mathrm{reduced}}) \sim \chi^2 \quad \text{if the reduced model is right,}

    with as many degrees of freedom as coefficients that are left out, less those that other features make up for: six B-splines
    that sum to 1 have five beside the intercept. A dispersion that divides the loss is that of `full`; if it was estimated, the
    statistic over its degrees of freedom is compared with F.

    Parameters
    ----------
    full, reduced
        Fits to the same data without a penalty. `reduced` has a mask with more zeros, or was fitted to ``X[:, columns]``.
    X, y
        The data of both fits, with the features of `full`.
    columns
        Which features of X `reduced` has; None is all.

    Returns
    -------
    GroupTests
        `statistic`, `df` and `p_values`, one for each neuron; NaN for those without events, far from the optimum, or whose
        other features say all that those left out do.

    Raises
    ------
    ValueError
        If one model is no part of the other, if there is a penalty, or if a model lies more than 0.3 standard errors from the
        optimum of these data: because they are other data, or the fit had not converged.

    Warns
    -----
    RuntimeWarning
        Of neurons far from their optimum, and of those that have no test for another reason.

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
    other, fit = as_unpenalised_model(reduced, "reduced"), UnpenalisedFit.from_fit(full, X, y, "full")
    require_same_model(fit.observation_model, other)
    n_neurons, n_features = fit.coef.shape
    some = as_reduced_columns(columns, n_features, len(reduced.coef_))
    coef, intercept = params_in_double(reduced)
    require_n_neurons(n_neurons, len(intercept))
    free, embedded = np.zeros((n_neurons, n_features), bool), np.zeros((n_neurons, n_features))
    free[:, some] = as_feature_mask(reduced.feature_mask, len(some), n_neurons) > 0
    embedded[:, some] = coef
    require_nested(fit.free, free)
    data, part = (
        NestedComparison.from_fit(fit),
        fit._replace(observation_model=other, coef=embedded, intercept=intercept, free=free),
    )
    far = np.zeros(n_neurons, bool)
    for name, each in (("full", fit), ("reduced", part)):
        distance = each.covariance_estimate().distance
        far |= require_near_optimum(distance, data.silent, fit.y.columns, name, "the test is")
    tests, why = data.likelihood_ratio(part, ~far)
    warn_missing_tests(why, fit.y.columns)
    return tests


def leave_out_test(model, X, y, features) -> GroupTests:
    r"""Likelihood-ratio tests of groups of features, each left out of every neuron in turn.

    The model without a group is fitted anew: one population fit for each group serves all neurons, since they are independent.
    For couplings that is one fit for each sender. They are exact fits by the default solver, whichever `model` was fitted by.

    Parameters
    ----------
    model
        A fit without a penalty.
    X, y
        The data of the fit; X may be lazy.
    features
        The groups: a number of functions, for consecutive groups of so many features; an array (groups, features) of feature
        numbers; or a dictionary of these, as ``basis.split_by_feature(np.arange(n_features), axis=0)`` gives it.

    Returns
    -------
    GroupTests
        `statistic`, `df` and `p_values` of shape (groups, neurons), or (groups,) for GLM.

    Raises
    ------
    ValueError
        As `likelihood_ratio_test`.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.inference import leave_out_test
    >>> counts = np.random.default_rng(0).poisson(0.2, (4000, 3))
    >>> X = RaisedCosineLogConv(4, window_size=20).lazy_features(counts)
    >>> tests = leave_out_test(PopulationGLM().fit(X, counts), X, counts, features=4)
    >>> tests.p_values.shape, tests.df[0, 0]  # senders, receivers
    ((3, 3), np.float64(4.0))
    """
    fit = UnpenalisedFit.from_fit(model, X, y)
    _, groups, one = as_feature_groups(features, fit.coef.shape[1])
    data = NestedComparison.from_fit(fit)
    far = require_near_optimum(fit.covariance_estimate().distance, data.silent, fit.y.columns, result="tests are")
    settings = {name: getattr(model, name) for name in ("observation_model", "inverse_link_function")}
    if model.solver_name is None:
        settings["solver_kwargs"] = model.solver_kwargs
    tests, reasons = [], []
    for group in groups:
        free = fit.free.copy()
        free[:, group] = False
        reduced = PopulationGLM(**settings, feature_mask=free.T.astype(int))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the first fit has said them
            start = fit.intercept + (fit.coef * ~free) @ data.mean  # rates stay where they are
            reduced.fit(X, fit.y.values, init_params=((fit.coef * free).T, start))
        coef, intercept = params_in_double(reduced)
        part = UnpenalisedFit(as_unpenalised_model(reduced, "reduced"), fit.X, fit.y, fit.rows, coef, intercept, free)
        done = np.asarray(reduced.converged_, bool)
        if not (done | far | data.silent).all():  # the solver may have met round-off at the optimum
            done |= part.covariance_estimate().distance < MAX_OPTIMUM_DISTANCE
        found, why = data.likelihood_ratio(part, ~far, done)
        tests.append(found)
        reasons.append(why)
    warn_missing_tests(np.array(reasons), fit.y.columns)
    tests = GroupTests(*map(np.array, zip(*tests, strict=True)))
    tests = GroupTests(*(part[0] for part in tests)) if one else tests
    return GroupTests(*(as_user_array(model, values) for values in tests))


class NestedComparison(NamedTuple):
    """A fit, and what its data say about fits to fewer of the features."""

    full: UnpenalisedFit
    design: Design
    silent: Bool[np.ndarray, " neurons"]
    bins: Float[np.ndarray, " neurons"]
    mean: Float[np.ndarray, " features"]
    ranks: list[Rank]  # of each neuron, in its own valid bins

    @classmethod
    def from_fit(cls, full: UnpenalisedFit) -> "NestedComparison":
        """One pass over the data, or two if bins are valid for some neurons only."""
        design = Design(full.rows, full.y.values)
        (bins, events), (n, first, gram) = total(first_pass_sums, design)
        _, _, silent = fit_null_model(full.observation_model, bins, events)
        eps = machine_epsilon()
        if (bins == n).all():
            ranks = [Rank.from_moments((n, first, gram), eps)] * len(bins)
        else:
            each = total(neuron_moments, design)
            ranks = [Rank.from_moments(own, eps) for own in zip(np.maximum(bins, 1), *each, strict=True)]
        return cls(full, design, silent, bins, first / n + full.center, ranks)

    def likelihood_ratio(self, reduced: UnpenalisedFit, known, converged=True) -> tuple[GroupTests, np.ndarray]:
        """Twice the difference of log-likelihoods; and why a neuron that is `known` has none, 0 where it has."""
        full, core = self.full, self.full.observation_model
        other = core if core.divides else reduced.observation_model
        statistic = 2 * total(
            _log_likelihood_difference, self.design, core, other, *full.centered_params, *reduced.centered_params
        )
        free = [
            rank.n_params(np.stack(masks)) for rank, *masks in zip(self.ranks, full.free, reduced.free, strict=True)
        ]
        whole, part = np.array(free, float).T
        df, rest = whole - part, np.maximum(self.bins - whole - 1, 1) if full.scale_is_estimated else np.inf
        left_out = (full.free & ~reduced.free).any(1)
        known = known & ~self.silent & left_out
        reasons = {
            NOT_CONVERGED: ~np.broadcast_to(converged, known.shape),
            COLLINEAR: df == 0,
            LESS_LIKELY: statistic < MIN_STATISTIC,
        }
        why = known * np.select(list(reasons.values()), list(reasons), 0)
        statistic = np.where(known & (why == 0), np.maximum(statistic, 0), np.nan)  # NaN, too, where the scale is
        return GroupTests(statistic, df, tail_probability(statistic / np.maximum(df, 1), df, rest)), why


def _log_likelihood_difference(block, full, reduced, *params):
    """What the log-likelihood of a fit is more than that of another."""
    one = full.log_likelihood(linear_predictor(block, *params[:2]), block.y.T)
    other = reduced.log_likelihood(linear_predictor(block, *params[2:]), block.y.T)
    return weighted_sum(block.weight.T, one - other)
