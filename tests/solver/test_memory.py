"""Bytes of the arrays that a fit keeps, and that it uses for moments: the formulas of the page on performance."""

import tracemalloc

import numpy as np
import pytest

from popglm._solver import null_factors
from popglm._solver.ask_tell import ask, initial_state, tell
from popglm._solver.passes import MAX_FACTOR_ENTRIES
from popglm._solver.preconditioner import prepare_problem
from popglm._solver.problem import Objective
from popglm.observation_models import Poisson
from popglm.regularizer import Ridge, UnRegularized

N, P = 30, 120
SETTINGS = {"no penalty": (UnRegularized(), 0.0, 1), "spectrum": (Ridge(), 0.1, 1), "grid": (Ridge(), 0.1, 5)}


def arrays_of(value):
    """All arrays inside records, tuples and dictionaries."""
    if isinstance(value, np.ndarray):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
    if isinstance(value, null_factors.NullFactors):
        parts = vars(value).values()
    return [array for part in parts for array in arrays_of(part)]


def prepare(penalty, strength):
    """Problem of neurons whose rates differ 16 times, from the sums of rows that are gone."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, P))
    moments, mean = (400.0, X.sum(0), X.T @ X), np.geomspace(0.01, 0.16, N)
    objective = Objective(Poisson(), penalty, np.asarray(strength))
    prepared = lambda: prepare_problem(objective, np.ones((N, P)), np.full(N, 400.0), mean, np.log(mean), moments, 1e-7)
    prepared()  # JAX compiles
    tracemalloc.start()
    problem = prepared().problem
    problem.precondition(rng.normal(size=(N, P + 1)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return problem, peak


@pytest.mark.parametrize("kind", SETTINGS)
def test_bytes_follow_the_formula_of_the_page(kind, monkeypatch):
    if kind == "grid":
        monkeypatch.setattr(null_factors, "MAX_SPECTRUM", 0)
    penalty, strength, k = SETTINGS[kind]
    problem, peak = prepare(penalty, strength)
    precondition, state = problem.precondition, initial_state(np.zeros((N, P + 1)), np.zeros(N, bool))
    target = np.random.default_rng(1).normal(size=(N, P + 1))
    for _ in range(4):
        tracemalloc.start()
        gradient = ask(state) - target
        state = tell(state, (gradient**2).sum(1) / 2, gradient, precondition, 1e-30, np.ones(N), 1e-7)
        step_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    kept = {id(array): array.nbytes for array in arrays_of((state, precondition))}
    matrix, points = (P + 1) ** 2, N * (P + 1)
    formula = 8 * (20 * points + (2 + k) * matrix)
    assert formula <= sum(kept.values()) <= formula + 8 * (30 * N + 2 * P)
    assert peak <= 8 * (11 + (k if kind == "grid" else 0)) * matrix + 8 * 6 * points  # the Gram matrix was there before
    assert step_peak <= 8 * 30 * points


def test_numbers_of_the_page():
    formula = lambda n, p, k: 8 * (20 * n * (p + 1) + (2 + k) * (p + 1) ** 2)
    assert round(formula(50, 400, 1) / 1e6) == 7 and round(formula(1000, 8000, 1) / 1e9, 1) == 2.8
    assert 8 * MAX_FACTOR_ENTRIES == 160e6 and 8 * null_factors.MAX_SHARED_ENTRIES == 3.2e9
