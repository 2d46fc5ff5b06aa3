"""Figures: what is drawn is what was given, in the units that the axes name."""

import sys
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from matplotlib.axes import Axes
from scipy import stats

from popglm import plotting
from popglm.basis import RaisedCosineLinearConv
from popglm.glm import PopulationGLM
from popglm.inference import uncertainty
from popglm.model_selection import Comparison
from popglm.model_selection._comparison_result import GainSums
from popglm.plotting._axes import MAX_TICKS

Z = np.random.default_rng(0).uniform(size=50)
STRENGTHS = [0.01, 0.1, 1.0]
GAINS = np.random.default_rng(1).normal(size=(6, 3, 4))
SUMS = GainSums(np.full((6, 4), 100.0), np.full((6, 4), 20.0), np.zeros((6, 4)), GAINS, *np.zeros((2, 3, 3, 4)), 2)
COMPARISON = Comparison(("all", "without heading", "rate"), [7, 3, 9, 5], None, SUMS, True)


def lines(ax):
    """The lines with data, without those that mark a value."""
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


def words(axis):
    return [word.get_text() for word in axis.get_ticklabels()]


DRAWN = {
    "compare": (plotting.compare, (COMPARISON,)),
    "calibration": (plotting.calibration, (np.full(40, 0.2), np.ones(40))),
    "peth": (partial(plotting.peth, bin_size=0.1), (np.ones(40), [1.0, 2.0], (-0.5, 0.5))),
    "filters": (plotting.filters, (np.eye(4), np.zeros(4))),
    "coupling_matrix": (plotting.coupling_matrix, (np.eye(3),)),
    "raster": (plotting.raster, ([[0.1, 0.2], [0.3]], ([0.1, 0.2, 0.3], np.ones((3, 2))))),
    "regularisation_path": (plotting.regularisation_path, (STRENGTHS, np.ones((3, 2)))),
    "ks_plot": (plotting.ks_plot, (Z,)),
    "tuning_curve": (partial(plotting.tuning_curve, xlabel="position (unit)"), ([0, 1, 2], np.ones(3))),
    "tuning_map": (partial(plotting.tuning_map, xlabel="x (unit)"), ([0, 1, 2], [0, 1], np.ones((3, 2)))),
}


@pytest.mark.parametrize("style", ["popglm.book", "dark_background", "default"])
@pytest.mark.parametrize("name", [name for name in plotting.__all__ if name != "unit_filters"])
def test_each_draws_on_the_axes_given_or_on_new_ones(name, style):
    draw, given = DRAWN[name]
    with plt.style.context(style):
        _, (left, right) = plt.subplots(1, 2)
        assert draw(*given, ax=left) is left and not right.has_data()
        ax = draw(*given)
        assert isinstance(ax, Axes) and ax.figure is not left.figure
        ax.figure.canvas.draw()
    units = ("(ms)", "(bins)", "(unit)", "(s)", "(nats per bin)", "(probability)", "(spikes/bin)", "(bits per spike)")
    assert ax.get_xlabel().endswith(units) and (ax.get_ylabel() or name == "compare")
    with pytest.raises(TypeError, match=r"`ax` must be an Axes of matplotlib.*got ndarray. Of several, give one"):
        draw(*given, ax=np.array([left, right]))


def test_filters_are_gains_against_milliseconds(basis, population):
    coef = population.coef.reshape(4, 5, 4)[1]
    low, high = population.filters[1] - 0.1, population.filters[1] + 0.2
    ax = plotting.filters(basis.kernel, coef, (low, high), bin_size=0.005, labels=list("abcd"))
    drawn = lines(ax)
    for receiver, line in enumerate(drawn):
        np.testing.assert_allclose(line.get_xdata(), 5.0 * np.arange(1, 41))  # the first row is lag 1
        np.testing.assert_allclose(line.get_ydata(), np.exp(population.filters[1][:, receiver]), rtol=1e-5)
        edges = ax.collections[receiver].get_paths()[0].vertices
        np.testing.assert_allclose(edges[:, 1].max(), np.exp(high[:, receiver]).max(), rtol=1e-5)
        np.testing.assert_allclose(edges[:, 1].min(), np.exp(low[:, receiver]).min(), rtol=1e-5)
    assert len(drawn) == 4 and [text.get_text() for text in ax.get_legend().get_texts()] == list("abcd")
    assert ax.get_xlabel() == "lag (ms)" and list(ax.lines[0].get_ydata()) == [1, 1]


