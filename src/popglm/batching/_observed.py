"""Observed time of neurons: the gaps around and between it, and the bins that lie in them, which have no count."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from popglm._checks.times import TOLERANCE, join_touching
from popglm._checks.values import list_names, warn_user
from popglm._pynapple import Epochs, SpikeTrains, is_epochs


def as_gaps(observed: Any, units: SpikeTrains, bin_size: float) -> list[Float[np.ndarray, "2 gaps"]]:
    """Convert the observed time of all units, or of each, to begin and end of the gaps in it, for each unit."""
    if is_epochs(observed):
        return [_gaps_between(observed, bin_size)] * len(units)
    by_unit = _require_observed_units(observed, list(units))
    return [_gaps_between(by_unit[unit], bin_size) for unit in units]


def _gaps_between(epochs: Epochs, bin_size: float) -> np.ndarray:
    """Gaps before, between and after epochs, without those that are within the tolerance."""
    gaps = np.stack([np.append(-np.inf, join_touching(epochs)), np.append(epochs.start, np.inf)])
    return gaps[:, gaps[1] - gaps[0] > TOLERANCE * bin_size]


def unobserved_rows(
    gaps: np.ndarray, begins: np.ndarray, ends: np.ndarray, bin_size: float
) -> tuple[Int[np.ndarray, " gaps"], Int[np.ndarray, " gaps"]]:
    """First row that lies in each gap, and the row after the last; a bin lies in it if more than the tolerance does."""
    tolerance = TOLERANCE * bin_size
    near = slice(np.searchsorted(gaps[1], begins[0], side="right"), np.searchsorted(gaps[0], ends[-1]))
    first = np.searchsorted(ends, gaps[0, near] + tolerance, side="right")
    stop = np.searchsorted(begins, gaps[1, near] - tolerance)
    first[1:] = np.maximum(first[1:], stop[:-1])  # a bin may lie in two gaps
    return first, np.maximum(first, stop)


def warn_unobserved_spikes(units: SpikeTrains, trains: list[np.ndarray], gaps: list[np.ndarray]) -> None:
    """Warn if units have spikes outside their observed time."""
    n_lost = np.array([_count_in_gaps(times, some) for times, some in zip(trains, gaps, strict=True)])
    if n_lost.any():
        most = int(n_lost.argmax())
        share = f"{n_lost.sum()} of {sum(map(len, trains))} spikes lie outside the observed time of their unit"
        unit = f"unit {list(units)[most]} loses most, {n_lost[most]} of {len(trains[most])}"
        fix = "Are spikes and `observed` on one clock, and the ids those of `units`?"
        warn_user(f"{share}, and are not counted: {unit}. {fix}", RuntimeWarning)


def _count_in_gaps(times: np.ndarray, gaps: np.ndarray) -> int:
    """Number of times in gaps, to whose ends the observed time extends."""
    return int((np.searchsorted(times, gaps[1]) - np.searchsorted(times, gaps[0], side="right")).sum())


def _require_observed_units(observed: Any, units: list) -> dict:
    """Require an IntervalSet for each unit, and no other."""
    if not hasattr(observed, "items"):
        came = type(observed).__name__
        raise TypeError(f"`observed` must be a pynapple IntervalSet, or a dictionary of one for each unit; got {came}.")
    by_unit = dict(observed.items())
    unknown, missing = [n for n in by_unit if n not in units], [n for n in units if n not in by_unit]
    if unknown:
        fix = "Select: `{unit: observed[unit] for unit in units}`."
        came = f"got unit {list_names(unknown, None)}, which `units` does not have"
        raise ValueError(f"`observed` must hold an IntervalSet for each unit, by id; {came}. {fix}")
    if missing:
        fix = "Give units that were always observed the epochs of the recording, `observed | {unit: epochs}`."
        came = f"none came for unit {list_names(missing, None)}"
        raise ValueError(f"`observed` must hold an IntervalSet for each unit, by id; {came}. {fix}")
    for unit, epochs in by_unit.items():
        if not is_epochs(epochs):
            fix = "Write `nap.IntervalSet(...)` of starts and ends, or of an array of such pairs."
            raise TypeError(f"`observed[{unit}]` must be a pynapple IntervalSet; got {type(epochs).__name__}. {fix}")
    return by_unit
