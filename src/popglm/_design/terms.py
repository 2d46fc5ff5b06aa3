"""Terms of lazy features: a tree of inputs that are convolved or evaluated, put side by side or multiplied.

Every term makes any rows of its features on demand (`rows_at`), and marks those that are valid.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from popglm._checks.arrays import require_finite
from popglm._design.arrays import compact_integers, to_device, zero_pad
from popglm._design.blocks import ArraySource, ConvSource, ProductSource, SumSource
from popglm._design.centering import column_center, column_mean_sd
from popglm._design.streams import is_stream, read_rows


class ConvTerm(NamedTuple):
    """Convolution of inputs, in memory or streamed, with the kernel of a basis; `starts` are the first rows of epochs.

    Row t is made of bins t - W + `ahead` to t - 1 + `ahead`; `ahead` 0 means the past.
    """

    inputs: Any
    kernel: np.ndarray
    starts: np.ndarray
    ahead: int = 0
    center: np.ndarray | None = None

    @property
    def made_of(self) -> tuple[Any, ...]:
        return (self.inputs,)

    @property
    def length(self) -> int:
        return self.inputs.shape[0]

    @property
    def n_inputs(self) -> int:
        return 1 if len(self.inputs.shape) == 1 else self.inputs.shape[1]

    @property
    def n_features(self) -> int:
        return self.n_inputs * self.kernel.shape[1]

    def rows_at(self, start: int, size: int) -> tuple[ConvSource, Bool[np.ndarray, " time"]]:
        """Make the features of `size` bins from `start`, and mark the bins whose window is complete.

        Inputs before the first bin, after the last, and where they are NaN, count as 0.
        """
        # The window of row `start` ends before bin `start + ahead`.
        window, start = len(self.kernel), start + self.ahead
        first = max(start - window, 0)
        piece = read_rows(self.inputs, first, start + size)
        if is_stream(self.inputs):
            require_finite("inputs", piece, first)
            piece = compact_integers(piece, keep=self.center is not None)
        valid = _complete_windows(piece, np.arange(start, start + size), first, window, self.starts, self.ahead)
        if self.center is not None:
            piece = piece - self.center
        if piece.dtype != np.uint8:
            piece = np.nan_to_num(piece.astype(jnp.result_type(float), copy=False))
        out = np.zeros((self.n_inputs, window + size), piece.dtype)
        begin = max(window - start, 0)
        out[:, begin : begin + len(piece)] = piece.T
        return ConvSource.from_kernel(out, self.kernel), valid

    def has_history(self) -> np.ndarray:
        """Mark the rows whose window lies inside their epoch."""
        ends, none = np.arange(self.length) + self.ahead, np.zeros((0, 1), np.uint8)
        return _complete_windows(none, ends, 0, len(self.kernel), self.starts, self.ahead)

    def with_center(self, first: int, stop: int) -> tuple["ConvTerm", np.ndarray | None]:
        """Return the term with inputs centred on these rows, and the offset that its features then lack, or None."""
        bins = slice(max(first + self.ahead - len(self.kernel), 0), stop + self.ahead)
        inputs = self.inputs if is_stream(self.inputs) else self.inputs[bins]
        center = None if inputs.dtype == np.uint8 else column_center(inputs)
        offset = None if center is None else np.outer(center, self.kernel.sum(0)).ravel()
        return self._replace(center=center), offset

    def column_mean_sd(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the inputs."""
        return column_mean_sd(self.inputs)


def _complete_windows(
    piece: np.ndarray, ends: np.ndarray, first: int, window: int, starts: np.ndarray, ahead: int
) -> Bool[np.ndarray, " time"]:
    """Mark rows whose window, the bins before its end, lies inside their epoch and holds no NaN.

    `first` is the first bin of `piece`.
    """
    rows = ends - ahead
    epoch = np.clip(np.searchsorted(starts, rows, "right") - 1, 0, len(starts) - 2)
    complete = (rows < starts[-1]) & (ends - starts[epoch] >= window) & (ends <= starts[epoch + 1])
    if piece.dtype.kind == "f":
        n_missing = np.concatenate([[0], np.cumsum(np.isnan(piece).any(1))])
        now = np.clip(ends - first, 0, len(piece))
        complete &= n_missing[now] == n_missing[np.maximum(now - window, 0)]
    return complete


