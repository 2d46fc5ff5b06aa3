"""A maximum of the likelihood and the data that it is of: what all inference begins with."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from popglm import _check_inference, _check_model, _data, _design, _information, _pynapple
from popglm._estimator import Estimator
from popglm.observation_models import ObservationModel


class Maximum(NamedTuple):
    """A fit without a penalty, laid on its data. Neurons come first."""

    core: ObservationModel  # with its scale
    X: _pynapple.Frame
    y: _pynapple.Frame
    rows: _design.Rows
    coef: Float[np.ndarray, "neurons features"]
    intercept: Float[np.ndarray, " neurons"]
    free: Bool[np.ndarray, "neurons features"]  # not held at 0 by a mask
    estimated: bool = False  # whether the scale that divides the loss is an estimate, too

    @classmethod
    def of(cls, model, X, y, name="model") -> "Maximum":
        """The fit that the user calls `name`, and the data as it knows them."""
        core = unpenalised(model, name)
        X, y = model._pair(X, y)
        coef, intercept = parameters(model)
        free = _check_model.feature_mask(model.feature_mask, coef.shape[1], len(coef)) > 0
        estimated = core.divides and model._configure()[0].model.scale is None
        return cls(core, X, y, _data.rows(X.values, centered=True), coef, intercept, free, estimated)

    @property
    def center(self) -> Float[np.ndarray, " features"]:
        """What the rows are less than the features of the user."""
        return self.rows.offset(self.coef.shape[1])

    @property
    def inner(self) -> tuple[Float[np.ndarray, "neurons features"], Float[np.ndarray, " neurons"]]:
        """Coefficients and intercepts for the rows."""
        dtype = jnp.result_type(float)
        return self.coef.astype(dtype), (self.intercept + self.coef @ self.center).astype(dtype)

    def settled(self, kind="fisher", labels=None) -> _information.Settled:
        """What the data say about the error of this fit, and how far from their optimum it is."""
        scale = np.asarray(self.core.scale, float)[:, 0] if self.core.divides else np.ones(len(self.coef))
        return _information.settle(self.rows, self.y.values, self.core, *self.inner, self.free, scale, kind, labels)


def parameters(model):
    """Coefficients (neurons, features) and intercepts (neurons,) in double precision."""
    return tuple(np.asarray(part, float) for part in model._core_params())


def unpenalised(model, name) -> ObservationModel:
    """The observation model of a fit without a penalty, with its scale."""
    _check_model.estimator(model, Estimator, name)
    _check_model.fitted(model)
    _, penalty, strength = model._configure()[0]
    _check_inference.unpenalised(penalty, strength, name)
    return model._scaled(f"inference about `{name}`")
