"""Messages of simulations."""

import jax
import numpy as np
import pytest
from messages import assert_refused, resimulate, simulate
from sklearn.exceptions import NotFittedError

from popglm.basis import IdentityEval, RaisedCosineLogConv
from popglm.glm import PopulationGLM
from popglm.simulation import random_coupling

REFUSED = {
    "coupling of another shape": (
        lambda s: simulate(s, coef=np.ones((5, 3))), ValueError, r"`coef` must have shape .*= \(6, 3\); got \(5, 3\)"
    ),
    "coupling NaN": (lambda s: simulate(s, coef=np.full((6, 3), np.nan)), ValueError, "must be finite"),
    "duration not whole": (lambda s: simulate(s, duration=1.0012), ValueError, "whole number of bins of 0.005 s"),
    "duration 0": (lambda s: simulate(s, duration=0), ValueError, "`duration` must be a finite number above 0"),
    "bin size negative": (lambda s: simulate(s, bin_size=-1), ValueError, "`bin_size` must be a finite number above 0"),
    "explosion": (lambda s: simulate(s, coef=np.full((6, 3), 5.0)), ValueError, "population explodes: neuron .*Weaken"),
    "a model that is none": (lambda s: resimulate(s, model=3), TypeError, "`model` must be a GLM .*got int"),
    "a model without a fit": (lambda s: resimulate(s, model=PopulationGLM()), NotFittedError, "Call `fit`"),
    "a simulation of no basis": (lambda s: resimulate(s, basis=5), TypeError, "`basis` must be the basis of the model's.*5"),
    "a simulation of another basis": (
        lambda s: resimulate(s, basis=RaisedCosineLogConv(5, 10)), ValueError, "make 15 features, and the PopulationGLM has 6"
    ),
    "inputs not in a list": (lambda s: resimulate(s, inputs=s.y), TypeError, r"a list with one input for each.*\[None, stim"),
    "inputs too many": (lambda s: resimulate(s, inputs=[None, s.y]), ValueError, "each of the 1 bases.*got 2"),
    "inputs without activity": (lambda s: resimulate(s, inputs=[s.y]), ValueError, "no entry of `inputs` is None"),
    "activity evaluated": (
        lambda s: resimulate(s, basis=s.basis + IdentityEval()), ValueError, "go into a convolution over the past.*IdentityEval"
    ),
    "activity from the future": (
        lambda s: resimulate(s, basis=RaisedCosineLogConv(2, 10, predictor_causality="acausal")),
        ValueError,
        "must see the past only",
    ),
    "no duration": (lambda s: resimulate(s, duration=None), ValueError, "`duration` must be given"),
    "no bin size": (lambda s: resimulate(s, bin_size=None), ValueError, "`bin_size` must be given, in seconds; got None"),
    "history of other neurons": (
        lambda s: resimulate(s, history=np.zeros((20, 5))), ValueError, r"`history` must have .*3 neurons.*\(20, 5\)"
    ),
    "history missing": (
        lambda s: resimulate(s, history=np.full((20, 3), np.nan)), ValueError, "last 10 bins of `history` must be finite"
    ),
    "simulation's link misspelt": (lambda s: simulate(s, inverse_link_function="ex"), ValueError, "Did you mean 'exp'"),
    "a seed for a key": (lambda s: simulate(s, key=0), TypeError, r"`key` must be a JAX key.*got 0.*jax.random.key\(0\)"),
    "basis not a basis": (lambda s: simulate(s, basis=5), TypeError, "`basis` must be a convolution basis; got 5"),
    "no neurons": (lambda s: random_coupling(jax.random.key(0), 0, s.basis), ValueError, "`n_neurons` must be a positive"),
    "connectivity 2": (
        lambda s: random_coupling(jax.random.key(0), 2, s.basis, connectivity=2), ValueError, "share from 0 to 1; got 2"
    ),
    "rates negative": (
        lambda s: random_coupling(jax.random.key(0), 2, s.basis, rates=(-1, 2)), ValueError, "`rates` must be"
    ),
    "rates not a pair": (
        lambda s: random_coupling(jax.random.key(0), 2, s.basis, rates=5.0), TypeError, "`rates` must be a pair"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_was_expected_what_came_and_the_fix(s, name):
    assert_refused(s, *REFUSED[name])
