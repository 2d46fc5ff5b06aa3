"""Lazy features: they look like a matrix, and are made one block at a time, so that `fit` never builds the matrix."""

from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from popglm._checks.index import as_row_and_column
from popglm._checks.times import require_restriction
from popglm._design.arrays import zero_pad
from popglm._design.blocks import Block, Source
from popglm._design.design import Design, DesignRows
from popglm._design.missing import EachFeature, Uses, as_uses, counted_rows
from popglm._design.streams import is_stream, read_rows, require_open_file
from popglm._design.terms import ConvTerm, leaf_terms, missing_per_input
from popglm._design.total import collect_entries
from popglm._pynapple import Epochs, Frame, HasFrame, rows_in_epochs

MAX_CACHED_BINS = 2**20  # longer recordings are cut into chunks anew in every pass


class LazyRows(DesignRows):
    """Rows of lazy features for a design: from the first to the last requested row; rows between that were not are invalid.

    With a `mask` (neurons, features) a row is valid for a neuron if the features that it uses are known.
    """

    def __init__(self, term: Any, index: np.ndarray | None, *, centered: bool = False, mask: Any = None) -> None:
        self.first, self.length, self._positions, self._requested = 0, term.length, None, None
        if index is not None:
            self.first, self.length = int(index.min()), int(index.max()) + 1 - int(index.min())
            if len(index) < self.length or not (np.diff(index) == 1).all():
                self._positions, self._requested = index - self.first, np.zeros(self.length, bool)
                self._requested[self._positions] = True
        # Keeping the chunks of a long recording would double its memory.
        self.streamed = self.length > MAX_CACHED_BINS or any(map(is_stream, term.made_of))
        self._uses: Uses | EachFeature | None = as_uses(mask, term.group_numbers())
        self._term = term if self._uses is None else term.with_fill()
        if centered:
            self._term, self.center = self._term.with_center(self.first, self.first + self.length)

    def by_feature(self) -> "LazyRows":
        """Mark each feature where it is known, not the rows; for a single pass."""
        self._uses, self.streamed = EachFeature(self._term.group_numbers()), True
        return self

    def rows_at(self, start: int, size: int) -> tuple[Source, Bool[np.ndarray, " time #neurons"]]:
        """Make the features of `size` rows from `start`, and mark those that were requested and are valid."""
        source, known = self._term.rows_at(self.first + start, size, by_group=self._uses is not None)
        asked = np.arange(start, start + size) < self.length
        if self._requested is not None:
            asked &= zero_pad(self._requested[start : start + size], size)
        return source, counted_rows(known, asked, self._uses)

    def scatter(self, y: Any) -> Any:
        """Move rows of y to the positions of the requested rows, with zeros between."""
        if self._positions is None:
            return y
        if is_stream(y) and (np.diff(self._positions) > 0).all():
            return ScatteredStream(y, self._positions, self.length)
        y = read_rows(y, 0, y.shape[0]) if is_stream(y) else np.asarray(y)
        out = np.zeros((self.length, *y.shape[1:]), y.dtype)
        out[self._positions] = y
        return out

    def gather(self, entries: np.ndarray) -> np.ndarray:
        """Select the requested rows, in their order."""
        return entries if self._positions is None else entries[self._positions]


