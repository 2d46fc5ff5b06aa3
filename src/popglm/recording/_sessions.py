"""Several sessions on one time axis, one after another, with gaps that no history crosses."""

from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from popglm._checks.times import require_ts_group
from popglm._checks.values import list_names
from popglm._pynapple import (
    Epochs,
    SpikeTrains,
    concatenate_in_time,
    describe_kind,
    first_metadata,
    make_epochs,
    make_ts_group,
    time_span,
)

GAP = 10.0  # seconds between sessions
FORM = "a Ts, Tsd, TsdFrame, TsdTensor or IntervalSet of pynapple"


class JoinedSessions(NamedTuple):
    """Sessions on one time axis, see `join_sessions`."""

    units: SpikeTrains
    """Spike times of all units that any session has, by id. Its time support holds the epochs of every session."""
    sessions: Epochs
    """One interval for each session, from the start of its first epoch to the end of its last."""
    observed: dict[Hashable, Epochs]
    """When each unit was recorded, by id: the epochs of the sessions that have it."""
    shifts: Float[np.ndarray, " sessions"]
    """Seconds that were added to the clock of each session."""

    def join(self, series: Iterable[Any]) -> Any:
        """Series of every session on the time axis of all.

        Parameters
        ----------
        series
            For each session a Ts, Tsd, TsdFrame, TsdTensor or IntervalSet on its own clock, such as positions, licks or trials;
            all of one kind, frames with the same columns. No value is changed, no row is left out.

        Returns
        -------
        Ts, Tsd, TsdFrame, TsdTensor or IntervalSet
            The rows of the first session, then those of the second, and so on. Metadata of intervals are kept if all have them.

        Raises
        ------
        TypeError
            If series are no objects of pynapple, or not of one kind.
        ValueError
            If there is not one for each session, if columns differ, or if a series goes on for more than 5 s before or after
            its session.

        Examples
        --------
        >>> import pynapple as nap
        >>> from popglm.recording import join_sessions
        >>> days = [nap.TsGroup({3: nap.Ts([0.5, 2.5])}, time_support=nap.IntervalSet(0, 4)) for _ in range(2)]
        >>> joined = join_sessions(days)
        >>> trials = joined.join([nap.IntervalSet([0, 2], [1, 3]), nap.IntervalSet([1], [2])])
        >>> trials.start.tolist()
        [0.0, 2.0, 15.0]
        """
        parts = list(series)
        if len(parts) != len(self.sessions):
            raise ValueError(f"`series` must be one for each of {len(self.sessions)} sessions; got {len(parts)}.")
        _require_one_kind(parts)
        for number, (part, shift) in enumerate(zip(parts, self.shifts, strict=True)):
            _require_on_clock(number, part, self.sessions.values[number] - shift)
        return concatenate_in_time(parts, self.shifts)


