"""Single steps of a named solver on batches: the parameters, the state before a first step, and a step."""

import jax
import jax.numpy as jnp

from popglm._checks.arrays import require_valid_bins
from popglm._checks.names import Names, join_names, names_of
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows, as_observations, has_valid_bin
from popglm._design.total import total
from popglm._solver.jaxopt import jaxopt_init, jaxopt_update
from popglm._sums.moments import bins_and_events
from popglm._sums.null_model import null_model_of
from popglm.glm._checks import warn_unsuited_solver
from popglm.glm._fitted import Fitted, Parameters
from popglm.glm._settings import Settings
from popglm.parallel._share import refuse_processes


def initial_params(settings: Settings, X, y, sample_weight=None, offset=None):
    """Parameters of the null model (coefficients 0, intercepts at the mean counts of y), and the names of the data."""
    model = settings.objective.model
    X, y, weight, offset = as_observations(X, y, model, settings.y_dims, sample_weight, offset)
    mask = settings.mask(X.values.shape[1], y.values.shape[1])
    design = Design(as_design_rows(X.values, mask=mask), y.values, weight, offset)
    bins, events = total(bins_and_events, design)
    require_valid_bins(bins.any())
    intercept = jnp.asarray(null_model_of(design, model, bins, events).intercept, jnp.result_type(float))
    coef = jnp.zeros((X.values.shape[1], y.values.shape[1]), intercept.dtype)
    return (settings.as_user_array(coef), intercept), names_of(X, y)


def initial_solver_state(settings: Settings, X, y, params, names: Names, sample_weight=None, offset=None):
    """State of the solver before its first step, for a batch and parameters; `names` are those of the parameters."""
    name, options = _step_solver(settings)
    warn_unsuited_solver(name, options)
    data, mask, _ = _as_batch(settings, X, y, names, sample_weight, offset)
    X, y = data.X.values, data.y.values
    params = settings.checked_params(params, X.shape[1], y.shape[1])
    y = settings.as_user_array(y)
    return jaxopt_init(name, options, settings.objective, params, X, y, mask, *data.weights_and_offsets)


def update_params(settings: Settings, params, state, X, y, names: Names, sample_weight=None, offset=None):
    """Take one step on a batch: the next parameters and state, and them as a fit; None while JAX traces."""
    refuse_processes("`update`", "Call `fit`, or `update` outside of popglm.parallel.processes")
    name, options = _step_solver(settings)
    data, mask, names = _as_batch(settings, X, y, names, sample_weight, offset)
    X, y = data.X.values, settings.as_user_array(data.y.values)
    params, state = jaxopt_update(
        name, options, settings.objective, params, state, X, y, mask, *data.weights_and_offsets
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


def _as_batch(settings: Settings, X, y, names: Names, sample_weight, offset):
    """A batch with a valid bin and the names of the parameters, the mask in their precision, and all names that are known."""
    data = as_observations(X, y, settings.objective.model, settings.y_dims, sample_weight, offset, built=True)
    X, y = data.X, data.y
    require_valid_bins(has_valid_bin(X.values, y.values, *data.weights_and_offsets))
    mask = settings.mask(X.values.shape[1], y.values.shape[1]).astype(jnp.result_type(float))
    return data, mask, join_names(names, names_of(X, y))
