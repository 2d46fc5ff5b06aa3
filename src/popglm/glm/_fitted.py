"""`Fitted`: everything that a fit says, whichever way it was made."""

from typing import NamedTuple

import jax
import numpy as np

from popglm._checks.names import Names
from popglm._solver.problem import Convergence
from popglm._sums.separation import Separation
from popglm.observation_models import ObservationModel


class Parameters(NamedTuple):
    """Parameters of all neurons, neurons first; `dispersion` is None where it was not asked for."""

    coef: np.ndarray | jax.Array
    intercept: np.ndarray | jax.Array
    dispersion: np.ndarray | None = None


class EvidenceResult(NamedTuple):
    """Strengths of largest evidence in the user's shapes, effective degrees of freedom and logarithm of the evidence.

    `repeated` are the features of inputs that are the same as an earlier one.
    """

    strength: np.ndarray
    edf: np.ndarray
    log_evidence: np.ndarray
    repeated: np.ndarray


class Findings(NamedTuple):
    """Neurons and features for which the data do not determine what a fit gives.

    `silent`, `unobserved` (without a valid bin, so silent), `constant` (y never varies) and `separated` are flags of neurons,
    `separation` those of coefficients without a finite optimum; `collinear`, `constant_features` and `unseen` (see
    `find_unseen`) are numbers of features.
    """

    silent: np.ndarray
    unobserved: np.ndarray
    constant: np.ndarray
    separated: np.ndarray
    separation: Separation
    collinear: np.ndarray
    constant_features: np.ndarray
    unseen: np.ndarray


class Fitted(NamedTuple):
    """A fit: the model that was fitted, its parameters, how the solver ended, what the data lack, and the null model's means.

    An `update` knows the first two and the names only.
    """

    observation_model: ObservationModel
    parameters: Parameters
    names: Names
    convergence: Convergence | None = None
    findings: Findings | None = None
    null_mean: np.ndarray | None = None
    evidence: EvidenceResult | None = None