def test_filters_by_lag_are_those_by_kernel(basis):
    coef = np.array([-1.0, 0.5, 0.2, 0.0, 0.1])
    by_kernel = lines(plotting.filters(basis.kernel, coef))[0]
    by_lag = plotting.filters(np.arange(1, 41), basis.kernel @ coef)
    np.testing.assert_allclose(by_kernel.get_xydata(), lines(by_lag)[0].get_xydata())
    assert by_lag.get_xlabel() == "lag (bins)"


@pytest.mark.parametrize(
    ("causality", "ends"), [("causal", [10, 110]), ("acausal", [-50, 50]), ("anti-causal", [-110, -10])]
)
def test_filters_lie_at_their_lags(causality, ends):
    """Whether the basis is given or its kernel; an array made from a kernel of the future does not say where it lies."""
    basis = RaisedCosineLinearConv(4, window_size=11, predictor_causality=causality)
    for kernel in (basis, basis.kernel):
        drawn = plotting.filters(kernel, [0, 1, 0, 0], bin_size=0.01).lines[-1]
        np.testing.assert_allclose(drawn.get_xdata()[[0, -1]], ends)
        np.testing.assert_allclose(drawn.get_ydata(), np.exp(basis.kernel[:, 1]))
    np.testing.assert_array_equal(basis.lags, basis.evaluate_on_grid()[0])
    if causality != "causal":
        with pytest.raises(ValueError, match=r"first row is not lag 1.*filters\(basis.lags, values\)"):
            plotting.filters(basis.kernel[::-1], np.zeros(4))
        assert plotting.filters(basis.lags, basis.kernel[:, 1]).lines[-1].get_xdata()[0] == ends[0] / 10


def test_parts_that_are_not_known_are_not_drawn(population, basis):
    """A silent receiver has no band; the others are drawn as without it."""
    counts = population.counts.values.copy()
    counts[:, 1] = 0
    with pytest.warns(RuntimeWarning, match="neuron 1: no"):
        model = PopulationGLM().fit(X := basis.lazy_features(counts), counts)
        low, high = uncertainty(model, X, counts).bands(basis.kernel)
    coef = model.coef_.reshape(4, 5, 4)[0]
    assert np.isnan(low[0, :-1, 1]).all() and np.isfinite(low[0][:, [0, 2, 3]]).all()
    ax = plotting.filters(basis, coef, (low[0], high[0]))
    bands = [path.get_extents() for band in ax.collections for path in band.get_paths()]
    drawn = [band for band in bands if band.width > 0]
    assert len(drawn) == 3 and len(ax.lines) == 5
    np.testing.assert_allclose([band.ymax for band in drawn], np.exp(high[0][:, [0, 2, 3]]).max(0), rtol=1e-5)
    curves = np.where(np.arange(4) == 1, np.nan, basis.kernel @ coef)
    assert [np.isnan(line.get_ydata()).all() for line in plotting.filters(basis.lags, curves).lines[1:]] == [
        False,
        True,
        False,
        False,
    ]
    path = plotting.regularisation_path([0.1, 1], [[1.0, np.nan], [0.5, np.nan]])
    assert np.isnan(path.lines[2].get_ydata()).all()


class Quantity(np.ndarray):
    """Times with a unit, as the packages quantities and neo have them."""

    units, magnitude = "ms", property(np.asarray)

    def rescale(self, unit):
        """Times in another unit."""
        return (self * {"s": 1e-3}[unit]).view(Quantity)


def test_times_of_spikes_are_seconds_whatever_their_unit():
    for train in (
        np.array([100.0, 400.0]).view(Quantity),
        nap.Ts([100, 400], time_units="ms"),
        nap.Tsd(t=[0.1, 0.4], d=[7, 9]),
    ):
        ax = plotting.raster({7: train})
        np.testing.assert_allclose(ax.collections[0].get_positions(), [0.1, 0.4])
    unknown = np.array([100.0, 400.0]).view(type("Times", (np.ndarray,), {"units": "ticks"}))
    with pytest.raises(TypeError, match="times of unit 7 have units"):
        plotting.raster({7: unknown})


