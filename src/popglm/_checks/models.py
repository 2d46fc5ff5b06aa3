"""Checks of fitted models, of their parameters, and of new data for them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from popglm._checks.arrays import as_real_array, require_shape
from popglm._checks.values import require_pair


def require_estimator(value: Any, kind: type, name: str = "model") -> None:
    """Require an estimator of this package."""
    if not isinstance(value, kind):
        came = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        fix = "Of a pipeline give the last step, and the features that the others make."
        raise TypeError(f"`{name}` must be a GLM or a PopulationGLM; got {came}. {fix}")


def require_fitted(estimator: Any) -> None:
    """Require an estimator with coefficients."""
    if not (hasattr(estimator, "coef_") and hasattr(estimator, "intercept_")):
        from sklearn.exceptions import NotFittedError

        name = type(estimator).__name__
        raise NotFittedError(f"this {name} has no coefficients yet. Call `fit` or `update` first.")


def require_n_features(expected: int, got: int, who: str = "model") -> None:
    """Require the expected number of features."""
    if expected != got:
        fix = "Use the same basis and the same inputs."
        raise ValueError(f"X has {got} features, but {who} is expecting {expected} features as input. {fix}")


def require_n_neurons(expected: int, got: int) -> None:
    """Require the expected number of neurons."""
    if expected != got:
        raise ValueError(f"y has {got} neurons, but the model has {expected}. Keep the neurons and their order.")


def as_feature_mask(
    mask: Any, n_features: int, n_neurons: int, name: str = "feature_mask"
) -> Float[np.ndarray, "neurons features"]:
    """Convert a mask of 0 and 1 to (neurons, features); all 1 if it is None."""
    if mask is None:
        return np.ones((n_neurons, n_features))
    values = as_real_array(name, mask, (2,))
    require_shape(name, values, (n_features, n_neurons), "features, neurons")
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"`{name}` must hold 0 (leave out) and 1 (use) only.")
    return values.T.astype(float)


def require_params_pair(params: Any, name: str = "params") -> Any:
    """Require a pair (coef, intercept) of arrays in the precision of JAX."""
    fix, precision = " Start from `initialize_params`.", jnp.result_type(float)
    for part in require_pair(params, f"`{name}` must be a pair (coef, intercept)", fix):
        dtype = part.dtype if isinstance(part, np.ndarray | jax.Array) else None
        if dtype is None or jax.dtypes.canonicalize_dtype(dtype) != precision:
            raise TypeError(f"`{name}` must hold arrays of {precision}; got {dtype or type(part).__name__}.{fix}")
    return params


def require_params_shape(
    params: Any, coef_shape: tuple[int, ...], intercept_shape: tuple[int, ...], name: str = "params"
) -> tuple[Any, Any]:
    """Require a pair (coef, intercept) of these shapes."""
    coef, intercept = require_params_pair(params, name)
    shapes = np.shape(coef), np.shape(intercept)
    if len(shapes[0]) == len(coef_shape) and shapes[1] and shapes[0][1:] == (shapes[1] if len(coef_shape) == 2 else ()):
        require_n_features(shapes[0][0], coef_shape[0])
        require_n_neurons(shapes[1][0], intercept_shape[0])
    if shapes != (coef_shape, intercept_shape):
        expected = f"coefficients of shape {coef_shape} and intercepts of shape {intercept_shape}"
        raise ValueError(f"`{name}` must have {expected}; got {shapes[0]} and {shapes[1]}.")
    return coef, intercept


def require_finite_params(params: Any, name: str = "params") -> None:
    """Require coefficients and intercepts without NaN or infinity."""
    if not all(np.isfinite(part).all() for part in params):
        raise ValueError(f"`{name}` must be finite; got NaN or an infinite value. Start from `initialize_params`.")


def require_solver_state(value: Any) -> None:
    """Require a solver state."""
    arrays = all(isinstance(leaf, np.ndarray | np.generic | jax.Array) for leaf in jax.tree.leaves(value))
    if not isinstance(value, tuple) or not arrays:
        raise TypeError(f"`state` must come from `initialize_state` or the last `update`; got {type(value).__name__}.")


def require_dispersion(model: Any, fitted: Any, why: str) -> None:
    """Require a dispersion, set by the user or estimated, if the model has one."""
    if model.dispersion is not None and model.scale is None and not fitted:
        name = type(model).__name__
        fix = "The default solver estimates it, in `fit` and `fit_batches`: leave out `solver_name` and `solver`"
        raise ValueError(f"{why} needs the scale of {name}. {fix}, or give the scale: {name}(scale=0.5).")
