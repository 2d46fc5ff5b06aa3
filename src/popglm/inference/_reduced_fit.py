"""The fit of a smaller model to the data of a fit, for likelihood-ratio tests."""

import warnings

import numpy as np
from jaxtyping import Bool

from popglm._design.inputs import as_design_rows
from popglm.glm import PopulationGLM
from popglm.inference._checks import MAX_OPTIMUM_DISTANCE
from popglm.inference._fit_on_data import FitOnData, as_unpenalised_model, params_in_double
from popglm.inference._information import estimate_covariance
from popglm.observation_models import ObservationModel


def fit_reduced(
    model, X, fit: FitOnData, free, start, valid, weights, observation_model: ObservationModel | None = None
) -> tuple[FitOnData, Bool[np.ndarray, " neurons"]]:
    """Fit the coefficients that are `free`, from `start`; return the fit, and which neurons are at their optimum.

    It is exact, by the default solver, with the settings of the user's `model`, or with another observation model. Neurons
    that are not `valid` do not matter. `weights` holds `sample_weight` and `offset` of the user.
    """
    settings = {"observation_model": observation_model}
    if observation_model is None:
        settings = {name: getattr(model, name) for name in ("observation_model", "inverse_link_function")}
    if model.solver_name is None:
        settings["solver_kwargs"] = model.solver_kwargs
    reduced = PopulationGLM(**settings, feature_mask=free.T.astype(int))
    with warnings.catch_warnings():
        # The fit of the full model has already given the warnings.
        warnings.simplefilter("ignore", RuntimeWarning)
        reduced.fit(X, fit.data.y.values, start, **weights | _weight_on_rows(fit, free, weights))
    (coef, intercept), converged = params_in_double(reduced), np.asarray(reduced.converged_, bool)
    nested = fit._replace(
        observation_model=as_unpenalised_model(reduced, "reduced"), coef=coef, intercept=intercept, free=free
    )
    # A fit that stalled by round-off may be at its optimum all the same.
    if not (converged | ~valid).all():
        converged |= estimate_covariance(nested).distance < MAX_OPTIMUM_DISTANCE
    return nested, converged


def _weight_on_rows(fit: FitOnData, free, weights) -> dict:
    """Weights that leave out rows that count for fewer features only; those of the user if there are no such rows."""
    rows = as_design_rows(fit.data.X.values, mask=free)
    counted, full_counted = (source.gather(source.valid_rows()) for source in (rows, fit.data.rows))
    if not (counted & ~full_counted).any():
        return {}
    weight = 1 if weights["sample_weight"] is None else np.asarray(fit.data.weight[0 : len(counted)])
    return {"sample_weight": full_counted * weight}
