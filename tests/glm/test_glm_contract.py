"""What the two estimators promise: shapes, epochs and names kept, silent neurons, masks, helpful warnings."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pynapple as nap
import pytest
from samples import small_data
from sklearn.base import clone

from popglm._solver.jaxopt import JAXOPT_SOLVERS
from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.observation_models import Poisson

PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
SOLVERS = [{}] + [{"solver_name": name, "solver_kwargs": {"tol": 1e-5, "maxiter": 2000}} for name in JAXOPT_SOLVERS]


@pytest.mark.parametrize("settings", SOLVERS, ids=lambda s: s.get("solver_name", "default"))
def test_every_solver_finds_the_optimum(data, settings):
    X, y = data
    y[:, 1] = 0
    expected = PopulationGLM().fit(X, y[:, [0, 2]])
    with pytest.warns(RuntimeWarning, match="neuron 1: no event"):
        model = PopulationGLM(**settings).fit(X, y)
    np.testing.assert_allclose(model.coef_[:, [0, 2]], expected.coef_, atol=2e-3)
    np.testing.assert_allclose(model.intercept_[[0, 2]], expected.intercept_, atol=2e-3)
    assert not model.coef_[:, 1].any() and model.converged_.all() and model.n_iter_.shape == (3,)
    assert np.exp(model.intercept_[1]) == pytest.approx(0.5 / len(X))


def test_epochs_times_and_names_are_kept(recording):
    X = RaisedCosineLogConv(2, window_size=10).compute_features(recording)
    model = PopulationGLM().fit(X, recording)
    rate = model.predict(X)
    assert isinstance(rate, nap.TsdFrame) and list(rate.columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(rate.t, recording.t)
    np.testing.assert_array_equal(rate.time_support.values, recording.time_support.values)
    np.testing.assert_array_equal(np.isnan(rate.values).all(1), np.isnan(X.values).any(1))
    single = GLM().fit(X, recording[:, 0]).predict(X)
    assert isinstance(single, nap.Tsd)
    np.testing.assert_allclose(single.values, rate.values[:, 0], rtol=2e-3)
    assert isinstance(model.predict(X.values), np.ndarray)
    np.testing.assert_array_equal(model.predict(X.values), rate.values)


@pytest.mark.parametrize("link", ["exp", "softplus"])
def test_predictions_are_the_mean_counts(precision, data, link):
    X, y = data
    model = PopulationGLM(inverse_link_function=link).fit(X, y)
    eta = X @ model.coef_ + model.intercept_
    np.testing.assert_allclose(model.predict(X), np.exp(eta) if link == "exp" else np.log1p(np.exp(eta)), rtol=1e-5)
    np.testing.assert_allclose(model.predict(X).mean(0), y.mean(0), rtol=0.1)


def test_times_may_differ_by_a_microsecond_and_arrays_have_none(recording):
    X = RaisedCosineLogConv(2, window_size=10).compute_features(recording)
    near = nap.TsdFrame(t=recording.t + 4e-7, d=recording.values)
    fits = [PopulationGLM().fit(*pair) for pair in ((X, recording), (X, near), (X, recording.values), (X.values, near))]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.coef_, fits[0].coef_)


def test_a_silent_neuron_is_named_once_and_disturbs_nobody(recording):
    counts = nap.TsdFrame(
        t=recording.t, d=np.where([0, 1, 0], 0, recording.values), time_support=recording.time_support,
        columns=["a", "b", "c"],
    )  # fmt: skip
    X = RaisedCosineLogConv(2, window_size=10).compute_features(recording)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PopulationGLM().fit(X, counts)
    assert len(caught) == 1 and "neuron b: no event" in str(caught[0].message)
    whole = PopulationGLM().fit(X, recording)
    np.testing.assert_allclose(model.coef_[:, [0, 2]], whole.coef_[:, [0, 2]], atol=1e-3)
    valid = (~np.isnan(X.values).any(1)).sum()
    assert not model.coef_[:, 1].any() and np.exp(model.intercept_[1]) == pytest.approx(0.5 / valid)
    assert model.converged_.all()
    per_neuron = model.score(X, counts, "pseudo-r2-McFadden", lambda s: np.nanmean(s, axis=0))
    assert per_neuron[1] == 0
    others = PopulationGLM().fit(X, counts[:, [0, 2]]).score(X, counts[:, [0, 2]], "pseudo-r2-McFadden")
    assert model.score(X, counts, "pseudo-r2-McFadden") == pytest.approx(others, abs=1e-5)


MASK = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0]])


@pytest.mark.parametrize("ridge", [{}, {"regularizer": "Ridge", "regularizer_strength": 0.1}], ids=str)
@pytest.mark.parametrize("solver", [SOLVERS[0], SOLVERS[2]], ids=["default", "LBFGS"])
def test_masked_features_are_exactly_zero_and_the_rest_is_a_fit_without_them(data, solver, ridge):
    X, y = data
    start = np.ones((4, 3)), np.zeros(3)
    for model in (PopulationGLM(feature_mask=MASK, **solver, **ridge).fit(X, y, init_params=p) for p in (None, start)):
        assert not model.coef_[MASK == 0].any() and model.coef_[MASK == 1].all()
        for n in range(3):
            used = MASK[:, n] == 1
            single = GLM(**ridge).fit(X[:, used], y[:, n])
            np.testing.assert_allclose(model.coef_[used, n], single.coef_, atol=1e-3)


@pytest.mark.parametrize("acceleration", [False, True])
@pytest.mark.filterwarnings("ignore:.*accelerates:UserWarning")
def test_masked_features_stay_zero_in_updates(data, acceleration):
    X, y = data
    settings = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": acceleration}}
    model = PopulationGLM(feature_mask=MASK, regularizer="Ridge", regularizer_strength=0.1, **settings)
    free = PopulationGLM(**settings)
    for start in (model.initialize_params(X, y), (np.ones((4, 3), np.float32), np.zeros(3, np.float32))):
        params, state = start, model.initialize_state(X, y, start)
        for seed in range(5):
            params, state = model.update(params, state, *small_data(seed))
            assert not np.asarray(params[0])[MASK == 0].any()
            assert np.asarray(params[0])[MASK == 1].all()
    assert np.asarray(free.update(*(lambda p: (p, free.initialize_state(X, y, p)))(start), X, y)[0][0]).all()


def test_a_start_is_where_the_fit_starts(data):
    X, y = data
    done = PopulationGLM(solver_kwargs={"tol": 1e-6}).fit(X, y)
    again = PopulationGLM().fit(X, y, init_params=(done.coef_, done.intercept_))
    assert (again.n_iter_ == 1).all() and (done.n_iter_ > 1).all()


WARNS = [  # solver, options, words
    (None, None, ["GradientDescent", "searches", "accelerates"]),
    ("GradientDescent", None, ["searches", "accelerates"]),
    ("GradientDescent", {"stepsize": 0.1}, ["accelerates"]),
    ("GradientDescent", {"acceleration": False}, ["searches"]),
    ("GradientDescent", {"stepsize": 0.0, "acceleration": False}, ["searches"]),
    ("LBFGS", None, ["searches"]),
    ("BFGS", None, ["searches"]),
    ("NonlinearCG", None, ["searches"]),
    ("ProximalGradient", None, ["searches", "accelerates"]),
    ("ProximalGradient", {"stepsize": 0.1, "acceleration": False}, []),
    ("GradientDescent", {"stepsize": 0.1, "acceleration": False}, []),
    ("GradientDescent", {"stepsize": lambda i: 0.1, "acceleration": False}, []),
    ("LBFGS", {"stepsize": 0.1}, []),
]


@pytest.mark.parametrize(("name", "options", "words"), WARNS, ids=lambda x: re.sub(" at 0x.*", "", str(x)))
def test_initialize_state_warns_of_what_is_wrong_for_batches(data, name, options, words):
    X, y = data
    model = PopulationGLM(solver_name=name, solver_kwargs=options)
    params = model.initialize_params(X, y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state = model.initialize_state(X, y, params)
    assert len(caught) == bool(words)
    text = str(caught[0].message) if caught else ""
    for word in ("searches", "accelerates"):
        assert (word in text) == (word in words)
    if caught:
        assert 'solver_kwargs={"stepsize": 0.1, "acceleration": False}' in text
    params, state = model.update(params, state, X, y)
    assert all(np.isfinite(p).all() for p in params)


def test_a_fit_that_stops_early_says_so(data):
    X, y = data
    with pytest.warns(RuntimeWarning, match=r"neuron 0, 1, 2: .*before it converged. Raise `maxiter`"):
        model = PopulationGLM(solver_kwargs={"maxiter": 2}).fit(X, y)
    assert not model.converged_.any() and (model.n_iter_ == 2).all()


def test_results_are_in_the_precision_of_jax(precision, data):
    X, y = data
    model = PopulationGLM().fit(X, y.astype(int))
    assert model.coef_.dtype == model.intercept_.dtype == model.predict(X).dtype == precision
    params = model.initialize_params(X, y)
    assert params[0].dtype == params[1].dtype == precision


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64])
def test_any_real_type_of_counts_is_taken(data, dtype):
    X, y = data
    y = np.minimum(y, 1)
    expected = PopulationGLM().fit(X, y)
    np.testing.assert_allclose(PopulationGLM().fit(X, y.astype(dtype)).coef_, expected.coef_, atol=1e-4)
    assert expected.score(X, y.astype(dtype)) == pytest.approx(expected.score(X, y), rel=1e-5)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float16, np.float32])
def test_any_real_type_of_features_is_taken(dtype):
    X, y = small_data()
    X = (X > 0) * 1.0
    fit, expected, other = PopulationGLM().fit(X, y), PopulationGLM(**PLAIN), PopulationGLM(**PLAIN)
    np.testing.assert_allclose(PopulationGLM().fit(X.astype(dtype), y).coef_, fit.coef_, atol=1e-4)
    np.testing.assert_allclose(fit.predict(X.astype(dtype)), fit.predict(X), rtol=1e-5)
    params = other.initialize_params(X.astype(dtype), y)
    got, _ = other.update(params, other.initialize_state(X.astype(dtype), y, params), X.astype(dtype), y)
    wanted, _ = expected.update(params, expected.initialize_state(X, y, params), X, y)
    np.testing.assert_allclose(got[0], wanted[0], atol=1e-6)


def test_a_constant_column_is_the_intercepts(data):
    X, y = data
    wide = np.c_[X, np.full(len(X), 7.0)]
    start = (np.ones((5, 3), "float32"), np.zeros(3, "float32"))
    for settings in ({}, {"regularizer": "Ridge", "regularizer_strength": 1.0}):
        with pytest.warns(RuntimeWarning, match="feature 4: the same value in every valid bin"):
            model = PopulationGLM(**settings).fit(wide, y, init_params=start)
        assert not model.coef_[4].any()
        np.testing.assert_allclose(model.coef_[:4], PopulationGLM(**settings).fit(X, y).coef_, atol=2e-4)


def test_features_too_far_from_0_are_refused():
    X = np.random.default_rng(0).normal(size=(500, 2))
    X[:, 1] += 1e8
    with pytest.raises(ValueError, match=r"feature 1 of X lies 1e\+08 standard deviations from 0"):
        GLM().fit(X, np.ones(500))


def test_update_forgets_how_the_last_fit_went(data):
    X, y = data
    model = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False})
    params = model.initialize_params(X, y)
    state = model.initialize_state(X, y, params)
    PopulationGLM.fit(model.set_params(solver_name=None, solver_kwargs=None), X, y)
    model.set_params(solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False})
    model.update(params, state, X, y)
    assert not hasattr(model, "n_iter_") and not hasattr(model, "converged_")


@pytest.mark.parametrize(
    "link, error",
    [(np.exp, TypeError), (lambda eta: eta, ValueError), (lambda eta: jnp.exp(-eta), ValueError), ([1], TypeError)],
)
def test_a_link_must_be_traceable_positive_and_increasing(data, link, error):
    X, y = data
    with pytest.raises(error, match="inverse_link_function"):
        PopulationGLM(inverse_link_function=link).fit(X, y)


def test_a_model_takes_its_link_by_name(data):
    X, y = data
    named = PopulationGLM(observation_model=Poisson(link="softplus")).fit(X, y)
    np.testing.assert_array_equal(named.coef_, PopulationGLM(inverse_link_function="softplus").fit(X, y).coef_)


def test_a_stalled_neuron_is_told_to_rescale(data, monkeypatch):
    X, y = data
    monkeypatch.setattr("popglm._solver.ask_tell.MAX_REJECTS", 0)
    jax.clear_caches()
    with pytest.warns(RuntimeWarning, match="neuron 0, 1, 2: the fit met round-off"):
        assert not PopulationGLM().fit(X, y).converged_.any()
    jax.clear_caches()


def test_settings_changed_after_a_fit_do_not_change_what_it_means(data):
    X, y = data
    model = PopulationGLM().fit(X, y)
    rate, score = model.predict(X), model.score(X, y)
    model.set_params(observation_model="Gaussian", inverse_link_function="softplus")
    np.testing.assert_array_equal(model.predict(X), rate)
    assert model.score(X, y) == score
    model.set_params(observation_model="Poisson").fit(X, y)
    assert np.abs(model.predict(X) - rate).max() > 1e-3, "the next fit takes the new settings"


def test_a_model_says_in_a_line_what_it_holds(data):
    X, y = data
    mask = np.ones((X.shape[1], 3))
    assert repr(PopulationGLM(feature_mask=mask)) == "PopulationGLM(feature_mask=array of shape (4, 3))"
    fit = PopulationGLM(regularizer="Ridge", regularizer_strength=0.1).fit(X, y)
    settings = "PopulationGLM(regularizer='Ridge', regularizer_strength=0.1)"
    assert repr(fit) == f"{settings} with 4 coefficients of each of 3 neurons, converged"
    assert repr(GLM().fit(X, y[:, 0])) == "GLM() with 4 coefficients of one neuron, converged"
    fit.converged_ = np.array([True, False, True])
    assert repr(fit).endswith("each of 3 neurons, 1 of them not converged")
    assert repr(clone(fit)) == settings
