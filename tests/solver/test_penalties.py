"""Laws of the penalties: what an optimum looks like, what a path is, and agreement with other software."""

import decimal

import numpy as np
import pytest
import statsmodels.api as sm
from samples import small_data
from sklearn import linear_model

from popglm._solver.ask_tell import DONE, MAX_REJECTS, RUNNING, STALLED, ask, initial_state, tell
from popglm._solver.proximal import GroupNorms
from popglm.basis import BSplineEval, RaisedCosineLogConv
from popglm.batching import random_windows, sequential_blocks
from popglm.glm import GLM, PopulationGLM
from popglm.observation_models import Gaussian
from popglm.regularizer import ElasticNet, GroupLasso, Lasso, Ridge, Smoothness

PENALTIES = [
    (Ridge(), 0.05),
    (Lasso(), 0.03),
    (ElasticNet(0.7), 0.05),
    (GroupLasso(2), 0.02),
    (GroupLasso((1, 3, 2)), np.array([0.04, 0.01, 0.02])),
    (Smoothness(3), 0.1),
    (Smoothness((4, 2), order=1, cyclic=True, ridge=0.0), np.array([0.05, 0.2])),
]
EACH = pytest.mark.parametrize(
    ("penalty", "strength"), PENALTIES, ids=lambda p: str(p) if hasattr(p, "l2_share") else ""
)
KINKED = [Lasso(), ElasticNet(0.7), GroupLasso(2)]
TIGHT = {"solver_kwargs": {"tol": 1e-16}}


@pytest.fixture
def data():
    """Counts of three neurons that depend on two of six correlated features, and hardly on a third."""
    X, _ = small_data(n_bins=600, n_features=6)
    X[:, 1] += 0.8 * X[:, 0]
    weights = np.zeros((6, 3))
    weights[[0, 3]], weights[5] = [[0.5, -0.4, 0.3], [-0.3, 0.2, 0.4]], 0.05
    return X, np.random.default_rng(5).poisson(np.exp(X @ weights - 1)).astype(float)


def gradient(model, X, y):
    """Gradient of the mean loss in coefficients (neurons, features), by hand."""
    coef = np.asarray(model.coef_, float).reshape(X.shape[1], -1)
    return (X.T @ (np.exp(X @ coef + model.intercept_) - y.reshape(len(y), -1)) / len(y)).T


def test_the_sample_has_zeros_to_find(float64, data):
    model = PopulationGLM(regularizer="Lasso", regularizer_strength=0.03).fit(*data)
    zeros = model.coef_ == 0
    assert zeros[[1, 2, 4, 5]].mean() > 0.6 and not zeros[[0, 3]].any()


@EACH
def test_the_optimum_meets_its_conditions(precision, data, penalty, strength):
    """The gradient of all that is smooth, and of every group's length: a ball where the group is 0."""
    X, y = data
    model = PopulationGLM(regularizer=penalty, regularizer_strength=strength).fit(X, y)
    assert model.converged_.all()
    coef, tol = np.asarray(model.coef_, float).T, 1e-4 if precision == "float32" else 1e-8
    slope = gradient(model, X, y)
    each = np.broadcast_to(strength, penalty.groups(6).shape)
    if isinstance(penalty, Ridge | ElasticNet):
        slope = slope + (1 - getattr(penalty, "l1_ratio", 0)) * strength * coef
    if isinstance(penalty, Smoothness):
        at = 0
        for size, s in zip(penalty.groups(6), each, strict=True):
            D = np.eye(size)
            for _ in range(penalty.order):
                D = np.roll(D, -1, 0) - D if penalty.cyclic else np.diff(D, axis=0)
            slope[:, at : at + size] += s * coef[:, at : at + size] @ (D.T @ D + penalty.ridge * np.eye(size))
            at += size
    if not penalty.l1_share:
        np.testing.assert_allclose(slope, 0, atol=tol)
        return
    starts = np.r_[0, np.cumsum(penalty.groups(6))]
    for start, stop, s in zip(starts, starts[1:], each, strict=False):
        cost = penalty.l1_share * s * np.sqrt(stop - start)
        w, g = coef[:, start:stop], slope[:, start:stop]
        norm = np.linalg.norm(w, axis=1)
        assert (np.linalg.norm(g, axis=1)[norm == 0] <= cost + tol).all()
        on = norm > 0
        np.testing.assert_allclose(g[on], -cost * w[on] / norm[on, None], atol=tol)


