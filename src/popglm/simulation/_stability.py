"""Whether activity that feeds back on itself stays bounded."""

from typing import NamedTuple

import numpy as np

from popglm._checks.values import warn_user
from popglm.glm._access import train_mean
from popglm.simulation._checks import EXPLODING_FIT_FIX
from popglm.simulation._mean_field import feedback_gain, find_fixed_point, input_drive, net_coupling, stability_margin
from popglm.simulation._recurrence import decompose_model

MAX_MEAN_COUNT = 20.0  # counts per bin; a population that gets there is exploding, unless the data do


SAFE_MARGIN = 5.0  # times their rates; of populations that could rise less, two in three ran away within ten minutes


class Stability(NamedTuple):
    """Whether the rates of a coupled model settle, by its mean field."""

    rates: np.ndarray
    """Mean activity per bin where the mean field settles, shape (neurons,); NaN if it runs away."""
    gain: float
    """Activity that a little more of it brings about at these rates; from 1 on it grows. Infinite if there are none."""
    margin: float
    """Factor by which all rates can rise together and still come back; 0 if they never settle, infinite above 64."""

    @property
    def stable(self) -> bool:
        """Whether rates settle, and can become five times as high without running away. Growth that alternates is not seen."""
        return bool(self.gain < 1 and self.margin >= SAFE_MARGIN)


def stability(model, basis, inputs=None):
    r"""Do the rates of a coupled model settle, and how far from running away? An estimate from its mean field.

    Mean rates m that each neuron meets are those that it brings about, :math:`m_n = f(\eta_n + \sum_m m_m C_{mn})`. With an
    exponential link, counts that scatter like independent Poisson numbers give

    .. math:: C_{mn} = \sum_{l=1}^{W} \bigl(e^{h_{mn}(l)} - 1\bigr)

    for the filters h, the first order of the event-based moment expansion of Naud and Gerstner; with a link that ends linearly
    C is the sum of the filter. The gain is the largest real part of an eigenvalue of :math:`f'(\eta_n) C_{mn}`. An
    exponential link always has a second, higher level of rates, from which they run away, as soon as there is net
    excitation; the margin says how far it is. It is an estimate: bursts of one neuron, which its mean does not tell, may run
    away all the same.

    Parameters
    ----------
    model, basis, inputs
        As for `simulate`. The mean field meets what inputs do on average.

    Returns
    -------
    Stability
        Rates, gain and margin; and whether it is `stable`.

    Raises
    ------
    sklearn.exceptions.NotFittedError, ValueError
        As `simulate`.

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
    known, recurrence, eta, _ = decompose_model(model, basis, inputs)
    return estimate_stability(model, known, recurrence, np.asarray(model.intercept_)[None] if eta is None else eta)


def typical_activity(model, known):
    """Size of each neuron's activity, in the data of the fit if they are known."""
    unknown = np.full(len(model.intercept_), 0.98 if known.support.ends_only else float(known.divides))
    mean = np.abs(np.asarray(train_mean(model, unknown), float))
    if known.divides:
        mean = mean + np.sqrt(np.asarray(known.variance(mean)) * np.ravel(known.scale))
    return mean


def explosion_limit(known, typical):
    """Means at which each neuron's activity counts as exploding."""
    most = 1e4 * typical.max() if known.divides else max(MAX_MEAN_COUNT, 10 * typical.max())
    return np.full(len(typical), np.inf if known.support.ends_only else most)


def estimate_stability(model, known, recurrence, eta) -> Stability:
    typical = typical_activity(model, known)
    limit = (1 + typical) / 2 if known.support.ends_only else explosion_limit(known, typical)
    act, drive = net_coupling(known, recurrence.filters), input_drive(known, eta)
    start = np.asarray(train_mean(model, np.zeros(len(typical))), float)
    rates = find_fixed_point(known, drive, act, start, limit)
    if rates is None:
        return Stability(np.full(len(limit), np.nan), np.inf, 0.0)
    gain = feedback_gain(known, drive, act, rates)
    return Stability(rates, gain, stability_margin(known, drive, act, rates, limit))


def warn_unstable(found):
    """Say before a run that its rates are likely to run away."""
    if found.stable:
        return
    why = f"would run away if a fluctuation made them {found.margin:.1f} times as high"
    if found.gain >= 1:
        why = "have no stable level"
    text = (
        f"by their mean field the rates of this model {why}, so the simulation is likely to explode, or to sit at rates that "
        f"the data never had. {EXPLODING_FIT_FIX}"
    )
    warn_user(text, RuntimeWarning)
