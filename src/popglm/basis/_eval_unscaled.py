"""Bases of variables in their own units: identity, categories, functions of the user."""

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from popglm._checks.arrays import as_input_matrix, require_binned
from popglm._design.streams import is_stream
from popglm._pynapple import Frame, as_frame, as_plain_array
from popglm._types import Inputs, Points, Range
from popglm.basis._checks import as_categories, as_reference_position, require_known_categories
from popglm.basis._eval import Eval
from popglm.basis._shapes import CustomShape


class UnscaledEval(Eval):
    """Evaluations of values in their own units, not scaled to [0, 1]; with `bounds`, of the values inside."""

    def _current_bounds(self):
        return super()._current_bounds() if self.bounds is not None else (-np.inf, np.inf)

    def _to_shape_domain(self, x):
        return x

    def _grid(self, n_samples):
        low, high = self._current_bounds() if self.bounds is not None else (0, 1)
        grid = np.linspace(low, high, n_samples)
        return [grid], self.shape(grid)


class IdentityEval(UnscaledEval):
    """The variable itself as the only function: for an effect that is linear on the scale of the link, such as the log rate.

    Parameters
    ----------
    bounds : tuple of float
        Rows with values outside are left out; None uses all.
    label : str
        Name inside a sum or a product.

    Examples
    --------
    >>> from popglm.basis import IdentityEval
    >>> IdentityEval().compute_features([0.5, 2.0]).tolist()
    [[0.5], [2.0]]
    """

    def __init__(self, bounds: Range | None = None, label: str | None = None) -> None:
        self.bounds = bounds
        self.label = label

    n_basis_funcs = 1

    def shape(self, x: Points) -> Float[np.ndarray, "points basis"]:
        """Return the values, of shape (len(x), 1)."""
        return np.atleast_1d(np.asarray(x, float))[:, None]


def _missing_entries(values):
    """Mask of missing entries: None, NaN, or the missing values of pandas."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(values.shape, bool)
    lacks = lambda value: value is None or type(value).__name__ == "NAType" or bool(value != value)
    return np.array([lacks(value) for value in values.ravel()], bool).reshape(values.shape)


class CategoryEval(UnscaledEval):
    """One indicator function for each category, such as a context, a type of trial or a sleep state.

    Parameters
    ----------
    categories : list
        Numbers or words; None learns them from the first data, in sorted order (`categories_`), until `fit` learns them again.
    reference
        The category without a function: the intercept is its level, and the other categories are compared with it. None
        gives every category a function; they sum to 1, see `BSplineEval`. Use None in a product.
    label : str
        Name inside a sum or a product.

    Raises
    ------
    ValueError
        If a value is not one of the categories. NaN is a missing value: its row is left out.

    Examples
    --------
    >>> from popglm.basis import CategoryEval
    >>> CategoryEval(["left", "right"], reference="left").compute_features(["left", "right", "right"]).tolist()
    [[0.0], [1.0], [1.0]]
    """

    def __init__(self, categories: Sequence | None = None, reference: Any = None, label: str | None = None) -> None:
        self.categories = categories
        self.reference = reference
        self.label = label

    def look(self, inputs: Inputs, *, anew: bool = False) -> Frame:
        require_binned("inputs", inputs)
        frame = as_frame(inputs)
        values = np.asarray(frame.values[:] if is_stream(frame.values) else as_plain_array(frame.values))
        missing = _missing_entries(values)
        if values.dtype.kind == "O" and all(isinstance(value, numbers.Real) for value in values[~missing]):
            values = np.where(missing, np.nan, values).astype(float)
        values = values.astype(str) if values.dtype.kind in "UO" else as_input_matrix(values)
        values, missing = (a[:, None] if a.ndim == 1 else a for a in (values, missing))
        if self.categories is not None:
            self.categories_ = as_categories(self.categories)
        elif anew or self._current_categories() is None:
            self.categories_ = as_categories(np.unique(values[~missing]))
        self._all_given = self.categories is not None
        same = values[..., None] == self.categories_
        require_known_categories(np.unique(values[~same.any(-1) & ~missing]), self.categories_)
        codes = np.where(missing, np.nan, same.argmax(-1))
        return self._learn_range(frame._replace(values=codes), anew)

    @property
    def n_basis_funcs(self) -> int:
        """Number of functions: the number of categories, without the reference."""
        return self._n_functions

    def shape(self, x: Points) -> Float[np.ndarray, "points basis"]:
        """Return 1 where `x` is the number of the category, else 0; shape (len(x), n_basis_funcs)."""
        categories = as_categories(self._current_categories())
        one_hot = np.asarray(x)[:, None] == np.arange(len(categories))
        reference = as_reference_position(self.reference, categories)
        return one_hot.astype(float) if reference is None else np.delete(one_hot, reference, 1).astype(float)

    def _current_categories(self):
        """Return the categories set by the user, else the learned ones; None before any data, or if the user removed them."""
        if self.categories is not None:
            return self.categories
        return None if getattr(self, "_all_given", False) else getattr(self, "categories_", None)

    def _grid(self, n_samples):
        categories = as_categories(self._current_categories())
        return [categories], self.shape(np.arange(len(categories)))


class CustomBasis(CustomShape, UnscaledEval):
    """Your own functions of a variable, in its own units. Rows with NaN are left out.

    Parameters
    ----------
    funcs : list
        Functions that take an array and return one number for every entry.
    bounds, label
        As for `IdentityEval`.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import CustomBasis
    >>> CustomBasis([np.cos, np.sin]).compute_features([0.0, np.pi / 2]).round(6).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, funcs: Sequence[Callable], bounds: Range | None = None, label: str | None = None) -> None:
        self.funcs = funcs
        self.bounds = bounds
        self.label = label
