"""Laws of the quadratic models of a step with a non-smooth penalty, and of their minima by active sets."""

import tracemalloc

import numpy as np
import pytest

from popglm._solver import active_set
from popglm._solver.active_set import minimise_quadratic, minimise_with_lasso
from popglm._solver.ask_tell import History
from popglm._solver.hessian import BFGSHessian, InitialHessian
from popglm._solver.proximal import GroupNorms, take_proximal_steps
from popglm.glm import PopulationGLM

NEURONS, COORDINATES = 6, 9
KINDS = ["plain", "penalty", "own factors", "dispersion"]


def make_model(kind, n_neurons=NEURONS, n=COORDINATES, seed=0):
    """Return quadratic models after three moves, each with coordinates that are outside the mask."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3 * n, n)) + rng.normal(size=(3 * n, 1))
    correlation = np.corrcoef(A.T)
    mask = (rng.random((n_neurons, n)) < 0.8).astype(float)
    mask[:, -1] = 1
    own = {}
    if kind == "own factors":
        own = {1: np.linalg.cholesky(np.cov(A.T) * np.outer(mask[1], mask[1]) + np.diag(1 - mask[1]) + 0.1 * np.eye(n))}
    initial = InitialHessian(
        correlation=correlation,
        penalty=np.diag(rng.uniform(0, 1, n)) if kind == "penalty" else None,
        curvature=rng.uniform(0.1, 3, n_neurons),
        strength=rng.uniform(0, 1, n_neurons),
        mask=mask,
        own_factors=own,
        dispersion=rng.uniform(0.5, 2, n_neurons) if kind == "dispersion" else None,
        max_eigenvalue=float(np.linalg.eigvalsh(correlation)[-1]),
    )
    if kind == "dispersion":
        mask = np.column_stack([mask, np.ones(n_neurons)])
    moves = mask * rng.normal(size=(3, *mask.shape))
    none = History(moves, 0 * moves, np.zeros(moves.shape[:2]))
    before = BFGSHessian.from_history(initial, none)
    changes = np.stack([before.product(move) * rng.uniform(0.5, 2) for move in moves])
    curvature = np.einsum("mni,mni->mn", moves, changes)
    history = History(moves, changes, np.where(rng.random(curvature.shape) < 0.8, 1 / curvature, 0))
    return BFGSHessian.from_history(initial, history), mask, rng


def make_problem(kind, **options):
    """Return a model, costs with a free last coordinate, a point with zeros, its gradient, and the mask."""
    model, mask, rng = make_model(kind, **options)
    cost = np.broadcast_to(rng.uniform(0.05, 0.5, (len(mask), 1)), mask.shape).copy()
    cost[:, -1] = 0
    point = mask * rng.normal(size=mask.shape) * (rng.random(mask.shape) < 0.5)
    return model, GroupNorms(cost, np.ones(mask.shape[1], int)), point, mask * rng.normal(size=mask.shape), mask


def minimise(model, group_norms, point, gradient, mask):
    """Minimise by active sets alone."""
    return minimise_with_lasso(model, group_norms.cost, point, gradient, mask, np.zeros(len(point)))


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_and_diagonals_are_those_of_the_products(kind):
    model, mask, _ = make_model(kind)
    n = mask.shape[1]
    columns = np.stack([model.product(np.tile(unit, (len(mask), 1))) for unit in np.eye(n)], 2)
    for neuron, inside in enumerate(mask > 0):
        index, one = np.flatnonzero(inside), np.array([neuron])
        block = columns[neuron][np.ix_(index, index)]
        padded = np.concatenate([index, [0, 0]])[None]
        valid = np.arange(padded.shape[1])[None] < len(index)
        found = model.select(one).blocks(padded, valid)[0]
        np.testing.assert_allclose(found[: len(index), : len(index)], block, atol=1e-12)
        np.testing.assert_allclose(found[len(index) :], np.eye(len(index) + 2)[len(index) :])
        np.testing.assert_allclose(model.diagonal()[neuron, inside], np.diag(block), atol=1e-12)
        assert np.linalg.eigvalsh(block)[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_minimum_meets_its_conditions(kind, monkeypatch):
    monkeypatch.setattr(active_set, "MIN_RELATIVE_GAIN", 0)
    model, group_norms, point, gradient, mask = make_problem(kind)
    end = minimise(model, group_norms, point, gradient, mask)
    slope = gradient + model.product(end - point)
    inside, cost = mask > 0, group_norms.cost
    assert (end[~inside] == point[~inside]).all()
    moved = inside & (end != 0)
    np.testing.assert_allclose(slope[moved], -(cost * np.sign(end))[moved], atol=1e-9)
    assert (np.abs(slope) <= cost * (1 + 1e-8) + 1e-9)[inside & (end == 0)].all()
    assert 0.1 < (end == 0)[inside].mean() < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_it_gains_what_proximal_gradient_steps_gain(kind):
    problem = make_problem(kind)
    model, group_norms, point, gradient, _ = problem
    ends = minimise(*problem), minimise_quadratic(*problem), take_proximal_steps(*problem).end
    gains = [-group_norms.change(gradient + model.product(end - point) / 2, point, end) for end in ends]
    assert (gains[2] > 0).all()
    assert (gains[0] >= 0.995 * gains[2]).all() and (gains[1] >= 0.995 * gains[2]).all()


def test_models_that_proximal_gradient_steps_do_not_finish_are_finished():
    """Features that are nearly alike: thousands of steps, or a system of each neuron."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(200, 1)) + 0.02 * rng.normal(size=(200, 40))
    initial = InitialHessian(np.corrcoef(A.T), None, np.ones(2), np.zeros(2), np.ones((2, 40)), {}, None, 40.0)
    none = np.zeros((1, 2, 40))
    model = BFGSHessian.from_history(initial, History(none, none, none[..., 0]))
    group_norms, zeros = GroupNorms(np.full((2, 40), 1e-4), np.ones(40, int)), np.zeros((2, 40))
    problem = model, group_norms, zeros, -model.product(rng.normal(size=(2, 40))), np.ones((2, 40))
    assert take_proximal_steps(*problem, max_steps=10).gaining.all()
    end = minimise_quadratic(*problem)
    gain, best = (
        -group_norms.change(problem[3] + model.product(at - zeros) / 2, zeros, at)
        for at in (end, take_proximal_steps(*problem, max_steps=20_000).end)
    )
    assert (gain >= best * 0.999).all()


