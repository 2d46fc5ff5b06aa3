"""Features that look like a matrix and are made one block at a time: `fit` never builds the matrix."""

from functools import reduce

import jax.numpy as jnp
import numpy as np

from popglm._checks.index import as_row_and_column
from popglm._checks.times import require_restriction
from popglm._design.arrays import zero_pad
from popglm._design.design import Design, DesignRows
from popglm._design.streams import is_stream
from popglm._design.terms import find_conv_terms
from popglm._design.total import collect_entries
from popglm._pynapple import Frame, HasFrame, rows_in_epochs

MAX_CACHED_BINS = 2**20  # bins


class LazyRows(DesignRows):
    """Rows of lazy features for a design: from the first to the last that was asked for, others not counted."""

    def __init__(self, term, index, *, centered=False):
        self.first, self.length, self._positions, self._requested = 0, term.length, None, None
        if index is not None:
            self.first, self.length = int(index.min()), int(index.max()) + 1 - int(index.min())
            if len(index) < self.length or not (np.diff(index) == 1).all():
                self._positions, self._requested = index - self.first, np.zeros(self.length, bool)
                self._requested[self._positions] = True
        # the pieces of a long recording are cut anew in every pass: to keep them would double it
        self.streamed = self.length > MAX_CACHED_BINS or any(map(is_stream, term.made_of))
        self._term = term
        if centered:
            self._term, self.center = term.with_center(self.first, self.first + self.length)

    def rows_at(self, start, size):
        """What the features are made of; the rows that were asked for and are known."""
        source, counted = self._term.rows_at(self.first + start, size)
        counted[max(self.length - start, 0) :] = False
        if self._requested is not None:
            counted &= zero_pad(self._requested[start : start + size], size)
        return source, counted

    def scatter(self, y):
        """The rows of y where the span has them, zeros between."""
        if self._positions is None:
            return y
        if is_stream(y) and (np.diff(self._positions) > 0).all():
            return ScatteredStream(y, self._positions, self.length)
        y = np.asarray(y)
        out = np.zeros((self.length, *y.shape[1:]), y.dtype)
        out[self._positions] = y
        return out

    def gather(self, entries):
        """The rows that were asked for, in their order."""
        return entries if self._positions is None else entries[self._positions]


class ScatteredStream:
    """Streamed activity on the rows of a span, zeros between: what lies between was left out, and is not counted."""

    def __init__(self, y, at, length):
        self._y, self._positions, self.shape, self.dtype = y, at, (length, *y.shape[1:]), y.dtype

    def __getitem__(self, rows):
        """Read those of these rows that y has; they follow each other there."""
        start, stop = rows.start, min(rows.stop, len(self))
        first, last = np.searchsorted(self._positions, [start, stop])
        out = np.zeros((stop - start, *self.shape[1:]), self.dtype)
        out[self._positions[first:last] - start] = self._y[first:last]
        return out

    def __len__(self):
        return self.shape[0]


class LazyFeatures(HasFrame):
    r"""Features that look like a matrix and are never built by `fit`.

    From `lazy_features` of a basis. Accepted wherever X is; the values equal those of `compute_features`. Only the inputs
    are kept; features of the past, and products, are made a few thousand bins at a time inside the loop over the data,

    .. math:: X_{t,(n,k)} = \sum_{l=1}^{W} h_k(l)\, x_n(t - l),

    from the functions :math:`h_k` of the basis over its window of W bins and the inputs :math:`x_n`. Functions of a variable
    in the same bin are evaluated for some 30,000 bins at a time, and anew in every pass over more than a million.

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

    def __init__(self, term, frame, names=None, metadata=None, index=None):
        self._term, self._frame, self._index, self._length = term, frame, index, term.length
        self.columns, self.metadata = names, metadata

    @property
    def made_of(self):
        """Inputs, and the rows that were asked for."""
        return (*self._term.made_of, *(() if self._index is None else (self._index,)))

    # How it looks

    @property
    def shape(self):
        """(time, features)."""
        return (self._length if self._index is None else len(self._index)), self._term.n_features

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
        return LazyFeatures(self._term, frame or self._frame, self.columns, self.metadata, index)

    def __getitem__(self, key):
        """Rows by slice, mask or index stay lazy; single rows and some of the columns are built."""
        rows, columns = as_row_and_column(key, self.shape)
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
        rows, inside = rows_in_epochs(self.frame, require_restriction(self, epochs))
        some = self[rows]
        return some._with(some._index, self._frame._replace(epochs=inside))

    # As others use it

    @property
    def frame(self) -> Frame:
        """These features with their time axis."""
        named = self._frame.times is not None  # as the columns of `compute_features` are
        return Frame(self, self.t, self.time_support, self.columns if named else None)

    def span(self, *, centered=False) -> LazyRows:
        """These rows for a design."""
        return LazyRows(self._term, self._index, centered=centered)

    @property
    def complete(self) -> np.ndarray:
        """Which rows have a complete history, shape (time,); the others do not count in any sum."""
        span = self.span() if len(self) else None
        return span.gather(span.valid_rows()) if span else np.zeros(0, bool)

    def reach(self) -> tuple[np.ndarray, int]:
        """Where each row lies in the recording, in bins, and a window: rows further apart than it are made of no common bin.

        Where history starts anew, the rows before and after lie further apart than the window.
        """
        leaves = find_conv_terms(self._term)
        back = max([len(leaf.kernel) - leaf.ahead for leaf in leaves] + [0])
        window = back + max([leaf.ahead - 1 for leaf in leaves] + [0])
        at = np.arange(self._length) if self._index is None else self._index
        anew = [leaf.starts for leaf in leaves]
        anew = reduce(np.intersect1d, anew) if anew else np.zeros(0, int)
        return at + window * np.searchsorted(anew, at, side="right"), window

    def __array__(self, dtype=None, copy=None):
        """Build the matrix."""
        if not len(self):
            return np.empty(self.shape, dtype or self.dtype)
        span = self.span()
        matrix = span.gather(collect_entries(_block_features, Design(span), self.shape[1]))
        return matrix if dtype is None else matrix.astype(dtype, copy=False)


def _block_features(block):
    return block.X
