"""Checks of what inference is given, and its warnings."""

from collections.abc import Mapping

import numpy as np

from popglm._checks.arrays import as_real_array
from popglm._checks.values import as_number, as_positive_integer, list_names, warn_user

MAX_OPTIMUM_DISTANCE = 0.3  # standard errors: intervals of 95 % that lie so far off still cover 94 %


MIN_RELIABLE_CLUSTERS = 20


NOT_CONVERGED, COLLINEAR, LESS_LIKELY = 1, 2, 3  # why there is no likelihood ratio


NO_TEST_REASONS = {
    NOT_CONVERGED: "a fit without a group of features did not converge, so that test is NaN. Raise `maxiter` in solver_kwargs",
    COLLINEAR: "features that are left out say nothing that the others do not, in the valid bins of this neuron, so that "
    "test is NaN. Leave out more of them, or use fewer functions",
    LESS_LIKELY: "the full model is less likely than the reduced one, so the test is NaN. Fit both with the same settings, "
    "from other `init_params` if the link is not convex",
}


def require_unpenalised(penalty, strength, name):
    """A maximum of the likelihood itself."""
    if penalty.default_strength and np.any(strength > 0):
        raise ValueError(
            f"`{name}` was fitted with a penalty ({type(penalty).__name__}, strength {np.max(strength):g}): its estimates "
            "are biased on purpose, so intervals and tests around them do not hold what they promise. Fit without a penalty, "
            "with fewer functions or features if that is unstable; or judge a penalised model by its score on held-out data."
        )


def require_fisher_information(model):
    """A model that knows the mean of its curvature over y."""
    if not model.informed:
        raise ValueError(
            f"{type(model).__name__} does not say what its Fisher information is. Define `information(self, eta)`, the mean of "
            "its curvature over y; or `linear = True`, if the slope of its loss is linear in y; or take "
            'kind="sandwich".'
        )


def require_near_optimum(distance, silent, names, model="model", result="errors are"):
    """Estimates at the optimum of these data; say which are not."""
    far = ~silent & ~(distance < MAX_OPTIMUM_DISTANCE)
    if far.any() and (far | silent).all():
        raise ValueError(
            f"the coefficients of `{model}` are not the optimum of this X and y: they lie {np.median(distance[far]):.2g} "
            f"standard errors from it (at most {MAX_OPTIMUM_DISTANCE} are allowed). Give the data of the fit, and a fit that "
            "has converged: fit(X, y), of a named solver with a smaller `tol` in solver_kwargs."
        )
    if far.any():
        text = (
            f"coefficients lie more than {MAX_OPTIMUM_DISTANCE} standard errors from the optimum of these data, "
            f"so {result} NaN"
        )
        warn_neurons(far, names, text)
    return far


def warn_neurons(which, names, text):
    """Name neurons in one warning."""
    warn_user(f"neuron {list_names(np.flatnonzero(which), names)}: {text}.", RuntimeWarning)


def warn_missing_tests(why, names):
    """Name neurons without a likelihood ratio, for each reason: `why` (neurons,) or (groups, neurons) has its number."""
    for reason, text in NO_TEST_REASONS.items():
        which = (np.atleast_2d(why) == reason).any(0)
        if which.any():
            warn_neurons(which, names, text)


def warn_not_identified(lost, silent, features):
    """Name the coefficients that the data do not determine."""
    which = np.flatnonzero(lost[~silent, :-1].any(0))
    if len(which):
        warn_user(
            f"feature {list_names(which, features)}: the data do not determine these coefficients, since other features "
            "make up for them, so their errors are NaN. What the data determine has errors: bands with intercept=True, groups "
            "by `test`. Or leave out features, or use fewer functions.",
            RuntimeWarning,
        )


def warn_separated(endless, names, features):
    """Name the coefficients that have no finite optimum, by neuron and feature."""
    at = [f"neuron {list_names([n], names)} feature {list_names([j], features)}" for n, j in np.argwhere(endless)]
    if at:
        warn_user(
            f"{list_names(range(len(at)), at)}: where the feature is not 0 there is an event in every bin, or in none, so "
            "the coefficient has no finite optimum and its errors are NaN. Test it by leave_out_test.",
            RuntimeWarning,
        )


