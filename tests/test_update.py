"""Single steps: what one does, what it refuses, and that it leaves nothing behind that the next step needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import small_data

from popglm.glm import GLM, PopulationGLM

PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}


def by_hand(coef, intercept, X, y, stepsize, strength=0.0):
    """One step of gradient descent on the sum over neurons of the mean loss over each neuron's valid bins."""
    coef, intercept, rows = coef.copy(), intercept.copy(), ~np.isnan(X).any(1)
    for n in range(y.shape[1]):
        valid = rows & ~np.isnan(y[:, n])
        residual = np.exp(X[valid] @ coef[:, n] + intercept[n]) - y[valid, n]
        gradient = X[valid].T @ residual / valid.sum() + strength * coef[:, n]
        coef[:, n] -= stepsize * gradient
        intercept[n] -= stepsize * residual.mean()
    return coef, intercept


def started(model, X, y):
    params = model.initialize_params(X, y)
    return params, model.initialize_state(X, y, params)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("settings", [{}, {"regularizer": "Ridge", "regularizer_strength": 0.3}], ids=str)
def test_equals_the_step_written_by_hand(precision, data, settings, missing):
    X, y = data
    if missing:
        X[:40, 0], y[100:300, 1] = np.nan, np.nan
    model = PopulationGLM(**PLAIN, **settings)
    params, state = started(model, X, y)
    rng = np.random.default_rng(1)
    params = expected = (rng.normal(scale=0.2, size=(4, 3)), rng.normal(scale=0.2, size=3) - 1)
    params = tuple(jnp.asarray(p) for p in params)
    for _ in range(3):
        params, state = model.update(params, state, X, y)
        expected = by_hand(*expected, X, y, 0.1, settings.get("regularizer_strength", 0.0))
    for got, wanted in zip(params, expected, strict=True):
        assert got.dtype == precision
        np.testing.assert_allclose(got, wanted, atol=1e-6 if precision == "float32" else 1e-14)


def test_the_step_of_one_neuron_does_not_depend_on_the_others(precision, data):
    X, y = data
    together, alone = PopulationGLM(**PLAIN), GLM(**PLAIN)
    params, _ = together.update(*started(together, X, y), X, y)
    for n in range(3):
        single, _ = alone.update(*started(alone, X, y[:, n]), X, y[:, n])
        np.testing.assert_allclose(single[0], params[0][:, n], atol=1e-6)
        np.testing.assert_allclose(single[1], params[1][n : n + 1], atol=1e-6)


def test_starts_from_the_mean_rates(precision, data):
    X, y = data
    X[:100] = np.nan
    coef, intercept = PopulationGLM().initialize_params(X, y)
    assert coef.shape == (4, 3) and not coef.any() and coef.dtype == precision
    np.testing.assert_allclose(np.exp(intercept), y[100:].mean(0), rtol=1e-6)


def test_a_neuron_silent_in_the_first_batch_starts_at_half_a_spike(data):
    X, y = data
    y[:, 1] = 0
    model = PopulationGLM(**PLAIN)
    params, state = started(model, X, y)
    np.testing.assert_allclose(np.exp(params[1][1]), 0.5 / len(X), rtol=1e-6)
    for seed in range(5):
        params, state = model.update(params, state, *small_data(seed))
    assert all(np.isfinite(p).all() for p in params)


def test_parameters_are_kept_and_state_is_passed(data):
    X, y = data
    model = PopulationGLM(**PLAIN)
    params, state = model.update(*started(model, X, y), X, y)
    np.testing.assert_array_equal(model.coef_, params[0])
    np.testing.assert_array_equal(model.intercept_, params[1])
    assert np.isfinite(model.score(X, y)) and model.predict(X).shape == y.shape
    other = PopulationGLM(**PLAIN)  # goes on from another's parameters and state: nothing it needs is on `self`
    one, two = (m.update(params, state, X, y)[0] for m in (model, other))
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_an_update_forgets_the_fit_before_it(data):
    X, y = data
    model = PopulationGLM(**PLAIN)
    model.fit_batches([(X, y)] * 2, n_steps=2)
    assert model.history_ and model.batch_state_
    model.update(*started(model, X, y), X, y)
    of_a_fit = [name for name in vars(model) if name.endswith("_") and not name.startswith("_")]
    assert sorted(of_a_fit) == ["coef_", "intercept_", "n_features_in_", "observation_model_"]


def test_many_steps_approach_the_exact_fit(precision, data):
    X, y = data
    model = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 0.5, "acceleration": False})
    params, state = started(model, X, y)
    for _ in range(300):
        params, state = model.update(params, state, X, y)
    exact = PopulationGLM().fit(X, y)
    np.testing.assert_allclose(params[0], exact.coef_, atol=2e-3)
    np.testing.assert_allclose(params[1], exact.intercept_, atol=2e-3)
