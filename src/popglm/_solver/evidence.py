r"""Strengths of a penalty that maximise the evidence of one neuron, near a point where its log-likelihood is known.

The log-likelihood is replaced by its quadratic model, :math:`r^\top w - \frac{1}{2} w^\top H w`, in coordinates in which every
part of the penalty is diagonal: the prior precision of coordinate k is :math:`s_k = \sum_j \lambda_j D_{jk}`. The evidence,
restricted to flat priors on what no part penalises, is

.. math:: V(\lambda) = \tfrac{1}{2} r^\top A^{-1} r + \tfrac{1}{2} \sum_k \log s_k - \tfrac{1}{2} \log |A|,
   \qquad A = H + \mathrm{diag}(s).

All its derivatives in :math:`\log \lambda` need A alone, so Newton's method costs no pass over the data. A part whose evidence
grows up to an infinite strength, or lies less than `MIN_GAIN` above that, is removed with its coordinates, and tried again by a
score test (MacKay 1992, *Neural Computation* 4:415-447; Wood 2011, *Journal of the Royal Statistical Society B* 73:3-36).
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from popglm._design.arrays import machine_epsilon

MAX_NEWTON_STEPS = 60
MAX_LOG_STEP = 4.0  # of a Newton step in the logarithm of a strength
# Gradient of the evidence where Newton's method ends, relative to the degrees of freedom of a part, in a first step and later.
FIRST_GRADIENT_TOL, GRADIENT_TOL = 1e-2, 1e-4
MIN_PART_EDF = 0.02  # scale of small degrees of freedom in this tolerance
REMOVAL_EDF = 0.05  # degrees of freedom below which a part is removed if the evidence still grows with its strength
MIN_GAIN = 0.1  # evidence, in nats, that a part must add to the model without it
MIN_GAIN_OF_RETURN = 0.11  # evidence that a removed part must add to come back
LOG_STRENGTH_GRID = np.linspace(-12, 8, 41)  # where this is tried, relative to the information about the part
MAX_HALVINGS = 20  # of a Newton step
ROUND_OFF = 1e-9  # of the evidence
MAX_USELESS_EDF = 2.0  # degrees of freedom up to which a part may add less than that
JITTERS = (0.0, 1e-6, 1e-4, 1e-2)  # added to a diagonal of ones until the matrix is positive definite
REMOVED_RATIO = 1e5  # strength of a removed part, relative to the information about its coordinates
# Precision of what no part penalises, relative to the information, in units of the round-off of sums.
FLOOR_EPSILONS = 64.0


class QuadraticModel(NamedTuple):
    """Log-likelihood of one neuron, in nats, as a quadratic function of its coefficients; the intercept is at its best."""

    hessian: Float[Array, "coordinates coordinates"]
    target: Float[Array, " coordinates"]  # gradient at 0
    log_intercept_information: float
    floor: Float[Array, " coordinates"] = np.zeros(0)  # precision of what no part penalises

    @classmethod
    def from_derivatives(
        cls,
        hessian: Float[Array, "parameters parameters"],
        gradient: Float[Array, " parameters"],
        coef: Float[Array, " coordinates"],
    ) -> "QuadraticModel":
        """Build from the derivatives of the negative log-likelihood at these coefficients, the intercept last."""
        cross, information = hessian[:-1, -1], max(hessian[-1, -1], np.finfo(float).tiny)
        profiled = hessian[:-1, :-1] - np.outer(cross, cross) / information
        slope = gradient[:-1] - cross * gradient[-1] / information
        return cls(profiled, profiled @ coef - slope, float(np.log(information)))

    def rotate(self, basis: Float[Array, "coordinates coordinates"]) -> "QuadraticModel":
        """Return the model in the coordinates of the columns of an orthogonal matrix."""
        hessian = basis.T @ self.hessian @ basis
        diagonal = np.diag(hessian)
        floor = FLOOR_EPSILONS * machine_epsilon() * np.maximum(diagonal, diagonal.mean())
        return self._replace(hessian=hessian, target=basis.T @ self.target, floor=floor)

    def select(self, kept: Bool[Array, " coordinates"]) -> "QuadraticModel":
        """Return the model of some coordinates, the others being 0."""
        if kept.all():
            return self
        hessian = self.hessian[kept][:, kept]
        return self._replace(hessian=hessian, target=self.target[kept], floor=self.floor[kept])


class PartStrengths(NamedTuple):
    """Strengths of the parts of one neuron's penalty, in nats; `removed` parts have no freedom left."""

    log_strength: Float[Array, " parts"]
    removed: Bool[Array, " parts"]


