"""Checks of the arguments of inference, and its warnings."""

import numpy as np

from popglm._checks.arrays import as_finite_array, as_real_array
from popglm._checks.values import as_names, as_share, list_names, require_option, warn_user

# In standard errors: an interval of 95 % about an estimate this far off still covers the truth in 94 % of cases.
MAX_OPTIMUM_DISTANCE = 0.3

MIN_RELIABLE_CLUSTERS = 20

CORRECTIONS = ("CR1S", "CR2")  # for few clusters, by the names of R's clubSandwich

MAX_CLUSTER_ENTRIES = 2**28  # of the matrices that bias-reduced errors keep: 2 GB

MIN_RELIABLE_DF = 4  # below it Satterthwaite's approximation is rough (Tipton 2015, *Psychological Methods* 20:375-393)

NOT_CONVERGED, COLLINEAR, LESS_LIKELY = 1, 2, 3  # reasons why there is no likelihood ratio
NO_TEST_REASONS = {
    NOT_CONVERGED: "a fit without a group of features did not converge, so that test is NaN. Raise `maxiter` in solver_kwargs",
    COLLINEAR: "features that are left out say nothing that the others do not, in the valid bins of this neuron, so that "
    "test is NaN. Leave out more of them, or use fewer functions",
    LESS_LIKELY: "the full model is less likely than the reduced one, so the test is NaN. Fit both with the same settings, "
    "from other `init_params` if the link is not convex",
}


def require_quadratic(penalty, strength, name, allow_penalty):
    """Refuse a penalty that is no sum of squares, and every penalty where the likelihood must be at its maximum."""
    came = f"`{name}` was fitted with a penalty ({type(penalty).__name__}, strength {np.max(strength):g})"
    if penalty.l1_share:
        raise ValueError(
            f"{came}: its estimates are exactly 0 or biased by a fixed amount, so they have no normal distribution, and "
            "intervals and tests would not be valid. Expected no penalty or a quadratic one: use Ridge or Smoothness; or judge "
            "a model with this penalty by its score on held-out data."
        )
    if not allow_penalty:
        raise ValueError(
            f"{came}: its likelihood is not at its maximum, so a likelihood ratio has no known distribution. Test groups by "
            "uncertainty(model, X, y).test(features), or fit without a penalty."
        )


def require_no_firth(is_firth, name):
    """Refuse Firth's penalty where the likelihood must be at its maximum."""
    if is_firth:
        raise ValueError(
            f"`{name}` was fitted with Firth's penalty: its likelihood is not at its maximum, so a likelihood ratio has no "
            "known distribution. Take profile_interval(model, X, y, features), or test groups by uncertainty(model, X, "
            "y).test(features), or fit without a penalty."
        )


def require_firth(firth):
    """Require a fit under Firth's penalty."""
    if firth is None:
        raise ValueError(
            "profile intervals are those of the penalised likelihood of Firth: `model` must be fitted with "
            "regularizer='Firth'. For other models take uncertainty(model, X, y).interval()."
        )


def require_fisher_information(model):
    """Require the mean of the curvature of the loss over y."""
    if not model.has_fisher_information:
        raise ValueError(
            f"{type(model).__name__} does not say what its Fisher information is. Define `information(self, eta)`, the mean of "
            "its curvature over y; or `exponential_family = True`, if the slope of its loss is linear in y; or take "
            'kind="sandwich".'
        )


def require_near_optimum(distance, silent, names, model="model", result="errors are"):
    """Return which neurons lie far from the optimum of the data, and warn of them; raise if all do."""
    far = ~silent & ~(distance < MAX_OPTIMUM_DISTANCE)
    if far.any() and (far | silent).all():
        raise ValueError(
            f"the coefficients of `{model}` are not the optimum of this X and y: they lie {np.median(distance[far]):.2g} "
            f"standard errors from it (at most {MAX_OPTIMUM_DISTANCE} are allowed). Give the data of the fit, with its "
            "`sample_weight` and `offset` and in the rows that it used, and a fit that has converged: fit(X, y), of a named "
            "solver with a smaller `tol` in solver_kwargs."
        )
    if far.any():
        beyond = f"more than {MAX_OPTIMUM_DISTANCE} standard errors from the optimum of these data"
        warn_neurons(far, names, f"coefficients lie {beyond}, so {result} NaN")
    return far


def warn_neurons(mask, names, text):
    """Name the neurons of a mask in one warning."""
    warn_user(f"neuron {list_names(np.flatnonzero(mask), names)}: {text}.", RuntimeWarning)


def warn_missing_tests(reasons, names):
    """Name the neurons without a likelihood ratio, by reason; `reasons` (neurons,) or (groups, neurons) holds its number."""
    for reason, text in NO_TEST_REASONS.items():
        neurons = (np.atleast_2d(reasons) == reason).any(0)
        if neurons.any():
            warn_neurons(neurons, names, text)


