"""Shapes: families of functions on [0, 1], which `Conv` stretches over lags and `Eval` over the values of a variable.

A shape is one class with one method, `shape(x)`, that returns an array of shape (len(x), n_basis_funcs).
"""

import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import BSpline as Spline

from popglm._checks.values import as_number
from popglm._types import Points
from popglm.basis._checks import (
    as_frequencies,
    as_functions,
    as_raised_cosine_settings,
    as_spline_settings,
    evaluate_function,
)


class RaisedCosineLinearShape:
    """Raised cosines with evenly spaced peaks from 0 to 1."""

    def shape(self, x: Points) -> Float[np.ndarray, "points basis"]:
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""
        n, width = as_raised_cosine_settings(self.n_basis_funcs, self.width)
        gap = 1 / (n - 1)
        return raised_cosines(_as_points(x), gap * np.arange(n), gap, width)


class RaisedCosineLogShape:
    """Raised cosines with evenly spaced peaks on a logarithmic axis, fine near 0."""

    def shape(self, x: Points) -> Float[np.ndarray, "points basis"]:
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""
        decay = self.enforce_decay_to_zero
        n, width = as_raised_cosine_settings(self.n_basis_funcs, self.width, decay)
        scaling = as_number("time_scaling", 50.0 if self.time_scaling is None else self.time_scaling, 0, strict=True)
        gap = 1 / (n + width - 1) if decay else 1 / (n - 1)
        stretched = np.log1p(scaling * _as_points(x)) / np.log1p(scaling)
        return raised_cosines(stretched, gap * np.arange(n), gap, width)


class BSplineShape:
    """B-splines on even knots; they are non-negative and sum to 1 everywhere."""

    def shape(self, x: Points) -> Float[np.ndarray, "points basis"]:
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""
        n, order = as_spline_settings(self.n_basis_funcs, self.order)
        return Spline(_knots(n, order), np.eye(n), order - 1)(_as_points(x))


class MSplineShape:
    """M-splines: B-splines scaled to have the integral 1."""

    def shape(self, x: Points) -> Float[np.ndarray, "points basis"]:
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""
        n, order = as_spline_settings(self.n_basis_funcs, self.order)
        knots = _knots(n, order)
        return Spline(knots, np.diag(order / (knots[order:] - knots[:n])), order - 1)(_as_points(x))


class CyclicBSplineShape:
    """B-splines on a circle: copies of one bump, with peaks at k / n_basis_funcs. They sum to 1 everywhere."""

    _is_cyclic = True

    def shape(self, x: Points) -> Float[np.ndarray, "points basis"]:
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""
        n, order = as_spline_settings(self.n_basis_funcs, self.order, least=2)
        # distance in knots from the start of each function
        ahead = np.mod(n * _as_points(x)[:, None] - np.arange(n) + order / 2, n)
        one = Spline.basis_element(np.arange(order + 1), extrapolate=False)
        return np.nan_to_num(one(ahead))


class FourierShape:
    """Cosines, then sines, in the order of their numbers of periods in [0, 1]."""

    @property
    def n_basis_funcs(self) -> int:
        """Number of functions: two for every frequency, one for 0."""
        frequencies = as_frequencies(self.frequencies)
        return 2 * len(frequencies) - int(0 in frequencies)

    def shape(self, x: Points) -> Float[np.ndarray, "points basis"]:
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""
        frequencies = as_frequencies(self.frequencies)
        angle = 2 * np.pi * _as_points(x)[:, None] * frequencies
        return np.concatenate([np.cos(angle), np.sin(angle[:, frequencies > 0])], 1)


class CustomShape:
    """Functions written by the user."""

    @property
    def n_basis_funcs(self) -> int:
        """Number of functions."""
        return len(as_functions(self.funcs))

    @property
    def _n_functions(self):
        return self.n_basis_funcs

    def shape(self, x: Points) -> Float[np.ndarray | Array, "points basis"]:
        """Values of the functions at `x`, of shape (len(x), n_basis_funcs)."""
        x = _as_points(x)
        return np.stack([evaluate_function(f, x) for f in as_functions(self.funcs)], 1)


def raised_cosines(x, peaks, gap, width):
    """Cosine bumps around the peaks, of full width 2 * gap * width."""
    angle = np.pi * (x[:, None] - peaks) / (gap * width)
    return (1 + np.cos(np.clip(angle, -np.pi, np.pi))) / 2


def _as_points(x):
    return np.atleast_1d(np.asarray(x, float))


def _knots(n, order):
    """Even knots, with the end knots repeated `order` times, so that the first and last functions reach 1 at the ends."""
    return np.concatenate([np.zeros(order - 1), np.linspace(0, 1, n - order + 2), np.ones(order - 1)])
