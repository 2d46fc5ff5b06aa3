"""Bias-reduced errors by clusters (CR2) and their degrees of freedom: equal to R's clubSandwich, and they cover.

Numbers are those of R 4.2.2 and clubSandwich 0.5.8: ``vcovCR(type = "CR2")``, ``coef_test(test = "Satterthwaite")`` and
``Wald_test(test = "HTZ")``; of a Gaussian after ``lm``, and of counts after ``lm`` of the working linear model (rows and
working response of ``glm``, each times the root of its working weight), or after ``glm`` itself where the rate is constant in a
cluster.
"""

import numpy as np
import pytest
from samples import FULL, sample_cases
from scipy import stats

from popglm._design.sizes import SIZES
from popglm.basis import RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.inference import summary, uncertainty

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than 4 degrees of freedom")

LENGTHS = np.array([15, 60, 25, 110, 40, 9, 75, 30])
LABELS = np.repeat(np.arange(8), LENGTHS)
BIAS_REDUCED = {"kind": "sandwich", "clusters": LABELS, "correction": "CR2"}
COPIES = 1.0 + (np.arange(len(LABELS)) % 3 == 0)


def features_and_activity():
    """Three features, and activities that drift between the clusters; made without a generator of random numbers."""
    t = np.arange(len(LABELS))
    X = np.column_stack([np.sin(0.37 * t) + 0.5 * np.cos(0.11 * t), (t * 7919 % 101) / 50 - 1.0, np.cos(1.7 * LABELS)])
    u, drift = ((t * 104729 + 17) % 10007) / 10007, 0.4 * np.sin(2.3 * LABELS)
    effect = 0.8 * X[:, 0] - 0.5 * X[:, 1] + drift
    return X, {
        "Poisson": stats.poisson.ppf(u, np.exp(effect + 0.3 * X[:, 2] - 0.2)),
        "Bernoulli": (u > 0.6 - 0.2 * X[:, 0] + 0.1 * X[:, 1] - drift * 0.3).astype(float),
        "Gaussian": effect + stats.norm.ppf(np.clip(u, 1e-4, 1 - 1e-4)),
    }


X, ACTIVITY = features_and_activity()

CLUB_SANDWICH = {  # model, weighted: errors and degrees of freedom, the intercept first
    ("Poisson", False): (
        [0.08545535557300, 0.07561573676133, 0.04669085100232, 0.09261272636862],
        [4.165224071738, 4.347523966524, 4.329883166223, 3.467117936365],
    ),
    ("Poisson", True): (
        [0.09053575686922, 0.08851884792566, 0.06643488860839, 0.09386733383712],
        [4.180413130428, 4.362911261461, 4.253953421346, 3.474848963374],
    ),
    ("Bernoulli", False): (
        [0.09325142132661, 0.19609119455936, 0.19539971382087, 0.14471989695102],
        [3.918594999802, 4.306492604241, 4.346155314634, 3.781758802217],
    ),
    ("Bernoulli", True): (
        [0.1039495877662, 0.1975081617310, 0.1288289748983, 0.1439841387013],
        [3.929321011711, 4.304212477758, 4.308606182731, 3.792531677671],
    ),
    ("Gaussian", False): (
        [0.09975339137152, 0.08819807306289, 0.06111034832390, 0.17009235769131],
        [3.917609639938, 4.213238270422, 4.371955724446, 3.834306916109],
    ),
    ("Gaussian", True): (
        [0.10398549264763, 0.10125390121750, 0.08932303431737, 0.17628119558558],
        [3.932412541703, 4.201576902009, 4.357369034763, 3.835716433903],
    ),
}

HTZ = {
    "Poisson": (0.00877, 0.00242),
    "Bernoulli": (0.102, 0.0502),
    "Gaussian": (0.0177, 0.0256),
}  # p of 3, and of 2 features

CONSTANT_RATES = {  # after vcovCR(glm): one feature, constant in each cluster
    "Poisson": ([0.095665361109613, 0.163473916538399], [3.6243164880631, 3.7401050526329]),
    "Bernoulli": ([0.1240287940813, 0.2205961276239], [3.8937983832427, 3.7997411244839]),
}


def fitted(name, columns=(0, 1, 2), **data):
    return GLM(name).fit(X[:, list(columns)], ACTIVITY[name], **data)


def numbers_of(result):
    """Errors and degrees of freedom, the intercept first."""
    return np.roll(result._estimates.standard_errors[:, 0], 1), np.roll(result._estimates.parameter_df[:, 0], 1)