def require_clusters(number):
    """At least two clusters, and a word if they are few."""
    most = int(number.max(initial=0))
    if most < 2:
        raise ValueError(
            "errors by clusters need at least two clusters with valid bins, and some 30 to be right; got one. Give shorter "
            "ones: a number of bins, such as clusters=1000, or labels of trials."
        )
    if most < MIN_RELIABLE_CLUSTERS:
        warn_user(
            f"errors from {most} clusters are uncertain themselves, and often too small. Use at least {MIN_RELIABLE_CLUSTERS}: "
            "shorter epochs, or blocks of bins.",
            RuntimeWarning,
        )


def require_sandwich(kind, clusters):
    """Clusters of the kind of error that has them."""
    if clusters is not None and kind != "sandwich":
        raise ValueError(
            f'`clusters` is for kind="sandwich"; got {clusters!r} for {kind!r}. Leave it out, or write kind="sandwich".'
        )


def require_several_epochs(n):
    """More than one epoch."""
    if n < 2:
        raise ValueError(
            f'clusters="epochs" needs a pynapple X or y with several epochs; got {n}. Give a number of bins, such as '
            "clusters=1000, or one label for each bin."
        )


def as_cluster_labels(value, n_bins):
    """One label for each bin."""
    values = np.asarray(value)
    if values.shape != (n_bins,):
        raise ValueError(
            f"`clusters` must be None, 'bins', 'epochs', a number of bins, or one label for each of the {n_bins} bins; got "
            f"{value!r}."
            if values.ndim == 0
            else f"`clusters` must hold one label for each of the {n_bins} bins; got shape {values.shape}."
        )
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError("`clusters` must not hold NaN. Leave bins out by NaN in y, and give them any label.")
    return values


def as_level(value):
    """A share between 0 and 1."""
    value = as_number("level", value, 0, strict=True)
    if value >= 1:
        raise ValueError(f"`level` must lie between 0 and 1, such as 0.95; got {value:g}.")
    return value


def as_feature_groups(features, n_features, size=None):
    """Names of groups of features, their features, and whether a single one was named; `size` is how many each must have."""
    features, one = size if features is None else features, False
    if isinstance(features, Mapping):
        names, some = zip(*_flatten_groups(features), strict=True) if features else ((), ())
    elif not hasattr(features, "__len__"):
        length = as_positive_integer("features", features)
        if n_features % length:
            raise ValueError(
                f"the {n_features} features are not whole groups of {length} functions. Name the features of each group, as by "
                "basis.split_by_feature(np.arange(n_features), axis=0)."
            )
        some = list(np.arange(n_features).reshape(-1, length))
        names = list(range(len(some)))
    else:
        one = not (len(features) and hasattr(features[0], "__len__"))
        some = [features] if one else list(features)
        names = list(range(len(some)))
    if not len(some):
        raise ValueError("`features` must name at least one group; got none.")
    some = [_as_feature_numbers(part, n_features) for part in some]
    if size is not None and any(len(part) != size for part in some):
        raise ValueError(
            f"`features` must name {size} features for each filter, as many as the kernel has functions; got "
            f"{[len(part) for part in some][:8]}."
        )
    return names, some, one


def _flatten_groups(features, names=()):
    """Groups of a dictionary of dictionaries, as a sum of bases has them, each with its own name: unique, or joined."""
    for name, part in features.items():
        if isinstance(part, Mapping):
            yield from _flatten_groups(part, (*names, name))
        else:
            yield (name if not names else (*names, name)), part


def _as_feature_numbers(part, n_features, name="features"):
    values = as_real_array(name, part, (1,))
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and (values == np.round(values)).all())
    if not whole or values.min() < 0 or values.max() >= n_features or len(np.unique(values)) < len(values):
        raise ValueError(
            f"`{name}` must hold different numbers of features, from 0 to {n_features - 1}; got {values[:8].tolist()}."
        )
    return values.astype(int)