class StrengthStep(NamedTuple):
    """Strengths of one neuron at the maximum of the evidence, and what belongs to them.

    `edf` are the effective degrees of freedom of each coordinate, `log_determinants` is half the logarithm of the ratio of
    prior and posterior precision.
    """

    strengths: PartStrengths
    edf: Float[Array, " coordinates"]
    coef: Float[Array, " coordinates"]
    log_determinants: float


class _Evaluation(NamedTuple):
    """Evidence at some strengths, with its derivatives; `part_edf` are the degrees of freedom that each part leaves."""

    value: float
    gradient: Float[Array, " parts"]
    part_edf: Float[Array, " parts"]
    precision: Float[Array, " coordinates"]  # of the prior; 1 where no part penalises
    held: Float[Array, " coordinates"]  # of the prior, with the floor
    inverse: Float[Array, "coordinates coordinates"]
    coef: Float[Array, " coordinates"]
    log_determinants: float

    @classmethod
    def at(
        cls, model: QuadraticModel, weights: Float[Array, "parts coordinates"], log_strength: Float[Array, " parts"]
    ) -> "_Evaluation":
        weighted = np.exp(log_strength)[:, None] * weights
        precision = weighted.sum(0)
        held, precision = precision + model.floor, np.where(precision > 0, precision, 1)
        scale = 1 / np.sqrt(np.diag(model.hessian) + held)
        matrix = model.hessian * scale * scale[:, None]
        matrix[np.diag_indices_from(matrix)] = 1
        lower, inverse = _factor_and_inverse(matrix)
        inverse = inverse * scale * scale[:, None]
        coef = inverse @ model.target
        log_determinants = np.log(precision).sum() / 2 - np.log(np.diag(lower) / scale).sum()
        part_edf = weighted @ (1 / precision - np.diag(inverse))
        gradient = (part_edf - weighted @ coef**2) / 2
        value = model.target @ coef / 2 + log_determinants
        return cls(value, gradient, part_edf, precision, held, inverse, coef, log_determinants)

    def hessian(
        self, weights: Float[Array, "parts coordinates"], log_strength: Float[Array, " parts"]
    ) -> Float[Array, "parts parts"]:
        """Second derivatives of the evidence in the logarithms of the strengths."""
        weighted = np.exp(log_strength)[:, None] * weights
        moved, shares = weighted * self.coef, weighted / self.precision
        return (
            moved @ self.inverse @ moved.T
            + weighted @ self.inverse**2 @ weighted.T / 2
            - shares @ shares.T / 2
            + np.diag(self.gradient)
        )


def maximise_evidence(
    model: QuadraticModel,
    weights: Float[Array, "parts coordinates"],
    last: PartStrengths | None,
    may_return: bool = True,
) -> StrengthStep:
    """Maximise the evidence over the strengths of all parts, from those of the last step; the first step is a rough one.

    `weights` are the eigenvalues of the parts of the penalty, 0 or more, in the coordinates of the model. Parts that the last
    step removed may come back if `may_return`.
    """
    tol = FIRST_GRADIENT_TOL if last is None else GRADIENT_TOL
    informed = _is_informed(model, weights)
    if last is None:
        log_strength, removed = initial_log_strength(model, weights), ~informed
    else:
        log_strength, removed = last.log_strength, last.removed | ~informed
    returned, held = np.zeros_like(removed), removed & (not may_return)
    while True:
        log_strength, removed, evaluation = _climb(model, weights, log_strength, removed, tol)
        gain = _gains(evaluation, weights, log_strength, removed)
        if (gain < MIN_GAIN).any():
            # Of parts that have returned together, one may be enough.
            least = np.arange(len(gain)) == np.argmin(gain)
            removed = removed | (least if returned.any() else gain < MIN_GAIN)
            continue
        gain, best = _gains_of_return(model, weights, removed, evaluation)
        returning = informed & ~returned & ~held & (gain > MIN_GAIN_OF_RETURN)
        if not returning.any():
            break
        removed, returned = removed & ~returning, returned | returning
        log_strength = np.where(returning, best, log_strength)
    kept = ~(weights[removed] > 0).any(0)
    edf, coef = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    edf[kept], coef[kept] = 1 - evaluation.held * np.diag(evaluation.inverse), evaluation.coef
    return StrengthStep(
        strengths=PartStrengths(np.where(removed, removed_log_strength(model, weights), log_strength), removed),
        edf=edf,
        coef=coef,
        log_determinants=evaluation.log_determinants - model.log_intercept_information / 2,
    )


