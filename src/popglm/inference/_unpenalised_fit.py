"""A maximum of the likelihood and the data that it is of: what all inference begins with."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from popglm._checks.models import as_feature_mask, require_estimator, require_fitted
from popglm._design.design import DesignRows
from popglm._design.inputs import as_design_rows
from popglm._pynapple import Frame
from popglm.glm._access import checked_X_y, core_params, fitted_observation_model, model_with_dispersion
from popglm.glm._model import Model
from popglm.glm._settings import resolve_settings
from popglm.inference._checks import require_unpenalised
from popglm.inference._information import CovarianceEstimate, estimate_covariance
from popglm.observation_models import ObservationModel


class UnpenalisedFit(NamedTuple):
    """A fit without a penalty, laid on its data. Neurons come first."""

    observation_model: ObservationModel  # with its scale
    X: Frame
    y: Frame
    rows: DesignRows
    coef: Float[np.ndarray, "neurons features"]
    intercept: Float[np.ndarray, " neurons"]
    free: Bool[np.ndarray, "neurons features"]  # not held at 0 by a mask
    scale_is_estimated: bool = False  # whether the scale that divides the loss is an estimate, too

    @classmethod
    def from_fit(cls, model, X, y, name="model") -> "UnpenalisedFit":
        """The fit that the user calls `name`, and the data as it knows them."""
        core = as_unpenalised_model(model, name)
        X, y = checked_X_y(model, X, y)
        coef, intercept = params_in_double(model)
        free = as_feature_mask(model.feature_mask, coef.shape[1], len(coef)) > 0
        estimated = core.divides and fitted_observation_model(model).scale is None
        return cls(core, X, y, as_design_rows(X.values, centered=True), coef, intercept, free, estimated)

    @property
    def center(self) -> Float[np.ndarray, " features"]:
        """What the rows are less than the features of the user."""
        return self.rows.offset(self.coef.shape[1])

    @property
    def centered_params(self) -> tuple[Float[np.ndarray, "neurons features"], Float[np.ndarray, " neurons"]]:
        """Coefficients and intercepts for the rows."""
        dtype = jnp.result_type(float)
        return self.coef.astype(dtype), (self.intercept + self.coef @ self.center).astype(dtype)

    def covariance_estimate(self, kind="fisher", labels=None) -> CovarianceEstimate:
        """What the data say about the error of this fit, and how far from their optimum it is."""
        scale = (
            np.asarray(self.observation_model.scale, float)[:, 0]
            if self.observation_model.divides
            else np.ones(len(self.coef))
        )
        return estimate_covariance(
            self.rows, self.y.values, self.observation_model, *self.centered_params, self.free, scale, kind, labels
        )


def params_in_double(model):
    """Coefficients (neurons, features) and intercepts (neurons,) in double precision."""
    return tuple(np.asarray(part, float) for part in core_params(model))


def as_unpenalised_model(model, name) -> ObservationModel:
    """The observation model of a fit without a penalty, with its scale."""
    require_estimator(model, Model, name)
    require_fitted(model)
    _, penalty, strength = resolve_settings(model).objective
    require_unpenalised(penalty, strength, name)
    return model_with_dispersion(model, f"inference about `{name}`")
