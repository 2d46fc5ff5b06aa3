"""Checks of batches and of the state that a fit by batches continues from."""

import numpy as np

from popglm._checks.models import require_params_pair


def require_batches(batches):
    """Require something that gives batches when it is iterated."""
    if isinstance(batches, tuple) and len(batches) == 2 and getattr(batches[0], "ndim", 0) == 2:
        raise TypeError("`batches` must give pairs (X, y), many of them; got one pair. For a single one: [(X, y)].")
    if not hasattr(batches, "__iter__"):
        raise TypeError(f"`batches` must give pairs (X, y) when it is iterated; got {type(batches).__name__}.")


def require_any_batch(n):
    """Require at least one batch."""
    if not n:
        raise ValueError("`batches` is empty: there is nothing to fit. A generator is empty after it was used once.")


def require_batch_pair(item, expected="`batches` must give pairs (X, y)"):
    """Require a pair (X, y), and return it."""
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise TypeError(f"{expected}; got {type(item).__name__}.")
    return item


def require_batch_shape(expected, came):
    """Require as many features and neurons as in the first batch."""
    if came != expected:
        raise ValueError(f"all batches must have as many features and neurons as the first, {expected}; got {came}.")


def require_batch_columns(letter, expected, came):
    """Require the columns of the first batch, in its order, if both batches name them."""
    if expected is not None and came is not None and list(expected) != list(came):
        raise ValueError(
            f"all batches must have the columns of the first, in its order; in `{letter}` {list(expected)} were expected and "
            f"{list(came)} came. Select the columns by name."
        )


def require_same_stepper(before, now):
    """Require that a state is continued by the solver that made it."""
    if before != now:
        raise TypeError(
            f"the state in `init` is that of {before}, not of {now}. Give `(params, None)` to start this one there."
        )


def as_init_pair(init, state_class):
    """Parameters and state to continue from; both are None for a new fit, the state alone for a start at these parameters."""
    if init is None:
        return None, None
    if not (isinstance(init, tuple | list) and len(init) == 2 and isinstance(init[0], tuple | list)):
        raise TypeError(
            "`init` must be None or a pair (params, state), where params is (coef, intercept) and state None or "
            f"the `batch_state_` of an earlier fit; got {type(init).__name__}."
        )
    params, state = init
    require_params_pair(params)
    if state is not None and not isinstance(state, state_class):
        raise TypeError(
            f"the state in `init` must be None or the `batch_state_` of an earlier fit; got {type(state).__name__}."
        )
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
        raise ValueError(
            "the state in the checkpoint is not one of this solver: it has other shapes. Take the versions that wrote it, or "
            "delete the checkpoint to start anew."
        )


def require_checkpoint_batch(item, path):
    """Require batches that reach as far as those of the checkpoint, and return this one."""
    if item is None:
        raise ValueError(
            f"{path} is the checkpoint of a fit to other data: the batches end before those that it has taken. Give another "
            "path, or delete it to start anew."
        )
    return item
