"""Couplings with a strength of their own by evidence: those of single receivers, their table, and none where there is none."""

import numpy as np
import pynapple as nap
import pytest

from popglm.glm import PopulationGLM
from popglm.inference import coupling_table, uncertainty
from popglm.regularizer import Ridge

BY_EVIDENCE = {"regularizer": "Ridge", "regularizer_strength": "evidence"}
COLUMNS = ["sender", "receiver", "strength", "se", "statistic", "df", "p", "q", "found"]


@pytest.fixture(scope="module")
def coupled(basis, population):
    """The first 30 s of four neurons with names, their lazy features, a fit by evidence, and its errors."""
    counts = population.counts[:6000]
    counts = nap.TsdFrame(t=counts.t, d=counts.d, columns=["a", "b", "c", "d"])
    X = basis.lazy_features(counts)
    model = PopulationGLM(**BY_EVIDENCE).fit(X, counts)
    return X, counts, model, uncertainty(model, X, counts)


def test_couplings_by_evidence_are_those_of_single_receivers(float64, basis, population):
    """Also of features in memory, which need the number of functions of a sender."""
    counts = population.counts[:6000]
    X = basis.compute_features(counts)
    settings = BY_EVIDENCE | {"regularizer": Ridge(5)}
    whole = PopulationGLM(**settings).fit(X, counts)
    tests = uncertainty(whole, X, counts).test(5)
    assert whole.strength_.shape == whole.edf_.shape == (4, 4)
    for n in (0, 2):
        y = counts.values[:, [n]]
        one = PopulationGLM(**settings).fit(X, y)
        np.testing.assert_allclose(one.edf_[:, 0], whole.edf_[:, n], rtol=1e-2, atol=1e-3)
        np.testing.assert_allclose(one.coef_[:, 0], whole.coef_[:, n], atol=2e-3)
        p = uncertainty(one, X, y).test(5).p_values[:, 0]
        np.testing.assert_allclose(p, tests.p_values[:, n], rtol=0.05, atol=1e-6)


def test_the_table_of_couplings_by_evidence(basis, population, coupled):
    _, counts, model, errors = coupled
    table, tests = coupling_table(errors, basis.kernel), errors.test(5)
    assert list(table.columns) == COLUMNS and len(table) == 12
    coef = model.coef_.reshape(4, 5, 4)
    names = list(counts.columns)
    index = [names.index(s) for s in table.sender], [names.index(r) for r in table.receiver]
    np.testing.assert_allclose(table.strength, np.einsum("lk,skr->sr", basis.kernel, coef)[index], rtol=1e-4, atol=1e-6)
    for name, values in zip(("statistic", "df", "p"), tests, strict=True):
        np.testing.assert_array_equal(table[name], values[index])
    assert (table.df < 5).all() and (table.found == (table.q <= 0.05)).all() and table.p.is_monotonic_increasing
    true = np.abs(population.filters).max(1) > 0
    assert table.found[0] and not table.found[~true[index]].any()
    # A filter that evidence removed has next to no freedom, and is not found.
    removed = model.edf_[index] < 0.01
    assert (table.p[removed] > 0.05).all()


def test_each_sender_has_a_strength_of_its_own(coupled):
    """A fit at the strengths of one sender for all is another one; the own ones give the fit again."""
    X, counts, model, _ = coupled
    again = PopulationGLM(regularizer=Ridge(5), regularizer_strength=model.strength_).fit(X, counts)
    np.testing.assert_allclose(again.coef_, model.coef_, atol=5e-3)
    assert (np.ptp(np.log(model.strength_), axis=0) > 1).all()


def test_independent_neurons_are_not_coupled(basis):
    """240 pairs: the level of the tests, and what evidence removes."""
    counts = np.random.default_rng(0).poisson(0.1, (6000, 16))
    X = np.asarray(basis.compute_features(counts))
    model = PopulationGLM(**BY_EVIDENCE | {"regularizer": Ridge(5)}).fit(X, counts)
    errors, others = uncertainty(model, X, counts), ~np.eye(16, dtype=bool)
    p = errors.test(5).p_values[others]
    assert 0.01 < np.mean(p < 0.05) < 0.09
    assert np.mean(model.edf_[others] < 0.1) > 0.6
    assert coupling_table(errors, basis.kernel).found.sum() <= 1
