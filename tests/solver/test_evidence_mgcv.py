"""Strengths by evidence are those of mgcv: effective degrees of freedom, strengths, the evidence, the meaning of a strength.

Numbers are recorded (`make_mgcv_cases.py`). The solver holds the Hessian while it moves the strengths, as mgcv's
``optimizer="efs"``; from 200 events on, what mgcv's default finds is 1 % away.
"""

import numpy as np
import pytest
from evidence_oracle import Evidence
from mgcv_cases import ALPHA, RECORDINGS, numbers, recording
from samples import sample_cases

from popglm._solver import evidence
from popglm.glm import PopulationGLM
from popglm.observation_models import NegativeBinomial
from popglm.regularizer import Ridge, Smoothness

PENALTIES = {
    "straight free": Smoothness((10, 10), select=False, ridge=0),
    "cyclic": Smoothness(12, cyclic=True, select=True),
    "senders": Ridge(sizes=4),
    "tensor": Smoothness(((6, 6),), select=True),
}
NAMES = sample_cases(RECORDINGS, 5)


def penalty_of(name):
    return PENALTIES.get(name, Smoothness((10, 10), select=True))


def fit(name, strength="evidence", **settings):
    """Fit a recording of `mgcv_cases`."""
    of = recording(name)
    model = NegativeBinomial(scale=ALPHA) if of.family == "NegativeBinomial" else of.family
    settings = {"regularizer": penalty_of(name), "regularizer_strength": strength} | settings
    side = {"sample_weight": of.weight} if (of.weight != 1).any() else {}
    return PopulationGLM(model, **settings).fit(of.X, of.y, offset=of.offset if of.offset.any() else None, **side)


def by_mgcv(name, neuron, optimizer="efs"):
    """Degrees of freedom of inputs, and REML, as mgcv found them; by its default where `optimizer` found nothing."""
    of, found = recording(name), numbers()[name][neuron]
    found = found.get(optimizer, found["newton"])
    edf = np.add.reduceat(np.array(found["edf"])[1:], np.cumsum(of.sizes) - of.sizes)
    return edf, found["reml"]


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_the_matrices_that_mgcv_was_given(name):
    parts = penalty_of(name).quadratic_parts(recording(name).X.shape[1])
    ours = [(parts.basis * weights) @ parts.basis.T for weights in parts.weights]
    np.testing.assert_allclose(ours, list(recording(name).parts.values()), atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_strength_is_mgcv_sp_over_the_sum_of_weights(float64, name):
    of = recording(name)
    sp = 3.0 + np.arange(len(of.parts))  # of the fits named "fixed"
    model = fit(name, sp / of.weight.sum(), solver_kwargs={"tol": 1e-14})
    for n, neuron in enumerate(of.neurons):
        intercept, *coef = numbers()[name][neuron]["fixed"]["coef"]
        expected = of.X @ coef + intercept
        close = {"rtol": 1e-5, "atol": 1e-5 * np.abs(expected).max()}
        np.testing.assert_allclose(of.X @ model.coef_[:, n] + model.intercept_[n], expected, **close)


@pytest.mark.parametrize("name", NAMES)
def test_strengths_are_those_of_mgcv(monkeypatch, precision, name):
    """Every part stays that adds anything, as in mgcv."""
    monkeypatch.setattr(evidence, "MIN_GAIN", 0.0)
    model = fit(name)
    assert model.converged_.all()
    for n, neuron in enumerate(recording(name).neurons):
        edf, reml = by_mgcv(name, neuron)
        np.testing.assert_allclose(model.edf_[:, n], edf, rtol=0.005, atol=0.01)
        np.testing.assert_allclose(-model.log_evidence_[n], reml, atol=0.1)
        strength, felt = felt_strengths(name, n)
        np.testing.assert_allclose(model.strength_[felt, n], strength, rtol=0.05)


def felt_strengths(name, n):
    """Strengths, by the oracle, of parts on which something depends: neither without freedom nor the intercept's."""
    of = recording(name)
    oracle = Evidence(of, of.y[:, n], ALPHA)
    log_sp = oracle.efs()
    change = [abs(oracle.at(log_sp + step)[0] - oracle.at(log_sp)[0]) for step in 0.5 * np.eye(len(log_sp))]
    felt = np.array(change) > 1e-2
    return np.exp(log_sp[felt]) / of.weight.sum(), felt


@pytest.mark.parametrize("name", NAMES)
def test_what_leaves_is_hardly_missed(name):
    """A part leaves that adds less than 0.1 nats; edf of the rest agree with mgcv's default from 200 events on."""
    model, of = fit(name), recording(name)
    for n, neuron in enumerate(of.neurons):
        edf, reml = by_mgcv(name, neuron, "newton")
        lost = -model.log_evidence_[n] - reml
        assert lost < 0.1 * len(of.parts) / 2 + 0.05 or of.family == "Gamma"  # whose scale is another
        rich = (edf > 2) & (neuron != "50 events") & (name != "tensor")  # a direction of which leaves
        np.testing.assert_allclose(model.edf_[rich, n], edf[rich], rtol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_a_given_strength_gives_the_fit_again(name):
    model = fit(name)
    again = fit(name, model.strength_)
    of = recording(name)
    for n in range(of.y.shape[1]):
        eta, other = (of.X @ one.coef_[:, n] + one.intercept_[n] for one in (model, again))
        np.testing.assert_allclose(eta, other, atol=3e-3 * np.ptp(eta) + 1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_is_mgcv(name):
    """Both criteria: the Hessian held, and the Laplace likelihood in full."""
    of = recording(name)
    neuron = list(of.neurons)[-1]
    for optimizer, found in numbers()[name][neuron].items():
        if optimizer in ("newton", "efs"):
            oracle = Evidence(of, of.neurons[neuron], ALPHA)
            found_here = getattr(oracle, optimizer)()
            reml, *fitted = oracle.at(found_here[: len(of.parts)], *found_here[len(of.parts) :])
            edf = np.trace(np.linalg.solve(fitted[1] + fitted[2], fitted[1]))
            assert abs(edf / sum(found["edf"]) - 1) < 3e-3
            if not oracle.free or optimizer == "newton":
                assert abs(reml - found["reml"]) < 1e-3
