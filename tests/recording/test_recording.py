"""Spike times in every form that files have become the same units; what cannot be right is refused, what is lost is counted."""

import warnings

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from messages import assert_refused

from popglm.batching import count_lazily
from popglm.recording import group_spikes

RATE = 30_000
EPOCHS = nap.IntervalSet([0.0, 60.0], [50.0, 100.0])
IDS = [2, 7, 40]


def draw_samples(seed=0, epochs=EPOCHS):
    """Samples of three units inside the epochs, by id; ids have gaps, as after a sorter has merged some."""
    rng, starts, lengths = np.random.default_rng(seed), epochs.start, epochs.end - epochs.start
    trains = {}
    for unit, n in zip(IDS, (300, 1, 50), strict=True):
        epoch = rng.integers(len(starts), size=n)
        trains[unit] = np.sort(np.round((starts[epoch] + rng.uniform(size=n) * lengths[epoch]) * RATE)).astype(
            np.uint64
        )
    return trains


def flat(trains):
    """One array of times in order, and the unit of each."""
    times, ids = np.concatenate(list(trains.values())), np.repeat(list(trains), [len(t) for t in trains.values()])
    order = np.argsort(times, kind="stable")
    return times[order], ids[order]


def assert_units(units, trains, ids=None):
    assert list(units.index) == list(trains if ids is None else ids)
    np.testing.assert_array_equal(units.time_support.values, EPOCHS.values)
    for unit, train in zip(units.index, trains.values(), strict=True):
        np.testing.assert_allclose(units[unit].t, train / RATE, atol=1e-9)
        np.testing.assert_array_equal(units[unit].time_support.values, EPOCHS.values)


def cell(arrays, shape):
    """A cell of MATLAB as SciPy reads it."""
    out = np.empty(len(arrays), object)
    out[:] = arrays
    return out.reshape(shape)


TRAINS = draw_samples()
TIMES, UNITS = flat(TRAINS)
FORMS = {
    "arrays": (TIMES, UNITS, IDS),
    "columns": (TIMES[:, None], UNITS[:, None].astype(np.int32), IDS),
    "rows of doubles": (TIMES[None].astype(float), UNITS[None].astype(float), IDS),
    "lists": (TIMES.tolist(), UNITS.tolist(), IDS),
    "columns of a table": (pd.Series(TIMES, index=TIMES % 7), pd.Series(UNITS), IDS),
    "by unit": (TRAINS, None, IDS),
    "series": (pd.Series(TRAINS), None, IDS),
    "series of unsigned ids": (pd.Series(list(TRAINS.values()), index=np.array(IDS, np.uint8)), None, IDS),
    "a list": (list(TRAINS.values()), None, range(3)),
    "a row of cells": (cell([t[None] for t in TRAINS.values()], (1, 3)), None, range(3)),
    "a column of cells": (cell([t[:, None] for t in TRAINS.values()], (3, 1)), None, range(3)),
    "cells squeezed to a number": ([t.squeeze() for t in TRAINS.values()], None, range(3)),
    "a generator": ((t for t in TRAINS.values()), None, range(3)),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_units(name):
    times, ids, expected = FORMS[name]
    assert_units(group_spikes(times, EPOCHS, ids, sampling_rate=RATE), TRAINS, expected)


@pytest.mark.parametrize("empty", [np.zeros(0), np.zeros((0, 0)), [], np.zeros((1, 0), np.uint8)], ids=str)
def test_every_form_of_a_silent_unit_is_a_unit_without_spikes(empty):
    units = group_spikes({0: [0.5, 1.5], 4: empty}, EPOCHS)
    assert len(units[4]) == 0 and units.index.tolist() == [0, 4]
    assert np.asarray(count_lazily(units, 1.0)).sum(0).tolist() == [2, 0]
    assert units.count(1.0).values.sum(0).tolist() == [2, 0]
    only = group_spikes([empty], EPOCHS)
    assert len(only) == 1 and len(only[0]) == 0


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint64, np.float32])
def test_seconds_have_all_digits_of_the_samples(dtype):
    """Whatever the file stored: no overflow, no rounding to single precision."""
    samples = np.array([1, 20_000, 40_001, 65_535], dtype)
    times = group_spikes([samples], nap.IntervalSet(0, 7), sampling_rate=10_000)[0].t
    np.testing.assert_array_equal(times, np.array([0.0001, 2.0, 4.0001, 6.5535]))


