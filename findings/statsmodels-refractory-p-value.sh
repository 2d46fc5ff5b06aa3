#!/usr/bin/env bash
# Guess:   a GLM of a neuron that never fires right after a spike gives its history the smallest p value, or warns.
# Instead: it says `converged`, warns of nothing and gives p above 0.5, although the likelihood ratio is 330 on one
#          degree of freedom. The best coefficient is minus infinity; iterations end where the deviance no longer
#          changes, and there the standard error is far above the coefficient. A table of effects lists the surest one
#          as not significant.
# Source:  statsmodels 0.15.0, genmod/generalized_linear_model.py: `fit` stops by the deviance, and warns of separation
#          only where every observation is predicted; its issues 1391 and 2282 describe separation of a part of them,
#          without a check.
source "$(dirname "$0")/common.sh"
install statsmodels==0.15.0 numpy==2.4.6

seen='converged True, warnings 0
coefficient of history below -15: True; p above 0.5: True
likelihood ratio 330, p below 1e-60: True'
compare <<'PY'
import warnings

import numpy as np
import statsmodels.api as sm
from scipy.stats import chi2

rng = np.random.default_rng(0)
counts = np.zeros(20_000)
for t in range(len(counts)):
    counts[t] = 0 if t and counts[t - 1] else rng.poisson(0.1)
history = np.append(0, counts[:-1])
assert not counts[history > 0].any() and counts.sum() > 1000

X = sm.add_constant(history)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fit = sm.GLM(counts, X, family=sm.families.Poisson()).fit()
    null = sm.GLM(counts, X[:, :1], family=sm.families.Poisson()).fit()
print(f"converged {fit.converged}, warnings {len(caught)}")
print(f"coefficient of history below -15: {fit.params[1] < -15}; p above 0.5: {fit.pvalues[1] > 0.5}")
ratio = 2 * (fit.llf - null.llf)
print(f"likelihood ratio {ratio:.0f}, p below 1e-60: {chi2.sf(ratio, 1) < 1e-60}")
PY