def _is_informed(model: QuadraticModel, weights: Float[Array, "parts coordinates"]) -> Bool[Array, " parts"]:
    """Mark the parts about which the data say anything; the constant of functions that sum to 1 is the intercept's."""
    information = np.where(weights > 0, np.diag(model.hessian), 0).max(1, initial=0)
    return information > FLOOR_EPSILONS * machine_epsilon() * np.diag(model.hessian).max(initial=0)


def initial_log_strength(model: QuadraticModel, weights: Float[Array, "parts coordinates"]) -> Float[Array, " parts"]:
    """Logarithms of strengths at which each part's prior precision equals the information about its coordinates."""
    information = (weights > 0) @ np.maximum(np.diag(model.hessian), 0)
    penalty = weights.sum(1)
    return np.log(np.maximum(information, np.finfo(float).tiny) / np.where(penalty > 0, penalty, 1))


def removed_log_strength(model: QuadraticModel, weights: Float[Array, "parts coordinates"]) -> Float[Array, " parts"]:
    """Logarithms of strengths that leave a part no freedom, as they are told to the user."""
    diagonal = np.maximum(np.diag(model.hessian), np.finfo(float).tiny)
    least_information = diagonal.max(initial=np.finfo(float).tiny) / REMOVED_RATIO  # also of a neuron without features
    information = np.maximum(np.where(weights > 0, diagonal, 0).max(1, initial=0), least_information)
    least = np.where(weights > 0, weights, np.inf).min(1, initial=np.inf)
    return np.log(REMOVED_RATIO * information / np.where(np.isfinite(least), least, 1))


def _climb(
    model: QuadraticModel,
    weights: Float[Array, "parts coordinates"],
    log_strength: Float[Array, " parts"],
    removed: Bool[Array, " parts"],
    tol: float,
) -> tuple[Array, Array, _Evaluation]:
    """Newton's method with steps that do not lower the evidence; return strengths, removed parts and the last evaluation."""
    here = None
    for _ in range(MAX_NEWTON_STEPS):
        parts, (part_model, part_weights) = np.flatnonzero(~removed), _without(model, weights, removed)
        here = _Evaluation.at(part_model, part_weights, log_strength[parts]) if here is None else here
        fading = (here.part_edf < REMOVAL_EDF) & (here.gradient > 0)
        if fading.any():
            removed, here = removed.copy(), None
            removed[parts[fading]] = True
            continue
        if (np.abs(here.gradient) <= tol * (np.maximum(here.part_edf, 0) + MIN_PART_EDF)).all():
            break
        step, log_strength = _newton_step(here, part_weights, log_strength[parts]), log_strength.copy()
        for _ in range(MAX_HALVINGS):
            trial = _try_at(part_model, part_weights, log_strength[parts] + step)
            if trial is not None and trial.value >= here.value - ROUND_OFF * (1 + abs(here.value)):
                break
            step = step / 2
        else:
            break
        log_strength[parts], here = log_strength[parts] + step, trial
    if here is None:
        here = _Evaluation.at(*_without(model, weights, removed), log_strength[~removed])
    return log_strength, removed, here


def _newton_step(
    here: _Evaluation, weights: Float[Array, "parts coordinates"], log_strength: Float[Array, " parts"]
) -> Float[Array, " parts"]:
    """Newton step uphill: curvatures of the wrong sign are turned, small ones raised to the gradient, as for a tail."""
    values, vectors = np.linalg.eigh(-here.hessian(weights, log_strength))
    slopes = vectors.T @ here.gradient
    curvature = np.maximum(np.abs(values), np.abs(slopes) / MAX_LOG_STEP)
    step = vectors @ (slopes / np.maximum(curvature, np.finfo(float).tiny))
    return step * min(1, MAX_LOG_STEP / max(np.abs(step).max(initial=0), np.finfo(float).tiny))