def test_units_are_kept_by_id():
    for times, ids, _ in (FORMS["arrays"], FORMS["by unit"], FORMS["series"]):
        for keep in ([40, 2], np.array([2, 40, 40]), pd.Index([2, 40])):
            units = group_spikes(times, EPOCHS, ids, sampling_rate=RATE, keep=keep)
            assert_units(units, {unit: TRAINS[unit] for unit in (2, 40)})


def test_spikes_in_each_bin_are_those_of_the_file():
    units = group_spikes(TIMES, EPOCHS, UNITS, sampling_rate=RATE)
    counts = units.count(0.5)
    assert len(counts) == 180
    for column, unit in enumerate(IDS):
        for (start, end), rows in zip(EPOCHS.values, (slice(0, 100), slice(100, 180)), strict=True):
            expected, _ = np.histogram(TRAINS[unit] / RATE, np.arange(start, end + 0.25, 0.5))
            np.testing.assert_array_equal(counts.values[rows, column], expected)


OUTSIDE = np.array([-1.0, 1.0, 2.0, 55.0, 70.0, 120.0, 130.0])


def test_spikes_outside_the_epochs_are_counted():
    """Before, after and between; also one that lies where pynapple shortens an epoch that touches the next."""
    where = "1 before 0 s, 2 after 100 s, 1 between epochs; unit 5 loses most, 4"
    message = r"4 of 10 spikes \(40 %\) lie outside .*: " + where
    with pytest.warns(RuntimeWarning, match=message) as caught:
        units = group_spikes({3: [0.5, 50.0, 60.0], 5: OUTSIDE}, EPOCHS)
    assert caught[0].filename == __file__
    assert [len(units[n]) for n in units] == [3, 3]
    touching = nap.IntervalSet([0.0, 60.0], [60.0 - 1e-6, 100.0])
    with pytest.warns(RuntimeWarning, match=r"1 of 3 spikes .* 0 before 0 s, 0 after 100 s, 1 between epochs"):
        group_spikes({3: [0.5, 60.0 - 5e-7, 61.0]}, touching)