@pytest.mark.parametrize(("name", "weighted"), CLUB_SANDWICH)
def test_errors_and_degrees_of_freedom_are_those_of_clubsandwich(float64, name, weighted):
    data = {"sample_weight": COPIES} if weighted else {}
    result = uncertainty(fitted(name, **data), X, ACTIVITY[name], **BIAS_REDUCED, **data)
    for ours, theirs in zip(numbers_of(result), CLUB_SANDWICH[name, weighted], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-8)
    if not weighted:
        for features, p in zip(([0, 1, 2], [1, 2]), HTZ[name], strict=True):
            np.testing.assert_allclose(result.test([features]).p_values, p, rtol=6e-3)  # they print three digits


@pytest.mark.parametrize("name", CONSTANT_RATES)
def test_where_rates_are_constant_in_a_cluster_errors_are_those_after_glm(float64, name):
    result = uncertainty(fitted(name, [2]), X[:, [2]], ACTIVITY[name], **BIAS_REDUCED)
    for ours, theirs in zip(numbers_of(result), CONSTANT_RATES[name], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7)


def test_formulas_are_those_by_matrices_of_rows(float64):
    """Roots of the rows' own leverage, and degrees of freedom from the matrix of all pairs of clusters."""
    model, y = fitted("Poisson"), ACTIVITY["Poisson"]
    rows = np.column_stack([X, np.ones(len(X))])
    mean = np.exp(X @ model.coef_ + model.intercept_)
    white = np.sqrt(mean)[:, None] * rows
    M = np.linalg.inv(white.T @ white)
    residual = (y - mean) / np.sqrt(mean)
    hat = np.eye(len(X)) - white @ M @ white.T
    maps, meat = [], 0
    for c in range(8):
        inside = c == LABELS
        values, vectors = np.linalg.eigh(hat[np.ix_(inside, inside)])
        root = (vectors / np.sqrt(values)) @ vectors.T
        score = white[inside].T @ root @ residual[inside]
        meat = meat + np.outer(score, score)
        maps.append(hat[:, inside] @ root @ white[inside] @ M)  # (rows, parameters)
    result = uncertainty(model, X, y, **BIAS_REDUCED)
    np.testing.assert_allclose(result.covariance, M @ meat @ M, rtol=1e-7)
    weights = np.array([[0.5, -1.0, 2.0, 1.0], [1.0, 0.0, 1.0, 0.0]])
    for sums, df in zip(weights, result._estimates.sums_df(np.arange(4), weights)[:, 0], strict=True):
        parts = np.array([one @ sums for one in maps])
        P = parts @ parts.T
        np.testing.assert_allclose(df, np.trace(P) ** 2 / (P**2).sum(), rtol=1e-7)


def test_bands_sums_and_single_coefficients_agree():
    result = uncertainty(fitted("Poisson"), X, ACTIVITY["Poisson"], **BIAS_REDUCED)
    single = np.array(result.interval(0.9))
    np.testing.assert_allclose(np.squeeze(result.bands(np.eye(3), np.arange(3), 0.9)), single, rtol=1e-5)
    np.testing.assert_allclose(result.test([[k] for k in range(3)]).p_values, result.p_values, rtol=1e-3)
    wider = np.squeeze(result.bands(np.eye(3), np.arange(3), 0.9, simultaneous=True))
    assert (wider[0] < single[0]).all() and (wider[1] > single[1]).all()
    table = summary(fitted("Poisson"), X, ACTIVITY["Poisson"], **BIAS_REDUCED)
    np.testing.assert_allclose(table.coefficients.df[1:], result.df)
    assert table.neurons.t_df.item() == table.coefficients.df.min() and table.reference == "t"
    assert np.isinf(summary(fitted("Poisson"), X, ACTIVITY["Poisson"]).coefficients.df).all()


def test_blocks_lazy_features_masks_and_the_order_of_rows_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, (400, 2)).astype(float)
    basis = RaisedCosineLogConv(2, window_size=8)
    lazy, labels = basis.lazy_features(counts), np.repeat(np.arange(8), 50)
    mask = np.array([[1, 1], [1, 1], [0, 1], [1, 0]])
    counts[200:260, 1] = np.nan
    how = {"kind": "sandwich", "clusters": labels, "correction": "CR2"}
    model = PopulationGLM(feature_mask=mask).fit(lazy, counts)
    result = uncertainty(model, lazy, counts, **how)
    assert result.clusters.tolist() == [8, 7]
    features = np.asarray(lazy)
    monkeypatch.setattr(SIZES, "block_rows", 32)
    order = rng.permutation(400)
    moved = uncertainty(model, features[order], counts[order], **how | {"clusters": labels[order]})
    some = np.flatnonzero(mask[:, 1])
    alone = GLM().fit(features[:, some], counts[:, 1])
    alone = uncertainty(alone, features[:, some], counts[:, 1], **how)
    for name in ("coef_se", "df"):
        ours = getattr(result, name)
        np.testing.assert_allclose(getattr(moved, name), ours, rtol=1e-3)
        np.testing.assert_allclose(getattr(alone, name), ours[some, 1], rtol=1e-3)


