"""A fitted model as a simulation: activity that feeds back on itself, and whether its rates settle."""

from typing import NamedTuple

import jax
import numpy as np

from popglm import (
    _check,
    _check_model,
    _check_simulation,
    _check_times,
    _mean_field,
    _pynapple,
    _recurrence,
    _rollout,
    _settings,
)
from popglm._estimator import Estimator

MAX_MEAN = 20.0  # counts per bin; a population that gets there is exploding, unless the data do
SAFE = 5.0  # times their rates; of populations that could rise less, two in three ran away within ten minutes


class Population(NamedTuple):
    """A simulated recording and the truth behind it."""

    units: object
    """Spike times in seconds, each inside its bin, as a pynapple TsGroup; None for activity that is no count."""
    counts: object
    """The counts that were drawn, a TsdFrame (a Tsd of one `GLM`); `units.count(bin_size)` gives the same, if epochs begin and
    end where bins do."""
    rates: np.ndarray
    """Mean count per bin, shape (time, neurons)."""
    coef: np.ndarray
    """Shape (senders * n_basis_funcs, receivers), as a fitted `coef_`."""
    intercept: np.ndarray
    """Shape (receivers,)."""
    filters: np.ndarray
    """Effect on the linear predictor, shape (senders, window_size, receivers); index 0 of the window is lag 1."""


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
        return bool(self.gain < 1 and self.margin >= SAFE)


def simulate(key, model, basis, inputs=None, *, duration=None, bin_size=None, history=None):
    r"""Simulate a fitted model whose features depend on the activity itself: what is drawn is the history of later bins.

    .. math:: y_{tn} \sim p\Bigl(\cdot \Bigm| b_n + x_t^\top v_n
       + \sum_{m,k} w_{(m,k),n} \sum_{l=1}^{W} h_k(l)\, y_{t-l,m}\Bigr)

    Observation model, link and scale are those of the fit; :math:`x_t` are features of inputs that are known beforehand. A
    warning says before the run if the rates are likely to run away (see `stability`); a run that does is stopped.

    Parameters
    ----------
    key : jax.Array
        Random key, ``jax.random.key(seed)``. The same key draws the same activity, and bin t does not depend on how many
        come after it.
    model
        A fitted GLM, whose own activity is drawn, or a PopulationGLM.
    basis
        The basis of its features: a convolution, or a sum of bases, one of them at least a convolution of the activity.
    inputs : list
        One for each basis, in the order of `lazy_features`: None where the activity goes, else what `lazy_features` takes. By
        default everything is activity. The simulation has their bins, and their epochs if they are from pynapple.
    duration, bin_size : float
        In seconds, where no input says them; the bins are those of the counts of the fit.
    history
        Activity before the first bin of each epoch, shape (bins, neurons), the latest bin last: such as the counts of the
        fit. By default zeros, from which a coupled population may overshoot.

    Returns
    -------
    Population
        Spike times, counts and rates, with the parameters of the model. Bins whose inputs are not known are NaN, and
        count nothing in the history of others.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ValueError
        If basis and inputs do not make the features of the model, or its rates run away: beyond 20 spikes per bin and ten
        times the highest mean count of the fit.

    Warns
    -----
    RuntimeWarning
        If the mean field says that the rates have no stable level, or one that a fluctuation can leave.

    Examples
    --------
    >>> import jax
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLogConv
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.simulation import simulate
    >>> counts = np.random.default_rng(0).poisson(0.1, (5000, 3))
    >>> basis = RaisedCosineLogConv(4, window_size=20)
    >>> model = PopulationGLM().fit(basis.lazy_features(counts), counts)
    >>> population = simulate(jax.random.key(0), model, basis, duration=25.0, bin_size=0.005)
    >>> population.counts.shape
    (5000, 3)
    """
    counts_key, times_key = jax.random.split(_settings.key(key))
    known, recurrence, eta, frame = _taken_apart(model, basis, inputs)
    _check_simulation.clock(frame, duration, bin_size)
    if frame is None:
        n_bins = _settings.whole_bins(duration, bin_size)
        eta = np.broadcast_to(model.intercept_, (n_bins, len(model.intercept_)))
    if frame is None or frame.times is None:
        frame = _pynapple.bins(len(eta), _check.number("bin_size", bin_size, 0, strict=True))
    else:
        _check_times.regular(frame)
        bin_size = float(np.median(np.diff(frame.times)))
    history = _check_simulation.history(history, len(recurrence.kernel), len(model.intercept_))
    _warn(_stability(model, known, recurrence, eta))
    limit = _limit(known, _typical(model, known))
    bins = _rollout.Bins(_pynapple.epoch_starts(frame, len(eta)), eta, frame.times)
    ids = np.arange(len(limit)) if model._columns is None else model._columns
    named = {"ids": ids, "mend": _check_simulation.CALMER}
    counts, rates = _rollout.rollout(counts_key, known, recurrence, bins, history, limit, **named)
    units, counts = recording(times_key, counts, frame, bin_size, ids, known.support)
    counts = _pynapple.columns(counts, 0) if model._single else counts
    return Population(units, counts, rates, model.coef_, model.intercept_, recurrence.filters)


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
    known, recurrence, eta, _ = _taken_apart(model, basis, inputs)
    return _stability(model, known, recurrence, np.asarray(model.intercept_)[None] if eta is None else eta)


