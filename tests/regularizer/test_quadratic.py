"""Laws of quadratic penalties: eigenvectors and eigenvalues of every part, null spaces, and what each part does not see."""

import numpy as np
import pytest

from popglm.regularizer import (
    ElasticNet,
    GroupLasso,
    Lasso,
    Mixed,
    QuadraticParts,
    Regularizer,
    Ridge,
    Smoothness,
    UnRegularized,
)


def difference_matrix(size, order, cyclic):
    """Differences of adjacent coefficients, one order after the other, by the definition."""
    matrix = np.eye(size)
    for _ in range(order):
        if cyclic:
            matrix = np.array([matrix[(i + 1) % size] - matrix[i] for i in range(size)])
        else:
            matrix = np.array([matrix[i + 1] - matrix[i] for i in range(len(matrix) - 1)]).reshape(-1, size)
    return matrix


def null_space(S):
    """Projector on all coefficients that a quadratic form does not see."""
    values, vectors = np.linalg.eigh(S)
    unseen = vectors[:, values < 1e-9]
    return unseen @ unseen.T


def hessian_by_hand(shape, order, cyclic, ridge, select, strengths):
    """Hessian of one input's penalty, from the definition: sums over lines of a grid in each direction."""
    n, H = int(np.prod(shape)), 0
    grid, seen = np.arange(n).reshape(shape), np.zeros((n, n))
    for axis, (size, is_cycle, s) in enumerate(zip(shape, cyclic, strengths, strict=False)):
        D, S = difference_matrix(size, order, is_cycle), np.zeros((n, n))
        for line in np.moveaxis(grid, axis, -1).reshape(-1, size):
            S[np.ix_(line, line)] += D.T @ D
        seen += S
        H = H + s * (S if select else S + ridge * np.eye(n))
    return H + strengths[len(shape)] * null_space(seen) if select else H


INPUTS = [((8,), (False,)), ((7,), (True,)), ((2,), (False,)), ((1,), (True,)), ((5, 4), (False, True))]
INPUTS += [((3, 4, 2), (True, False, False))]


