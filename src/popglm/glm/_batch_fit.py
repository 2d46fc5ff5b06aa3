"""The fit by batches: a run over checked batches, with the solver that the settings name, becomes a `Fitted`."""

from contextlib import nullcontext

import jax.numpy as jnp
import numpy as np

from popglm._checks.arrays import as_real_array
from popglm._checks.models import require_dispersion, require_n_features, require_n_neurons
from popglm._checks.names import NO_NAMES, join_names, names_of
from popglm._checks.values import as_positive_integer, require_flag, require_function
from popglm._design.inputs import as_observations
from popglm._files.checkpoint import Checkpoint
from popglm._files.fingerprint import frame_fingerprint, objective_fingerprint, options_fingerprint, values_checksum
from popglm._solver.problem import Convergence
from popglm._solver.threads import one_thread
from popglm._sums.scale import broadcast_dispersion
from popglm.batching import Windows
from popglm.batching._batches import CheckedBatches, read_batch_layout
from popglm.batching._checks import (
    as_batch_parts,
    as_init_pair,
    require_batches,
    require_same_stepper,
    require_stepper,
)
from popglm.batching._default_solver import DEFAULT_SOLVER, BatchFit
from popglm.batching._run import Place, RunState, read_shape, run_batches
from popglm.batching._user_solver import UserSolver
from popglm.batching._watch import Watch, show_step_progress
from popglm.glm._checks import require_nonsmooth_solver, warn_unsuited_solver
from popglm.glm._fitted import Findings, Fitted, Parameters
from popglm.glm._score import ModelOnData, score_model
from popglm.glm._separation import separation_of_sample
from popglm.glm._settings import Settings
from popglm.glm._unseen import find_unseen
from popglm.parallel._share import refuse_processes

ROW_VALUES = "sample_weight", "offset"


def fit_by_batches(
    settings: Settings,
    batches,
    n_steps,
    *,
    init,
    solver,
    progress,
    callback,
    held_out,
    check_every,
    patience,
    checkpoint,
):
    """Fit by batches. Return the fit, the state from which a later call continues, and the history of the steps."""
    refuse_processes("`fit_batches`", "Call `fit`, which reads its data in parts")
    require_batches(batches)
    if settings.needs_layout:
        batches, layout = read_batch_layout(batches)
        settings = settings.with_layout(lambda: layout)
    n_steps = as_positive_integer("n_steps", n_steps)
    check_every = as_positive_integer("check_every", check_every)
    patience = as_positive_integer("patience", patience)
    require_flag("progress", progress)
    require_function("callback", callback, "the step, the loss and the parameters")
    params, state = as_init_pair(init, RunState)
    if held_out is not None:
        held_out = as_batch_parts(held_out, "`held_out` must be one of")
    _require_suited_solver(settings, solver, held_out)
    saver = None
    if checkpoint is not None:
        checks = held_out and [check_every, patience, values_checksum(*held_out), *_names_given(held_out[2:])]
        saver = Checkpoint(checkpoint, _fingerprint(settings, batches, params, state, solver, checks))

    shape, names = (None, NO_NAMES) if state is None else (state.shape, state.names)
    batches = CheckedBatches(batches, settings.objective.model, settings.y_dims, shape, names)
    place = Place() if state is None else state.place._replace(n_steps=0)
    batches.seek(place.pass_number, place.n_batches)
    user_callback = callback and (lambda n, loss, params: callback(n, loss, _as_user_params(settings, params)))
    score = held_out and (lambda *parameters: _held_out_score(settings, held_out, batches, *parameters))
    with saver or nullcontext():  # on leaving it, the file is written
        with one_thread, show_step_progress(n_steps, progress) as report:
            stepper = _make_stepper(settings, solver, read_shape(batches, saver), params)
            if state is not None:
                require_same_stepper(state.solver, stepper.name)
                stepper = stepper.resume(state.solver_state)
            watch = Watch(report, user_callback, score, check_every, patience)
            stepper, place = run_batches(batches, stepper, n_steps, place, watch, saver)
        fitted = _as_fitted(settings, stepper, batches.names, place.n_steps, watch)
    state = RunState(
        solver=stepper.name, solver_state=stepper.plain_state, shape=batches.shape, names=batches.names, place=place
    )
    return fitted, state, watch.history


def _require_suited_solver(settings: Settings, solver, held_out):
    """Refuse a solver that the penalty or the dispersion does not allow; warn of one that is wrong for batches."""
    (model, penalty, _), name = settings.objective, settings.solver_name
    if name is not None:
        warn_unsuited_solver(name, settings.options)
    if solver is not None and penalty.l1_share:
        require_nonsmooth_solver(type(penalty).__name__, type(solver).__name__)
    if (name is not None or solver is not None) and (model.dispersion == "likelihood" or held_out is not None):
        require_dispersion(model, False, "a solver that you name or bring")