class ScatteredStream:
    """Streamed y at the positions of the requested rows, with zeros between."""

    def __init__(self, y: Any, positions: np.ndarray, length: int) -> None:
        self._y, self._positions, self.shape, self.dtype = y, positions, (length, *y.shape[1:]), y.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read the rows of y that lie in this slice; they are contiguous in y."""
        start, stop = rows.start, min(rows.stop, len(self))
        first, last = np.searchsorted(self._positions, [start, stop]).tolist()
        out = np.zeros((stop - start, *self.shape[1:]), self.dtype)
        out[self._positions[first:last] - start] = self._y[first:last]
        return out

    def __len__(self) -> int:
        return self.shape[0]


class LazyFeatures(HasFrame):
    r"""Features that look like a matrix and are never built by `fit`.

    Returned by `lazy_features` of a basis, accepted wherever X is, and equal in values to `compute_features`. They keep only
    the inputs; convolved features and products are made a few thousand bins at a time inside the loop over the data,

    .. math:: X_{t,(n,k)} = \sum_{l=1}^{W} h_k(l)\, x_n(t - l),

    from the functions :math:`h_k` of the basis over its window of W bins and the inputs :math:`x_n`. Functions of a variable
    in the same bin are evaluated for about 30,000 bins at a time; for more than a million bins, anew in every pass.

    A slice keeps the history from before the slice, as a slice of the matrix does, and so do `restrict` and index arrays;
    lazy features of ``counts.restrict(epochs)`` begin without history. ``numpy.asarray(X)`` builds the matrix, with NaN in
    rows without a complete history.

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

    def __init__(
        self,
        term: Any,
        frame: Frame,
        names: Any = None,
        metadata: Any = None,
        index: np.ndarray | None = None,
    ) -> None:
        self._term, self._frame, self._index, self._length = term, frame, index, term.length
        self.columns, self.metadata = names, metadata

    @property
    def made_of(self) -> tuple[Any, ...]:
        """Arrays that these features are made of: the inputs and, if rows were selected, their numbers."""
        return (*self._term.made_of, *(() if self._index is None else (self._index,)))

    # Array attributes

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (time, features)."""
        for values in self.made_of:
            require_open_file(values)
        return (self._length if self._index is None else len(self._index)), self._term.n_features

    @property
    def dtype(self) -> np.dtype:
        """Type of the features: the precision of JAX."""
        return np.dtype(jnp.result_type(float))

    @property
    def size(self) -> int:
        """Number of entries of the matrix."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        leaves = leaf_terms(self._term)
        n_inputs = sum(int(np.prod(leaf.inputs.shape[1:])) for leaf in leaves)
        parts = f"{n_inputs} input(s) in {len(leaves)} term(s)"
        parts += "" if self.time_support is None else f", {len(self.time_support)} epoch(s)"
        if self._length <= MAX_CACHED_BINS and not any(map(is_stream, self._term.made_of)):
            n_complete = int(self.complete.sum())
            parts += f", {n_complete} complete row(s), {len(self) - n_complete} without a complete history or with NaN"
        megabytes = self.size * self.dtype.itemsize / 1e6
        return f"LazyFeatures(shape={self.shape}, dtype={self.dtype}): {parts}; {megabytes:.0f} MB if built"

    @property
    def t(self) -> Float[np.ndarray, " time"] | None:
        """Times of the bins in seconds; None for inputs without a time axis."""
        return None if self._frame.times is None else self._pick(self._frame.times)

    @property
    def time_support(self) -> Epochs | None:
        """Epochs as a pynapple IntervalSet; None for inputs without a time axis."""
        return self._frame.epochs

    # Selection

    def _pick(self, values: Any) -> Any:
        return values if self._index is None else values[self._index]

    def _with(self, index: np.ndarray | None, frame: Frame | None = None) -> "LazyFeatures":
        return LazyFeatures(self._term, frame or self._frame, self.columns, self.metadata, index)

    def __getitem__(self, key: Any) -> Any:
        """Select rows by slice, mask or index, which stay lazy; single rows and selected columns are built."""
        rows, columns = as_row_and_column(key, self.shape)
        first = key[0] if isinstance(key, tuple) else key
        selected = self
        if rows is not None and self._index is not None:
            selected = self._with(self._index[rows])
        elif rows is not None:
            selected = self._with(np.arange(*rows.indices(self._length)) if isinstance(rows, slice) else rows)
        if columns is not None:
            selected = np.asarray(selected)[:, columns]
        return np.asarray(selected)[0] if isinstance(first, int | np.integer) else selected

    def restrict(self, epochs: Epochs) -> "LazyFeatures":
        """Select the rows inside epochs, a pynapple IntervalSet. Their history from before an epoch is kept.

        Rows on either end are inside. ``counts.restrict(epochs)`` of counts, lazy or not, keeps the same rows.
        """
        rows, inside = rows_in_epochs(self.frame, require_restriction(self, epochs))
        selected = self[rows]
        return selected._with(selected._index, self._frame._replace(epochs=inside))

    # Use by fits and scores

    @property
    def frame(self) -> Frame:
        """Features with their time axis or index; named where inputs come from pynapple or pandas, as `compute_features`."""
        index = None if self._frame.index is None else self._pick(self._frame.index)
        named = self._frame.times is not None or index is not None
        columns = self.columns if named else None
        return Frame(self, self.t, self.time_support, columns, index, self._frame.bin_size)

    def span(self, *, centered: bool = False, mask: Any = None) -> LazyRows:
        """Rows for a design."""
        return LazyRows(self._term, self._index, centered=centered, mask=mask)

    @property
    def complete(self) -> Bool[np.ndarray, " time"]:
        """Rows in which every feature is known, shape (time,), bool.

        The others are left out of every sum, but for neurons whose `feature_mask` uses only features that are known.
        """
        span = self.span() if len(self) else None
        return span.gather(span.valid_rows()[:, 0]) if span else np.zeros(0, bool)

    @property
    def has_history(self) -> Bool[np.ndarray, " time"]:
        """Rows whose windows lie inside their epoch, shape (time,), bool, whether or not a value in them is missing."""
        leaves = [leaf for leaf in leaf_terms(self._term) if isinstance(leaf, ConvTerm)]
        return self._pick(
            np.logical_and.reduce([leaf.has_history() for leaf in leaves] or [np.ones(self._length, bool)])
        )

    def missing_shares(self) -> list:
        """Name and share of missing bins of each input, 0 for those in a file, which are not read."""
        shares: list[tuple[str, float]] = []
        feature = 0
        for leaf in leaf_terms(self._term):
            n_inputs = leaf.n_inputs if isinstance(leaf, ConvTerm) else 1
            missing = missing_per_input(leaf.inputs, n_inputs)
            for number, share in enumerate(missing):
                at = feature + number * (leaf.n_features // n_inputs)
                name = (
                    f"input {len(shares)}"
                    if self.columns is None
                    else f"input {str(self.columns[at]).rpartition(':')[0]}"
                )
                shares.append((name, float(share)))
            feature += leaf.n_features
        return shares

    def reach(self) -> tuple[Int[np.ndarray, " time"], int]:
        """Position of each row in bins, and the window W: rows more than W apart share no input bin.

        Where an epoch begins without history, the rows before and after it are set further apart than W.
        """
        leaves = [leaf for leaf in leaf_terms(self._term) if isinstance(leaf, ConvTerm)]
        back = max([len(leaf.kernel) - leaf.ahead for leaf in leaves] + [0])
        window = back + max([leaf.ahead - 1 for leaf in leaves] + [0])
        rows = np.arange(self._length) if self._index is None else self._index
        starts = reduce(np.intersect1d, [leaf.starts for leaf in leaves]) if leaves else np.zeros(0, int)
        return rows + window * np.searchsorted(starts, rows, side="right"), window

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Float[np.ndarray, "time features"]:
        """Build the matrix."""
        if not len(self):
            return np.empty(self.shape, dtype or self.dtype)
        span = self.span().by_feature()
        matrix = span.gather(collect_entries(_block_features, Design(span), self.shape[1]))
        return matrix if dtype is None else matrix.astype(dtype, copy=False)


def _block_features(block: Block) -> Float[Array, "rows features"]:
    return block.X