def _taken_apart(model, basis, inputs):
    """The observation model with its scale, the recurrence, and the predictor of inputs with its time axis."""
    _check_model.estimator(model, Estimator)
    _check_model.fitted(model)
    known = model._scaled("a simulation")
    return known, *_recurrence.parts(*model._core_params(), basis, inputs, type(model).__name__)


def _typical(model, known):
    """Size of each neuron's activity, in the data of the fit if they are known."""
    unknown = np.full(len(model.intercept_), 0.98 if known.support.ends_only else float(known.divides))
    mean = np.abs(np.asarray(getattr(model, "_train_mean", unknown), float))
    if known.divides:
        mean = mean + np.sqrt(np.asarray(known.variance(mean)) * np.ravel(known.scale))
    return mean


def _limit(known, typical):
    """Means at which each neuron's activity counts as exploding."""
    most = 1e4 * typical.max() if known.divides else max(MAX_MEAN, 10 * typical.max())
    return np.full(len(typical), np.inf if known.support.ends_only else most)


def _stability(model, known, recurrence, eta) -> Stability:
    typical = _typical(model, known)
    limit = (1 + typical) / 2 if known.support.ends_only else _limit(known, typical)
    act, drive = _mean_field.act(known, recurrence.filters), _mean_field.drive(known, eta)
    start = np.asarray(getattr(model, "_train_mean", np.zeros(len(typical))), float)
    rates = _mean_field.settle(known, drive, act, start, limit)
    if rates is None:
        return Stability(np.full(len(limit), np.nan), np.inf, 0.0)
    gain = _mean_field.gain(known, drive, act, rates)
    return Stability(rates, gain, _mean_field.margin(known, drive, act, rates, limit))


def _warn(found):
    """Say before a run that its rates are likely to run away."""
    if found.stable:
        return
    why = f"would run away if a fluctuation made them {found.margin:.1f} times as high"
    if found.gain >= 1:
        why = "have no stable level"
    text = (
        f"by their mean field the rates of this model {why}, so the simulation is likely to explode, or to sit at rates that "
        f"the data never had. {_check_simulation.CALMER}"
    )
    _check.warn(text, RuntimeWarning)


def recording(key, counts, frame, bin_size, ids, support):
    """Spike times, each inside its bin, None if these are no counts; and the counts on their time axis."""
    known = ~np.isnan(counts).any(1)
    if not support.counts:
        return None, _pynapple.wrap(counts, frame, ids)
    rng, trains = generator(key), []
    whole = np.where(known[:, None], counts, 0).astype(int)
    low, high = frame.times - bin_size / 2, frame.times + bin_size / 2
    if frame.epochs is not None:  # which may begin and end amid a bin
        begin, end = frame.epochs.values.T
        at = np.searchsorted(begin, frame.times, side="right") - 1
        low, high = np.maximum(low, begin[at]), np.minimum(high, end[at])
    for n_spikes in whole.T:
        at = np.repeat(np.arange(len(whole)), n_spikes)
        inside = np.sort(at + rng.uniform(0.01, 0.99, len(at))) - at
        trains.append(low[at] + inside * (high - low)[at])
    return _pynapple.group(trains, ids, frame.epochs), _pynapple.wrap(whole if known.all() else counts, frame, ids)


def generator(key):
    """NumPy's generator for what is drawn on the host."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
