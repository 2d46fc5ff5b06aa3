"""Rows that are left out of every sum, or of one neuron's, because an input is missing there: here they are counted."""

from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from popglm._checks.times import stretch_starts
from popglm._checks.values import list_names, warn_user
from popglm._design.lazy import LazyFeatures
from popglm._design.streams import is_stream
from popglm._pynapple import Frame

# Share of the rows, beyond those that the windows of convolutions explain, of which more are worth a warning. A plain matrix
# does not show where rows were cut out, before which features have no history.
MAX_LOST_SHARE, MAX_LOST_SHARE_OF_MATRIX = 0.1, 0.25


def warn_lost_rows(
    X: Frame, valid: Bool[np.ndarray, " time"], n_lost: Int[np.ndarray, " #neurons"], neurons: Any = None
) -> None:
    """Warn if many of the rows are not valid, beyond those without a complete history, and name the input that is missing.

    `valid` marks rows that are valid for any neuron, `n_lost` counts those of them that are not for each of the `neurons`.
    """
    short = _without_history(X, valid)
    lost, neuron = int((~valid & ~short).sum()), int(np.argmax(n_lost))
    # Rows that a shorter window of another neuron can use are no surprise.
    lost_by_neuron = lost + max(int(n_lost[neuron] - (valid & short).sum()), 0)
    plain = X.times is None and X.index is None and not isinstance(X.values, LazyFeatures)
    max_lost = (MAX_LOST_SHARE_OF_MATRIX if plain else MAX_LOST_SHARE) * len(valid)
    if max(lost, lost_by_neuron) <= max_lost or not valid.any():
        return
    who = "every neuron"
    if lost <= max_lost:
        lost, who = lost_by_neuron, f"neuron {list_names([neuron], neurons)}, and fewer for others by `feature_mask`"
    where = (
        "" if (worst := _worst_input(X)) is None else " Most often {} is missing: in {:.1%} of the bins.".format(*worst)
    )
    warn_user(
        f"{lost / len(valid):.0%} of the bins, {lost:,} of {len(valid):,}, are left out for {who}: a missing value (NaN) "
        f"in one input leaves out its bin, and all bins whose window holds it.{where} Look at numpy.isnan of the inputs (or at "
        "`complete` of lazy features), and leave out that input, fill its gaps, or restrict(epochs) to where it is known.",
        RuntimeWarning,
    )


def _without_history(X: Frame, valid: np.ndarray) -> Bool[np.ndarray, " time"]:
    """Rows that a window explains: of a matrix, those not valid next to either end of a stretch of rows."""
    if isinstance(X.values, LazyFeatures):
        return ~X.values.has_history
    explained, edges = np.zeros(len(valid), bool), stretch_starts(X, len(valid))
    for start, stop in pairwise(edges):
        inside = np.flatnonzero(valid[start:stop])
        first, last = (inside[0], inside[-1] + 1) if len(inside) else (stop - start, stop - start)
        explained[start : start + first] = explained[start + last : stop] = True
    return explained


def _worst_input(X: Frame) -> tuple[str, float] | None:
    """Name of the input or feature that is missing in most bins, and the share of these; None if nobody can know it cheaply."""
    if isinstance(X.values, LazyFeatures):
        shares = X.values.missing_shares()
    elif is_stream(X.values):
        return None
    else:
        names = range(X.values.shape[1]) if X.columns is None else X.columns
        shares = [(f"feature {name}", share) for name, share in zip(names, np.isnan(X.values).mean(0), strict=True)]
    worst = max(shares, key=lambda pair: pair[1])
    tells = (
        len({share for _, share in shares}) > 1 or len(shares) == 1
    )  # features that a basis has built are missing together
    return worst if tells and worst[1] > 0 else None
