"""Penalties that know their inputs from the features: layouts, fits by every way, and several kinds in one model."""

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from samples import Rows
from sklearn.base import clone

from popglm import io
from popglm._design.layout import InputLayout, read_layout
from popglm._files.fingerprint import objective_fingerprint
from popglm._solver.problem import Objective
from popglm.basis import BSplineEval, CyclicBSplineEval, RaisedCosineLogConv
from popglm.batching import random_windows
from popglm.glm import GLM, PopulationGLM
from popglm.glm._access import params_layout
from popglm.model_selection import BlockSplit, cross_validate_path
from popglm.observation_models import Poisson
from popglm.regularizer import GroupLasso, Lasso, Mixed, Ridge, Smoothness, UnRegularized

UNITS = [4, 7]
HEADING = CyclicBSplineEval(6, bounds=(0, 1), label="heading")
HISTORY = RaisedCosineLogConv(4, window_size=20, label="history")
COUPLING = RaisedCosineLogConv(3, window_size=20, label="coupling")
PLACE = BSplineEval(5, bounds=(0, 1)) * CyclicBSplineEval(3, order=2, bounds=(0, 1))
LAYOUT = [
    ("heading", 0, (6,), (True,)),
    ("history", 0, (4,), (False,)),
    ("coupling", 4, (3,), (False,)),
    ("coupling", 7, (3,), (False,)),
    (3, "0*0", (5, 3), (False, True)),
]
GIVEN = Smoothness((6, 4, 3, 3, (5, 3)), cyclic=(True, False, False, False, (False, True)))
MIXED = {"heading": Smoothness(), "history": Smoothness(order=1, ridge=0.01), "coupling": Ridge()}
SIDE_BY_SIDE = Mixed([Smoothness(6, cyclic=True), Smoothness(4, 1, ridge=0.01), Ridge((3, 3))])


@pytest.fixture(scope="module")
def inputs():
    """Heading and place on [0, 1], counts of two units, and what three neurons make of them, in two epochs."""
    rng = np.random.default_rng(0)
    t, epochs = np.arange(1600) * 0.01, nap.IntervalSet([0, 8.5], [7.9, 16])
    heading, x, z = (np.mod(np.cumsum(rng.normal(0, 0.03, 1600)), 1) for _ in range(3))
    counts = rng.poisson(0.3, (1600, 2)).astype(float)
    drive = np.column_stack([np.sin(2 * np.pi * heading), x, -z]) - 0.5
    y = rng.poisson(np.exp(drive)).astype(float)
    tsd = lambda values: nap.Tsd(t=t, d=values).restrict(epochs)
    frame = lambda values, columns: nap.TsdFrame(t=t, d=values, columns=columns).restrict(epochs)
    return tsd(heading), tsd(counts[:, 0]), frame(counts, UNITS), tsd(x), tsd(z), frame(y, ["a", "b", "c"])


@pytest.fixture(scope="module")
def wide(inputs):
    """Lazy features of four terms with a product, and y."""
    return (HEADING + HISTORY + COUPLING + PLACE).lazy_features(*inputs[:5]), inputs[5]


@pytest.fixture(scope="module")
def narrow(inputs):
    """Lazy features of heading, history and coupling, and y."""
    return (HEADING + HISTORY + COUPLING).lazy_features(*inputs[:3]), inputs[5]


def test_features_tell_their_inputs_however_they_are_kept(inputs, wide, tmp_path):
    lazy, epoch = wide[0], nap.IntervalSet(1, 6)
    built = (HEADING + HISTORY + COUPLING + PLACE).compute_features(*inputs[:5])
    built.save(tmp_path / "features.npz")
    saved = nap.load_file(tmp_path / "features.npz")
    for X in (lazy, built, saved, lazy[50:300], built[50:300], lazy.restrict(epoch), saved.restrict(epoch)):
        assert [one[:4] for one in read_layout(X)] == LAYOUT and not any(one.trouble for one in read_layout(X))
    assert [one[:4] for one in read_layout(built[:, :13])] == LAYOUT[:3]
    table = pd.DataFrame({"heading": inputs[0].values, "x": inputs[3].values})
    columns = (HEADING + PLACE).compute_features(table["heading"], table["x"], table["heading"])
    assert isinstance(columns, pd.DataFrame)
    for X in (columns, columns[100:200], columns.iloc[:, :21].copy()):
        assert [one.shape for one in read_layout(X)] == [(6,), (5, 3)]
        assert [one.cyclic for one in read_layout(X)] == [(True,), (False, True)]


