"""What the estimators share: convert what the user gave, check it, call the core, store what came out."""

from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from popglm._checks.arrays import require_constant
from popglm._checks.models import (
    as_feature_mask,
    require_finite_params,
    require_n_features,
    require_params_shape,
    require_same_feature_names,
)
from popglm._checks.values import list_names, require_flag, require_option, warn_user
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows, as_X_y
from popglm._files.checkpoint import Checkpoint
from popglm._files.fingerprint import (
    design_fingerprint,
    frame_fingerprint,
    objective_fingerprint,
    options_fingerprint,
    values_checksum,
)
from popglm._solver.exact import SOLVER_DEFAULTS, fit_exactly, neuron_progress_bar
from popglm._solver.jaxopt import JAXOPT_SOLVERS, jaxopt_defaults, jaxopt_fit
from popglm._solver.problem import Objective
from popglm._sums.scale import MIN_DISPERSION, dispersion_after_fit
from popglm.glm._batch_fit import BatchFits
from popglm.glm._model import OBSERVATION_MODELS, REGULARIZERS, Model
from popglm.glm._path_fit import PathFits
from popglm.glm._settings import (
    as_instance,
    as_solver_options,
    as_strength,
    require_default_solver,
    require_nonsmooth_solver,
    require_positive_dispersion,
    require_solver_options,
)
from popglm.glm._steps import Steps
from popglm.links import LINKS, require_link, resolve_link
from popglm.observation_models import COUNTS, ObservationModel
from popglm.regularizer import Regularizer

FITTED_ATTRIBUTES = (
    "_columns",
    "_train_mean",
    "feature_names_in_",
    "batch_state_",
    "history_",
    "n_iter_",
    "converged_",
    "scale_",
)


