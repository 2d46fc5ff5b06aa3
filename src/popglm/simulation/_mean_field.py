r"""Mean field of a coupled population: each neuron receives the mean rates of the others, and m = E f(eta(m)) at a fixed point.

If counts were independent Poisson numbers of mean m, an exponential of a weighted sum of them would have the mean
:math:`\exp \sum m (e^h - 1)`: the first order of the event-based moment expansion of Naud and Gerstner (2012). For links that
are linear at high rates, the sum of the means takes its place.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popglm.observation_models import ObservationModel

RELAXATION_STEP, MAX_RELAXATION_STEPS, RELAXATION_TOLERANCE = 0.1, 3000, 1e-6

# Rows of the linear predictor that represent all of them.
REPRESENTATIVE_ROWS = 64

# The margin is infinite if rates this many times as high still come back.
MAX_MARGIN = 64.0

# These links are exponential at low rates.
EXPONENTIAL_LINKS = ("exp", "logistic", "cloglog")


class MeanField(NamedTuple):
    """Mean rates of a coupled population as functions of mean rates.

    `coupling` is the total effect of a count of each sender on the linear predictor of each receiver, `drive` the linear
    predictor without recurrence in rows that represent all, `limit` the rate at which a neuron's activity counts as exploding.
    """

    model: ObservationModel
    coupling: np.ndarray
    drive: np.ndarray
    limit: np.ndarray

    @classmethod
    def from_recurrence(cls, model, filters, eta, limit) -> "MeanField":
        """Mean field for filters (senders, lags, receivers) and linear predictors without recurrence (time, receivers)."""
        return cls(model=model, coupling=_net_coupling(model, filters), drive=_input_drive(model, eta), limit=limit)

    def mean_rates_and_slopes(self, rates):
        """Mean rates that the given rates produce, and their derivatives in the linear predictor."""
        eta = self.drive + rates @ self.coupling
        if self.model.link.name == "exp":  # type: ignore[attr-defined]
            mean = np.exp(np.minimum(eta, 80)).mean(0)
            return mean, mean
        eta = jnp.asarray(eta, jnp.result_type(float))
        mean_and_slope = jax.jvp(self.model.link.inverse, (eta,), (jnp.ones_like(eta),))  # type: ignore[attr-defined]
        return tuple(np.asarray(values, float).mean(0) for values in mean_and_slope)

    def fixed_point(self, rates):
        """Follow rates to where they stay, or return None if they run away to the limit."""
        for _ in range(MAX_RELAXATION_STEPS):
            step = RELAXATION_STEP * (self.mean_rates_and_slopes(rates)[0] - rates)
            rates = rates + step
            if not (np.abs(rates) < self.limit).all():
                return None
            if np.abs(step).max() <= RELAXATION_TOLERANCE * np.abs(rates).max():
                break
        return rates

    def gain(self, rates) -> float:
        """Largest real part of an eigenvalue of the linearised feedback; above 1, rates grow."""
        slope = self.mean_rates_and_slopes(rates)[1]
        return float(np.linalg.eigvals(self.coupling * slope).real.max())

    def margin(self, rates) -> float:
        """Largest factor by which all rates can rise together from a fixed point and still come back, by bisection."""
        back = lambda factor: self.fixed_point(np.minimum(factor * rates, 0.99 * self.limit)) is not None
        low, high = 1.0, MAX_MARGIN
        if back(high):
            return np.inf
        while high > 1.05 * low:
            middle = float(np.sqrt(low * high))
            low, high = (middle, high) if back(middle) else (low, middle)
        return low


def _net_coupling(model, filters) -> np.ndarray:
    """Total effect of a count of each sender on the linear predictor of each receiver, (senders, receivers)."""
    return (np.expm1(filters) if model.support.counts and model.link.name in EXPONENTIAL_LINKS else filters).sum(1)


def _input_drive(model, eta) -> np.ndarray:
    """Linear predictor without recurrence in a few rows that represent all, (rows, neurons)."""
    eta = eta[~np.isnan(eta).any(1)].astype(float)
    if model.link.name == "exp":
        top = eta.max(0)
        return (top + np.log(np.exp(eta - top).mean(0)))[None]
    return eta[np.unique(np.linspace(0, len(eta) - 1, REPRESENTATIVE_ROWS).astype(int))]
