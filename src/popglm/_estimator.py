"""What the estimators share: convert what the user gave, check it, call the core, store what came out."""

import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from popglm import (
    _ask_tell,
    _check,
    _check_arrays,
    _check_model,
    _check_penalties,
    _check_runs,
    _checkpoint,
    _data,
    _design,
    _fit,
    _jaxopt,
    _objective,
    _pynapple,
    _scale,
    _score,
    _settings,
    links,
    observation_models,
    regularizer,
)
from popglm._objective import Objective
from popglm._steps import Steps
from popglm.observation_models import ObservationModel

OBSERVATION_MODELS = {
    name: getattr(observation_models, name)
    for name in ("Poisson", "Bernoulli", "Gaussian", "Gamma", "NegativeBinomial")
}
REGULARIZERS = {
    name: getattr(regularizer, name)
    for name in ("UnRegularized", "Ridge", "Lasso", "ElasticNet", "GroupLasso", "Smoothness")
}


class Path(NamedTuple):
    """Fits at increasing strengths of a penalty."""

    strengths: np.ndarray
    """Shape (strengths,), increasing."""
    coef: np.ndarray
    """Shape (strengths, features, neurons); (strengths, features) for GLM."""
    intercept: np.ndarray
    """Shape (strengths, neurons)."""
    converged: np.ndarray
    """Shape (strengths, neurons)."""
    n_iter: np.ndarray
    """Evaluations up to each strength and including it, from the strongest on; shape (strengths, neurons)."""


