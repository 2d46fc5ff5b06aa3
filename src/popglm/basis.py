"""Bases: functions on [0, 1], stretched over a window and convolved with the past (Conv).

A new basis is one class: its parameters, and `shape`, the functions on [0, 1].
"""

from abc import ABC, abstractmethod

import numpy as np
from sklearn.base import BaseEstimator, clone

from popglm import _check_arrays, _check_index, _check_times, _design, _lazy, _pynapple, _settings
from popglm._lazy import LazyFeatures

__all__ = ["LazyFeatures", "RaisedCosineLogConv", "Sum"]


class Conv(BaseEstimator, ABC):
    """Features of the past: every input convolved with every function of a shape, over the last `window_size` bins.

    Row t sees bins t-1 to t-W and never t. The first W rows of every epoch are NaN: their window is not complete.
    """

    @abstractmethod
    def shape(self, x):
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""

    @property
    def kernel(self) -> np.ndarray:
        """The functions over the window, of shape (window_size, n_basis_funcs). Row 0 is lag 1, the bin just before."""
        window = _settings.window_size(self.window_size)
        return self.shape(np.linspace(0, 1, window))

    def evaluate_on_grid(self):
        """Lags in bins, from 1 to W, and the functions at these lags.

        Returns
        -------
        lags : numpy.ndarray, shape (window_size,)
        functions : numpy.ndarray, shape (window_size, n_basis_funcs)

        Examples
        --------
        >>> from popglm.basis import RaisedCosineLogConv
        >>> lags, functions = RaisedCosineLogConv(5, window_size=40).evaluate_on_grid()
        >>> lags[0], lags[-1], functions.shape
        (np.int64(1), np.int64(40), (40, 5))
        """
        kernel = self.kernel
        return np.arange(1, len(kernel) + 1), kernel

    def compute_features(self, inputs):
        r"""Convolve counts with the basis: :math:`X_{t,(n,k)} = \sum_{l=1}^{W} h_k(l)\, x_n(t - l)`.

        Parameters
        ----------
        inputs
            Tsd, TsdFrame or array of shape (time,) or (time, inputs), one row per bin.

        Returns
        -------
        features
            Shape (time, inputs * n_basis_funcs), input-major: all functions of the first input, then of the second.
            A TsdFrame with columns named "unit:function" where `inputs` comes from pynapple, else a NumPy array. The
            first `window_size` rows of each
            epoch are NaN, and so is every row whose window holds a NaN of any input.

        Raises
        ------
        ValueError
            If every epoch is shorter than ``window_size + 1`` bins, bins are missing inside an epoch, or an input is
            infinite.
        TypeError
            If `inputs` holds spike times instead of counts, or no real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.basis import RaisedCosineLogConv
        >>> counts = np.zeros((100, 3)); counts[10] = 1
        >>> X = RaisedCosineLogConv(5, window_size=40).compute_features(counts)
        >>> X.shape
        (100, 15)
        """
        X = self.lazy_features(inputs)
        return _pynapple.wrap(np.asarray(X), X.frame, X.columns, X.metadata)

    def lazy_features(self, inputs):
        """Features as by `compute_features`, made one block at a time by whoever uses them, and never kept.

        Parameters
        ----------
        inputs
            Tsd, TsdFrame or array of shape (time,) or (time, inputs), one row per bin; or what is read when it is
            sliced: `LazyCounts`, or a data set in a file (HDF5, zarr, memmap).

        Returns
        -------
        LazyFeatures
            Looks like a matrix of shape (time, inputs * n_basis_funcs) and keeps no more than the inputs. Accepted
            wherever X is.

        Raises
        ------
        ValueError, TypeError
            As `compute_features`.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.basis import RaisedCosineLogConv
        >>> from popglm.glm import PopulationGLM
        >>> counts = np.random.default_rng(0).poisson(0.1, (5000, 3))
        >>> X = RaisedCosineLogConv(5, window_size=40).lazy_features(counts)
        >>> PopulationGLM().fit(X, counts).coef_.shape
        (15, 3)
        """
        frame = _pynapple.unwrap(inputs)
        streamed = _design.is_stream(frame.values)
        values = _check_arrays.sliceable("inputs", frame.values) if streamed else _check_arrays.inputs(frame.values)
        _check_times.regular(frame)
        _check_times.some_duration(frame)
        starts = _pynapple.epoch_starts(frame, values.shape[0])
        _check_times.long_enough(starts, _settings.window_size(self.window_size))
        kernel = self.kernel
        _check_arrays.full_rank(kernel)
        term = _lazy.Term(values if streamed else np.array(_design.compact(values, keep=True)), kernel, starts)
        units = list(range(term.n_inputs) if frame.columns is None else frame.columns)
        functions = range(kernel.shape[1])
        names = [f"{unit}:{function}" for unit in units for function in functions]
        origin = {"input": np.repeat(units, len(functions)), "function": np.tile(functions, len(units))}
        return LazyFeatures((term,), frame._replace(values=None), names, origin)

    def __add__(self, other):
        """Features of this basis and of another, each of an input of its own, side by side."""
        return Sum(self, other)

    def split_by_feature(self, x, axis=1):
        """Split features, or coefficients, by the input that they belong to.

        Parameters
        ----------
        x
            Features from `compute_features`, or coefficients with ``axis=0``.
        axis
            The axis of length inputs * n_basis_funcs.

        Returns
        -------
        dict
            For each input an array with n_basis_funcs entries along `axis`. The keys are the names of the inputs (unit
            ids, columns) where x is a TsdFrame of features, else 0, 1, ...

        Raises
        ------
        ValueError
            If the axis does not hold all functions of every input.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.basis import RaisedCosineLogConv
        >>> basis = RaisedCosineLogConv(5, window_size=40)
        >>> {name: part.shape for name, part in basis.split_by_feature(np.zeros((15, 2)), axis=0).items()}
        {0: (5, 2), 1: (5, 2), 2: (5, 2)}
        """
        n_basis = self.kernel.shape[1]
        names, functions = (_pynapple.metadata(x, key) for key in ("input", "function"))
        values = _check_arrays.array("x", _pynapple.unwrap(x).values, (1, 2))
        n_inputs = _check_index.whole_inputs(values.shape, axis, n_basis)
        if names is not None and values.ndim == 2 and axis % 2 == 1:
            _check_index.whole_blocks(names, functions, n_basis)
        else:
            names = None
        names = np.arange(n_inputs) if names is None else names[::n_basis]
        return dict(zip(names.tolist(), np.split(values, n_inputs, axis), strict=True))