def as_function_values(kernel, n_dims=(2,), name="kernel"):
    """Values of functions, (points, functions)."""
    values = as_real_array(name, kernel, n_dims).astype(float)
    if not np.isfinite(values).all():
        raise ValueError(f"`{name}` must be finite: the `kernel` of a convolution, or functions on a grid without NaN.")
    return values


def require_nested(full, reduced):
    """A reduced model whose coefficients are all free in the full one, and fewer."""
    if (reduced & ~full).any():
        feature, neuron = np.argwhere((reduced & ~full).T)[0]
        raise ValueError(
            f"`reduced` must be a part of `full`; it uses feature {feature} for neuron {neuron}, which `full` does not. "
            "Exchange them, or fit both to the same features with masks."
        )
    if not (full & ~reduced).any():
        raise ValueError("`reduced` has the coefficients of `full`, so there is nothing to test. Leave features out.")


def require_same_model(full, reduced):
    """One observation model, with one link."""
    if full.link != reduced.link or type(full) is not type(reduced):
        raise ValueError(
            f"`full` and `reduced` must have one observation model and link; got {type(full).__name__}, {full.link.name!r} and "
            f"{type(reduced).__name__}, {reduced.link.name!r}."
        )


def as_reduced_columns(value, n_features, n_reduced):
    """Which features of X the reduced model has."""
    if value is None:
        if n_features != n_reduced:
            raise ValueError(
                f"`reduced` has {n_reduced} features and X has {n_features}. Say which: columns=[0, 1, ...] if it was fitted "
                "to X[:, columns]."
            )
        return np.arange(n_features)
    some = _as_feature_numbers(value, n_features, "columns")
    if len(some) != n_reduced:
        raise ValueError(f"`columns` must name the {n_reduced} features of `reduced`; got {len(some)}.")
    return some


def as_p_values(value):
    """Shares from 0 to 1, or NaN."""
    values = as_real_array("p_values", value, (0, 1, 2, 3)).astype(float)
    known = values[~np.isnan(values)]
    if ((known < 0) | (known > 1)).any():
        raise ValueError(f"`p_values` must lie between 0 and 1; got {known.min():.4g} to {known.max():.4g}.")
    return values


def as_ids(name, value, length, known):
    """A name for each, of the user or as known."""
    names = (list(range(length)) if known is None else list(known)) if value is None else list(value)
    if len(names) != length:
        raise ValueError(f"`{name}` must hold {length} ids; got {len(names)}.")
    if len(set(names)) < length:
        raise ValueError(
            f"ids must differ; got {names[:8]}. Name them by `units`, and the senders' features by `features`."
        )
    return names


def require_comparable_ids(own, senders, receivers, n_senders, n_receivers):
    """Senders and receivers that are known by the same kind of id, so that a neuron's own filter is told from a coupling."""
    both = (senders, n_senders), (receivers, n_receivers)
    named = [ids is not None and list(ids) != list(range(n)) for ids, n in both]
    if own or (named[0] == named[1] and (named[0] or n_senders == n_receivers)):
        return
    known = ["ids" if part else "numbers only" for part in named]
    raise ValueError(
        f"which filters are a neuron's own cannot be told: of {n_senders} senders {known[0]} are known, of {n_receivers} "
        f"receivers {known[1]}. Give both, units=(senders, receivers), or keep all filters: own=True."
    )


def require_one_term(terms):
    """Features of a single basis, which are those of the senders."""
    labels = [] if terms is None else list(dict.fromkeys(np.asarray(terms).tolist()))
    if len(labels) > 1:
        raise ValueError(
            f"`features` must say which are those of the senders: the model has {', '.join(map(repr, labels))}. Take a part of "
            "basis.split_by_feature(np.arange(n_features), axis=0), by its label."
        )


def require_population(strength):
    """Errors of several neurons."""
    if strength.ndim != 2:
        raise ValueError(
            "`errors` must be those of a PopulationGLM; a GLM has one receiver only: use errors.test(features)."
        )


def as_pair_tests(values, shape):
    """Tests of the same pairs."""
    if np.shape(values) != shape:
        raise ValueError(
            f"`tests` must be of all pairs, shape (senders, receivers) = {shape}; got {np.shape(values)}. Give both the same "
            "`features`."
        )
    return np.asarray(values)