def _try_at(
    model: QuadraticModel, weights: Float[Array, "parts coordinates"], log_strength: Float[Array, " parts"]
) -> _Evaluation | None:
    try:
        return _Evaluation.at(model, weights, log_strength)
    except np.linalg.LinAlgError:
        return None


def _factor_and_inverse(matrix: Float[Array, "coordinates coordinates"]) -> tuple[Array, Array]:
    """Lower Cholesky factor and inverse of a positive definite matrix."""
    if not len(matrix):  # LAPACK refuses it
        return matrix, matrix
    for jitter in JITTERS:  # of collinear columns, summed in single precision
        lower, failed = scipy.linalg.lapack.dpotrf(matrix + jitter * np.eye(len(matrix)), lower=1)
        if not failed:
            break
    else:
        raise np.linalg.LinAlgError("the matrix is not positive definite")
    inverse = scipy.linalg.lapack.dpotri(lower, lower=1)[0]
    upper = np.triu_indices(len(matrix), 1)
    inverse[upper] = inverse.T[upper]
    return lower, inverse


def _without(
    model: QuadraticModel, weights: Float[Array, "parts coordinates"], removed: Bool[Array, " parts"]
) -> tuple[QuadraticModel, Float[Array, "left kept"]]:
    """Return the model, and the weights of the other parts, without the coordinates of removed parts."""
    kept = ~(weights[removed] > 0).any(0)
    return model.select(kept), weights[~removed][:, kept]


def _gains(
    here: _Evaluation,
    weights: Float[Array, "parts coordinates"],
    log_strength: Float[Array, " parts"],
    removed: Bool[Array, " parts"],
) -> Float[Array, " parts"]:
    """Evidence that each part adds to the model without its coordinates; infinite for removed and for large ones."""
    gains, kept = np.full(len(weights), np.inf), ~(weights[removed] > 0).any(0)
    log_precision, left = np.log(here.precision), np.flatnonzero(~removed)
    for part in left[here.part_edf < MAX_USELESS_EDF]:
        own = weights[part, kept] > 0
        lower, _ = _factor_and_inverse(here.inverse[own][:, own])
        scaled = scipy.linalg.solve_triangular(lower, here.coef[own], lower=True)
        gains[part] = scaled @ scaled / 2 + log_precision[own].sum() / 2 + np.log(np.diag(lower)).sum()
    return gains


def _gains_of_return(
    model: QuadraticModel,
    weights: Float[Array, "parts coordinates"],
    removed: Bool[Array, " parts"],
    here: _Evaluation,
) -> tuple[Float[Array, " parts"], Float[Array, " parts"]]:
    """Evidence that each removed part would add at its best strength, with the other strengths as they are, and this strength.

    With the score u and the information M about its coordinates, beside the others, this is a function of one strength,
    in coordinates in which M and the penalty are diagonal.
    """
    gain, best = np.full(len(weights), -np.inf), np.zeros(len(weights))
    gone = (weights[removed] > 0).sum(0)
    kept = gone == 0
    for part in np.flatnonzero(removed):
        own = (weights[part] > 0) & (gone == 1)  # coordinates that no other removed part holds at 0
        if not own.any():
            continue
        cross, unit = model.hessian[own][:, kept], 1 / np.sqrt(weights[part, own])
        score = unit * (model.target[own] - cross @ here.coef)
        alone = unit[:, None] * model.hessian[own][:, own] * unit
        values, vectors = np.linalg.eigh(alone - unit[:, None] * (cross @ here.inverse @ cross.T) * unit)
        if values[-1] <= FLOOR_EPSILONS * machine_epsilon() * np.diag(alone).max():  # a sum of the others
            continue
        values, squares = np.maximum(values, 0), (vectors.T @ score) ** 2
        trials = np.log(values[-1]) + LOG_STRENGTH_GRID
        strengths = np.exp(trials)[:, None]
        gains = (squares / (values + strengths) - np.log1p(values / strengths)).sum(1) / 2
        gain[part], best[part] = gains.max(), trials[np.argmax(gains)]
    return gain, best
