"""All filters of a unit: each panel shows the gain of its own input, with its name, its units and its band."""

import matplotlib.pyplot as plt
import numpy as np
import pynapple as nap
import pytest

from popglm import plotting
from popglm.basis import (
    BSplineEval,
    CategoryEval,
    CyclicBSplineEval,
    Product,
    RaisedCosineLinearConv,
    RaisedCosineLogConv,
)
from popglm.glm import GLM, PopulationGLM
from popglm.inference import uncertainty

N = 1500
RNG = np.random.default_rng(0)
COUNTS = nap.TsdFrame(t=(np.arange(N) + 0.5) * 0.01, d=RNG.poisson(0.3, (N, 3)), columns=[3, 7, 12])
HEADING, SIDE, X, Y = RNG.uniform(0, 360, N), RNG.integers(0, 2, N), RNG.random(N), RNG.random(N)
CUE = RNG.poisson(0.05, N)
DESIGN = (
    RaisedCosineLogConv(3, 12, label="coupling")
    + CyclicBSplineEval(5, bounds=(0, 360), label="heading")
    + Product(CategoryEval([0, 1]), RaisedCosineLinearConv(4, 9), label="cue")
    + Product(BSplineEval(4, bounds=(0, 1), label="x"), BSplineEval(4, bounds=(0, 1), label="y"), label="place")
    + CategoryEval([0, 1], label="side")
)
INPUTS = COUNTS, HEADING, SIDE, CUE, X, Y, SIDE
TITLES = ["coupling: 3", "coupling: 7", "coupling: 12", "heading", "cue", "place", "side"]


@pytest.fixture(scope="module")
def fit():
    features = DESIGN.lazy_features(*INPUTS)
    model = PopulationGLM(regularizer="Ridge", regularizer_strength=0.01).fit(features, COUNTS)
    return model, uncertainty(model, features, COUNTS)


def test_each_panel_has_the_gain_of_its_input(fit):
    model, errors = fit
    axes = plotting.unit_filters(model, DESIGN, errors, unit=7)
    assert [ax.get_title() for ax in axes] == TITLES
    assert [ax.get_xlabel() for ax in axes] == ["lag (ms)"] * 3 + ["heading", "lag (ms)", "x", "side"]
    coef, coupling = model.coef_[:, 1], DESIGN["coupling"]
    for i in range(3):
        (line,) = axes[i].lines[1:]
        np.testing.assert_allclose(line.get_xdata(), 10.0 * np.arange(1, 13))
        np.testing.assert_allclose(line.get_ydata(), np.exp(coupling.kernel @ coef[3 * i : 3 * i + 3]), rtol=1e-5)
        low, high = errors.bands(coupling.kernel, np.arange(3 * i, 3 * i + 3))
        ends = axes[i].collections[0].get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose([ends.min(), ends.max()], np.exp([low[:, 1].min(), high[:, 1].max()]), rtol=1e-5)
    assert len({ax.get_ylim() for ax in axes[:3]}) == 1 and axes[3].get_ylim() != axes[0].get_ylim()
    at, gain = axes[3].lines[1].get_data()
    assert (at[0], at[-1]) == (0, 360) and gain[0] == pytest.approx(gain[-1])
    assert np.log(gain).mean() == pytest.approx(0, abs=1e-6)
    effect = np.asarray(DESIGN["heading"].compute_features(at)) @ coef[9:14]
    np.testing.assert_allclose(np.log(gain), effect - effect.mean(), atol=1e-5)
    for side, line in enumerate(axes[4].lines[1:]):
        kernel = DESIGN["cue"].bases[1].kernel
        np.testing.assert_allclose(line.get_ydata(), np.exp(kernel @ coef[14 + 4 * side : 18 + 4 * side]), rtol=1e-5)
    assert [text.get_text() for text in axes[4].get_legend().get_texts()] == ["0", "1"]
    image = axes[5].collections[0].get_array()
    assert image.shape == (101, 101) and np.log(image).mean() == pytest.approx(0, abs=1e-6)
    surface = DESIGN["place"].evaluate_on_grid(101)[-1] @ coef[22:38]
    np.testing.assert_allclose(np.log(image), (surface - surface.mean()).T, atol=1e-5)
    points = axes[6].containers[0][0].get_ydata()
    np.testing.assert_allclose(np.log(points), coef[38:] - coef[38:].mean(), atol=1e-5)
    assert [word.get_text() for word in axes[6].get_xticklabels()] == ["0", "1"]


def test_inputs_are_chosen_by_label_or_title(fit):
    model, _ = fit
    titles = lambda inputs: [ax.get_title() for ax in plotting.unit_filters(model, DESIGN, unit=3, inputs=inputs)]
    assert titles(["coupling"]) == titles("coupling") == TITLES[:3]
    assert titles(["side", "coupling: 12"]) == ["coupling: 12", "side"]


