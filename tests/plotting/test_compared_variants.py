"""A comparison of models is drawn as its numbers: gains, intervals and medians, a row for each variant."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from popglm import plotting
from popglm.model_selection import Comparison
from popglm.model_selection._comparison_result import GainSums

N = 7
RNG = np.random.default_rng(0)
NAMES = ("all", "without a very long name of an input", "rate")
GAINS = RNG.normal(size=(8, 3, N)) + np.linspace(-3, 3, N)
GAINS[:, 0] = 0
SUMS = GainSums(np.full((8, N), 50.0), np.full((8, N), 10.0), -RNG.random((8, N)), GAINS, *np.zeros((2, 3, 3, N)), 3)
RESULT = Comparison(NAMES, [*"abcdefg"], None, SUMS, True)
AREAS = ["ACC", "CA1", "ACC", "ACC", "CA1", "CA1", "CA1"]


def points(ax):
    """Position, height and colour of each point, and True where it is filled."""
    lines = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    filled = [line.get_markerfacecolor() == line.get_color() for line in lines]
    return [
        (x, y, line.get_color(), full) for line, full in zip(lines, filled, strict=True) for x, y in line.get_xydata()
    ]


@pytest.mark.parametrize("groups", [None, AREAS])
@pytest.mark.parametrize("baseline", [None, "rate"])
def test_each_neuron_has_its_gain_and_interval_in_the_row_of_the_variant(baseline, groups):
    ax = plotting.compare(RESULT, baseline, groups=groups)
    base = baseline or "all"
    variants = [name for name in NAMES if name != base]
    assert ax.get_xlabel() == f"gain over {base!r} (bits per spike)" and ax.get_ylim() == (1.5, -0.5)
    words = [word.get_text() for word in ax.get_yticklabels()]
    assert [word.replace("\n", " ") for word in words] == variants
    assert all(len(line) <= 18 for word in words for line in word.split("\n")), "legible on a phone"
    drawn = points(ax)
    segments = np.concatenate([lines.get_segments() for lines in ax.collections])
    for row, name in enumerate(variants):
        table = RESULT.gain(name, base, unit="bits-per-spike").sort_values("gain")
        here = sorted(point for point in drawn if round(point[1]) == row)
        np.testing.assert_allclose([x for x, *_ in here], table["gain"])
        for (_, y, _, filled), low, high in zip(here, table["low"], table["high"], strict=True):
            segment = segments[np.isclose(segments[:, 0, 1], y)]
            np.testing.assert_allclose(segment[0, :, 0], [low, high])
            assert filled == (low > 0 or high < 0)
    assert len({round(y, 6) for _, y, *_ in drawn}) == 2 * N, "no two neurons lie upon each other"


def test_medians_are_those_of_the_groups():
    ax = plotting.compare(RESULT, unit="nats-per-bin", groups=AREAS)
    bars = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 2.5]
    tables = [RESULT.gain(name, "all") for name in NAMES[1:]]
    expected = [table["gain"][np.array(AREAS) == area].median() for table in tables for area in ("ACC", "CA1")]
    np.testing.assert_allclose(sorted(bar.get_xdata()[0] for bar in bars), sorted(expected))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ACC", "CA1"]
    assert {colour for *_, colour, _ in points(ax)} == {"C0", "C1"} and ax.get_xlabel().endswith("(nats per bin)")
    signal = Comparison(NAMES, RESULT.neurons, None, SUMS, counts=False)
    assert plotting.compare(signal).get_xlabel().endswith("(nats per bin)")
    assert plotting.compare(signal).get_legend() is None


def test_a_neuron_without_test_bins_is_left_out():
    bins = SUMS.bins.copy()
    bins[:, 2] = 0
    some = Comparison(NAMES, RESULT.neurons, None, SUMS._replace(bins=bins), counts=False)
    assert sum(np.isfinite(x) for x, *_ in points(plotting.compare(some))) == 2 * (N - 1)
    one = Comparison(NAMES, ["a"], None, GainSums(*(part[..., :1] for part in SUMS[:6]), 3), counts=True)
    assert len(points(plotting.compare(one))) == 2


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (lambda: plotting.compare(RESULT.table()), "`result` must be a Comparison; got DataFrame. Give that of"),
        (lambda: plotting.compare(RESULT, "none"), "`baseline` must be one of 'all'.*got 'none'"),
        (lambda: plotting.compare(RESULT, unit="bits"), "`unit` must be one of.*got 'bits'"),
        (lambda: plotting.compare(RESULT, groups=["ACC"]), "`groups` must hold 7 labels, one for each neuron; got 1"),
    ],
)
def test_a_comparison_that_cannot_be_drawn_is_refused(draw, text):
    with pytest.raises((TypeError, ValueError), match=text):
        draw()
    assert not plt.get_fignums(), "a figure was made for nothing"
