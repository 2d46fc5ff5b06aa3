"""Weights count rows, offsets are inputs whose coefficient is held at 1: laws and other software, in double precision."""

from functools import lru_cache

import h5py
import jax
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
import statsmodels.api as sm
from families import FAMILIES, OF
from samples import Rows, framed, sample_cases

from popglm._design.sizes import SIZES
from popglm.assessment import deviance_residuals, pearson_residuals, rescaled_intervals, scores
from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM

pytestmark = pytest.mark.usefixtures("float64")
CASES = {
    "Poisson": ({}, FAMILIES.Poisson()),
    "Bernoulli": ({}, FAMILIES.Binomial()),
    "probit": ({"observation_model": "Bernoulli", "inverse_link_function": "probit"}, FAMILIES.Binomial(OF.Probit())),
    "Gaussian": ({}, FAMILIES.Gaussian()),
    "Gamma": ({}, FAMILIES.Gamma(OF.Log())),
    "NegativeBinomial": ({}, None),
}
N = 300
BASIS = RaisedCosineLogConv(2, window_size=10)
RIDGE = {"regularizer": "Ridge", "regularizer_strength": 0.01}
PLAIN = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}


def settings(case):
    return {"observation_model": case} | CASES[case][0]


def draw(case, eta, rng):
    """Activity at this linear predictor."""
    if case == "Gaussian":
        return eta + rng.normal(size=eta.shape)
    if case in ("Bernoulli", "probit"):
        return (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(float)
    mean = np.exp(eta)
    if case == "Gamma":
        return mean * rng.gamma(3.0, 1 / 3, eta.shape)
    return (rng.poisson(mean) if case == "Poisson" else rng.negative_binomial(2, 2 / (2 + mean))).astype(float)


@lru_cache
def weighted(case):
    """Data of two neurons with weights and offsets of their own, the fit to them, and its scores."""
    rng = np.random.default_rng(0)
    X, offset = rng.normal(size=(N, 3)), rng.normal(size=(N, 2)) - [0, 0.5]
    weight = rng.integers(0, 4, (N, 2)).astype(float)
    y = draw(case, X @ [[0.3, -0.2], [-0.4, 0.1], [0.2, 0.5]] + 0.8 + offset, rng)
    model = PopulationGLM(**settings(case)).fit(X, y, sample_weight=weight, offset=offset)
    return X, y, weight, offset, model


def repeated(X, y, weight, offset):
    """Rows as often as their weights say, those of one neuron after those of the other; NaN in y is not counted."""
    parts = []
    for n in range(y.shape[1]):
        rows = np.repeat(np.arange(len(y)), weight[:, n].astype(int))
        only = np.full((len(rows), y.shape[1]), np.nan)
        only[:, n] = y[rows, n]
        parts.append((X[rows], only, offset[rows]))
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


def same_fit(a, b, rtol=0, atol=1e-8):
    for name in ("coef_", "intercept_", "scale_"):
        if getattr(b, name) is not None:
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", sample_cases(CASES, 4))
def test_a_weight_counts_its_row_that_often(case):
    """Coefficients, dispersions and scores of all kinds are those of the rows that are repeated; 0 leaves a row out."""
    X, y, weight, offset, model = weighted(case)
    rows, only, offsets = repeated(X, y, weight, offset)
    expected = PopulationGLM(**settings(case)).fit(rows, only, offset=offsets)
    same_fit(model, expected, atol=1e-6 if case == "NegativeBinomial" else 1e-8)
    for null in ("scored", "train", model.predict(X, offset=0 * offset).mean(0)):
        table = scores(expected, X, y, null, sample_weight=weight, offset=offset)
        pd.testing.assert_frame_equal(
            table, scores(expected, rows, only, null, offset=offsets), check_dtype=False, rtol=1e-9, atol=1e-9
        )
    np.testing.assert_array_equal(table["bins"], weight.sum(0))
    for kind in ("log-likelihood", "pseudo-r2-McFadden", "pseudo-r2-Cohen"):
        one = expected.score(X, y, kind, sample_weight=weight, offset=offset)
        assert one == pytest.approx(expected.score(rows, only, kind, offset=offsets), rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_equals_statsmodels(case):
    X, y, weight, offset, model = weighted(case)
    table = scores(model, X, y, sample_weight=weight, offset=offset)
    mean = model.predict(X, offset=offset)
    for n in range(2):
        w, o, Z = weight[:, n], offset[:, n], sm.add_constant(X)
        params = np.append(model.intercept_[n], model.coef_[:, n])
        if case == "NegativeBinomial":
            k = np.repeat(np.arange(N), w.astype(int))
            fit = sm.NegativeBinomial(y[k, n], Z[k], offset=o[k]).fit(disp=0, maxiter=1000, method="bfgs", gtol=1e-9)
            np.testing.assert_allclose(np.append(params, model.scale_[n]), fit.params, rtol=1e-6, atol=1e-6)
            assert table["log-likelihood"][n] * w.sum() == pytest.approx(fit.llf, rel=1e-9)
            continue
        family = CASES[case][1]
        fit = sm.GLM(y[:, n], Z, family=family, freq_weights=w, offset=o).fit(
            tol=1e-14, tol_criterion="params", maxiter=200
        )
        np.testing.assert_allclose(params, fit.params, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(mean[:, n], fit.fittedvalues, rtol=1e-8, atol=1e-8)
        assert table["deviance"][n] == pytest.approx(fit.deviance, rel=1e-8)
        assert table["pseudo-r2-Cohen"][n] == pytest.approx(1 - fit.deviance / fit.null_deviance, rel=1e-7)
        if model.scale_ is not None:
            assert model.scale_[n] == pytest.approx(fit.scale, rel=1e-8)
            continue
        assert table["log-likelihood"][n] * w.sum() == pytest.approx(fit.llf, rel=1e-8)
        assert table["pseudo-r2-McFadden"][n] == pytest.approx(1 - fit.llf / fit.llnull, rel=1e-7)
        if case == "Poisson":
            bits = (fit.llf - fit.llnull) / np.log(2) / (w * y[:, n]).sum()
            assert table["bits-per-spike"][n] == pytest.approx(bits, rel=1e-7)


@pytest.mark.parametrize("case", sample_cases(CASES, 3))
def test_an_offset_is_an_input_whose_coefficient_is_held_at_1(case):
    """At the coefficients of a fit, its last input as an offset leaves the others where they are, and every prediction."""
    X, y, weight, _, _ = weighted(case)
    full = PopulationGLM(**settings(case)).fit(X, y, sample_weight=weight)
    held = X[:, 2:] * full.coef_[2]
    part = PopulationGLM(**settings(case)).fit(X[:, :2], y, sample_weight=weight, offset=held)
    np.testing.assert_allclose(part.coef_, full.coef_[:2], atol=1e-6)
    np.testing.assert_allclose(part.predict(X[:, :2], offset=held), full.predict(X), rtol=1e-5)


@pytest.mark.parametrize("case", sample_cases(CASES, 4))
def test_the_size_of_all_weights_changes_no_coefficient(case):
    X, y, weight, offset, model = weighted(case)
    for factor in (1e-4, 1e4) if model.scale_ is None else (1e4,):  # a scale needs more bins than coefficients
        other = PopulationGLM(**settings(case)).fit(X, y, sample_weight=factor * weight, offset=offset)
        np.testing.assert_allclose(other.coef_, model.coef_, atol=1e-6)
        assert other.converged_.all()


def test_ones_and_zeros_are_as_none_and_NaN_leaves_out():
    X, y, weight, offset, _ = weighted("Poisson")
    plain = PopulationGLM().fit(X, y)
    for rows in ({"sample_weight": np.ones(N)}, {"offset": np.zeros(N)}, {"sample_weight": np.ones((N, 2), int)}):
        same_fit(PopulationGLM().fit(X, y, **rows), plain, atol=1e-13)
    holes = np.where(np.random.default_rng(1).random((N, 2)) < 0.2, np.nan, 0)
    expected = PopulationGLM().fit(X, y + holes, sample_weight=weight, offset=offset)
    for rows in ((weight + holes, offset), (weight, offset + holes), (np.where(np.isnan(holes), 0, weight), offset)):
        rows = dict(zip(("sample_weight", "offset"), rows, strict=True))
        same_fit(PopulationGLM().fit(X, y, **rows), expected, atol=1e-13)
        assert scores(expected, X, y, **rows).equals(
            scores(expected, X, y + holes, sample_weight=weight, offset=offset)
        )
    rate = expected.predict(X, offset=offset + holes)
    assert (np.isnan(rate) == np.isnan(holes)).all()


@pytest.fixture(scope="module")
def history():
    """Counts of two neurons in two epochs, weights and offsets of their bins, and the lazy features of their past."""
    rng = np.random.default_rng(0)
    counts = framed(rng.poisson(0.4, (N, 2)), [120, 180])
    counts = nap.TsdFrame(t=counts.t, d=counts.d, time_support=counts.time_support, columns=["a", "b"])
    return counts, (rng.random((N, 2)) < 0.7).astype(float), rng.normal(size=(N, 2)).round(2)


def fit_history(counts, weight, offset, built=False):
    make = BASIS.compute_features if built else BASIS.lazy_features
    return PopulationGLM().fit(make(counts), counts, sample_weight=weight, offset=offset)


def in_file(values, path):
    with h5py.File(path, "w") as file:
        file["values"] = values
    return h5py.File(path)["values"]


def on_disk(values, path):
    stream = np.memmap(path, values.dtype, "w+", shape=values.shape)
    stream[:] = values
    return stream


FORMS = {
    "bool": lambda a, counts, path: a.astype(bool) if set(np.unique(a)) <= {0, 1} else a,
    "integers": lambda a, counts, path: a.astype(int) if set(np.unique(a)) <= {0, 1} else a,
    "columns first": lambda a, counts, path: np.asfortranarray(a),
    "not contiguous": lambda a, counts, path: np.repeat(a, 2, 0)[::2],
    "big-endian": lambda a, counts, path: a.astype(">f8"),
    "JAX": lambda a, counts, path: jax.numpy.asarray(a),
    "lists": lambda a, counts, path: a.tolist(),
    "pynapple": lambda a, counts, path: nap.TsdFrame(
        t=counts.t, d=a, columns=["a", "b"], time_support=counts.time_support
    ),
    "pandas": lambda a, counts, path: pd.DataFrame(a, columns=["a", "b"]),
    "HDF5": lambda a, counts, path: in_file(a, path),
    "memmap": lambda a, counts, path: on_disk(a, path),
    "slices": lambda a, counts, path: Rows(a),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_weights_and_offsets_changes_nothing(history, tmp_path, form):
    counts, weight, offset = history
    rows = [FORMS[form](a, counts, tmp_path / str(i)) for i, a in enumerate((weight, offset))]
    model, plain = fit_history(counts, *rows), fit_history(*history)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    X = BASIS.lazy_features(counts)
    assert scores(model, X, counts, sample_weight=rows[0], offset=rows[1]).equals(
        scores(plain, X, counts, sample_weight=weight, offset=offset)
    )
    np.testing.assert_array_equal(model.predict(X, offset=rows[1]), plain.predict(X, offset=offset))


def test_one_number_for_all_neurons_and_single_precision(history):
    counts, weight, offset = history
    expected = fit_history(counts, np.repeat(weight[:, :1], 2, 1), np.repeat(offset[:, 1:], 2, 1))
    for rows in (
        (weight[:, 0], offset[:, 1]),
        (weight[:, :1], offset[:, 1:]),
        (nap.Tsd(counts.t, weight[:, 0], time_support=counts.time_support), pd.Series(offset[:, 1])),
    ):
        same_fit(fit_history(counts, *rows), expected, atol=1e-12)
    same_fit(fit_history(counts, *(a.astype(np.float32) for a in (weight, offset))), fit_history(*history), atol=1e-7)


def test_a_row_that_is_left_out_stays_in_the_history_of_others(history, monkeypatch):
    """Lazy as built, in blocks of any size: a weight of 0 hides a bin as what is predicted only."""
    counts, weight, offset = history
    lazy, built = fit_history(*history), fit_history(*history, built=True)
    same_fit(lazy, built)
    hidden = np.where(weight > 0, counts.values, np.nan)
    same_fit(PopulationGLM().fit(BASIS.lazy_features(counts), hidden, offset=offset), lazy, atol=1e-10)
    X, part = BASIS.lazy_features(counts), np.random.default_rng(0).permutation(N)[:250]
    y, w, o = counts.values[part], weight[part], offset[part]
    some = PopulationGLM().fit(X[part], y, sample_weight=w, offset=o)
    for rows in ({"sample_weight": w, "offset": o}, {"sample_weight": Rows(w), "offset": Rows(o)}):
        same_fit(PopulationGLM().fit(np.asarray(X[part]), y, **rows), some)
        same_fit(PopulationGLM().fit(X[part], y, **rows), some, atol=1e-12)
    monkeypatch.setattr(SIZES, "block_rows", 64)
    monkeypatch.setattr(SIZES, "chunk_blocks", 3)
    same_fit(fit_history(*history), lazy)
    weight = weight.copy()
    weight[:250] = 0  # whole chunks without a row that counts
    late, hidden = fit_history(counts, weight, offset), np.where(weight > 0, counts.values, np.nan)
    same_fit(PopulationGLM().fit(BASIS.lazy_features(counts), hidden, offset=offset), late, atol=1e-10)


def test_a_named_solver_a_path_and_updates_count_as_fit_does():
    X, y, weight, offset, model = weighted("Poisson")
    given = {"sample_weight": weight, "offset": offset}
    rows, only, offsets = repeated(X, y, weight, offset)
    named = PopulationGLM(solver_name="LBFGS", solver_kwargs={"tol": 1e-10, "maxiter": 500}).fit(X, y, **given)
    assert named.converged_.all()
    np.testing.assert_allclose(named.coef_, model.coef_, atol=1e-6)
    strengths = [0.01, 0.1]
    path = PopulationGLM(regularizer="Ridge").fit_path(X, y, strengths, **given)
    expected = PopulationGLM(regularizer="Ridge").fit_path(rows, only, strengths, offset=offsets)
    np.testing.assert_allclose(path.coef, expected.coef, atol=1e-6)
    one = PopulationGLM(regularizer="Ridge", regularizer_strength=0.1).fit(X, y, **given)
    np.testing.assert_allclose(path.coef[1], one.coef_, atol=1e-6)
    stepper, steps = PopulationGLM(**PLAIN), []
    for data, rest in (((X, y), given), ((rows, only), {"offset": offsets})):
        params = stepper.initialize_params(*data, **rest)
        state = stepper.initialize_state(*data, params, **rest)
        for _ in range(3):
            params, state = stepper.update(params, state, *data, **rest)
        steps.append(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), *steps)


def test_residuals_and_rescaled_intervals_leave_out_bins(history):
    counts, weight, offset = history
    X, model = BASIS.lazy_features(counts), fit_history(*history)
    hidden = framed(np.where(weight > 0, counts.values, np.nan), [120, 180])
    for residuals in (deviance_residuals, pearson_residuals):
        one = residuals(model, X, counts, sample_weight=3 * weight, offset=offset)
        two = residuals(model, X, hidden.values, offset=offset)
        np.testing.assert_allclose(one.values, two.values, rtol=1e-12)
    one = rescaled_intervals(model, X, counts, seed=0, sample_weight=weight, offset=offset)
    two = rescaled_intervals(model, X, hidden.values, seed=0, offset=offset)
    for a, b in zip(one.values(), two.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_findings_are_those_of_the_rows_that_count():
    """A feature that is constant, collinear or separating in the rows that count is so with weights."""
    X, y, weight, _, _ = weighted("Poisson")
    weight = np.where(np.arange(N) < 200, weight[:, 0], 0)
    X = X.copy()
    X[:200, 1], X[:200, 2] = 2 * X[:200, 0], 3.0
    with pytest.warns(RuntimeWarning) as told:
        model = PopulationGLM().fit(X, y, sample_weight=weight)
    rows, only, _ = repeated(X, y, np.stack([weight, weight], 1), np.zeros((N, 2)))
    with pytest.warns(RuntimeWarning) as expected:
        other = PopulationGLM().fit(rows, only)
    assert [str(w.message) for w in told] == [str(w.message) for w in expected]
    same_fit(model, other, atol=1e-7)
    pulse = (np.arange(N) % 10 == 0).astype(float)[:, None]
    separated = np.where(pulse > 0, 0, y + 1)
    separated[50] = 5  # the one event that comes with a pulse is left out
    with pytest.warns(RuntimeWarning, match="no event comes with|never|feature 0"):
        PopulationGLM().fit(pulse, separated, sample_weight=np.arange(N) != 50)
    PopulationGLM().fit(pulse, separated)


def test_offsets_far_from_0_and_of_many_sizes():
    """Exposures from a millisecond to minutes, and an offset that shifts every mean far away, move the intercept only."""
    rng = np.random.default_rng(0)
    X, _, weight, _, _ = weighted("Poisson")
    exposure = 10 ** rng.uniform(0, 5, (N, 1))
    y = rng.poisson(exposure * np.exp(X @ [[0.3, 0.1], [0.2, -0.3], [0.0, 0.4]] - 3))
    offset = np.log(exposure)
    plain = PopulationGLM().fit(X, y, sample_weight=weight, offset=offset)
    fit = sm.GLM(y[:, 0], sm.add_constant(X), family=FAMILIES.Poisson(), exposure=exposure[:, 0]).fit(tol=1e-14)
    np.testing.assert_allclose(PopulationGLM().fit(X, y, offset=offset).coef_[:, 0], fit.params[1:], rtol=1e-7)
    for shift in (-20, 20):
        moved = PopulationGLM().fit(X, y, sample_weight=weight, offset=offset + shift)
        np.testing.assert_allclose(moved.coef_, plain.coef_, atol=1e-7)
        np.testing.assert_allclose(moved.intercept_, plain.intercept_ - shift, atol=1e-6)
        assert moved.score(X, y, "pseudo-r2-McFadden", offset=offset + shift) == pytest.approx(
            plain.score(X, y, "pseudo-r2-McFadden", offset=offset), abs=1e-8
        )


def test_a_drive_far_from_0_in_single_precision():
    """Where a Gaussian activity of 1 is on top of a known 100,000, it is subtracted before it is rounded."""
    X, y, weight, offset, model = weighted("Gaussian")
    with jax.enable_x64(False):
        far = PopulationGLM("Gaussian").fit(X, y + 1e5, sample_weight=weight, offset=offset + 1e5)
        rate = far.predict(X, offset=offset + 1e5)
    np.testing.assert_allclose(far.coef_, model.coef_, atol=1e-4)
    np.testing.assert_allclose(far.scale_, model.scale_, rtol=1e-4)
    np.testing.assert_allclose(rate, model.predict(X, offset=offset) + 1e5, rtol=1e-6)


def test_a_silent_neuron_has_half_an_event_in_its_exposure():
    """Its mean at offset 0 is half an event, spread over what was observed; weights may make a neuron silent."""
    X, y, weight, offset, _ = weighted("Poisson")
    weight = np.where(y > 0, 0, weight)
    weight[:, 0] = 1
    with pytest.warns(RuntimeWarning, match="no event in any valid bin"):
        model = PopulationGLM().fit(X, y, sample_weight=weight, offset=offset)
    assert (model.coef_[:, 1] == 0).all() and (model.coef_[:, 0] != 0).all()
    counted = weight[:, 1] > 0
    expected = (weight[counted, 1] * np.exp(offset[counted, 1])).sum()
    assert np.exp(model.intercept_[1]) * expected == pytest.approx(0.5, rel=1e-8)
    assert scores(model, X, y, sample_weight=weight, offset=offset)["pseudo-r2-McFadden"][1] == 0


@pytest.mark.parametrize("name", ["Bernoulli", "Poisson"])
def test_small_weights_leave_silent_and_active_neurons_possible_means(name):
    """Half an event in less than one bin would be no probability; the other neurons are fitted."""
    X = np.arange(20.0)[:, None] % 5
    y = np.column_stack([np.zeros(20), np.ones(20), np.arange(20) % 2])
    with pytest.warns(RuntimeWarning, match="neuron 0: no event|neuron 1: an event in every"):
        model = PopulationGLM(name).fit(X, y, sample_weight=np.full(20, 1e-3))
    assert np.all(np.isfinite(model.coef_)) and 0 < model.predict(X)[0, 0] <= 0.5
    alone = GLM(name).fit(X, y[:, 2])
    np.testing.assert_allclose(model.coef_[:, 2], alone.coef_, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["pseudo-r2-McFadden", "pseudo-r2-Cohen"])
def test_null_models_on_new_data_have_the_offset(kind):
    """The null model of the data of the fit, or rates of the user, are those at offset 0; likelihoods by statsmodels."""
    _, y, weight, offset, model = weighted("Poisson")
    rng = np.random.default_rng(5)
    Z, o, w = rng.normal(size=(N, 3)), rng.normal(size=(N, 2)), rng.integers(0, 3, (N, 2))
    new = draw("Poisson", Z @ model.coef_ + o, rng)
    ones = np.ones((N, 1))
    fits = [
        sm.GLM(y[:, n], ones, family=FAMILIES.Poisson(), offset=offset[:, n], freq_weights=weight[:, n]).fit(tol=1e-14)
        for n in range(2)
    ]
    train = np.exp([fit.params[0] for fit in fits])
    family = FAMILIES.Poisson()
    measure = family.loglike if kind.endswith("McFadden") else lambda *a: -family.deviance(*a)
    for null, rates in (("train", train), (np.array([0.5, 2.0]), [0.5, 2.0])):
        mean, base = model.predict(Z, offset=o), np.exp(o) * rates
        expected = [
            1 - measure(new[:, n], mean[:, n], w[:, n]) / measure(new[:, n], base[:, n], w[:, n]) for n in (0, 1)
        ]
        got = scores(model, Z, new, null, sample_weight=w, offset=o)[kind]
        np.testing.assert_allclose(got, expected, rtol=1e-7)


SHIPS = """
1 60 60 127 0;1 60 75 63 0;1 65 60 1095 3;1 65 75 1095 4;1 70 60 1512 6;1 70 75 3353 18;1 75 75 2244 11;
2 60 60 44882 39;2 60 75 17176 29;2 65 60 28609 58;2 65 75 20370 53;2 70 60 7064 12;2 70 75 13099 44;2 75 75 7117 18;
3 60 60 1179 1;3 60 75 552 1;3 65 60 781 0;3 65 75 676 1;3 70 60 783 6;3 70 75 1948 2;3 75 75 274 1;
4 60 60 251 0;4 60 75 105 0;4 65 60 288 0;4 65 75 192 0;4 70 60 349 2;4 70 75 1208 11;4 75 75 2051 4;
5 60 60 45 0;5 65 60 789 7;5 65 75 437 7;5 70 60 1157 5;5 70 75 2161 12;5 75 75 542 1;1 75 60 0 0;5 60 75 0 0"""


def indicators(*columns):
    """Columns of 0 and 1 for each level of each factor but the first."""
    return np.column_stack([column == level for column in columns for level in np.unique(column)[1:]]).astype(float)


def test_ship_damage():
    """McCullagh and Nelder (1989, 6.3.2); coefficients, fit and dispersion of R 4.2.2 `glm`, `MASS::ships` 7.3-58.2."""
    kind, year, period, service, damage = np.array([row.split() for row in SHIPS.split(";")], float).T
    X = indicators(kind, year, period)
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=r"row 34 holds an infinite.*np.log\(np.where"):
        GLM().fit(X, damage, offset=np.log(service))
    offset = np.log(np.where(service > 0, service, np.nan))
    model = GLM().fit(X, damage, offset=offset)
    expected = [-0.5433443011939250, -0.6874016474498201, -0.0759614218771318, 0.3255794562239505, 0.6971404267005056]
    expected += [0.8184265772017471, 0.4534266388004999, 0.3844669582120730]
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-8)
    np.testing.assert_allclose(model.intercept_, -6.4059015610488457, rtol=1e-9)
    table = scores(model, X, damage, offset=offset).iloc[0]
    assert table["bins"] == 34
    assert table["log-likelihood"] * 34 == pytest.approx(-68.2807714295899, rel=1e-10)
    assert table["deviance"] == pytest.approx(38.6950515355548, rel=1e-9)
    assert table["pseudo-r2-Cohen"] == pytest.approx(1 - 38.6950515355548 / 146.3283365324580, rel=1e-9)
    chi_squared = np.nansum(pearson_residuals(model, X, damage, offset=offset) ** 2)
    assert chi_squared / (34 - 9) == pytest.approx(1.69101012499227, rel=1e-8)
    left_out = GLM().fit(X, damage, offset=np.log(np.maximum(service, 1)), sample_weight=service > 0)
    same_fit(left_out, model)


HOLDERS = """197,264,246,1680,284,536,696,3582,133,286,355,1640,24,71,99,452,85,139,151,931,149,313,419,2443,66,175,221,1110,
9,48,72,322,35,73,89,648,53,155,240,1635,24,78,121,692,7,29,43,245,20,33,40,316,31,81,122,724,18,39,68,344,3,16,25,114"""
CLAIMS = """38,35,20,156,63,84,89,400,19,52,74,233,4,18,19,77,22,19,22,87,25,51,49,290,14,46,39,143,
4,15,12,53,5,11,10,67,10,24,37,187,8,19,24,101,3,2,8,37,2,5,4,36,7,10,22,102,5,7,16,63,0,6,8,33"""


def test_insurance_claims():
    """Claims of policy holders (`MASS::Insurance` 7.3-58.2), by R 4.2.2 `glm` with the log of the holders as the offset."""
    holders, claims = (np.array(text.split(","), float) for text in (HOLDERS, CLAIMS))
    X = indicators(*np.indices((4, 4, 4)).reshape(3, -1))
    model = GLM().fit(X, claims, offset=np.log(holders))
    expected = [0.0258681909109896, 0.0385239271038818, 0.2342053279772671, 0.1613369799983991, 0.3928104908284121]
    expected += [0.5634123411155110, -0.1910101063279570, -0.3449506582539350, -0.5366707063941015]
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-8)
    np.testing.assert_allclose(model.intercept_, -1.8217399180940370, rtol=1e-9)
    table = scores(model, X, claims, offset=np.log(holders)).iloc[0]
    assert table["log-likelihood"] * 64 == pytest.approx(-184.3707769992434, rel=1e-10)
    assert table["pseudo-r2-Cohen"] == pytest.approx(1 - 51.4200327490535 / 236.2589588788604, rel=1e-9)
