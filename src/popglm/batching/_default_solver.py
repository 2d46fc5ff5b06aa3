"""The default fit by batches, from its first batch to its result.

1. In the `FirstPass` every batch moves the parameters by its share of a Newton step (`_first_pass`).
2. At its end a sample of the rows corrects the parameters for what is not quadratic (`_sample`), and `ExactPasses` begin.
3. If the batches of a pass show the same bins again, their sums are those of the whole recording, and the pass is one step of
   the exact solver (`_exact_passes`). This is repeated until all neurons have converged.
4. If they show `NewBins`, the fit goes on as in the first pass.
"""

from dataclasses import dataclass, replace

import numpy as np

from popglm._checks.arrays import require_small_offset
from popglm._design.centering import pooled_mean_sd
from popglm._design.row_counter import record_rows
from popglm._solver.problem import Objective
from popglm._sums.losses import fit_null_model
from popglm._sums.scale import broadcast_dispersion
from popglm.batching._batch import Batch
from popglm.batching._checks import require_batch_columns
from popglm.batching._exact_passes import (
    shows_same_bins,
    start_exact_passes,
    start_new_bins,
    step_in_exact_pass,
    take_solver_step,
)
from popglm.batching._first_pass import step_in_first_pass
from popglm.batching._result import BatchResult, fit_result, fitted_dispersion
from popglm.batching._sample import Sample
from popglm.batching._saved_state import state_from_tuple, state_to_tuple
from popglm.batching._state import ExactPasses, FirstPass, NewBins, Totals, set_objective

DEFAULT_SOLVER = "the default solver"


@dataclass(frozen=True)
class BatchFit:
    """A fit by batches, with what it has seen and reached so far. Steps do not change it: they return the next one.

    It begins with `start`, or with `resume` or `from_tuple` in the state of an earlier one.
    """

    objective: Objective  # if its loss has a dispersion, at that of the state
    mask: np.ndarray  # features of each neuron, (neurons, features)
    state: FirstPass | ExactPasses
    estimates_dispersion: bool  # whether the loss has a dispersion that the user did not give

    name = DEFAULT_SOLVER

    @classmethod
    def start(cls, objective: Objective, mask, coef, intercept) -> "BatchFit":
        """Fit before its first batch, at these parameters; that batch sets an intercept of NaN."""
        model, dispersion = objective.model, None
        if model.dispersion == "likelihood":
            dispersion = np.asarray(broadcast_dispersion(model, len(coef)).scale, float)[:, 0]
        fit = cls(
            objective=objective,
            mask=mask,
            state=FirstPass(totals=Totals.empty(*coef.shape), coef=coef, intercept=intercept, dispersion=dispersion),
            estimates_dispersion=model.dispersion == "likelihood" and model.scale is None,
        )
        return fit.with_dispersion()

    def step(self, batch: Batch) -> tuple["BatchFit", float]:
        """Take in one batch. Return the next fit and the batch's mean loss."""
        record_rows(batch.y)
        fit = self if self.state.totals.center is not None else self._begin(batch)
        totals = fit.state.totals
        require_batch_columns(totals.sample.columns, batch.columns)
        batch = batch._replace(X=batch.X - totals.center)  # in double precision; the design rounds it
        step = step_in_exact_pass if isinstance(fit.state, ExactPasses) else step_in_first_pass
        fit, loss = step(fit, batch)
        return fit.with_dispersion(), loss

    def end_pass(self) -> "BatchFit":
        """Fit after the last batch of a pass."""
        if isinstance(self.state, NewBins):
            fit = self
        elif isinstance(self.state, FirstPass):
            fit = start_exact_passes(self)
        elif shows_same_bins(self.state):
            fit = take_solver_step(self)
        else:
            fit = start_new_bins(self)
        return fit.with_dispersion()

    @property
    def params(self):
        """Coefficients (neurons, features) and intercepts, for the features of the user."""
        coef, intercept = self.state.centered_params
        center = self.state.totals.center
        return coef, intercept - (0 if center is None else coef @ center)

    @property
    def dispersion(self):
        """Dispersion of each neuron."""
        return fitted_dispersion(self).scale

    @property
    def done(self) -> bool:
        """True if no further pass would move any neuron."""
        return bool(self.state.finished.all())

    def result(self) -> BatchResult:
        """Estimates from the batches seen so far."""
        return fit_result(self)

    def resume(self, state) -> "BatchFit":
        """Fit in the `state` of an earlier one. It keeps its own parameters, except in exact passes, and a given dispersion."""
        totals, dispersion = state.totals, self.state.dispersion
        if self.estimates_dispersion and state.dispersion is not None:
            dispersion = state.dispersion
        null = fit_null_model(self.objective.model, totals.counts.bins, totals.counts.events)
        null = null.with_intercept(totals.null.offset_intercept)
        totals = replace(totals, sample=totals.sample.copy(), null=null)
        state = replace(state, totals=totals, dispersion=dispersion)
        if isinstance(state, FirstPass):
            coef, intercept = self.state.centered_params
            state = replace(state, coef=coef, intercept=intercept + coef @ totals.center)
        return self._restore(state)

    @property
    def plain_state(self):
        """State that can be pickled."""
        return set_objective(self.state, None)

    def to_tuple(self) -> tuple:
        """Values of the state for a checkpoint file."""
        return state_to_tuple(self.state, dispersion_is_fixed=not self.estimates_dispersion)

    def from_tuple(self, values, batch: Batch) -> "BatchFit":
        """Fit in the state of a checkpoint file."""
        return self._restore(state_from_tuple(values, self.objective.model))

    def update(self, **changes) -> "BatchFit":
        """Fit with other values in its state."""
        return replace(self, state=replace(self.state, **changes))

    def with_dispersion(self) -> "BatchFit":
        """Fit whose objective has the dispersion of its state. During a step the objective stays as it was before."""
        if self.state.dispersion is None:
            return self
        model = self.objective.model.with_scale(self.state.dispersion)
        return replace(self, objective=self.objective._replace(model=model))

    def _restore(self, state) -> "BatchFit":
        fit = replace(self, state=state).with_dispersion()
        return replace(fit, state=set_objective(state, fit.objective))

    def _begin(self, batch: Batch) -> "BatchFit":
        """Fit whose sums take batches like the first one, with features around its mean."""
        center, sd = pooled_mean_sd([batch.X], pooled_mean_sd([batch.X], 0)[0])
        require_small_offset(center, sd)
        coef, intercept = self.state.centered_params
        sample = Sample.empty(batch.X.shape[1], batch.y.shape[1], *batch.columns)
        totals = replace(self.state.totals, center=center, sample=sample)
        return self.update(totals=totals, intercept=intercept + coef @ center)
