"""Evaluations: shapes stretched over the values of a variable, such as position, speed, head direction or time."""

import copy
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float

from popglm._checks.arrays import require_finite
from popglm._checks.times import require_epoch_duration
from popglm._checks.values import as_range
from popglm._design.sizes import SIZES
from popglm._design.streams import is_stream, read_rows
from popglm._design.terms import EvalTerm
from popglm._pynapple import Frame
from popglm._types import Inputs, Points, Range
from popglm.basis._checks import as_shape_values, require_range, warn_outside_bounds
from popglm.basis._leaf import Leaf
from popglm.basis._shapes import (
    BSplineShape,
    CyclicBSplineShape,
    FourierShape,
    MSplineShape,
    RaisedCosineLinearShape,
    RaisedCosineLogShape,
)

TRIAL_ROWS = 100  # rows on which `shape` is tried when a basis learns from its input


class Eval(Leaf):
    r"""Features of the same bin: each function of a shape evaluated at each input column.

    .. math:: X_{t,(n,k)} = b_k\Bigl(\frac{x_n(t) - \mathrm{low}}{\mathrm{high} - \mathrm{low}}\Bigr)

    Set `bounds`, or this basis learns them from the first data it sees, one range over all columns. Learned bounds (`bounds_`)
    stay until `fit` learns them again, so that training and test data are treated alike. Rows with a value outside the bounds,
    or with NaN, are NaN and every method ignores them; a warning says how many values lie outside.

    Your own evaluation is a subclass with `shape`, the functions on [0, 1], and with `bounds`, None to learn them:

    >>> import numpy as np
    >>> from popglm.basis import Eval
    >>> class Powers(Eval):
    ...     def __init__(self, degree, bounds=None):
    ...         self.degree, self.bounds = degree, bounds
    ...     def shape(self, x):
    ...         return x[:, None] ** np.arange(1, self.degree + 1)
    >>> Powers(3, bounds=(0, 10)).compute_features([0.0, 5.0, 10.0]).tolist()
    [[0.0, 0.0, 0.0], [0.5, 0.25, 0.125], [1.0, 1.0, 1.0]]
    """

    bounds: Range | None = None

    @abstractmethod
    def shape(self, x: Points) -> Float[np.ndarray | Array, "points basis"]:
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""

    @property
    def _n_functions(self):
        return as_shape_values(type(self), self.shape(np.zeros(1)), 1, None).shape[1]

    def _current_bounds(self):
        """Return the bounds set by the user, else the learned ones; None before any data, or if the user removed the bounds."""
        if self.bounds is not None:
            return as_range("bounds", self.bounds, "(lowest, highest) in units of the variable")
        return None if getattr(self, "_given", False) else getattr(self, "bounds_", None)

    def _to_shape_domain(self, x):
        """Map values inside the bounds to [0, 1], where `shape` is defined."""
        low, high = self.bounds_
        return np.clip((x - low) / (high - low), 0, 1)

    def look(self, inputs: Inputs, *, anew: bool = False) -> Frame:
        frame = self._as_frame(inputs)
        require_epoch_duration(frame)
        return self._learn_range(frame, anew)

    def _learn_range(self, frame, anew):
        """Learn the number of columns and the bounds from checked values."""
        values = frame.values
        self.n_inputs_ = 1 if len(values.shape) == 1 else values.shape[1]
        if anew and self.bounds is None:
            self.__dict__.pop("bounds_", None)
        bounds = self._current_bounds()
        self.bounds_ = require_range(*_value_range(values)) if bounds is None else bounds
        self._given = self.bounds is not None
        if bounds is not None:
            low, high = _widen_bounds(*bounds)
            n_outside = sum(int(((chunk < low) | (chunk > high)).sum()) for chunk in _read_chunks(values))
            n_values = values.shape[0] * self.n_inputs_
            warn_outside_bounds(n_outside, n_values, *bounds, learned=self.bounds is None)  # type: ignore[misc]
        self._evaluate_rows(read_rows(values, 0, TRIAL_ROWS))
        return frame

    def _evaluate_rows(self, values):
        """Evaluate all functions at all columns of these rows; NaN where a value is missing or out of bounds."""
        x, n = np.asarray(values, float), self._n_functions
        low, high = _widen_bounds(*self.bounds_)
        inside = (x >= low) & (x <= high)
        out = np.full((*x.shape, n), np.nan)
        if inside.any():  # a user's function may not accept an empty array
            functions = self.shape(self._to_shape_domain(np.clip(x[inside], *self.bounds_)))
            out[inside] = as_shape_values(type(self), functions, inside.sum(), n)
        return out.reshape(len(x), -1)

    def _term(self, frames):
        values = next(frames).values
        values = values if is_stream(values) else np.array(values)
        fixed = copy.copy(self)  # later changes of this basis do not change its features
        return EvalTerm(values, fixed._evaluate_rows, self.n_inputs_ * self._n_functions)

    def _grid(self, n_samples):
        low, high = self._current_bounds() or (0, 1)
        return [np.linspace(low, high, n_samples)], self.shape(np.linspace(0, 1, n_samples))


def _widen_bounds(low, high):
    """Widen the bounds by the rounding of float32, so that rounded values on a bound stay inside."""
    with np.errstate(over="ignore"):
        off = min(np.finfo(np.float32).eps / 2 * max(abs(low), abs(high)), 1e-6 * (high - low))
    return low - off, high + off


def _read_chunks(values):
    """Yield checked values in chunks of rows."""
    step = SIZES.block_rows * SIZES.chunk_blocks
    for start in range(0, values.shape[0], step):
        chunk = read_rows(values, start, start + step)
        require_finite("inputs", chunk, start)
        yield chunk