class Sum:
    """Several bases, each for an input of its own: ``(a + b).compute_features(x, z)`` has all features of x, then of z.

    Parameters
    ----------
    *bases
        Bases, or sums of bases.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> counts, speed = np.zeros((500, 3)), np.zeros(500)
    >>> history, stimulus = RaisedCosineLogConv(5, window_size=40), RaisedCosineLogConv(4, window_size=20)
    >>> (history + stimulus).lazy_features(counts, speed).shape
    (500, 19)
    """

    def __init__(self, *bases):
        _settings.some_bases(bases)
        self.bases = tuple(b for basis in bases for b in (basis.bases if isinstance(basis, Sum) else [basis]))
        for basis in self.bases:
            _settings.basis(basis, Conv)

    def __repr__(self):
        """The bases with a plus between them."""
        return " + ".join(map(repr, self.bases))

    def __sklearn_clone__(self):
        """A sum of clones."""
        return Sum(*map(clone, self.bases))

    def __add__(self, other):
        """Add one more basis, with an input of its own."""
        return Sum(self, other)

    def compute_features(self, *inputs):
        """Features of every input with its basis, side by side.

        Parameters
        ----------
        *inputs
            One for each basis, as for its own `compute_features`, all on one time axis.

        Returns
        -------
        features
            Shape (time, all features); a TsdFrame where the inputs come from pynapple. A row is NaN where the history
            of any input is not complete.

        Raises
        ------
        ValueError
            If there are more or fewer inputs than bases, or their times differ.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.basis import RaisedCosineLogConv
        >>> basis = RaisedCosineLogConv(5, window_size=40) + RaisedCosineLogConv(4, window_size=20)
        >>> basis.compute_features(np.zeros((500, 3)), np.zeros(500)).shape
        (500, 19)
        """
        X = self.lazy_features(*inputs)
        return _pynapple.wrap(np.asarray(X), X.frame, X.columns, X.metadata)

    def lazy_features(self, *inputs):
        """Features as by `compute_features`, made one block at a time.

        Parameters
        ----------
        *inputs
            One for each basis, all on one time axis.

        Returns
        -------
        LazyFeatures

        Raises
        ------
        ValueError
            If there are more or fewer inputs than bases, or their times differ.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.basis import RaisedCosineLogConv
        >>> basis = RaisedCosineLogConv(5, window_size=40) + RaisedCosineLogConv(4, window_size=20)
        >>> basis.lazy_features(np.zeros((500, 3)), np.zeros(500)).shape
        (500, 19)
        """
        _settings.one_each(self.bases, inputs)
        each = zip(self.bases, inputs, strict=True)
        return _lazy.side_by_side([basis.lazy_features(x) for basis, x in each])


