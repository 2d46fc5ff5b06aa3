"""How certain a fit is: standard errors, intervals and bands, tests, and which of many couplings to believe.

All of it holds for a maximum of the likelihood itself, and is refused after a penalty.
"""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import stats

from popglm import (
    _check,
    _check_inference,
    _check_model,
    _data,
    _design,
    _information,
    _objective,
    _pynapple,
    _scale,
)
from popglm._estimator import Estimator
from popglm._lazy import LazyFeatures
from popglm._uncertainty import GroupTests, Uncertainty
from popglm.glm import PopulationGLM

__all__ = [
    "Discoveries",
    "GroupTests",
    "Uncertainty",
    "coupling_table",
    "false_discovery",
    "leave_out_test",
    "likelihood_ratio_test",
    "uncertainty",
]

KINDS = ("fisher", "sandwich")


class Discoveries(NamedTuple):
    """What is left of many tests; `q_values` are p-values adjusted for their number. False and NaN where p is NaN."""

    found: np.ndarray
    q_values: np.ndarray


def uncertainty(model, X, y, kind="fisher", clusters=None) -> Uncertainty:
    r"""Covariance of the estimates of a fit, of each neuron by itself, from sums over the data that it was fitted to.

    By Fisher information, with :math:`\tilde x_t = (x_t, 1)`, the variance function V and the scale :math:`\varphi`,

    .. math:: \mathrm{Cov}(\hat w, \hat b) = I^{-1}, \qquad
       I = \sum_t \frac{f'(\eta_t)^2}{\varphi\, V(\mu_t)}\, \tilde x_t \tilde x_t^\top,

    which is right if the model is. The sandwich is right even if the scatter of y about its mean is another, or correlated
    within clusters: with the observed information H, and scores :math:`s_t` (derivatives of the log-likelihood of a bin),

    .. math:: H^{-1} \Bigl(\sum_c s_c s_c^\top\Bigr) H^{-1}, \qquad s_c = \sum_{t \in c} s_t .

    It costs two or three passes over the data and 2 x time x features² x neurons operations, as much as features / 20 fits;
    memory is 8 bytes x neurons x features².

    Parameters
    ----------
    model
        A fitted `GLM` or `PopulationGLM` without a penalty.
    X, y
        The data of the fit; X may be lazy.
    kind
        "fisher" or "sandwich".
    clusters
        Of the sandwich: "bins", each by itself (HC0); "epochs" of a pynapple X or y; a number of bins, for blocks of that
        length inside of epochs; or one label for each bin. None is "epochs" where there are several, else "bins".
        The sum over C clusters is multiplied by C / (C - 1) and (n - 1) / (n - k), for n bins and k parameters, and
        intervals use Student's t with C - 1 degrees of freedom.

    Returns
    -------
    Uncertainty
        Standard errors, intervals, bands of filters, tests of groups.

    Raises
    ------
    ValueError
        If the model has a penalty, or lies more than 0.3 standard errors from the optimum of these data: because they are
        other data, or the fit had not converged.

    Warns
    -----
    RuntimeWarning
        Of neurons without events or far from their optimum, of features that the data do not tell apart or that never come
        with an event (their errors are NaN), and of few clusters.

    References
    ----------
    McCullagh and Nelder (1989), *Generalized Linear Models*; White (1982), *Econometrica* 50:1-25; Liang and Zeger (1986),
    *Biometrika* 73:13-22; Cameron and Miller (2015), *Journal of Human Resources* 50:317-372.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> from popglm.inference import uncertainty
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 2))
    >>> y = rng.poisson(np.exp(X @ [0.5, 0.0] - 1))
    >>> errors = uncertainty(GLM().fit(X, y), X, y)
    >>> low, high = errors.interval(0.95)
    >>> (low < [0.5, 0.0]) & ([0.5, 0.0] < high)
    array([ True,  True])
    """
    _check.option("kind", kind, KINDS)
    core, inputs, (X, y) = _core(model, "model"), _inputs(X), _frames(model, X, y)
    labels = _labels(clusters, X, y) if kind == "sandwich" else None
    rows = _data.rows(X.values, centered=True)
    coef, intercept = (np.asarray(part, float) for part in model._core_params())
    inner = intercept if rows.center is None else intercept + coef @ rows.center
    free = _check_model.feature_mask(model.feature_mask, coef.shape[1], len(coef)) > 0
    scale = np.ones(len(coef)) if not core.divides else np.asarray(core.scale, float)[:, 0]
    found = _information.settle(rows, y.values, core, coef, inner, free, scale, kind, labels)
    if found.silent.any():
        _check_inference.warn(found.silent, y.columns, "nothing to fit, so no standard errors")
    far = _check_inference.near_optimum(found.distance, found.silent, y.columns)
    _check_inference.warn_of_lost(found.lost, found.silent | far, X.columns)
    if labels is not None:
        _check_inference.clusters(labels, found.clusters)
    covariance = np.where(far[:, None, None], np.nan, found.covariance)
    endless = _endless(X.values, y.values, core, coef) & ~(found.silent | far)[:, None]
    _check_inference.warn_of_endless(endless, y.columns, X.columns)
    endless = np.pad(endless, ((0, 0), (0, 1)))
    covariance[endless[:, :, None] | endless[:, None, :]] = np.nan
    single = model._y_dims == (1,)
    return Uncertainty(kind, found.clusters, y.columns, inputs, coef, intercept, covariance, free, single)