@EACH
def test_a_population_equals_its_single_fits(precision, data, penalty, strength):
    X, y = data
    settings = {"regularizer": penalty, "regularizer_strength": strength}
    population = PopulationGLM(**settings).fit(X, y)
    singles = np.stack([GLM(**settings).fit(X, y[:, n]).coef_ for n in range(3)], 1)
    np.testing.assert_allclose(population.coef_, singles, atol=3e-3 if precision == "float32" else 1e-7)


@EACH
def test_a_path_is_its_fits(precision, data, penalty, strength):
    X, y = data
    factors = np.geomspace(0.02, 5, 6)
    base = {"regularizer": penalty, "regularizer_strength": strength if np.ndim(strength) else None}
    path = PopulationGLM(**base).fit_path(X, y, factors)
    assert path.coef.shape == (6, 6, 3) and path.intercept.shape == (6, 3) and path.converged.all()
    for k, factor in enumerate(factors):
        base["regularizer_strength"] = factor * strength if np.ndim(strength) else factor
        model = PopulationGLM(**base).fit(X, y)
        np.testing.assert_allclose(path.coef[k], model.coef_, atol=3e-3 if precision == "float32" else 1e-7)
        np.testing.assert_allclose(path.intercept[k], model.intercept_, atol=3e-3 if precision == "float32" else 1e-7)
        if penalty.l1_share and precision == "float64":
            np.testing.assert_array_equal(path.coef[k] == 0, model.coef_ == 0)


@pytest.mark.parametrize("penalty", KINKED, ids=str)
def test_a_path_begins_where_the_first_coefficient_appears(float64, data, penalty):
    X, y = data
    path = PopulationGLM(regularizer=penalty).fit_path(X, y, n_strengths=5)
    assert path.strengths[-1] == pytest.approx(1000 * path.strengths[0]) and not path.coef[-1].any()
    assert (np.diff((path.coef != 0).sum((1, 2))) <= 0).all() and path.coef[0].all()
    np.testing.assert_allclose(path.intercept[-1], np.log(y.mean(0)))
    for factor, some in ((1.001, False), (0.999, True)):
        model = PopulationGLM(regularizer=penalty, regularizer_strength=factor * path.strengths[-1])
        assert model.fit(X, y).coef_.any() == some


