"""Separation: coefficients without a finite optimum, because an event is in every bin where the feature is not 0, or in none.

This is the separation of Albert and Anderson (1984, *Biometrika* 71:1-10). Single features are tested by the sums of their
signs. A weighted sum of features is tested along the direction in which a fit has gone: its part that is 0 in every bin with
an event. A reference level in which a neuron never fires is the usual case: there the intercept falls without end, and the
coefficients of all other levels rise.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from popglm._design.blocks import Block

NEURONS_PER_PASS = 8  # whose Gram matrices are summed in one pass

MAX_COMBINED_FEATURES = 2000  # above it the Gram matrices would need too much memory

LARGE_COEF = 2.0  # per standard deviation of the feature; where none is larger, weighted sums are not looked for

NULL_EIGENVALUE = 1e-5  # of a Gram matrix with ones on its diagonal

ZERO_SUM, FAR_SUM = 1e-4, 0.1  # a sum of features counts as 0, or as far from it, beside its largest part


class Separation(NamedTuple):
    """Flags of coefficients without a finite optimum: single features, and those of a weighted sum, the intercept last.

    `unseen` features are 0 in every valid bin of a neuron, so that any coefficient is an optimum.
    """

    features: np.ndarray  # (neurons, features)
    combined: np.ndarray  # (neurons, features + 1)
    unseen: np.ndarray  # (neurons, features)

    @property
    def neurons(self) -> np.ndarray:
        """Neurons that have such coefficients."""
        return np.asarray(self.features.any(1) | self.combined.any(1))


def find_separation(
    sum_over: Callable,
    kind: str,
    params: np.ndarray,
    free: np.ndarray,
    suspects: np.ndarray,
    signs: tuple | None = None,
    max_neurons: int | None = None,
) -> Separation:
    """Find the `suspects` that separate counts, or binary y, as the `kind` of the support says.

    All arrays have the shape (neurons, features + 1); the last column of the suspects means the neuron's weighted sums, which
    are looked for in `max_neurons` neurons at most. `signs` are `sign_sums`, if they are known. `sum_over(f, *args)` sums a
    function over all blocks.
    """
    coef, binary = params[:, :-1], kind == "binary"
    features, unseen = np.zeros((2, *coef.shape), bool)
    if suspects[:, :-1].any():
        separated = separated_binary if binary else separated_counts
        signs = sum_over(sign_sums) if signs is None else signs
        features = separated(signs, coef) & suspects[:, :-1]
        unseen = (sum(signs) == 0) & (coef != 0) & suspects[:, :-1]
    neurons = np.flatnonzero(suspects[:, -1] & ~features.any(1))[:max_neurons]
    combined = find_combinations(sum_over, params, free, neurons, (True, False) if binary else (True,))
    return Separation(features=features, combined=combined, unseen=unseen)


def sign_sums(block: Block) -> tuple[Float[Array, "neurons features"], ...]:
    """Sums of the positive and of the negative parts of every feature, over bins with an event and over bins without."""
    event, weight = (block.y.T > 0).astype(block.X.dtype), block.weight.T
    events, nonevents = (jnp.where(weight > 0, bins, 0) for bins in (event, 1 - event))
    above, below = jnp.maximum(block.X, 0), jnp.maximum(-block.X, 0)
    return tuple(bins @ side for bins in (events, nonevents) for side in (above, below))


def separated_binary(sums: tuple, coef: np.ndarray) -> Bool[np.ndarray, "neurons features"]:
    """For binary y: features whose sign separates bins with a spike from bins without."""
    events_above, events_below, nonevents_above, nonevents_below = sums
    nonzero = events_above + events_below + nonevents_above + nonevents_below > 0
    down, up = (events_above + nonevents_below == 0), (events_below + nonevents_above == 0)
    return (down | up) & nonzero & (coef != 0)


def separated_counts(sums: tuple, coef: np.ndarray) -> Bool[np.ndarray, "neurons features"]:
    """For unbounded counts: features of one sign that are 0 in every bin with an event."""
    events_above, events_below, nonevents_above, nonevents_below = sums
    one_side = (nonevents_above == 0) != (nonevents_below == 0)
    return (events_above + events_below == 0) & one_side & (coef != 0)


def find_combinations(
    sum_over: Callable, params: np.ndarray, free: np.ndarray, neurons: np.ndarray, outcomes: tuple[bool, ...] = (True,)
) -> np.ndarray:
    """Flags of parameters, the intercept last, whose weighted sum separates the activity of some of the `neurons`.

    `sum_over(f, *args)` sums a function over all blocks. `params` and `free` have the shape (neurons, features + 1). The sum is
    0 in all bins with the outcome (True: an event) and of one sign in all others, in some of them far from 0.
    """
    found = np.zeros(params.shape, bool)
    if params.shape[1] > MAX_COMBINED_FEATURES:
        return found
    for outcome in outcomes:
        for start in range(0, len(neurons), NEURONS_PER_PASS):
            some = np.resize(neurons[start : start + NEURONS_PER_PASS], NEURONS_PER_PASS)
            moments = sum_over(outcome_moments, some, np.asarray(outcome))
            directions = [_null_part(gram, params[n], free[n]) for gram, n in zip(moments, some, strict=True)]
            directions = (1 if outcome else -1) * np.array(directions)
            at_zero, right, wrong = sum_over(side_counts, some, np.asarray(outcome), directions.astype(np.float32))
            separated = (at_zero == 0) & (wrong == 0) & (right > 0)
            found[some] |= separated[:, None] & (np.abs(directions) > FAR_SUM)
    return found


def outcome_moments(block: Block, neurons: Any, outcome: Any) -> Array:
    """Gram matrix of the features and a column of ones, for each of the neurons, over its bins with this outcome."""
    X, bins = _with_ones(block.X), _bins_with(block, neurons, outcome)
    return jax.lax.map(lambda weight: (weight[:, None] * X).T @ X, bins)


def side_counts(block: Block, neurons: Any, outcome: Any, directions: Any) -> tuple[Array, ...]:
    """Number of bins with this outcome where a weighted sum is not 0; of all others where it is far below, and above 0."""
    values = directions.astype(block.X.dtype) @ _with_ones(block.X).T
    inside, outside = (_bins_with(block, neurons, which) for which in (outcome, ~outcome))
    count = lambda bins, where: jnp.where(where, bins, 0).sum(1)
    zero = jnp.abs(values) > ZERO_SUM
    return count(inside, zero), count(outside, values < -FAR_SUM), count(outside, values > ZERO_SUM)


def _with_ones(X: Array) -> Array:
    return jnp.concatenate([X, jnp.ones_like(X[:, :1])], 1)


def _bins_with(block: Block, neurons: Any, outcome: Any) -> Array:
    """1 in valid bins of each neuron with (True) or without an event, 0 in others."""
    block = block.select_neurons(neurons)
    return ((block.weight.T > 0) & ((block.y.T > 0) == outcome)).astype(block.X.dtype)


def _null_part(gram: np.ndarray, params: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Part of the parameters that changes nothing where the Gram matrix was summed; its largest term there, or entry, is 1."""
    size = np.sqrt(np.diag(gram))
    size = np.where(size > 0, size, 1)
    columns = np.flatnonzero(free)
    values, vectors = np.linalg.eigh((gram / np.outer(size, size))[np.ix_(columns, columns)])
    null = vectors[:, values <= NULL_EIGENVALUE]
    part = np.zeros(len(params))
    part[columns] = null @ (null.T @ (params * size)[columns]) / size[columns]
    rms = size / np.sqrt(max(gram[-1, -1], 1))
    return part / max(np.abs(part * rms).max(), np.finfo(np.float32).tiny)
