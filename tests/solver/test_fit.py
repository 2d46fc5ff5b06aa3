"""Laws of the exact fit, and its agreement with other software."""

import numpy as np
import pandas as pd
import pytest
from samples import Rows, sample_cases
from sklearn.linear_model import PoissonRegressor

from popglm import observation_models
from popglm._checks.progress import PASS_WATCHER
from popglm._design.design import Design, MatrixRows
from popglm._design.sizes import SIZES
from popglm._design.total import total
from popglm._sums.losses import loss_and_gradient
from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM

# How far two fits of the same problem may lie apart: both stop within 0.0045 standard errors of the optimum (design).
SAME = {"float32": {"rtol": 0, "atol": 5e-4}, "float64": {"rtol": 0, "atol": 1e-8}}
RIDGE = {"regularizer": "Ridge", "regularizer_strength": 0.05}
SETTINGS = pytest.mark.parametrize("settings", [{}, RIDGE, {"inverse_link_function": "softplus"}], ids=str)


def parts(model):
    return np.concatenate([np.atleast_2d(model.coef_.T).T, np.atleast_1d(model.intercept_)[None]])


def close(a, b, precision, **kwargs):
    np.testing.assert_allclose(a, b, **(SAME[precision] | kwargs))


@SETTINGS
def test_a_population_equals_its_single_fits(precision, data, settings):
    X, y = data
    population = PopulationGLM(**settings).fit(X, y)
    singles = [GLM(**settings).fit(X, y[:, n]) for n in range(y.shape[1])]
    close(population.coef_.T, [single.coef_ for single in singles], precision)
    close(population.intercept_, [single.intercept_[0] for single in singles], precision)
    assert population.coef_.shape == (4, 3) and singles[0].coef_.shape == (4,)
    assert population.intercept_.shape == (3,) and singles[0].intercept_.shape == (1,)


@SETTINGS
def test_neurons_do_not_depend_on_their_order_or_number(precision, data, settings):
    X, y = data
    all_three = PopulationGLM(**settings).fit(X, y)
    some = PopulationGLM(**settings).fit(X, y[:, [2, 0]])
    close(parts(some), parts(all_three)[:, [2, 0]], precision)


@pytest.fixture(params=[(32, 1), (64, 3), (128, 16), (2048, 16)], ids=str)
def blocks(request, monkeypatch):
    """Cut the data into blocks of these rows, and so many blocks into a chunk."""
    monkeypatch.setattr(SIZES, "block_rows", request.param[0])
    monkeypatch.setattr(SIZES, "chunk_blocks", request.param[1])


@pytest.mark.parametrize("whole", [False, True])
def test_any_block_size_gives_the_same_sums(precision, blocks, data, whole):
    X, y = data
    X[7], y[20:30, 1] = np.nan, np.nan
    coef, intercept = np.full((3, 4), 0.1), np.array([-1.0, 0.0, 1.0])
    valid = ~np.isnan(X).any(1)[:, None] & ~np.isnan(y)
    residual = np.where(valid, np.exp(np.nan_to_num(X) @ coef.T + intercept) - y, 0)
    design = Design(MatrixRows(X), y, whole=whole)
    params = (np.asarray(a, precision) for a in (coef, intercept))
    _, d_coef, d_intercept = total(loss_and_gradient, design, observation_models.Poisson(), *params)
    tolerance = {"rtol": 1e-6, "atol": 1e-4 if precision == "float32" else 1e-12}
    np.testing.assert_allclose(d_coef, residual.T @ np.nan_to_num(X), **tolerance)
    np.testing.assert_allclose(d_intercept, residual.sum(0), **tolerance)


def test_any_block_size_gives_the_same_fit(precision, blocks, data, monkeypatch):
    X, y = data
    cut = PopulationGLM(**RIDGE).fit(X, y)
    monkeypatch.undo()
    close(parts(cut), parts(PopulationGLM(**RIDGE).fit(X, y)), precision)


