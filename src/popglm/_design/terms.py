"""What lazy features are made of: a tree of inputs, convolved or evaluated, side by side or multiplied.

Every term makes any rows of its features on demand (`rows_at`), and says which of them are known.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from popglm._checks.arrays import require_finite
from popglm._design.arrays import compact_integers, to_device, zero_pad
from popglm._design.blocks import ArraySource, ConvSource, ProductSource, SumSource
from popglm._design.centering import column_center, column_mean_sd
from popglm._design.streams import is_stream, read_rows


class ConvTerm(NamedTuple):
    """Inputs of all bins, in memory or streamed, the kernel of their basis, the first rows of epochs.

    Row t sees the bins from t - W + `ahead` to t - 1 + `ahead`: with 0 the past.
    """

    inputs: object
    kernel: np.ndarray
    starts: np.ndarray
    ahead: int = 0
    center: np.ndarray | None = None

    @property
    def made_of(self):
        return (self.inputs,)

    @property
    def length(self):
        return self.inputs.shape[0]

    @property
    def n_inputs(self):
        return 1 if len(self.inputs.shape) == 1 else self.inputs.shape[1]

    @property
    def n_features(self):
        return self.n_inputs * self.kernel.shape[1]

    def rows_at(self, start, size):
        """The features of `size` bins from `start`, and which of them have a complete window.

        There are zeros before the first bin, after the last, and for NaN.
        """
        window, start = len(self.kernel), start + self.ahead  # bins before `start` are seen by its row
        first = max(start - window, 0)
        piece = read_rows(self.inputs, first, start + size)
        if is_stream(self.inputs):
            require_finite("inputs", piece, first)
            piece = compact_integers(piece, keep=self.center is not None)
        counted = _complete_windows(piece, np.arange(start, start + size), first, window, self.starts, self.ahead)
        if self.center is not None:
            piece = piece - self.center
        if piece.dtype != np.uint8:
            piece = np.nan_to_num(piece.astype(jnp.result_type(float), copy=False))
        out = np.zeros((self.n_inputs, window + size), piece.dtype)
        begin = max(window - start, 0)
        out[:, begin : begin + len(piece)] = piece.T
        return ConvSource.from_kernel(out, self.kernel), counted

    def with_center(self, first, stop):
        """The same with inputs that do not lie far from 0 in these rows, and what its features then lack, or None."""
        seen = slice(max(first + self.ahead - len(self.kernel), 0), stop + self.ahead)
        inputs = self.inputs if is_stream(self.inputs) else self.inputs[seen]
        center = None if inputs.dtype == np.uint8 else column_center(inputs)
        lacks = None if center is None else np.outer(center, self.kernel.sum(0)).ravel()
        return self._replace(center=center), lacks

    def column_mean_sd(self):
        """Where the inputs lie and how they vary, for those of a product."""
        return column_mean_sd(self.inputs)


def _complete_windows(piece, ends, first, window, starts, ahead) -> np.ndarray:
    """Rows whose window, the bins before its end, lies inside their epoch and holds no NaN of the piece.

    The first bin of the piece is `first`.
    """
    rows = ends - ahead
    epoch = np.clip(np.searchsorted(starts, rows, "right") - 1, 0, len(starts) - 2)
    complete = (rows < starts[-1]) & (ends - starts[epoch] >= window) & (ends <= starts[epoch + 1])
    if piece.dtype.kind == "f":
        seen = np.concatenate([[0], np.cumsum(np.isnan(piece).any(1))])
        now = np.clip(ends - first, 0, len(piece))
        complete &= seen[now] == seen[np.maximum(now - window, 0)]
    return complete


class EvalTerm(NamedTuple):
    """Values of all bins, in memory or streamed, and the functions that make features of some: NaN where there is none."""

    inputs: object
    functions: Callable
    n_features: int
    center: np.ndarray | None = None

    @property
    def made_of(self):
        return (self.inputs,)

    @property
    def length(self):
        return self.inputs.shape[0]

    def rows_at(self, start, size):
        """The features of `size` bins from `start`, and which of them are known. They are zeros where not."""
        values = self.functions(read_rows(self.inputs, start, start + size))
        counted = ~np.isnan(values).any(1)
        out = zero_pad(values if self.center is None else values - self.center, size, jnp.result_type(float))
        out[: len(values)][~counted] = 0
        return ArraySource(to_device(out)), zero_pad(counted, size)

    def with_center(self, first, stop):
        """The same with features that do not lie far from 0, before they are rounded, and what they lack, or None."""
        center = column_center(_EvaluatedRows(self, first, stop))
        return self._replace(center=center), center

    def column_mean_sd(self):
        """Where the features lie and how they vary, for those of a product."""
        return column_mean_sd(_EvaluatedRows(self, 0, self.length))


class _EvaluatedRows:
    """Features as rows that are made when they are sliced, in double precision."""

    def __init__(self, term, first, stop):
        self.term, self.first, self.shape, self.dtype = term, first, (stop - first, term.n_features), np.dtype(float)

    def __getitem__(self, rows):
        some = slice(rows.start + self.first, min(rows.stop, self.shape[0]) + self.first)
        return self.term.functions(read_rows(self.term.inputs, some.start, some.stop))


class SumTerm(NamedTuple):
    """The features of several terms, side by side."""

    terms: tuple

    @property
    def made_of(self):
        return tuple(array for term in self.terms for array in term.made_of)

    @property
    def length(self):
        return self.terms[0].length

    @property
    def n_features(self):
        return sum(term.n_features for term in self.terms)

    def rows_at(self, start, size):
        """The features of `size` bins from `start`, and which of them are known in every term."""
        sources, counted = zip(*(term.rows_at(start, size) for term in self.terms), strict=True)
        return SumSource(sources), np.all(counted, 0)

    def with_center(self, first, stop):
        """Terms that do not lie far from 0, and what their features then lack, or None."""
        terms, lacks = zip(*(term.with_center(first, stop) for term in self.terms), strict=True)
        if all(lack is None for lack in lacks):
            return SumTerm(terms), None
        known = [np.zeros(t.n_features) if a is None else a for t, a in zip(terms, lacks, strict=True)]
        return SumTerm(terms), np.concatenate(known)

    def column_mean_sd(self):
        """Where the features lie and how they vary."""
        return tuple(map(np.concatenate, zip(*(term.column_mean_sd() for term in self.terms), strict=True)))


class ProductTerm(NamedTuple):
    """The products of every feature of one term with every feature of the next; the last runs fastest."""

    terms: tuple

    @property
    def made_of(self):
        return tuple(array for term in self.terms for array in term.made_of)

    @property
    def length(self):
        return self.terms[0].length

    @property
    def n_features(self):
        return int(np.prod([term.n_features for term in self.terms]))

    def rows_at(self, start, size):
        """The factors of `size` bins from `start`, and which of them are known in every term."""
        sources, counted = zip(*(term.rows_at(start, size) for term in self.terms), strict=True)
        return ProductSource(sources), np.all(counted, 0)

    def with_center(self, first, stop):
        """The same: products of what was centered are not products that lack a constant."""
        return self, None

    def column_mean_sd(self):
        """Where the factors lie and how they vary."""
        return tuple(map(np.concatenate, zip(*(term.column_mean_sd() for term in self.terms), strict=True)))


def find_conv_terms(term) -> list[ConvTerm]:
    """Every convolution that a term is made of."""
    if isinstance(term, ConvTerm):
        return [term]
    return [leaf for part in getattr(term, "terms", ()) for leaf in find_conv_terms(part)]
