"""Checks of indices and axes of lazy features, lazy counts and coefficients."""

import numbers

import numpy as np


def as_row_and_column(key, shape, what="lazy features", *, twice=False):
    """Convert an index of a lazy matrix to rows and columns, None for all; rows may repeat only with `twice`."""
    key = key if isinstance(key, tuple) else (key,)
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    rows, *columns = (*key[:at], *[slice(None)] * (2 - len(key) + (at < len(key))), *key[at + 1 :])
    columns = [c for c in columns if not (isinstance(c, slice) and c == slice(None))]
    if len(columns) > 1 or any(k is None for k in (rows, *columns)):
        raise IndexError(f"{what} have two axes, time and {what.split()[1]}; got the index {key!r}.")
    column = columns[0] if columns else None
    if isinstance(rows, slice):
        return (None if rows == slice(None) else rows), column
    index = np.asarray(rows)
    wrong_mask, no_integers = (
        index.dtype == bool and index.shape != shape[:1],
        index.dtype.kind not in "biu" and index.size,
    )
    if wrong_mask or index.ndim > 1 or no_integers:
        raise IndexError(
            f"rows of {what} must be given by a slice, whole numbers or a mask of length {shape[0]}; got "
            f"{type(rows).__name__} of dtype {index.dtype} and shape {index.shape}."
        )
    if columns and index.ndim == 1 and np.ndim(column) == 1:
        raise IndexError(
            f"{what} take an array of rows or one of columns, not both; index numpy.asarray of it instead."
        )
    index = np.flatnonzero(index) if index.dtype == bool else index.astype(int).reshape(-1)
    if not len(index):
        return slice(0, 0), column
    if index.min() < -shape[0] or index.max() >= shape[0]:
        outside = index[(index < -shape[0]) | (index >= shape[0])][0]
        raise IndexError(
            f"row {outside} of {shape[0]} rows of {what} does not exist; use {-shape[0]} to {shape[0] - 1}."
        )
    index = index % shape[0]
    if not twice and len(np.unique(index)) < len(index):
        raise ValueError("lazy features hold each row once; rows were asked for twice. Index numpy.asarray(X) instead.")
    return index, column


def _require_axis(shape, axis, fits, expected):
    if not isinstance(axis, numbers.Integral) or not -len(shape) <= axis < len(shape):
        raise ValueError(f"`axis` must be an axis of the array of shape {shape}; got {axis!r}.")
    if not fits(shape[axis]):
        came = f"got {shape[axis]} in shape {shape}"
        raise ValueError(f"axis {axis} must hold {expected}; {came}. For coefficients write axis=0.")


def require_feature_axis(shape, axis, n_features):
    """Require an axis that holds all features of a basis."""
    expected = f"the {n_features} features of the last inputs of this basis"
    _require_axis(shape, axis, lambda length: length == n_features, expected)


def n_inputs_along(shape, axis, n_basis):
    """Number of inputs along an axis that holds all functions of each input."""
    expected = f"n_basis_funcs = {n_basis} entries of every input"
    _require_axis(shape, axis, lambda length: length % n_basis == 0, expected)
    return shape[axis] // n_basis


def require_whole_blocks(inputs, functions, n_basis):
    """Require columns in whole blocks, one for each input, with all functions in order."""
    blocks = np.asarray(inputs).reshape(-1, n_basis)
    whole = (blocks == blocks[:, :1]).all() and (np.reshape(functions, (-1, n_basis)) == np.arange(n_basis)).all()
    if not whole or len(set(blocks[:, 0].tolist())) < len(blocks):
        raise ValueError(
            f"columns must be whole blocks of {n_basis} functions, one for every input with a name of its own; got "
            f"{[f'{i}:{f}' for i, f in zip(inputs, functions, strict=True)][:12]}. Split before you choose columns."
        )


def is_sender_receiver_pair(units):
    """Return whether `units` is a pair of lists of ids (None for all), senders and receivers, rather than two ids."""
    listed = lambda part: part is None or (hasattr(part, "__len__") and not isinstance(part, str))
    return isinstance(units, tuple) and len(units) == 2 and all(map(listed, units))