def test_a_path_begins_where_features_without_a_penalty_are_fitted(float64):
    """Two correlated features with effects that nearly cancel, one of them free."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=1000)
    X = np.column_stack([first, 0.95 * first + 0.3 * rng.normal(size=1000), rng.normal(size=(1000, 2))])
    y = rng.poisson(np.exp(0.5 * X[:, :1] - 0.5 * X[:, 1:2] - 1))
    for penalty in (Lasso(), ElasticNet(0.4)):
        path = PopulationGLM(regularizer=penalty, regularizer_strength=np.array([0, 1, 1, 1])).fit_path(
            X, y, n_strengths=6
        )
        assert not path.coef[-1, 1:].any() and path.coef[-1, 0] and path.coef[-2, 1:].any()
    only = PopulationGLM(regularizer="Lasso").fit_path(X, y, n_strengths=1)
    assert only.strengths.shape == (1,) and not only.coef.any()


def three_neurons(seed):
    """Six features, and Poisson counts of three neurons: no overdispersion, or next to none."""
    rng = np.random.default_rng(seed)
    X, weights = rng.normal(size=(2000, 6)), rng.normal(size=(6, 3)) * 0.3
    return X, rng.poisson(np.exp(X @ weights - 1)).astype(float)


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_a_path_of_a_model_with_a_scale_is_its_fits(precision):
    """Neurons whose scale has hardly moved keep the one that their values were computed with."""
    X, y = three_neurons(34)
    model = PopulationGLM("NegativeBinomial", regularizer="Lasso")
    path = model.fit_path(X, y, n_strengths=20)
    assert path.converged.all()
    for k in (0, 5, 10):
        single = model.set_params(regularizer_strength=path.strengths[k]).fit(X, y)
        np.testing.assert_allclose(path.coef[k], single.coef_, atol=5e-4 if precision == "float32" else 1e-6)


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
@pytest.mark.parametrize("seed", [7, 22, 28, 36])
def test_every_strength_of_a_path_converges(float64, seed):
    """Sums of JAX 0.12 and NumPy 2.5 end these in other digits; one strength of each was once taken for stalled there."""
    X, y = three_neurons(seed)
    path = PopulationGLM("NegativeBinomial", regularizer="Lasso").fit_path(X, y, n_strengths=20)
    assert path.converged.all(), np.argwhere(~path.converged)


@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_a_path_drops_factors_of_another_strength(precision):
    """Neurons that needed a Hessian of their own at a strength which is a hundred thousand times another."""
    rng = np.random.default_rng(1)
    position = rng.uniform(0, 1, 4000)
    X = np.asarray(BSplineEval(30).compute_features(position), float)
    swing = 14 * position + 0.3 * np.sin(25 * position)
    y = rng.poisson(np.exp(np.column_stack([swing - 10, 4 - swing]))).astype(float)
    path = PopulationGLM(regularizer=Smoothness(30, ridge=1e-6)).fit_path(X, y, [10.0, 1e6])
    assert path.converged.all()


def test_an_array_of_strengths_for_a_spike_or_none(data):
    X, y = data[0], (data[1] > 0).astype(float)
    one = PopulationGLM("Bernoulli", regularizer="Ridge", regularizer_strength=0.1).fit(X, y)
    for shape in ((6,), (1, 3), (6, 3)):
        model = PopulationGLM("Bernoulli", regularizer="Ridge", regularizer_strength=np.full(shape, 0.1)).fit(X, y)
        np.testing.assert_allclose(model.coef_, one.coef_, atol=1e-3)


def test_a_path_names_neurons_without_an_event_and_those_with_nothing_else(data):
    X, y = data[0], (data[1] > 0).astype(float)
    y[:, 0], y[:, 2] = 0, 1
    with pytest.warns(RuntimeWarning) as caught:
        path = PopulationGLM("Bernoulli", regularizer="Lasso").fit_path(X, y, [0.1])
    first, second = (str(warning.message) for warning in caught)
    assert first.startswith("neuron 0: no event in any") and second.startswith("neuron 2: an event in every")
    assert path.intercept[0, 0] < -5 and path.intercept[0, 2] > 5


def test_a_path_of_one_neuron_has_its_shape(data):
    X, y = data
    path = GLM(regularizer="Lasso").fit_path(X, y[:, 0], [0.01, 0.1])
    assert path.coef.shape == (2, 6) and path.intercept.shape == (2, 1) == path.converged.shape


def test_a_path_takes_few_passes(data):
    """Each strength goes on from all that was learned before it."""
    X, y = data
    path = PopulationGLM(regularizer="Lasso").fit_path(X, y, n_strengths=20)
    assert np.diff(path.n_iter[::-1].max(1)).max() <= 4 and path.n_iter.max() <= 60


@pytest.mark.parametrize("penalty", [Ridge(), Lasso(), ElasticNet(0.3), GroupLasso(3), Smoothness(3)], ids=str)
def test_every_part_and_every_neuron_has_its_strength(float64, data, penalty):
    X, y = data
    n_parts = len(penalty.groups(6))
    strengths = np.random.default_rng(0).uniform(0, 0.1, (n_parts, 3))
    strengths[0] = 0
    together = PopulationGLM(regularizer=penalty, regularizer_strength=strengths).fit(X, y)
    for n in range(3):
        single = GLM(regularizer=penalty, regularizer_strength=strengths[:, n]).fit(X, y[:, n])
        np.testing.assert_allclose(together.coef_[:, n], single.coef_, atol=1e-7)
    row = PopulationGLM(regularizer=penalty, regularizer_strength=strengths[1:2] if n_parts > 1 else strengths).fit(
        X, y
    )
    single = GLM(regularizer=penalty, regularizer_strength=strengths[1, 2]).fit(X, y[:, 2])
    np.testing.assert_allclose(row.coef_[:, 2], single.coef_, atol=1e-7)


def test_what_costs_nothing_is_as_without_a_penalty(float64, data):
    X, y = data
    free = PopulationGLM().fit(X, y)
    for penalty in (Lasso(), GroupLasso(3), Smoothness(2)):
        held = PopulationGLM(regularizer=penalty, regularizer_strength=0).fit(X, y)
        np.testing.assert_allclose(held.coef_, free.coef_, atol=1e-7)
    strong = np.r_[np.zeros(3), np.full(3, 10.0)]  # features that cannot afford to be there
    some = PopulationGLM(regularizer="Lasso", regularizer_strength=strong).fit(X, y)
    np.testing.assert_allclose(some.coef_[:3], PopulationGLM().fit(X[:, :3], y).coef_, atol=1e-7)
    assert not some.coef_[3:].any()


def test_equal_to_scikit_learn(float64, data):
    X, y = data[0], data[0] @ np.arange(6.0) / 3 + data[1][:, 0]
    for ours, theirs in (
        (Lasso(), linear_model.Lasso(0.1, tol=1e-12)),
        (ElasticNet(0.3), linear_model.ElasticNet(0.1, l1_ratio=0.3, tol=1e-12)),
    ):
        model = GLM("Gaussian", regularizer=ours, regularizer_strength=0.1).fit(X, y)
        expected = theirs.fit(X, y)
        np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-7)
        np.testing.assert_allclose(model.intercept_, expected.intercept_, atol=1e-7)
    spikes = (data[1][:, 0] > 0).astype(float)
    expected = linear_model.LogisticRegression(
        C=1 / (0.02 * len(X)), l1_ratio=1, solver="saga", tol=1e-10, max_iter=20000, random_state=0
    ).fit(X, spikes)
    model = GLM("Bernoulli", regularizer="Lasso", regularizer_strength=0.02).fit(X, spikes)
    np.testing.assert_allclose(model.coef_, expected.coef_[0], atol=1e-6)


def test_equal_to_statsmodels(float64, data):
    X, y = data
    alpha = np.r_[0, np.full(6, 0.04)]
    glm = sm.GLM(y[:, 0], sm.add_constant(X), family=sm.families.Poisson())
    for penalty, ratio in ((Lasso(), 1.0), (ElasticNet(0.4), 0.4)):
        expected = glm.fit_regularized(alpha=alpha, L1_wt=ratio, cnvrg_tol=1e-12, maxiter=2000, zero_tol=1e-12).params
        model = GLM(regularizer=penalty, regularizer_strength=0.04).fit(X, y[:, 0])
        np.testing.assert_allclose(np.r_[model.intercept_, model.coef_], expected, atol=2e-6)


def test_groups_of_one_are_the_lasso(float64, data):
    X, y = data
    lasso, groups = (
        PopulationGLM(regularizer=p, regularizer_strength=0.03).fit(X, y) for p in (Lasso(), GroupLasso(1))
    )
    np.testing.assert_allclose(groups.coef_, lasso.coef_, atol=1e-9)


def test_groups_are_shrunk_as_a_whole(float64):
    """With uncorrelated features of unit variance and a Gaussian, the optimum is known."""
    rng = np.random.default_rng(1)
    X = np.linalg.qr(rng.normal(size=(400, 5)) - 0)[0]
    X = np.linalg.qr(X - X.mean(0))[0] * 20
    y = X @ [1.0, -2.0, 0.1, 0.1, 0.05] + rng.normal(size=400)
    free = X.T @ (y - y.mean()) / 400
    expected, s = free.copy(), 0.2
    for some in (slice(0, 2), slice(2, 5)):
        size = s * np.sqrt(len(free[some])) / np.linalg.norm(free[some])
        expected[some] *= max(0, 1 - size)
    model = GLM("Gaussian", regularizer=GroupLasso((2, 3)), regularizer_strength=s).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected, atol=1e-8)
    assert model.coef_[:2].all() and not model.coef_[2:].any()


def test_no_direction_of_a_group_is_favoured(float64, data):
    """A rotation of the features of a group rotates its coefficients, whatever their variances."""
    X, y = data[0] * [1, 3, 0.2, 1, 1, 5], data[1]
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    turned = np.column_stack([X[:, :3] @ turn, X[:, 3:]])
    model, other = (PopulationGLM(regularizer=GroupLasso(3), regularizer_strength=0.01).fit(x, y) for x in (X, turned))
    np.testing.assert_allclose(other.coef_[:3], turn.T @ model.coef_[:3], atol=1e-7)


def test_smoothness_is_its_normal_equations(float64):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 8)), rng.normal(size=300)
    D = np.diff(np.eye(8), 2, axis=0)
    centred = X - X.mean(0)
    expected = np.linalg.solve(centred.T @ centred / 300 + 0.5 * D.T @ D, centred.T @ (y - y.mean()) / 300)
    model = GLM("Gaussian", regularizer=Smoothness(8, ridge=0.0), regularizer_strength=0.5).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected, atol=1e-8)


def test_very_smooth_is_a_straight_line_or_a_circle_of_one_value(float64):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 8)), rng.poisson(1.0, 300)
    line = GLM(regularizer=Smoothness(8, ridge=0.0), regularizer_strength=1e6).fit(X, y).coef_
    np.testing.assert_allclose(np.diff(line, 2), 0, atol=1e-5)
    assert abs(line[1] - line[0]) > 1e-3
    circle = GLM(regularizer=Smoothness(8, cyclic=True, ridge=0.0), regularizer_strength=1e6).fit(X, y).coef_
    np.testing.assert_allclose(circle, circle.mean(), atol=1e-5)


def test_smoothness_follows_a_curve_that_many_functions_alone_do_not(float64):
    """Against the truth: forty splines, few spikes."""
    position = np.random.default_rng(1).uniform(0, 1, 4000)
    rate = lambda x: np.exp(1.5 * np.sin(2 * np.pi * x) - 2)
    y = np.random.default_rng(2).poisson(rate(position))
    basis = BSplineEval(40, bounds=(0, 1))
    X, grid = basis.compute_features(position), np.linspace(0.02, 0.98, 200)
    smooth = GLM(regularizer=Smoothness(40), regularizer_strength=3e-3).fit(X, y)
    plain = GLM(regularizer="Ridge", regularizer_strength=1e-6).fit(X, y)
    off = [
        np.mean((np.log(m.predict(basis.compute_features(grid))) - np.log(rate(grid))) ** 2) for m in (smooth, plain)
    ]
    assert off[0] < 0.25 * off[1]


def test_splines_that_sum_to_one_are_unique_with_a_little_ridge(data):
    X = BSplineEval(6).compute_features(np.linspace(0, 1, len(data[1])))
    PopulationGLM(regularizer=Smoothness(6), regularizer_strength=1e-3).fit(X, data[1])  # a warning would be an error
    with pytest.warns(RuntimeWarning, match="not unique"):
        PopulationGLM(regularizer=Smoothness(6, ridge=0.0), regularizer_strength=1e-3).fit(X, data[1])


def test_lazy_features_masks_and_missing_bins(precision, population, basis):
    counts = population.counts[:4000]
    mask = np.kron(1 - np.eye(4), np.ones((5, 1)))
    settings = {"regularizer": GroupLasso(5), "regularizer_strength": 0.002, "feature_mask": mask}
    y = np.array(counts.values, float)
    y[100:200, 1] = np.nan
    dense = PopulationGLM(**settings).fit(np.asarray(basis.compute_features(counts)), y)
    lazy = PopulationGLM(**settings).fit(basis.lazy_features(np.asarray(counts)), y)
    np.testing.assert_allclose(lazy.coef_, dense.coef_, atol=3e-3 if precision == "float32" else 1e-8)
    assert not dense.coef_[mask == 0].any() and (dense.coef_ != 0).any()
    alone = GLM(regularizer=GroupLasso(5), regularizer_strength=0.002)
    some = mask[:, 1] == 1
    X, at = np.asarray(basis.compute_features(counts)), ~np.isnan(y[:, 1])
    alone.fit(X[at][:, some], y[at, 1])
    np.testing.assert_allclose(alone.coef_, dense.coef_[some, 1], atol=3e-3 if precision == "float32" else 1e-7)


def test_silent_neurons_and_features_that_never_vary(precision, data):
    X, y = data
    X[:, 2], y[:, 1] = 3.0, 0
    with pytest.warns(RuntimeWarning) as caught:
        model = PopulationGLM(regularizer="Lasso", regularizer_strength=0.01).fit(X, y)
    assert any("no event" in str(w.message) for w in caught)
    assert not model.coef_[:, 1].any() and not model.coef_[2].any() and model.converged_.all()
    with pytest.warns(RuntimeWarning) as caught:
        path = PopulationGLM(regularizer="Lasso").fit_path(X, y, n_strengths=4)
    assert any("no event" in str(w.message) for w in caught)
    assert path.converged.all() and not path.coef[..., 1].any() and np.isfinite(path.strengths).all()


def test_strongly_modulated_neurons_converge(precision):
    """A place-like rate, whose Hessian is far from that of a mean rate."""
    position = np.random.default_rng(0).uniform(0, 1, 6000)
    centers = np.linspace(0, 1, 16)
    X = np.exp(-((position[:, None] - centers) ** 2) / (2 * 0.05**2))
    y = np.random.default_rng(1).poisson(np.exp(6 * np.exp(-((position[:, None] - [0.3, 0.7]) ** 2) / 0.01) - 6))
    model = PopulationGLM(regularizer="Lasso", regularizer_strength=1e-5).fit(X, y)
    path = PopulationGLM(regularizer="Lasso").fit_path(X, y, n_strengths=12)
    assert model.converged_.all() and path.converged.all() and model.n_iter_.max() < 60


def test_dependent_features_share_what_they_explain(precision, data):
    """Two equal columns: predictions are those of one; the elastic net gives both the same."""
    X, y = data
    twice = np.column_stack([X, X[:, 0]])
    one = PopulationGLM(regularizer="Lasso", regularizer_strength=0.02).fit(X, y)
    two = PopulationGLM(regularizer="Lasso", regularizer_strength=0.02).fit(twice, y)
    tol = 3e-3 if precision == "float32" else 1e-6
    np.testing.assert_allclose(two.coef_[0] + two.coef_[6], one.coef_[0], atol=tol)
    net = PopulationGLM(regularizer=ElasticNet(), regularizer_strength=0.02).fit(twice, y)
    np.testing.assert_allclose(net.coef_[0], net.coef_[6], atol=tol)


def test_degrees_of_freedom_are_those_that_are_not_zero(float64, data):
    X = data[0]
    y = X[:, 0] + np.random.default_rng(0).normal(size=len(X))
    model = GLM(Gaussian(), regularizer="Lasso", regularizer_strength=0.3).fit(X, y)
    left = ((y - X @ model.coef_ - model.intercept_) ** 2).sum()
    assert 0 < (model.coef_ != 0).sum() < 6
    assert model.scale_[0] == pytest.approx(left / (len(X) - (model.coef_ != 0).sum() - 1))


@pytest.mark.parametrize("penalty", [Lasso(), GroupLasso(2), ElasticNet(0.5)], ids=str)
@pytest.mark.parametrize("stepsize", [0.0, 0.3], ids=["search", "fixed"])
def test_proximal_gradient_finds_the_same(float64, data, penalty, stepsize):
    X, y = data
    settings = {"regularizer": penalty, "regularizer_strength": np.array([[0.03, 0.01, 0.02]])}
    solver = {"solver_name": "ProximalGradient", "solver_kwargs": {"tol": 1e-10, "maxiter": 5000, "stepsize": stepsize}}
    named, exact = PopulationGLM(**settings, **solver).fit(X, y), PopulationGLM(**settings).fit(X, y)
    np.testing.assert_allclose(named.coef_, exact.coef_, atol=1e-6)
    np.testing.assert_array_equal(named.coef_ == 0, exact.coef_ == 0)
    assert named.converged_.all()


def test_update_shrinks_too(float64, data):
    """One step by hand."""
    X, y = data
    model = PopulationGLM(
        regularizer="Lasso",
        regularizer_strength=0.05,
        solver_name="ProximalGradient",
        solver_kwargs={"stepsize": 0.1, "acceleration": False},
    )
    params = model.initialize_params(X, y)
    coef, intercept = (np.asarray(a, float) for a in params)
    state = model.initialize_state(X, y, params)
    for _ in range(3):
        residual = np.exp(X @ coef + intercept) - y
        step = coef - 0.1 * X.T @ residual / len(y)
        coef, intercept = np.sign(step) * np.maximum(np.abs(step) - 0.005, 0), intercept - 0.1 * residual.mean(0)
        params, state = model.update(params, state, X, y)
    np.testing.assert_allclose(params[0], coef, atol=1e-10)
    assert (coef == 0).any() and (coef != 0).any()
    unnamed = PopulationGLM(regularizer="Lasso", regularizer_strength=10.0)
    with pytest.warns(UserWarning, match="ProximalGradient searches"):
        state = unnamed.initialize_state(X, y, params)
    assert not np.asarray(unnamed.update(params, state, X, y)[0][0]).any()


@pytest.mark.parametrize("penalty", [Lasso(), GroupLasso(2), Smoothness(3)], ids=str)
def test_batches_lead_to_the_same(precision, data, penalty):
    X, y = data
    settings = {"regularizer": penalty, "regularizer_strength": 0.03}
    batches = random_windows(X, y, n_bins=100, seed=0)
    model = PopulationGLM(**settings).fit_batches(batches, n_steps=10 * len(batches))
    full = PopulationGLM(**settings).fit(X, y)
    np.testing.assert_allclose(model.coef_, full.coef_, atol=3e-3 if precision == "float32" else 1e-6)
    assert model.converged_.all()
    once = PopulationGLM(**settings).fit_batches(batches, n_steps=len(batches))
    np.testing.assert_allclose(once.coef_, full.coef_, atol=0.05)


def test_units_of_time_do_not_matter_for_the_history(precision, population):
    """Strengths in nats per bin: repeating the data changes nothing."""
    basis = RaisedCosineLogConv(4, window_size=20)
    X, y = np.asarray(basis.compute_features(population.counts)), np.asarray(population.counts)
    X, y = X[20:3000], y[20:3000]
    settings = {"regularizer": GroupLasso(4), "regularizer_strength": 0.001}
    one, two = (
        PopulationGLM(**settings).fit(X, y),
        PopulationGLM(**settings).fit(np.tile(X, (2, 1)), np.tile(y, (2, 1))),
    )
    np.testing.assert_allclose(one.coef_, two.coef_, atol=5e-3 if precision == "float32" else 1e-7)


REFUSED = {
    "l1_ratio of 1": (lambda X, y: ElasticNet(1.0), "Use Lasso for 1"),
    "sizes of 0": (lambda X, y: GroupLasso(0), "`sizes` must be a positive integer"),
    "sizes with a fraction": (lambda X, y: GroupLasso((2, 1.5)), "for each group; got 1.5"),
    "order of 0": (lambda X, y: Smoothness(3, order=0), "`order` must be"),
    "negative ridge": (lambda X, y: Smoothness(3, ridge=-1.0), "`ridge` must be"),
    "groups that do not divide": (
        lambda X, y: PopulationGLM(regularizer=GroupLasso(4)).fit(X, y),
        "6 features, which are no groups of 4",
    ),
    "groups of other features": (
        lambda X, y: PopulationGLM(regularizer=Smoothness((3, 2))).fit(X, y),
        "no groups of 5 features in all",
    ),
    "strengths of other features": (
        lambda X, y: PopulationGLM(regularizer="Lasso", regularizer_strength=np.ones(5)).fit(X, y),
        r"got shape \(5,\)",
    ),
    "strengths of other neurons": (
        lambda X, y: PopulationGLM(regularizer="Lasso", regularizer_strength=np.ones((1, 2))).fit(X, y),
        r"3 columns, which are the neurons; got shape \(1, 2\)",
    ),
    "negative strengths": (
        lambda X, y: PopulationGLM(regularizer="Lasso", regularizer_strength=-np.ones(6)).fit(X, y),
        "at least 0; got values from -1.0 to -1.0",
    ),
    "a solver that knows no kinks": (
        lambda X, y: PopulationGLM(regularizer="Lasso", solver_name="LBFGS").fit(X, y),
        "Lasso is not smooth at 0, and LBFGS needs a smooth objective",
    ),
    "a solver misspelt": (
        lambda X, y: PopulationGLM(regularizer="Lasso", solver_name="LBGFS").fit(X, y),
        "Did you mean 'LBFGS'",
    ),
    "steps of another library": (
        lambda X, y: PopulationGLM(regularizer="Lasso").fit_batches([(X, y)], 1, solver=linear_model.Lasso()),
        "Lasso is not smooth at 0, and Lasso needs a smooth objective",
    ),
    "a group lasso by its name alone": (
        lambda X, y: PopulationGLM(regularizer="GroupLasso").fit(X, y),
        "GroupLasso needs to know its sizes",
    ),
    "a path without a penalty": (lambda X, y: PopulationGLM().fit_path(X, y), "`fit_path` needs a penalty"),
    "a path of a named solver": (
        lambda X, y: PopulationGLM(regularizer="Lasso", solver_name="ProximalGradient").fit_path(X, y),
        "for the default solver",
    ),
    "a path without a beginning": (
        lambda X, y: PopulationGLM(regularizer="Ridge").fit_path(X, y),
        "`strengths` must be given for Ridge",
    ),
    "a path that decreases": (
        lambda X, y: PopulationGLM(regularizer="Ridge").fit_path(X, y, [1.0, 0.1]),
        "in increasing order",
    ),
    "a path of silent neurons": (
        lambda X, y: PopulationGLM(regularizer="Lasso").fit_path(X, 0 * y),
        "there is none: each is silent.*or give `strengths`",
    ),
    "a path of features that do not vary": (
        lambda X, y: PopulationGLM(regularizer="Lasso").fit_path(0 * X, y),
        "or its features do not vary",
    ),
    "a path from 0": (lambda X, y: PopulationGLM(regularizer="Ridge").fit_path(X, y, [0.0, 0.1]), "positive numbers"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_what_was_expected(data, call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(*data)


def drawn(model, seed, n_bins=600, n_neurons=30):
    """Six features, two of them correlated, and activity of an observation model that depends on half of them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_bins, 6))
    X[:, 1] += 0.8 * X[:, 0]
    eta = X @ (rng.normal(scale=0.3, size=(6, n_neurons)) * (rng.random((6, n_neurons)) < 0.5)) - 1
    mean = np.exp(eta)
    draw = {
        "Poisson": lambda: rng.poisson(mean),
        "Bernoulli": lambda: rng.random(mean.shape) < mean / (1 + mean),
        "Gaussian": lambda: eta + rng.normal(size=mean.shape),
        "Gamma": lambda: rng.gamma(2, mean / 2),
        "NegativeBinomial": lambda: rng.poisson(mean * rng.gamma(1 / 0.7, 0.7, mean.shape)),
    }
    return X, draw[model]().astype(float)


