# ruff: noqa: E702, B018
"""Pages written for NeMoS's classic API run with only the import changed."""

import numpy as np
import pytest

import popglm


@pytest.fixture
def units(population):
    return population.units


@pytest.mark.filterwarnings("ignore:.*stopped before the optimum:RuntimeWarning")  # 500 plain steps are few
def test_the_contract_runs_character_for_character(units):
    n_neurons, n_basis = 4, 5

    # fmt: off
    model = popglm.glm.PopulationGLM(
        solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False})
    basis = popglm.basis.RaisedCosineLogConv(5, window_size=40)
    counts = units.count(0.005)
    X = basis.compute_features(counts)                 # TsdFrame in, TsdFrame out
    params = model.initialize_params(X, counts)        # unpacks as (coef, intercept)
    state = model.initialize_state(X, counts, params)
    params, state = model.update(params, state, X, counts)   # also sets coef_, intercept_
    model.score(X, counts, score_type="log-likelihood")
    model.score(X, counts, aggregate_sample_scores=lambda s: np.mean(s, axis=0),
                score_type="pseudo-r2-McFadden")
    model.fit(X, counts); model.coef_; model.intercept_; model.predict(X)
    basis.n_basis_funcs; model.coef_.reshape(n_neurons, n_basis, n_neurons)   # sender, function, receiver
    # fmt: on

    coef, intercept = params
    assert type(X) is type(counts) is type(model.predict(X))
    assert coef.shape == model.coef_.shape == (n_neurons * n_basis, n_neurons)
    assert intercept.shape == model.intercept_.shape == (n_neurons,)


def test_a_batching_page_runs(units):
    """Random windows of the recording, 500 steps: as the classic page does it."""
    import pynapple as nap

    import popglm as nmo  # the line that changes

    rng = np.random.default_rng(123)
    bin_size, batch_size, n_updates = 0.005, 5.0, 500
    basis = nmo.basis.RaisedCosineLogConv(5, window_size=40)
    model = nmo.glm.PopulationGLM(
        solver_name="GradientDescent",
        solver_kwargs={"stepsize": 0.1, "acceleration": False},
    )

    def batcher():
        t = rng.uniform(units.time_support[0, 0], units.time_support[0, 1] - batch_size)
        ep = nap.IntervalSet(t, t + batch_size)
        counts = units.count(bin_size, ep)
        X = basis.compute_features(counts)
        return X, counts

    X, Y = batcher()
    params = model.initialize_params(X, Y)
    state = model.initialize_state(X, Y, params)
    counts = units.count(bin_size)
    X_all = basis.compute_features(counts)
    for _ in range(n_updates):
        X, Y = batcher()
        params, state = model.update(params, state, X, Y)

    score = model.score(X_all, counts, score_type="pseudo-r2-McFadden")
    full = nmo.glm.PopulationGLM().fit(X_all, counts).score(X_all, counts, score_type="pseudo-r2-McFadden")
    assert 0.3 * full < score < full