def warn_not_identified(lost, silent, features, names):
    """Name the coefficients that the data of some neuron do not determine, and these neurons unless they are all."""
    lost = lost[:, :-1] & ~silent[:, None]
    numbers, neurons = np.flatnonzero(lost.any(0)), lost.any(1)
    if len(numbers):
        some = "" if (neurons | silent).all() else f"neuron {list_names(np.flatnonzero(neurons), names)}: "
        cause = "the data do not determine these coefficients, since other features make up for them"
        rest = "What the data determine has errors: bands with intercept=True, groups by `test`."
        text = f"{cause}, so their errors are NaN. {rest} Or leave out features, or use fewer functions."
        warn_user(f"{some}feature {list_names(numbers, features)}: {text}", RuntimeWarning)


def warn_separated(separation, names, features, *, allows_firth=False):
    """Name the coefficients without a finite optimum, by neuron and feature."""
    firth = ', or fit with regularizer="Firth" and take profile_interval' if allows_firth else ""
    pairs = np.argwhere(separation.features)
    labels = [f"neuron {list_names([n], names)} feature {list_names([j], features)}" for n, j in pairs]
    if labels:
        cause = "where the feature is not 0 there is an event in every bin, or in none"
        text = f"{cause}, so the coefficient has no finite optimum and its errors are NaN. Test it by leave_out_test{firth}."
        warn_user(f"{list_names(range(len(labels)), labels)}: {text}", RuntimeWarning)
    neurons, numbers = (np.flatnonzero(separation.combined[:, :-1].any(axis)) for axis in (1, 0))
    if len(neurons):
        cause = "where a weighted sum of them and the intercept is not 0 there is an event in every bin, or in none"
        usual = "Often it is the reference level of a category, or a spline that was left out, that has no event"
        text = f"{cause}, so these coefficients have no finite optimum and their errors are NaN. {usual}. Take another"
        who = f"neuron {list_names(neurons, names)} feature {list_names(numbers, features)}"
        warn_user(f"{who}: {text} reference level, or test them by leave_out_test{firth}.", RuntimeWarning)


def require_correction(correction, clusters, labels, has_penalty):
    """Return whether errors by clusters are to be bias-reduced; raise where there is no such version."""
    if correction is None:
        return False
    require_option("correction", correction, CORRECTIONS)
    if labels is None:
        raise ValueError(
            f"`correction` is for a sandwich by clusters of several bins; got {correction!r} without such clusters "
            f'(clusters={clusters!r}). Give kind="sandwich" and clusters: "epochs", a number of bins, or a label '
            "for each bin."
        )
    if correction == "CR2" and has_penalty:
        raise ValueError(
            'correction="CR2" needs a fit without a penalty, since its degrees of freedom are those of unbiased estimates; '
            'got a penalty. Use correction="CR1S", or fit without a penalty.'
        )
    return correction == "CR2"


def require_cluster_memory(n_neurons, n_params, n_clusters):
    """Refuse more matrices than memory may hold: one for each neuron and cluster."""
    if n_neurons * n_clusters * n_params**2 > MAX_CLUSTER_ENTRIES:
        size = f"{n_neurons} x {n_clusters} x {n_params} x {n_params} numbers (neurons x clusters x parameters x parameters)"
        raise ValueError(
            f'correction="CR2" keeps {size}, at most {MAX_CLUSTER_ENTRIES:.2g} are allowed. Pass fewer clusters or '
            'neurons at a time; or use correction="CR1S", which is enough where there are many clusters.'
        )


def warn_few_df(df, names, features):
    """Warn of coefficients whose degrees of freedom are so few that p-values are not reliable; `df` (neurons, features)."""
    few = df < MIN_RELIABLE_DF
    if few.any():
        neurons, numbers = np.flatnonzero(few.any(1)), np.flatnonzero(few.any(0))
        least = f"fewer than {MIN_RELIABLE_DF} degrees of freedom, as few clusters hold what is known about them"
        warn_user(
            f"neuron {list_names(neurons, names)} feature {list_names(numbers, features)}: {least}. Intervals hold "
            "approximately, small p-values do not. Use more clusters of similar length, or fewer features.",
            RuntimeWarning,
        )


def warn_one_cluster(lost, names, features):
    """Warn of coefficients of which one cluster alone determines a part; `lost` has the shape (neurons, parameters)."""
    if lost.any():
        neurons, numbers = np.flatnonzero(lost.any(1)), np.flatnonzero(lost[:, :-1].any(0))
        which = f" feature {list_names(numbers, features)}" if len(numbers) else " intercept"
        warn_user(
            f"neuron {list_names(neurons, names)}{which}: one cluster alone determines this coefficient, so no others tell its "
            "error, which is NaN. Use shorter clusters, or leave the feature out.",
            RuntimeWarning,
        )


def require_clusters(number, *, bias_reduced=False):
    """Require two clusters with valid bins, and warn of few where errors are not bias-reduced."""
    most = int(number.max(initial=0))
    if most < 2:
        expected = "at least two clusters with valid bins, and some 30 to be right"
        fix = "Give shorter ones: a number of bins, such as clusters=1000, or labels of trials."
        raise ValueError(f"errors by clusters need {expected}; got one. {fix}")
    if most < MIN_RELIABLE_CLUSTERS and not bias_reduced:
        fix = f'Write correction="CR2", or use at least {MIN_RELIABLE_CLUSTERS}: shorter epochs, or blocks of bins.'
        warn_user(f"errors from {most} clusters are uncertain themselves, and often too small. {fix}", RuntimeWarning)


