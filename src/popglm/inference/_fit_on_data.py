"""A fit together with its data: the object of all inference."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from popglm._checks.models import as_feature_mask, require_estimator, require_fitted
from popglm._design.centering import center_y
from popglm._design.design import Design, DesignRows
from popglm._design.inputs import as_design_rows
from popglm._design.layout import InputLayout, read_layout
from popglm._pynapple import Frame
from popglm.glm._access import (
    checked_observations,
    fitted_observation_model,
    model_with_dispersion,
    params_layout,
)
from popglm.glm._model import Model
from popglm.glm._settings import resolve_settings
from popglm.inference._checks import require_no_firth, require_quadratic
from popglm.inference._prior import Prior, penalty_strength
from popglm.observation_models import ObservationModel


class FitData(NamedTuple):
    """Data of a fit, and as a design takes them: centred rows, and the activity, which is `y_center` less than y."""

    X: Frame
    y: Frame
    rows: DesignRows
    activity: object
    y_center: Float[np.ndarray, " neurons"]
    weight: Any = None
    offset: Any = None  # None also where the activity has been reduced by it

    def make_design(self, rows: DesignRows | None = None) -> Design:
        """The rows, or others in their place, with the activity, cut into chunks of blocks."""
        return Design(self.rows if rows is None else rows, self.activity, self.weight, self.offset)


class FitOnData(NamedTuple):
    """A fit and the data that it was fitted to; neurons come first. `prior` is its quadratic penalty, None without one.

    `observation_model` includes the dispersion, which the data gave if `scale_is_estimated`; `free` is False for coefficients
    that a mask holds at 0; `layout` are the inputs that the features are made of. `firth` is the penalty if it is Firth's.
    """

    observation_model: ObservationModel
    data: FitData
    coef: Float[np.ndarray, "neurons features"]
    intercept: Float[np.ndarray, " neurons"]
    free: Bool[np.ndarray, "neurons features"]
    layout: tuple[InputLayout, ...]
    scale_is_estimated: bool = False
    prior: Prior | None = None
    firth: Any = None

    @classmethod
    def from_fit(
        cls, model, X, y, name="model", sample_weight=None, offset=None, *, allow_penalty=False
    ) -> "FitOnData":
        """Check a fitted estimator and its data; `name` is the argument by which the user gave the estimator."""
        observation_model, prior, firth = as_model_and_prior(model, name, X, allow_penalty)
        features, y, weight, offset = checked_observations(model, X, y, sample_weight, offset)
        coef, intercept = params_in_double(model)
        activity, y_center, offset = center_y(y.values, observation_model, offset)
        free = as_feature_mask(model.feature_mask, coef.shape[1], len(coef)) > 0
        rows = as_design_rows(features.values, centered=True, mask=free)
        return cls(
            observation_model=observation_model,
            data=FitData(
                X=features, y=y, rows=rows, activity=activity, y_center=y_center, weight=weight, offset=offset
            ),
            coef=coef,
            intercept=intercept,
            free=free,
            layout=read_layout(X, params_layout(model)),
            scale_is_estimated=observation_model.dispersion is not None
            and fitted_observation_model(model).scale is None,
            prior=prior,
            firth=firth,
        )

    @property
    def center(self) -> Float[np.ndarray, " features"]:
        """Offset subtracted from each feature to give the rows."""
        return self.data.rows.offset(self.coef.shape[1])

    @property
    def centered_params(self) -> tuple[Float[np.ndarray, "neurons features"], Float[np.ndarray, " neurons"]]:
        """Coefficients and intercepts for the centred data, in the precision of the passes."""
        dtype, intercept = jnp.result_type(float), self.intercept + self.coef @ self.center - self.data.y_center
        return self.coef.astype(dtype), intercept.astype(dtype)

    def params_and_changes(self, other: "FitOnData") -> tuple[np.ndarray, ...]:
        """Centred parameters, and those of another fit less these; differences are taken in double precision."""
        coef = other.coef - self.coef
        changes = coef, other.intercept - self.intercept + coef @ self.center
        return *self.centered_params, *(change.astype(jnp.result_type(float)) for change in changes)

    @property
    def divisor_is_estimated(self) -> bool:
        """True if the dispersion that divides the loss was estimated."""
        return self.scale_is_estimated and self.observation_model.dispersion == "pearson"

    @property
    def loss_divisor(self) -> Float[np.ndarray, " neurons"]:
        """Dispersion that divides each neuron's loss; 1 where none does."""
        model = self.observation_model
        return np.asarray(model.scale, float)[:, 0] if model.dispersion == "pearson" else np.ones(len(self.coef))


def params_in_double(model):
    """Coefficients (neurons, features) and intercepts (neurons,) in double precision."""
    intercept = np.asarray(model.intercept_, float)
    return np.asarray(model.coef_, float).reshape(-1, len(intercept)).T, intercept


def as_unpenalised_model(model, name) -> ObservationModel:
    """The observation model, with its dispersion, of an estimator that is fitted and has no penalty."""
    return as_model_and_prior(model, name)[0]


def as_model_and_prior(model, name, X=None, allow_penalty=False) -> tuple[ObservationModel, Prior | None, Any]:
    """Observation model of a fitted estimator with its dispersion, and its penalty: a quadratic one, or Firth's, or None."""
    require_estimator(model, Model, name)
    require_fitted(model)
    settings = resolve_settings(model, X, params_layout(model))
    penalty, strength = settings.objective.penalty, penalty_strength(model, settings)
    prior = None
    require_no_firth(settings.is_firth and not allow_penalty, name)
    if penalty.default_strength and np.any(strength > 0):
        require_quadratic(penalty, strength, name, allow_penalty)
        n_neurons = len(model.intercept_)
        penalty.check(strength, len(model.coef_), n_neurons)
        prior = Prior.from_strengths(penalty, strength, n_neurons, len(model.coef_), settings.chosen)
    return model_with_dispersion(model, f"inference about `{name}`"), prior, penalty if settings.is_firth else None
