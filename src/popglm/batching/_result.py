"""Result of a fit by batches."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from popglm._checks.arrays import require_valid_bins
from popglm._design.arrays import as_divisor, machine_epsilon
from popglm._solver.preconditioner import prepare_problem
from popglm._sums.losses import NullModel
from popglm._sums.rank import central_moments, constant_features
from popglm._sums.scale import Dispersion, chi_squared_sums, estimate_dispersion, needs_chi_squared
from popglm.batching._first_pass import refine_parameters
from popglm.batching._state import ExactPasses, FirstPass


class BatchResult(NamedTuple):
    """Estimates of all neurons. Solvers of the user leave all from `null` on None."""

    coef: np.ndarray  # (neurons, features)
    intercept: np.ndarray
    converged: np.ndarray
    failed: np.ndarray  # neurons that met round-off, or a loss that is not finite
    null: NullModel | None = None
    dispersion: Dispersion | None = None
    collinear: np.ndarray | None = None  # features that others determine; a penalty may still make coefficients unique
    constant_features: np.ndarray | None = None


def fit_result(fit) -> BatchResult:
    """Estimates from the batches that a `BatchFit` has seen."""
    require_valid_bins(fit.state.totals.bins.any())
    if isinstance(fit.state, FirstPass):
        fit = refine_parameters(fit).with_dispersion()
    state, totals = fit.state, fit.state.totals
    null = totals.null
    coef, intercept = fit.params
    moments = totals.moments
    _, _, varying, _ = central_moments(moments, machine_epsilon())
    infinite = ~np.isfinite(coef).all(1) | ~np.isfinite(intercept)
    return BatchResult(
        coef=np.where(null.silent[:, None], 0, coef),
        intercept=np.where(null.silent, null.intercept, intercept),
        converged=state.converged | null.silent,
        failed=infinite | state.finished & ~state.converged,
        null=null,
        dispersion=fitted_dispersion(fit),
        collinear=_prepared_problem(fit, fit.mask).rank.collinear_features(fit.mask),
        constant_features=constant_features(moments, varying, totals.center),
    )


def fitted_dispersion(fit) -> Dispersion:
    """Dispersion of each neuron from the last complete pass, or from the sample before there is one."""
    model, state, null = fit.objective.model, fit.state, fit.state.totals.null
    sums = state.dispersion_sums if isinstance(state, ExactPasses) else None
    if not needs_chi_squared(model):
        sums = None
    elif sums is None:
        params = (np.asarray(a, jnp.result_type(float)) for a in (*state.centered_params, null.intercept))
        sums = state.totals.sample.total(chi_squared_sums, model, *params)
    return estimate_dispersion(model, null.mean, _n_params(fit), null.silent, sums)


def _n_params(fit):
    """Number of parameters of each neuron that the bins seen so far determine."""
    mask = fit.state.problem.precondition.mask
    if fit.objective.model.dispersion != "pearson":
        return mask.sum(1)
    features = mask[:, :-1]
    return _prepared_problem(fit, features).n_params(features)


def _prepared_problem(fit, mask):
    """Problem and rank of the features within `mask` in the bins seen so far."""
    totals = fit.state.totals
    bins, eps = as_divisor(totals.bins), machine_epsilon()
    return prepare_problem(fit.objective, mask, bins, totals.null.mean, totals.null.eta, totals.moments, eps)
