"""Factors of null models: what they solve, how many there are, and how many bytes they keep."""

import re

import numpy as np
import pytest

from popglm._solver import null_factors
from popglm._solver.hessian import HESSIAN_JITTER
from popglm._solver.null_factors import NullFactors, cholesky, max_eigenvalue
from popglm.glm import PopulationGLM

N, P = 24, 30
CURVATURE = np.geomspace(0.002, 0.5, N)


@pytest.fixture(scope="module")
def matrices():
    """A correlation, and the Hessian of a ridge penalty on features of unlike scales."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(80, P)) + 3 * rng.normal(size=(80, 1))
    return np.corrcoef(rows.T), np.diag(rng.uniform(0.1, 10, P))


@pytest.fixture
def many_coordinates(monkeypatch):
    """No recording of a test has so many features that an eigendecomposition is avoided."""
    monkeypatch.setattr(null_factors, "MAX_SPECTRUM", 0)


def forbid(*args, **kwargs):
    raise AssertionError("an eigendecomposition")


def hessians(matrices, strength):
    correlation, penalty = matrices
    shifted = correlation + HESSIAN_JITTER * np.eye(P)
    return CURVATURE[:, None, None] * shifted + strength[:, None, None] * penalty


@pytest.mark.parametrize("kind", ["none", "one ratio", "few ratios", "spectrum"])
def test_a_solve_is_exact(matrices, kind):
    correlation, penalty = matrices
    strength = {
        "none": np.zeros(N),
        "one ratio": 0.3 * CURVATURE,
        "few ratios": CURVATURE * np.resize([0, 0.1, 1e3], N),
        "spectrum": np.full(N, 0.01),
    }[kind]
    factors = NullFactors(correlation, penalty)
    q = np.random.default_rng(1).normal(size=(N, P))
    expected = np.linalg.solve(hessians(matrices, strength), q[..., None])[..., 0]
    np.testing.assert_allclose(factors.solve(q, CURVATURE, strength), expected, rtol=1e-6, atol=1e-9)


def test_on_the_grid_every_solve_is_within_a_factor_of_the_root_of_two(matrices, many_coordinates, monkeypatch):
    """No eigendecomposition; eigenvalues of a solve times the Hessian say how far it is from the inverse."""
    correlation, penalty = matrices
    strength = np.full(N, 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, "eigh", forbid)
        factors = NullFactors(correlation, penalty)
        inverse = np.stack([factors.solve(np.tile(row, (N, 1)), CURVATURE, strength) for row in np.eye(P)], 1)
    roots = np.linalg.eigvals(inverse @ hessians(matrices, strength))
    np.testing.assert_allclose(inverse, inverse.swapaxes(1, 2), rtol=1e-6, atol=1e-9)  # symmetric, for L-BFGS
    assert np.abs(roots.imag).max() < 1e-6
    assert 1 / np.sqrt(2) - 1e-6 < roots.real.min() < 0.9 < 1.1 < roots.real.max() < np.sqrt(2) + 1e-6


def test_the_factor_of_a_neuron_is_the_same_with_other_neurons(matrices, many_coordinates):
    correlation, penalty = matrices
    q, strength = np.random.default_rng(2).normal(size=(N, P)), np.full(N, 0.01)
    whole = NullFactors(correlation, penalty).solve(q, CURVATURE, strength)
    part = NullFactors(correlation, penalty).solve(q[4:14], CURVATURE[4:14], strength[4:14])
    np.testing.assert_allclose(whole[4:14], part, rtol=1e-12)


@pytest.mark.parametrize("room, at_most", [(np.inf, 9), (4, 4), (1, 2)])
def test_the_bytes_of_all_factors_have_a_limit(matrices, many_coordinates, monkeypatch, room, at_most):
    """A ratio that falls by 250 has 9 steps of 2; those that no neuron has any more are dropped."""
    correlation, penalty = matrices
    monkeypatch.setattr(null_factors, "MAX_SHARED_ENTRIES", room * P**2)
    factors = NullFactors(correlation, penalty)
    for strength in (1e-3, 1e-2, 3.0):
        factors.solve(np.ones((N, P)), CURVATURE, np.full(N, strength))
        used = [array.nbytes for array in factors._cholesky.values()]
        assert sum(used) == 8 * P**2 * len(used)
        assert 1 < len(used) <= at_most


@pytest.mark.parametrize("n_ratios", [1, 3, N])
def test_degrees_of_freedom_are_traces(matrices, n_ratios):
    correlation, penalty = matrices
    strength = CURVATURE * np.resize(np.geomspace(0.01, 10, n_ratios), N)
    shares = np.linalg.solve(hessians(matrices, strength), strength[:, None, None] * penalty)
    found = NullFactors(correlation, penalty).penalised_df(CURVATURE, strength)
    np.testing.assert_allclose(found, np.trace(shares, axis1=1, axis2=2), rtol=1e-6)


def test_the_largest_eigenvalue_of_many_coordinates_is_a_close_bound(matrices, monkeypatch):
    exact = max_eigenvalue(matrices[0])
    assert exact == np.linalg.eigvalsh(matrices[0])[-1]
    monkeypatch.setattr(null_factors, "MAX_SPECTRUM", 0)
    assert exact <= max_eigenvalue(matrices[0]) <= 1.01 * exact


def test_a_matrix_that_is_not_definite_gets_more_jitter_and_then_an_error():
    slightly = np.diag([1.0, 1.0, -5e-4])
    lower = cholesky(slightly.copy, 1e-4)
    np.testing.assert_allclose(lower @ lower.T, slightly + 1e-3 * np.eye(3), atol=1e-12)
    with pytest.raises(np.linalg.LinAlgError, match=re.escape("not positive definite")):
        cholesky(np.diag([1.0, -1.0]).copy, 1e-4)


def test_a_penalised_fit_on_the_grid_has_the_same_optima(many_coordinates):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(2000, 6)) @ rng.normal(size=(6, 6))
    y = rng.poisson(np.geomspace(0.01, 1, 8) * np.exp(0.1 * X[:, :1]), (2000, 8))
    settings = {"regularizer": "Ridge", "regularizer_strength": 1e-2}
    together = PopulationGLM(**settings).fit(X, y)
    assert together.converged_.all()
    alone = np.column_stack([PopulationGLM(**settings).fit(X, y[:, [n]]).coef_ for n in (0, 7)])
    np.testing.assert_allclose(together.coef_[:, [0, 7]], alone, atol=2e-4)
