"""Input and output of a solver: `Objective` and `Fit`."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float


class Objective(NamedTuple):
    """Sum over neurons of the mean loss over valid bins, plus a penalty."""

    model: object
    penalty: object
    strength: Float[Array | np.ndarray, "..."]  # a number, one for each part of the penalty, or these for each neuron


class Fit(NamedTuple):
    """What a solver found, on the host, neurons first.

    `stalled` neurons met round-off before their tolerance, or values that are not finite; `silent` ones have nothing to
    fit; `mean` is the null model's.
    `dependent` are features that others determine, so that their coefficients are not unique; `constant` those that do not
    vary, to the precision of the sums, and are not 0; `free` counts each neuron's free parameters; `scale` is that of the
    loss, a column, if it has one.
    """

    coef: np.ndarray
    intercept: np.ndarray
    n_iter: np.ndarray
    converged: np.ndarray
    stalled: np.ndarray
    silent: np.ndarray
    mean: np.ndarray
    dependent: np.ndarray
    constant: np.ndarray
    free: np.ndarray
    scale: np.ndarray | None = None
