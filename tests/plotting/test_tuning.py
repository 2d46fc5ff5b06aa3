"""Tuning curves and maps: rates, bands and the time spent are drawn where they belong."""

import matplotlib.pyplot as plt
import numpy as np
import pynapple as nap
import pytest

from popglm import plotting

ANGLE = np.arange(0, 360, 30)
RATE = 0.1 + 0.05 * np.cos(np.deg2rad(ANGLE - 60))


def vertices(collection):
    return np.concatenate([path.vertices for path in collection.get_paths()])


def test_a_curve_is_in_spikes_per_second_with_its_band():
    x, rate = np.linspace(0, 1, 5), np.arange(10.0).reshape(5, 2) / 10
    rate[1, 1] = np.nan
    ax = plotting.tuning_curve(x, rate, (rate / 2, 2 * rate), bin_size=0.02, labels=["a", "b"], xlabel="place (m)")
    for i, line in enumerate(ax.lines):
        np.testing.assert_allclose(line.get_xydata(), np.c_[x, rate[:, i] / 0.02])
        drawn = vertices(ax.collections[i])
        for end in (rate[:, i] / 2, 2 * rate[:, i]):
            known = np.isfinite(end)
            points = np.c_[x, end / 0.02][known]
            assert (np.abs(drawn[:, None] - points).max(2).min(0) < 1e-9).all()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("place (m)", "rate (spikes/s)") and ax.get_ylim()[0] == 0
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert plotting.tuning_curve(x, rate).get_ylabel() == "rate (spikes/bin)"
    assert plotting.tuning_curve(x, rate - 1).get_ylim()[0] < -0.9


@pytest.mark.parametrize("first", [0, 15, -180, -165, 360])
def test_an_angle_is_drawn_over_a_full_circle(first):
    """Wherever the values begin, both ends of the circle have one rate: that between the last and the first point."""
    x = first + ANGLE
    ax = plotting.tuning_curve(x, RATE, (0.9 * RATE, 1.1 * RATE), period=360)
    start, end = ax.get_xlim()
    assert (start % 90, end - start) == (0, 360) and start <= first < start + 90
    at, rate = ax.lines[0].get_data()
    assert at[0] <= start and at[-1] >= end
    np.testing.assert_allclose(np.interp(start, at, rate), np.interp(end, at, rate))
    np.testing.assert_allclose(np.interp(x, at, rate), RATE)
    low, high = (np.sort(vertices(ax.collections[0])[:, i])[[0, -1]] for i in (0, 1))
    np.testing.assert_allclose(low, at[[0, -1]])
    np.testing.assert_allclose(high, [0.9 * RATE.min(), 1.1 * RATE.max()])
    assert ax.get_xticks().tolist() == [start + quarter for quarter in (0, 90, 180, 270, 360)]


def test_a_circle_in_radians_has_its_quarters_as_ticks():
    ax = plotting.tuning_curve(np.deg2rad(ANGLE - 180), RATE, period=2 * np.pi)
    assert [word.get_text() for word in ax.get_xticklabels()] == ["−π", "−π/2", "0", "π/2", "π"]
    ax = plotting.tuning_curve(np.deg2rad(ANGLE), RATE, period=2 * np.pi)
    assert [word.get_text() for word in ax.get_xticklabels()] == ["0", "π/2", "π", "3π/2", "2π"]


def test_a_circle_stays_open_where_nothing_is_known():
    part = slice(0, 7)
    ax = plotting.tuning_curve(ANGLE[part], RATE[part], period=360)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.c_[ANGLE, RATE][part])
    closed = plotting.tuning_curve(np.r_[ANGLE, 360], np.r_[RATE, RATE[0]], period=360)
    assert len(closed.lines[0].get_xdata()) == 13 and closed.get_xlim() == ax.get_xlim() == (0, 360)


@pytest.mark.parametrize("turn", [0, 360, -720])
def test_bars_show_the_time_spent_at_each_value(turn):
    """As NumPy counts it; angles count on their circle, and bins without an angle do not."""
    heading = np.random.default_rng(0).uniform(0, 360, 5000)
    seconds = 0.02 * np.histogram(heading, 36, (0, 360))[0]
    held = np.r_[heading, np.nan] + turn
    ax = plotting.tuning_curve(ANGLE, RATE, occupancy=nap.Tsd(np.arange(5001), held), bin_size=0.02, period=360)
    bars = ax.patches
    assert len(bars) == 36 and bars[0].get_x() == 0 and bars[-1].get_x() + bars[-1].get_width() == 360
    heights = np.array([bar.get_height() for bar in bars])
    np.testing.assert_allclose(heights / heights.max(), seconds / seconds.max())
    assert heights.max() < 0.25  # of the axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [f"time spent, up to {seconds.max():.3g} s"]
    line = plotting.tuning_curve([0, 180, 360], np.full(3, 0.001), occupancy=heading)
    assert line.get_ylim()[1] < 0.01, "bars are not rates"
    assert line.get_legend().get_texts()[0].get_text().endswith(f"up to {seconds.max() / 0.02:.3g} bins")


