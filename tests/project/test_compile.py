"""What is compiled, and how often: once per shape."""

import contextlib

import jax
import numpy as np
import pytest
from samples import small_data

from popglm._design.arrays import round_up_length
from popglm._design.sizes import SIZES
from popglm._solver.jaxopt import _compile_functions, _solver_functions
from popglm.basis import RaisedCosineLogConv
from popglm.batching import count_lazily, random_windows
from popglm.glm import PopulationGLM

PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def compilations():
    """A list that grows with every compilation of JAX."""
    happened = []

    def listen(event, duration, **kwargs):
        if event == COMPILED:
            happened.append(kwargs.get("fun_name", event))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield happened
    jax.monitoring.unregister_event_duration_listener(listen)


@contextlib.contextmanager
def nothing_compiled(compilations):
    before = len(compilations)
    yield
    assert not compilations[before:], f"compiled {compilations[before:]}"


def started(settings, X, y):
    model = PopulationGLM(**settings)
    params = model.initialize_params(X, y)
    return model, params, model.initialize_state(X, y, params)


def test_500_updates_compile_once(compilations):
    X, y = small_data(n_bins=130)
    model, params, state = started(PLAIN, X, y)
    before = _compile_functions.cache_info().misses
    rng = np.random.default_rng(0)
    step = _solver_functions("GradientDescent", PLAIN["solver_kwargs"]).update
    sizes = step._cache_size()
    for i in range(500):
        X, y = rng.normal(size=X.shape), rng.poisson(0.5, y.shape)
        if i % 3:
            X[: i % 7] = np.nan  # other rows are missing in every batch
        params, state = model.update(params, state, X, y * 1.0)
        if i == 0:
            first = len(compilations)
    assert len(compilations) == first
    assert step._cache_size() == sizes + 1
    assert _compile_functions.cache_info().misses == before


def test_two_estimators_and_three_steps_share_one_compilation(compilations):
    X, y = small_data(n_bins=140)
    model, params, state = started(PLAIN, X, y)
    model.update(params, state, X, y)
    with nothing_compiled(compilations):
        for stepsize in (0.05, 0.2, 0.3):
            settings = {**PLAIN, "solver_kwargs": {"stepsize": stepsize, "acceleration": False}}
            model, params, state = started(settings, X, y)
            model.update(params, state, X, y)


RIDGE = {"regularizer": "Ridge", "regularizer_strength": 0.1}
SOLVERS = [{}, {"solver_name": "LBFGS"}, PLAIN]


@pytest.mark.parametrize("solver", SOLVERS, ids=["default", "LBFGS", "GradientDescent"])
@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_strengths_estimators_and_data_share_one_compilation(compilations, solver):
    X, y = small_data(n_bins=150)
    PopulationGLM(**solver, **RIDGE).fit(X, y)
    assert compilations
    with nothing_compiled(compilations):
        for strength in (0.01, 1, np.float32(10.0)):
            PopulationGLM(**solver, regularizer="Ridge", regularizer_strength=strength).fit(X, y)
        X, y = small_data(seed=5, n_bins=150)
        X[:20] = np.nan
        PopulationGLM(**solver, **RIDGE).fit(X, y.astype(int))


def test_the_solver_itself_compiles_nothing(compilations):
    """Two loops over the data, what one neuron's loss curves by, and nothing else, whatever the number of passes."""
    X, y = small_data(n_bins=160, n_features=7)
    PopulationGLM(**RIDGE).fit(X, y)
    names = [name for name in compilations if "chunk" in str(name)]
    assert len(names) == 2 and len(compilations) <= 6, compilations


@pytest.mark.parametrize("lazy", [False, True], ids=["dense", "lazy"])
def test_recordings_of_other_lengths_share_one_compilation(compilations, lazy, monkeypatch):
    """From one chunk on, every length; lengths below it in steps of an eighth or less."""
    monkeypatch.setattr(SIZES, "block_rows", 96)
    monkeypatch.setattr(SIZES, "chunk_blocks", 2)
    basis, (_, y) = RaisedCosineLogConv(2, window_size=9), small_data(n_bins=3000)

    def use(n):
        X = basis.lazy_features(y[:n]) if lazy else basis.compute_features(y[:n])
        model = PopulationGLM(**RIDGE).fit(X, y[:n])
        return model.score(X, y[:n]), model.predict(X)

    use(500)
    with nothing_compiled(compilations):
        for n in (300, 501, 1700, 3000):
            use(n)
    for n in range(1, 5000):
        assert n <= round_up_length(n) <= 1.12 * n or n < 16


def test_five_folds_share_one_compilation(compilations):
    """Folds of equal length, and of lengths that differ by one: cross-validation compiles for its first fold only."""
    X, y = small_data(n_bins=783)
    folds = np.array_split(np.arange(len(X)), 5)

    def score(fold):
        return PopulationGLM(**RIDGE).fit(np.delete(X, fold, 0), np.delete(y, fold, 0)).score(X[fold], y[fold])

    score(folds[0])
    with nothing_compiled(compilations):
        assert np.isfinite([score(fold) for fold in folds[1:]]).all()


def test_features_predictions_and_scores_compile_once(compilations):
    basis = RaisedCosineLogConv(2, window_size=10)
    y = small_data(n_bins=170)[1]
    X = basis.compute_features(y)
    model = PopulationGLM().fit(X, y)

    def use(X, y):
        return (model.predict(X), model.score(X, y), model.score(X, y, "pseudo-r2-McFadden"))

    use(X, y)
    with nothing_compiled(compilations):
        y = small_data(seed=2, n_bins=170)[1]
        X = RaisedCosineLogConv(2, window_size=10).compute_features(y)
        use(X, y)


@pytest.mark.parametrize("kind", ["lazy", "virtual"])
def test_windows_of_every_length_are_made_by_few_compilations(compilations, population, kind):
    """The pieces at the ends of epochs are shorter, at another phase in every pass: 700 bins, 350, 175 and so on."""
    counts = population.counts if kind == "lazy" else count_lazily(population.units, 0.005)
    windows = random_windows(RaisedCosineLogConv(2, window_size=11).lazy_features(counts), counts, 700, seed=0)
    lengths = {int((~np.isnan(y[:, 0])).sum()) for _ in range(20) for _, y in windows}
    assert len(lengths) > 30
    assert len([name for name in compilations if "entries" in str(name)]) <= 10, compilations
