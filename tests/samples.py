"""Small data sets that several tests use."""

import numpy as np


def small_data(seed=0, n_bins=600, n_features=4, n_neurons=3):
    """Independent features, and counts that depend on them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_bins, n_features))
    coef = rng.normal(scale=0.3, size=(n_features, n_neurons))
    return X, rng.poisson(np.exp(X @ coef - 1.0)).astype(float)
