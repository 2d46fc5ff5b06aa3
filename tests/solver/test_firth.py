"""Firth's penalty: equal to R's brglm2, finite where features separate y, for each neuron of a population by itself.

Numbers are those of R 4.2.2 and brglm2 0.9: ``glm(method = "brglmFit", type = "AS_mean")``.
"""

import numpy as np
import pytest
from samples import Rows
from scipy import optimize, stats

from popglm._design.sizes import SIZES
from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.inference import leave_out_test, profile_interval, uncertainty
from popglm.model_selection import cross_validate_path
from popglm.regularizer import Firth, Mixed

SEPARATED = 9  # rows in which the last feature is 1, none of them with an event


def separated_data():
    """Four features, the last without an event where it is 1; Poisson counts, and spikes or none. Without a generator."""
    labels = np.repeat(np.arange(8), [15, 60, 25, 110, 40, SEPARATED, 75, 30])
    t = np.arange(len(labels))
    smooth = np.sin(0.37 * t) + 0.5 * np.cos(0.11 * t), (t * 7919 % 101) / 50 - 1.0, np.cos(1.7 * labels)
    X, u, drift = np.column_stack([*smooth, labels == 5]), ((t * 104729 + 17) % 10007) / 10007, np.sin(2.3 * labels)
    rate = np.exp(0.8 * X[:, 0] - 0.5 * X[:, 1] + 0.3 * X[:, 2] - 0.2 + 0.4 * drift)
    spikes = u > 0.6 - 0.2 * X[:, 0] + 0.1 * X[:, 1] - 0.12 * drift
    return X, {"Poisson": (X[:, 3] == 0) * stats.poisson.ppf(u, rate), "Bernoulli": (X[:, 3] == 0) * 1.0 * spikes}


X, ACTIVITY = separated_data()

BRGLM2 = {  # the intercept first: estimates, errors
    "Poisson": (
        [0.01236285965113, 0.81647944799003, -0.48838124443218, 0.08349099058965, -2.45575655107341],
        [0.05878787388928, 0.06582679984494, 0.08007030154609, 0.07638198326544, 1.41561268024592],
    ),
    "Bernoulli": (
        [-0.2947005349128, 0.8812885189696, -0.6117609862363, -0.0917063079816, -2.2982740437387],
        [0.1161143320836, 0.1550898946001, 0.1981539441652, 0.1850323644322, 1.5711083693747],
    ),
}


def penalised_loss(name, y, params):
    """Minus the penalised log-likelihood, the intercept last."""
    rows = np.column_stack([X, np.ones(len(X))])
    eta = rows @ params
    mean = np.exp(eta) if name == "Poisson" else 1 / (1 + np.exp(-eta))
    loss = (mean if name == "Poisson" else np.logaddexp(0, eta)) - y * eta
    weight = mean if name == "Poisson" else mean * (1 - mean)
    return loss.sum() - np.linalg.slogdet((rows.T * weight) @ rows)[1] / 2


@pytest.mark.parametrize("name", BRGLM2)
def test_estimates_and_errors_are_those_of_brglm2(float64, name):
    model = GLM(name, regularizer="Firth").fit(X, ACTIVITY[name])
    errors = uncertainty(model, X, ACTIVITY[name])
    estimates, se = BRGLM2[name]
    np.testing.assert_allclose(np.append(model.intercept_, model.coef_), estimates, rtol=1e-8)
    np.testing.assert_allclose(np.append(errors.intercept_se, errors.coef_se), se, rtol=1e-6)
    assert model.converged_.all()


@pytest.mark.parametrize("name", BRGLM2)
def test_ends_of_profile_intervals_are_as_unlikely_as_they_say(float64, name):
    """By the definition: the best fit of all others, found by scipy, has lost a quantile of chi-squared."""
    y = ACTIVITY[name]
    model = GLM(name, regularizer="Firth").fit(X, y)
    ends = np.column_stack(profile_interval(model, X, y, [3, 0], 0.9))
    best = np.append(model.coef_, model.intercept_)
    for feature, pair in zip((3, 0), ends, strict=True):
        assert pair[0] < best[feature] < pair[1]
        others = np.arange(5) != feature
        for end in pair:

            def loss(values, end=end, others=others):
                return penalised_loss(name, y, np.insert(values, np.flatnonzero(~others), end))

            found = optimize.minimize(loss, best[others], method="BFGS", options={"gtol": 1e-8})
            lost = 2 * (found.fun - penalised_loss(name, y, best))
            np.testing.assert_allclose(lost, stats.chi2.ppf(0.9, 1), rtol=1e-6)
    low, high = ends[0] - model.coef_[3]
    assert -low > 1.9 * high  # a rate may be far below the estimate