def likelihood_ratio_test(full, reduced, X, y, columns=None) -> GroupTests:
    r"""Whether a model is better than one that has fewer features, by more than chance, for each neuron.

    .. math:: 2\,(\log L_{\mathrm{full}} - \log L_{\mathrm{reduced}}) \sim \chi^2 \quad \text{if the reduced model is right,}

    with as many degrees of freedom as coefficients that are left out. A dispersion that divides the loss is that of `full`.

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
        `statistic`, `df` and `p_values`, one for each neuron; NaN for those without events, or far from the optimum.

    Raises
    ------
    ValueError
        If one model is no part of the other, if there is a penalty, or if a model lies more than 0.3 standard errors from the
        optimum of these data: because they are other data, or the fit had not converged.

    Warns
    -----
    RuntimeWarning
        Of neurons far from their optimum.

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
    core, other = _core(full, "full"), _core(reduced, "reduced")
    _check_inference.same_kind(core, other)
    frames = _frames(full, X, y)
    n_features, n_neurons = frames[0].values.shape[1], frames[1].values.shape[1]
    some = _check_inference.columns(columns, n_features, len(reduced.coef_))
    coef, intercept = (np.asarray(part, float) for part in reduced._core_params())
    _check_model.n_neurons(n_neurons, len(intercept))
    mask = np.zeros((n_neurons, n_features), bool)
    mask[:, some] = _check_model.feature_mask(reduced.feature_mask, len(some), n_neurons) > 0
    embedded = np.zeros((n_neurons, n_features))
    embedded[:, some] = coef
    wide = _check_model.feature_mask(full.feature_mask, n_features, n_neurons) > 0
    _check_inference.nested(wide, mask)
    data = _Data.of(frames, core)
    distance = data.distance(core, *full._core_params(), wide)
    far = _check_inference.near_optimum(distance, data.silent, frames[1].columns, "full", "the test is")
    distance = data.distance(other, embedded, intercept, mask)
    far |= _check_inference.near_optimum(distance, data.silent, frames[1].columns, "reduced", "the test is")
    return data.ratio(full, core, other, embedded, intercept, wide & ~mask, ~far)


def leave_out_test(model, X, y, features) -> GroupTests:
    r"""Likelihood-ratio tests of groups of features, each left out of every neuron in turn.

    The model without a group is fitted anew: one population fit for each group serves all neurons, since they are independent.
    For couplings that is one fit for each sender.

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
    core, frames = _core(model, "model"), _frames(model, X, y)
    n_features, n_neurons = frames[0].values.shape[1], frames[1].values.shape[1]
    _, groups, one = _check_inference.groups(features, n_features)
    data = _Data.of(frames, core)
    wide = _check_model.feature_mask(model.feature_mask, n_features, n_neurons) > 0
    distance = data.distance(core, *model._core_params(), wide)
    far = _check_inference.near_optimum(distance, data.silent, frames[1].columns, result="tests are")
    settings = {name: value for name, value in model.get_params(deep=False).items() if name != "feature_mask"}
    coef, intercept = (np.asarray(part, float) for part in model._core_params())
    single, tests = model._y_dims == (1,), []  # GLM has no mask, its copy has
    failed = np.zeros(n_neurons, bool)
    for group in groups:
        mask = wide.copy()
        mask[:, group] = False
        reduced = PopulationGLM(**settings, feature_mask=mask.T.astype(int))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the first fit has said them
            start = intercept + (coef * ~mask) @ data.mean  # rates stay where they are if features lie far from 0
            reduced.fit(X, frames[1].values, init_params=((coef * mask).T, start))
        params = (np.asarray(part, float) for part in reduced._core_params())
        other, done = _core(reduced, "reduced"), np.asarray(reduced.converged_, bool) & ~far
        failed |= ~(done | far | data.silent)
        tests.append(data.ratio(model, core, other, *params, wide & ~mask, done))
    if failed.any():
        text = (
            "a fit without a group of features did not converge, so that test is NaN. Raise `maxiter` in solver_kwargs"
        )
        _check_inference.warn(failed, frames[1].columns, text)
    tests = GroupTests(*map(np.array, zip(*tests, strict=True)))
    tests = GroupTests(*(part[0] for part in tests)) if one else tests
    return GroupTests(*(part[..., 0] for part in tests)) if single else tests


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
    p, level = _check_inference.p_values(p_values), _check_inference.level(level)
    _check.option("method", method, ("bh", "by"))
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
        As for `leave_out_test`, one group for each sender; by default all features, in groups as long as the kernel is wide.
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

    kernel = _check_inference.functions(kernel)
    names, groups, _ = _check_inference.groups(features, len(errors.coef_se), kernel.shape[1])
    pair = units if _check_inference.is_pair(units) else (units, units)
    if not isinstance(features, Mapping):
        names = None if errors.inputs is None else [errors.inputs[group[0]] for group in groups]
    strength, se = errors.weighted_sum(kernel.sum(0), groups)
    _check_inference.of_population(strength)
    given = (pair[0] if pair[0] is not None else names, pair[1] if pair[1] is not None else errors.columns)
    _check_inference.whose(own, *given, len(groups), strength.shape[1])
    senders = _check_inference.ids("units", pair[0], len(groups), names)
    receivers = _check_inference.ids("units", pair[1], strength.shape[1], errors.columns)
    found = errors.test(groups) if tests is None else tests
    statistic, df, p = (_check_inference.same_pairs(part, strength.shape) for part in found)
    at = [(s, r) for s in range(len(senders)) for r in range(len(receivers)) if own or senders[s] != receivers[r]]
    index = tuple(np.array(at, int).reshape(-1, 2).T)
    columns = {"sender": [senders[s] for s, _ in at], "receiver": [receivers[r] for _, r in at]}
    numbers = {"strength": strength, "se": se, "statistic": statistic, "df": df, "p": p}
    columns |= {name: part[index] for name, part in numbers.items()}
    found = false_discovery(p[index], level, method)
    table = pandas.DataFrame(columns | {"q": found.q_values, "found": found.found})
    return table.sort_values(["p", "statistic"], ascending=[True, False], kind="stable", ignore_index=True)