def missing_per_input(inputs: Any, n_inputs: int) -> np.ndarray:
    """Share of the bins in which each input is NaN; if each bin holds several values of one input, in which any is.

    A stream is not read: it says so itself (`LazyCounts`), or the share is 0.
    """
    if is_stream(inputs):
        return inputs.missing_shares() if hasattr(inputs, "missing_shares") else np.zeros(n_inputs)
    values = np.asarray(inputs).reshape(len(inputs), n_inputs, -1)
    return np.isnan(values).any(2).mean(0) if values.dtype.kind == "f" else np.zeros(n_inputs)


class EvalTerm(NamedTuple):
    """Functions of values of the same bin, in memory or streamed; they give NaN where a value is missing or outside."""

    inputs: Any
    functions: Callable
    n_features: int
    center: np.ndarray | None = None

    @property
    def made_of(self) -> tuple[Any, ...]:
        return (self.inputs,)

    @property
    def length(self) -> int:
        return self.inputs.shape[0]

    def rows_at(self, start: int, size: int) -> tuple[ArraySource, Bool[np.ndarray, " time"]]:
        """Make the features of `size` bins from `start`, 0 where not valid, and mark the valid bins."""
        values = self.functions(read_rows(self.inputs, start, start + size))
        valid = ~np.isnan(values).any(1)
        out = zero_pad(values if self.center is None else values - self.center, size, jnp.result_type(float))
        out[: len(values)][~valid] = 0
        return ArraySource(to_device(out)), zero_pad(valid, size)

    def with_center(self, first: int, stop: int) -> tuple["EvalTerm", np.ndarray | None]:
        """Return the term with features centred before they are rounded, and the offset that they lack, or None."""
        center = column_center(_EvaluatedRows(self, first, stop))
        return self._replace(center=center), center

    def column_mean_sd(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the features."""
        return column_mean_sd(_EvaluatedRows(self, 0, self.length))


class _EvaluatedRows:
    """Features of an `EvalTerm`, made in double precision when they are sliced."""

    def __init__(self, term: EvalTerm, first: int, stop: int) -> None:
        self.term, self.first, self.shape, self.dtype = term, first, (stop - first, term.n_features), np.dtype(float)

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop = rows.start + self.first, min(rows.stop, self.shape[0]) + self.first
        return self.term.functions(read_rows(self.term.inputs, start, stop))


class _CombinedTerm(NamedTuple):
    terms: tuple

    @property
    def made_of(self) -> tuple[Any, ...]:
        return tuple(array for term in self.terms for array in term.made_of)

    @property
    def length(self) -> int:
        return self.terms[0].length

    def rows_at(self, start: int, size: int) -> tuple[SumSource | ProductSource, Bool[np.ndarray, " time"]]:
        """Make the features of `size` bins from `start`, and mark the bins that are valid in every term."""
        sources, valid = zip(*(term.rows_at(start, size) for term in self.terms), strict=True)
        return self.combine(sources), np.all(valid, 0)  # type: ignore[attr-defined]

    def column_mean_sd(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the columns of every term."""
        return tuple(map(np.concatenate, zip(*(term.column_mean_sd() for term in self.terms), strict=True)))  # type: ignore[return-value]


class SumTerm(_CombinedTerm):
    """Features of several terms, side by side."""

    combine = SumSource

    @property
    def n_features(self) -> int:
        return sum(term.n_features for term in self.terms)

    def with_center(self, first: int, stop: int) -> tuple["SumTerm", np.ndarray | None]:
        """Return centred terms, and the offsets that their features lack; None if no term lies far from 0."""
        terms, offsets = zip(*(term.with_center(first, stop) for term in self.terms), strict=True)
        if all(offset is None for offset in offsets):
            return SumTerm(terms), None
        offsets = [np.zeros(t.n_features) if a is None else a for t, a in zip(terms, offsets, strict=True)]
        return SumTerm(terms), np.concatenate(offsets)


class ProductTerm(_CombinedTerm):
    """Products of every feature of one term with every feature of the next; the last runs fastest."""

    combine = ProductSource

    @property
    def n_features(self) -> int:
        return int(np.prod([term.n_features for term in self.terms]))

    def with_center(self, first: int, stop: int) -> tuple["ProductTerm", np.ndarray | None]:
        """Return this term: products of centred factors differ from products by more than a constant."""
        return self, None


def leaf_terms(term: Any) -> list[ConvTerm | EvalTerm]:
    """List the convolutions and evaluations in a tree of terms."""
    return [leaf for part in term.terms for leaf in leaf_terms(part)] if isinstance(term, _CombinedTerm) else [term]