def _make_stepper(settings: Settings, solver, shape, params) -> BatchFit | UserSolver:
    """Stepper before its first batch: the default solver, the one that the settings name, or the `solver` of the user."""
    (n_features, n_neurons), objective, name = shape, settings.objective, settings.solver_name
    mask = settings.mask(n_features, n_neurons)
    start = np.zeros((n_neurons, n_features)), np.full(n_neurons, np.nan)
    if params is not None:
        start = settings.core_params(params, mask)
    if solver is not None:
        return UserSolver.from_optax(objective, mask, start, require_stepper(solver, name))
    if name is not None:
        return UserSolver.from_jaxopt(objective, mask, start, name, settings.options)
    return BatchFit.start(objective, mask, *start)


def _as_user_params(settings: Settings, params):
    """Parameters of the core in the shapes of the user."""
    coef, intercept = params
    return settings.as_user_array(coef.T), intercept


def _held_out_score(settings: Settings, held_out, batches, params, dispersion) -> float:
    """Mean log-likelihood of held-out data, which must have the columns and bins of the batches."""
    model = settings.objective.model
    coef, intercept = params
    n_neurons, n_features = coef.shape
    X, y, sample_weight, offset = held_out
    data = as_observations(X, y, model, settings.y_dims, sample_weight, offset)
    X, y = data.X, data.y
    require_n_features(n_features, X.values.shape[1], settings.estimator)
    require_n_neurons(n_neurons, y.values.shape[1])
    join_names(batches.names, names_of(X, y))
    if model.dispersion is not None:
        model = broadcast_dispersion(model, n_neurons) if dispersion is None else model.with_scale(dispersion)
    on_data = ModelOnData.from_observations(model, coef, intercept, data)
    return score_model("log-likelihood", on_data, aggregate=None, null=None)


def _as_fitted(settings: Settings, stepper, names, n_steps, watch) -> Fitted:
    """Result of a run; its parameters are those with the best score of held-out data, if there are any."""
    dtype, findings, dispersion, null_mean = jnp.result_type(float), None, None, None
    result = stepper.result()
    if result.dispersion is not None:
        dispersion, null_mean = (
            result.dispersion.scale,
            result.null.mean_without_offset(settings.objective.model).astype(dtype),
        )
        findings = Findings(
            silent=result.null.silent,
            unobserved=result.null.silent & (stepper.state.totals.bins == 0),
            constant=result.dispersion.constant,
            separated=result.dispersion.separated,
            separation=_separation(settings, stepper, result),
            collinear=result.collinear,
            constant_features=result.constant_features,
            unseen=find_unseen(
                settings.objective.penalty,
                stepper.mask,
                result.coef,
                result.null.silent,
                (result.collinear, result.constant_features),
                names.features,
            ),
        )
        result = result._replace(coef=np.where(findings.separation.unseen, 0, result.coef))
    params, dispersion = watch.best((result.coef, result.intercept), dispersion)
    coef, intercept = _as_user_params(settings, tuple(np.asarray(a, dtype) for a in params))
    n_iter = np.full(len(result.converged), n_steps)
    return Fitted(
        observation_model=settings.objective.model,
        parameters=Parameters(coef=coef, intercept=intercept, dispersion=dispersion),
        names=names,
        convergence=Convergence(n_iter=n_iter, converged=result.converged, stalled=result.failed),
        findings=findings,
        null_mean=null_mean,
    )


def _separation(settings: Settings, stepper, result):
    """Coefficients without a finite optimum, as far as the sample of the batches tells."""
    totals, excluded = stepper.state.totals, result.null.silent | result.dispersion.separated
    params = result.coef, result.intercept
    return separation_of_sample(totals.sample, totals.center, settings.objective, stepper.mask, params, excluded)


def _names_given(rows) -> list[str]:
    """Names of those of weight and offset that are given."""
    return [name for name, values in zip(ROW_VALUES, rows, strict=True) if values is not None]


def _fingerprint(settings: Settings, batches, params, state, solver, checks) -> dict:
    """Settings and data that a checkpoint of this fit is compared by; of a solver object it is the name only."""
    mask = None if settings.feature_mask is None else as_real_array("feature_mask", settings.feature_mask, (2,))
    place = () if state is None else (state.place.pass_number, state.place.n_batches)
    fingerprint = {
        "held_out": checks,
        "init": params and [values_checksum(*params), *place],
        "solver": settings.solver_name or DEFAULT_SOLVER if solver is None else type(solver).__name__,
        "method": f"fit_batches of {settings.estimator}",
        "batches": None,
    }
    fingerprint |= objective_fingerprint(settings.objective, mask) | options_fingerprint(settings.options)
    if isinstance(batches, Windows):
        fingerprint |= {
            "batches": repr(batches),
            "in memory": values_checksum(*(frame.values for frame in batches.frames)),
        }
        for letter, frame in zip("Xy", batches.frames, strict=True):
            fingerprint |= frame_fingerprint(letter, frame)
        for name, values in zip(ROW_VALUES, batches.weights_and_offsets, strict=True):
            if values is not None:
                fingerprint[name] = f"{values.dtype} {tuple(values.shape)}, {values_checksum(values)}"
    elif isinstance(batches, list | tuple):
        fingerprint["batches"] = f"{len(batches)}, {values_checksum(batches)}"
    return fingerprint