@pytest.mark.parametrize("bins", [(100_000, 60), (50_000, 50_000)])
def test_ends_in_single_precision_are_those_of_the_formula(bins):
    """Of two groups of bins, the second without an event, whose information is below the round-off of the first one's."""
    events = bins[0] // 2
    y = np.concatenate([np.arange(bins[0]) % 2, np.zeros(bins[1])])
    X = np.repeat([[0.0], [1.0]], bins, 0)

    def profile(log_ratio):  # the best intercept has a formula
        return log_ratio / 2 - (events + 1) * np.log1p(bins[1] / bins[0] * np.exp(log_ratio))

    best = np.log(bins[0] / bins[1] / (2 * events + 1))
    lost = lambda log_ratio: 2 * (profile(best) - profile(log_ratio)) - stats.chi2.ppf(0.95, 1)
    expected = optimize.brentq(lost, best - 10, best), optimize.brentq(lost, best, best + 10)
    model = GLM(regularizer="Firth").fit(X, y)
    np.testing.assert_allclose(model.coef_, best, atol=1e-3)
    np.testing.assert_allclose(np.ravel(profile_interval(model, X, y)), expected, atol=5e-3)


def test_a_neuron_of_a_population_is_a_neuron_alone(precision):
    """A separated neuron, one that is not, a silent one, one with a mask and missing bins."""
    y = np.column_stack([ACTIVITY["Poisson"], 1.0 + (X[:, 0] > 0), np.zeros(len(X)), ACTIVITY["Poisson"]])
    y[:40, 3] = np.nan
    mask = np.ones((4, 4))
    mask[1, 3] = 0
    with pytest.warns(RuntimeWarning, match="neuron 2: no event in any valid bin"):
        model = PopulationGLM(regularizer=Firth(), feature_mask=mask).fit(X, y)
    for n in (0, 1, 3):
        used = np.flatnonzero(mask[:, n])
        alone = GLM(regularizer="Firth").fit(X[:, used], y[:, n])
        np.testing.assert_allclose(model.coef_[used, n], alone.coef_, rtol=2e-3, atol=1e-4)
    assert model.coef_[1, 3] == 0 and (model.coef_[:, 2] == 0).all()
    plain = PopulationGLM().fit(X[:, :3], y[:, 1:2])  # with many events the penalty is little
    np.testing.assert_allclose(model.coef_[:3, 1], plain.coef_[:, 0], atol=0.01)
    with pytest.warns(RuntimeWarning, match="neuron 2: nothing to fit"):
        low, high = profile_interval(model, X, y, [1, 3])
    missing = np.zeros((2, 4), bool)
    missing[:, 2] = missing[0, 3] = True
    assert (np.isnan(low) == missing).all() and (low < high)[~missing].all()


def test_collinear_features_share_what_the_data_determine():
    y, twice = ACTIVITY["Poisson"], np.column_stack([X[:, :2], X[:, 0]])
    with pytest.warns(RuntimeWarning, match="a sum of other features"):
        model = GLM(regularizer="Firth").fit(twice, y)
    one = GLM(regularizer="Firth").fit(X[:, :2], y)
    np.testing.assert_allclose([model.coef_[0] + model.coef_[2], model.coef_[1]], one.coef_, rtol=1e-3)
    low, _ = profile_interval(model, twice, y)
    assert np.isnan(low).tolist() == [True, False, True]