def test_couplings_have_receivers_as_rows_and_0_in_the_middle(population):
    ax = plotting.coupling_matrix(population.filters, units=[7, 8, 9, 11])
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), population.filters.sum(1).T)
    low, high = image.get_clim()
    off = population.filters.sum(1)[~np.eye(4, dtype=bool)]
    assert low == -high and high == np.abs(off).max()
    assert words(ax.xaxis) == words(ax.yaxis) == ["7", "8", "9", "11"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("sender (unit)", "receiver (unit)")
    assert image.colorbar.extend == ("min" if population.filters.sum(1).min() < low else "neither")


def test_couplings_may_be_missing_or_of_other_receivers():
    some = np.array([[1.0, np.nan, 0.0], [0.5, -2.0, 0.0]])
    ax = plotting.coupling_matrix(some, units=(["a", "b"], [1, 2, 3]), limit=1.5, label="weight")
    (image,) = ax.images
    assert image.get_array().shape == (3, 2) and image.get_clim() == (-1.5, 1.5) and image.colorbar.extend == "min"
    assert words(ax.xaxis) == ["a", "b"] and words(ax.yaxis) == ["1", "2", "3"]
    ax = plotting.coupling_matrix(np.eye(2), units=(["a", "b"], ["c", "d"]))  # as in coupling_table
    assert words(ax.xaxis) == ["a", "b"] and words(ax.yaxis) == ["c", "d"]
    assert plotting.coupling_matrix(np.zeros((2, 2))).images[0].get_clim() == (-1, 1)
    assert plotting.coupling_matrix(np.diag([-2.0, -1.0])).images[0].get_clim() == (-2, 2)
    plotting.coupling_matrix(np.full((2, 2), np.nan))


def test_of_many_units_some_are_named():
    ax = plotting.coupling_matrix(np.eye(100), units=np.arange(1000, 1100))
    named = dict(zip(ax.get_xticks(), words(ax.xaxis), strict=True))
    assert len(named) <= MAX_TICKS and all(int(word) == 1000 + at for at, word in named.items())


def test_a_raster_has_the_spikes_of_a_group_and_rates_on_their_bins(basis, population):
    model = PopulationGLM().fit(basis.compute_features(population.counts), population.counts)
    rates = model.predict(basis.compute_features(population.counts)) / 0.005
    ax = plotting.raster(population.units, rates, epoch=(10.0, 12.0))
    for row, (events, unit) in enumerate(zip(ax.collections, population.units, strict=True)):
        times = population.units[unit].t
        np.testing.assert_array_equal(events.get_positions(), times[(times >= 10) & (times <= 12)])
        assert events.get_lineoffset() == row
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), rates.get(10.0, 12.0).values.T)
    np.testing.assert_allclose(image.get_extent(), [10.0, 12.0, -0.5, 3.5], atol=1e-9)
    assert image.colorbar.ax.get_ylabel() == "rate (spikes/s)" and ax.get_xlim() == (10, 12)


def test_rates_are_blank_where_nothing_was_recorded(recording):
    rates = recording / 0.01
    ax = plotting.raster([[0.5]] * 3, (rates.t, rates.values))
    image = ax.images[0].get_array()
    shown = np.isfinite(np.ma.filled(image, np.nan)).all(0)
    at = np.rint((rates.t - rates.t[0]) / 0.01).astype(int)
    assert shown.sum() == len(rates) and shown[at].all()
    np.testing.assert_allclose(image[:, at], rates.values.T)
    np.testing.assert_allclose(ax.images[0].get_extent()[:2], [0.0, 4.5], atol=1e-9)


def test_a_raster_takes_plain_times_and_one_high_bin_makes_no_other_pale():
    rates = np.r_[np.ones(998), 2, 1e6]
    ax = plotting.raster([[0.1, 0.5]], (np.arange(1000) + 0.5, rates))
    assert ax.images[0].get_clim() == (0, 1) and ax.images[0].colorbar.extend == "max"
    assert words(plotting.raster({"b": [0.1], "a": []}).yaxis) == ["b", "a"]
    assert list(plotting.raster(nap.Ts([0.1, 0.2])).collections[0].get_positions()) == [0.1, 0.2]