def test_spikes_in_a_corner_of_the_recording_are_said():
    with pytest.warns(
        RuntimeWarning, match=r"all 300 spikes lie between .* s, 0.003\d* % of the 100 s.*leave out `sampling"
    ):
        group_spikes([TRAINS[2] / RATE], EPOCHS, sampling_rate=RATE)
    with pytest.warns(RuntimeWarning, match=r"all 40 spikes lie between 1 and 3 s, 2 % of the 100 s of `epochs`\.$"):
        group_spikes([np.linspace(1, 3, 40)], EPOCHS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group_spikes([np.linspace(1, 7, 40)], EPOCHS)
        group_spikes([[1.5, 1.6]], EPOCHS)


SECONDS = [0.25, 1.5, 70.0]
REFUSED = {
    "samples without a rate": (
        lambda s: group_spikes(TIMES, EPOCHS, UNITS), ValueError,
        r"must be in seconds; all are whole numbers up to \d+, as samples or milliseconds are. Give `sampling_rate`: 30_000",
    ),
    "samples as doubles": (
        lambda s: group_spikes({0: TRAINS[2].astype(float)}, EPOCHS), ValueError, "all are whole numbers up to"
    ),
    "milliseconds": (
        lambda s: group_spikes([TRAINS[2] / 30.0], EPOCHS), ValueError,
        r"lie outside: .*; the last is at 9\d+\.?\d* s. They look like milliseconds: give `sampling_rate=1000`",
    ),
    "another rate": (
        lambda s: group_spikes([TRAINS[2]], EPOCHS, sampling_rate=1000), ValueError,
        "Give `sampling_rate` if times are samples",
    ),
    "another clock": (
        lambda s: group_spikes([np.array(SECONDS) + 1000], EPOCHS), ValueError,
        r"3 of 3 spikes \(100 %\) lie outside: 0 before 0 s, 3 after 100 s.*on one clock.*`units.restrict\(part\)`",
    ),
    "before the clock": (lambda s: group_spikes([np.array(SECONDS) - 1000], EPOCHS), ValueError, "3 before 0 s"),
    "a clock that starts again": (
        lambda s: group_spikes({7: [0.5, 9.5, 0.25, 8.5]}, EPOCHS), ValueError,
        r"unit 7 has 9.500000 s before 0.250000 s \(1 such steps\). If the clock starts again .* overflowed, .* sort them",
    ),
    "an overflow": (
        lambda s: group_spikes([np.array([500, 1000, 1500], np.uint16) * np.uint16(60)], EPOCHS, sampling_rate=RATE),
        ValueError, "times of a unit must increase; unit 0 has",
    ),
    "rows that end in zeros": (
        lambda s: group_spikes(np.array([[0.5, 1.5, 2.5], [0.75, 0.0, 0.0]]), EPOCHS), ValueError,
        "unit 1 has 0.750000 s before 0",
    ),
    "rows that end in NaN": (
        lambda s: group_spikes(np.array([[0.5, 1.5, 2.5], [0.75, np.nan, np.nan]]), EPOCHS), ValueError,
        r"times of unit 1 must be finite; 2 of 3 are NaN or infinite.*row\[np.isfinite",
    ),
    "ids of another length": (
        lambda s: group_spikes(SECONDS, EPOCHS, [1, 2]), ValueError, "as many; got 3 times and 2 ids"
    ),
    "ids and times by unit": (lambda s: group_spikes(TRAINS, EPOCHS, UNITS), TypeError, "got times by unit. Leave out `ids`"),
    "ids and a list by unit": (
        lambda s: group_spikes(list(TRAINS.values()), EPOCHS, UNITS), TypeError, "got times by unit"
    ),
    "ids of two levels": (lambda s: group_spikes({(0, 1): SECONDS}, EPOCHS), ValueError, "must be whole numbers, as pynapple"),
    "ids that are names": (
        lambda s: group_spikes({"a": SECONDS}, EPOCHS), ValueError,
        "must be whole numbers, as pynapple .* got .*'a'.*the names later",
    ),
    "ids between numbers": (lambda s: group_spikes(SECONDS, EPOCHS, [1, 1.5, 2]), ValueError, "must be whole numbers"),
    "ids that come twice": (
        lambda s: group_spikes(pd.Series([SECONDS, SECONDS], index=[4, 4]), EPOCHS), ValueError,
        "unique; 4 came more than once",
    ),
    "one array without ids": (
        lambda s: group_spikes(np.array(SECONDS), EPOCHS), TypeError,
        r"one array for each unit; got 3 numbers. Give `ids`.*\[times\]",
    ),
    "cells of units by trials": (
        lambda s: group_spikes(cell([SECONDS] * 6, (2, 3)), EPOCHS), ValueError,
        r"one axis, the units; got shape \(2, 3\).*start of each trial",
    ),
    "a cell in a cell": (
        lambda s: group_spikes([cell([SECONDS, SECONDS[:2]], (1, 2))], EPOCHS), TypeError,
        "array of object. A cell or an object",
    ),
    "a table of one unit": (lambda s: group_spikes([np.ones((2, 3))], EPOCHS), ValueError, r"one axis; got shape \(2, 3\)"),
    "words": (lambda s: group_spikes([["a", "b"]], EPOCHS), TypeError, "must be numbers; got an array of <U1"),
    "keep of another unit": (
        lambda s: group_spikes(TIMES, EPOCHS, UNITS, sampling_rate=RATE, keep=[0, 2]), ValueError,
        r"no spikes of unit 0 came, but of units 2, 7, 40. Leave out .*merged away .*not positions",
    ),
    "keep as a mask": (
        lambda s: group_spikes(TIMES, EPOCHS, UNITS, keep=[True, False, True]), ValueError, "`keep` must be whole .*not a mask"
    ),
    "keep of nothing": (lambda s: group_spikes(TIMES, EPOCHS, UNITS, keep=[]), ValueError, "at least one unit; got none"),
    "no units": (lambda s: group_spikes({}, EPOCHS), ValueError, "at least one unit; got none"),
    "epochs as a pair": (
        lambda s: group_spikes([SECONDS], (0, 100)), TypeError, "`epochs` must be a pynapple IntervalSet; got tuple"
    ),
    "a rate of 0": (
        lambda s: group_spikes([TRAINS[2]], EPOCHS, sampling_rate=0), ValueError,
        "`sampling_rate` must be a finite number above 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_was_expected_what_came_and_the_fix(s, name):
    assert_refused(s, *REFUSED[name])
