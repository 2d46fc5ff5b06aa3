"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "a missing value costs every neuron its row": Fault(
        "_design/missing.py",
        "return None if mask is None or np.all(mask) else Uses(np.asarray(mask) > 0, groups)",
        "return None",
        "glm/test_masked_missing.py",
        "only_the_features",
    ),
    "zeros stand for missing values in the moments": Fault(
        "_design/design.py",
        "0.0 if self._uses is None else agree_on_fill(column_fill(values))",
        "0.0",
        "glm/test_masked_missing.py",
        "means_stand",
    ),
    "an intercept that loses what y was shifted by": Fault(
        "_design/centering.py",
        "return intercept + shift if",
        "return (intercept + shift).astype(intercept.dtype) if",
        "sums/test_densities.py",
        "fitted_as_near_it and array",
    ),
    "lag 0 instead of 1": Fault("_design/convolve.py", "(lag >= 1)", "(lag >= 0)", "design/test_features.py", "lag_1"),
    "kernel reversed": Fault(
        "_design/convolve.py",
        "kernel[jnp.clip(lag, 1, window) - 1]",
        "kernel[window - jnp.clip(lag, 1, window)]",
        "design/test_features.py",
        "lag_1",
    ),
    "functions lose their last lag": Fault(
        "_design/convolve.py", "(initial=0) + 1", "(initial=1)", "design/test_features.py", "any_order or triple_loop"
    ),
    "history across an epoch gap": Fault(
        "_design/terms.py",
        "(ends - starts[epoch] >= window)",
        "(ends - starts[0] >= window)",
        "design/test_features.py",
        "epoch_gap",
    ),
    "missing bins count as zero in the history": Fault(
        "_design/terms.py",
        "complete = complete & (n_missing[now] == n_missing[np.maximum(now - window, 0)])",
        "pass",
        "design/test_features.py",
        "missing_bin",
    ),
    "columns ordered (function, input)": Fault(
        "_design/convolve.py", '"crb,snc->srnb"', '"crb,snc->srbn"', "design/test_features.py", "triple_loop"
    ),
    "a window of the future reaches over the end of its epoch": Fault(
        "_design/terms.py", " & (ends <= starts[epoch + 1])", "", "basis/test_bases.py", "ends_of_epochs"
    ),
    "products run fastest along their first factor": Fault(
        "_design/blocks.py",
        "(a[:, :, None] * b[:, None, :])",
        "(a[:, None, :] * b[:, :, None])",
        "basis/test_algebra.py",
        "parts_make",
    ),
    "NaN counts as 0 with weight 1": Fault(
        "_design/blocks.py",
        "y.astype(X.dtype), weight.astype(X.dtype)",
        "y.astype(X.dtype), jnp.ones_like(weight, X.dtype)",
        "solver/test_fit.py",
        "missing_row",
    ),
    "a missing count is missing for nobody": Fault(
        "_design/blocks.py",
        "y.astype(X.dtype), weight.astype(X.dtype)",
        "y.astype(X.dtype), weight.any(1, keepdims=True).astype(X.dtype)",
        "solver/test_fit.py",
        "missing_count",
    ),
    "the last block of a chunk is forgotten": Fault(
        "_design/total.py",
        "fori_loop(0, chunk.n_valid_blocks, ",
        "fori_loop(0, chunk.n_valid_blocks - 1, ",
        "solver/test_fit.py",
        "same_sums",
    ),
    "the last chunk is forgotten": Fault(
        "_design/total.py",
        "        waiting = started\n    if waiting is not None:\n",
        "        waiting = started\n    if start == 0:\n",
        "solver/test_fit.py",
        "same_sums",
    ),
    "a lazy slice starts its history anew": Fault(
        "_design/terms.py",
        "out[:, begin : begin + len(piece)] = piece.T",
        "out[:, begin : begin + len(piece)], out[:, :window] = piece.T, 0",
        "design/test_lazy.py",
        "any_part",
    ),
    "rows that were asked for by number are taken in their order": Fault(
        "_design/lazy.py", "out[self._positions] = y", "out[: len(y)] = y", "design/test_lazy.py", "every_method"
    ),
    "lazy features that forget what they look ahead": Fault(
        "_design/lazy.py", "leaf.ahead - 1 for leaf", "0 for leaf", "model_selection/test_splits.py", "shared"
    ),
    "rows that windows explain are lost": Fault(
        "_design/lost_rows.py",
        "(~valid & ~short)",
        "(~valid)",
        "design/test_lost_rows.py",
        "windows_explain",
    ),
    "an input ends only where its name changes": Fault(
        "_design/layout.py",
        " or any(other.function == column.function for other in last)",
        "",
        "regularizer/test_inputs.py",
        "sums_inside",
    ),
    "the last chunks of several devices are lost": Fault(
        "_design/devices.py",
        "    if waiting is not None:\n        yield from _split(*waiting)\n\n\ndef",
        "    return\n\n\ndef",
        "parallel/test_parallel.py",
        "devices_change_no_bit",
    ),
}
