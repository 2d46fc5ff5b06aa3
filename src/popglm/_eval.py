"""Evaluations: shapes stretched over the values of a variable, such as position, speed, head direction or time."""

import copy
import numbers
from abc import abstractmethod

import numpy as np

from popglm import _check_arrays, _check_bases, _check_times, _design, _pynapple, _shapes, _terms
from popglm._basis import Leaf

FIRST = 100  # rows that functions are tried on when a basis sees its input


class Eval(Leaf):
    r"""Features of the same bin: every function of a shape evaluated at every column of the input.

    .. math:: X_{t,(n,k)} = b_k\Bigl(\frac{x_n(t) - \mathrm{low}}{\mathrm{high} - \mathrm{low}}\Bigr)

    The bounds are given, or those of the first data that this basis sees, all columns together; they stay what they are
    (`bounds_`) until `fit` learns them anew, so that training and test data are treated alike. A value outside of them, or NaN,
    makes its row NaN, which no method counts, and a warning says how many there are.

    An evaluation of your own is a class with `shape`, functions on [0, 1], and with `bounds`, None to learn them:

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

    bounds = None

    @abstractmethod
    def shape(self, x):
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""

    @property
    def _n_functions(self):
        return _check_bases.shape_values(type(self), self.shape(np.zeros(1)), 1, None).shape[1]

    def _known_bounds(self):
        """Those that are given or learned; None if there are none yet, or those given before were taken back."""
        if self.bounds is not None:
            return _check_bases.bounds(self.bounds)
        return None if getattr(self, "_given", False) else getattr(self, "bounds_", None)

    def _unit(self, x):
        """Values inside the bounds, as `shape` takes them."""
        low, high = self.bounds_
        return np.clip((x - low) / (high - low), 0, 1)

    def look(self, inputs, *, anew=False):
        frame = self._checked(inputs)
        _check_times.some_duration(frame)
        return self._learned(frame, anew)

    def _learned(self, frame, anew):
        """Take in the size and the range of checked values."""
        values = frame.values
        self.n_inputs_ = 1 if len(values.shape) == 1 else values.shape[1]
        if anew and self.bounds is None:
            self.__dict__.pop("bounds_", None)
        known = self._known_bounds()
        self.bounds_ = _check_bases.range_of(*_range(values)) if known is None else known
        self._given = self.bounds is not None
        if known is not None:
            low, high = _rounded(*known)
            outside = sum(int(((some < low) | (some > high)).sum()) for some in _pieces(values))
            n_values = values.shape[0] * self.n_inputs_
            _check_bases.inside(outside, n_values, *known, learned=self.bounds is None)
        self._features(_design.read(values, 0, FIRST))
        return frame

    def _features(self, values):
        """All functions of all columns of some rows, NaN where a value is unknown or out of bounds."""
        x, n = np.asarray(values, float), self._n_functions
        low, high = _rounded(*self.bounds_)
        inside = (x >= low) & (x <= high)
        out = np.full((*x.shape, n), np.nan)
        if inside.any():  # functions of a user's own need not take none
            some = self.shape(self._unit(np.clip(x[inside], *self.bounds_)))
            out[inside] = _check_bases.shape_values(type(self), some, inside.sum(), n)
        return out.reshape(len(x), -1)

    def _term(self, frames):
        values, fixed = next(frames).values, copy.copy(self)  # whatever is set or learned later
        kept = values if _design.is_stream(values) else np.array(values)
        return _terms.Evaluation(kept, fixed._features, self.n_inputs_ * self._n_functions)

    def _grid(self, n_samples):
        low, high = self._known_bounds() or (0, 1)
        return [np.linspace(low, high, n_samples)], self.shape(np.linspace(0, 1, n_samples))


def _rounded(low, high):
    """Bounds as far out as float32 may have rounded values that lie on them."""
    with np.errstate(over="ignore"):
        off = min(np.finfo(np.float32).eps / 2 * max(abs(low), abs(high)), 1e-6 * (high - low))
    return low - off, high + off


def _pieces(values):
    """Some rows after others."""
    step = _design.BLOCK_ROWS * _design.CHUNK_BLOCKS
    for start in range(0, values.shape[0], step):
        some = _design.read(values, start, start + step)
        _check_arrays.finite("inputs", some, start)
        yield some


def _range(values):
    """Lowest and highest value that is a number."""
    ends = [_check_arrays.finite("inputs", some) for some in _pieces(values)]
    return min(low for low, _ in ends), max(high for _, high in ends)


class Plain(Eval):
    """An evaluation of the values as they are, in their own units; with `bounds`, of those inside."""

    def _known_bounds(self):
        return super()._known_bounds() if self.bounds is not None else (-np.inf, np.inf)

    def _unit(self, x):
        return x

    def _grid(self, n_samples):
        low, high = self._known_bounds() if self.bounds is not None else (0, 1)
        grid = np.linspace(low, high, n_samples)
        return [grid], self.shape(grid)


class RaisedCosineLogEval(_shapes.RaisedCosineLog, Eval):
    """Raised cosines of a variable on a logarithmic axis: fine near its lowest value. The functions of `RaisedCosineLogConv`.

    Parameters
    ----------
    n_basis_funcs, width, time_scaling, enforce_decay_to_zero
        As for `RaisedCosineLogConv`.
    bounds : tuple of float
        Lowest and highest value, in units of the variable; None takes those of the first data, see `Eval`.
    label : str
        Name inside of a sum or a product.

    Examples
    --------
    >>> from popglm.basis import RaisedCosineLogEval
    >>> time_since_reward = [0.0, 0.1, 1.0, 10.0]
    >>> RaisedCosineLogEval(5, bounds=(0, 10)).compute_features(time_since_reward).shape
    (4, 5)
    """

    def __init__(
        self, n_basis_funcs, width=2.0, time_scaling=None, enforce_decay_to_zero=True, bounds=None, label=None
    ):
        self.n_basis_funcs = n_basis_funcs
        self.width = width
        self.time_scaling = time_scaling
        self.enforce_decay_to_zero = enforce_decay_to_zero
        self.bounds = bounds
        self.label = label


class RaisedCosineLinearEval(_shapes.RaisedCosineLinear, Eval):
    """Raised cosines of a variable at even distances. The functions of `RaisedCosineLinearConv`.

    Take an even number of them: of an odd number of functions of width 2 every second sums to 1, see `BSplineEval`.

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

    def __init__(self, n_basis_funcs, width=2.0, bounds=None, label=None):
        self.n_basis_funcs = n_basis_funcs
        self.width = width
        self.bounds = bounds
        self.label = label


