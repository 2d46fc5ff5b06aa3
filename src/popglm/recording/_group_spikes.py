"""Spike times of a recording, as a sorter or a laboratory stores them, in the form that the package takes."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from popglm._checks.times import require_interval_set
from popglm._checks.values import as_number, list_names, warn_user
from popglm._pynapple import Epochs, SpikeTrains, as_object_array, make_ts_group
from popglm._types import Numbers

MAX_WHOLE = 10  # so many times in seconds may be whole numbers by chance
MAX_OUTSIDE = 0.5  # share of the spikes outside the epochs from which on unit or clock of the times must be wrong
MIN_COVERED = 0.05  # share of the recording that spikes should cover
MILLISECONDS = 1000  # in a second


def group_spikes(
    times: Numbers | Mapping[Hashable, Numbers] | Iterable[Numbers],
    epochs: Epochs,
    ids: Numbers | None = None,
    *,
    sampling_rate: float | None = None,
    keep: Numbers | None = None,
) -> SpikeTrains:
    r"""Spike times of every unit in seconds, with the time support of the recording.

    A time s becomes :math:`s / r` seconds, r being the sampling rate. Spikes outside `epochs` are left out; a warning counts
    them. A unit without spikes is kept.

    Parameters
    ----------
    times
        Spike times in one of three forms: one array, and the unit of each spike in `ids`; a dictionary or a pandas Series of
        arrays by unit id; or a list of arrays, whose units are numbered from 0. An array may be a row, a column, a number or
        empty.
    epochs
        A pynapple IntervalSet in seconds: when the recording ran. It becomes the time support of every unit. Do not take it
        from the spikes: the time before the first and after the last spike was recorded, too.
    ids
        Unit of each spike, whole numbers, as many as times.
    sampling_rate : float, optional
        Times in a second: 30_000 if times are samples at 30 kHz, 1000 if they are milliseconds. None: times are in seconds.
    keep
        Ids of the units to keep, such as those that were labelled good. None keeps all.

    Returns
    -------
    TsGroup
        Spike times of each unit, by id.

    Raises
    ------
    TypeError
        If `epochs` is no IntervalSet, or times are not numbers.
    ValueError
        If times are whole numbers without a `sampling_rate`; if times of a unit decrease; if more than half of all spikes lie
        outside `epochs`; if ids are not whole numbers, not one for each time, or not unique; if `keep` holds an id that no unit
        has; or if there is no unit.

    Warns
    -----
    RuntimeWarning
        If spikes lie outside `epochs`, or if all lie in less than a twentieth of the recording.

    Examples
    --------
    >>> import numpy as np
    >>> import pynapple as nap
    >>> from popglm.recording import group_spikes
    >>> samples, clusters = np.array([3000, 4500, 9000, 42_000]), np.array([7, 2, 7, 7])
    >>> units = group_spikes(samples, nap.IntervalSet(0, 2), clusters, sampling_rate=30_000)
    >>> units[7].t.tolist(), units[2].t.tolist()
    ([0.1, 0.3, 1.4], [0.15])
    """
    epochs = require_interval_set(epochs)
    trains = _split_by_id(times, ids) if ids is not None else _name_trains(times)
    trains = _as_seconds(_select(trains, keep), sampling_rate)
    for unit, train in trains.items():
        _require_increasing(unit, train)
    units = make_ts_group(list(trains.values()), list(trains), epochs)
    n_outside = np.array([len(train) - len(units[unit]) for unit, train in trains.items()])
    if n_outside.any():
        _report_outside(trains, n_outside, epochs, sampling_rate)
    _warn_crowded(np.concatenate(list(trains.values())), epochs, sampling_rate)
    return units


def _split_by_id(times: Any, ids: Any) -> dict[int, np.ndarray]:
    """Split one array of times by the unit of each."""
    if isinstance(times, Mapping) or getattr(getattr(times, "dtype", None), "kind", "") == "O" or _is_nested(times):
        raise TypeError("`ids` belong to one array of times; got times by unit. Leave out `ids`, or use `keep`.")
    times, ids = _as_vector("times", times), _as_ids("ids", ids)
    if len(times) != len(ids):
        raise ValueError(f"`times` and `ids` must be as many; got {len(times)} times and {len(ids)} ids.")
    order = np.argsort(ids, kind="stable")  # keeps the order of times in each unit
    units, first = np.unique(ids[order], return_index=True)
    return dict(zip(units.tolist(), np.split(times[order], first[1:]), strict=True))


def _is_nested(times: Any) -> bool:
    """Return whether times are a list of lists or arrays."""
    return isinstance(times, list | tuple) and len(times) > 0 and np.ndim(times[0]) > 0


def _name_trains(times: Any) -> dict[int, np.ndarray]:
    """Take times by unit, and number units without ids."""
    if hasattr(times, "items"):
        names, parts = zip(*times.items(), strict=True) if len(times) else ((), ())
        keys = np.asarray(names)
        names = _as_ids("keys of `times`", keys if keys.ndim == 1 else as_object_array(names)).tolist()
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"ids of units must be unique; {list_names(twice, None)} came more than once.")
    else:
        parts = list(_require_row_of_cells(times))
        names = list(range(len(parts)))
        if all(np.size(part) <= 1 and np.ndim(part) < 2 for part in parts) and any(np.size(part) for part in parts):
            fix = "Give `ids`, the unit of each spike, or `[times]` if all belong to one unit."
            raise TypeError(f"`times` without `ids` must hold one array for each unit; got {len(parts)} numbers. {fix}")
    return {name: _as_vector(f"times of unit {name}", part) for name, part in zip(names, parts, strict=True)}


def _require_row_of_cells(times: Any) -> Any:
    """Require one axis of an array of arrays, such as a cell array of MATLAB."""
    if not isinstance(times, np.ndarray) or times.dtype.kind != "O":
        return times
    if sum(length != 1 for length in times.shape) > 1:
        fix = "If they are units by trials, add the start of each trial to its times and join them: one array for each unit."
        raise ValueError(f"cells of `times` must have one axis, the units; got shape {times.shape}. {fix}")
    return times.ravel()


def _as_vector(name: str, values: Any) -> np.ndarray:
    """Convert a row, a column, a number or nothing to an array of numbers with one axis."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iuf":
        fix = " A cell or an object holds arrays: give a list of these." if array.dtype.kind == "O" else ""
        raise TypeError(f"{name} must be numbers; got an array of {array.dtype}.{fix}")
    if sum(length != 1 for length in array.shape) > 1 and array.size:
        raise ValueError(f"{name} must have one axis; got shape {array.shape}. Give a list of one array for each unit.")
    array = array.ravel()
    n_missing = int((~np.isfinite(array)).sum()) if array.size else 0
    if n_missing:
        fix = "If it fills up rows of a table, give a list of `row[np.isfinite(row)]`."
        raise ValueError(f"{name} must be finite; {n_missing} of {array.size} are NaN or infinite. {fix}")
    return array