def test_a_neuron_by_itself_has_the_same_minimum():
    model, group_norms, point, gradient, mask = make_problem("plain")
    together = minimise(model, group_norms, point, gradient, mask)
    for neuron in range(NEURONS):
        one = np.array([neuron])
        alone = minimise(model.select(one), group_norms.select(one), point[one], gradient[one], mask[one])
        np.testing.assert_allclose(alone[0], together[neuron], rtol=1e-10, atol=1e-14)


def test_at_the_minimum_nothing_moves():
    model, group_norms, point, _, mask = make_problem("plain")
    pull = -group_norms.cost * np.sign(point)  # at 0 a gradient of 0 is inside its bounds
    end = minimise(model, group_norms, point, mask * pull, mask)
    np.testing.assert_array_equal(end, point)


def test_systems_are_solved_a_few_at_a_time(monkeypatch):
    """Beside the points themselves, memory is that of the blocks that are solved at once."""
    model, group_norms, point, gradient, mask = make_problem("plain", n_neurons=64, n=120)
    monkeypatch.setattr(active_set, "MAX_BLOCK_ENTRIES", 120**2)
    tracemalloc.start()
    few = minimise(model, group_norms, point, gradient, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 120**2 * 8 / 2  # one array of all blocks would be twice this
    monkeypatch.undo()
    np.testing.assert_allclose(minimise(model, group_norms, point, gradient, mask), few, atol=1e-10)


def test_no_neuron_of_a_path_waits_for_others(float64):
    """A neuron in a population with a difficult one takes the passes, and has the coefficients, that it has alone."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(400, 5))
    coef = np.array([[2.0, 0.2, 0.0], [0.0, 0.0, 0.1], [1.0, 0.0, 0.0], [0.0] * 3, [0.0] * 3])
    y = rng.poisson(np.exp(X @ coef - 1)).astype(float)
    model, strengths = PopulationGLM(regularizer="Lasso"), np.geomspace(1e-3, 0.3, 5)
    together = model.fit_path(X, y, strengths)
    assert together.converged.all() and together.n_iter[0].max() >= together.n_iter[0].min() + 5
    for neuron in range(3):
        alone = model.fit_path(X, y[:, [neuron]], strengths)
        np.testing.assert_array_equal(alone.n_iter[:, 0], together.n_iter[:, neuron])
        np.testing.assert_allclose(alone.coef[..., 0], together.coef[..., neuron], atol=1e-10)
