"""Laws of passes over the neurons that still run: the numbers of full passes, and few functions that are compiled."""

import numpy as np
import pytest

from popglm._solver import active_set, passes
from popglm._solver.active_set import minimise_quadratic
from popglm._sums.losses import of_selected_neurons
from popglm.glm import PopulationGLM

N_BINS, NEURONS = 3_000, 9


@pytest.fixture(scope="module")
def population():
    """Features, and counts of neurons that are modulated more and more, so that they take more and more passes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_BINS, 5))
    w = rng.normal(size=(5, NEURONS)) * np.linspace(0.02, 0.9, NEURONS)
    eta = X @ w
    y = rng.poisson(np.exp(eta - eta.max(0) + 2) * rng.gamma(2, 0.5, eta.shape)).astype(float)
    y[:30, 2] = np.nan  # valid bins of its own
    return X, y


CASES = {
    "plain": {},
    "ridge": {"regularizer": "Ridge", "regularizer_strength": np.linspace(0.001, 0.1, NEURONS)[None]},
    "lasso": {"regularizer": "Lasso", "regularizer_strength": 0.01},
    "dispersion": {"observation_model": "NegativeBinomial"},
}


@pytest.fixture
def widths(monkeypatch):
    """Numbers of neurons that narrow passes compute, of fits that make them from the start."""
    seen = []
    monkeypatch.setattr(passes, "MIN_WASTED_PRODUCTS", 0)

    def count(f, design, model, *args):
        if f in (of_selected_neurons(passes.loss_and_gradient), of_selected_neurons(passes.loss_and_scale_gradient)):
            seen.append(len(args[0]))
        return total(f, design, model, *args)

    total = passes.total
    monkeypatch.setattr(passes, "total", count)
    return seen


def same_fits(a, b):
    """As many passes, and coefficients as near as another order of the sums lets them be."""
    np.testing.assert_array_equal(a.n_iter_, b.n_iter_)
    np.testing.assert_allclose(a.coef_, b.coef_, atol=2e-5)
    np.testing.assert_allclose(a.scale_, b.scale_, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_fit_with_narrow_passes_is_the_fit(population, widths, monkeypatch, name):
    model = lambda: PopulationGLM(**CASES[name])
    narrow = model().fit(*population)
    assert widths and set(widths) <= {3, 5}, "a quarter and half of nine neurons"
    with monkeypatch.context() as patch:
        patch.setattr(passes, "MIN_WASTED_PRODUCTS", np.inf)
        seen = len(widths)
        full = model().fit(*population)
    assert len(widths) == seen
    same_fits(narrow, full)


def test_a_path_with_narrow_passes_is_the_path(population, widths, monkeypatch):
    model, strengths = PopulationGLM(regularizer="Lasso"), np.geomspace(0.001, 0.1, 4)
    narrow = model.fit_path(*population, strengths)
    assert widths
    monkeypatch.setattr(passes, "MIN_WASTED_PRODUCTS", np.inf)
    np.testing.assert_allclose(narrow.coef, model.fit_path(*population, strengths).coef, atol=1e-4)


@pytest.mark.filterwarnings("ignore:neuron")
@pytest.mark.parametrize("name", ["plain", "dispersion"])
def test_a_fit_that_stops_among_narrow_passes_goes_on_with_the_same_bits(population, widths, tmp_path, name):
    fit = lambda **options: PopulationGLM(**CASES[name], **options).fit(
        *population, checkpoint=tmp_path / f"{len(options)}.npz"
    )
    whole = fit()
    stop = int(np.sort(whole.n_iter_)[-2])  # one neuron still runs
    seen = len(widths)
    fit(solver_kwargs={"maxiter": stop})
    assert len(widths) > seen
    (tmp_path / "0.npz").unlink()
    (tmp_path / "1.npz").rename(tmp_path / "0.npz")
    resumed = fit()
    for attribute in ("coef_", "intercept_", "n_iter_", "scale_"):
        np.testing.assert_array_equal(getattr(resumed, attribute), getattr(whole, attribute))


def test_short_fits_have_no_narrow_passes(population, monkeypatch):
    """A compilation costs more than all that their passes could save."""
    forbidden = lambda f: pytest.fail("a narrow pass was compiled")
    monkeypatch.setattr(passes, "of_selected_neurons", forbidden)
    n_iter = PopulationGLM().fit(*population).n_iter_
    assert (n_iter.max() - n_iter).sum() * N_BINS * 5 < passes.MIN_WASTED_PRODUCTS


def test_few_active_coordinates_need_no_proximal_steps(monkeypatch):
    """Their systems are small; others in the same call take the steps, and each ends where it ends alone."""
    from test_active_set import make_problem

    model, group_norms, point, gradient, mask = make_problem("plain")
    few = np.arange(len(point)) < 3
    point = np.where(few[:, None], 0, point)
    cost = np.where(few[:, None] & (group_norms.cost > 0), np.abs(gradient).max(), group_norms.cost)
    group_norms = group_norms._replace(cost=cost)
    stepped = []
    steps = lambda model, *args: stepped.append(len(args[1])) or take(model, *args)
    take = active_set.take_proximal_steps
    monkeypatch.setattr(active_set, "take_proximal_steps", steps)
    end = minimise_quadratic(model, group_norms, point, gradient, mask)
    assert stepped and stepped[0] <= (~few).sum()
    for n in range(len(point)):
        one = np.array([n])
        alone = minimise_quadratic(model.select(one), group_norms.select(one), point[one], gradient[one], mask[one])
        np.testing.assert_allclose(end[n], alone[0], rtol=1e-9, atol=1e-12)
