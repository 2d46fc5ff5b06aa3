r"""Do rates settle? The mean field of a coupled population: each neuron meets the mean rates of the others, m = E f(eta(m)).

If counts were independent Poisson numbers of mean m, an exponential of a weighted sum of them would have the mean
:math:`\exp \sum m (e^h - 1)`: the first order of the event-based moment expansion of Naud and Gerstner (2012). Links that end
linearly meet the sum of the means.
"""

import jax
import jax.numpy as jnp
import numpy as np

RELAXATION_STEP, MAX_RELAXATION_STEPS, RELAXATION_TOLERANCE = 0.1, 3000, 1e-6


REPRESENTATIVE_ROWS = 64  # that stand for all


MAX_MARGIN = 64.0  # rates that many times as high are as good as any


EXPONENTIAL_LINKS = ("exp", "logistic", "cloglog")  # where rates are low


def net_coupling(model, filters) -> np.ndarray:
    """What a count of every sender does to every receiver in all, (senders, receivers), on the scale of the predictor."""
    return (np.expm1(filters) if model.support.counts and model.link.name in EXPONENTIAL_LINKS else filters).sum(1)


def input_drive(model, eta) -> np.ndarray:
    """The predictor without recurrence in a few rows that stand for all, (rows, neurons)."""
    eta = eta[~np.isnan(eta).any(1)].astype(float)
    if model.link.name == "exp":
        top = eta.max(0)
        return (top + np.log(np.exp(eta - top).mean(0)))[None]
    return eta[np.unique(np.linspace(0, len(eta) - 1, REPRESENTATIVE_ROWS).astype(int))]


def mean_rates_and_slopes(model, drive, act, m):
    """Mean rates that rates m bring about, and how they change with the predictor."""
    eta = drive + m @ act
    if model.link.name == "exp":
        mean = np.exp(np.minimum(eta, 80)).mean(0)
        return mean, mean
    eta = jnp.asarray(eta, jnp.result_type(float))
    parts = jax.jvp(model.link.inverse, (eta,), (jnp.ones_like(eta),))
    return tuple(np.asarray(part, float).mean(0) for part in parts)


def find_fixed_point(model, drive, act, m, limit):
    """Follow rates from m to where they stay, or None if they run away to the limit."""
    for _ in range(MAX_RELAXATION_STEPS):
        step = RELAXATION_STEP * (mean_rates_and_slopes(model, drive, act, m)[0] - m)
        m = m + step
        if not (np.abs(m) < limit).all():
            return None
        if np.abs(step).max() <= RELAXATION_TOLERANCE * np.abs(m).max():
            break
    return m


def feedback_gain(model, drive, act, m) -> float:
    """How much activity a little more of it brings about in the end, in the direction where this is most."""
    slope = mean_rates_and_slopes(model, drive, act, m)[1]
    return float(np.linalg.eigvals(act * slope).real.max())


def stability_margin(model, drive, act, m, limit) -> float:
    """The factor by which all rates can rise together from where they stay and still come back, by bisection."""
    back = lambda factor: find_fixed_point(model, drive, act, np.minimum(factor * m, 0.99 * limit), limit) is not None
    low, high = 1.0, MAX_MARGIN
    if back(high):
        return np.inf
    while high > 1.05 * low:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if back(middle) else (low, middle)
    return low
