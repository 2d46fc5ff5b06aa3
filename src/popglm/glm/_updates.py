"""Single steps of a named solver on batches: the parameters, the state before a first step, and a step."""

import jax
import jax.numpy as jnp

from popglm._checks.arrays import require_valid_bins
from popglm._checks.names import Names, join_names, names_of
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows, as_X_y, has_valid_bin
from popglm._design.total import total
from popglm._solver.jaxopt import jaxopt_init, jaxopt_update
from popglm._sums.losses import fit_null_model
from popglm._sums.moments import bins_and_events
from popglm.glm._checks import warn_unsuited_solver
from popglm.glm._fitted import Fitted, Parameters
from popglm.glm._settings import Settings


def initial_params(settings: Settings, X, y):
    """Parameters of the null model (coefficients 0, intercepts at the mean counts of y), and the names of the data."""
    model = settings.objective.model
    X, y = as_X_y(X, y, model, settings.y_dims)
    bins, events = total(bins_and_events, Design(as_design_rows(X.values), y.values))
    require_valid_bins(bins.any())
    intercept = jnp.asarray(fit_null_model(model, bins, events).eta, jnp.result_type(float))
    coef = jnp.zeros((X.values.shape[1], y.values.shape[1]), intercept.dtype)
    return (settings.as_user_array(coef), intercept), names_of(X, y)


def initial_solver_state(settings: Settings, X, y, params, names: Names):
    """State of the solver before its first step, for a batch and parameters; `names` are those of the parameters."""
    name, options = _step_solver(settings)
    warn_unsuited_solver(name, options)
    X, y, mask, _ = _as_batch(settings, X, y, names)
    params = settings.checked_params(params, X.values.shape[1], y.values.shape[1])
    return jaxopt_init(name, options, settings.objective, params, X.values, settings.as_user_array(y.values), mask)


def update_params(settings: Settings, params, state, X, y, names: Names):
    """Take one step on a batch: the next parameters and state, and them as a fit; None while JAX traces."""
    name, options = _step_solver(settings)
    X, y, mask, names = _as_batch(settings, X, y, names)
    params, state = jaxopt_update(
        name, options, settings.objective, params, state, X.values, settings.as_user_array(y.values), mask
    )
    if isinstance(params[0], jax.core.Tracer):
        return params, state, None  # inside somebody's jit, where nothing may be kept
    jax.block_until_ready(params)  # JAX may read the batch where it lies, and the next one may be written there
    fitted = Fitted(
        observation_model=settings.objective.model,
        parameters=Parameters(coef=params[0], intercept=params[1]),
        names=names,
    )
    return params, state, fitted


def _step_solver(settings: Settings):
    """Name and options of the solver that takes single steps: gradient descent if none is named, proximal if it must be."""
    if settings.solver_name is not None:
        return settings.solver_name, settings.options
    return "ProximalGradient" if settings.objective.penalty.l1_share else "GradientDescent", {}


def _as_batch(settings: Settings, X, y, names: Names):
    """A batch with a valid bin and the names of the parameters, the mask in their precision, and all names that are known."""
    X, y = as_X_y(X, y, settings.objective.model, settings.y_dims, built=True)
    require_valid_bins(has_valid_bin(X.values, y.values))
    mask = settings.mask(X.values.shape[1], y.values.shape[1]).astype(jnp.result_type(float))
    return X, y, mask, join_names(names, names_of(X, y))