class _Data(NamedTuple):
    """A design, its means of the features, neurons without events, and features that vary."""

    rows: _design.Rows
    y: np.ndarray
    design: _design.Design
    center: np.ndarray
    mean: np.ndarray
    silent: np.ndarray
    alive: np.ndarray

    @classmethod
    def of(cls, frames, model) -> "_Data":
        rows = _data.rows(frames[0].values, centered=True)
        design = _design.Design(rows, rows.place(frames[1].values))
        (bins, events), (n, first, gram) = _design.total(_objective.census, design)
        _, silent = model.null_mean(events, bins)
        power = np.diag(gram) / n
        alive = power - (first / n) ** 2 > 8 * float(jnp.finfo(jnp.result_type(float)).eps) * power
        center = np.zeros(len(alive)) if rows.center is None else rows.center
        return cls(rows, frames[1].values, design, center, first / n + center, silent | (bins == 0), alive)

    def distance(self, model, coef, intercept, free):
        """How far a fit lies from the optimum of these data, in standard errors, of each neuron."""
        coef, intercept = np.asarray(coef, float), np.asarray(intercept, float)
        scale = np.asarray(model.scale, float)[:, 0] if model.divides else np.ones(len(coef))
        inner = intercept + coef @ self.center
        return _information.settle(self.rows, self.y, model, coef, inner, free, scale, "fisher").distance

    def ratio(self, full, core, other, coef, intercept, left_out, done) -> GroupTests:
        """Twice the difference of log-likelihoods of a fit and a reduced one."""
        if core.divides:
            other = core
        dtype = jnp.result_type(float)
        params = []
        for some, at in ((np.asarray(a, float) for a in full._core_params()), (coef, intercept)):
            params += [some.astype(dtype), (at + some @ self.center).astype(dtype)]
        statistic = 2 * _design.total(_gain, self.design, core, other, *params)
        df = (left_out & self.alive).sum(1).astype(float)
        bad = self.silent | ~done | (df == 0)
        statistic = np.where(bad, np.nan, np.maximum(statistic, 0))
        return GroupTests(statistic, df, stats.chi2.sf(statistic, df))


