#!/usr/bin/env bash
# Guess:   in a pipeline of scikit-learn, a step that was fitted to positions gives one position the same features in
#          every call.
# Instead: splines of NeMoS without `bounds` are stretched over the positions of each call, after `fit` too. A pipeline
#          fitted on the whole track predicts other rates for the same five positions if it is not given the rest of the
#          track. So in cross-validation each test block has a map of its own. With `bounds` both calls agree.
# Source:  nemos 0.2.9, basis/basis.py: the default bounds are the minimum and the maximum of the samples that are
#          evaluated; its pull request 585 (merged July 2026) discusses the risk for `TransformerBasis`.
source "$(dirname "$0")/common.sh"
install nemos==0.2.9 scikit-learn==1.9.1 jax==0.12.0.1 numpy==2.4.6

seen='no bounds:   of the whole track 1.3 3.2 6.1 7.0 3.9; of its first half 1.3 6.1 3.9 0.4 0.1
with bounds: of the whole track 1.3 3.2 6.1 7.0 3.9; of its first half 1.3 3.2 6.1 7.0 3.9'
compare <<'PY'
import nemos as nmo
import numpy as np
from sklearn.pipeline import make_pipeline

track = np.linspace(0, 1, 2000)[:, None]
counts = np.random.default_rng(0).poisson(np.exp(2 * np.sin(6 * track[:, 0])))
for name, bounds in {"no bounds:": None, "with bounds:": (0, 1)}.items():
    basis = nmo.basis.BSplineEval(6, bounds=bounds).to_transformer()
    model = make_pipeline(basis, nmo.glm.GLM()).fit(track, counts)
    whole, half = (model.predict(x)[:1000:200] for x in (track, track[:1000]))
    print(f"{name:12} of the whole track", *(f"{rate:.1f}" for rate in whole), end="; ")
    print("of its first half", *(f"{rate:.1f}" for rate in half))
PY
