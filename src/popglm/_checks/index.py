"""Checks of indices and axes of lazy features, lazy counts and coefficients."""

import numbers
from typing import Any

import numpy as np


def as_row_and_column(
    key: Any, shape: tuple[int, int], what: str = "lazy features", *, twice: bool = False
) -> tuple[Any, Any]:
    """Convert an index of a lazy matrix to rows and columns, None for all; rows may repeat only with `twice`."""
    key, n = key if isinstance(key, tuple) else (key,), shape[0]
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    rows, *columns = (*key[:at], *[slice(None)] * (2 - len(key) + (at < len(key))), *key[at + 1 :])  # type: ignore[misc]
    columns = [c for c in columns if not (isinstance(c, slice) and c == slice(None))]
    if len(columns) > 1 or any(k is None for k in (rows, *columns)):
        raise IndexError(f"{what} have two axes, time and {what.split()[1]}; got the index {key!r}.")
    column = columns[0] if columns else None
    if isinstance(rows, slice):
        return (None if rows == slice(None) else rows), column
    index = np.asarray(rows)
    whole = index.ndim < 2 and (index.dtype.kind in "iu" or not index.size)
    if not (index.shape == (n,) if index.dtype == bool else whole):
        expected = f"a slice, whole numbers or a mask of length {n}"
        came = f"{type(rows).__name__} of dtype {index.dtype} and shape {index.shape}"
        raise IndexError(f"rows of {what} must be given by {expected}; got {came}.")
    if columns and index.ndim == 1 and np.ndim(column) == 1:  # type: ignore[arg-type]
        raise IndexError(f"{what} take an array of rows or one of columns, not both; index numpy.asarray of it.")
    index = np.flatnonzero(index) if index.dtype == bool else index.astype(int).reshape(-1)
    if not len(index):
        return slice(0, 0), column
    outside = index[(index < -n) | (index >= n)]
    if len(outside):
        raise IndexError(f"row {outside[0]} of {n} rows of {what} does not exist; use {-n} to {n - 1}.")
    index = index % n
    if not twice and len(np.unique(index)) < len(index):
        raise ValueError("lazy features hold each row once; rows were asked for twice. Index numpy.asarray(X) instead.")
    return index, column


def require_axis(shape: tuple[int, ...], axis: Any, n: int, *, blocks: bool = False) -> None:
    """Require an axis that holds the `n` features of a basis, or blocks of `n` functions, one for each input."""
    if not isinstance(axis, numbers.Integral) or not -len(shape) <= axis < len(shape):  # type: ignore[operator]
        raise ValueError(f"`axis` must be an axis of the array of shape {shape}; got {axis!r}.")
    if shape[axis] % n if blocks else shape[axis] != n:
        features = f"the {n} features of the last inputs of this basis"
        expected = f"n_basis_funcs = {n} entries of every input" if blocks else features
        came = f"got {shape[axis]} in shape {shape}"
        raise ValueError(f"axis {axis} must hold {expected}; {came}. For coefficients write axis=0.")


def require_whole_blocks(inputs: Any, functions: Any, n_basis: int) -> None:
    """Require columns in whole blocks, one for each input, with all functions in order."""
    blocks = np.asarray(inputs).reshape(-1, n_basis)
    whole = (blocks == blocks[:, :1]).all() and (np.reshape(functions, (-1, n_basis)) == np.arange(n_basis)).all()
    if not whole or len(set(blocks[:, 0].tolist())) < len(blocks):
        expected = f"whole blocks of {n_basis} functions, one for every input with a name of its own"
        came = [f"{i}:{f}" for i, f in zip(inputs, functions, strict=True)][:12]
        raise ValueError(f"columns must be {expected}; got {came}. Split before you choose columns.")


def is_sender_receiver_pair(units: Any) -> bool:
    """Return whether `units` is a pair of lists of ids (None for all), senders and receivers, rather than two ids."""
    listed = lambda part: part is None or (hasattr(part, "__len__") and not isinstance(part, str))
    return isinstance(units, tuple) and len(units) == 2 and all(map(listed, units))