@pytest.mark.parametrize(
    ("given", "options", "text"),
    [
        (([0, 2, 1], np.ones(3)), {}, "`x` must be numbers that increase"),
        (([0, 1], np.ones(3)), {}, "`rate` must have 2 entries along its first axis, one for each of the points"),
        (([0, 1], np.ones(2), (np.ones(3), np.ones(3))), {}, r"`bands` must have the shape of the rates.*\(2, 1\)"),
        (([0, 1], np.ones(2), (np.ones(2), np.zeros(2))), {}, "Exchange them"),
        (([0, 400], np.ones(2)), {"period": 360}, "`x` must lie in one period, 360; got 0 to 400. Leave out"),
        (([0, 1], np.ones(2)), {"period": 0}, "`period` must be a finite number above 0"),
        (([0, 1], np.ones(2)), {"bin_size": -1}, "`bin_size` must be a finite number above 0"),
        (([0, 1], np.ones(2)), {"occupancy": np.array([5.0, 7])}, "must have values from 0 to 1, as `x` has; got none"),
        (([0, 1], np.ones(2)), {"occupancy": np.ones((3, 2))}, "`occupancy` must be 1-D"),
        (([0, 1], np.ones(2)), {"labels": ["a", "b"]}, "`labels` must hold 1 names, one for each of the curves; got 2"),
    ],
)
def test_a_curve_that_cannot_be_drawn_is_refused(given, options, text):
    with pytest.raises((TypeError, ValueError), match=text):
        plotting.tuning_curve(*given, **options)
    assert not plt.get_fignums(), "a figure was made for nothing"


X, Y = np.linspace(0, 1, 4), np.linspace(0, 3, 6)
MAP = 0.1 + np.outer(X, Y)


@pytest.mark.parametrize("rate", [MAP, MAP.ravel()])
def test_a_map_has_x_to_the_right_and_is_hatched_where_it_is_uncertain(rate):
    """The error is a factor, from the middle of the band to its ends; hatched rates do not stretch the colours."""
    error = np.where(MAP > 2, 2.1, 1.9)
    ax = plotting.tuning_map(
        X, Y, rate, (rate / error.reshape(rate.shape), rate * error.reshape(rate.shape)), bin_size=0.5
    )
    image, hatched = ax.collections
    np.testing.assert_allclose(image.get_array(), MAP.T / 0.5)
    corners = image.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], np.linspace(-1 / 6, 7 / 6, 5))
    np.testing.assert_allclose(corners[:, 0, 1], np.linspace(-0.3, 3.3, 7))
    drawn = {tuple(path.vertices[:4].mean(0).round(6)) for path in hatched.get_paths()}
    assert drawn == {
        (round(x, 6), round(y, 6)) for x, row in zip(X, MAP, strict=True) for y, r in zip(Y, row, strict=True) if r > 2
    }
    assert image.get_clim() == (0, MAP[MAP <= 2].max() / 0.5) and image.colorbar.extend == "max"
    assert image.colorbar.ax.get_ylabel() == "rate (spikes/s)\nhatched: error over ×2"
    for options, extend in (({"max_error": 2.2}, "neither"), ({"max_error": 2.2, "limit": 1}, "max")):
        ax = plotting.tuning_map(X, Y, rate, (MAP / error, MAP * error), **options)
        assert not ax.collections[1].get_paths() and ax.collections[0].colorbar.extend == extend
    assert ax.collections[0].get_clim() == (0, 1)


def test_a_map_without_a_band_is_not_hatched_and_blank_where_it_is_unknown():
    some = np.where(MAP > 2, np.nan, MAP)
    ax = plotting.tuning_map(X, Y, some, xlabel="x (m)", ylabel="y (m)")
    (image,) = ax.collections
    assert np.ma.getmaskarray(image.get_array()).sum() == (MAP > 2).sum()
    assert image.colorbar.ax.get_ylabel() == "rate (spikes/bin)" and (ax.get_xlabel(), ax.get_ylabel()) == (
        "x (m)",
        "y (m)",
    )
    nowhere = plotting.tuning_map(X, Y, MAP, (0 * MAP, 2 * MAP))
    assert len(nowhere.collections[1].get_paths()) == MAP.size and nowhere.collections[0].get_clim() == (0, MAP.max())
    plotting.tuning_map(X, Y, np.full((4, 6), np.nan), (some, some)).figure.canvas.draw()


@pytest.mark.parametrize(
    ("given", "options", "text"),
    [
        ((X, Y, MAP.T), {}, r"`rate` must have shape \(x, y\) = \(4, 6\); got \(6, 4\). Transpose it: rate.T"),
        ((X, Y, MAP[:3]), {}, r"`rate` must have shape \(x, y\) = \(4, 6\), or \(24,\); got \(3, 6\)"),
        ((X, Y, MAP, (MAP, MAP[:2])), {}, r"`bands\[1\]` must have shape"),
        ((X, Y, MAP, (MAP, 0 * MAP)), {}, "Exchange them"),
        ((X, Y, MAP, MAP[0]), {}, "`bands` must be a pair"),
        ((X[::-1], Y, MAP), {}, "`x` must be numbers that increase"),
        ((X, Y, MAP), {"max_error": 1}, "`max_error` must be a finite number above 1"),
    ],
)
def test_a_map_that_cannot_be_drawn_is_refused(given, options, text):
    with pytest.raises((TypeError, ValueError), match=text):
        plotting.tuning_map(*given, **options)
    assert not plt.get_fignums(), "a figure was made for nothing"