def _raised_cosines(x, peaks, gap, width):
    angle = np.pi * (x[:, None] - peaks) / (gap * width)
    return (1 + np.cos(np.clip(angle, -np.pi, np.pi))) / 2


class RaisedCosineLogConv(Conv):
    r"""Raised cosines on a logarithmic lag axis: fine just after a spike, coarse far from it.

    With K functions of width w, scaling a and :math:`u(x) = \log(1 + a x) / \log(1 + a)` on [0, 1],

    .. math:: b_k(x) = \tfrac12 \Bigl(1 + \cos\bigl(\mathrm{clip}(\pi\,(u(x) - p_k) / (d w), -\pi, \pi)\bigr)\Bigr)

    The peaks :math:`p_k` are evenly spaced, d apart, from 0 to :math:`1 - w / (K + w - 1)` if the functions are to
    decay to zero at the end of the window, else to 1.

    Parameters
    ----------
    n_basis_funcs
        Number of functions, K.
    window_size
        Length of the window in bins, W.
    width
        Width of each function in units of the distance between peaks, w: more than 1, a multiple of 0.5, so that the
        functions sum to a constant away from the ends of the window.
    time_scaling
        How strongly the lag axis is stretched, a; None is 50. Near 0 it is linear.
    enforce_decay_to_zero
        Whether the last function is to be zero at the end of the window.

    References
    ----------
    Pillow et al. (2008), *Nature* 454:995-999, supplement.

    Examples
    --------
    >>> from popglm.basis import RaisedCosineLogConv
    >>> basis = RaisedCosineLogConv(5, window_size=40)
    >>> basis.kernel.shape
    (40, 5)
    """

    def __init__(self, n_basis_funcs, window_size, width=2.0, time_scaling=None, enforce_decay_to_zero=True):
        self.n_basis_funcs = n_basis_funcs
        self.window_size = window_size
        self.width = width
        self.time_scaling = time_scaling
        self.enforce_decay_to_zero = enforce_decay_to_zero

    def shape(self, x):
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""
        n, width, scaling = _settings.raised_cosine(
            self.n_basis_funcs, self.width, self.time_scaling, self.enforce_decay_to_zero
        )
        gap = 1 / (n + width - 1) if self.enforce_decay_to_zero else 1 / (n - 1)
        stretched = np.log1p(scaling * np.atleast_1d(np.asarray(x, float))) / np.log1p(scaling)
        return _raised_cosines(stretched, gap * np.arange(n), gap, width)