class Estimator(Steps, RegressorMixin, BaseEstimator, ABC):
    """What GLM and PopulationGLM share. Constructors store their arguments; `fit` validates them."""

    feature_mask = None
    _columns = None

    @staticmethod
    @abstractmethod
    def _public(array):
        """Array that leads or ends with the neurons, as this estimator shows it."""

    def __sklearn_tags__(self):
        """What scikit-learn is told: the sign of y, NaN in X, and a score that is no R² (it is a log-likelihood)."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        known = self.observation_model
        known = OBSERVATION_MODELS.get(known, known) if isinstance(known, str) else known
        tags.target_tags.positive_only = getattr(known, "support", observation_models.COUNTS).low >= 0
        tags.regressor_tags.poor_score = True
        return tags

    def fit(self, X, y, init_params=None, *, progress=False, checkpoint=None):
        r"""Find the maximum of the (penalised) likelihood, of each neuron by itself.

        The objective is the sum over neurons of the mean over valid bins,

        .. math:: \sum_n \Bigl[ \frac{1}{|V_n|} \sum_{t \in V_n} \ell(\eta_{tn}, y_{tn}) + s\, P(w_n) \Bigr],
           \qquad \eta_{tn} = x_t^\top w_n + b_n

        Parameters
        ----------
        X
            Features, shape (time, features): TsdFrame, array, or `LazyFeatures`. Rows with a NaN are left out.
        y
            Activity in each bin, shape (time,) for GLM, (time, neurons) for PopulationGLM. A NaN leaves out that bin
            of that neuron.
        init_params
            Where to start, a pair (coef, intercept); by default at the null model.
        progress
            Whether to show a bar: passes over the data, neurons that are done. For the default solver.
        checkpoint
            Path of a file (.npz) that the fit is written to every 30 s, between two passes, and whenever it ends. If the file
            is there, the same call goes on from it, or returns at once what it found; an interrupted fit ends with the very
            numbers of one that was not. `maxiter` may grow between the calls. Settings and data are compared. For the
            default solver.

        Returns
        -------
        self
            With `coef_`, `intercept_`, `n_iter_` and `converged_` (both per neuron).

        Raises
        ------
        ValueError
            If a setting is unknown, shapes or timestamps of X and y differ, or no bin is valid; or if the checkpoint is
            damaged, or of another fit or other data.
        TypeError
            If X or y does not hold real numbers.
        OSError
            If the checkpoint cannot be written. The last one is untouched.

        Warns
        -----
        RuntimeWarning
            Once for the neurons without an event, and once for those that did not converge, each named.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.glm import PopulationGLM
        >>> rng = np.random.default_rng(0)
        >>> X, y = rng.normal(size=(1000, 5)), rng.poisson(0.2, (1000, 3))
        >>> model = PopulationGLM().fit(X, y)
        >>> model.converged_.all()
        np.True_
        """
        objective, solver, options = self._configure()
        _check.flag("progress", progress)
        _check_runs.stepwise(solver, checkpoint)
        X, y = _data.pair(X, y, objective.model, self._y_dims)
        rows = _data.rows(X.values, centered=solver is None)
        design = _design.Design(rows, rows.place(y.values), whole=solver is not None)
        n_features, n_neurons = X.values.shape[1], y.values.shape[1]
        mask, start = _check_model.feature_mask(self.feature_mask, n_features, n_neurons), None
        center = np.zeros(n_features) if rows.center is None else rows.center
        if init_params is not None:
            coef, intercept = self._checked(init_params, n_features, n_neurons)
            coef = mask * np.asarray(coef, float).reshape(n_features, -1).T
            start = coef, np.asarray(intercept, float) + coef @ center
        keep = None
        if checkpoint is not None:
            keep = self._checkpoint(checkpoint, objective, options, X, y, start)
            keep.same_data(_checkpoint.of_design(design))
        with keep or nullcontext():  # at its end, when the fit is kept, the file is written
            if solver is None:
                with _progress(n_neurons, progress) as report:
                    result = _fit.fit(design, objective, mask, start, report=report, keep=keep, **options)
            else:
                result = _jaxopt.fit(design, objective, mask, start, solver, options)
            _check_arrays.constant(X.values, y.values, result.constant)
            model = objective.model if result.scale is None else objective.model.with_scale(result.scale[:, 0])
            scales = _scale.after(design, model, result)
            intercept = result.intercept - result.coef.astype(float) @ center
            result = result._replace(intercept=intercept.astype(result.intercept.dtype))
            self._keep_fit(result, scales, y.columns, X.columns)
        return self

    def fit_path(self, X, y, strengths=None, *, n_strengths=20, progress=False):
        r"""Fit at one strength of the penalty after another, each from where the last has ended.

        The sums that do not depend on the penalty are shared, so that a path of twenty strengths takes the time of a few
        fits. Without `strengths` a lasso, elastic net or group lasso goes from the strength at which the last neuron's
        coefficients leave 0,

        .. math:: s_{\max} = \max_{n,g}\; \frac{\lVert \partial_{w_g} \ell_n(w = 0) \rVert}{\rho \sqrt{n_g}},

        down to a thousandth of it, in equal ratios (:math:`\rho` is 1, or the `l1_ratio`). The model itself stays unfitted:
        choose a strength, by `popglm.model_selection` say, and call `fit`.

        Parameters
        ----------
        X, y
            As for `fit`.
        strengths
            Strengths, increasing: they take the place of `regularizer_strength`. If that is an array, they multiply it.
        n_strengths : int
            How many, if they are not given.
        progress
            Whether to show a bar for every strength.

        Returns
        -------
        Path
            `strengths`, and for each of them `coef`, `intercept`, `converged`, `n_iter`, as `fit` would give them.

        Raises
        ------
        ValueError
            As `fit` does; if there is no penalty or a solver is named, or no strengths are given for a penalty without kinks.

        Warns
        -----
        RuntimeWarning
            Once for the neurons without an event, and once for those that did not converge at some strength.

        References
        ----------
        Friedman, Hastie and Tibshirani (2010), *Journal of Statistical Software* 33:1-22.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.glm import PopulationGLM
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(1000, 5))
        >>> y = rng.poisson(np.exp(0.5 * X[:, :2] - 1))
        >>> path = PopulationGLM(regularizer="Lasso").fit_path(X, y, n_strengths=10)
        >>> path.coef.shape, (path.coef != 0).sum((1, 2)).tolist()
        ((10, 5, 2), [10, 9, 9, 9, 7, 7, 4, 3, 2, 0])
        """
        objective, solver, options = self._configure()
        _check_penalties.path(objective.penalty, solver, strengths)
        _check.flag("progress", progress)
        n_strengths = _check.positive_integer("n_strengths", n_strengths)
        base = objective.strength if objective.strength.ndim else np.ones_like(objective.strength)
        objective = objective._replace(strength=base)
        X, y = _data.pair(X, y, objective.model, self._y_dims)
        rows = _data.rows(X.values, centered=True)
        design = _design.Design(rows, rows.place(y.values))
        mask = _check_model.feature_mask(self.feature_mask, X.values.shape[1], y.values.shape[1])
        grid = None if strengths is None else _check_penalties.increasing(strengths)
        with _progress(y.values.shape[1], progress) as report:
            grid, fits = _fit.path(design, objective, mask, grid, n_strengths, report=report, **options)
        center = np.zeros(X.values.shape[1]) if rows.center is None else rows.center
        coef = np.stack([fit.coef for fit in fits])
        intercept = np.stack([fit.intercept - fit.coef.astype(float) @ center for fit in fits]).astype(coef.dtype)
        flags = np.stack([fit.converged for fit in fits]), np.stack([fit.n_iter for fit in fits])
        self._warn(fits[0].silent, y.columns, "no event in any valid bin: coefficients 0. Leave it out")
        late = ~flags[0].all(0)
        self._warn(late, y.columns, "the path stopped before it converged at every strength. Raise `maxiter` or `tol`")
        return Path(grid, self._public(coef.swapaxes(1, 2)), intercept, *flags)

    def _checkpoint(self, path, objective, options, X, y, start):
        """The checkpoint of a fit with these settings, to these data."""
        mask = _check_model.feature_mask(self.feature_mask, X.values.shape[1], y.values.shape[1])
        settings = {"method": f"fit of {type(self).__name__}"} | _checkpoint.of_objective(objective, mask)
        settings |= _checkpoint.of_options(options) | _checkpoint.of_frame("X", X) | _checkpoint.of_frame("y", y)
        return _checkpoint.Checkpoint(path, settings | {"init": start and _checkpoint.of_values(*start)})

    def _keep_fit(self, result, scales, columns, features):
        self._forget()
        self.scale_, constant, separated = scales
        self.coef_, self.intercept_ = self._public(result.coef.T), result.intercept
        self.n_features_in_ = result.coef.shape[1]
        self._keep_names(features)
        self.n_iter_, self.converged_ = result.n_iter, result.converged
        self._columns, self._train_mean = columns, result.mean
        self._warn_of_neurons(result.silent, constant, separated, columns)
        early = ~result.converged & ~result.stalled
        self._warn(early, columns, "the fit stopped before it converged. Raise `maxiter` or `tol` in solver_kwargs")
        stalled = (
            "the fit met round-off before it converged, or a loss that is not finite, so more iterations do not help. "
            "Scale X, start nearer, lower the `stepsize` of a named solver, compute in 64 bits"
        )
        self._warn(result.stalled, columns, stalled)
        if len(result.dependent):
            text = (
                f"feature {_listed(result.dependent, features)}: a sum of other features, to the precision of X. Predictions "
                "are right, but coefficients are not unique. Leave out features, use fewer functions, or a Ridge penalty."
            )
            warnings.warn(text, RuntimeWarning, stacklevel=3)

    def _warn_of_neurons(self, silent, constant, separated, columns):
        """Say which neurons have nothing to fit, or too little noise."""
        model = self._configure()[0].model
        every = silent & (self._train_mean > 0.5) if model.support.ends_only else np.zeros_like(silent)
        self._warn(
            silent & ~every,
            columns,
            "no event in any valid bin: coefficients 0 and half an event in all. Leave it out",
            5,
        )
        self._warn(
            every, columns, "an event in every valid bin: coefficients 0 and half a bin without. Leave it out", 5
        )
        self._warn(
            constant, columns, "the same y in every valid bin, so the scale is that of round-off. Leave it out", 5
        )
        self._warn(
            separated,
            columns,
            "the features tell every bin with an event from every bin without, so coefficients have no finite optimum and "
            "are as large as the tolerance lets them be. Leave out features, use a Ridge penalty",
            5,
        )

    def _keep_names(self, features):
        """Names of the features, as scikit-learn keeps them: where there are any, and all are words."""
        self.__dict__.pop("feature_names_in_", None)
        if features is not None and all(isinstance(name, str) for name in features):
            self.feature_names_in_ = np.asarray(features, object)

    def _same_features(self, X):
        """As many as the model has, in its order."""
        _check_model.n_features(len(self.coef_), X.values.shape[1], type(self).__name__)
        named = X.columns is not None and all(isinstance(name, str) for name in X.columns)
        _check_model.same_names(getattr(self, "feature_names_in_", None), X.columns if named else None)

    def _warn(self, which, columns, text, level=4):
        if np.any(which):
            names = _listed(np.flatnonzero(which), columns)
            warnings.warn(f"neuron {names}: {text}, or look at its data.", RuntimeWarning, stacklevel=level)

    def predict(self, X):
        r"""Mean per bin, :math:`f(x_t^\top w_n + b_n)`: a count, a probability or an activity; NaN where the features are.

        Parameters
        ----------
        X
            Features, shape (time, features).

        Returns
        -------
        rate
            Shape (time,) for GLM, (time, neurons) for PopulationGLM; a Tsd or TsdFrame if X is one, with the
            columns that y had. Divide a count by the bin size for spikes per second.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit` or `update`.
        ValueError
            If X has another number of features than the model.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.glm import GLM
        >>> y = np.array([0, 1, 2, 1])
        >>> GLM().fit(np.zeros((4, 1)), y).predict(np.zeros((2, 1))).round(3).tolist()  # no feature, so the mean
        [1.0, 1.0]
        """
        _check_model.fitted(self)
        X = _data.features(X)
        self._same_features(X)
        model, rows = self._configure()[0].model, _data.rows(X.values)
        params = self._core_params()
        design = _design.Design(rows, np.zeros((rows.length, 0), np.uint8))
        rate = rows.take(_design.entries(_objective.mean_rows, design, len(params[1]), model, *params))
        return _pynapple.wrap(self._public(rate), X, self._columns)

    def score(self, X, y, score_type="log-likelihood", aggregate_sample_scores=None, null="scored"):
        r"""How well the model predicts `y`.

        The log-likelihood is normalised (it has the term :math:`-\log y!`) and averaged over valid bins and neurons.
        The pseudo-R² compares it with that of a model that knows only each neuron's mean rate:
        :math:`1 - L / L_0` (McFadden), or :math:`1 - D / D_0` with deviances (Cohen). With the default null
        model, neurons without an event in `y` are left out of it.

        Parameters
        ----------
        X, y
            Features and activity, best of data that the fit has not seen.
        score_type
            "log-likelihood", "pseudo-r2-McFadden" or "pseudo-r2-Cohen".
        aggregate_sample_scores
            A function of the log-likelihoods of all bins, an array (time, neurons), to be used instead of the mean;
            for example ``lambda s: np.nanmean(s, axis=0)`` for one score per neuron.
        null
            Mean counts per bin of the null model: those of the y that is scored ("scored"), those of the y of `fit`
            ("train"), or an array, one per neuron.

        Returns
        -------
        float or numpy.ndarray
            The score; an array if `aggregate_sample_scores` returns one.

        Raises
        ------
        ValueError
            If `score_type` or `null` is unknown, or "train" is asked for after `update` instead of `fit`.

        References
        ----------
        McFadden (1974) in *Frontiers in Econometrics*; Cohen et al. (2003), *Applied Multiple Regression*.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.glm import PopulationGLM
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(2000, 2))
        >>> y = rng.poisson(np.exp(X - 1))
        >>> model = PopulationGLM().fit(X[:1000], y[:1000])
        >>> model.score(X[1000:], y[1000:], score_type="pseudo-r2-McFadden") > 0.1
        True
        """
        _check_model.fitted(self)
        _check.option("score_type", score_type, _score.SCORES)
        _settings.function("aggregate_sample_scores", aggregate_sample_scores)
        model = self._configure()[0].model
        X, y = _data.pair(X, y, model, self._y_dims)
        self._same_features(X)
        coef, intercept = self._core_params()
        _check_model.n_neurons(len(intercept), y.values.shape[1])
        aggregate = aggregate_sample_scores and (lambda samples: aggregate_sample_scores(self._public(samples)))
        null = self._null_mean(null, len(intercept), needed=score_type != "log-likelihood")
        _settings.known_scale(model, hasattr(self, "scale_"), "`score`")
        if model.divides or model.shapes:
            model = model.with_scale(self.scale_) if hasattr(self, "scale_") else _scale.known(model, len(intercept))
        rows = _data.rows(X.values)
        design = _design.Design(rows, rows.place(y.values))
        return _score.score(score_type, model, coef, intercept, rows, design, aggregate, null)

    def _null_mean(self, null, n_neurons, needed):
        """Means of the null model; None for those of the y that is scored."""
        if not isinstance(null, str):
            return _settings.null_means(null, n_neurons, self._configure()[0].model.support)
        if _check.option("null", null, _score.NULLS) == "scored" or not needed:
            return None
        _settings.trained(self)
        return self._train_mean

    def _configure(self):
        """Objective, solver and options, from the constructor's arguments as they stand now."""
        model = _settings.instance("observation_model", self.observation_model, OBSERVATION_MODELS, ObservationModel)
        if self.inverse_link_function is not None:
            link = _settings.link(self.inverse_link_function, links.LINKS)
            model = replace(model, link=links.link_of(link, model.support.low, model.support.high))
        _settings.scale(model)
        penalty = _settings.instance("regularizer", self.regularizer, REGULARIZERS, regularizer.Regularizer)
        strength = _settings.strength(self.regularizer_strength, penalty)
        options = _settings.options(self.solver_kwargs)
        if penalty.lengths:
            _check_penalties.kinks(type(penalty).__name__, self.solver_name)
        if self.solver_name is None:
            _settings.settings("the default solver", options, _fit.OPTIONS)
        else:
            _check.option("solver_name", self.solver_name, _jaxopt.SOLVERS)
            _settings.settings(self.solver_name, options, _jaxopt.defaults(self.solver_name))
        return Objective(model, penalty, np.asarray(strength, jnp.result_type(float))), self.solver_name, options

    def _checked(self, params, n_features, n_neurons):
        shape = self._public(np.empty((n_features, n_neurons))).shape
        params = tuple(map(jnp.asarray, _check_model.parameters(params, shape, (n_neurons,))))
        _check_model.finite_parameters(params)
        return params

    def _core_params(self):
        """Coefficients as (neurons, features), and intercepts."""
        intercept = jnp.asarray(self.intercept_)
        return jnp.asarray(self.coef_).reshape(-1, len(intercept)).T, intercept


def _listed(which, names):
    """Names of these, or their numbers; ten at most."""
    some = [str(n if names is None else names[n]) for n in which[:10]]
    return ", ".join(some) + (", ..." if len(which) > 10 else "")


@contextmanager
def _progress(n_neurons, wanted):
    """A bar that moves with the neurons that are done, and the function that moves it; None if it is not wanted."""
    if not wanted:
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_neurons, unit="neuron") as bar:

        def report(state):
            bar.set_postfix(passes=int(state.n_evaluated.max()), refresh=False)
            bar.update(int((state.status != _ask_tell.RUNNING).sum()) - bar.n)

        yield report