def test_a_path_has_a_line_for_each_coefficient():
    coef = np.arange(12.0).reshape(3, 2, 2)
    ax = plotting.regularisation_path(STRENGTHS, coef, labels=list("abcd"), chosen=0.1)
    for i, line in enumerate(lines(ax)):
        np.testing.assert_array_equal(line.get_xydata(), np.c_[STRENGTHS, coef.reshape(3, 4)[:, i]])
    assert len(lines(ax)) == 4 and ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*"abcd", "chosen: 0.1"]


@pytest.mark.parametrize("power", [1.0, 1.3, 1.6])
@pytest.mark.parametrize("n", [1, 2, 50, 400])
def test_a_curve_leaves_the_band_where_the_test_rejects(n, power):
    """SciPy's test, exact, decides the same as the figure."""
    z = np.random.default_rng(n).uniform(size=n) ** power
    ax = plotting.ks_plot(z)
    at, share = lines(ax)[-1].get_data()
    np.testing.assert_array_equal(at[1:-1], np.sort(z))
    edges = ax.collections[0].get_paths()[0].vertices
    reach = edges[edges[:, 0] == 0][:, 1].max()
    distance = max(np.abs(share[:-1] - at[:-1]).max(), np.abs(share[:-1] - at[1:]).max())
    assert (distance > reach) == (stats.kstest(z, "uniform", method="exact").pvalue < 0.05)


def test_quantiles_have_the_band_of_their_intervals():
    quantiles = (np.arange(100) + 0.5) / 100
    ax = plotting.ks_plot(quantiles, n=10_000)
    edges = ax.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(edges[edges[:, 0] == 0][:, 1].max(), 1.36 / 100, rtol=0.01)