@pytest.mark.parametrize(
    "X", [np.ones((5, 3)), pd.DataFrame(np.ones((5, 3)), columns=list("abc")), np.ones(5)], ids=type
)
def test_a_plain_array_is_one_input(X):
    assert read_layout(X) == (InputLayout("", "", (X.shape[1] if X.ndim == 2 else 1,), (False,)),)


def test_sums_inside_sums_and_single_inputs(inputs):
    heading, _, counts, x, _, _ = inputs
    inner = RaisedCosineLogConv(4, window_size=20) + RaisedCosineLogConv(3, window_size=20)
    inner.label = "pair"
    X = (HEADING + inner).lazy_features(heading, counts, counts)
    assert [one.n_features for one in read_layout(X)] == [6, 4, 4, 3, 3]
    assert [one[:4] for one in read_layout(COUPLING.lazy_features(counts))] == [
        ("", 4, (3,), (False,)),
        ("", 7, (3,), (False,)),
    ]
    assert [one.shape for one in read_layout((COUPLING * PLACE).lazy_features(counts, x, x))] == [(3, 5, 3)] * 2


def as_frame(X, **described):
    """Features as a TsdFrame, with the names and metadata of their columns or with none."""
    return nap.TsdFrame(t=X.t, d=np.asarray(X), time_support=X.time_support, **described)


def as_built(X):
    return as_frame(X, columns=X.columns, metadata=X.metadata)


