"""Batches of the user, checked, pass after pass."""

from collections.abc import Iterator
from itertools import chain, islice

from popglm._checks.arrays import require_valid_bins
from popglm._checks.names import BATCHES, NO_NAMES, join_names, names_of
from popglm._design.inputs import as_observations, has_valid_bin
from popglm._design.layout import read_layout
from popglm._design.streams import prefetch
from popglm.batching._batch import Batch
from popglm.batching._checks import as_batch_parts, require_any_batch, require_batch_shape
from popglm.batching._windows import Windows

END_OF_PASS, END_OF_BATCHES = object(), object()


def read_batch_layout(source):
    """Return batches that nobody has taken, and the layout of their features, which those of the first tell."""
    if isinstance(source, Windows):
        return source, source.layout
    items = iter(source)
    first = next(items, END_OF_BATCHES)
    require_any_batch(first is not END_OF_BATCHES)
    X, *_ = as_batch_parts(first, "`batches` must give")
    return chain([first], items) if items is source else source, read_layout(X)


class CheckedBatches:
    """Batches from a source: arrays of one shape, with the same columns and bins, pass after pass.

    `shape` (features, neurons) and `names` are those of the first batches, unless known before.
    An iterator as source goes on where it stands and has no second pass; its end is not that of a pass, since another
    iterator may go on from there.
    """

    def __init__(self, source, model, y_dims, shape=None, names=NO_NAMES):
        self.source, self.is_iterator = source, isinstance(source, Iterator)
        self._model, self._y_dims = model, y_dims
        self.shape = shape
        self.names = join_names(names, names_of(*source.frames), BATCHES) if isinstance(source, Windows) else names
        self._items, self._first = self._iterate(0, 0), None

    def seek(self, pass_number, n_skipped, *, restart=False):
        """Continue after the first batches of a pass. An iterator goes on where it is, or at its start to `restart` a run."""
        self._items = self._iterate(pass_number, n_skipped, restart)

    def read_next(self):
        """Read the next batch; None at the end of a pass or of all batches."""
        item = next(self._items, END_OF_BATCHES)
        return None if item is END_OF_PASS or item is END_OF_BATCHES else self._check(item)

    def read_shape(self):
        """Shape of the batches. If it is unknown, read the first batch, which `take` yields later."""
        if self.shape is None:
            self._first = self.read_next()
            require_any_batch(self._first is not None)
        return self.shape

    def take(self, n_batches):
        """Yield up to `n_batches` batches, and END_OF_PASS after the last one of a pass, even if no more are to be taken."""
        if self._first is not None:
            first, self._first = self._first, None
            yield first
            n_batches -= 1
        while n_batches > 0 or not self.is_iterator:
            item = next(self._items, END_OF_BATCHES)
            if item is END_OF_PASS:
                yield END_OF_PASS
            if item is END_OF_BATCHES or n_batches <= 0:
                return
            if item is not END_OF_PASS:
                yield self._check(item)
                n_batches -= 1

    def _iterate(self, pass_number, n_skipped, restart=False):
        """Yield what the source gives, and END_OF_PASS after each pass, until a pass is empty."""
        while True:
            if isinstance(self.source, Windows):
                items = prefetch(self.source.of_pass(pass_number, n_skipped))
            elif self.is_iterator and not restart:
                items = self.source
            else:
                items = islice(iter(self.source), n_skipped, None)
            is_empty = True
            for item in items:
                is_empty = False
                yield item
            if (is_empty and not n_skipped) or self.is_iterator:
                return
            yield END_OF_PASS
            pass_number, n_skipped = pass_number + 1, 0

    def _check(self, item):
        """One batch as arrays, alike in shape and columns to the first."""
        X, y, *rows = as_batch_parts(item, "`batches` must give")
        X, y, *rows = as_observations(X, y, self._model, self._y_dims, *rows, built=True)
        shape = (X.values.shape[1], y.values.shape[1])
        self.shape = self.shape or shape
        require_batch_shape(self.shape, shape)
        self.names = join_names(self.names, names_of(X, y), BATCHES)
        batch = Batch(X.values, y.values, *rows)
        require_valid_bins(has_valid_bin(*batch))
        return batch