def _value_range(values):
    """Return the lowest and the highest value; NaN is ignored."""
    ends = [require_finite("inputs", chunk) for chunk in _read_chunks(values)]
    return min(low for low, _ in ends), max(high for _, high in ends)


class RaisedCosineLogEval(RaisedCosineLogShape, Eval):
    """Raised cosines of a variable on a logarithmic axis, fine near its lowest value: the functions of `RaisedCosineLogConv`.

    Parameters
    ----------
    n_basis_funcs, width, time_scaling, enforce_decay_to_zero
        As for `RaisedCosineLogConv`.
    bounds : tuple of float
        Lowest and highest value, in units of the variable; None learns them from the first data, see `Eval`.
    label : str
        Name inside a sum or a product.

    Examples
    --------
    >>> from popglm.basis import RaisedCosineLogEval
    >>> time_since_reward = [0.0, 0.1, 1.0, 10.0]
    >>> RaisedCosineLogEval(5, bounds=(0, 10)).compute_features(time_since_reward).shape
    (4, 5)
    """

    def __init__(
        self,
        n_basis_funcs: int,
        width: float = 2.0,
        time_scaling: float | None = None,
        enforce_decay_to_zero: bool = True,
        bounds: Range | None = None,
        label: str | None = None,
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.width = width
        self.time_scaling = time_scaling
        self.enforce_decay_to_zero = enforce_decay_to_zero
        self.bounds = bounds
        self.label = label


class RaisedCosineLinearEval(RaisedCosineLinearShape, Eval):
    """Raised cosines of a variable with evenly spaced peaks: the functions of `RaisedCosineLinearConv`.

    Use an even number of functions: of an odd number with width 2, every second function sums to 1, see `BSplineEval`.

    Parameters
    ----------
    n_basis_funcs, width
        As for `RaisedCosineLinearConv`.
    bounds, label
        As for `RaisedCosineLogEval`.

    Examples
    --------
    >>> from popglm.basis import RaisedCosineLinearEval
    >>> RaisedCosineLinearEval(6, bounds=(0, 30)).compute_features([0.0, 12.0, 30.0]).shape
    (3, 6)
    """

    def __init__(
        self, n_basis_funcs: int, width: float = 2.0, bounds: Range | None = None, label: str | None = None
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.width = width
        self.bounds = bounds
        self.label = label


class BSplineEval(BSplineShape, Eval):
    """B-splines of a variable: smooth functions of any form if there are enough of them. The functions of `BSplineConv`.

    They sum to 1, so they are collinear with the intercept. Predictions are right, but coefficients are unique only with a
    penalty, such as a small Ridge.

    Parameters
    ----------
    n_basis_funcs, order
        As for `BSplineConv`.
    bounds, label
        As for `RaisedCosineLogEval`.

    Examples
    --------
    >>> from popglm.basis import BSplineEval
    >>> position = [0.0, 25.0, 100.0]
    >>> BSplineEval(8, bounds=(0, 100)).compute_features(position).sum(1).round(6).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(
        self, n_basis_funcs: int, order: int = 4, bounds: Range | None = None, label: str | None = None
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.order = order
        self.bounds = bounds
        self.label = label


class CyclicBSplineEval(CyclicBSplineShape, Eval):
    r"""B-splines of a variable on a circle, such as an angle: equal at both bounds.

    Function k is one bump with its peak at the fraction k / n_basis_funcs of the circle. They sum to 1, see `BSplineEval`.
    The bounds are the period: set them, since the range of the data is a little shorter.

    Parameters
    ----------
    n_basis_funcs, order
        As for `BSplineConv`; `order` must be at least 2.
    bounds, label
        As for `RaisedCosineLogEval`.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import CyclicBSplineEval
    >>> X = CyclicBSplineEval(8, bounds=(0, 2 * np.pi)).compute_features([0.0, 2 * np.pi])
    >>> bool(np.allclose(X[0], X[1]))
    True
    """

    def __init__(
        self, n_basis_funcs: int, order: int = 4, bounds: Range | None = None, label: str | None = None
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.order = order
        self.bounds = bounds
        self.label = label


class MSplineEval(MSplineShape, Eval):
    """M-splines of a variable, with the integral 1 if the bounds are [0, 1]: the functions of `MSplineConv`.

    Parameters
    ----------
    n_basis_funcs, order
        As for `BSplineConv`.
    bounds, label
        As for `RaisedCosineLogEval`.

    Examples
    --------
    >>> from popglm.basis import MSplineEval
    >>> MSplineEval(8, bounds=(0, 100)).compute_features([0.0, 25.0, 100.0]).shape
    (3, 8)
    """

    def __init__(
        self, n_basis_funcs: int, order: int = 4, bounds: Range | None = None, label: str | None = None
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.order = order
        self.bounds = bounds
        self.label = label


class FourierEval(FourierShape, Eval):
    r"""Cosines, then sines, of a variable whose period is the distance of its bounds.

    Parameters
    ----------
    frequencies : int or list of int
        Numbers of periods between the bounds: 1 to `frequencies`, or the numbers in a list. Frequency 0 is a constant, which
        the intercept already is.
    bounds, label
        As for `RaisedCosineLogEval`. The bounds are the period: set them.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import FourierEval
    >>> FourierEval(2, bounds=(0, 2 * np.pi)).compute_features([0.0, np.pi / 2]).round(6).tolist()
    [[1.0, 1.0, 0.0, 0.0], [0.0, -1.0, 1.0, 0.0]]
    """

    def __init__(self, frequencies: int | Sequence[int], bounds: Range | None = None, label: str | None = None) -> None:
        self.frequencies = frequencies
        self.bounds = bounds
        self.label = label
