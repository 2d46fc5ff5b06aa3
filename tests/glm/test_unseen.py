"""Features that no bin of a fit holds, or of one neuron: nothing is known of their coefficients, and the fit says so."""

import warnings

import numpy as np
import pandas as pd
import pytest

from popglm.glm import PopulationGLM

Y = np.random.default_rng(0).poisson(0.3, (600, 2)).astype(float)
DAY = np.repeat([0, 1, 2], 200)
SESSIONS = pd.DataFrame({"session/0:0": DAY == 1, "session/0:1": DAY == 2}, dtype=float)


def messages(y, X, **settings):
    """A fit and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PopulationGLM(**settings).fit(X, y)
    return model, [str(one.message) for one in caught]


@pytest.mark.parametrize("columns", [["session/0:0", "session/0:1"], ["session/0:1"]])
def test_a_category_that_is_held_out_is_named(columns):
    """Also where it is the only function of its input."""
    model, said = messages(Y[:400], SESSIONS[columns][:400])
    assert len(said) == 1 and "feature session/0:1: 0 in every valid bin" in said[0], said
    assert (model.coef_[-1] == 0).all()


@pytest.mark.parametrize("solver", [None, "LBFGS"])
def test_a_session_in_which_a_neuron_was_not_recorded_has_the_coefficient_0(solver):
    y = Y.copy()
    y[DAY == 2, 1] = np.nan
    model, said = messages(y, SESSIONS, solver_name=solver)
    means = np.array([np.nanmean(y[k == DAY], 0) if k < 2 else [y[k == DAY, 0].mean(), np.nan] for k in range(3)])
    rates = np.log(means[1:] / means[0])
    assert np.isnan(rates[1, 1])
    np.testing.assert_allclose(model.coef_, np.nan_to_num(rates), atol=0.01)
    if solver is None:
        assert len(said) == 1 and "neuron 1: feature session/0:1: 0 in every bin in which" in said[0], said
        masked, said = messages(y, SESSIONS, feature_mask=np.array([[1, 1], [1, 0]]))
        assert not said
        np.testing.assert_allclose(masked.coef_, model.coef_, atol=2e-3)