@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("shape", "cyclic"), INPUTS, ids=str)
def test_parts_are_the_hessian_by_definition(shape, cyclic, order, select):
    n, rng = int(np.prod(shape)), np.random.default_rng(0)
    penalty = Smoothness((shape,), order, (cyclic,), 0.01, select)
    U, D, group, _, labels = parts = penalty.quadratic_parts(n)
    strengths = rng.uniform(0.1, 2, len(labels))
    assert isinstance(parts, QuadraticParts) and penalty.n_parts(n) == len(shape) + select and not group.any()
    assert ("null space" in labels) == select and (D >= 0).all()
    wanted = hessian_by_hand(shape, order, cyclic, 0.01, select, strengths)
    np.testing.assert_allclose(U @ np.diag(strengths @ D) @ U.T, wanted, atol=1e-12 * 4**order)
    np.testing.assert_allclose(U.T @ U, np.eye(n), atol=1e-13)
    np.testing.assert_allclose(penalty.hessian(strengths, n), wanted, atol=1e-7)
    w = rng.normal(size=(3, n))
    np.testing.assert_allclose(penalty.gradient(strengths, w), w @ wanted, atol=1e-6)
    np.testing.assert_allclose(penalty.penalty(strengths, w), (w @ wanted * w).sum(1) / 2, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_differences_do_not_see_polynomials_and_the_null_space_is_all_of_them(order):
    n = 12
    _, D, _, _, labels = parts = Smoothness(n, order, select=True).quadratic_parts(n)
    assert labels == ("differences", "null space") and (D[0] == 0).sum() == order
    np.testing.assert_array_equal(D[1], D[0] == 0)
    polynomials = np.vander(np.linspace(-1, 1, n), order)
    differences, unseen = (parts.basis @ np.diag(row) @ parts.basis.T for row in D)
    np.testing.assert_allclose(differences @ polynomials, 0, atol=1e-12 * 4**order)
    np.testing.assert_allclose(unseen @ polynomials, polynomials, atol=1e-12)
    assert np.linalg.matrix_rank(unseen) == order


def test_a_cycle_sees_all_but_the_constant():
    parts = Smoothness(9, 3, cyclic=True, select=True).quadratic_parts(9)
    assert parts.weights[1].sum() == 1
    np.testing.assert_allclose(parts.basis @ np.diag(parts.weights[1]) @ parts.basis.T, np.full((9, 9), 1 / 9))


def test_many_functions_keep_their_null_space():
    """The smallest eigenvalues of third differences of 100 functions are far from round-off: no eigenvector is mixed."""
    parts = Smoothness(100, 3, select=True).quadratic_parts(100)
    seen = parts.weights[0][parts.weights[0] > 0]
    assert len(seen) == 97 and seen.min() > 1e-10
    D = difference_matrix(100, 3, False)
    ratio = np.diag(parts.basis.T @ D.T @ D @ parts.basis)[parts.weights[0] > 0] / seen
    np.testing.assert_allclose(ratio, 1, rtol=1e-4)


MIXTURE = Mixed([Smoothness(6, cyclic=True), Ridge((3, 2)), Smoothness(((4, 3), 5), 1, select=True)])


def test_penalties_side_by_side_are_blocks():
    parts, strengths = MIXTURE.quadratic_parts(28), np.arange(1.0, 9)
    labels = (
        "differences",
        "ridge",
        "ridge",
        "differences 1",
        "differences 2",
        "null space",
        "differences",
        "null space",
    )
    assert parts.labels == labels and parts.group.tolist() == [0, 1, 2, 3, 3, 3, 4, 4]
    H = MIXTURE.hessian(strengths, 28)
    np.testing.assert_allclose(parts.basis @ np.diag(strengths @ parts.weights) @ parts.basis.T, H, atol=1e-6)
    alone = Smoothness(6, cyclic=True), Ridge((3, 2)), Smoothness(((4, 3), 5), 1, select=True)
    at, part = 0, 0
    for penalty, size in zip(alone, (6, 5, 17), strict=True):
        inside, n = slice(at, at + size), penalty.n_parts(size)
        np.testing.assert_allclose(H[inside, inside], penalty.hessian(strengths[part : part + n], size), atol=1e-6)
        H[inside, inside], at, part = 0, at + size, part + n
    assert not H.any()


def test_orders_ridges_and_cycles_of_each_input():
    many = Smoothness((5, 6, 4), order=(1, 2, 3), cyclic=(True, False, True), ridge=(0.0, 0.1, 1.0))
    alone = [Smoothness(5, 1, True, 0.0), Smoothness(6, 2, False, 0.1), Smoothness(4, 3, True, 1.0)]
    wanted, at = np.zeros((15, 15)), 0
    for penalty, size, s in zip(alone, (5, 6, 4), (0.5, 2.0, 3.0), strict=True):
        wanted[at : at + size, at : at + size] = penalty.hessian(s, size)
        at += size
    np.testing.assert_array_equal(many.hessian(np.array([0.5, 2.0, 3.0]), 15), wanted)


def test_a_ridge_has_a_part_for_each_input_or_each_feature():
    np.testing.assert_array_equal(Ridge((2, 3)).quadratic_parts(5).weights, [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(Ridge().quadratic_parts(4).weights, np.eye(4))
    assert UnRegularized().quadratic_parts(4).weights.shape == (0, 4)


class Tuples(Regularizer):
    """A penalty of a user: squares, with a strength for every two features."""

    l2_share = 0.5

    def groups(self, n_features):
        return np.full(n_features // 2, 2)


def test_a_users_own_squares_have_parts():
    parts = Tuples().quadratic_parts(4)
    np.testing.assert_allclose(np.diag([1.0, 2.0] @ parts.weights), Tuples().hessian(np.array([1.0, 2.0]), 4))


@pytest.mark.parametrize("penalty", [Lasso(), ElasticNet(), GroupLasso(2)], ids=repr)
def test_penalties_that_are_no_squares_have_no_parts(penalty):
    with pytest.raises(ValueError, match=f"a sum of squares; {type(penalty).__name__} is none. Use Ridge, Smoothness"):
        penalty.quadratic_parts(4)


@pytest.mark.parametrize(
    "penalty", [Ridge(), Ridge((2, 3)), Smoothness(), Smoothness(((4, 3), 5), 1), MIXTURE], ids=repr
)
def test_a_penalty_prints_as_it_is_written(penalty):
    assert eval(repr(penalty)) == penalty and hash(eval(repr(penalty))) == hash(penalty)
