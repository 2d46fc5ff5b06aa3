"""A fitted model as the core and the packages above see it: observation model, parameters, and the data it is compared with."""

import jax.numpy as jnp
import numpy as np

from popglm._checks.models import as_feature_mask, require_dispersion, require_n_features, require_n_neurons
from popglm._checks.names import Names, join_names, kept_feature_names, names_of, require_same_names
from popglm._checks.values import require_option
from popglm._design.inputs import Observations, as_observations
from popglm._design.layout import InputLayout
from popglm._pynapple import as_frame
from popglm._sums.scale import broadcast_dispersion
from popglm.glm._score import NULL_SOURCES, ModelOnData, as_null_means, require_train_mean
from popglm.glm._settings import resolve_settings


def fitted_observation_model(model):
    """Observation model of the fit, whatever the settings say now; before a fit that of the settings."""
    fitted = getattr(model, "observation_model_", None)
    return resolve_settings(model).objective.model if fitted is None else fitted


def model_with_dispersion(model, purpose):
    """Observation model with the scale of each neuron, if it has one; `purpose` names what needs a scale, if anything does."""
    observation, estimated = fitted_observation_model(model), getattr(model, "scale_", None)
    if purpose:
        require_dispersion(observation, estimated is not None, purpose)
    if observation.dispersion is None:
        return observation
    if estimated is None:
        return broadcast_dispersion(observation, len(model.intercept_))
    return observation.with_scale(estimated)


def core_params(model):
    """Coefficients (neurons, features) and intercepts (neurons,)."""
    intercept = jnp.asarray(model.intercept_)
    return jnp.asarray(model.coef_).reshape(-1, len(intercept)).T, intercept


def used_features(model):
    """Features (neurons, features) that each neuron uses, by the mask and the coefficients; None if each uses all."""
    coef = np.asarray(core_params(model)[0])
    if model.feature_mask is None or np.shape(model.feature_mask) != coef.T.shape:  # of the next fit
        return None
    return (as_feature_mask(model.feature_mask, *coef.T.shape) > 0) | (coef != 0)


def as_user_array(model, array):
    """Drop the axis of neurons, the last, for a `GLM`."""
    return array[..., 0] if model._single else array


def is_single(model) -> bool:
    """True for a `GLM`, whose arrays have no axis of neurons."""
    return model._single


def fitted_neuron_names(model):
    """Names that the neurons had in y; None if they had none."""
    return model._columns


def fitted_names(model) -> Names:
    """Names of the features and neurons of the fit, and the size of its bins; None where the data had none."""
    return Names(kept_feature_names(model), model._columns, getattr(model, "bin_size_", None))


def params_names(model) -> Names:
    """Names of the parameters that `update` gets: those of `initialize_params`, or of the fit if that came later."""
    return getattr(model, "_params_names", fitted_names(model))


def params_layout(model):
    """Layout of the features that the parameters belong to, for penalties that need it; None if it is unknown."""
    layout = getattr(model, "_layout", None)
    return layout and tuple(InputLayout(*one) for one in layout)


def train_mean(model, default=None):
    """Mean of y in the fit, per neuron; `default` after a bare `update`."""
    return getattr(model, "_train_mean", default)


def require_same_features(model, X):
    """Refuse features that are not as many as in the fit, or have other names or bins."""
    require_n_features(len(model.coef_), X.values.shape[1], type(model).__name__)
    join_names(fitted_names(model), names_of(X))


def checked_observations(model, X, y, sample_weight=None, offset=None) -> Observations:
    """Data, checked and aligned, with as many columns as in the fit; columns without a name have that of the fit."""
    y_dims = (1,) if model._single else (2,)
    X, y, weight, offset = as_observations(X, y, fitted_observation_model(model), y_dims, sample_weight, offset)
    require_n_features(len(model.coef_), X.values.shape[1], type(model).__name__)
    require_n_neurons(len(model.intercept_), y.values.shape[1])
    names = join_names(fitted_names(model), names_of(X, y))
    return Observations(X._replace(columns=names.features), y._replace(columns=names.neurons), weight, offset)


def place_on_data(
    model, X, y, sample_weight=None, offset=None, *, purpose=None, loss_purpose="a residual"
) -> ModelOnData:
    """Model and the data that it is compared with. `purpose` needs any scale; `loss_purpose` needs one inside the loss only."""
    data = checked_observations(model, X, y, sample_weight, offset)
    in_loss = fitted_observation_model(model).dispersion == "likelihood"
    observation = model_with_dispersion(model, purpose or (loss_purpose if in_loss else None))
    return ModelOnData.from_observations(
        observation, core_params(model)[0], model.intercept_, data, used_features(model)
    )


def null_means(model, null, n_neurons, is_compared):
    """Means of the null model, per neuron; None for those of the y that is scored."""
    if not isinstance(null, str):
        require_same_names(model._columns, as_frame(null).index, "`null` should have the names of the neurons")
        return as_null_means(null, n_neurons, fitted_observation_model(model).support)
    if require_option("null", null, NULL_SOURCES) == "scored" or not is_compared:
        return None
    require_train_mean(model)
    return model._train_mean
