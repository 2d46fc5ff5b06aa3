"""Terms of lazy features: a tree of inputs that are convolved or evaluated, put side by side or multiplied.

Every term makes any rows of its features on demand (`rows_at`), and says where the inputs of its leaves are known: for each
leaf an array (time, groups), where a group is the features that are known together, or (time, 1) if that is true of all.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from popglm._checks.arrays import require_finite
from popglm._design.arrays import compact_integers, to_device, zero_pad
from popglm._design.blocks import ArraySource, ConvSource, ProductSource, SumSource
from popglm._design.centering import CENTERS, column_center, column_mean_sd
from popglm._design.missing import agree_on_fill, column_fill, fill_missing
from popglm._design.streams import is_stream, read_rows
from popglm.parallel._share import agree

Known = Bool[np.ndarray, " time #groups"]


class ConvTerm(NamedTuple):
    """Convolution of inputs, in memory or streamed, with the kernel of a basis; `starts` are the first rows of epochs.

    Row t is made of bins t - W + `ahead` to t - 1 + `ahead`; `ahead` 0 means the past.
    """

    inputs: Any
    kernel: np.ndarray
    starts: np.ndarray
    ahead: int = 0
    center: np.ndarray | None = None
    fill: np.ndarray | float = 0.0  # stands for NaN, before the center is subtracted

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

    def rows_at(self, start: int, size: int, *, by_group: bool = False) -> tuple[ConvSource, list[Known]]:
        """Make the features of `size` bins from `start`, and mark those whose window is complete, for each input if `by_group`.

        Inputs before the first bin, after the last, and where they are NaN, count as 0 or as `fill`.
        """
        # The window of row `start` ends before bin `start + ahead`.
        window, start = len(self.kernel), start + self.ahead
        first = max(start - window, 0)
        piece = read_rows(self.inputs, first, start + size)
        if is_stream(self.inputs):
            require_finite("inputs", piece, first)
            piece = compact_integers(piece, keep=self.center is not None)
        missing: np.ndarray = np.isnan(piece) if piece.dtype.kind == "f" else np.zeros((0, 1), bool)
        missing = missing if by_group else np.asarray(missing.any(1))[:, None]
        ends = np.arange(start, start + size)
        known = _complete_windows(missing, ends, first, window, self.starts, self.ahead)
        if missing.any() and np.any(self.fill):
            piece = np.where(np.isnan(piece), self.fill, piece)
        if self.center is not None:
            piece = piece - self.center
        if piece.dtype != np.uint8:
            piece = np.nan_to_num(piece.astype(jnp.result_type(float), copy=False))
        out = np.zeros((self.n_inputs, window + size), piece.dtype)
        begin = max(window - start, 0)
        out[:, begin : begin + len(piece)] = piece.T
        return ConvSource.from_kernel(out, self.kernel), [known]

    def group_numbers(self) -> list[np.ndarray]:
        """Group of each feature: its input."""
        return [np.repeat(np.arange(self.n_inputs), self.kernel.shape[1])]

    def has_history(self) -> np.ndarray:
        """Mark the rows whose window lies inside their epoch."""
        ends, none = np.arange(self.length) + self.ahead, np.zeros((0, 1), bool)
        return _complete_windows(none, ends, 0, len(self.kernel), self.starts, self.ahead)[:, 0]

    def with_fill(self) -> "ConvTerm":
        """Return the term with the means of the inputs in place of NaN."""
        return self._replace(fill=agree_on_fill(0.0 if self.inputs.dtype == np.uint8 else column_fill(self.inputs)))

    def with_center(self, first: int, stop: int) -> tuple["ConvTerm", np.ndarray | None]:
        """Return the term with inputs centred on these rows, and the offset that its features then lack, or None."""
        bins = slice(max(first + self.ahead - len(self.kernel), 0), stop + self.ahead)
        inputs = self.inputs if is_stream(self.inputs) else self.inputs[bins]
        center = agree(None, CENTERS) if inputs.dtype == np.uint8 else column_center(inputs)
        offset = None if center is None else np.outer(center, self.kernel.sum(0)).ravel()
        return self._replace(center=center), offset

    def column_mean_sd(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the inputs."""
        return column_mean_sd(self.inputs)