def test_a_coefficient_of_one_cluster_has_no_error_and_the_others_have(float64):
    """A rate for the first cluster alone, as of a session: it changes nothing about a cluster that others do not see."""
    first = (LABELS == 0).astype(float)
    features, y = np.column_stack([X[:, :2], first]), ACTIVITY["Gaussian"]
    model = GLM("Gaussian").fit(features, y)
    with pytest.warns(RuntimeWarning, match="neuron 0 feature 2: one cluster alone determines this coefficient"):
        result = uncertainty(model, features, y, **BIAS_REDUCED)
    # lm(g ~ a + b + (k == 0)), which leaves out the part of the third that it cannot know
    np.testing.assert_allclose(result.coef_se, [0.0942319122819, 0.0592433720905, np.nan], rtol=1e-7)
    np.testing.assert_allclose(result.df[:2], [4.50233901710, 4.36562262896], rtol=1e-7)


def test_bad_input_and_few_degrees_of_freedom_are_named():
    y = ACTIVITY["Poisson"]
    model = fitted("Poisson")
    for options, message in [
        ({"correction": "cr2"}, "`correction` must be one of 'CR1S', 'CR2'; got 'cr2'. Did you mean 'CR2'?"),
        ({"correction": "CR2", "clusters": "bins"}, r"clusters of several bins; got 'CR2' .*clusters='bins'"),
        ({"correction": "CR2", "kind": "fisher", "clusters": None}, "`correction` is for a sandwich by clusters"),
    ]:
        with pytest.raises(ValueError, match=message):
            uncertainty(model, X, y, **{"kind": "sandwich", "clusters": LABELS} | options)
    ridge = GLM(regularizer="Ridge", regularizer_strength=0.1).fit(X, y)
    with pytest.raises(ValueError, match=r'CR2" needs a fit without a penalty.*Use correction="CR1S"'):
        uncertainty(ridge, X, y, **BIAS_REDUCED)
    with pytest.warns(RuntimeWarning, match=r"neuron 0 feature 2: fewer than 4 degrees of freedom"):
        uncertainty(model, X, y, **BIAS_REDUCED)
    with pytest.warns(RuntimeWarning, match=r'errors from 8 clusters are uncertain.*Write correction="CR2"'):
        uncertainty(model, X, y, "sandwich", LABELS)


def uneven(seed, name, clusters=20, neurons=100):
    """Twenty trials of 10 to 400 bins, each with its own deviation: one feature is constant in a trial, the other is not."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(clusters), rng.permutation(np.geomspace(10, 400, clusters).round().astype(int)))
    within = rng.normal(size=len(labels)) + 0.5 * rng.normal(size=clusters)[labels]
    features = np.column_stack([rng.normal(size=clusters)[labels], within])
    effect = (features @ [0.3, -0.2])[:, None]
    if name == "Poisson":
        return features, labels, rng.poisson(0.3 * np.exp(effect) * rng.gamma(8, 1 / 8, (clusters, neurons))[labels])
    eta = effect - 1 + rng.normal(0, 0.4, (clusters, neurons))[labels]
    return features, labels, eta + rng.normal(size=eta.shape)


@pytest.mark.parametrize("name", sample_cases(["Poisson", "Gaussian"], 1))
def test_intervals_cover_the_truth_with_twenty_clusters_of_different_lengths(name):
    """2,000 runs with FULL=1, else 200; CR1S covers too rarely."""
    truth, inside = np.array([[0.3], [-0.2]]), {None: [], "CR2": []}
    for seed in range(20 if FULL else 2):
        features, labels, y = uneven(seed, name)
        model = PopulationGLM(name).fit(features, y)
        for correction, shares in inside.items():
            result = uncertainty(model, features, y, "sandwich", labels, correction=correction)
            low, high = result.interval()
            shares.append((low <= truth) & (truth <= high))
    usual, reduced = (np.mean(shares, (0, 2)) for shares in inside.values())
    low, high = (0.93, 0.97) if FULL else (0.91, 0.98)
    assert (low < reduced).all() and (reduced < high).all(), reduced
    assert usual[0] < 0.88 and (usual < reduced - 0.02).all(), usual
