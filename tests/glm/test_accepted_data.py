"""Data that look bad and are not: every fit, score and step of them is finite, and what cannot be found is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from messages import N_BINS, PLAIN, fit, lazy, put

from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM


def separated(s):
    """A neuron that fires only when the first feature is positive: its best coefficient is infinite."""
    return s.X, np.where(s.X[:, :1] > 0, 1.0, 0.0) * np.ones(3)


def duplicated(s):
    return np.concatenate([s.X, s.X[:, :2]], 1), s.y


def all_zero(s):
    return put(s.X, (slice(None), 1), 0.0), s.y


ACCEPTED = {
    "lists": lambda s: (s.X.tolist(), s.y.tolist()),
    "JAX arrays": lambda s: (jnp.asarray(s.X), jnp.asarray(s.y)),
    "fractional counts": lambda s: (s.X, s.y / 3),
    "large counts": lambda s: (s.X, s.y * 1e4),
    "NaN in X": lambda s: (put(s.X, (slice(10, 50), 2), np.nan), s.y),
    "NaN in one neuron's y": lambda s: (s.X, put(s.y, (slice(10, 50), 1), np.nan)),
    "one neuron NaN everywhere": lambda s: (s.X, put(s.y, (slice(None), 1), np.nan)),
    "a silent neuron": lambda s: (s.X, put(s.y, (slice(None), 1), 0)),
    "all silent": lambda s: (s.X, s.y * 0),
    "one spike": lambda s: (s.X, put(s.y * 0, (7, slice(None)), 1)),
    "an always-firing neuron": lambda s: (s.X, put(s.y, (slice(None), 1), 1)),
    "perfectly separated neurons": separated,
    "a column of zeros": all_zero,
    "a constant column": lambda s: (put(s.X, (slice(None), 1), 3.0), s.y),
    "a large constant column": lambda s: (put(s.X, (slice(None), 1), 1e4), s.y),
    "a column far from zero": lambda s: (s.X + np.array([0, 1e3, 0, 0]), s.y),
    "a column 1e4 standard deviations from zero": lambda s: (s.X + np.array([0, 1e4, 0, 0]), s.y),
    "duplicate columns": duplicated,
    "columns scaled 1e-3 to 1e4": lambda s: (s.X * [1e-3, 1, 1e2, 1e4], s.y),
    "columns scaled 1e-12 to 1e10": lambda s: (s.X * [1e-12, 1, 1e5, 1e10], s.y),
    "more features than bins": lambda s: (np.tile(s.X[:40], (1, 20)) + s.X[:40, :1] ** 2, s.y[:40]),
    "one row": lambda s: (s.X[:1], s.y[:1]),
    "two rows": lambda s: (s.X[:2], s.y[:2] + 1),
    "one valid row": lambda s: (put(s.X, slice(1, None), np.nan), s.y + 1),
    "an outlier of 1e4": lambda s: (put(s.X, (3, 0), 1e4), s.y),
    "big-endian numbers": lambda s: (s.X.astype(">f4"), s.y.astype(">i2")),
    "a constant column that is no binary fraction": lambda s: (put(s.X, (slice(None), 1), 0.1), s.y),
    "a column that a sample takes for constant": lambda s: (
        np.tile(s.X, (9, 1)) * [1, 0, 1, 1]
        + np.where(np.arange(9 * N_BINS)[:, None] % 5 == 1, [0, 3, 0, 0], [0, 0.1, 0, 0]),
        np.tile(s.y, (9, 1)),
    ),
    "lazy features": lambda s: (lazy(s), s.y),
    "a transposed view": lambda s: (np.asfortranarray(s.X)[::-1], s.y[::-1]),
}


@pytest.mark.parametrize(
    "settings", [{}, {"regularizer": "Ridge", "regularizer_strength": 0.1}], ids=["exact", "ridge"]
)
@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning", "ignore:feature:RuntimeWarning")
def test_accepted_with_finite_results(s, name, settings):
    X, y = ACCEPTED[name](s)
    model = PopulationGLM(**settings).fit(X, y)
    assert np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()
    assert np.isfinite(model.score(X, y)) and np.isfinite(model.score(X, y, "pseudo-r2-McFadden"))
    rows = ~np.isnan(np.asarray(X)).any(1)
    assert np.isfinite(model.predict(X)[rows]).all()
    for n in np.flatnonzero(model.converged_):
        valid = rows & ~np.isnan(np.asarray(y)[:, n])
        if valid.any() and np.asarray(y)[valid, n].sum() > 0:  # the intercept alone makes the mean rates agree
            np.testing.assert_allclose(
                model.predict(X)[valid, n].mean(), np.asarray(y)[valid, n].mean(), rtol=2e-2, atol=1e-4
            )


@pytest.mark.parametrize("name", sorted(set(ACCEPTED) - {"columns scaled 1e-12 to 1e10"}))
@pytest.mark.filterwarnings("ignore:neuron:RuntimeWarning")
def test_one_update_on_it_is_finite(s, name):
    X, y = ACCEPTED[name](s)
    scale = np.nanmax(np.abs(np.asarray(X)))
    X = np.asarray(X) / scale
    model = PopulationGLM(**PLAIN)
    params = model.initialize_params(X, y)
    params, _ = model.update(params, model.initialize_state(X, y, params), X, y)
    assert all(np.isfinite(p).all() for p in params)


MISSING = {
    "a masked array": lambda X: np.ma.array(np.where(np.isnan(X), 1e6, X), mask=np.isnan(X)),
    "a table of pandas": lambda X: pd.DataFrame(X).astype("Float64"),
}


@pytest.mark.parametrize("name", MISSING)
def test_other_marks_of_missing_values_count_as_nan(s, name):
    """The value under a mask is never seen, and neither pandas' NA nor a mask becomes a number."""
    X, y = put(s.X, (slice(3, 9), 2), np.nan), put(s.y, (slice(40, 90), 1), np.nan)
    expected, model = fit(X, y), fit(MISSING[name](X), MISSING[name](y))
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    np.testing.assert_array_equal(model.predict(MISSING[name](X)), expected.predict(X))


