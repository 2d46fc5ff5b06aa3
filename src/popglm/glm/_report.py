"""Warnings of a fit: neurons and features for which its numbers mean less than they seem to."""

import numpy as np

from popglm._checks.values import list_names, warn_user
from popglm._sums.scale import MAX_POISSON_DISPERSION
from popglm.glm._fitted import Fitted
from popglm.glm._settings import allows_firth

STOPPED_EARLY = "the fit stopped before it converged. Raise `maxiter` or `tol` in solver_kwargs"
EVIDENCE_STOPPED_EARLY = (
    "the fit by evidence stopped before it converged, as events may be too few to choose strengths. Raise `maxiter` in "
    "solver_kwargs, give a number for `regularizer_strength`"
)
SOLVER_STOPPED_EARLY = (
    "the solver that `solver_name` names stopped before the optimum. Leave out `solver_name` for the default solver; or scale "
    "X, so that its features have standard deviations near 1, lower `tol` and raise `maxiter` in solver_kwargs"
)
STALLED = (
    "the fit met round-off before it converged, or a loss that is not finite, so more iterations do not help. Scale X, start "
    "nearer, lower the `stepsize` of a named solver, compute in 64 bits"
)
BATCHES_STALLED = "the fit met round-off, or a loss that is not finite. Scale X, start nearer"
PATH_STOPPED_EARLY = "the path stopped before it converged at every strength. Raise `maxiter` or `tol`"


def warn_of_fit(fitted: Fitted, stopped_early=STOPPED_EARLY, stalled=STALLED):
    """Warn of neurons and features by name, from what a fit says.

    `stopped_early` and `stalled` are the advice for neurons that did not converge; None gives none.
    """
    convergence, neurons = fitted.convergence, fitted.names.neurons
    explained = np.zeros_like(convergence.converged)  # neurons without a finite optimum, of which more is said
    if fitted.findings is not None:
        _warn_of_findings(fitted, convergence.converged | (stopped_early is None))
        explained = fitted.findings.separation.neurons
    if stopped_early is not None:
        warn_of_neurons(~convergence.converged & ~convergence.stalled & ~explained, neurons, stopped_early)
    warn_of_neurons(convergence.stalled & ~explained, neurons, stalled)
    if fitted.findings is not None:
        _warn_of_collinear(fitted.findings.collinear, fitted.names.features)
        warn_of_constant(fitted.findings.constant_features, fitted.names.features)
        warn_of_unseen(fitted.findings.unseen, fitted.names.features)
    if fitted.evidence is not None:
        _warn_of_repeated(fitted.evidence.repeated, fitted.names.features)


def _warn_of_findings(fitted: Fitted, ended):
    """Warn of neurons with nothing to fit, without a finite optimum, or with too little noise, of those whose fit has ended."""
    model, findings, dispersion = fitted.observation_model, fitted.findings, fitted.parameters.dispersion
    features, neurons, _ = fitted.names
    warn_of_silent(model, findings.silent, findings.unobserved, fitted.null_mean, neurons)
    warn_of_neurons(
        findings.constant, neurons, "the same y in every valid bin, so the scale is that of round-off. Leave it out"
    )
    warn_of_neurons(
        np.isnan(dispersion) & ~findings.unobserved,
        neurons,
        "no more valid bins than coefficients, as the weights count them, so the scale, which is what they leave, is NaN. Use "
        "fewer functions, or give the scale",
    )
    warn_of_neurons(
        findings.separated,
        neurons,
        "the features tell every bin with an event from every bin without, so coefficients have no finite optimum and "
        "are as large as the tolerance lets them be. Leave out features, " + _finite_fit(model),
    )
    warn_of_separation(findings.separation, neurons, features, model)
    warn_of_unseen_by_neuron(findings.separation.unseen, neurons, features)
    if model.dispersion == "likelihood" and model.scale is None:
        warn_of_neurons(
            (dispersion < MAX_POISSON_DISPERSION) & ~findings.silent & ended,
            neurons,
            f"no overdispersion, so `scale_` is below {MAX_POISSON_DISPERSION:g}, and the fit is Poisson's. Take "
            'observation_model="Poisson"',
        )


def _finite_fit(model):
    """Advice on penalties that make all optima finite."""
    firth = ' or, in `fit`, regularizer="Firth"' if allows_firth(model) else ""
    return f"use a Ridge penalty{firth}"


