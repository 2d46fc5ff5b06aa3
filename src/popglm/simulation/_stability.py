"""Stability of coupled models: estimates, limits and warnings from the mean field."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from popglm._checks.values import warn_user
from popglm._pynapple import as_frame
from popglm._types import RowValues
from popglm.basis._tree import Basis
from popglm.glm import GLM, PopulationGLM
from popglm.glm._access import train_mean
from popglm.simulation._checks import EXPLODING_FIT_FIX
from popglm.simulation._mean_field import MeanField
from popglm.simulation._recurrence import as_drive, decompose_model

# Counts per bin: a population that reaches them explodes, unless the data of the fit reach them, too.
MAX_MEAN_COUNT = 20.0

# Two in three populations with a smaller margin ran away within ten minutes.
SAFE_MARGIN = 5.0


class Stability(NamedTuple):
    """Estimate by the mean field of whether the rates of a coupled model settle."""

    rates: np.ndarray
    """Mean activity per bin at the fixed point of the mean field, shape (neurons,); NaN if there is none."""
    gain: float
    """Largest eigenvalue of the linearised feedback at these rates; above 1, rates grow. Infinite without a fixed point."""
    margin: float
    """Largest factor by which all rates can rise together and still come back; 0 if they never settle, infinite above 64."""

    @property
    def stable(self) -> bool:
        """True if rates settle, and come back from five times as high. Growth that alternates in sign is not detected."""
        return bool(self.gain < 1 and self.margin >= SAFE_MARGIN)


def stability(
    model: GLM | PopulationGLM, basis: Basis, inputs: Sequence | None = None, *, offset: RowValues | None = None
) -> Stability:
    r"""Estimate from its mean field whether the rates of a coupled model settle, and how far they are from running away.

    At a fixed point the mean rates that the neurons receive are those that they produce,
    :math:`m_n = f(\eta_n + \sum_m m_m C_{mn})`. With an exponential link, independent Poisson counts give

    .. math:: C_{mn} = \sum_{l=1}^{W} \bigl(e^{h_{mn}(l)} - 1\bigr)

    for the filters h, the first order of the event-based moment expansion of Naud and Gerstner; with a link that is linear at
    high rates C is the sum of the filter. The gain is the largest real part of an eigenvalue of :math:`f'(\eta_n) C_{mn}`.
    With an exponential link and net excitation there is always a second, higher fixed point, beyond which rates run away; the
    margin says how far it is. This is an estimate: bursts of one neuron, which a mean rate does not show, may still run away.

    Parameters
    ----------
    model, basis, inputs, offset
        As for `simulate`. The mean field takes the average effect of the inputs and of the offset.

    Returns
    -------
    Stability
        Rates, gain and margin; `stable` sums them up.

    Raises
    ------
    sklearn.exceptions.NotFittedError, ValueError
        As for `simulate`.

    References
    ----------
    Gerhard, Deger and Truccolo (2017), *PLoS Computational Biology* 13:e1005390, on fitted models that diverge; Naud and
    Gerstner (2012), *PLoS Computational Biology* 8:e1002711, for the expansion.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.simulation import stability
    >>> counts = np.random.default_rng(0).poisson(0.1, (5000, 3))
    >>> basis = RaisedCosineLogConv(4, window_size=20)
    >>> stability(PopulationGLM().fit(basis.lazy_features(counts), counts), basis).stable
    True
    """
    observation_model, recurrence, eta, frame = decompose_model(model, basis, inputs)
    if eta is None:
        n_rows = 1 if offset is None else (*np.shape(as_frame(offset).values), 1)[0]
        eta = np.broadcast_to(model.intercept_, (n_rows, len(model.intercept_)))
    return estimate_stability(model, observation_model, recurrence, *as_drive(model, offset, eta, frame))


def typical_activity(model, observation_model, offset=None):
    """Typical size of each neuron's activity: that in the data of the fit, or a default after `update`.

    With an offset (time, neurons) that of the bin where it is largest, since the mean that is known is that at an offset of 0.
    """
    default = 0.98 if observation_model.support.kind == "binary" else float(observation_model.dispersion == "pearson")
    unknown = np.full(len(model.intercept_), default)
    mean = np.asarray(train_mean(model, unknown), float)
    if offset is not None:
        eta = np.asarray(observation_model.link.forward(mean), float) + np.nan_to_num(offset)
        mean = np.asarray(observation_model.link.inverse(eta), float)
        mean = mean[np.abs(mean).argmax(0), np.arange(mean.shape[1])]
    mean = np.abs(mean)
    if observation_model.dispersion == "pearson":
        mean = mean + np.sqrt(np.asarray(observation_model.variance(mean)) * np.ravel(observation_model.scale))
    return mean


def explosion_limit(observation_model, typical):
    """Mean at which each neuron's activity counts as exploding."""
    if observation_model.support.kind == "binary":
        return np.full(len(typical), np.inf)
    has_unit = observation_model.dispersion == "pearson"
    return np.full(len(typical), 1e4 * typical.max() if has_unit else max(MAX_MEAN_COUNT, 10 * typical.max()))


def estimate_stability(model, observation_model, recurrence, eta, offset=None) -> Stability:
    """Stability of a fitted model, given its recurrence, its linear predictor without it (time, neurons), and the offset."""
    typical = typical_activity(model, observation_model, offset)
    only_0_and_1 = observation_model.support.kind == "binary"
    limit = (1 + typical) / 2 if only_0_and_1 else explosion_limit(observation_model, typical)
    field = MeanField.from_recurrence(observation_model, recurrence.filters, eta, limit)
    start = np.asarray(train_mean(model, np.zeros(len(typical))), float)
    rates = field.fixed_point(start)
    if rates is None:
        return Stability(rates=np.full(len(limit), np.nan), gain=np.inf, margin=0.0)
    return Stability(rates=rates, gain=field.gain(rates), margin=field.margin(rates))


def warn_unstable(estimate: Stability):
    """Warn before a simulation that its rates are likely to run away."""
    if estimate.stable:
        return
    why = f"would run away if a fluctuation made them {estimate.margin:.1f} times as high"
    if estimate.gain >= 1:
        why = "have no stable level"
    text = (
        f"by their mean field the rates of this model {why}, so the simulation is likely to explode, or to stay at rates that "
        f"the data never had. {EXPLODING_FIT_FIX}"
    )
    warn_user(text, RuntimeWarning)