def as_cluster_labels(value, n_bins):
    """One label for each bin, without NaN."""
    values = np.asarray(value)
    if values.shape != (n_bins,):
        others, came = "", f"shape {values.shape}"
        if values.ndim == 0:
            others, came = "be None, 'bins', 'epochs', a number of bins, or ", repr(value)
        raise ValueError(f"`clusters` must {others}hold one label for each of the {n_bins} bins; got {came}.")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError("`clusters` must not hold NaN. Leave bins out by NaN in y, and give them any label.")
    return values


def as_level(value):
    """A probability between 0 and 1, both excluded."""
    return as_share("level", value, " For example 0.95.", strict=True)


def as_function_values(name, values, n_dims):
    """Finite values of functions, (points, functions)."""
    fix = "Give the `kernel` of a convolution, or functions on a grid without NaN."
    return as_finite_array(name, values, n_dims, fix=fix)


def as_curve_weights(centered, n_points, intercept):
    """Weights of the points in the mean that is subtracted from a curve, (1, points); 0 if none is."""
    if isinstance(centered, bool | np.bool_):
        weights = np.full(n_points, float(centered))
    else:
        fix = "Give True for the mean over all points, or a weight for each point, such as the time spent there."
        weights = as_finite_array("centered", centered, (1,), fix=fix)
        if weights.shape != (n_points,) or (weights < 0).any() or not weights.any():
            expected = f"weights of at least 0 for the {n_points} points, not all 0"
            raise ValueError(f"`centered` must hold {expected}; got shape {weights.shape}. {fix}")
    if intercept and weights.any():
        raise ValueError(
            "`intercept` and `centered` exclude each other: an effect about its mean has no intercept. Leave one of them out."
        )
    return weights[None] / max(weights.sum(), np.finfo(float).tiny)


def as_feature_numbers(value, n_features, name="features"):
    """Different whole numbers from 0 to n_features - 1."""
    values = as_real_array(name, value, (1,))
    whole = values.dtype.kind != "b" and (values == np.round(values)).all()
    if not whole or values.min() < 0 or values.max() >= n_features or len(np.unique(values)) < len(values):
        expected = f"different numbers of features, from 0 to {n_features - 1}"
        raise ValueError(f"`{name}` must hold {expected}; got {values[:8].tolist()}.")
    return values.astype(int)


def require_nested(full, reduced):
    """Require that the reduced model's free coefficients are free in the full one, and fewer."""
    if (reduced & ~full).any():
        feature, neuron = np.argwhere((reduced & ~full).T)[0]
        came = f"it uses feature {feature} for neuron {neuron}, which `full` does not"
        fix = "Exchange them, or fit both to the same features with masks."
        raise ValueError(f"`reduced` must be a part of `full`; {came}. {fix}")
    if not (full & ~reduced).any():
        raise ValueError("`reduced` has the coefficients of `full`, so there is nothing to test. Leave features out.")


def require_same_model(full, reduced):
    """Require one observation model, with one link."""
    if full.link != reduced.link or type(full) is not type(reduced):
        one, other = (f"{type(model).__name__}, {model.link.name!r}" for model in (full, reduced))
        raise ValueError(f"`full` and `reduced` must have one observation model and link; got {one} and {other}.")


def as_reduced_columns(value, n_features, n_reduced):
    """Numbers of the features of X that the reduced model has."""
    numbers = np.arange(n_features) if value is None else as_feature_numbers(value, n_features, "columns")
    if len(numbers) != n_reduced:
        came = f"{len(numbers)} of the {n_features} of X"
        fix = "Write columns=[0, 1, ...] if it was fitted to X[:, columns]."
        raise ValueError(f"`columns` must name the {n_reduced} features that `reduced` has; got {came}. {fix}")
    return numbers


def as_ids(value, n):
    """Different ids for each of `n` units; None numbers them."""
    ids = as_names("units", value, n, "ids")
    if len(set(ids)) < n:
        fix = "Name them by `units`, and the senders' features by `features`."
        raise ValueError(f"ids must differ; got {ids[:8]}. {fix}")
    return ids


def require_comparable_ids(senders, receivers, n_senders, n_receivers):
    """Require ids of one kind for senders and receivers, so that a neuron's own filter is told from a coupling."""
    pairs = (senders, n_senders), (receivers, n_receivers)
    named = [ids is not None and list(ids) != list(range(n)) for ids, n in pairs]
    if named[0] != named[1] or not (named[0] or n_senders == n_receivers):
        kinds = ["ids" if is_named else "numbers only" for is_named in named]
        raise ValueError(
            f"which filters are a neuron's own cannot be told: of {n_senders} senders {kinds[0]} are known, of {n_receivers} "
            f"receivers {kinds[1]}. Give both, units=(senders, receivers), or keep all filters: own=True."
        )