def warn_of_separation(separation, neurons, features, model):
    """Warn of coefficients without a finite optimum: of single features, and of sums of features with the intercept."""
    is_binary = model.support.kind == "binary"
    where = "there is an event in every bin, or in none" if is_binary else "there is no event in any bin"
    warn_of_neurons(
        separation.features.any(1),
        neurons,
        f"feature {list_names(np.flatnonzero(separation.features.any(0)), features)}: where it is not 0 {where}, so its "
        "coefficient has no finite optimum (quasi-separation) and is as large as the tolerance lets it be; predictions are "
        "right. Keep it where the neuron cannot fire, as just after its own spike, or set y to NaN in these bins; else leave "
        f"it out, {_finite_fit(model)}",
    )
    warn_of_neurons(
        separation.combined.any(1),
        neurons,
        f"feature {list_names(np.flatnonzero(separation.combined[:, :-1].any(0)), features)}: where a weighted sum of "
        f"them and the intercept is not 0, {where}. Often it is the reference level of a category, or a spline that was "
        f"left out, that has no event. These coefficients and the intercept have no finite optimum and are as large as the "
        f"tolerance lets them be; predictions are right. Take another reference level, {_finite_fit(model)}",
    )


def _warn_of_collinear(collinear, names):
    """Warn of features that are sums of others."""
    warn_of_features(
        collinear,
        names,
        "a sum of other features, to the precision of X. Predictions are right "
        "wherever this holds, but coefficients are not unique. Leave out features, use fewer functions, or a penalty on "
        "all of them, as Ridge.",
    )


def _warn_of_repeated(repeated, names):
    """Warn of inputs that come twice: each has a share of one effect."""
    warn_of_features(
        repeated,
        names,
        "the same as those of another input. Predictions are right, but the two "
        "inputs share one effect, so that tests of each alone may find none. Leave one of them out.",
    )


def warn_of_constant(constant, names):
    """Warn of features that do not vary and are not 0, as the column of ones that other tools want for an intercept."""
    warn_of_features(
        constant,
        names,
        "the same value in every valid bin, so it cannot be told from the "
        "intercept. Predictions are right wherever it has this value. Leave it out, as the model has an intercept of its "
        "own.",
    )


def warn_of_unseen_by_neuron(unseen, neurons, features):
    """Warn of features that no bin of some neurons holds, as a session in which these were not recorded."""
    warn_of_neurons(
        unseen.any(1),
        neurons,
        f"feature {list_names(np.flatnonzero(unseen.any(0)), features)}: 0 in every bin in which the neuron is known, so "
        "its coefficient is set to 0, and nothing is known of it. Predictions for bins where it is not 0 mean nothing. Set its "
        "entry of `feature_mask` to 0",
    )


def warn_of_unseen(unseen, names):
    """Warn of categories and other functions of an input that no valid bin holds."""
    warn_of_features(
        unseen,
        names,
        "0 in every valid bin, so its coefficient is 0, and nothing is known of it. "
        "Where other data hold this category, or this part of a curve, predictions are those of the reference level, or "
        "of a curve at 0. Leave it out, or choose what stands there: with Ridge and no reference level the mean of the "
        "other categories, with Smoothness a curve that goes on.",
    )


def warn_of_silent(model, silent, unobserved, null_mean, neurons):
    """Warn of neurons that have no valid bin, no event, or an event in every bin."""
    text = (
        "no valid bin, as y or a feature is NaN in each, or its weight 0, so coefficients are 0 and predictions mean nothing. "
        "Leave it out"
    )
    warn_of_neurons(unobserved, neurons, text)
    silent = silent & ~unobserved
    always_active = silent & (null_mean > 0.5) if model.support.kind == "binary" else np.zeros_like(silent)
    text = "no event in any valid bin, so its coefficients are 0 and its rate is that of half an event. Leave it out"
    warn_of_neurons(silent & ~always_active, neurons, text)
    text = "an event in every valid bin, so its coefficients are 0 and half a bin counts as one without. Leave it out"
    warn_of_neurons(always_active, neurons, text)


def warn_of_features(numbers, names, text):
    """Warn of some features by name, if there are any."""
    if len(numbers):
        warn_user(f"feature {list_names(numbers, names)}: {text}", RuntimeWarning)


def warn_of_neurons(mask, names, text):
    """Warn of some neurons by name, if there are any."""
    if np.any(mask):
        warn_user(f"neuron {list_names(np.flatnonzero(mask), names)}: {text}, or look at its data.", RuntimeWarning)