@SETTINGS
def test_stacking_the_data_twice_changes_nothing(precision, data, settings):
    X, y = data
    once = PopulationGLM(**settings).fit(X, y)
    twice = PopulationGLM(**settings).fit(np.tile(X, (2, 1)), np.tile(y, (2, 1)))
    close(parts(twice), parts(once), precision)
    close(twice.score(X, y), once.score(np.tile(X, (2, 1)), np.tile(y, (2, 1))), precision, atol=1e-5)


@SETTINGS
def test_a_missing_row_equals_a_removed_one(precision, data, settings):
    X, y = data
    gone = np.zeros(len(X), bool)
    gone[[0, 1, 2, 50, 51, 599]] = True
    missing = X.copy()
    missing[gone, 2] = np.nan  # one NaN takes out the row
    removed, masked = PopulationGLM(**settings).fit(X[~gone], y[~gone]), PopulationGLM(**settings).fit(missing, y)
    close(parts(masked), parts(removed), precision)
    close(masked.score(missing, y), removed.score(X[~gone], y[~gone]), precision, atol=1e-5)


@SETTINGS
def test_a_missing_count_takes_out_that_bin_of_that_neuron(precision, data, settings):
    X, y = data
    holes = y.copy()
    holes[100:200, 1] = np.nan
    whole, masked = PopulationGLM(**settings).fit(X, y), PopulationGLM(**settings).fit(X, holes)
    keep = ~np.isnan(holes[:, 1])
    close(parts(masked)[:, [0, 2]], parts(whole)[:, [0, 2]], precision)
    close(parts(masked)[:, [1]], parts(GLM(**settings).fit(X[keep], y[keep, 1]))[:, None].reshape(-1, 1), precision)


@pytest.mark.parametrize("strength", [0.001, 0.1, 1.0])
def test_agrees_with_scikit_learn(precision, data, strength):
    X, y = data
    ours = PopulationGLM(regularizer="Ridge", regularizer_strength=strength, solver_kwargs={"tol": 1e-9}).fit(X, y)
    for n in range(y.shape[1]):
        theirs = PoissonRegressor(alpha=strength, tol=1e-8, solver="newton-cholesky").fit(X, y[:, n])
        np.testing.assert_allclose(ours.coef_[:, n], theirs.coef_, atol=2e-5)
        np.testing.assert_allclose(ours.intercept_[n], theirs.intercept_, atol=2e-5)


def test_agrees_with_statsmodels(float64, data):
    import statsmodels.api as sm

    X, y = data
    ours = PopulationGLM().fit(X, y)
    for n in range(y.shape[1]):
        theirs = sm.GLM(y[:, n], sm.add_constant(X), family=sm.families.Poisson()).fit(tol=1e-14, maxiter=100)
        single = GLM().fit(X, y[:, n])
        for coef, intercept in ((ours.coef_[:, n], ours.intercept_[n]), (single.coef_, single.intercept_[0])):
            np.testing.assert_allclose([intercept, *coef], theirs.params, rtol=1e-8)
        np.testing.assert_allclose(single.score(X, y[:, n]) * len(X), theirs.llf, rtol=1e-8)
        deviance = 1 - theirs.deviance / theirs.null_deviance
        np.testing.assert_allclose(single.score(X, y[:, n], score_type="pseudo-r2-Cohen"), deviance, rtol=1e-8)
        mcfadden = 1 - theirs.llf / theirs.llnull
        np.testing.assert_allclose(single.score(X, y[:, n], score_type="pseudo-r2-McFadden"), mcfadden, rtol=1e-8)


@pytest.mark.parametrize(("functions", "window"), [(5, 40), (12, 100)])
def test_overlapping_functions_agree_with_statsmodels(precision, population, functions, window):
    """Full rank but ill-conditioned: 12 functions of 100 bins correlate to 0.9999."""
    import statsmodels.api as sm

    counts = population.counts.values
    X = RaisedCosineLogConv(functions, window_size=window).compute_features(counts)
    model, valid = PopulationGLM().fit(X, counts), ~np.isnan(X).any(1)
    design = sm.add_constant(X[valid].astype(float))
    for n in range(4):
        theirs = sm.GLM(counts[valid, n], design, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=100)
        off = np.append(model.intercept_[n], model.coef_[:, n]) - theirs.params
        if precision == "float64":
            np.testing.assert_allclose(off, 0, atol=1e-8 * np.abs(theirs.params).max())
        else:
            assert np.max(np.abs(off) / theirs.bse) < 0.01
            assert np.max(np.abs(design @ off)) < 1e-3