def test_panels_are_drawn_on_the_axes_given(fit):
    model, _ = fit
    figure, given = plt.subplots(2, 2)
    axes = plotting.unit_filters(model, DESIGN, unit=12, axes=given, inputs=["coupling"])
    assert axes.tolist() == given.ravel()[:3].tolist() and not given[1, 1].has_data()
    assert not axes[0].collections, "no band without errors"
    new = plotting.unit_filters(model, DESIGN, unit=12)
    assert len(new) == 7 and new[0].figure is not figure and new[0].figure.get_size_inches()[0] == pytest.approx(7)
    new[0].figure.canvas.draw()


@pytest.mark.parametrize("plain", [True, False])
def test_a_single_basis_names_its_inputs(plain):
    """Plain arrays have numbers; a GLM needs no unit, and lags are in bins where the size of a bin is not known."""
    basis = RaisedCosineLogConv(3, 12)
    given = COUNTS.values if plain else COUNTS
    model = GLM().fit(basis.compute_features(given), given[:, 0])
    axes = plotting.unit_filters(model, basis)
    assert [ax.get_title() for ax in axes] == (["0", "1", "2"] if plain else ["3", "7", "12"])
    assert axes[0].get_xlabel() == ("lag (bins)" if plain else "lag (ms)")
    np.testing.assert_allclose(axes[2].lines[1].get_ydata(), np.exp(basis.kernel @ model.coef_[6:]), rtol=1e-5)
    (ax,) = plotting.unit_filters(model, basis, bin_size=0.1, inputs=[axes[1].get_title()])
    assert ax.get_xlabel() == "lag (ms)" and ax.lines[1].get_xdata()[-1] == pytest.approx(1200)


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (
            lambda m, e: plotting.unit_filters(m, DESIGN),
            "`unit` must be one of the 3 neurons.*3, 7, 12; got None",
        ),
        (lambda m, e: plotting.unit_filters(m, DESIGN, unit=1), "`unit` must be one of the 3 neurons.*got 1"),
        (lambda m, e: plotting.unit_filters(PopulationGLM(), DESIGN), "no coefficients yet"),
        (lambda m, e: plotting.unit_filters(e, DESIGN), "`model` must be a GLM or a PopulationGLM; got Uncertainty"),
        (lambda m, e: plotting.unit_filters(m, DESIGN["coupling"], unit=3), "axis 0 must hold"),
        (lambda m, e: plotting.unit_filters(m, 3, unit=3), "`basis` must be the basis of the features; got int"),
        (
            lambda m, e: plotting.unit_filters(m, DESIGN, m, unit=3),
            "`errors` must be the result of inference.uncertainty",
        ),
        (
            lambda m, e: plotting.unit_filters(m, DESIGN, unit=3, inputs=["speed"]),
            "`inputs` must be among coupling: 3.*speed",
        ),
        (lambda m, e: plotting.unit_filters(m, DESIGN, unit=3, inputs=[]), "`inputs` must be among.*got none"),
        (
            lambda m, e: plotting.unit_filters(m, DESIGN, unit=3, axes=[1] * 7),
            "`axes` must be an array of Axes.*got list",
        ),
        (lambda m, e: plotting.unit_filters(m, DESIGN, unit=3, axes=np.array([])), "`axes` must hold 7 Axes.*got 0"),
    ],
)
def test_panels_that_cannot_be_drawn_are_refused(fit, draw, text):
    with pytest.raises((TypeError, ValueError), match=text):
        draw(*fit)
    assert not plt.get_fignums(), "a figure was made for nothing"


def test_inputs_of_three_variables_and_too_many_panels_are_refused():
    three = Product(BSplineEval(4), BSplineEval(4), BSplineEval(4), label="space") + RaisedCosineLogConv(
        3, 9, label="past"
    )
    model = GLM(regularizer="Ridge", regularizer_strength=0.1).fit(three.lazy_features(X, Y, HEADING, CUE), CUE)
    with pytest.raises(ValueError, match=r"of one variable, or of two.*'space' is more. Leave it out: `inputs=`"):
        plotting.unit_filters(model, three)
    assert len(plotting.unit_filters(model, three, inputs=["past"])) == 1
    many = RaisedCosineLogConv(1, 5, enforce_decay_to_zero=True)
    wide = GLM(regularizer="Ridge", regularizer_strength=0.1).fit(many.lazy_features(RNG.poisson(0.3, (N, 31))), CUE)
    with pytest.raises(ValueError, match=r"up to 30 panels; got 31. Choose some: inputs=\['0', '1'\]"):
        plotting.unit_filters(wide, many)
    assert len(plotting.unit_filters(wide, many, inputs=["0", "1"])) == 2