def join_sessions(units: Iterable[SpikeTrains]) -> JoinedSessions:
    r"""Sessions with units in common, one after another on one time axis.

    Each session keeps its own order and its gaps, and a time t of session k becomes :math:`t + \delta_k`. The first session
    then starts at 0, and each of the others 10 s after the end of the one before. So epochs of two sessions never touch, no
    history or window crosses from one to the other, and bins begin anew with each.

    Units are matched by their ids: give ids that stand for the same unit in all sessions. A sorter that ran once for each
    session does not give such ids.

    Parameters
    ----------
    units
        A TsGroup for each session, on its own clock, with the time support of its recording. Units may be missing in some.

    Returns
    -------
    JoinedSessions
        `units` and `sessions` on one axis, `observed` for `count_lazily`, and the method `join` for behaviour, stimuli, events
        and trials. Metadata of units that all sessions have are those of the first session with the unit.

    Raises
    ------
    TypeError
        If `units` are not TsGroups.
    ValueError
        If there are fewer than two sessions, or a session has no epoch, no unit, or none that another session has.

    Examples
    --------
    >>> import pynapple as nap
    >>> from popglm.batching import count_lazily
    >>> from popglm.recording import join_sessions
    >>> day = nap.IntervalSet(0, 4)
    >>> spikes = {3: nap.Ts([0.5, 2.5], time_support=day), 8: nap.Ts([1.5], time_support=day)}
    >>> monday = nap.TsGroup(spikes, time_support=day)
    >>> tuesday = nap.TsGroup({3: nap.Ts([100.5, 101.5])}, time_support=nap.IntervalSet(100, 102))
    >>> joined = join_sessions([monday, tuesday])
    >>> joined.sessions.values.tolist(), joined.shifts.tolist()
    ([[0.0, 4.0], [14.0, 16.0]], [0.0, -86.0])
    >>> counts = count_lazily(joined.units, 1.0, observed=joined.observed)
    >>> counts[:].T.tolist()
    [[1.0, 0.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0, nan, nan]]
    >>> joined.sessions.in_interval(counts.timeline).tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """
    groups = _require_sessions(units)
    spans = np.array([time_span(group.time_support) for group in groups])
    ends = np.cumsum(spans[:, 1] - spans[:, 0] + GAP)
    # a whole number of nanoseconds, as the times of pynapple
    shifts = np.round(np.append(0, ends[:-1]) - spans[:, 0], 9)
    ids = sorted({unit for group in groups for unit in group})
    holders = {unit: [k for k, group in enumerate(groups) if unit in group] for unit in ids}
    supports = [group.time_support for group in groups]
    choose = lambda parts, chosen: concatenate_in_time([parts[k] for k in chosen], shifts[chosen])
    trains = [np.concatenate([groups[k][unit].t + shifts[k] for k in holders[unit]]) for unit in ids]
    joined = make_ts_group(trains, ids, choose(supports, range(len(groups))))
    joined.set_info(first_metadata(groups))
    return JoinedSessions(
        units=joined,
        sessions=make_epochs(spans[:, 0] + shifts, spans[:, 1] + shifts),
        observed={unit: choose(supports, holders[unit]) for unit in ids},
        shifts=shifts,
    )


def _require_sessions(units: Any) -> list:
    """Require two sessions at least, each with a unit that another has, or there is nothing to fit in one model."""
    groups = [require_ts_group(group) for group in units]
    if len(groups) < 2:
        raise ValueError(f"`units` must be a list of the TsGroups of at least two sessions; got {len(groups)}.")
    for number, group in enumerate(groups):
        if not len(group.time_support):
            fix = "Make it with `time_support=epochs`, when the session was recorded."
            raise ValueError(f"`units` must have a time support; that of session {number} is empty. {fix}")
        others = {unit for other in groups[:number] + groups[number + 1 :] for unit in other}
        if not others & set(group):
            own, known = list_names(list(group), None), list_names(sorted(others), None)
            came = f"session {number} has {own}, the others {known}"
            fix = "Give a unit the same id in all sessions, `group_spikes({id: times}, epochs)`; else fit each session alone."
            raise ValueError(f"units are matched by their ids, and each session must share one; {came}. {fix}")
    return groups


def _require_one_kind(parts: list) -> None:
    """Require objects of pynapple of one kind, frames of the same columns."""
    kinds = [_describe_kind(number, part) for number, part in enumerate(parts)]
    for number, (kind, columns) in enumerate(kinds):
        first, first_columns = kinds[0]
        if kind != first:
            raise TypeError(f"`series` must be of one kind; session 0 has a {first}, session {number} a {kind}.")
        if columns != first_columns:
            came = f"session 0 has {first_columns}, session {number} has {columns}"
            fix = "Select the same columns in the same order: `frame[columns]`."
            raise ValueError(f"`series` must have the same columns; {came}. {fix}")


def _describe_kind(number: int, part: Any) -> tuple:
    """Name of the class and columns of an object of pynapple; raise if it is none that has one time axis."""
    kind = describe_kind(part)
    if kind is None:
        fix = "Join the members of a TsGroup one by one; make an array a Tsd with the times of its samples."
        raise TypeError(f"`series` must be {FORM}; got {type(part).__name__} for session {number}. {fix}")
    return kind


def _require_on_clock(number: int, part: Any, session: np.ndarray) -> None:
    """Require a series that does not reach into the sessions before and after."""
    start, end = time_span(part)
    if start < session[0] - GAP / 2 or end > session[1] + GAP / 2:
        came = f"that of session {number} goes from {start:.10g} to {end:.10g} s"
        within = f"the session from {session[0]:.10g} to {session[1]:.10g} s"
        fix = "Put it on the clock of the spikes, or leave the rest out: `series.restrict(units.time_support)`."
        raise ValueError(f"a series must lie within {GAP / 2:g} s of its session; {came}, {within}. {fix}")