WAYS = {
    "fit": lambda model, X, y: model.fit(X, y).coef_,
    "path": lambda model, X, y: model.fit_path(X, y, [0.01, 0.1]).coef,
    "windows": lambda model, X, y: model.fit_batches(random_windows(X, y, 400, seed=0), 60).coef_,
    "list": lambda model, X, y: model.fit_batches([(X[:700], y[:700]), (X[700:1400], y[700:1400])], 6).coef_,
    "generator": lambda model, X, y: (
        model.fit_batches(((X[a : a + 400], y[a : a + 400]) for a in (0, 400, 800)), 3).coef_
    ),
    "folds": lambda model, X, y: (
        cross_validate_path(model, X, y, BlockSplit(3, window=20), strengths=[0.01, 0.1]).scores
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_sizes_from_the_features_are_those_that_are_given(wide, way):
    X, y = wide
    built, plain = as_built(X), as_frame(X)
    run = lambda penalty, X, y: WAYS[way](PopulationGLM(regularizer=penalty, regularizer_strength=0.02), X, y)
    expected = run(GIVEN, plain, y)
    for features in (X, built) if way not in ("list", "generator") else (built,):
        np.testing.assert_allclose(run(Smoothness(), features, y), expected, atol=3e-3)
    assert np.abs(run(Smoothness(), plain, y) - expected).max() > 0.01  # an array is one input


def steps(model, X, y, later):
    params = model.initialize_params(X, y)
    state = model.initialize_state(later, y, params)
    for _ in range(3):
        params, state = model.update(params, state, later, y)
    return np.asarray(params[0])


def test_steps_take_the_inputs_of_the_first_features(wide):
    X, y = wide
    built = as_built(X)
    solver = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
    make = lambda penalty: PopulationGLM(regularizer=penalty, regularizer_strength=0.5, **solver)
    expected = steps(make(GIVEN), built.values, y, built.values)
    for later in (built, built.values):
        np.testing.assert_allclose(steps(make(Smoothness()), X, y, later), expected, atol=1e-6)
    model = PopulationGLM(regularizer=Smoothness(), regularizer_strength=0.5).fit(X, y).set_params(**solver)
    params = model.coef_, model.intercept_
    state = model.initialize_state(built.values, y, params)
    other = make(GIVEN)
    wanted = other.update(params, other.initialize_state(built.values, y, params), built.values, y)[0]
    np.testing.assert_allclose(model.update(params, state, built.values, y)[0][0], wanted[0], atol=1e-6)


def newton(X, y, S, n_iter=30):
    """Poisson coefficients under half the quadratic form S beside the mean loss, by Newton's method on dense matrices."""
    Z, whole = np.column_stack([X, np.ones(len(X))]), np.zeros((X.shape[1] + 1,) * 2)
    whole[:-1, :-1] = S
    params = np.zeros((Z.shape[1], y.shape[1]))
    params[-1] = np.log(y.mean(0))
    for n in range(y.shape[1]):
        for _ in range(n_iter):
            mean = np.exp(Z @ params[:, n])
            slope = Z.T @ (mean - y[:, n]) / len(y) + whole @ params[:, n]
            params[:, n] -= np.linalg.solve((Z * mean[:, None]).T @ Z / len(y) + whole, slope)
    return params[:-1]


@pytest.mark.parametrize("select", [None, True])
def test_heading_history_and_coupling_in_one_model(float64, narrow, select):
    """One readable line, against Newton's method with the matrix of its penalties."""
    X, y = narrow
    heading = Smoothness(cyclic=True, select=select)
    penalty = Mixed({"heading": heading, "history": Smoothness(), "coupling": Ridge()})
    strengths = np.array([0.1, 0.02, 0.3, 0.2] if select is None else [0.1, 0.05, 0.02, 0.3, 0.2])
    model = PopulationGLM(regularizer=penalty, regularizer_strength=strengths).fit(X, y)
    S, D = np.zeros((16, 16)), np.diff(np.eye(4), 2, axis=0)
    C = np.roll(np.eye(6), -1, 0) - np.eye(6)
    S[:6, :6] = 0.1 * C.T @ C.T @ C @ C + (1e-4 * np.eye(6) if select is None else 0.05 * np.full((6, 6), 1 / 6))
    S[6:10, 6:10] = 0.02 * (D.T @ D + 1e-3 * np.eye(4))
    S[10:13, 10:13], S[13:, 13:] = 0.3 * np.eye(3), 0.2 * np.eye(3)
    known = ~np.isnan(np.asarray(X)).any(1)
    np.testing.assert_allclose(model.coef_, newton(np.asarray(X)[known], y.values[known], S), atol=1e-7)


@pytest.mark.parametrize("select", [None, True])
def test_several_kinds_by_every_way(narrow, select):
    X, y = narrow
    mixed = Mixed(MIXED | {"heading": Smoothness(select=select)})
    beside = Mixed([Smoothness(6, cyclic=True, select=select), *SIDE_BY_SIDE.penalties[1:]])
    plain, mask = as_frame(X), np.ones((16, 3), int)
    mask[6:10, 1] = mask[12:, 2] = 0
    settings = {"regularizer_strength": 0.02, "feature_mask": mask}
    for way in ("fit", "path", "windows"):
        coef = WAYS[way](PopulationGLM(regularizer=mixed, **settings), X, y)
        wanted = WAYS[way](PopulationGLM(regularizer=beside, **settings), plain, y)
        np.testing.assert_allclose(coef, wanted, atol=3e-3)
        assert not coef[..., mask == 0].any() and coef[..., mask == 1].all()


def test_inputs_in_a_file_are_cyclic_too(inputs):
    """Values that are read when they are needed."""
    stream, y = Rows(inputs[0].values), inputs[5].values
    X = HEADING.lazy_features(stream)
    assert read_layout(X) == read_layout(HEADING.lazy_features(inputs[0]))
    coef = [
        PopulationGLM(regularizer=penalty, regularizer_strength=0.1).fit(X, y).coef_
        for penalty in (Smoothness(), Smoothness(6, cyclic=True), Smoothness(6, cyclic=False))
    ]
    np.testing.assert_array_equal(coef[0], coef[1])
    assert np.abs(coef[0] - coef[2]).max() > 0.01


def test_a_map_is_smooth_in_each_direction_as_its_strengths_say(float64, inputs):
    _, _, _, x, z, y = inputs
    X = PLACE.lazy_features(x, z)
    strong = lambda s: PopulationGLM(regularizer=Smoothness(order=1), regularizer_strength=np.array(s)).fit(X, y).coef_
    grid = strong([100.0, 1e-4]).reshape(5, 3, 3)
    assert np.abs(np.diff(grid, axis=0)).max() < 0.01 < np.abs(np.diff(grid, axis=1)).max()
    grid = strong([1e-4, 100.0]).reshape(5, 3, 3)
    assert np.abs(np.diff(grid, axis=1)).max() < 0.01 < np.abs(np.diff(grid, axis=0)).max()


def test_a_straight_line_is_free_of_the_differences_and_has_a_strength_of_its_own(float64, inputs):
    position, y = inputs[3], inputs[5]
    X = BSplineEval(12, bounds=(0, 1)).lazy_features(position)
    fit = lambda *s: (
        PopulationGLM(regularizer=Smoothness(select=True), regularizer_strength=np.array(s)).fit(X, y).coef_
    )
    line, flat = fit(1e4, 1e-4), fit(1e4, 1e4)
    assert np.abs(np.diff(line, 2, axis=0)).max() < 1e-4 < 0.1 < np.abs(np.diff(line, axis=0)).max()
    np.testing.assert_allclose(flat, 0, atol=1e-3)


@pytest.mark.parametrize("penalty", [Smoothness(), Ridge(), Mixed(MIXED)], ids=repr)
def test_strengths_by_evidence_give_the_same_fit_again(float64, narrow, penalty):
    """An array with a strength for each part that evidence chooses means these parts."""
    X, y = narrow
    first = PopulationGLM(regularizer=penalty, regularizer_strength="evidence").fit(X, y)
    again = PopulationGLM(regularizer=penalty, regularizer_strength=first.strength_).fit(X, y)
    np.testing.assert_allclose(again.coef_, first.coef_, atol=1e-5)


def test_what_is_given_wins(wide):
    X = wide[0]
    assert Smoothness(cyclic=False).resolve(read_layout(X)).cyclic is False
    flat = Smoothness((13, 3, 15)).resolve(read_layout(X))
    assert flat.sizes == (13, 3, 15) and flat.cyclic is False
    known = Smoothness((6, 4, 3, 3, (5, 3))).resolve(read_layout(X))
    assert known == GIVEN and known.resolve(read_layout(X)) == known
    assert Smoothness().resolve(read_layout(X), by_evidence=True) == Smoothness(
        GIVEN.sizes, cyclic=GIVEN.cyclic, select=True
    )
    free = Smoothness(GIVEN.sizes, cyclic=GIVEN.cyclic, ridge=0.0, select=False)
    assert Smoothness(select=False).resolve(read_layout(X), by_evidence=True) == free
    assert Ridge().resolve(read_layout(X)) == Ridge()
    assert Ridge().resolve(read_layout(X), by_evidence=True) == Ridge((6, 4, 3, 3, 15))
    assert Lasso().resolve(read_layout(X)) == Lasso()


def test_terms_may_be_named_in_any_order_and_be_free(narrow):
    X, _ = narrow
    free = Mixed({"coupling": UnRegularized(), "history": Ridge(), "heading": Smoothness()})
    found = free.resolve(read_layout(X))
    assert found.sizes == (6, 4, 6) and found.quadratic_parts(16).group.tolist() == [0, 1]
    assert not found.hessian(1.0, 16)[10:].any() and found.resolve(read_layout(X)) == found
    by_order = Mixed([Smoothness(), Ridge(), UnRegularized()]).resolve(read_layout(X))
    np.testing.assert_array_equal(by_order.hessian(1.0, 16), found.hessian(1.0, 16))
    with_sizes = Mixed([Smoothness(3), UnRegularized()], sizes=(6, 10))
    assert with_sizes.quadratic_parts(16).group.tolist() == [0, 1]


def test_settings_are_kept_as_scikit_learn_asks_and_in_files(narrow, tmp_path):
    X, y = narrow
    model = PopulationGLM(regularizer=Mixed(MIXED), regularizer_strength=0.02)
    again = clone(model)
    assert again.regularizer == model.regularizer and repr(again) == repr(model)
    assert model.fit(X, y).regularizer == Mixed(MIXED)
    io.save(model, tmp_path / "model.npz")
    loaded = io.load(tmp_path / "model.npz")
    assert loaded.regularizer == model.regularizer and params_layout(loaded) == params_layout(model) == read_layout(X)
    np.testing.assert_array_equal(loaded.fit(X, y).coef_, model.coef_)


@pytest.mark.parametrize(
    ("penalty", "text"),
    [
        (Ridge(), "Ridge"),
        (GroupLasso(2), "GroupLasso(sizes=2)"),
        (Smoothness(3, cyclic=False), "Smoothness(sizes=3, order=2, cyclic=False, ridge=0.001)"),
    ],
)
def test_checkpoints_of_earlier_versions_know_their_penalty(penalty, text):
    assert objective_fingerprint(Objective(Poisson(), penalty, np.asarray(1.0)), None)["regularizer"] == text


def test_a_fit_continues_from_its_checkpoint(narrow, tmp_path):
    X, y = narrow
    model = PopulationGLM(regularizer=Mixed(MIXED), regularizer_strength=0.02)
    first = model.fit(X, y, checkpoint=tmp_path / "fit").coef_
    np.testing.assert_array_equal(model.fit(X, y, checkpoint=tmp_path / "fit").coef_, first)
    with pytest.raises(ValueError, match="regularizer"):
        model.set_params(regularizer=Smoothness()).fit(X, y, checkpoint=tmp_path / "fit")


def test_a_place_never_visited_follows_from_its_neighbours(float64):
    """The coefficient of a function that no data reach continues the line of the others."""
    position = np.random.default_rng(0).uniform(0, 0.6, 2000)
    y = np.random.default_rng(1).poisson(np.exp(position))
    X = BSplineEval(10, order=2, bounds=(0, 1)).compute_features(position)
    assert not X[:, -2:].any()
    coef = GLM(regularizer=Smoothness(ridge=1e-6), regularizer_strength=0.1).fit(X, y).coef_
    np.testing.assert_allclose(np.diff(coef[-4:], 2), 0, atol=1e-4)


REFUSED = {
    "sizes of other features": (lambda: Smoothness((6, 4)), "16 features, which are no groups of 10 features in all"),
    "sizes of products": (lambda: Smoothness(((5, 2), 4)), "16 features, which are no groups of 14 features in all"),
    "orders of other inputs": (
        lambda: Smoothness(order=(1, 2)),
        "`order` of Smoothness must be one value, or a tuple with one",
    ),
    "cycles of other directions": (
        lambda: Smoothness(cyclic=((True, False), False, False, False)),
        r"one flag for each direction of an input with \(6,\) functions; got \(True, False\)",
    ),
    "a cycle that is no flag": (lambda: Smoothness(cyclic=1), "`cyclic` must be True or False; got 1"),
    "a choice that is no flag": (lambda: Smoothness(select="yes"), "`select` must be True or False; got 'yes'"),
    "a term misspelt": (
        lambda: Mixed({"heading": Smoothness(), "histories": Smoothness(), "coupling": Ridge()}),
        "X has the terms 'heading', 'history', 'coupling', and got 'heading', 'histories', 'coupling'",
    ),
    "a term left out": (lambda: Mixed({"heading": Smoothness()}), "Name each term once"),
    "a list of other features": (
        lambda: Mixed([Ridge(3), Ridge(4)]),
        r"X has 16 features, and the penalties have 7: \(3, 4\)",
    ),
    "a list without sizes": (lambda: Mixed([Ridge(3), Ridge()]), "some have no `sizes`"),
    "a penalty that is no square": (lambda: Mixed([Ridge(3), Lasso()]), r"takes sums of squares, .*; got Lasso\(\)"),
    "no penalty": (lambda: Mixed([]), "or a list of penalties; got"),
    "a word": (lambda: Mixed("Ridge"), "or a list of penalties; got 'Ridge'"),
    "sizes of other penalties": (
        lambda: Mixed([Ridge(), Ridge()], sizes=(4, 4, 8)),
        "a number for each of 2 penalties",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_what_was_expected(narrow, make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        PopulationGLM(regularizer=make()).fit(*narrow)


def test_terms_of_features_without_terms(narrow):
    X, y = narrow
    with pytest.raises(ValueError, match="X is no sum of bases with labels, and got 'heading'"):
        PopulationGLM(regularizer=Mixed({"heading": Smoothness()})).fit(np.asarray(X), y)


def test_features_of_an_input_that_do_not_stand_together(inputs):
    """Refused with what helps, unless sizes are given."""
    _, _, counts, x, _, y = inputs
    torn, fixed = BSplineEval(4, bounds=(0, 1)) * COUPLING, COUPLING * BSplineEval(4, bounds=(0, 1))
    with pytest.raises(
        ValueError, match=r"side by side; those of input '0\*4' are not. In a product, let the basis with several"
    ):
        PopulationGLM(regularizer=Smoothness()).fit(torn.lazy_features(x, counts), y)
    PopulationGLM(regularizer=Smoothness(3)).fit(torn.lazy_features(x, counts), y)
    assert PopulationGLM(regularizer=Smoothness()).fit(fixed.lazy_features(counts, x), y).coef_.shape == (24, 3)
    X = fixed.compute_features(counts, x)[:, [0, 1, 2, 4]]
    with pytest.raises(ValueError, match=r"4 of 6 features of input '4\*0'"):
        PopulationGLM(regularizer=Smoothness()).fit(X, y)
