"""Intervals from the profile of the penalised likelihood, for fits under Firth's penalty."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from popglm._solver.exact import SOLVER_DEFAULTS
from popglm._solver.jeffreys import JeffreysProblem, Optimum, divide_into_problems
from popglm._solver.problem import Objective
from popglm._types import Counts, Features, Numbers, RowValues
from popglm.glm import GLM, PopulationGLM
from popglm.glm._access import is_single
from popglm.glm._settings import resolve_settings
from popglm.inference._checks import (
    as_feature_numbers,
    as_level,
    require_firth,
    require_near_optimum,
    warn_neurons,
)
from popglm.inference._fit_on_data import FitOnData

MAX_PROFILE_FITS = 40  # for one end of an interval

ROOT_TOL = {"float32": 1e-4, "float64": 1e-9}  # of the root of twice the loss, or of the distance of an end, relative


def profile_interval(
    model: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    features: int | Numbers | None = None,
    level: float = 0.95,
    *,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> tuple[Any, Any]:
    r"""Ends of intervals of coefficients by the profile of the penalised likelihood, after a fit with ``regularizer="Firth"``.

    An interval holds all values w of a coefficient at which the best fit of all others loses little:

    .. math:: 2 \bigl[\ell^*(\hat\beta) - \max_{\beta: \beta_k = w} \ell^*(\beta)\bigr] \le \chi^2_1(\mathrm{level}),
       \qquad \ell^* = \ell + \tfrac{1}{2} \log \det I,

    with the information of all parameters, that of :math:`\beta_k` included. Unlike Wald's, it is not symmetric, as the
    likelihood of a coefficient without events is not: a rate may be far below the estimate, but not far above.

    It costs some six fits under Firth's penalty for each end of each coefficient: name those that matter.

    Parameters
    ----------
    model
        A `GLM` or `PopulationGLM` fitted with ``regularizer="Firth"``.
    X, y
        The data of the fit.
    features
        Numbers of the features, by default all.
    level
        Share of such intervals that contain the true coefficient.
    sample_weight, offset
        Those of the fit.

    Returns
    -------
    low, high : numpy.ndarray
        Each of shape (features, neurons); (features,) for a `GLM`. NaN for coefficients that a mask holds at 0 or that the data
        do not determine, and for silent neurons.

    Raises
    ------
    ValueError
        If the model has no Firth penalty, or is not at the optimum of these data.

    Warns
    -----
    RuntimeWarning
        Names neurons that are silent, far from their optimum, or whose search did not converge.

    References
    ----------
    Heinze and Schemper (2002), *Statistics in Medicine* 21:2409-2419.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> from popglm.inference import profile_interval
    >>> X = np.repeat([[0.0], [1.0]], [80, 20], axis=0)
    >>> y = np.zeros(100)
    >>> y[:40] = 1  # none of the events comes with the feature
    >>> low, high = profile_interval(GLM(regularizer="Firth").fit(X, y), X, y)
    >>> bool(low[0] < -5 < high[0] < 0)
    True
    """
    fit = FitOnData.from_fit(model, X, y, "model", sample_weight, offset, allow_penalty=True)
    require_firth(fit.firth)
    n_neurons, n_features = fit.coef.shape
    numbers = np.arange(n_features) if features is None else as_feature_numbers(np.atleast_1d(features), n_features)
    z = stats.norm.ppf((1 + as_level(level)) / 2)
    ends = np.full((2, len(numbers), n_neurons), np.nan)
    failed, maxiter = (
        np.zeros(n_neurons, bool),
        resolve_settings(model).options.get("maxiter", SOLVER_DEFAULTS["maxiter"]),
    )
    constants, coordinates, problems = _problems(fit)
    names = fit.data.y.columns
    if constants.null.silent.any():
        warn_neurons(constants.null.silent, names, "nothing to fit, so no intervals")
    distance = np.zeros(n_neurons)
    point = coordinates.from_model(*(np.asarray(a, float) for a in fit.centered_params))
    for problem in problems:
        neurons = problem.neurons
        distance[neurons] = _distance(problem, point[neurons])
        problem = problem._replace(reference=point[neurons])
        best = problem.minimise(point[neurons], constants.tol, maxiter)
        for k, number in enumerate(numbers):
            for i, sign in enumerate((-1, 1)):
                end, converged = _find_end(problem, best, int(number), sign, z, constants.tol, maxiter)
                ends[i, k, neurons] = end / coordinates.sd[number]
                failed[neurons] |= ~converged
    far = require_near_optimum(distance, constants.null.silent, names, result="intervals are")
    ends[:, :, far] = np.nan
    if (failed & ~far).any():
        warn_neurons(failed & ~far, names, "the search for an end of an interval did not converge, which is NaN")
    low, high = ends[..., 0] if is_single(model) else ends
    return low, high


def distance_from_optimum(fit: FitOnData) -> Float[np.ndarray, " neurons"]:
    """Distance of a fit under Firth's penalty from the optimum of the data, in standard errors; 0 for silent neurons."""
    distance = np.zeros(len(fit.coef))
    _, coordinates, problems = _problems(fit)
    point = coordinates.from_model(*(np.asarray(a, float) for a in fit.centered_params))
    for problem in problems:
        distance[problem.neurons] = _distance(problem, point[problem.neurons])
    return distance


