"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "batches that name what depends, penalty or not": Fault(
        "batching/_result.py",
        "prepare_problem(fit.objective, mask,",
        "prepare_problem(fit.objective._replace(strength=np.float32(0)), mask,",
        "solver/test_fit.py",
        "others_make",
    ),
    "a scale that is forgotten with a checkpoint": Fault(
        "batching/_default_solver.py",
        "fit = replace(self, state=state).with_dispersion()",
        "fit = replace(self, state=state)",
        "files/test_checkpoint.py",
        "own",
    ),
    "rows of a sample that count the same": Fault(
        "batching/_sample.py",
        "1 / np.minimum(1, self.share * self.rows.size)",
        "0 * self.rows.size + 1 / self.share",
        "sums/test_observation_models.py",
        "stand_for",
    ),
    "windows of other lengths are compiled anew": Fault(
        "batching/_windows.py", "min(first + size, epoch[1]))", "stop)", "project/test_compile.py", "few_compilations"
    ),
    "a run goes on one batch too early": Fault(
        "batching/_run.py", "else n_batches) - 1", "else n_batches) - 2", "files/test_checkpoint.py", "list"
    ),
    "a checkpoint looks at a buffer when it is written": Fault(
        "batching/_run.py",
        "batch_copy = batch.map(np.copy)",
        "batch_copy = batch",
        "files/test_checkpoint.py",
        "buffer",
    ),
    "a stopped run keeps the losses of later steps": Fault(
        "batching/_watch.py", '"loss": n,', '"loss": None,', "files/test_checkpoint.py", "callback_repeats"
    ),
    "rows of the sample forget their weights": Fault(
        "batching/_sample.py",
        "return self.rows.weight if self.columns[0] else 1",
        "return 1",
        "batching/test_weighted_batches.py",
        "heavy_and_light",
    ),
    "the noise of batches knows the unit of weights": Fault(
        "batching/_state.py",
        "np.where(self.bins > 0, self.squares / as_divisor(self.bins), 1)",
        "np.ones_like(self.bins)",
        "batching/test_weighted_batches.py",
        "unit_of_weights",
    ),
    "windows leave out the last rows": Fault(
        "batching/_windows.py", "self.n_bins), stop]", "self.n_bins)]", "batching/test_batches.py", "every_bin_once"
    ),
    "windows reach over gaps": Fault(
        "batching/_windows.py",
        "epoch_starts(frame, frame.values.shape[0])",
        "[0, frame.values.shape[0]]",
        "batching/test_batches.py",
        "no_gap",
    ),
    "steps of batches count every batch alike": Fault(
        "batching/_first_pass.py",
        "(new_bins / (state.totals.bins + prior_bins))",
        "(0.02 + 0 * state.totals.bins)",
        "batching/test_batches.py",
        "what_it_saw",
    ),
    "windows are not corrected by the sample": Fault(
        "batching/_sample.py",
        "for _ in range(MAX_SAMPLE_EVALUATIONS):",
        "for _ in range(1):",
        "batching/test_batches.py",
        "seen_once",
    ),
    "the sample forgets where its rows were met": Fault(
        "batching/_sample.py",
        "linear = totals.gradients - scaled_gradient(",
        "linear = totals.gradients - 0 * scaled_gradient(",
        "batching/test_batches.py",
        "all_rows",
    ),
    "rows of the sample count alike": Fault(
        "batching/_sample.py",
        "return 1 / np.minimum(1, self.share * self.rows.size)",
        "return 1 + 0 * self.rows.size",
        "batching/test_batches.py",
        "seen_once",
    ),
    "passes over other bins are compared": Fault(
        "batching/_default_solver.py",
        "elif shows_same_bins(self.state):",
        "elif True:",
        "batching/test_batches.py",
        "other_bins",
    ),
    "steps that went astray are kept": Fault(
        "batching/_first_pass.py",
        "if not diverged.any():\n        return",
        "if True:\n        return",
        "batching/test_batches.py",
        "unlike_those_before",
    ),
    "batches are rounded before they are centred": Fault(
        "batching/_default_solver.py",
        "X=batch.X - totals.center)",
        "X=batch.X - 0 * totals.center)",
        "batching/test_batches.py",
        "far_from_0",
    ),
    "virtual counts: a spike on an edge counts in the bin before": Fault(
        "batching/_lazy_counts.py",
        'np.searchsorted(begins, inside, side="right")',
        "np.searchsorted(begins, inside)",
        "design/test_streams.py",
        "pynapple",
    ),
    "edges of bins add up rounded ones": Fault(
        "batching/_bins.py",
        "number * self.size",
        "number * round(self.size, 9)",
        "batching/test_clocks.py",
        "pynapple",
    ),
    "counts restricted from the start of the epoch": Fault(
        "batching/_bins.py",
        "skipped=number,",
        "skipped=0 * number,",
        "batching/test_clocks.py",
        "follow",
    ),
    "dependent columns are parameters of a fit by batches": Fault(
        "batching/_result.py",
        'if fit.objective.model.dispersion != "pearson":',
        "if True:",
        "sums/test_observation_models.py",
        "others_determine",
    ),
    "residuals forget where their batch was met": Fault(
        "batching/_first_pass.py",
        "params = coef.astype(dtype), intercept.astype(dtype)",
        "params = 0 * coef.astype(dtype), intercept.astype(dtype)",
        "batching/test_batches.py",
        "rows_that_are_kept",
    ),
    "the end of a generator is that of a pass": Fault(
        "batching/_batches.py",
        "if (is_empty and not n_skipped) or self.is_iterator:",
        "if is_empty and not n_skipped:",
        "batching/test_batches.py",
        "second_generator",
    ),
    "the scale is that of the end": Fault(
        "batching/_watch.py",
        "return self._best[1:]",
        "return self._best[1], dispersion",
        "sums/test_observation_models.py",
        "step_that_is_kept",
    ),
    "a bin that was observed in part is a count": Fault(
        "batching/_observed.py",
        "np.searchsorted(begins, gaps[1, near] - tolerance)",
        'np.searchsorted(ends, gaps[1, near] - tolerance, side="right")',
        "batching/test_observed.py",
        "to_a_fiftieth",
    ),
    "observed time that touches has a gap": Fault(
        "batching/_observed.py",
        "join_touching(epochs)",
        "epochs.end",
        "batching/test_observed.py",
        "no_short_bin",
    ),
    "restricted counts forget the observed time": Fault(
        "batching/_lazy_counts.py",
        "self._bins.select(rows), self._gaps)",
        "self._bins.select(rows))",
        "batching/test_observed.py",
        "not_observed_are_nan",
    ),
    "a checkpoint does not see the observed time": Fault(
        "batching/_lazy_counts.py",
        "(*self._trains, *(self._gaps or ()))",
        "tuple(self._trains)",
        "batching/test_observed.py",
        "checkpoint",
    ),
}
