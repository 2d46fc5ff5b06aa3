"""Checks of batches and of the state that a fit by batches continues from."""

import numpy as np

from popglm._checks.models import require_params_pair
from popglm._checks.times import join_touching
from popglm._checks.values import require_pair, warn_user
from popglm._files._checks import refuse_checkpoint

MAX_PARTIAL_SHARE = 0.01  # of the bins that the end of an epoch may cut without a warning


def warn_partial_bins(missing, n_bins):
    """Warn if many bins are cut by the end of their epoch; `missing` is the share of each epoch's last bin that is outside."""
    cut = missing[missing > 0]
    if len(cut) > 1 and len(cut) > MAX_PARTIAL_SHARE * n_bins:
        came = f"{len(cut)} of {n_bins} bins ({len(cut) / n_bins:.0%}) are cut by the end of their epoch"
        effect = f"On average {cut.mean():.0%} of such a bin is missing, yet it counts as a full one: rates seem to fall there"
        fix = "Give epochs that last a whole number of bins, or partial='drop'."
        warn_user(f"{came}. {effect}. {fix}", RuntimeWarning)


def warn_epochs_without_bins(trains, epochs, n_bins):
    """Warn if epochs have no bin, and say how many spikes are in none; `n_bins` is the number of bins of each epoch."""
    empty = np.flatnonzero(n_bins == 0)
    if len(empty):
        begin, end = epochs.start[empty], epochs.end[empty]
        n_lost = sum(int((np.searchsorted(t, end, "right") - np.searchsorted(t, begin)).sum()) for t in trains)
        came = f"{len(empty)} of {len(n_bins)} epochs are too short for a bin"
        fix = "Take a smaller bin size, or epochs that last several bins."
        warn_user(f"{came}: {n_lost} spike(s) in them are not counted. {fix}", RuntimeWarning)


def warn_lost_spikes(trains, epochs):
    """Warn if spikes lie between epochs that touch, where pynapple leaves a gap of a microsecond."""
    end, following = epochs.end, join_touching(epochs)
    gaps = np.flatnonzero(following > end)
    n_lost = sum(
        int((np.searchsorted(times, following[gaps]) - np.searchsorted(times, end[gaps], "right")).sum())
        for times in trains
    )
    if n_lost:
        came = f"{n_lost} spike(s) are not counted: pynapple ends an epoch that touches the next a microsecond early"
        fix = "Count in epochs that do not touch, and select from these counts with `restrict`."
        warn_user(f"{came}, and there they lie. {fix}", RuntimeWarning)


def require_batches(batches):
    """Require something that gives batches when it is iterated."""
    if isinstance(batches, tuple) and len(batches) in (2, 4) and getattr(batches[0], "ndim", 0) == 2:
        raise TypeError("`batches` must give pairs (X, y), many of them; got one. For a single one: [(X, y)].")
    if not hasattr(batches, "__iter__"):
        raise TypeError(f"`batches` must give pairs (X, y) when it is iterated; got {type(batches).__name__}.")


def as_batch_parts(item, expected):
    """Split a pair (X, y) or a 4-tuple with weights and offsets into four parts; those of a pair are None."""
    if isinstance(item, tuple | list) and len(item) in (2, 4):
        return (*item, None, None)[:4]
    came = type(item).__name__ + (f" of {len(item)}" if isinstance(item, tuple | list) else "")
    fix = "Write None for what is not given: (X, y, sample_weight, None)."
    raise TypeError(f"{expected} pairs (X, y) or tuples (X, y, sample_weight, offset); got a {came}. {fix}")


def require_batch_columns(expected, came):
    """Require weights and offsets of as many columns as those of the first batch; 0 are none."""
    if came != expected:
        describe = lambda columns: " and ".join(
            f"{n or 'no'} column(s) of {name}" for n, name in zip(columns, ("sample_weight", "offset"), strict=True)
        )
        fix = "Give ones for the weights and zeros for the offsets of the batches that have none."
        raise ValueError(f"all batches must be like the first, with {describe(expected)}; got {describe(came)}. {fix}")


def require_any_batch(n):
    """Require at least one batch."""
    if not n:
        raise ValueError("`batches` is empty: there is nothing to fit. A generator is empty after it was used once.")


def require_batch_shape(expected, came):
    """Require as many features and neurons as in the first batch."""
    if came != expected:
        raise ValueError(f"all batches must have as many features and neurons as the first, {expected}; got {came}.")


def require_same_stepper(before, now):
    """Require that a state is continued by the solver that made it."""
    if before != now:
        fix = "Give `(params, None)` to start this one there."
        raise TypeError(f"the state in `init` is that of {before}, not of {now}. {fix}")


def as_init_pair(init, state_class):
    """Parameters and state to continue from; both are None for a new fit, the state alone for a start at these parameters."""
    if init is None:
        return None, None
    expected = "None or the `batch_state_` of an earlier fit"
    whole = f"`init` must be None or a pair (params, state), where params is (coef, intercept) and state {expected}"
    params, state = require_pair(init, whole)
    require_pair(params, whole)
    require_params_pair(params)
    if not isinstance(state, state_class | None):
        raise TypeError(f"the state in `init` must be {expected}; got {type(state).__name__}.")
    return params, state


def require_stepper(solver, name):
    """Require an object with `init` and `update`, in a model without a named solver, and return it."""
    if name is not None:
        raise ValueError(f"the model has the solver {name!r} and `fit_batches` was given another. Give one of them.")
    if not (callable(getattr(solver, "init", None)) and callable(getattr(solver, "update", None))):
        raise TypeError(f"`solver` must have the methods `init` and `update`; got {type(solver).__name__}.")
    return solver


def require_state_shapes(expected, got):
    """Require that the arrays of a checkpoint have the shapes of the solver's state."""
    if list(map(np.shape, expected)) != list(map(np.shape, got)):
        fix = "Take the versions that wrote it, or delete the checkpoint to start anew."
        raise ValueError(f"the state in the checkpoint is not one of this solver: it has other shapes. {fix}")


def require_checkpoint_batch(item, path):
    """Require batches that reach as far as those of the checkpoint, and return this one."""
    if item is None:
        refuse_checkpoint(path, "a fit to other data: the batches end before those that it has taken. ")
    return item