@pytest.mark.parametrize(
    ("draw", "given", "text"),
    [
        (plotting.filters, (np.eye(4), np.zeros(3)), "`coef` must have 4 entries.*functions of the kernel; got shape"),
        (plotting.filters, ([1, 2, 3], np.zeros(4)), "`coef` must have 3 entries.*for each of the lags"),
        (plotting.filters, ([1, 3, 2], np.zeros(3)), "must be numbers that increase"),
        (plotting.filters, (np.eye(4), np.zeros(4), (np.zeros(4), np.zeros(3))), "each of `bands` must have the shape"),
        (plotting.filters, (np.eye(4), np.zeros(4), (np.ones(4), np.zeros(4))), "Exchange them"),
        (plotting.filters, (np.eye(4), np.zeros(4), np.ones(4)), "`bands` must be a pair"),
        (plotting.filters, (np.eye(4), [0, np.nan, 0, 0]), "`coef` must be finite; got nan"),
        (plotting.coupling_matrix, (np.zeros(4),), r"`coupling` must be 2-D or 3-D; got shape \(4,\)"),
        (plotting.raster, ([],), "at least one unit; got none"),
        (plotting.raster, ([[1.0], [2.0]], ([0.5, 1.5], np.zeros((2, 3)))), "`rates` must have 2 entries.*units"),
        (plotting.raster, ([[1.0]], ([0.5, 1.5], np.zeros((3, 1)))), "`rates` must have 2 entries.*times"),
        (plotting.raster, ([[1.0]], ([1.5, 0.5], np.zeros((2, 1)))), "must be numbers that increase"),
        (plotting.raster, ([[1.0]], np.zeros((2, 1, 1))), "`rates` must be a TsdFrame, or a pair|shape"),
        (plotting.raster, ([[1.0]], ([0, 1, 2, 2.2, 3, 4], np.zeros(6))), "must have bins of one size; after number 2"),
        (plotting.raster, ([[1.0]], ([0, 1e-3, 2e-3, 1e6], np.zeros(4))), r"image of 1e\+09 points. Draw a part"),
        (plotting.regularisation_path, ([0, 1], np.zeros((2, 3))), "`strengths` must be numbers above 0 that increase"),
        (plotting.regularisation_path, (STRENGTHS, np.zeros((2, 3))), "`coef` must have 3 entries"),
        (plotting.ks_plot, ([0.5, 1.2],), "`z` must lie between 0 and 1.*got 0.5 to 1.2"),
        (plotting.ks_plot, ({"a": Z},), r"intervals of one unit.*Give one: z\['a'\]"),
        (plotting.ks_plot, (Z, 0), "`n` must be a positive integer"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, given, text):
    open_before = plt.get_fignums()  # of other tests in this process
    with pytest.raises((TypeError, ValueError), match=text):
        draw(*given)
    assert plt.get_fignums() == open_before, "a figure was made for nothing"


TABLE = pd.DataFrame({"sender": [0, 1], "receiver": [1, 0], "strength": [0.5, -1.0]})


def test_a_part_is_an_interval_and_a_table_becomes_a_matrix():
    part = plotting.raster([[1.0, 2.5, 4.0]], epoch=nap.IntervalSet(2, 3))
    assert part.get_xlim() == (2, 3) and len(part.collections[0].get_positions()) == 1
    both = {7: nap.Ts([0.1, 0.4]), 9: np.array([0.3])}
    for units in (both, list(both.values()), pd.Series(list(both.values()))):
        assert [len(row.get_positions()) for row in plotting.raster(units).collections] == [2, 1]
    ax = plotting.coupling_matrix(TABLE.pivot(index="sender", columns="receiver", values="strength"))
    np.testing.assert_array_equal(ax.images[0].get_array().filled(np.nan), [[np.nan, -1], [0.5, np.nan]])
    named = TABLE.replace({"sender": {0: 12, 1: 3}, "receiver": {0: 12, 1: 3}})
    ax = plotting.coupling_matrix(named.pivot(index="sender", columns="receiver", values="strength"))
    assert [word.get_text() for word in ax.get_xticklabels() + ax.get_yticklabels()] == ["3", "12", "3", "12"]


def test_names_and_epochs_are_checked():
    for use, text in (
        (lambda: plotting.filters(np.eye(4), np.zeros(4), labels=["a", "b"]), "`labels` must hold 1 names.*got 2"),
        (lambda: plotting.filters(np.eye(4), np.zeros(4), labels="a"), "`labels` must be a list of 1 names"),
        (lambda: plotting.coupling_matrix(np.eye(3), units=[1, 2]), "`units` must hold 3 names"),
        (lambda: plotting.coupling_matrix(np.eye(3), limit=0), "`limit` must be a finite number above 0"),
        (lambda: plotting.raster([[1.0]], epoch=(2, 1)), "`epoch` must be a pair"),
        (
            lambda: plotting.raster([[1.0]], epoch=nap.IntervalSet([0, 2], [1, 3])),
            "`epoch` must be a pair.*one interval",
        ),
        (lambda: plotting.raster(np.ones((5, 2))), r"`units` must be spike times.*ndarray of shape \(5, 2\)"),
        (lambda: plotting.raster(nap.Tsd(t=np.arange(3), d=np.ones(3))), r"`units` must be spike times.*Tsd of shape"),
        (lambda: plotting.raster(3), "`units` must be spike times.*got int"),
        (lambda: plotting.raster([0.1, 0.4]), r"`units` must be spike times.*a list of one: \[times\]"),
        (lambda: plotting.coupling_matrix(TABLE), "must be a matrix; got a table.*pivot"),
        (lambda: plotting.raster([[1.0]], ([0.5, 1.5], [1, 1]), epoch=(3, 4)), "at least two bins in the epoch"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            use()


def test_rates_of_other_units_are_refused(population):
    rates = nap.TsdFrame(t=population.counts.t, d=population.counts.values, columns=[3, 2, 1, 0])
    with pytest.raises(
        ValueError, match=r"units as columns, in their order; expected \[0, 1, 2, 3\] and got \[3, 2, 1, 0\]"
    ):
        plotting.raster(population.units, rates)


def test_without_matplotlib_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ImportError, match=r"figures need matplotlib, which is not installed. Run: python -m pip install matplotlib"
    ):
        plotting.ks_plot(Z)