@pytest.mark.parametrize("width", [0.03, 0.045])
@pytest.mark.parametrize("modulation", [10, 100, 1000])
@pytest.mark.filterwarnings("ignore:feature:RuntimeWarning")  # wide bumps add up to a constant, to 7 digits
def test_place_like_rates_converge(width, modulation):
    """Neurons that fire in one place only, up to 1,000 times more than elsewhere; bumps of position that overlap."""
    rng = np.random.default_rng(0)
    position = np.cumsum(0.02 * rng.normal(size=30_000)) % 1

    def near(center, width):
        distance = np.abs(position[:, None] - center)
        return np.exp(-((np.minimum(distance, 1 - distance) / width) ** 2) / 2)

    X = near(np.arange(20) / 20, width)
    y = rng.poisson(np.minimum(0.001 * modulation ** near(rng.random(10), 0.05), 1))
    model = PopulationGLM().fit(X, y)
    assert model.converged_.all() and model.n_iter_.max() < 100
    residual = np.exp(X @ model.coef_.astype(float) + model.intercept_) - y
    assert np.abs(X.T @ residual).max() < 2e-3 * np.sqrt(X.T**2 @ y).max()  # beside the gradient's own scatter


def test_features_that_others_make_are_named_and_predictions_are_right(precision, data):
    X, y = data
    wide = np.c_[X, X[:, 0] + X[:, 1], X[:, 2]]
    with pytest.warns(RuntimeWarning, match=r"feature \d, \d: a sum of other features.*not unique"):
        model = PopulationGLM().fit(wide, y)
    np.testing.assert_allclose(model.predict(wide), PopulationGLM().fit(X, y).predict(X), rtol=2e-3)
    PopulationGLM(**RIDGE).fit(wide, y)  # with a penalty they are unique: no warning
    with pytest.warns(RuntimeWarning, match=r"feature \d, \d: a sum of other features.*not unique"):
        PopulationGLM(solver_name="LBFGS").fit(wide, y)
    PopulationGLM(**RIDGE, solver_name="LBFGS").fit(wide, y)
    halves = [(wide[rows], y[rows]) for rows in (slice(None, None, 2), slice(1, None, 2))]
    with pytest.warns(RuntimeWarning, match=r"feature \d, \d: a sum of other features.*not unique"):
        PopulationGLM().fit_batches(halves, 6)
    PopulationGLM(**RIDGE).fit_batches(halves, 6)
    strength = np.where(np.arange(wide.shape[1]) == 2, 0.1, 0.0)  # of one feature, which others still make up for
    some = PopulationGLM(regularizer="Ridge", regularizer_strength=strength)
    for fit in (lambda: some.fit(wide, y), lambda: some.fit_batches(halves, 6)):
        with pytest.warns(RuntimeWarning, match=r"a sum of other features"):
            fit()


FITS = {
    "the default": lambda X, y: PopulationGLM().fit(X, y),
    "a named solver": lambda X, y: PopulationGLM(solver_name="LBFGS", solver_kwargs={"maxiter": 500}).fit(X, y),
    "batches": lambda X, y: PopulationGLM().fit_batches([(X[:300], y[:300]), (X[300:], y[300:])], 20),
}


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_a_column_of_ones_beside_the_intercept_is_named(data, fit):
    """Users of statsmodels add one; the predictions are those without it."""
    X, y = data
    named = pd.DataFrame(X, columns=list("abcd")).assign(const=1.0)
    with pytest.warns(RuntimeWarning, match="feature const: the same value in every valid bin.*Leave it out"):
        model = fit(named, y)
    plain = fit(X, y)
    np.testing.assert_allclose(model.predict(named), plain.predict(X), rtol=0.02)
    still = named.assign(const=0.0)  # such as a neuron that never spikes
    np.testing.assert_allclose(fit(still, y).coef_[:4], plain.coef_, atol=0.02)


