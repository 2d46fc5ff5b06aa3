"""Dispersion alpha of a negative binomial: its standard error, and the test that there is none, on the boundary."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from popglm._design.total import total
from popglm._sums.scale import MAX_POISSON_DISPERSION, dispersion_slopes
from popglm.inference._checks import warn_neurons
from popglm.inference._fit_on_data import FitOnData
from popglm.inference._likelihood_ratio import MIN_STATISTIC, log_likelihood_difference
from popglm.inference._reduced_fit import fit_reduced
from popglm.observation_models import NegativeBinomial, Poisson

PerNeuron = Float[np.ndarray, " neurons"]


def has_alpha(fit: FitOnData) -> bool:
    """True if the fit estimated the dispersion of a negative binomial."""
    return isinstance(fit.observation_model, NegativeBinomial) and fit.scale_is_estimated


def tabulate_alpha(model, X, fit: FitOnData, valid, weights) -> dict[str, PerNeuron]:
    r"""Columns of the table of neurons: alpha, its error, and a comparison with a Poisson model of the same features.

    Alpha = 0 lies at the end of the possible values, so the statistic is 0 in half of the cases and else follows chi-squared
    with one degree of freedom: :math:`p = P(\chi^2_1 > T) / 2` for T > 0, and 1 for T = 0 (Self and Liang, 1987). Under a
    penalty there is no comparison.
    """
    full: Any = fit.observation_model
    alpha = np.asarray(full.scale, float)[:, 0]
    if fit.prior is not None:
        return {"alpha": alpha, "alpha_se": _standard_error(fit, alpha)}
    poisson = Poisson(link=full.link)
    start = fit.coef.T, fit.intercept
    reduced, converged = fit_reduced(model, X, fit, fit.free, start, valid, weights, poisson)
    params = fit.params_and_changes(reduced)
    statistic = 2 * total(log_likelihood_difference, fit.data.make_design(), full, poisson, *params)
    statistic = np.where(alpha > MAX_POISSON_DISPERSION, statistic, 0)
    failed = valid & ~(converged & (statistic > MIN_STATISTIC))
    if failed.any():
        text = "the fit of a Poisson model did not converge, so the test of alpha = 0 is NaN"
        warn_neurons(failed, fit.data.y.columns, f"{text}. Raise `maxiter` in solver_kwargs")
    statistic = np.where(valid & ~failed, np.maximum(statistic, 0), np.nan)
    p_values = np.where(statistic > 0, stats.chi2.sf(statistic, 1) / 2, np.where(statistic == 0, 1, np.nan))
    se = _standard_error(fit, alpha)
    return {"alpha": alpha, "alpha_se": se, "alpha_statistic": statistic, "alpha_p": p_values}


def _standard_error(fit: FitOnData, alpha: PerNeuron) -> PerNeuron:
    """Standard error from the observed information about log(alpha), at these means; NaN at the end, where there is none."""
    _, curvature = total(dispersion_slopes, fit.data.make_design(), fit.observation_model, *fit.centered_params)
    inside = (alpha > MAX_POISSON_DISPERSION) & (curvature < 0)
    return np.where(inside, alpha / np.sqrt(np.where(inside, -curvature, 1)), np.nan)