def _problems(fit: FitOnData):
    objective = Objective(fit.observation_model, fit.firth, np.zeros(()))
    return divide_into_problems(fit.data.make_design(), objective, fit.free.astype(float))


def _distance(problem: JeffreysProblem, point):
    place = problem.place_at(point)
    return np.sqrt(np.maximum(np.einsum("ni,nij,nj->n", place.gradient, place.covariance, place.gradient), 0))


def _find_end(
    problem: JeffreysProblem, best: Optimum, k: int, sign: int, z: float, tol: float, maxiter: int
) -> tuple[Float[np.ndarray, " neurons"], Bool[np.ndarray, " neurons"]]:
    """End of an interval of coordinate k below or above the optimum, by secants within known bounds.

    The root of twice the loss in penalised log-likelihood is nearly linear in the coordinate; it is z at the end. NaN for
    neurons whose data do not determine the coordinate, and where the search failed, which are not converged.
    """
    determined, tol_of_root = problem.determined(k), ROOT_TOL[jnp.result_type(float).name]
    se, moving = np.sqrt(np.where(determined, best.place.covariance[:, k, k], 1)), problem.used.copy()
    slope = np.where(determined[:, None], best.place.slope(k), 0)
    moving[:, k] = False
    last, last_root = best.point[:, k], np.zeros(len(se))
    inside, outside = last.copy(), np.full(len(se), sign * np.inf)
    at, point, done = last + sign * z * se, best.point, ~determined
    converged = np.ones(len(se), bool)
    for _ in range(MAX_PROFILE_FITS):
        found = problem.minimise(point + slope * (at - point[:, k])[:, None], tol, maxiter, moving)
        point, root = found.point, np.sqrt(2 * np.maximum(found.place.value - best.place.value, 0))
        converged = found.converged
        inside, outside = np.where(root < z, at, inside), np.where(root < z, outside, at)
        narrow = np.abs(outside - inside) < tol_of_root * np.abs(at - best.point[:, k])  # round-off may hide the root
        done |= (np.abs(root - z) < tol_of_root * z) | narrow | ~converged
        if done.all():
            break
        change = np.where(root != last_root, root - last_root, np.nan)
        secant = at + (z - root) * (at - last) / change
        between = np.where(np.isfinite(outside), (inside + outside) / 2, at + sign * se)
        usable = (sign * (secant - inside) > 0) & (sign * (outside - secant) > 0)
        new = np.where(usable, secant, between)
        last, last_root, at = np.where(done, last, at), np.where(done, last_root, root), np.where(done, at, new)
    converged = ~determined | (done & converged)
    return np.where(determined & converged, at, np.nan), converged
