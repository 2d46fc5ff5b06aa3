"""Input and output of a solver: `Objective` and `Fit`."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int


class Objective(NamedTuple):
    """Sum over neurons of the mean loss over valid bins, plus a penalty."""

    model: Any
    penalty: Any
    strength: Float[Array | np.ndarray, "..."]  # a number, one for each part of the penalty, or these for each neuron


class Convergence(NamedTuple):
    """How the solver ended for each neuron; a stalled one met round-off, or a loss that is not finite."""

    n_iter: np.ndarray
    converged: np.ndarray
    stalled: np.ndarray


class Evidence(NamedTuple):
    """Strengths of largest evidence, with what they leave of each neuron's filters; NaN for silent neurons.

    `edf` are effective degrees of freedom of each input. The evidence is the penalised log-likelihood plus
    `log_determinants`: half the logarithm of the ratio of prior and posterior precision. `repeated` are the features of inputs
    that are the same as an earlier one.
    """

    strength: Float[np.ndarray, "neurons parts"]
    edf: Float[np.ndarray, "neurons inputs"]
    log_determinants: Float[np.ndarray, " neurons"]
    repeated: Int[np.ndarray, " repeated"]


class FeatureRank(NamedTuple):
    """Features whose coefficients the data do not determine, and the number of parameters of each neuron.

    `collinear` features are sums of others; `constant` ones do not vary, to the precision of the sums, and are not 0.
    """

    collinear: np.ndarray
    constant: np.ndarray
    n_params: np.ndarray


class Fit(NamedTuple):
    """Result of a solver, on the host, neurons first.

    `dispersion` is that of the loss, a column, if it has one; `silent` neurons have nothing to fit. `suspects` are coefficients
    that may have no finite optimum, (neurons, features + 1): no event comes with the feature, or, in the last column, the
    coefficients of the neuron are large. None, as in a file, suspects all.
    """

    coef: np.ndarray
    intercept: np.ndarray
    dispersion: np.ndarray | None
    convergence: Convergence
    silent: np.ndarray
    null_mean: np.ndarray
    features: FeatureRank
    suspects: np.ndarray | None = None

    def to_tuple(self) -> tuple:
        """Plain values in the order of checkpoint files."""
        features = self.features
        rank = features.collinear, features.constant, features.n_params
        return self.coef, self.intercept, *self.convergence, self.silent, self.null_mean, *rank, self.dispersion

    @classmethod
    def from_tuple(cls, values: tuple) -> "Fit":
        """Result from the plain values of a checkpoint file."""
        coef, intercept, n_iter, converged, stalled, silent, null_mean, collinear, constant, n_params, dispersion = (
            values
        )
        return cls(
            coef=coef,
            intercept=intercept,
            dispersion=dispersion,
            convergence=Convergence(n_iter=n_iter, converged=converged, stalled=stalled),
            silent=silent,
            null_mean=null_mean,
            features=FeatureRank(collinear=collinear, constant=constant, n_params=n_params),
        )