@pytest.mark.parametrize("model", ["Poisson", "Bernoulli", "Gaussian", "Gamma", "NegativeBinomial"])
def test_no_fit_stalls_at_its_optimum(precision, model):
    """2,100 fits of every model and penalty: no last digit of a sum decides whether a neuron has converged."""
    kinds = [(None, None), (Ridge(), 0.05), (Lasso(), 0.03), (ElasticNet(0.7), 0.05), (GroupLasso(2), 0.02)]
    for seed, (penalty, strength) in enumerate([*kinds, (Smoothness(3), 0.1), (Lasso(), 0.003)]):
        X, y = drawn(model, seed)
        settings = {"regularizer": penalty or "UnRegularized", "regularizer_strength": strength}
        fit = PopulationGLM(model, **settings).fit(X, y)
        assert fit.converged_.all(), (penalty, np.flatnonzero(~fit.converged_))


@pytest.mark.parametrize("penalty", KINKED, ids=str)
def test_the_gain_of_a_step_is_no_difference_of_large_sums(penalty):
    """A slope near an optimum is right to its own last digits, though penalty and loss nearly cancel."""
    rng = np.random.default_rng(0)
    sizes = penalty.groups(6)
    cost = 0.3
    norms = GroupNorms(np.full((40, len(sizes)), cost), sizes)
    start = rng.normal(size=(40, 6))
    end = start + 1e-9 * rng.normal(size=(40, 6))
    gradient = (
        -norms.cost.repeat(sizes, axis=1) * start / norms.norms(start).repeat(sizes, axis=1)
    )  # the optimum is `start`
    with decimal.localcontext(prec=60):
        exact = lambda a: [[decimal.Decimal(x) for x in row] for row in np.asarray(a, float)]
        wanted = []
        for g, a, b in zip(exact(gradient), exact(start), exact(end), strict=True):
            total, at = sum((z - y) * x for x, y, z in zip(g, a, b, strict=True)), 0
            for size in sizes:
                lengths = [sum(x * x for x in p[at : at + size]).sqrt() for p in (a, b)]
                total, at = total + decimal.Decimal(cost) * (lengths[1] - lengths[0]), at + size
            wanted.append(float(total))
    # Moves of 1e-9 and gradients with a round-off of 1e-16: no more than 1e-24 can be known.
    np.testing.assert_allclose(norms.change(gradient, start, end), wanted, atol=2e-24)