def _as_ids(name: str, values: Any) -> np.ndarray:
    """Convert ids of units to integers."""
    array = np.asarray(values).ravel()
    if array.size and (array.dtype.kind not in "iuf" or (array != np.round(array)).any()):
        fix = "Give a list of arrays, and the names later: `units['name'] = names`."
        fix = "Give ids, not a mask: `np.flatnonzero(mask)`." if array.dtype.kind == "b" else fix
        raise ValueError(f"{name} must be whole numbers, as pynapple numbers units; got {array[0]!r}. {fix}")
    return array.astype(int)


def _select(trains: dict, keep: Any) -> dict:
    """Select units by id."""
    if keep is not None:
        wanted = np.unique(_as_ids("`keep`", keep)).tolist()
        missing = [unit for unit in wanted if unit not in trains]
        if missing:
            came = f"no spikes of unit {list_names(missing, None)} came, but of units {list_names(list(trains), None)}"
            fix = "Leave out those that a sorter has merged away (`np.intersect1d(keep, ids)`), and give ids, not positions."
            raise ValueError(f"`keep` must hold ids of units; {came}. {fix}")
        trains = {unit: trains[unit] for unit in wanted}
    if not trains:
        raise ValueError("`times` must hold at least one unit; got none.")
    return trains


def _as_seconds(trains: dict, sampling_rate: Any) -> dict:
    """Divide by the sampling rate; refuse whole numbers without one."""
    seconds = {unit: train.astype(float) for unit, train in trains.items()}
    if sampling_rate is not None:
        rate = as_number("sampling_rate", sampling_rate, 0, strict=True)
        return {unit: train / rate for unit, train in seconds.items()}
    filled = [train for train in trains.values() if len(train)]
    whole = [train.dtype.kind in "iu" or (train == np.round(train)).all() for train in filled]
    are_integers = any(train.dtype.kind in "iu" for train in filled)
    if filled and all(whole) and (are_integers or sum(map(len, filled)) > MAX_WHOLE):
        latest = max(train.max() for train in filled)
        came = f"all are whole numbers up to {latest:.10g}, as samples or milliseconds are"
        fix = f"Give `sampling_rate`: 30_000 for samples at 30 kHz, {MILLISECONDS} for milliseconds, 1 for seconds."
        raise ValueError(f"`times` without `sampling_rate` must be in seconds; {came}. {fix}")
    return seconds


