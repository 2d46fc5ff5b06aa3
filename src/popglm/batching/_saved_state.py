"""Order of the values of a state in checkpoint files, as version 0.1.0 wrote them."""

from popglm._solver.ask_tell import SolverState
from popglm._solver.preconditioner import Coordinates, Preconditioner, Problem
from popglm._sums.losses import fit_null_model
from popglm.batching._sample import Sample
from popglm.batching._state import ExactPasses, FirstPass, NewBins, PassSums, Seen, set_objective


def state_to_tuple(state: FirstPass | ExactPasses, dispersion_is_fixed) -> tuple:
    """Values of a state for a file; the objective is left out, as it follows from the settings."""
    state = set_objective(state, None)
    seen, exact = state.seen, isinstance(state, ExactPasses)
    coef, intercept = state.centered_params
    return (
        coef,
        intercept,
        seen.center,
        seen.bins,
        seen.events,
        seen.moments,
        seen.gradients,
        seen.sample.to_tuple(),
        state.problem,
        float("inf") if exact else state.renew_at,
        state.solver if exact else None,
        state.sums if exact else None,
        state.dispersion,
        state.dispersion is not None and dispersion_is_fixed,
        state.dispersion_sums if exact else None,
        isinstance(state, NewBins),
    )


def state_from_tuple(values, model) -> FirstPass | ExactPasses:
    """State with the values of a file, still without an objective."""
    coef, intercept, center, bins, events, moments, gradients, sample, problem, renew_at, *rest = values
    solver, sums, dispersion, _, dispersion_sums, sees_new_bins = rest
    seen = Seen(
        center=center,
        bins=bins,
        events=events,
        moments=moments,
        gradients=gradients,
        sample=Sample.from_tuple(sample),
        null=fit_null_model(model, bins, events),
    )
    if problem is not None:
        _, n_bins, coordinates, precondition = problem
        problem = Problem(
            objective=None,
            bins=n_bins,
            coordinates=Coordinates(*coordinates),
            precondition=Preconditioner.from_tuple(precondition),
        )
    if solver is None:
        phase = NewBins if sees_new_bins else FirstPass
        return phase(
            seen=seen, coef=coef, intercept=intercept, problem=problem, renew_at=renew_at, dispersion=dispersion
        )
    return ExactPasses(
        seen=seen,
        solver=SolverState.from_tuple(solver),
        problem=problem,
        sums=None if sums is None else PassSums(*sums),
        dispersion=dispersion,
        dispersion_sums=dispersion_sums,
    )