def _gain(block, full, reduced, *params):
    """What the log-likelihood of a fit is more than that of another."""
    one = full.log_likelihood(_objective.predictor(block, *params[:2]), block.y.T)
    other = reduced.log_likelihood(_objective.predictor(block, *params[2:]), block.y.T)
    return _objective.weighted_sum(block.weight.T, one - other)


def _endless(X, y, model, coef):
    """Coefficients without a finite optimum: of counts, where a feature that is never of the other sign has no event."""
    if model.support.low != 0:
        return np.zeros(coef.shape, bool)
    rows = _data.rows(X, centered=False)
    sums = _design.total(_sides, _design.Design(rows, rows.place(y)))
    if model.support.ends_only:
        return _scale.endless(sums, coef)
    events_above, events_below, others_above, others_below = sums
    one_side = (others_above == 0) != (others_below == 0)
    return (events_above + events_below == 0) & one_side & (coef != 0)


def _sides(block):
    return _scale.sides(block._replace(y=(block.y > 0).astype(block.X.dtype)))


def _core(model, name):
    """The observation model of an unpenalised fit, with its scale."""
    _check_inference.estimator(model, Estimator)
    _check_model.fitted(model)
    _, penalty, strength = model._configure()[0]
    _check_inference.unpenalised(penalty, strength)
    return model._scaled(f"inference about `{name}`")


def _frames(model, X, y):
    """X and y as the model knows them."""
    X, y = _data.pair(X, y, model._configure()[0].model, model._y_dims)
    model._same_features(X)
    _check_model.n_neurons(len(model.intercept_), y.values.shape[1])
    return X, y


def _labels(clusters, X, y):
    """The number of the cluster of every bin, from 1, in order of appearance; None for bins by themselves."""
    length, frame = y.values.shape[0], X if len(X.epochs or ()) > len(y.epochs or ()) else y
    epochs = [] if frame.epochs is None else frame.epochs
    if clusters is None:
        clusters = "epochs" if len(epochs) > 1 else "bins"
    if isinstance(clusters, str):
        if _check.option("clusters", clusters, ("bins", "epochs")) == "bins":
            return None
        _check_inference.several_epochs(len(epochs))
        labels = np.searchsorted(epochs.start, frame.times, "right")
    elif isinstance(clusters, int | np.integer) and not isinstance(clusters, bool):
        n = _check.positive_integer("clusters", clusters, " number of bins")
        starts, rows = _pynapple.epoch_starts(frame, length), np.arange(length)
        epoch = np.searchsorted(starts, rows, "right") - 1
        labels = epoch * length + (rows - starts[epoch]) // n
    else:
        labels = _check_inference.labels(_pynapple.unwrap(clusters).values, length)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), int)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return rank[inverse]


def _inputs(X):
    """Which input each feature is made of, where X says it."""
    known = X.metadata.get("input") if isinstance(X, LazyFeatures) and X.metadata else _pynapple.metadata(X, "input")
    return None if known is None else np.asarray(known)
