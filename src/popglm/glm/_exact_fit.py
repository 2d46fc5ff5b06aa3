"""The fit of all neurons to all data, by the default solver or by a named one."""

from contextlib import contextmanager, nullcontext

import numpy as np

from popglm._checks.arrays import find_ranges, require_constant
from popglm._checks.names import names_of
from popglm._checks.progress import open_bar, show_passes
from popglm._checks.values import require_flag
from popglm._design.centering import center_y, shift_intercept
from popglm._design.design import Design
from popglm._design.inputs import Observations, as_design_rows, as_observations
from popglm._design.lost_rows import warn_lost_rows
from popglm._design.total import total
from popglm._files.checkpoint import Checkpoint
from popglm._files.fingerprint import (
    design_fingerprint,
    frame_fingerprint,
    objective_fingerprint,
    options_fingerprint,
    values_checksum,
)
from popglm._solver.evidence_fit import fit_by_evidence
from popglm._solver.exact import fit_exactly, neuron_progress_bar
from popglm._solver.jaxopt import jaxopt_fit
from popglm._solver.jeffreys import fit_under_jeffreys
from popglm._solver.problem import Evidence, FeatureRank
from popglm._sums.moments import mark_unobserved
from popglm._sums.scale import dispersion_after_fit
from popglm._sums.scores import log_likelihood_sums
from popglm.glm._checks import require_default_solver, require_no_checkpoint
from popglm.glm._fitted import EvidenceResult, Findings, Fitted, Parameters
from popglm.glm._separation import separation_of_fit
from popglm.glm._settings import Settings
from popglm.glm._unseen import find_unseen
from popglm.parallel._share import refuse_processes


def fit_to_data(settings: Settings, X, y, sample_weight, offset, init_params, progress, checkpoint) -> Fitted:
    """Fit to features X and activity y of the user, from `init_params` or from the null model."""
    require_flag("progress", progress)
    require_default_solver(settings.solver_name, checkpoint)
    exact = settings.solver_name is None
    if not exact:
        refuse_processes(f"a fit by {settings.solver_name}", "Leave out `solver_name`: the default solver is shared")
    if settings.is_firth:
        require_no_checkpoint(checkpoint)
    model = settings.objective.model
    data = X, y, weight, offset = as_observations(X, y, model, settings.y_dims, sample_weight, offset)
    n_features, n_neurons = X.values.shape[1], y.values.shape[1]
    mask, start, saver = settings.mask(n_features, n_neurons), None, None
    rows = as_design_rows(X.values, centered=exact, mask=mask)
    center = rows.offset(n_features)
    activity, y_center = y.values, np.zeros(n_neurons)
    if exact:
        activity, y_center, offset = center_y(activity, model, offset)
    design = Design(rows, activity, weight, offset, whole=not exact)
    if init_params is not None:
        coef, intercept = settings.core_params(init_params, mask, "init_params")
        start = coef, intercept + coef @ center - y_center
    if checkpoint is not None:
        saver = Checkpoint(checkpoint, _fingerprint(settings, mask, data, start))
        saver.verify_data(design_fingerprint(design))
    with saver or nullcontext():  # on leaving it, the file is written
        evidence = None
        if settings.evidence:
            with neuron_progress_bar(n_neurons, progress) as report:
                fit, evidence = fit_by_evidence(
                    design, settings.objective, mask, start, report=report, checkpoint=saver, **settings.options
                )
        elif settings.is_firth:
            with _count_of_neurons(n_neurons, progress) as report:
                fit = fit_under_jeffreys(design, settings.objective, mask, start, report=report, **settings.options)
        elif exact:
            with neuron_progress_bar(n_neurons, progress) as report:
                fit = fit_exactly(
                    design, settings.objective, mask, start, report=report, checkpoint=saver, **settings.options
                )
        else:
            fit = jaxopt_fit(design, settings.objective, mask, start, settings.solver_name, settings.options)
        counted = X.values, activity, fit.features.constant, weight, offset
        fit = fit._replace(features=_with_true_constants(fit.features, counted, exact))
        warn_lost_rows(X, rows.gather(design.valid), design.n_lost, y.columns)
        fitted = _as_fitted(settings, design, mask, fit, center, y_center, names_of(X, y))
        return (
            fitted
            if evidence is None
            else fitted._replace(evidence=_as_result(settings, design, fit, fitted, evidence))
        )