def test_lazy_features_streams_and_blocks_give_the_same(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.15, (500, 2)).astype(float)
    counts[1:][counts[:-1, 0] > 0, 0] = 0  # refractory
    basis = RaisedCosineLogConv(2, window_size=6)
    lazy = basis.lazy_features(counts)
    model = PopulationGLM(regularizer="Firth").fit(lazy, counts)
    features = np.asarray(lazy)
    built = PopulationGLM(regularizer="Firth").fit(features, counts)
    monkeypatch.setattr(SIZES, "block_rows", 64)
    streamed = PopulationGLM(regularizer="Firth").fit(Rows(features), Rows(counts), progress=True)
    assert "2/2" in capsys.readouterr().err
    for other in (built, streamed):
        np.testing.assert_allclose(other.coef_, model.coef_, rtol=5e-3, atol=1e-3)


def test_copies_of_rows_and_offsets_are_what_they_say(float64):
    y, copies, known = ACTIVITY["Poisson"], 1 + np.arange(len(X)) % 2, 0.3 * X[:, 1]
    weighted = GLM(regularizer="Firth").fit(X, y, sample_weight=copies, offset=known)
    repeated = GLM(regularizer="Firth").fit(
        np.repeat(X, copies, 0), np.repeat(y, copies), offset=np.repeat(known, copies)
    )
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-7)
    low = profile_interval(weighted, X, y, 3, sample_weight=copies, offset=known)[0]
    other = profile_interval(
        repeated, np.repeat(X, copies, 0), np.repeat(y, copies), 3, offset=np.repeat(known, copies)
    )
    np.testing.assert_allclose(low, other[0], rtol=1e-6)


@pytest.mark.parametrize("name", BRGLM2)
def test_it_is_the_fix_that_the_warning_of_separation_names(name):
    y = ACTIVITY[name]
    with pytest.warns(RuntimeWarning, match='use a Ridge penalty or, in `fit`, regularizer="Firth"'):
        plain = GLM(name).fit(X, y)
    with pytest.warns(RuntimeWarning, match='or fit with regularizer="Firth" and take profile_interval'):
        assert np.isnan(uncertainty(plain, X, y).coef_se[3])
    model = GLM(name, regularizer="Firth").fit(X, y)  # warnings are errors
    assert np.abs(model.coef_).max() < 3 < np.abs(plain.coef_).max()
    assert np.isfinite(uncertainty(model, X, y).coef_se).all() and np.isfinite(profile_interval(model, X, y, 3)).all()
    with pytest.warns(RuntimeWarning) as caught:
        GLM("NegativeBinomial").fit(X, ACTIVITY["Poisson"])
    assert not any("Firth" in str(one.message) for one in caught)


def test_what_it_cannot_do_is_refused():
    y = ACTIVITY["Poisson"]
    firth = GLM(regularizer="Firth")
    fitted = GLM(regularizer="Firth").fit(X, y)
    cases = [
        (lambda: GLM("Gaussian", regularizer="Firth").fit(X, y), 'is for "Poisson".*got Gaussian with .identity'),
        (lambda: GLM(inverse_link_function="softplus", regularizer=Firth()).fit(X, y), "got Poisson with .softplus"),
        (lambda: GLM(regularizer="Firth", regularizer_strength=0.1).fit(X, y), "has no strength; got 0.1"),
        (lambda: GLM(regularizer="Firth", regularizer_strength="evidence").fit(X, y), "a sum of squares; got Firth"),
        (lambda: GLM(regularizer="Firth", solver_name="LBFGS").fit(X, y), "for the default solver; got 'LBFGS'"),
        (lambda: firth.fit(X, y, checkpoint="a.npz"), "writes no checkpoint"),
        (lambda: firth.fit_batches([(X, y)], 1), "`fit_batches` cannot serve"),
        (lambda: firth.fit_path(X, y, [0.1, 1]), "`fit_path` cannot serve"),
        (lambda: firth.initialize_state(X, y, firth.initialize_params(X, y)), "`initialize_state` cannot serve"),
        (lambda: cross_validate_path(firth, X, y), "`cross_validate_path` cannot serve"),
        (lambda: leave_out_test(fitted, X, y, 2), "Firth's penalty: its likelihood is not at its maximum"),
        (lambda: profile_interval(GLM().fit(X[:, :3], y), X[:, :3], y), "must be fitted with regularizer='Firth'"),
        (lambda: profile_interval(fitted, X[::-1], y), "are not the optimum of this X and y"),
        (lambda: uncertainty(fitted, X[::-1], y), "are not the optimum of this X and y"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="`Mixed` takes sums of squares"):
        Mixed([Firth()])