@pytest.mark.filterwarnings("ignore:Some epochs have no duration:UserWarning", "ignore:divide by zero:RuntimeWarning")
def test_a_bin_in_no_epoch_is_refused(s):
    with pytest.raises(ValueError, match=r"epochs .* must have a duration; got 1 row"):
        s.model.predict(nap.TsdFrame(t=[1.0], d=s.X[:1]))


def test_missing_values_in_every_sampled_row_do_not_hide_where_a_feature_lies():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 3)) + 5000
    y = rng.poisson(np.exp(0.3 * (X[:, 1] - 5000) - 1))
    for at in range(0, 20_000, 400):
        X[at : at + 20, 0] = np.nan
    np.testing.assert_allclose(GLM().fit(X, y).coef_, [0, 0.3, 0], atol=0.05)


def test_a_feature_that_lies_elsewhere_in_the_bins_that_count_is_not_taken_for_constant():
    """It drifts to 20,000, but y knows only the end, where it varies by a few units."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 20_000, 40_000)
    x[-400:] = 19_000 + rng.normal(0, 5, 400)
    y = np.full(40_000, np.nan)
    y[-400:] = rng.poisson(np.exp(0.1 * (x[-400:] - 19_000)))
    with pytest.raises(ValueError, match=r"feature 0 of X varies by .* in the bins that count.*Subtract its mean"):
        GLM().fit(x[:, None], y)
    with pytest.raises(ValueError, match=r"feature 0 of X varies by .* in the bins that count.*Subtract its mean"):
        GLM(regularizer="Lasso").fit_path(x[:, None], y, [1e-3])
    np.testing.assert_allclose(GLM().fit(x[-400:, None], y[-400:]).coef_, 0.1, atol=0.03)
    basis, later = RaisedCosineLogConv(1, window_size=2), np.full(40_000, np.nan)
    later[-390:] = y[-391:-1]  # follows the feature, which is the input one bin ago
    with pytest.raises(ValueError, match=r"feature 0 of X varies by .* in the bins that count.*Subtract its mean"):
        GLM().fit(basis.lazy_features(x), later)
    np.testing.assert_allclose(GLM().fit(basis.lazy_features(x)[-390:], later[-390:]).coef_, 0.1, atol=0.03)
    still = np.where(np.isnan(y), x, 19_000.0)  # where y is known, it is a constant: the intercept's
    with pytest.warns(RuntimeWarning, match="feature 0: the same value in every valid bin"):
        assert not GLM().fit(basis.lazy_features(still), later).coef_.any()


def test_a_masked_entry_of_the_start_is_no_offset(s):
    mask, start = np.array([[1, 0, 1]] + [[1, 1, 1]] * 3), np.full((4, 3), 2.0, np.float32)
    X = s.X + np.array([1000, 0, 0, 0])
    model = PopulationGLM(feature_mask=mask).fit(X, s.y, (start * [[0], [1], [1], [1]], np.zeros(3, np.float32)))
    other = PopulationGLM(feature_mask=mask).fit(
        X, s.y, (start * mask * [[0], [1], [1], [1]] + (1 - mask) * 2, np.zeros(3))
    )
    np.testing.assert_allclose(other.coef_, model.coef_, atol=1e-3)


def test_a_start_that_overflows_is_named(s):
    with pytest.warns(RuntimeWarning, match="neuron 0, 1, 2: .*a loss that is not finite"):
        model = PopulationGLM().fit(s.X, s.y, (np.zeros((4, 3)), np.full(3, 200.0)))
    assert np.isfinite(model.coef_).all() and not model.converged_.any()


def test_a_tensor_of_another_library_is_an_array(s):
    class Tensor:
        shape, dtype = s.X.shape, "torch.float32"

        def __getitem__(self, key):
            """Be sliced."""
            return s.X[key]

        def __array__(self, dtype=None, copy=None):
            """Be an array."""
            return s.X

    np.testing.assert_array_equal(fit(Tensor(), s.y).coef_, fit(s.X, s.y).coef_)


def test_spike_times_in_place_of_counts_are_asked_about_and_counted():
    rng = np.random.default_rng(0)
    times, x = np.sort(rng.uniform(0, 30, 300)), rng.normal(size=(300, 1))
    with pytest.warns(UserWarning, match=r"`y` .*300 numbers with fractions.*count them: units.count\(bin_size\)"):
        GLM().fit(x, times)
    with pytest.warns(UserWarning, match="as spike times are"):
        PopulationGLM().fit(x, np.c_[rng.poisson(1.0, 300), times])
    GLM().fit(x, np.histogram(times, 300)[0])  # the fix; warnings are errors
    GLM("Gaussian").fit(x, times)
    GLM().fit(x, np.arange(300.0))


def test_a_stopped_line_search_is_no_convergence(s):
    """Far from the origin, gradient descent's search gives up: the small step that it ends with is no optimum."""
    with pytest.warns(RuntimeWarning, match="stopped before the optimum.*scale X"):
        assert not fit(s.X + 1000.0, s.y, solver_name="GradientDescent").converged_.any()