@contextmanager
def _count_of_neurons(n_neurons: int, show: bool):
    """Show a progress bar; yield the function that sets it to the number of neurons that are done, None if not `show`."""
    if not show:
        yield None
        return
    with open_bar(n_neurons, "neuron") as bar, show_passes(bar):
        yield lambda n: bar.update(n - bar.n)


def _as_result(settings: Settings, design, fit, fitted: Fitted, evidence: Evidence) -> EvidenceResult:
    """Evidence in the shapes of the user; the log-likelihood takes one pass."""
    penalty, scale = settings.objective.penalty, np.asarray(fitted.parameters.dispersion, float)
    model = settings.objective.model
    model = model if model.dispersion is None else model.with_scale(scale)
    bins, log_likelihood = total(log_likelihood_sums, design, model, fit.coef, fit.intercept)
    divisor = scale if model.dispersion == "pearson" else 1.0
    loss = penalty.penalty(np.nan_to_num(evidence.strength), fit.coef.astype(float))
    log_evidence = log_likelihood - bins / divisor * loss + evidence.log_determinants + np.log(2 * np.pi) / 2
    return EvidenceResult(
        strength=settings.as_user_array(evidence.strength.T),
        edf=settings.as_user_array(evidence.edf.T),
        log_evidence=log_evidence,
        repeated=evidence.repeated,
    )


def _with_true_constants(features: FeatureRank, data, exact: bool) -> FeatureRank:
    """Of the features that look constant in the precision of the sums, or as a sum of others, those that are constant.

    Those that look constant must be so for the default solver.
    """
    X, activity, suspects, weight, offset = data
    if exact:
        require_constant(*data)
    suspects = np.union1d(suspects, features.collinear).astype(int)
    if not len(suspects):
        return features
    _, high, varies = find_ranges(X, activity, suspects, weight, offset)
    constant = suspects[~varies & ((high != 0) | np.isin(suspects, features.constant))]
    return features._replace(constant=constant, collinear=np.setdiff1d(features.collinear, suspects[~varies]))


def _as_fitted(settings: Settings, design, mask, fit, center, y_center, names) -> Fitted:
    """Result of a solver in the data of the user, of which X is `center` and y `y_center` more than in the design."""
    model = settings.objective.model
    fitted_model = model if fit.dispersion is None else model.with_scale(fit.dispersion[:, 0])
    dispersion, signs = dispersion_after_fit(design, fitted_model, fit)
    # Under Firth's penalty all optima are finite.
    excluded = dispersion.separated | settings.is_firth
    separation = separation_of_fit(design, settings.objective, mask, fit, signs, excluded)
    intercept = shift_intercept(fit.intercept, y_center - fit.coef.astype(float) @ center)
    return Fitted(
        observation_model=model,
        parameters=Parameters(
            coef=settings.as_user_array(np.where(separation.unseen, 0, fit.coef).T),
            intercept=intercept,
            dispersion=dispersion.scale,
        ),
        names=names,
        convergence=fit.convergence,
        findings=Findings(
            silent=fit.silent,
            unobserved=mark_unobserved(fit.silent, design),
            constant=dispersion.constant,
            separated=dispersion.separated & (not settings.is_firth),
            separation=separation,
            collinear=fit.features.collinear,
            constant_features=fit.features.constant,
            unseen=find_unseen(
                settings.objective.penalty, mask, fit.coef, fit.silent, fit.features[:2], names.features
            ),
        ),
        null_mean=shift_intercept(fit.null_mean, y_center),
    )


def _fingerprint(settings: Settings, mask, data: Observations, start) -> dict:
    """Settings and shapes that a checkpoint of this fit is compared by."""
    return (
        {"method": f"fit of {settings.estimator}{' by evidence' if settings.evidence else ''}"}
        | objective_fingerprint(settings.objective, mask)
        | options_fingerprint(settings.options)
        | frame_fingerprint("X", data.X)
        | frame_fingerprint("y", data.y)
        | {"init": start and values_checksum(*start)}
        | {
            name: None if values is None else values_checksum(values)
            for name, values in zip(("sample_weight", "offset"), data.weights_and_offsets, strict=True)
        }
    )
