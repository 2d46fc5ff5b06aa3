"""Features that look like a matrix and are made one block at a time: `fit` never builds the matrix."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from popglm import _check_arrays, _check_index, _check_times, _design, _pynapple

LONG = 2**20  # bins


class Term(NamedTuple):
    """One convolution: inputs of all bins, in memory or streamed, the kernel of its basis, the first rows of epochs."""

    inputs: object
    kernel: np.ndarray
    starts: np.ndarray
    center: np.ndarray | None = None

    @property
    def n_inputs(self):
        return 1 if len(self.inputs.shape) == 1 else self.inputs.shape[1]

    @property
    def n_features(self):
        return self.n_inputs * self.kernel.shape[1]

    def part(self, start, size):
        """The features of `size` bins from `start`, and which of them have a complete history.

        There are zeros before the first bin, after the last, and for NaN.
        """
        window, first = len(self.kernel), max(start - len(self.kernel), 0)
        piece = _design.read(self.inputs, first, start + size)
        if _design.is_stream(self.inputs):
            _check_arrays.finite("inputs", piece, first)
            piece = _design.compact(piece, keep=self.center is not None)
        counted = _complete(piece, np.arange(start, start + size), first, window, self.starts)
        if self.center is not None:
            piece = piece - self.center
        if piece.dtype != np.uint8:
            piece = np.nan_to_num(piece.astype(jnp.result_type(float), copy=False))
        out = np.zeros((self.n_inputs, window + size), piece.dtype)
        begin = max(window - start, 0)
        out[:, begin : begin + len(piece)] = piece.T
        return _design.Convolved.of(out, self.kernel), counted

    def centered(self, first, stop):
        """The same with inputs that do not lie far from 0 in these rows, and what its features then lack, or None."""
        streamed = _design.is_stream(self.inputs)
        inputs = self.inputs if streamed else self.inputs[max(first - len(self.kernel), 0) : stop]
        center = None if inputs.dtype == np.uint8 else _design.origin(inputs)
        lacks = None if center is None else np.outer(center, self.kernel.sum(0)).ravel()
        return self._replace(center=center), lacks


def _complete(piece, rows, first, window, starts) -> np.ndarray:
    """Rows whose window lies inside their epoch and holds no NaN of the piece, whose first row is `first`."""
    complete = rows - starts[np.searchsorted(starts, rows, "right") - 1] >= window
    complete &= rows < min(starts[-1], first + len(piece))
    if piece.dtype.kind == "f":
        seen = np.concatenate([[0], np.cumsum(np.isnan(piece).any(1))])
        now = np.minimum(rows - first, len(piece))
        complete &= seen[now] == seen[np.maximum(now - window, 0)]
    return complete


class Span(_design.Rows):
    """Rows of lazy features for a design: from the first to the last that was asked for, others not counted."""

    def __init__(self, terms, length, index, *, centered=False):
        self.first, self.length, self._at, self._asked = 0, length, None, None
        if index is not None:
            self.first, self.length = int(index.min()), int(index.max()) + 1 - int(index.min())
            if len(index) < self.length or not (np.diff(index) == 1).all():
                self._at, self._asked = index - self.first, np.zeros(self.length, bool)
                self._asked[self._at] = True
        self._terms = (
            terms  # those of a long recording are cut anew in every pass: to keep the pieces would double them
        )
        self.streamed = self.length > LONG or any(_design.is_stream(term.inputs) for term in terms)
        if centered:
            self._terms, lacks = zip(
                *(term.centered(self.first, self.first + self.length) for term in terms), strict=True
            )
            if any(lack is not None for lack in lacks):
                zeros = (np.zeros(term.n_features) for term in terms)
                self.center = np.concatenate(
                    [z if lack is None else lack for z, lack in zip(zeros, lacks, strict=True)]
                )

    def part(self, start, size):
        """Inputs and their history; the rows that were asked for and have it complete."""
        sources, counted = zip(*(term.part(self.first + start, size) for term in self._terms), strict=True)
        counted = np.all(counted, 0)
        counted[max(self.length - start, 0) :] = False
        if self._asked is not None:
            counted &= _design.padded(self._asked[start : start + size], size)
        return sources, counted

    def place(self, y):
        """The rows of y where the span has them, zeros between."""
        if self._at is None:
            return y
        if _design.is_stream(y) and (np.diff(self._at) > 0).all():
            return Placed(y, self._at, self.length)
        y = np.asarray(y)
        out = np.zeros((self.length, *y.shape[1:]), y.dtype)
        out[self._at] = y
        return out

    def take(self, entries):
        """The rows that were asked for, in their order."""
        return entries if self._at is None else entries[self._at]


class Placed:
    """Streamed activity on the rows of a span, zeros between: what lies between was left out, and is not counted."""

    def __init__(self, y, at, length):
        self._y, self._at, self.shape, self.dtype = y, at, (length, *y.shape[1:]), y.dtype

    def __getitem__(self, rows):
        """Read those of these rows that y has; they follow each other there."""
        start, stop = rows.start, min(rows.stop, len(self))
        first, last = np.searchsorted(self._at, [start, stop])
        out = np.zeros((stop - start, *self.shape[1:]), self.dtype)
        out[self._at[first:last] - start] = self._y[first:last]
        return out

    def __len__(self):
        return self.shape[0]


class LazyFeatures(_pynapple.Framed):
    r"""Features of the past that look like a matrix and are never built by `fit`.

    From `lazy_features` of a basis. Accepted wherever X is; the values equal those of `compute_features`. Only the inputs
    are kept; the features of a few thousand bins at a time are made inside the loop over the data,

    .. math:: X_{t,(n,k)} = \sum_{l=1}^{W} h_k(l)\, x_n(t - l),

    from the functions :math:`h_k` of the basis over its window of W bins and the inputs :math:`x_n`.

    A contiguous slice keeps the history from before the slice, as that of a matrix does, and so do `restrict` and
    index arrays; lazy features of ``counts.restrict(epochs)`` start it anew. ``numpy.asarray(X)`` builds the matrix, with
    NaN in the rows whose history is not complete.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> counts = np.random.default_rng(0).poisson(0.1, (5000, 3))
    >>> X = RaisedCosineLogConv(5, window_size=40).lazy_features(counts)
    >>> X.shape, X[1000:2000].shape
    ((5000, 15), (1000, 15))
    """

    ndim = 2

    def __init__(self, terms, frame, names=None, metadata=None, index=None):
        self._terms, self._frame, self._index, self._length = terms, frame, index, terms[0].inputs.shape[0]
        self.columns, self.metadata = names, metadata

    @property
    def made_of(self):
        """Inputs, and the rows that were asked for."""
        return (*(term.inputs for term in self._terms), *(() if self._index is None else (self._index,)))

    # How it looks

    @property
    def shape(self):
        """(time, features)."""
        length = self._length if self._index is None else len(self._index)
        return length, sum(term.n_features for term in self._terms)

    @property
    def dtype(self):
        """That of the features: the precision of JAX."""
        return np.dtype(jnp.result_type(float))

    @property
    def size(self):
        """Number of entries of the matrix."""
        return self.shape[0] * self.shape[1]

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        mega = self.size * self.dtype.itemsize / 1e6
        return f"LazyFeatures(shape={self.shape}, dtype={self.dtype}): {mega:.0f} MB if it were built"

    @property
    def t(self):
        """Times of the bins in seconds; None for inputs without a time axis."""
        return None if self._frame.times is None else self._pick(self._frame.times)

    @property
    def time_support(self):
        """Epochs, a pynapple IntervalSet; None for inputs without a time axis."""
        return self._frame.epochs

    # Parts of it

    def _pick(self, values):
        return values if self._index is None else values[self._index]

    def _with(self, index, frame=None):
        return LazyFeatures(self._terms, frame or self._frame, self.columns, self.metadata, index)

    def __getitem__(self, key):
        """Rows by slice, mask or index stay lazy; single rows and some of the columns are built."""
        rows, columns = _check_index.row_and_column(key, self.shape)
        first = key[0] if isinstance(key, tuple) else key
        some = self
        if rows is not None and self._index is not None:
            some = self._with(self._index[rows])
        elif rows is not None:
            some = self._with(np.arange(*rows.indices(self._length)) if isinstance(rows, slice) else rows)
        if columns is not None:
            some = np.asarray(some)[:, columns]
        return np.asarray(some)[0] if isinstance(first, int | np.integer) else some

    def restrict(self, epochs):
        """Keep the rows inside epochs, a pynapple IntervalSet. The history from before an epoch is kept."""
        rows, inside = _pynapple.inside(self.frame, _check_times.intervals(self, epochs))
        some = self[rows]
        return some._with(some._index, self._frame._replace(epochs=inside))

    # As others use it

    @property
    def frame(self) -> _pynapple.Frame:
        """These features with their time axis."""
        named = self._frame.times is not None  # as the columns of `compute_features` are
        return _pynapple.Frame(self, self.t, self.time_support, self.columns if named else None)

    def span(self, *, centered=False) -> Span:
        """These rows for a design."""
        return Span(self._terms, self._length, self._index, centered=centered)

    @property
    def complete(self) -> np.ndarray:
        """Which rows have a complete history, shape (time,); the others do not count in any sum."""
        span = self.span() if len(self) else None
        return span.take(span.counted()) if span else np.zeros(0, bool)

    def __array__(self, dtype=None, copy=None):
        """Build the matrix."""
        if not len(self):
            return np.empty(self.shape, dtype or self.dtype)
        span = self.span()
        empty = np.zeros((span.length, 0), np.uint8)
        matrix = span.take(_design.entries(_features, _design.Design(span, empty), self.shape[1]))
        return matrix if dtype is None else matrix.astype(dtype, copy=False)


def _features(block):
    return block.X


def side_by_side(features):
    """Features of several inputs on one time axis as one matrix."""
    first = features[0]
    for other in features[1:]:
        _check_times.aligned(first.frame, other.frame, "inputs 0", "inputs")
    names = [f"{i}/{name}" for i, x in enumerate(features) for name in x.columns]
    keys = ("input", "function")
    metadata = {key: np.concatenate([np.asarray(x.metadata[key], object) for x in features]) for key in keys}
    metadata["term"] = np.repeat(range(len(features)), [x.shape[1] for x in features])
    terms = tuple(term for x in features for term in x._terms)
    return LazyFeatures(terms, first._frame, names, metadata)
