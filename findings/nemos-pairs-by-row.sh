#!/usr/bin/env bash
# Guess:   NeMoS, which takes pynapple objects, refuses features and counts of different times: it has an error that
#          says so.
# Instead: `GLM.fit` and `GLM.score` turn both into arrays before they compare times. Counts that begin 500 s after the
#          features are fitted row by row without a warning. Bases do compare: two inputs with these times are refused.
# Source:  nemos 0.2.9, base_validator.py ("Time axis mismatch. X and y pynapple objects have mismatching time axis.");
#          glm/glm.py: `fit` is decorated with `cast_to_jax`, so what the check sees has no times.
source "$(dirname "$0")/common.sh"
install nemos==0.2.9 pynapple==0.11.4 jax==0.12.0.1 numpy==2.4.6

seen='same times: False
fit:   accepted, warnings 0
score: accepted, warnings 0
basis: ValueError: Time axis mismatch. pynapple objects have mismatching time axis.'
compare <<'PY'
import warnings

import nemos as nmo
import numpy as np
import pynapple as nap
from nemos.type_casting import all_same_time_info

rng = np.random.default_rng(0)
time = np.arange(1000) * 0.01
X = nap.TsdFrame(t=time, d=rng.normal(size=(1000, 2)))
y = nap.Tsd(t=time + 500, d=rng.poisson(1.0, 1000).astype(float))
print("same times:", all_same_time_info(X, y))


def attempt(name, call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except ValueError as error:
            print(f"{name:6} ValueError: {error}")
        else:
            print(f"{name:6} accepted, warnings {len(caught)}")


basis = nmo.basis.IdentityEval() + nmo.basis.RaisedCosineLogConv(3, window_size=5)
model = nmo.glm.GLM()
attempt("fit:", lambda: model.fit(X, y))
attempt("score:", lambda: model.score(X, y))
attempt("basis:", lambda: basis.compute_features(X[:, 0], y))
PY