@pytest.mark.parametrize(("gain", "status"), [(1e-17, DONE), (1e-12, STALLED)])
def test_a_neuron_whose_gain_hides_in_round_off_is_done(gain, status):
    """Trials are rejected again and again: done if nothing is left that the value could show, stalled if there is."""

    class Uphill:
        def search_direction(self, point, gradient, history, which):
            return np.ones_like(point), np.full(len(point), -2 * gain)

    one = np.ones(1)
    state = initial_state(np.zeros((1, 1)), np.zeros(1, bool))
    state = tell(state, one, one[:, None], Uphill(), 1e-19, one, 2**-52, 1e-7)
    while state.status[0] == RUNNING:
        state = tell(state, one + 1, one[:, None], Uphill(), 1e-19, one, 2**-52, 1e-7)
    assert state.status[0] == status and state.n_evaluated[0] == (2 if status == DONE else MAX_REJECTS + 1)
    assert (ask(state) == state.accepted.point).all() == (status == DONE)  # no step goes where trials were rejected


def residual_df(X, strength, free=slice(None)):
    """Rows less the intercept and the trace of the hat matrix of a ridge, whose strength is that of a mean over rows."""
    centred = X[:, free] - X[:, free].mean(0)
    gram = centred.T @ centred
    return len(X) - 1 - np.trace(np.linalg.solve(gram + len(X) * np.diag(np.broadcast_to(strength, len(gram))), gram))


