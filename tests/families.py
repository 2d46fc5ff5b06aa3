"""Observation models, their families in statsmodels, and activity that is drawn from them."""

import jax
import numpy as np
import statsmodels.api as sm

from popglm.observation_models import Bernoulli, Gamma, Gaussian, NegativeBinomial, Poisson

FAMILIES, OF = sm.families, sm.families.links
SCALED = {
    "Poisson": Poisson(),
    "Bernoulli": Bernoulli(),
    "Gaussian": Gaussian(scale=2.0),
    "Gamma": Gamma(scale=0.3),
    "NegativeBinomial": NegativeBinomial(scale=0.4),
}
CASES = [
    ("Poisson", "exp", FAMILIES.Poisson()),
    ("Bernoulli", "logistic", FAMILIES.Binomial()),
    ("Bernoulli", "probit", FAMILIES.Binomial(OF.Probit())),
    ("Bernoulli", "cloglog", FAMILIES.Binomial(OF.CLogLog())),
    ("Gaussian", "identity", FAMILIES.Gaussian()),
    ("Gaussian", "exp", FAMILIES.Gaussian(OF.Log())),
    ("Gamma", "exp", FAMILIES.Gamma(OF.Log())),
    ("NegativeBinomial", "exp", None),
]


def drawn(name, n=1500, neurons=3, seed=0):
    """Features, and activity of this model at its default link."""
    rng = np.random.default_rng(seed)
    X = 0.5 * rng.normal(size=(n, 3))
    eta = X @ rng.normal(size=(3, neurons)) * 0.6 + 0.2
    with jax.enable_x64(True):
        return X, np.array(SCALED[name].sample(jax.random.key(seed), eta), float)