def test_a_diverging_solver_is_named_and_leaves_no_nan(s):
    with pytest.warns(RuntimeWarning, match="lower the `stepsize` of a named solver"):
        model = fit(
            s.X, s.y * 1e6, solver_name="GradientDescent", solver_kwargs={"stepsize": 3.0, "acceleration": False}
        )
    assert np.isfinite(model.coef_).all() and not model.converged_.any()


def test_an_update_inside_jit_keeps_nothing(s):
    model = PopulationGLM(**PLAIN)
    params, _ = jax.jit(lambda p, q: model.update(p, q, s.X, s.y))(s.params, s.state)
    expected, _ = s.stepper.update(s.params, s.state, s.X, s.y)
    np.testing.assert_allclose(params[0], expected[0], atol=1e-6)
    assert not hasattr(model, "coef_")


SHIFTED = [(1.0, 1e3), (1.0, 1e4), (1e-6, 0.0), (1e4, 0.0), (1e-3, 10.0), (1e4, -1e8), (1e10, 0.0)]


@pytest.mark.parametrize(("scale", "shift"), SHIFTED)
def test_units_and_origin_of_a_feature_do_not_matter(s, scale, shift):
    """The same likelihood, converged, whatever the first column is measured in and from."""
    X = s.X * [scale, 1, 1, 1] + [shift, 0, 0, 0]
    model = PopulationGLM().fit(X, s.y)
    assert model.converged_.all()
    rounded = s.X * [1, 1, 1, 1]
    rounded[:, 0] = (X[:, 0].astype(np.float32).astype(float) - shift) / scale  # all that float32 keeps
    expected = PopulationGLM().fit(rounded, s.y)
    assert model.score(X, s.y) == pytest.approx(expected.score(rounded, s.y), abs=1e-4)
    np.testing.assert_allclose(model.coef_[1:], expected.coef_[1:], atol=2e-3)
    np.testing.assert_allclose(model.coef_[0] * scale, expected.coef_[0], atol=2e-3)