@pytest.mark.parametrize("how", ["one", "parts", "mask", "LBFGS", "batches"])
def test_a_scale_has_the_effective_degrees_of_freedom(float64, how):
    """As in mgcv and GLMGam of statsmodels: what a penalty holds is no parameter."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 30))
    y = (X[:, :4].sum(1) + rng.normal(size=80))[:, None] * [1.0, 2.0]
    strength = np.array([[0.3] * 30, [0.1, 3.0] * 15]).T if how == "parts" else 0.5
    mask = np.ones((30, 2))
    mask[20:, 1] = how != "mask"
    settings = {"regularizer": "Ridge", "feature_mask": mask} | ({"solver_name": "LBFGS"} if how == "LBFGS" else {})
    model = PopulationGLM("Gaussian", regularizer_strength=strength, **settings)
    if how == "batches":
        model.fit_batches(sequential_blocks(X, y, 40), n_steps=60)
    else:
        model.fit(X, y)
    rest = ((y - model.predict(X)) ** 2).sum(0)
    strengths = np.broadcast_to(strength if how == "parts" else 0.5, (30, 2)).T
    free = [mask[:, n] > 0 for n in range(2)]
    expected = [rest[n] / residual_df(X, strengths[n][free[n]], free[n]) for n in range(2)]
    np.testing.assert_allclose(model.scale_, expected, rtol=1e-4)
