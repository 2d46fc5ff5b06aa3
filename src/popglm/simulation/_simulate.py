"""Simulation of a fitted model with its own activity among its features."""

from collections.abc import Sequence

import jax
import numpy as np

from popglm._checks.names import require_same_bin_size
from popglm._checks.times import require_regular_bins
from popglm._checks.values import as_number, require_key
from popglm._pynapple import bin_frame, epoch_starts, select_columns
from popglm._types import Numbers, RowValues
from popglm.basis._tree import Basis
from popglm.glm import GLM, PopulationGLM
from popglm.glm._access import fitted_names, fitted_neuron_names, is_single
from popglm.simulation._checks import EXPLODING_FIT_FIX, as_history, as_n_bins, require_time_grid
from popglm.simulation._recording import Population, make_recording
from popglm.simulation._recurrence import as_drive, decompose_model
from popglm.simulation._rollout import BinsToDraw, simulate_recurrence
from popglm.simulation._stability import estimate_stability, explosion_limit, typical_activity, warn_unstable


def simulate(
    key: jax.Array,
    model: GLM | PopulationGLM,
    basis: Basis,
    inputs: Sequence | None = None,
    *,
    duration: float | None = None,
    bin_size: float | None = None,
    history: Numbers | None = None,
    offset: RowValues | None = None,
) -> Population:
    r"""Simulate a fitted model whose features depend on its own activity: drawn counts are the history of later bins.

    .. math:: y_{tn} \sim p\Bigl(\cdot \Bigm| b_n + o_{tn} + x_t^\top v_n
       + \sum_{m,k} w_{(m,k),n} \sum_{l=1}^{W} h_k(l)\, y_{t-l,m}\Bigr)

    Observation model, link and dispersion are those of the fit; :math:`x_t` are features of inputs known in advance. A warning
    precedes the simulation if its rates are likely to run away (see `stability`); it stops if they do.

    Parameters
    ----------
    key : jax.Array
        Random key, ``jax.random.key(seed)``. The same key draws the same activity, and bin t does not depend on the number of
        bins after it.
    model
        A fitted GLM (of its own activity) or PopulationGLM.
    basis
        The basis of its features: a convolution, or a sum of bases with at least one convolution of the activity.
    inputs : list
        One for each basis, in the order of `lazy_features`: None for the activity, else an input of `lazy_features`. By default
        all are activity. The simulation has the bins of the inputs, and their epochs if they are from pynapple.
    duration, bin_size : float
        In seconds, where no input gives them; the bin size must be that of the counts of the fit.
    history
        Activity before the first bin of each epoch, shape (bins, neurons), the latest bin last; for example the counts of the
        fit. By default zeros, from which a coupled population may overshoot.
    offset
        Added to the linear predictor of the bins that are drawn, as in `fit`; shape (time,) or (time, neurons), 0 by default.

    Returns
    -------
    Population
        Spike times, counts and rates, with the parameters of the model. Bins with NaN in their inputs or offset are NaN, and 0
        in the history of others.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ValueError
        If basis and inputs do not give the features of the model, by number and name, or bins of another size than those of
        the fit; or if its rates run away: beyond 20 spikes per bin and ten times the highest mean count of the fit.

    Warns
    -----
    RuntimeWarning
        If by the mean field the rates have no stable level, or one that a fluctuation can leave.

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
    counts_key, times_key = jax.random.split(require_key(key))
    observation_model, recurrence, eta, frame = decompose_model(model, basis, inputs)
    require_time_grid(frame, duration, bin_size)
    if frame is None:
        n_bins = as_n_bins(duration, bin_size)
        eta = np.broadcast_to(model.intercept_, (n_bins, len(model.intercept_)))
    if frame is None or frame.times is None:
        frame = bin_frame(len(eta), as_number("bin_size", bin_size, 0, strict=True))
    else:
        require_regular_bins(frame)
        bin_size = float(np.median(np.diff(frame.times)))
    require_same_bin_size(
        fitted_names(model).bin_size, bin_size, "Simulate in bins of the size of the fit, `bin_size_`."
    )
    history = as_history(history, len(recurrence.kernel), len(model.intercept_), fitted_neuron_names(model))
    eta, offset = as_drive(model, offset, eta, frame)
    warn_unstable(estimate_stability(model, observation_model, recurrence, eta, offset))
    limit = explosion_limit(observation_model, typical_activity(model, observation_model, offset))
    bins = BinsToDraw(starts=epoch_starts(frame, len(eta)), eta=eta, times=frame.times)
    names = fitted_neuron_names(model)
    ids = np.arange(len(limit)) if names is None else names
    hints = {"ids": ids, "fix": EXPLODING_FIT_FIX}
    counts, rates = simulate_recurrence(counts_key, observation_model, recurrence, bins, history, limit, **hints)
    units, counts = make_recording(times_key, counts, frame, bin_size, ids, observation_model.support)
    counts = select_columns(counts, 0) if is_single(model) else counts
    return Population(
        units=units,
        counts=counts,
        rates=rates,
        coef=model.coef_,
        intercept=model.intercept_,
        filters=recurrence.filters,
    )
