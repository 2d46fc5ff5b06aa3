"""Do the tests notice? Puts one fault at a time into a copy of the package and runs the tests that should catch it.

`make test-full`, or `python tests/mutations.py [name ...]`. A fault that no test notices is a hole in the tests.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ONE_THREAD = dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Fault(NamedTuple):
    """One line that is wrong, and the test file (with a selection by `-k`) or the page that should fail."""

    file: str
    right: str
    wrong: str
    tests: str
    select: str = ""


FAULTS = {
    "batches that name what depends, penalty or not": Fault(
        "batching/_result.py",
        "prepare_problem(fit.objective, mask,",
        "prepare_problem(fit.objective._replace(strength=np.float32(0)), mask,",
        "test_fit.py",
        "others_make",
    ),
    "models that JAX takes for one another": Fault(
        "observation_models.py",
        "register_pytree_node(cls, _flatten_model, partial(_unflatten_model, cls))",
        'register_dataclass(cls, ["scale"], ["link"])',
        "test_observation_models.py",
        "tells",
    ),
    "a scale that forgets the parameters": Fault(
        "_sums/scale.py",
        "np.nan, np.maximum(bins - n_params, 1)",
        "np.nan, np.maximum(bins, 1)",
        "test_observation_models.py",
        "statsmodels",
    ),
    "the variance of a Gamma in proportion to its mean": Fault(
        "observation_models.py",
        "        return mean**2\n\n",
        "        return mean\n\n",
        "test_observation_models.py",
        "statsmodels",
    ),
    "a negative binomial that keeps its first scale": Fault(
        "_solver/exact.py",
        "if setting.fits_dispersion and not",
        "if False and not",
        "test_observation_models.py",
        "statsmodels",
    ),
    "a scale that is no setting of a checkpoint": Fault(
        "_files/fingerprint.py",
        "None if model.scale is None else float(model.scale)",
        "None",
        "test_checkpoint.py",
        "scale_that_is_given",
    ),
    "a scale that is forgotten with a checkpoint": Fault(
        "batching/_batch_fit.py",
        "fit = replace(self, state=state).with_dispersion()",
        "fit = replace(self, state=state)",
        "test_checkpoint.py",
        "own",
    ),
    "residuals of a sample that nobody kept": Fault(
        "_sums/losses.py",
        "jnp.where(block.weight.T > 0, residual, 0).T",
        "0 * residual.T",
        "test_observation_models.py",
        "one_pass",
    ),
    "rows of a sample that count the same": Fault(
        "batching/_sample.py",
        "1 / np.minimum(1, self.share * self.rows.size)",
        "0 * self.rows.size + 1 / self.share",
        "test_observation_models.py",
        "stand_for",
    ),
    "a tolerance without the units of y": Fault(
        "observation_models.py",
        "return 2 * loss if self.divides else np.ones_like(loss)",
        "return np.ones_like(loss)",
        "test_observation_models.py",
        "units",
    ),
    "lag 0 instead of 1": Fault("_design/convolve.py", "(lag >= 1)", "(lag >= 0)", "test_features.py", "lag_1"),
    "kernel reversed": Fault(
        "_design/convolve.py",
        "kernel[jnp.clip(lag, 1, window) - 1]",
        "kernel[window - jnp.clip(lag, 1, window)]",
        "test_features.py",
        "lag_1",
    ),
    "functions lose their last lag": Fault(
        "_design/convolve.py", "(initial=0) + 1", "(initial=1)", "test_features.py", "any_order or triple_loop"
    ),
    "history across an epoch gap": Fault(
        "_design/terms.py",
        "(ends - starts[epoch] >= window)",
        "(ends - starts[0] >= window)",
        "test_features.py",
        "epoch_gap",
    ),
    "missing bins count as zero in the history": Fault(
        "_design/terms.py",
        "complete &= seen[now] == seen[np.maximum(now - window, 0)]",
        "pass",
        "test_features.py",
        "missing_bin",
    ),
    "columns ordered (function, input)": Fault(
        "_design/convolve.py", '"crb,snc->srnb"', '"crb,snc->srbn"', "test_features.py", "triple_loop"
    ),
    "the future begins with the bin itself": Fault(
        "_checks/values.py", "lambda window: window + 1", "lambda window: window", "test_bases.py", "sum_over_its_lags"
    ),
    "a window of the future reaches over the end of its epoch": Fault(
        "_design/terms.py", " & (ends <= starts[epoch + 1])", "", "test_bases.py", "ends_of_epochs"
    ),
    "products run fastest along their first factor": Fault(
        "_design/blocks.py",
        "(a[:, :, None] * b[:, None, :])",
        "(a[:, None, :] * b[:, :, None])",
        "test_algebra.py",
        "parts_make",
    ),
    "cyclic splines do not close": Fault(
        "basis/_shapes.py", "+ order / 2, n)", "+ order / 2, n + 1)", "test_bases.py", "cyclic_splines"
    ),
    "M-splines without their order": Fault(
        "basis/_shapes.py", "np.diag(order / (knots", "np.diag(1 / (knots", "test_bases.py", "m_splines"
    ),
    "test data have bounds of their own": Fault(
        "basis/_eval.py", 'else getattr(self, "bounds_", None)', "else None", "test_bases.py", "bounds_are_those"
    ),
    "windows of other lengths are compiled anew": Fault(
        "batching/_windows.py", "min(first + size, epoch[1]))", "stop)", "test_compile.py", "few_compilations"
    ),
    "a checkpoint is written over the last one": Fault(
        "_files/npz.py",
        'partial = path.with_name(f"{path.name}',
        'partial = path or (f"{path.name}',
        "test_checkpoint.py",
        "full_disk",
    ),
    "a saved model forgets what its fit knew": Fault(
        "io.py", "name in PRIVATE_ATTRIBUTES or (name", "name in () or (name", "test_io.py", "what_was_saved"
    ),
    "names of columns become words in files": Fault(
        "io.py", "labels[i] = _decode_value(part, foreign)", "labels[i] = str(part)", "test_io.py", "types or numbers"
    ),
    "a file names an attribute that no fit leaves": Fault(
        "io.py",
        "vars(value).update({name: part for name, part in fit.items() if _is_fit_attribute(name)})",
        "vars(value).update(fit)",
        "test_io.py",
        "methods",
    ),
    "couplings are drawn from receiver to sender": Fault(
        "plotting/_figures.py",
        "values.ndim == 3 else values).T",
        "values.ndim == 3 else values)",
        "test_plotting.py",
        "couplings",
    ),
    "filters are drawn from lag 0": Fault(
        "plotting/_figures.py",
        "np.arange(1, len(kernel) + 1)",
        "np.arange(len(kernel))",
        "test_plotting.py",
        "milliseconds",
    ),
    "the band of quantiles is that of their number": Fault(
        "plotting/_figures.py", "ppf(0.95, n)", "ppf(0.95, len(z))", "test_plotting.py", "quantiles"
    ),
    "a checkpoint forgets the factors of neurons' own": Fault(
        "_solver/exact.py",
        "state, problem.precondition.own_factors, n_passes, problem.objective.model.scale, None",
        "state, {}, n_passes, problem.objective.model.scale, None",
        "test_checkpoint.py",
        "started_again and fit",
    ),
    "a checkpoint does not know its data": Fault(
        "_files/_checks.py", "    if other:", "    if False:", "test_checkpoint.py", "single_spike or another_fit"
    ),
    "a run goes on one batch too early": Fault(
        "batching/_run.py",
        "else batches_taken) - 1",
        "else batches_taken) - 2",
        "test_checkpoint.py",
        "list",
    ),
    "a checkpoint looks at a buffer when it is written": Fault(
        "batching/_run.py", "seen = X.copy(), y.copy()", "seen = X, y", "test_checkpoint.py", "buffer"
    ),
    "a checkpoint does not look at X itself": Fault(
        "_files/fingerprint.py", "self.X = _update_checksum(self.X, array)", "pass", "test_checkpoint.py", "another_fit"
    ),
    "a stopped run keeps the losses of later steps": Fault(
        "batching/_watch.py", '"loss": n,', '"loss": None,', "test_checkpoint.py", "callback_repeats"
    ),
    "windows leave out the last rows": Fault(
        "batching/_windows.py", "self.n_bins), stop]", "self.n_bins)]", "test_batches.py", "every_bin_once"
    ),
    "windows reach over gaps": Fault(
        "batching/_windows.py",
        "epoch_starts(frame, frame.values.shape[0])",
        "[0, frame.values.shape[0]]",
        "test_batches.py",
        "no_gap",
    ),
    "steps of batches count every batch alike": Fault(
        "batching/_first_pass.py",
        "(new_bins / (state.seen.bins + held))",
        "(0.02 + 0 * state.seen.bins)",
        "test_batches.py",
        "what_it_saw",
    ),
    "windows are not corrected by the sample": Fault(
        "batching/_sample.py",
        "for _ in range(MAX_SAMPLE_EVALUATIONS):",
        "for _ in range(1):",
        "test_batches.py",
        "seen_once",
    ),
    "the sample forgets where its rows were met": Fault(
        "batching/_sample.py",
        "linear = seen.gradients - scaled_gradient(",
        "linear = seen.gradients - 0 * scaled_gradient(",
        "test_batches.py",
        "all_rows",
    ),
    "rows of the sample count alike": Fault(
        "batching/_sample.py",
        "return 1 / np.minimum(1, self.share * self.rows.size)",
        "return 1 + 0 * self.rows.size",
        "test_batches.py",
        "seen_once",
    ),
    "passes over other bins are compared": Fault(
        "batching/_batch_fit.py",
        "elif shows_same_bins(self.state):",
        "elif True:",
        "test_batches.py",
        "other_bins",
    ),
    "steps that went astray are kept": Fault(
        "batching/_first_pass.py",
        "if not lost.any():\n        return",
        "if True:\n        return",
        "test_batches.py",
        "unlike_those_before",
    ),
    "batches are rounded before they are centred": Fault(
        "batching/_batch_fit.py",
        "X = X - fit.state.seen.center ",
        "X = X - 0 * fit.state.seen.center ",
        "test_batches.py",
        "far_from_0",
    ),
    "a fit by batches goes on from the first window": Fault(
        "glm/_batch_fit.py",
        "else state.place._replace(n_steps=0)",
        "else Place()",
        "test_batches.py",
        "goes_on",
    ),
    "update changes nothing": Fault(
        "_solver/jaxopt.py",
        "return (coef.T.reshape(params[0].shape), intercept), state",
        "return params, state",
        "test_update.py",
        "by_hand",
    ),
    "update changes nothing, and the guide": Fault(
        "_solver/jaxopt.py",
        "return (coef.T.reshape(params[0].shape), intercept), state",
        "return params, state",
        "book/how_to_guide/plot_04_batch_glm.md",
    ),
    "weight dropped from the residual": Fault(
        "_sums/losses.py",
        "residual = jnp.where(weight > 0, weight * residual, 0)",
        "residual = jnp.where(weight >= 0, residual, 0)",
        "test_update.py",
        "by_hand and True",
    ),
    "mean instead of sum over neurons": Fault(
        "_solver/jaxopt.py",
        "(s[0] / bins[neuron] for s in sums)",
        "(s[0] / bins[neuron] / len(bins) for s in sums)",
        "test_update.py",
        "by_hand",
    ),
    "sender and receiver swapped": Fault(
        "simulation/_rollout.py",
        "recurrence.coef.reshape(-1, len(limit))",
        "recurrence.coef.T.reshape(-1, len(limit))",
        "test_simulation.py",
        "drives",
    ),
    "null model from the training data": Fault(
        "glm/_model.py", 'NULL_SOURCES) == "scored"', 'NULL_SOURCES) == "none"', "test_score.py", "mcfadden"
    ),
    "silent neurons counted in pseudo-R2": Fault(
        "glm/_score.py",
        "null is not None else ~silent & (bins > 0)",
        "null is not None else bins > 0",
        "test_score.py",
        "mcfadden",
    ),
    "log y! dropped": Fault(
        "observation_models.py", "xlogy(y, y) - y - gammaln(y + 1)", "xlogy(y, y) - y", "test_score.py"
    ),
    "intercept penalised by update": Fault(
        "_solver/jaxopt.py",
        "(mask[neuron] * d_coef, d_intercept)",
        "(mask[neuron] * d_coef, d_intercept + strength * intercept)",
        "test_update.py",
        "by_hand",
    ),
    "intercept pulled down by the penalty of fit": Fault(
        "_solver/exact.py",
        "coordinates.gradient(d_coef, d_intercept / bins)",
        "coordinates.gradient(d_coef, d_intercept / bins + strength)",
        "test_fit.py",
        "scikit_learn",
    ),
    "penalty left out of the gradient": Fault(
        "_solver/exact.py", " + penalty.gradient(strength, coef)", "", "test_fit.py", "scikit_learn"
    ),
    "ridge without its half": Fault(
        "regularizer.py", "(weight * rows**2).sum(-1) / 2", "(weight * rows**2).sum(-1)", "test_fit.py", "scikit_learn"
    ),
    "mask ignored by update": Fault(
        "_solver/jaxopt.py",
        "(mask[neuron] * d_coef, d_intercept)",
        "(d_coef, d_intercept)",
        "test_glm_contract.py",
        "stay_zero",
    ),
    "mask ignored by fit": Fault(
        "_solver/preconditioner.py",
        "mask * varying, lengths)",
        "varying + 0 * mask, lengths)",
        "test_glm_contract.py",
        "exactly_zero",
    ),
    "NaN counts as 0 with weight 1": Fault(
        "_design/blocks.py",
        "y.astype(X.dtype), valid.astype(X.dtype)",
        "y.astype(X.dtype), jnp.ones_like(valid, X.dtype)",
        "test_fit.py",
        "missing_row",
    ),
    "a missing count is missing for nobody": Fault(
        "_design/blocks.py",
        "y.astype(X.dtype), valid.astype(X.dtype)",
        "y.astype(X.dtype), valid.any(1, keepdims=True).astype(X.dtype)",
        "test_fit.py",
        "missing_count",
    ),
    "the last block of a chunk is forgotten": Fault(
        "_design/total.py",
        "fori_loop(0, chunk.n_valid_blocks, ",
        "fori_loop(0, chunk.n_valid_blocks - 1, ",
        "test_fit.py",
        "same_sums",
    ),
    "the last chunk is forgotten": Fault(
        "_design/total.py",
        "    return _add_sums(sums, waiting)",
        "    return sums or _add_sums(None, waiting)",
        "test_fit.py",
        "same_sums",
    ),
    "a lazy slice starts its history anew": Fault(
        "_design/terms.py",
        "out[:, begin : begin + len(piece)] = piece.T",
        "out[:, begin : begin + len(piece)], out[:, :window] = piece.T, 0",
        "test_lazy.py",
        "any_part",
    ),
    "virtual counts: a spike on an edge counts in the bin before": Fault(
        "batching/_lazy_counts.py",
        "guess + (times >= edges[guess + 1])",
        "guess + (times > edges[guess + 1])",
        "test_streams.py",
        "pynapple",
    ),
    "rows that were asked for by number are taken in their order": Fault(
        "_design/lazy.py", "out[self._positions] = y", "out[: len(y)] = y", "test_lazy.py", "every_method"
    ),
    "timestamps are not compared": Fault(
        "_checks/times.py", "off.max() > 1e-6", "off.max() > 1e6", "test_bad_input.py", "times_shifted or shifted"
    ),
    "the default solver stops where it starts": Fault(
        "_solver/ask_tell.py",
        "np.where(silent, DONE, RUNNING)",
        "np.where(silent, DONE, DONE)",
        "test_fit.py",
        "scikit_learn",
    ),
    "a group's length without its size": Fault(
        "regularizer.py", "self.lengths * np.sqrt(sizes) * ", "self.lengths * ", "test_penalties.py", "conditions"
    ),
    "features of a group in scales of their own": Fault(
        "_solver/preconditioner.py",
        "penalty.groups(n_features) if penalty.lengths else",
        "",
        "test_penalties.py",
        "favoured",
    ),
    "a path that forgets what its penalty changes": Fault(
        "_solver/path.py",
        "gradient=state.gradient + more",
        "gradient=state.gradient",
        "test_penalties.py",
        "path_is_its_fits",
    ),
    "the kink left out of a step's slope": Fault(
        "_solver/proximal.py", "gradient + pull * (start + end)", "gradient", "test_penalties.py", "conditions"
    ),
    "a step's gain as a difference of large sums": Fault(
        "_solver/proximal.py",
        "return row_dot(end - start, gradient + pull * (start + end))",
        "return row_dot(end - start, gradient) + (self.cost * (self.norms(end) - self.norms(start))).sum(1)",
        "test_penalties.py",
        "no_difference",
    ),
    "round-off at the optimum taken for a stall": Fault(
        "_solver/ask_tell.py", "np.minimum(slack, hidden)", "0 * slack", "test_penalties.py", "hides"
    ),
    "one threshold for all parts": Fault(
        "_solver/preconditioner.py",
        "penalty.thresholds(strength, len(sd))",
        "penalty.thresholds(strength[..., :1] if strength.ndim else strength, len(sd))",
        "test_penalties.py",
        "its_strength",
    ),
    "update that does not shrink": Fault(
        "_solver/jaxopt.py",
        "objective.penalty.prox(strength_of(neuron, objective), coef, step)",
        "coef",
        "test_penalties.py",
        "update",
    ),
    "a whole is split by what a part has seen alone": Fault(
        "basis/_features.py", "if len(widths) != len(self._leaves):", "if True:", "test_algebra.py", "used_alone"
    ),
    "bounds that were taken back stay": Fault(
        "basis/_eval.py", 'getattr(self, "_given", False)', "False", "test_bases.py", "taken_back"
    ),
    "bounds know of no rounding": Fault(
        "basis/_eval.py", "return low - off, high + off", "return low, high", "test_bases.py", "rounds"
    ),
    "a factor far from 0 is no word worth": Fault(
        "basis/_checks.py", "if far.any():", "if False:", "test_algebra.py", "factor_far"
    ),
    "a window around a bin needs a bin more": Fault(
        "basis/_conv.py", "alone=0 < ahead <= window", "alone=False", "test_bases.py", "around_a_bin"
    ),
    "a clone of a sum takes it apart": Fault(
        "basis/_tree.py", "other.bases = tuple(map(clone, self.bases))", "pass", "test_algebra.py", "clones_keep"
    ),
    "a loaded sum takes its parts apart": Fault(
        "io.py", "        node.bases = bases\n", "", "test_io.py", "what_they_were"
    ),
    "a clone loses its link": Fault(
        "links.py", "    function = resolve_builtin(function)\n", "", "test_io.py", "keeps_its_link"
    ),
    "separation is seen where there is none": Fault(
        "_sums/separation.py",
        "(events_above + others_below == 0)",
        "(events_above == 0)",
        "test_observation_models.py",
        "separates_a_part",
    ),
    "dependent columns are parameters of a fit by batches": Fault(
        "batching/_result.py",
        "if not fit.objective.model.divides:",
        "if True:",
        "test_observation_models.py",
        "others_determine",
    ),
    "features that others make up for are degrees of freedom": Fault(
        "_sums/rank.py",
        "return mask.sum(1) - lost",
        "return mask.sum(1)",
        "test_rank.py",
        "difference_of_ranks or left_of",
    ),
    "a neuron's rank is that of all bins": Fault(
        "inference/_likelihood_ratio.py", "if (bins == n).all():", "if True:", "test_rank.py", "difference_of_ranks"
    ),
    "named solvers count features that others determine": Fault(
        "_solver/jaxopt.py", "rank.n_params(mask) + 1", "mask.sum(1) + 1", "test_rank.py", "left_of"
    ),
    "what the data do not determine is known": Fault(
        "inference/_information.py",
        "return (change > NOT_IDENTIFIED_TOL",
        "return (change > np.inf",
        "test_rank.py",
        "tuning_curve",
    ),
    "a test of what the data do not determine": Fault(
        "inference/_uncertainty.py", "(size > MIN_DIRECTION_NORM)", "(size > 2)", "test_rank.py", "tuning_curve"
    ),
    "ranks forget what digits are lost": Fault(
        "_sums/rank.py",
        "32 * eps * max(1.0, (power[varying] / variance[varying]).max(initial=0))",
        "32 * eps",
        "test_rank.py",
        "difference_of_ranks",
    ),
    "few clusters are as many": Fault(
        "inference/_uncertainty.py", "self._df / np.maximum(rest, 1))", "1)", "test_inference.py", "few_clusters"
    ),
    "an estimated scale is known": Fault(
        "inference/_unpenalised_fit.py",
        "core.divides and model",
        "False and model",
        "test_inference.py",
        "estimated_scale",
    ),
    "a constant feature leaves the intercept alone": Fault(
        "inference/_information.py",
        "(np.eye(len(unit)) * unit)[:, constant]",
        "null[:, :0]",
        "test_inference.py",
        "constant_feature",
    ),
    "a full model may be less likely": Fault(
        "inference/_likelihood_ratio.py",
        "LESS_LIKELY: statistic < MIN_STATISTIC",
        "LESS_LIKELY: statistic != statistic",
        "test_rank.py",
        "less_likely",
    ),
    "the scale is that of the end": Fault(
        "batching/_watch.py",
        "return self._best[1:]",
        "return self._best[1], dispersion",
        "test_observation_models.py",
        "step_that_is_kept",
    ),
    "residuals forget where their batch was met": Fault(
        "batching/_first_pass.py",
        "here = coef.astype(dtype), intercept.astype(dtype)",
        "here = 0 * coef.astype(dtype), intercept.astype(dtype)",
        "test_batches.py",
        "rows_that_are_kept",
    ),
    "the end of a generator is that of a pass": Fault(
        "batching/_batches.py",
        "if (is_empty and not n_skipped) or self.is_iterator:",
        "if is_empty and not n_skipped:",
        "test_batches.py",
        "second_generator",
    ),
    "nats that are said to be bits": Fault(
        "glm/_score.py", "gain / (np.log(2) * np", "gain / (1.0 * np", "test_assessment.py", "bits"
    ),
    "spikes at the end of their bins": Fault(
        "assessment/_rescaling.py",
        "places = rng.random(len(bin_of))",
        "places = np.ones(len(bin_of))",
        "test_assessment.py",
        "rejects",
    ),
    "a bin that ends with its last spike": Fault(
        "assessment/_rescaling.py",
        "steps[first] += empty + np.append(0, rest[:-1])",
        "steps[first] += empty",
        "test_assessment.py",
        "rejects",
    ),
    "births that forget those before them": Fault(
        "assessment/_rescaling.py",
        ", 1 / alpha + k  #",
        ", 1 / alpha + 0 * k  #",
        "test_assessment.py",
        "rejects and Negative",
    ),
    "a probability of 1 that lost its digits": Fault(
        "_sums/scores.py",
        "return -model.log_likelihood(eta, jnp.zeros_like(eta))",
        "return -jnp.log1p(-model.mean(eta))",
        "test_assessment.py",
        "nearly_sure",
    ),
    "residuals without their sign": Fault(
        "_sums/scores.py",
        "jnp.sign(y - model.mean(eta)) * jnp.sqrt(jnp.maximum(",
        "jnp.sqrt(jnp.maximum(",
        "test_assessment.py",
        "statsmodels",
    ),
    "information as observed, not as expected": Fault(
        "inference/_information.py",
        'information_matrices(kind == "fisher",',
        'information_matrices(kind != "fisher",',
        "test_inference.py",
        "statsmodels",
    ),
    "a spike or none with the information of counts": Fault(
        "observation_models.py",
        "return mean * self.curvature(eta, one)",
        "return self.curvature(eta, one)",
        "test_inference.py",
        "statsmodels and Bernoulli",
    ),
    "errors without the scale": Fault(
        "inference/_information.py",
        "one.inverse * scale[neuron]",
        "one.inverse",
        "test_inference.py",
        "statsmodels and Gaussian",
    ),
    "clusters without their correction": Fault(
        "inference/_information.py",
        "correction = number /",
        "correction = 1 + 0 * number /",
        "test_inference.py",
        "statsmodels",
    ),
    "clusters that are lost between blocks": Fault(
        "inference/_information.py",
        "part, first - 1, 0",
        "part, 0 * first, 0",
        "test_inference.py",
        "blocks_and_streams",
    ),
    "the error of an intercept of other features": Fault(
        "inference/_information.py",
        "-(self.mean + center)",
        "-(self.mean + 0 * center)",
        "test_inference.py",
        "far_from_0",
    ),
    "standard errors after a penalty": Fault(
        "inference/_checks.py", "if penalty.default_strength and", "if False and", "test_inference.py", "refused"
    ),
    "units on themselves among the couplings": Fault(
        "inference/_couplings.py", "if own or senders[s] != receivers[r]", "if True", "test_inference.py", "table"
    ),
    "a band of whole filters that is one of points": Fault(
        "inference/_quantiles.py", "length / np.pi * decay", "0 * length * decay", "test_inference.py", "bands_are"
    ),
    "a block that hears the bins before it one bin late": Fault(
        "simulation/_rollout.py",
        "kernel[np.minimum(lag, window) - 1]",
        "kernel[np.maximum(np.minimum(lag, window) - 2, 0)]",
        "test_simulation.py",
        "own_past",
    ),
    "history that goes on across epochs of a simulation": Fault(
        "simulation/_rollout.py", "jnp.where(new, start, before)", "before", "test_simulation.py", "own_past"
    ),
    "bins that are not known count in the history": Fault(
        "simulation/_rollout.py", "y = jnp.where(drawn, y, 0)", "y = y * 1", "test_simulation.py", "own_past"
    ),
    "a scale that a simulation forgets": Fault(
        "glm/_draw.py", "(1 + scale * (count - 1)) / count", "1 / count", "test_simulation.py", "negative or heavy"
    ),
    "a mean field without fluctuations": Fault(
        "simulation/_mean_field.py", "np.expm1(filters)", "filters", "test_simulation.py", "lambert"
    ),
    "a margin that nobody looked for": Fault(
        "simulation/_mean_field.py",
        "(middle, high) if back(middle) else (low, middle)",
        "(middle, high)",
        "test_simulation.py",
        "lambert",
    ),
    "a training row that sees the last test bin": Fault(
        "model_selection/_splits.py",
        "_distance_to_nearest(at, at[test]) > window",
        "_distance_to_nearest(at, at[test]) >= window",
        "test_splits.py",
        "shared",
    ),
    "a window that is too wide": Fault(
        "model_selection/_splits.py",
        "_distance_to_nearest(at, at[test]) > window",
        "_distance_to_nearest(at, at[test]) > window + 1",
        "test_splits.py",
        "rule",
    ),
    "lazy features that forget what they look ahead": Fault(
        "_design/lazy.py", "leaf.ahead - 1 for leaf", "0 for leaf", "test_splits.py", "shared"
    ),
    "a standard error that does not know the number of folds": Fault(
        "model_selection/_cross_validation.py",
        "folds - 1, np.nan",
        "folds, np.nan",
        "test_cross_validation.py",
        "alike",
    ),
    "the smallest strength within one standard error": Fault(
        "model_selection/_cross_validation.py",
        "len(mean) - 1 - np.argmax((mean >= enough)[::-1], 0)",
        "np.argmax(mean >= enough, 0)",
        "test_cross_validation.py",
        "rules",
    ),
    "scores that weigh every fold alike": Fault(
        "model_selection/_cross_validation.py",
        "bins / np.maximum(bins.sum(0), 1)",
        "counted / np.maximum(folds, 1)",
        "test_cross_validation.py",
        "alike",
    ),
}


def test(root: Path, tests: set[str], select: str = "") -> int:
    """Exit status of pytest in this copy of the repository: 1 if a test has failed, 3 if the code cannot run at all."""
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *sorted(tests)]
    command += ["--nbmake"] if any(name.endswith(".md") for name in tests) else []
    command += ["-k", select] if select else []
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    slip = re.search(r"^E +(NameError|SyntaxError|AttributeError|ImportError)", result.stdout, re.MULTILINE)
    if slip or result.returncode not in (0, 1):
        print(result.stdout[-2000:], result.stderr[-2000:])
    return 3 if slip else result.returncode


def outcome(name: str) -> str:
    """Put one fault into a copy of the repository; say whether the tests notice it, and only it."""
    fault = FAULTS[name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "copy")
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__", ".*", "_build"))
        file = root / "src" / "popglm" / fault.file
        text = file.read_text("utf8")
        if text.count(fault.right) != 1:
            return f"NOT APPLIED: {fault.file} holds {text.count(fault.right)} times: {fault.right}"
        file.write_text(text.replace(fault.right, fault.wrong), "utf8")
        status = test(root, {path(fault)}, fault.select)
        return {0: "SURVIVED", 1: "caught"}.get(status, "BROKEN: the tests did not run")


def path(fault: Fault) -> str:
    """Return the test file of a fault, or the page."""
    return fault.tests if fault.tests.startswith("book/") else f"tests/{fault.tests}"


def main() -> int:
    """Try the faults named on the command line, or all, two at a time."""
    names = sys.argv[1:] or list(FAULTS)
    faults = [FAULTS[name] for name in names if FAULTS[name].tests.endswith(".py")]  # the pages are tests of their own
    everything = " or ".join(sorted({f"({fault.select or fault.tests.removesuffix('.py')})" for fault in faults}))
    if faults and test(ROOT, {path(fault) for fault in faults}, everything):
        print("The tests fail without any fault: put that right first.")
        return 2
    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(zip(names, pool.map(outcome, names), strict=True))
    for name, what in outcomes.items():
        print(f"{name:45}{what}")
    return int(any(what != "caught" for what in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