class BSplineEval(_shapes.BSpline, Eval):
    """B-splines of a variable: smooth, and free to be anything where there are enough. The functions of `BSplineConv`.

    They sum to 1, as the intercept does: predictions are right all the same, but coefficients are unique only with
    a penalty, such as a small Ridge.

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

    def __init__(self, n_basis_funcs, order=4, bounds=None, label=None):
        self.n_basis_funcs = n_basis_funcs
        self.order = order
        self.bounds = bounds
        self.label = label


class CyclicBSplineEval(_shapes.CyclicBSpline, Eval):
    r"""B-splines of a variable on a circle, such as an angle: what holds at one bound holds at the other.

    Function k is one bump, shifted to have its peak at the share k / n_basis_funcs of the circle. They sum to 1, see
    `BSplineEval`. The bounds are the period, so give them: what data reach is a little less.

    Parameters
    ----------
    n_basis_funcs, order
        As for `BSplineConv`, `order` at least 2.
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

    def __init__(self, n_basis_funcs, order=4, bounds=None, label=None):
        self.n_basis_funcs = n_basis_funcs
        self.order = order
        self.bounds = bounds
        self.label = label


class MSplineEval(_shapes.MSpline, Eval):
    """M-splines of a variable: each has the integral 1, the bounds taken as [0, 1]. The functions of `MSplineConv`.

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

    def __init__(self, n_basis_funcs, order=4, bounds=None, label=None):
        self.n_basis_funcs = n_basis_funcs
        self.order = order
        self.bounds = bounds
        self.label = label


class FourierEval(_shapes.Fourier, Eval):
    r"""Cosines and sines of a variable whose period is its bounds: all cosines, then all sines.

    Parameters
    ----------
    frequencies : int or list of int
        Numbers of periods between the bounds: 1 to `frequencies`, or those of a list. A 0 among them is a constant, which
        the intercept has already.
    bounds, label
        As for `RaisedCosineLogEval`. The bounds are the period, so give them.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import FourierEval
    >>> FourierEval(2, bounds=(0, 2 * np.pi)).compute_features([0.0, np.pi / 2]).round(6).tolist()
    [[1.0, 1.0, 0.0, 0.0], [0.0, -1.0, 1.0, 0.0]]
    """

    def __init__(self, frequencies, bounds=None, label=None):
        self.frequencies = frequencies
        self.bounds = bounds
        self.label = label


class IdentityEval(Plain):
    """The variable itself, one function: for an effect that is linear on the scale of the log rate.

    Parameters
    ----------
    bounds : tuple of float
        Values outside are left out; None takes all.
    label : str
        Name inside of a sum or a product.

    Examples
    --------
    >>> from popglm.basis import IdentityEval
    >>> IdentityEval().compute_features([0.5, 2.0]).tolist()
    [[0.5], [2.0]]
    """

    def __init__(self, bounds=None, label=None):
        self.bounds = bounds
        self.label = label

    n_basis_funcs = 1

    def shape(self, x):
        """The values, of shape (len(x), 1)."""
        return np.atleast_1d(np.asarray(x, float))[:, None]


def _missing(values):
    """Which entries are None, NaN, or what pandas has for them: what does not equal itself."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(values.shape, bool)
    lacks = lambda value: value is None or type(value).__name__ == "NAType" or bool(value != value)
    return np.array([lacks(value) for value in values.ravel()], bool).reshape(values.shape)


