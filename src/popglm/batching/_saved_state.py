"""Order of the values of a state in checkpoint files: as version 0.1.0 wrote them, then what came later."""

from popglm._solver.ask_tell import SolverState
from popglm._solver.preconditioner import Coordinates, Preconditioner, Problem
from popglm._sums.losses import fit_null_model
from popglm.batching._sample import Sample
from popglm.batching._state import BinSums, ExactPasses, FirstPass, NewBins, PassSums, Totals, set_objective


def state_to_tuple(state: FirstPass | ExactPasses, dispersion_is_fixed) -> tuple:
    """Values of a state for a file; the objective is left out, as it follows from the settings."""
    state = set_objective(state, None)
    totals, exact = state.totals, isinstance(state, ExactPasses)
    coef, intercept = state.centered_params
    return (
        coef,
        intercept,
        totals.center,
        totals.counts.bins,
        totals.counts.events,
        totals.moments,
        totals.gradients,
        totals.sample.to_tuple(),
        state.problem,
        float("inf") if exact else state.renewal_bins,  # type: ignore[union-attr]
        state.solver if exact else None,  # type: ignore[union-attr]
        state.sums if exact else None,  # type: ignore[union-attr]
        state.dispersion,
        state.dispersion is not None and dispersion_is_fixed,
        state.dispersion_sums if exact else None,  # type: ignore[union-attr]
        isinstance(state, NewBins),
        totals.counts.squares,
        0.0 if totals.null is None else totals.null.shift,
    )


def state_from_tuple(values, model) -> FirstPass | ExactPasses:
    """State with the values of a file, still without an objective."""
    coef, intercept, *values = values
    center, bins, events, moments, gradients, sample, *values = values
    problem, renewal_bins, solver, sums, dispersion, _, dispersion_sums, is_new_bins, *later = values
    squares, null_shift = later or (bins, 0.0)
    totals = Totals(
        center=center,
        counts=BinSums(bins, events, squares),
        moments=moments,
        gradients=gradients,
        sample=Sample.from_tuple(sample),
        null=fit_null_model(model, bins, events)._replace(shift=null_shift),
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
        phase = NewBins if is_new_bins else FirstPass
        return phase(
            totals=totals,
            coef=coef,
            intercept=intercept,
            problem=problem,
            renewal_bins=renewal_bins,
            dispersion=dispersion,
        )
    return ExactPasses(
        totals=totals,
        solver=SolverState.from_tuple(solver),
        problem=problem,
        sums=None if sums is None else PassSums.from_tuple(sums),
        dispersion=dispersion,
        dispersion_sums=dispersion_sums,
    )
