"""Fits at many strengths of a penalty, and `Path`, their result."""

from typing import NamedTuple

import numpy as np

from popglm._checks.arrays import as_finite_array, require_constant, require_increasing
from popglm._checks.values import as_positive_integer, require_flag
from popglm._design.centering import center_y, shift_intercept
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows, as_observations
from popglm._design.lost_rows import warn_lost_rows
from popglm._solver.exact import neuron_progress_bar
from popglm._solver.path import fit_strengths
from popglm._sums.moments import mark_unobserved
from popglm.glm._checks import require_path_settings
from popglm.glm._report import (
    PATH_STOPPED_EARLY,
    warn_of_constant,
    warn_of_neurons,
    warn_of_separation,
    warn_of_silent,
    warn_of_unseen,
    warn_of_unseen_by_neuron,
)
from popglm.glm._separation import separation_of_fit
from popglm.glm._settings import Settings
from popglm.glm._unseen import find_unseen

PATH_FIX = "Give positive numbers in increasing order, such as numpy.geomspace(1e-4, 1e-1, 20)."


class Path(NamedTuple):
    """Fits at increasing strengths of a penalty."""

    strengths: np.ndarray
    """Shape (strengths,), increasing."""
    coef: np.ndarray
    """Shape (strengths, features, neurons); (strengths, features) for GLM."""
    intercept: np.ndarray
    """Shape (strengths, neurons)."""
    converged: np.ndarray
    """Shape (strengths, neurons)."""
    n_iter: np.ndarray
    """Evaluations up to each strength and including it, from the strongest on; shape (strengths, neurons)."""

    def __repr__(self) -> str:
        n_strengths, n_neurons = self.intercept.shape
        return (
            f"Path({n_strengths} strengths from {self.strengths[0]:.3g} to {self.strengths[-1]:.3g}, {self.coef.shape[1]} "
            f"features, {n_neurons} neurons, {np.mean(self.converged):.0%} of the fits converged)"
        )


def fit_along_path(settings: Settings, X, y, sample_weight, offset, strengths, n_strengths, progress) -> Path:
    """Fit at one strength after another, the strongest first; without `strengths`, they begin where all coefficients are 0."""
    objective = settings.objective
    require_path_settings(objective.penalty, settings.solver_name, strengths)
    require_flag("progress", progress)
    n_strengths = as_positive_integer("n_strengths", n_strengths)
    base = objective.strength if objective.strength.ndim else np.ones_like(objective.strength)
    X, y, weight, offset = as_observations(X, y, objective.model, settings.y_dims, sample_weight, offset)
    n_features, n_neurons = X.values.shape[1], y.values.shape[1]
    mask = settings.mask(n_features, n_neurons)
    rows = as_design_rows(X.values, centered=True, mask=mask)
    activity, y_center, offset = center_y(y.values, objective.model, offset)
    design = Design(rows, activity, weight, offset)
    if strengths is not None:
        strengths = require_increasing("strengths", as_finite_array("strengths", strengths, (1,)), 0, PATH_FIX)
    with neuron_progress_bar(n_neurons, progress) as report:
        strengths, fits = fit_strengths(
            design, objective._replace(strength=base), mask, strengths, n_strengths, report=report, **settings.options
        )
    require_constant(X.values, activity, fits[0].features.constant, weight, offset)
    warn_lost_rows(X, rows.gather(design.valid), design.n_lost, y.columns)
    center = rows.offset(n_features)
    coef = np.stack([fit.coef for fit in fits])
    intercept = np.stack([fit.intercept for fit in fits])
    intercept = shift_intercept(intercept, y_center - coef.astype(float) @ center)
    converged = np.stack([fit.convergence.converged for fit in fits])
    weakest = objective._replace(strength=base * strengths[0])
    separation = separation_of_fit(design, weakest, mask, fits[0])
    coef = np.where(separation.unseen, 0, coef)
    warn_of_separation(separation, y.columns, X.columns, objective.model)
    warn_of_unseen_by_neuron(separation.unseen, y.columns, X.columns)
    silent = fits[0].silent
    warn_of_silent(objective.model, silent, mark_unobserved(silent, design), fits[0].null_mean, y.columns)
    warn_of_constant(fits[0].features.constant, X.columns)
    unseen = find_unseen(objective.penalty, mask, fits[0].coef, silent, fits[0].features[:2], X.columns)
    warn_of_unseen(unseen, X.columns)
    warn_of_neurons(~converged.all(0) & ~separation.neurons, y.columns, PATH_STOPPED_EARLY)
    return Path(
        strengths=strengths,
        coef=settings.as_user_array(coef.swapaxes(1, 2)),
        intercept=intercept,
        converged=converged,
        n_iter=np.stack([fit.convergence.n_iter for fit in fits]),
    )