class CategoryEval(Plain):
    """One function for each category, 1 where the variable is it: a context, a kind of trial, a state of sleep.

    Parameters
    ----------
    categories : list
        Numbers or words; None takes those of the first data in sorted order (`categories_`), until `fit` learns them anew.
    reference
        One of them, without a function of its own: the intercept is its level, and the others are compared with
        it. None gives each a function; then they sum to 1, see `BSplineEval`. In a product, None is what to take.
    label : str
        Name inside of a sum or a product.

    Raises
    ------
    ValueError
        If a value is none of the categories. NaN is no category: it leaves the row out.

    Examples
    --------
    >>> from popglm.basis import CategoryEval
    >>> CategoryEval(["left", "right"], reference="left").compute_features(["left", "right", "right"]).tolist()
    [[0.0], [1.0], [1.0]]
    """

    def __init__(self, categories=None, reference=None, label=None):
        self.categories = categories
        self.reference = reference
        self.label = label

    def look(self, inputs, *, anew=False):
        _check_arrays.no_events("inputs", inputs)
        frame = _pynapple.unwrap(inputs)
        values = np.asarray(frame.values[:] if _design.is_stream(frame.values) else _pynapple.plain(frame.values))
        missing = _missing(values)
        if values.dtype.kind == "O" and all(isinstance(value, numbers.Real) for value in values[~missing]):
            values = np.where(missing, np.nan, values).astype(float)
        values = values.astype(str) if values.dtype.kind in "UO" else _check_arrays.inputs(values)
        values, missing = (a[:, None] if a.ndim == 1 else a for a in (values, missing))
        if self.categories is not None:
            self.categories_ = _check_bases.categories(self.categories)
        elif anew or self._categories() is None:
            self.categories_ = _check_bases.categories(np.unique(values[~missing]))
        self._all_given = self.categories is not None
        same = values[..., None] == self.categories_
        _check_bases.known_categories(np.unique(values[~same.any(-1) & ~missing]), self.categories_)
        codes = np.where(missing, np.nan, same.argmax(-1))
        return self._learned(frame._replace(values=codes), anew)

    @property
    def n_basis_funcs(self) -> int:
        """Number of functions: of categories, without the reference."""
        return self._n_functions

    def shape(self, x):
        """Ones where `x` is the number of a category, of shape (len(x), n_basis_funcs)."""
        known = _check_bases.some_categories(self._categories())
        one_hot = np.asarray(x)[:, None] == np.arange(len(known))
        reference = _check_bases.reference(self.reference, known)
        return one_hot.astype(float) if reference is None else np.delete(one_hot, reference, 1).astype(float)

    def _categories(self):
        """Those that are given or learned; None if there are none yet, or those given before were taken back."""
        if self.categories is not None:
            return self.categories
        return None if getattr(self, "_all_given", False) else getattr(self, "categories_", None)

    def _grid(self, n_samples):
        known = _check_bases.some_categories(self._categories())
        return [known], self.shape(np.arange(len(known)))


class CustomBasis(_shapes.Custom, Plain):
    """Functions of your own of a variable, in its own units. NaN leaves a row out.

    Parameters
    ----------
    funcs : list
        Functions of an array, each giving one number for every entry.
    bounds, label
        As for `IdentityEval`.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import CustomBasis
    >>> CustomBasis([np.cos, np.sin]).compute_features([0.0, np.pi / 2]).round(6).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, funcs, bounds=None, label=None):
        self.funcs = funcs
        self.bounds = bounds
        self.label = label