def _require_increasing(unit: Any, train: np.ndarray) -> None:
    """Require times in order: sorting would hide a clock that starts again, or numbers that overflowed."""
    backward = np.flatnonzero(np.diff(train) < 0)
    if len(backward):
        first = backward[0]
        came = f"unit {unit} has {train[first]:.6f} s before {train[first + 1]:.6f} s ({len(backward)} such steps)"
        fix = (
            "If the clock starts again in each file, add the start of the file; if numbers overflowed, read them as floats; "
            "if only the order is wrong, sort them."
        )
        raise ValueError(f"times of a unit must increase; {came}. {fix}")


def _report_outside(trains: dict, n_outside: np.ndarray, epochs: Epochs, sampling_rate: Any) -> None:
    """Raise if most spikes lie outside the epochs, else warn; say where they lie."""
    times = np.concatenate(list(trains.values()))
    n_lost, start, end = int(n_outside.sum()), float(epochs.start[0]), float(epochs.end[-1])
    before, after = int((times < start).sum()), int((times > end).sum())
    share = f"{n_lost} of {len(times)} spikes ({100 * n_lost / len(times):.3g} %)"
    where = f"{before} before {start:g} s, {after} after {end:g} s, {n_lost - before - after} between epochs"
    if n_lost > MAX_OUTSIDE * len(times):
        came = f"{share} lie outside: {where}; the last is at {times.max():g} s"
        ratio = times.max() / end if end > 0 else 0
        is_ms = sampling_rate is None and 0.5 < ratio / MILLISECONDS < 1.1
        fix = (
            "Give `sampling_rate` if times are samples or milliseconds, and times and epochs on one clock. To select a part of "
            "a recording, group the spikes of all of it, then `units.restrict(part)`."
        )
        if is_ms:
            fix = f"They look like milliseconds: give `sampling_rate={MILLISECONDS}`."
        raise ValueError(f"spikes must lie in `epochs`, when the recording ran; {came}. {fix}")
    most = int(n_outside.argmax())
    unit = f"unit {list(trains)[most]} loses most, {n_outside[most]}"
    fix = "Do `epochs` hold all of the recording, on the clock of the spikes?"
    warn_user(f"{share} lie outside `epochs` and are left out: {where}; {unit}. {fix}", RuntimeWarning)


def _warn_crowded(times: np.ndarray, epochs: Epochs, sampling_rate: Any) -> None:
    """Warn if all spikes lie in a small part of the recording, as when seconds are divided once more."""
    length = float(epochs.end[-1] - epochs.start[0])
    if len(times) > MAX_WHOLE and np.ptp(times) < MIN_COVERED * length:
        divided = "" if sampling_rate is None else " If times are in seconds already, leave out `sampling_rate`."
        came = f"all {len(times)} spikes lie between {times.min():.6g} and {times.max():.6g} s"
        warn_user(
            f"{came}, {100 * np.ptp(times) / length:.2g} % of the {length:g} s of `epochs`.{divided}", RuntimeWarning
        )