def test_a_path_names_a_column_of_ones(data):
    X, y = data
    with pytest.warns(RuntimeWarning, match="feature 4: the same value in every valid bin"):
        PopulationGLM(regularizer="Lasso").fit_path(np.c_[X, np.ones(len(X))], y, n_strengths=2)


STOPPED = (
    "`solver_name` names stopped before the optimum. Leave out `solver_name`.*scale X.*lower `tol` and raise `maxiter`"
)


def total_score(model, X, y):
    return model.score(X, y, aggregate_sample_scores=lambda samples: np.nansum(samples, 0))


@pytest.mark.parametrize("solver", sample_cases(["LBFGS", "BFGS"], 1))
def test_a_named_solver_that_stops_early_says_so_and_its_message_helps(solver):
    """Its own test, a small gradient of the mean loss, is none where features differ in size or resemble each other."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8000, 2)), rng.poisson(0.3, (8000, 3)).astype(float)
    y[:, 0] = rng.poisson(np.exp(0.3 * x[:, 1] - 1))
    basis = RaisedCosineLogConv(5, window_size=40)
    history = basis.compute_features(y)
    for X in (x * [1, 1e6], history):
        with pytest.warns(RuntimeWarning, match=STOPPED):
            model = PopulationGLM(solver_name=solver, solver_kwargs={"maxiter": 100}).fit(X, y)
        gap = total_score(PopulationGLM().fit(X, y), X, y) - total_score(model, X, y)
        assert (gap[model.converged_] < 0.1).all() and gap[~model.converged_].max() > 0.02
    fixed = {"solver_name": solver, "solver_kwargs": {"tol": 1e-6, "maxiter": 2000}}  # warnings are errors
    for model, X in ((PopulationGLM(solver_name=solver), x), (PopulationGLM(**fixed), history)):
        assert model.fit(X, y).converged_.all()
        np.testing.assert_allclose(total_score(model, X, y), total_score(PopulationGLM().fit(X, y), X, y), atol=0.1)


def test_a_loose_tolerance_gives_no_step_that_was_not_tried(data):
    """At a `tol` of thousands all are done at once, at the null model; the step that is left could be too long."""
    X, y = data
    model = PopulationGLM(solver_kwargs={"tol": 1e4}).fit(10 * X, y)
    assert model.converged_.all() and not model.coef_.any()


def test_progress_goes_to_the_error_stream_when_asked_for(data, capsys):
    X, y = data
    PopulationGLM().fit(X, y)
    assert capsys.readouterr() == ("", "")
    PopulationGLM().fit(X, y, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_progress_moves_while_neurons_run(data, monkeypatch):
    shown = []

    class Bar:
        n = 0.0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def set_postfix_str(self, text):
            shown.append(self.n)

    monkeypatch.setattr("popglm._solver.exact.open_bar", lambda *args, **options: Bar())
    PopulationGLM().fit(*data, progress=True)
    assert shown[0] < 0.5 and shown[-1] == 3 and len({round(n, 3) for n in shown}) >= 4


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_progress_moves_within_a_pass(data, monkeypatch, streamed):
    """The text of the bar, from the first pass on, which no report has followed yet; afterwards nobody watches."""
    texts = []
    monkeypatch.setattr("popglm._checks.progress.SECONDS_BETWEEN_SHARES", 0)
    monkeypatch.setattr("tqdm.auto.tqdm.set_postfix_str", lambda self, text: texts.append(text))
    monkeypatch.setattr(SIZES, "block_rows", 64)
    monkeypatch.setattr(SIZES, "chunk_blocks", 2)
    X, y = (Rows(a) for a in data) if streamed else data
    PopulationGLM().fit(X, y, progress=True)
    n_chunks = -(-len(data[0]) // 128)
    shares = [f"{128 * i / len(data[0]):.0%} of a pass" for i in range(n_chunks)]
    assert n_chunks >= 4 and texts[:n_chunks] == shares
    after = texts.index("0/3 neurons done, 1 passes")
    assert texts[after + 1 : after + 1 + n_chunks] == [f"{texts[after]}, {share}" for share in shares]
    assert PASS_WATCHER.get() is None