class Estimator(BatchFits, PathFits, Steps, Model, RegressorMixin, BaseEstimator, ABC):
    """What GLM and PopulationGLM share. Constructors store their arguments; `fit` validates them."""

    feature_mask = None
    _columns = None

    @staticmethod
    @abstractmethod
    def _public(array):
        """Array that leads or ends with the neurons, as this estimator shows it."""

    @property
    def _single(self):
        """Whether there is one neuron, and no axis for it."""
        return self._y_dims == (1,)

    def __sklearn_tags__(self):
        """What scikit-learn is told: the sign of y, NaN in X, and a score that is no R² (it is a log-likelihood)."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        known = self.observation_model
        known = OBSERVATION_MODELS.get(known, known) if isinstance(known, str) else known
        tags.target_tags.positive_only = getattr(known, "support", COUNTS).low >= 0
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
            With `coef_`, `intercept_`, and per neuron `n_iter_`, `converged_` and `scale_` (1 where the model has none).

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
            Of neurons, by name: those without an event, or with nothing else; those whose y never varies, is separated by
            the features, or has no overdispersion; those that did not converge, or met round-off. Of features that others
            make, or that no event comes with.

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
        require_flag("progress", progress)
        require_default_solver(solver, checkpoint)
        X, y = as_X_y(X, y, objective.model, self._y_dims)
        rows = as_design_rows(X.values, centered=solver is None)
        design = Design(rows, y.values, whole=solver is not None)
        n_features, n_neurons = X.values.shape[1], y.values.shape[1]
        mask, start = as_feature_mask(self.feature_mask, n_features, n_neurons), None
        center = rows.offset(n_features)
        if init_params is not None:
            coef, intercept = self._inner(init_params, mask, "init_params")
            start = coef, intercept + coef @ center
        keep = None
        if checkpoint is not None:
            keep = self._checkpoint(checkpoint, objective, options, X, y, start)
            keep.verify_data(design_fingerprint(design))
        with keep or nullcontext():  # at its end, when the fit is kept, the file is written
            if solver is None:
                with neuron_progress_bar(n_neurons, progress) as report:
                    result = fit_exactly(design, objective, mask, start, report=report, keep=keep, **options)
            else:
                result = jaxopt_fit(design, objective, mask, start, solver, options)
            require_constant(X.values, y.values, result.constant)
            model = objective.model if result.scale is None else objective.model.with_scale(result.scale[:, 0])
            scales = dispersion_after_fit(design, model, result)
            intercept = result.intercept - result.coef.astype(float) @ center
            result = result._replace(intercept=intercept.astype(result.intercept.dtype))
            self._keep_fit(result, scales, y.columns, X.columns)
        return self

    def _checkpoint(self, path, objective, options, X, y, start):
        """The checkpoint of a fit with these settings, to these data."""
        mask = as_feature_mask(self.feature_mask, X.values.shape[1], y.values.shape[1])
        settings = {"method": f"fit of {type(self).__name__}"} | objective_fingerprint(objective, mask)
        settings |= options_fingerprint(options) | frame_fingerprint("X", X) | frame_fingerprint("y", y)
        return Checkpoint(path, settings | {"init": start and values_checksum(*start)})

    def _keep_fit(self, result, scales, columns, features):
        self._forget()
        self.scale_ = scales.scale
        self.coef_, self.intercept_ = self._public(result.coef.T), result.intercept
        self.n_features_in_ = result.coef.shape[1]
        self._keep_names(features)
        self.n_iter_, self.converged_ = result.n_iter, result.converged
        self._columns, self._train_mean = columns, result.mean
        self._warn_of_neurons(result.silent, scales, columns, features)
        early = ~result.converged & ~result.stalled
        self._warn(early, columns, "the fit stopped before it converged. Raise `maxiter` or `tol` in solver_kwargs")
        stalled = (
            "the fit met round-off before it converged, or a loss that is not finite, so more iterations do not help. "
            "Scale X, start nearer, lower the `stepsize` of a named solver, compute in 64 bits"
        )
        self._warn(result.stalled, columns, stalled)
        self._warn_of_dependent(result.dependent, features)

    def _forget(self):
        """What an earlier fit knew of its data."""
        for known in FITTED_ATTRIBUTES:
            self.__dict__.pop(known, None)

    def _warn_of_neurons(self, silent, scales, columns, features):
        """Say which neurons have nothing to fit, or too little noise."""
        model, _, strength = self._configure()[0]
        self._warn_of_silent(model, silent, self._train_mean, columns)
        self._warn(
            scales.constant,
            columns,
            "the same y in every valid bin, so the scale is that of round-off. Leave it out",
        )
        self._warn(
            np.isnan(scales.scale),
            columns,
            "no more valid bins than coefficients, so the scale, which is what they leave, is NaN. Use fewer functions, or "
            "give the scale",
        )
        self._warn(
            scales.separated,
            columns,
            "the features tell every bin with an event from every bin without, so coefficients have no finite optimum and "
            "are as large as the tolerance lets them be. Leave out features, use a Ridge penalty",
        )
        if scales.separated_features is not None and not np.any(strength):
            names = list_names(np.flatnonzero(scales.separated_features.any(0)), features)
            self._warn(
                scales.separated_features.any(1),
                columns,
                f"feature {names}: where it is not 0 there is an event in every bin, or in none, so its coefficient has no "
                "finite optimum (quasi-separation) and is as large as the tolerance lets it be; predictions are right. Leave "
                "it out, use a Ridge penalty",
            )
        if model.shapes and model.scale is None:
            self._warn(
                (self.scale_ < 1.1 * MIN_DISPERSION) & ~silent,
                columns,
                f"no overdispersion, so `scale_` is the least there is, {MIN_DISPERSION:g}, and the fit is Poisson's. Take "
                'observation_model="Poisson"',
            )

    def _warn_of_dependent(self, dependent, features):
        """Say which features others determine."""
        if len(dependent):
            names = list_names(dependent, features)
            text = (
                f"feature {names}: a sum of other features, to the precision of X. Predictions are right, but coefficients are "
                "not unique. Leave out features, use fewer functions, or a Ridge penalty."
            )
            warn_user(text, RuntimeWarning)

    def _warn_of_silent(self, model, silent, mean, columns):
        """Say which neurons have no event, or nothing else; `mean` is the null model's."""
        every = silent & (mean > 0.5) if model.support.ends_only else np.zeros_like(silent)
        no = "no event in any valid bin: coefficients 0 and half an event in all. Leave it out"
        self._warn(silent & ~every, columns, no)
        no = "an event in every valid bin: coefficients 0 and half a bin without. Leave it out"
        self._warn(every, columns, no)

    def _keep_names(self, features):
        """Names of the features, as scikit-learn keeps them: where there are any, and all are words."""
        self.__dict__.pop("feature_names_in_", None)
        if features is not None and all(isinstance(name, str) for name in features):
            self.feature_names_in_ = np.asarray(features, object)

    def _same_features(self, X):
        """As many as the model has, in its order."""
        require_n_features(len(self.coef_), X.values.shape[1], type(self).__name__)
        named = X.columns is not None and all(isinstance(name, str) for name in X.columns)
        require_same_feature_names(getattr(self, "feature_names_in_", None), X.columns if named else None)

    def _warn(self, which, columns, text):
        if np.any(which):
            names = list_names(np.flatnonzero(which), columns)
            warn_user(f"neuron {names}: {text}, or look at its data.", RuntimeWarning)

    def _configure(self):
        """Objective, solver and options, from the constructor's arguments as they stand now."""
        model = as_instance("observation_model", self.observation_model, OBSERVATION_MODELS, ObservationModel)
        if self.inverse_link_function is not None:
            link = require_link(self.inverse_link_function, LINKS)
            model = replace(model, link=resolve_link(link, model.support.low, model.support.high))
        require_positive_dispersion(model)
        penalty = as_instance("regularizer", self.regularizer, REGULARIZERS, Regularizer)
        strength = as_strength(self.regularizer_strength, penalty)
        options = as_solver_options(self.solver_kwargs)
        if self.solver_name is not None:
            require_option("solver_name", self.solver_name, JAXOPT_SOLVERS)
        if penalty.lengths:
            require_nonsmooth_solver(type(penalty).__name__, self.solver_name)
        if self.solver_name is None:
            require_solver_options("the default solver", options, SOLVER_DEFAULTS)
        else:
            require_solver_options(self.solver_name, options, jaxopt_defaults(self.solver_name))
        return Objective(model, penalty, np.asarray(strength, jnp.result_type(float))), self.solver_name, options

    def _checked(self, params, n_features, n_neurons, name="params"):
        shape = self._public(np.empty((n_features, n_neurons))).shape
        params = tuple(map(jnp.asarray, require_params_shape(params, shape, (n_neurons,), name)))
        require_finite_params(params, name)
        return params

    def _inner(self, params, mask, name="params"):
        """Parameters of the user as the core has them: masked, the neurons first, in double precision."""
        n_neurons, n_features = mask.shape
        coef, intercept = self._checked(params, n_features, n_neurons, name)
        return mask * np.asarray(coef, float).reshape(n_features, -1).T, np.asarray(intercept, float)

    def _core_params(self):
        """Coefficients as (neurons, features), and intercepts."""
        intercept = jnp.asarray(self.intercept_)
        return jnp.asarray(self.coef_).reshape(-1, len(intercept)).T, intercept
