"""State of the default fit by batches: sums over the batches seen, and the phase that the fit is in.

States are plain data without functions, and no step changes one in place, so they can be kept, pickled and continued twice.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from popglm._design.arrays import as_divisor
from popglm._design.blocks import Block
from popglm._solver.ask_tell import DONE, RUNNING, SolverState
from popglm._solver.preconditioner import Problem
from popglm._sums.losses import NullModel
from popglm._sums.moments import bins_and_events
from popglm.batching._sample import Sample


class BinSums(NamedTuple):
    """Sums over valid bins of each neuron: weights, which are 1 if not given, events, and squares of the weights."""

    bins: np.ndarray
    events: np.ndarray
    squares: np.ndarray

    @classmethod
    def from_tuple(cls, values) -> "BinSums":
        """Sums from a file; those of version 0.1.0, which knew no weights, have no squares."""
        bins, events, *squares = values
        return cls(bins, events, *squares or [bins])

    def add(self, other: "BinSums") -> "BinSums":
        """Sums over the bins of both."""
        return BinSums(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def unit(self) -> np.ndarray:
        """Weight of one bin of `n_effective`; 1 where there is none."""
        return np.where(self.bins > 0, self.squares / as_divisor(self.bins), 1)

    @property
    def n_effective(self) -> np.ndarray:
        """Number of bins of one weight that would be as informative, as Kish has it; it does not know the unit of weights."""
        return self.bins / self.unit

    @property
    def n_counted(self) -> np.ndarray:
        """Bins as often as they count, or the effective number if that is more; 1 where there is none."""
        return as_divisor(np.maximum(self.bins, self.n_effective))


def bin_sums(block: Block) -> BinSums:
    """Function for `total`."""
    weight = jnp.broadcast_to(block.weight, block.y.shape)
    return BinSums(*bins_and_events(block), (weight**2).sum(0))


@dataclass(frozen=True)
class Totals:
    """Sums over all bins seen; a bin that comes again in an exact pass is not added again.

    Features are those of the user minus `center`, the mean of the first batch, so that none lies far from 0.
    """

    center: np.ndarray | None  # None before the first batch, like `null`
    counts: BinSums
    moments: tuple  # number of rows, sum and Gram matrix of the features
    gradients: np.ndarray  # (neurons, features + 1), each batch at the parameters that it met; the intercept is last
    sample: Sample
    null: NullModel | None

    @property
    def bins(self):
        """Valid bins of each neuron: a sum of weights."""
        return self.counts.bins

    @classmethod
    def empty(cls, n_neurons, n_features) -> "Totals":
        """Sums before the first batch."""
        zeros = np.zeros(n_neurons)
        return cls(
            center=None,
            counts=BinSums(zeros, zeros, zeros),
            moments=(0.0, np.zeros(n_features), np.zeros((n_features, n_features))),
            gradients=np.zeros((n_neurons, n_features + 1)),
            sample=Sample.empty(n_features, n_neurons),
            null=None,
        )


@dataclass(frozen=True)
class FirstPass:
    """Phase in which every batch moves the parameters, and is added to the sums."""

    totals: Totals
    coef: np.ndarray  # (neurons, features)
    intercept: np.ndarray  # for the centred features; NaN is set by the first batch
    problem: Problem | None = None  # coordinates and curvatures, None before the first batch
    renewal_bins: float = 0.0  # number of bins at which the curvatures are computed again
    dispersion: np.ndarray | None = None  # of each neuron, None if the loss has none

    @property
    def centered_params(self):
        """Coefficients and intercepts for the centred features."""
        return self.coef, self.intercept

    @property
    def converged(self):
        """Mask of the neurons at their optimum: none, as the bins of this phase are seen once."""
        return np.zeros(len(self.coef), bool)

    @property
    def finished(self):
        """Mask of the neurons that no further pass would move."""
        return np.zeros(len(self.coef), bool)


class NewBins(FirstPass):
    """Phase after a pass that did not show the bins of the first: every batch moves the parameters, to the end of the run."""


class PassSums(NamedTuple):
    """Sums over the batches of one exact pass, at the trial points of the solver."""

    losses: tuple  # loss of each neuron, gradient in its coefficients and in its intercept
    counts: BinSums
    features: np.ndarray
    null_loss: np.ndarray
    dispersion: (
        tuple  # Pearson's chi-squared with bins, or slopes of the log-likelihood in the log dispersion, or nothing
    )
    null_slopes: tuple = ()  # with an offset: slope and information of the null model's intercept

    @classmethod
    def from_tuple(cls, values) -> "PassSums":
        """Sums from a file."""
        losses, counts, *others = values
        return cls(losses, BinSums.from_tuple(counts), *others)


@dataclass(frozen=True)
class ExactPasses:
    """Phase in which the batches show the bins of the first pass again, so that every pass is one step of the exact solver."""

    totals: Totals
    solver: SolverState
    problem: Problem
    sums: PassSums | None = None  # of the batches of the present pass
    dispersion: np.ndarray | None = None
    dispersion_sums: tuple | None = None  # of the last complete pass

    @property
    def centered_params(self):
        """Coefficients and intercepts for the centred features; a step that the solver has not rejected is taken in advance."""
        search = self.solver.search
        step = np.where(self.converged, 1, search.step * (search.n_rejected == 0))
        return self.problem.coordinates.to_model(self.solver.accepted.point + step[:, None] * search.direction)

    @property
    def converged(self):
        """Mask of the neurons at their optimum."""
        return self.solver.status == DONE

    @property
    def finished(self):
        """Mask of the neurons that no further pass would move."""
        return self.solver.status != RUNNING


def set_objective(state: FirstPass | ExactPasses, objective) -> FirstPass | ExactPasses:
    """State whose problem has this objective; None leaves plain data, without the functions of an observation model."""
    return state if state.problem is None else replace(state, problem=state.problem._replace(objective=objective))