def _complete_windows(
    missing: np.ndarray,
    ends: np.ndarray,
    first: int,
    window: int,
    starts: np.ndarray,
    ahead: int,
) -> Known:
    """Mark rows whose window, the bins before its end, lies inside their epoch and holds no missing bin.

    `first` is the number of the first bin of `missing`.
    """
    rows = ends - ahead
    epoch = np.clip(np.searchsorted(starts, rows, "right") - 1, 0, len(starts) - 2)
    complete = ((rows < starts[-1]) & (ends - starts[epoch] >= window) & (ends <= starts[epoch + 1]))[:, None]
    if missing.any():
        n_missing = np.concatenate([np.zeros_like(missing[:1], int), np.cumsum(missing, 0)])
        now = np.clip(ends - first, 0, len(missing))
        complete = complete & (n_missing[now] == n_missing[np.maximum(now - window, 0)])
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
    fill: np.ndarray | float = 0.0  # stands for NaN, before the center is subtracted

    @property
    def made_of(self) -> tuple[Any, ...]:
        return (self.inputs,)

    @property
    def length(self) -> int:
        return self.inputs.shape[0]

    def rows_at(self, start: int, size: int, *, by_group: bool = False) -> tuple[ArraySource, list[Known]]:
        """Make the features of `size` bins from `start`, `fill` where NaN; mark the known bins, for each if `by_group`."""
        values = self.functions(read_rows(self.inputs, start, start + size))
        known = ~np.isnan(values)
        complete = known.all(1, keepdims=True)
        out = zero_pad(values if self.center is None else values - self.center, size, jnp.result_type(float))
        fill_missing(out[: len(values)], complete, known, self.fill, self.center)
        return ArraySource(to_device(out)), [zero_pad(known if by_group else complete, size)]

    def group_numbers(self) -> list[np.ndarray]:
        """Group of each feature: each is one."""
        return [np.arange(self.n_features)]

    def with_fill(self) -> "EvalTerm":
        """Return the term with the means of the features in place of NaN."""
        complete = not is_stream(self.inputs) and not np.isnan(self.inputs).any()
        return self._replace(fill=agree_on_fill(0.0 if complete else column_fill(_EvaluatedRows(self, 0, self.length))))

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

    def rows_at(
        self, start: int, size: int, *, by_group: bool = False
    ) -> tuple[SumSource | ProductSource, list[Known]]:
        """Make the features of `size` bins from `start`, and mark the bins that are known to each leaf."""
        parts = (term.rows_at(start, size, by_group=by_group) for term in self.terms)
        sources, known = zip(*parts, strict=True)
        return self.combine(sources), list(chain(*known))  # type: ignore[attr-defined]

    def with_fill(self) -> Any:
        """Return the terms with means in place of NaN."""
        return self._replace(terms=tuple(term.with_fill() for term in self.terms))

    def column_mean_sd(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the columns of every term."""
        return tuple(map(np.concatenate, zip(*(term.column_mean_sd() for term in self.terms), strict=True)))  # type: ignore[return-value]


class SumTerm(_CombinedTerm):
    """Features of several terms, side by side."""

    combine = SumSource

    @property
    def n_features(self) -> int:
        return sum(term.n_features for term in self.terms)

    def group_numbers(self) -> list[np.ndarray]:
        """Group of each feature in each leaf; -1 for features of other terms."""
        groups, before = [], 0
        for term in self.terms:
            pad = (before, self.n_features - before - term.n_features)
            groups += [np.pad(numbers, pad, constant_values=-1) for numbers in term.group_numbers()]
            before += term.n_features
        return groups

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

    def group_numbers(self) -> list[np.ndarray]:
        """Group of each feature in each leaf: that of its factor."""
        factors = np.indices([term.n_features for term in self.terms]).reshape(len(self.terms), -1)
        return [n[f] for term, f in zip(self.terms, factors, strict=True) for n in term.group_numbers()]

    def with_center(self, first: int, stop: int) -> tuple["ProductTerm", np.ndarray | None]:
        """Return this term: products of centred factors differ from products by more than a constant."""
        return self, None


def leaf_terms(term: Any) -> list[ConvTerm | EvalTerm]:
    """List the convolutions and evaluations in a tree of terms."""
    return [leaf for part in term.terms for leaf in leaf_terms(part)] if isinstance(term, _CombinedTerm) else [term]
