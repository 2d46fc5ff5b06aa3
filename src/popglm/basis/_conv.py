"""Convolutions: shapes stretched over a window of bins around each bin, most often over the past."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from popglm._checks.times import (
    require_complete_window,
    require_epoch_duration,
    require_regular_bins,
    stretch_starts,
)
from popglm._checks.values import count_bins_ahead
from popglm._design.arrays import compact_integers
from popglm._design.streams import is_stream
from popglm._design.terms import ConvTerm
from popglm._pynapple import Frame
from popglm._types import Inputs, Points
from popglm.basis._checks import as_window_size, require_visible_cuts, warn_rank_deficient
from popglm.basis._leaf import Leaf
from popglm.basis._shapes import (
    BSplineShape,
    CustomShape,
    CyclicBSplineShape,
    FourierShape,
    MSplineShape,
    RaisedCosineLinearShape,
    RaisedCosineLogShape,
)


class KernelWithLags(np.ndarray):
    """Kernel whose first row is not lag 1, with the `lags` of its rows, which figures need; None in arrays made from it."""

    lags = None

    @classmethod
    def at(cls, lags, kernel):
        """The kernel at these lags."""
        out: Any = np.array(kernel).view(cls)
        out.lags = lags
        return out


class Conv(Leaf):
    r"""Features of other bins: each input column convolved with each function of a shape over `window_size` bins.

    .. math:: X_{t,(n,k)} = \sum_{l} h_k(l)\, x_n(t - l)

    A positive lag l lies in the past. The lags are, ascending,

    - "causal": 1, ..., W, the past without the bin itself;
    - "anti-causal": -W, ..., -1, the future without the bin itself;
    - "acausal": W lags from ``-(W // 2)`` on; for an odd W as many in the future as in the past, with 0 between them.

    Row 0 of the kernel belongs to the lowest lag, for every causality. Rows whose window is not complete are NaN: at the
    start of each epoch, at its end, or both. No window crosses a gap between epochs, or one that an index left in the rows of a
    pynapple object or of a table of pandas.

    Your own convolution is a subclass with `shape`, the functions on [0, 1]:

    >>> import numpy as np
    >>> from popglm.basis import Conv
    >>> class Decays(Conv):
    ...     def __init__(self, window_size):
    ...         self.window_size = window_size
    ...     def shape(self, x):
    ...         return np.exp(-np.outer(x, [3, 12]))
    >>> Decays(40).compute_features(np.zeros((100, 3))).shape
    (100, 6)
    """

    predictor_causality = "causal"

    @abstractmethod
    def shape(self, x: Points) -> Float[np.ndarray | Array, "points basis"]:
        """Values of the functions at `x` in [0, 1], of shape (len(x), n_basis_funcs)."""

    @property
    def lags(self) -> np.ndarray:
        """Lags in bins of the rows of the kernel, ascending; positive ones lie in the past."""
        window = as_window_size(self.window_size)
        return np.arange(1, window + 1) - count_bins_ahead(self.predictor_causality, window)

    @property
    def kernel(self) -> Float[np.ndarray | Array, "window basis"]:
        """Functions over the window, of shape (window_size, n_basis_funcs). Row 0 is the lowest lag."""
        lags = self.lags
        kernel = self.shape(np.linspace(0, 1, len(lags)))
        return kernel if lags[0] == 1 else KernelWithLags.at(lags, kernel)

    @property
    def _n_functions(self):
        return self.kernel.shape[1]

    def look(self, inputs: Inputs, name: str = "the input", *, anew: bool = False) -> Frame:
        frame = self._as_frame(inputs)
        require_regular_bins(frame, name, gaps=True)
        require_epoch_duration(frame)
        if anew:
            require_visible_cuts(frame)
        self.n_inputs_ = 1 if len(frame.values.shape) == 1 else frame.values.shape[1]
        return frame

    def _term(self, frames):
        frame, window = next(frames), as_window_size(self.window_size)
        values, ahead = frame.values, count_bins_ahead(self.predictor_causality, window)
        starts = stretch_starts(frame, values.shape[0])
        require_complete_window(starts, window, alone=0 < ahead <= window)
        kernel = np.asarray(self.kernel)
        warn_rank_deficient(kernel)
        if not is_stream(values):
            values = np.array(compact_integers(values, keep=True))
        return ConvTerm(values, kernel, starts, ahead)

    def _grid(self, n_samples):
        return [self.lags.astype(float)], np.asarray(self.kernel)


class RaisedCosineLogConv(RaisedCosineLogShape, Conv):
    r"""Raised cosines on a logarithmic lag axis: fine just after a spike, coarse at long lags.

    With K functions of width w, scaling a and :math:`u(x) = \log(1 + a x) / \log(1 + a)` on [0, 1],

    .. math:: b_k(x) = \tfrac12 \Bigl(1 + \cos\bigl(\mathrm{clip}(\pi\,(u(x) - p_k) / (d w), -\pi, \pi)\bigr)\Bigr)

    The peaks :math:`p_k` are evenly spaced with distance d. They lie from 0 to :math:`1 - w / (K + w - 1)` if the functions
    decay to zero at the end of the window, else from 0 to 1. The axis is fine at the lowest lag: use this shape for the past.

    Parameters
    ----------
    n_basis_funcs : int
        Number of functions, K.
    window_size : int
        Length of the history in bins, W: duration / bin size.
    width : float
        Half-width of a function in gaps between peaks; a multiple of 0.5 above 1.
    time_scaling : float
        Stretch of the start of the axis, a: larger values make it finer; None is 50.
    enforce_decay_to_zero : bool
        True if all functions are zero at the end of the window.
    label : str
        Name inside a sum or a product.
    predictor_causality : str
        "causal", "anti-causal" or "acausal", see `Conv`.

    Raises
    ------
    ValueError
        If a parameter is out of its range; checked when features are computed.

    References
    ----------
    Pillow et al. (2005), *Journal of Neuroscience* 25:11003-11013.

    Examples
    --------
    >>> from popglm.basis import RaisedCosineLogConv
    >>> basis = RaisedCosineLogConv(5, window_size=40)
    >>> basis.kernel.shape
    (40, 5)
    """

    def __init__(
        self,
        n_basis_funcs: int,
        window_size: int,
        width: float = 2.0,
        time_scaling: float | None = None,
        enforce_decay_to_zero: bool = True,
        label: str | None = None,
        predictor_causality: str = "causal",
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.window_size = window_size
        self.width = width
        self.time_scaling = time_scaling
        self.enforce_decay_to_zero = enforce_decay_to_zero
        self.label = label
        self.predictor_causality = predictor_causality


class RaisedCosineLinearConv(RaisedCosineLinearShape, Conv):
    r"""Raised cosines with evenly spaced peaks over the window, for effects that are equally fine at all lags.

    .. math:: b_k(x) = \tfrac12 \Bigl(1 + \cos\bigl(\mathrm{clip}(\pi\,(x - p_k) / (d w), -\pi, \pi)\bigr)\Bigr),
       \qquad p_k = k d, \quad d = 1 / (K - 1)

    The peaks run from the first lag to the last. Away from the ends the functions sum to w.

    Parameters
    ----------
    n_basis_funcs : int
        Number of functions, K, at least 2.
    window_size, label, predictor_causality
        As for `RaisedCosineLogConv`.
    width : float
        Half-width of a function in gaps between peaks, w; a multiple of 0.5 above 1.

    Examples
    --------
    >>> from popglm.basis import RaisedCosineLinearConv
    >>> around = RaisedCosineLinearConv(6, window_size=41, predictor_causality="acausal")
    >>> lags, functions = around.evaluate_on_grid()
    >>> lags[0], lags[20], lags[-1]
    (np.float64(-20.0), np.float64(0.0), np.float64(20.0))
    """

    def __init__(
        self,
        n_basis_funcs: int,
        window_size: int,
        width: float = 2.0,
        label: str | None = None,
        predictor_causality: str = "causal",
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.window_size = window_size
        self.width = width
        self.label = label
        self.predictor_causality = predictor_causality


class BSplineConv(BSplineShape, Conv):
    r"""B-splines over the window: non-negative piecewise polynomials that sum to 1; at most `order` of them overlap.

    The recursion of Cox and de Boor for order m and knots :math:`\tau`:

    .. math:: B_{k,m}(x) = \frac{x - \tau_k}{\tau_{k+m-1} - \tau_k} B_{k,m-1}(x)
       + \frac{\tau_{k+m} - x}{\tau_{k+m} - \tau_{k+1}} B_{k+1,m-1}(x)

    The first function is 1 at the first lag; the last function is 1 at the last lag.

    Parameters
    ----------
    n_basis_funcs : int
        Number of functions, at least `order`.
    window_size, label, predictor_causality
        As for `RaisedCosineLogConv`.
    order : int
        Degree of the polynomials plus 1: 4 is cubic, 2 is piecewise linear, 1 is steps.

    References
    ----------
    de Boor (1978), *A Practical Guide to Splines*.

    Examples
    --------
    >>> from popglm.basis import BSplineConv
    >>> BSplineConv(6, window_size=40).kernel.sum(1).round(12).tolist() == [1.0] * 40
    True
    """

    def __init__(
        self,
        n_basis_funcs: int,
        window_size: int,
        order: int = 4,
        label: str | None = None,
        predictor_causality: str = "causal",
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.window_size = window_size
        self.order = order
        self.label = label
        self.predictor_causality = predictor_causality


class CyclicBSplineConv(CyclicBSplineShape, Conv):
    """B-splines over the window whose ends meet: for effects that are equal at the first and the last lag.

    Parameters
    ----------
    n_basis_funcs, window_size, order, label, predictor_causality
        As for `BSplineConv`; `order` must be at least 2.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import CyclicBSplineConv
    >>> kernel = CyclicBSplineConv(6, window_size=40).kernel
    >>> bool(np.allclose(kernel[0], kernel[-1]))
    True
    """

    def __init__(
        self,
        n_basis_funcs: int,
        window_size: int,
        order: int = 4,
        label: str | None = None,
        predictor_causality: str = "causal",
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.window_size = window_size
        self.order = order
        self.label = label
        self.predictor_causality = predictor_causality


class MSplineConv(MSplineShape, Conv):
    r"""M-splines over the window: B-splines scaled to have the integral 1 if the window has length 1.

    .. math:: M_{k,m}(x) = \frac{m}{\tau_{k+m} - \tau_k} B_{k,m}(x)

    Parameters
    ----------
    n_basis_funcs, window_size, order, label, predictor_causality
        As for `BSplineConv`.

    References
    ----------
    Ramsay (1988), *Statistical Science* 3:425-441.

    Examples
    --------
    >>> from popglm.basis import MSplineConv
    >>> MSplineConv(6, window_size=40).kernel.shape
    (40, 6)
    """

    def __init__(
        self,
        n_basis_funcs: int,
        window_size: int,
        order: int = 4,
        label: str | None = None,
        predictor_causality: str = "causal",
    ) -> None:
        self.n_basis_funcs = n_basis_funcs
        self.window_size = window_size
        self.order = order
        self.label = label
        self.predictor_causality = predictor_causality


class FourierConv(FourierShape, Conv):
    r"""Cosines and sines over the window: :math:`\cos 2\pi f x` for all frequencies f, then :math:`\sin 2\pi f x`.

    Parameters
    ----------
    frequencies : int or list of int
        Numbers of periods in the window: 1 to `frequencies`, or the numbers in a list. Frequency 0 is a constant; without
        it, every combination of the functions sums to about zero over the window.
    window_size, label, predictor_causality
        As for `RaisedCosineLogConv`.

    Examples
    --------
    >>> from popglm.basis import FourierConv
    >>> FourierConv([0, 1, 2], window_size=40).kernel.shape
    (40, 5)
    """

    def __init__(
        self,
        frequencies: int | Sequence[int],
        window_size: int,
        label: str | None = None,
        predictor_causality: str = "causal",
    ) -> None:
        self.frequencies = frequencies
        self.window_size = window_size
        self.label = label
        self.predictor_causality = predictor_causality


class HistoryConv(Conv):
    """One function for each lag: the past bins themselves. It can fit any filter, and needs the most data.

    Parameters
    ----------
    window_size, label, predictor_causality
        As for `RaisedCosineLogConv`.

    Examples
    --------
    >>> from popglm.basis import HistoryConv
    >>> HistoryConv(3).compute_features([1.0, 2.0, 3.0, 4.0, 5.0])[3:].tolist()  # lag 1 comes first
    [[3.0, 2.0, 1.0], [4.0, 3.0, 2.0]]
    """

    def __init__(self, window_size: int, label: str | None = None, predictor_causality: str = "causal") -> None:
        self.window_size = window_size
        self.label = label
        self.predictor_causality = predictor_causality

    @property
    def n_basis_funcs(self) -> int:
        """Number of functions: one for each lag."""
        return as_window_size(self.window_size)

    def shape(self, x: Points) -> Float[np.ndarray, "points basis"]:
        """Return 1 where x is at the k-th of `window_size` even steps from 0 to 1, else 0; shape (len(x), window_size)."""
        window = as_window_size(self.window_size)
        return (np.round(np.asarray(x)[:, None] * (window - 1)) == np.arange(window)).astype(float)


class CustomConv(CustomShape, Conv):
    """Your own functions over the window, on [0, 1]: 0 is the lowest lag, 1 the highest.

    Parameters
    ----------
    funcs : list
        Functions that take an array and return one number for every entry.
    window_size, label, predictor_causality
        As for `RaisedCosineLogConv`.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import CustomConv
    >>> CustomConv([lambda x: np.exp(-5 * x), lambda x: x * np.exp(-5 * x)], window_size=40).kernel.shape
    (40, 2)
    """

    def __init__(
        self, funcs: Sequence[Callable], window_size: int, label: str | None = None, predictor_causality: str = "causal"
    ) -> None:
        self.funcs = funcs
        self.window_size = window_size
        self.label = label
        self.predictor_causality = predictor_causality
