"""The model: settings, parameters, and what a fitted model does: predict, score, simulate."""

import inspect
from abc import ABC
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from popglm._checks.models import require_fitted
from popglm._checks.names import keep_feature_names
from popglm._checks.other_names import refuse_attribute
from popglm._checks.values import require_function, require_key, require_option
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows, as_features, as_row_values
from popglm._design.total import collect_entries
from popglm._pynapple import as_pynapple
from popglm._sums.scores import linear_predictor_rows, mean_rows
from popglm._types import ActivityArray, Counts, Features, Numbers, RowValues
from popglm.glm._access import (
    as_user_array,
    core_params,
    fitted_observation_model,
    model_with_dispersion,
    null_means,
    place_on_data,
    require_same_features,
    used_features,
)
from popglm.glm._draw import draw_in_blocks
from popglm.glm._fitted import Fitted
from popglm.glm._score import SCORE_TYPES, require_spike_counts, score_model
from popglm.glm._settings import OBSERVATION_MODELS
from popglm.observation_models import COUNTS

FITTED_ATTRIBUTES = (
    "observation_model_",
    "_columns",
    "_train_mean",
    "_params_names",
    "bin_size_",
    "batch_state_",
    "history_",
    "n_iter_",
    "converged_",
    "scale_",
    "strength_",
    "edf_",
    "log_evidence_",
)


class Model(RegressorMixin, BaseEstimator, ABC):
    """Settings as scikit-learn keeps them, the parameters of a fit, and what they predict."""

    feature_mask: Any = None
    _columns = None

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        """Settings that differ from their defaults, arrays by their shape; and of a fit its size and convergence."""
        defaults = {name: value.default for name, value in inspect.signature(type(self)).parameters.items()}
        settings = [
            f"{name}=array of shape {np.shape(value)}" if np.ndim(value) else f"{name}={value!r}"
            for name, value in self.get_params(deep=False).items()
            if np.ndim(value) or (value is not defaults[name] and value != defaults[name])
        ]
        text = f"{type(self).__name__}({', '.join(settings)})"
        if not hasattr(self, "coef_"):
            return text
        n_neurons, converged = len(self.intercept_), getattr(self, "converged_", None)
        text += f" with {len(self.coef_)} coefficients of {'one neuron' if self._single else f'each of {n_neurons} neurons'}"
        if converged is None:
            return text
        if np.all(converged):
            return text + ", converged"
        return text + (
            ", not converged" if self._single else f", {n_neurons - np.sum(converged)} of them not converged"
        )

    def __getattr__(self, name: str) -> Any:
        """Refuse an attribute that there is not, with what it is called here if another tool has it."""
        refuse_attribute(f"{type(self).__name__} object", name, self)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn the sign of y, that X may hold NaN, and that `score` is a log-likelihood and no R²."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        model = self.observation_model
        model = OBSERVATION_MODELS.get(model, model) if isinstance(model, str) else model
        tags.target_tags.positive_only = getattr(model, "support", COUNTS).low >= 0
        tags.regressor_tags.poor_score = True
        return tags

    def _store(self, fitted: Fitted):
        """Keep a fit as attributes; those of an earlier fit are forgotten."""
        for name in FITTED_ATTRIBUTES:
            self.__dict__.pop(name, None)
        coef, intercept, dispersion = fitted.parameters
        if dispersion is not None:
            self.scale_ = dispersion  # first, as in files of version 0.1.0
        self.coef_, self.intercept_, self.n_features_in_ = coef, intercept, len(coef)
        self.observation_model_ = fitted.observation_model
        if fitted.convergence is not None:
            self.n_iter_, self.converged_, _ = fitted.convergence
        if fitted.evidence is not None:
            self.strength_, self.edf_, self.log_evidence_, _ = fitted.evidence
        if fitted.null_mean is not None:
            self._train_mean = fitted.null_mean
        features, self._columns, bin_size = fitted.names
        keep_feature_names(self, features)
        if bin_size is not None:
            self.bin_size_ = bin_size

    def _keep_layout(self, layout):
        """Keep the inputs that the features are made of, for `update` on arrays, which do not tell them."""
        self.__dict__.pop("_layout", None)
        if layout is not None:
            self._layout = tuple(map(tuple, layout))

    def predict(self, X: Features, *, offset: RowValues | None = None) -> ActivityArray:
        r"""Mean per bin, :math:`f(x_t^\top w_n + b_n + o_{tn})`: a count, a probability or an activity; NaN where an input is.

        Parameters
        ----------
        X
            Features, shape (time, features).
        offset
            Added to the linear predictor, as in `fit`; shape (time,) or (time, neurons), 0 by default.

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
            If X has another number of features than the model, other names, another order, or bins of another size.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.glm import GLM
        >>> y = np.array([0, 1, 2, 1])
        >>> GLM().fit(np.zeros((4, 1)), y).predict(np.zeros((2, 1))).round(3).tolist()  # no feature, so the mean
        [1.0, 1.0]
        """
        require_fitted(self)
        X = as_features(X)
        require_same_features(self, X)
        rows, design, (coef, intercept) = self._predictor_parts(X, offset)
        model = fitted_observation_model(self)
        rate = rows.gather(collect_entries(mean_rows, design, len(intercept), model, coef, intercept))
        return as_pynapple(as_user_array(self, rate), X, self._columns)

    def score(
        self,
        X: Features,
        y: Counts,
        score_type: str = "log-likelihood",
        aggregate_sample_scores: Callable | None = None,
        null: str | Numbers = "scored",
        *,
        sample_weight: RowValues | None = None,
        offset: RowValues | None = None,
    ) -> Any:
        r"""How well the model predicts `y`.

        The log-likelihood is normalised (it has the term :math:`-\log y!`) and averaged over valid bins and neurons.
        The others compare it with that of a model that knows only each neuron's mean rate: pseudo-R²
        :math:`1 - L / L_0` (McFadden), or :math:`1 - D / D_0` with deviances (Cohen), and bits per spike
        :math:`(L - L_0) / (\log 2 \sum_t y_t)`, with sums over neurons on either side of the stroke. With the default null
        model, neurons without an event in `y` are left out of them.

        For Gaussian and Gamma take Cohen's, the share of the deviance that is explained. A log-likelihood that is that of a
        density changes with the units of y and may be of either sign, and McFadden's ratio with it. The null model of a
        negative binomial keeps the fitted dispersion: its own would be larger, and McFadden's ratio and bits smaller.

        Parameters
        ----------
        X, y
            Features and activity, best of data that the fit has not seen, with the columns of the fit in their order.
        score_type
            "log-likelihood", "pseudo-r2-McFadden", "pseudo-r2-Cohen", or, for models of counts, "bits-per-spike".
        aggregate_sample_scores
            A function of the log-likelihoods of all bins, an array (time, neurons), to be used instead of the mean;
            for example ``lambda s: np.nanmean(s, axis=0)`` for one score per neuron. For bits per spike the spikes are
            aggregated likewise. All scores of each neuron at once: `popglm.assessment.scores`.
        null
            Mean counts per bin of the null model: those of the y that is scored ("scored"), those of the y of `fit`
            ("train"), or an array, one per neuron. With an offset they are means at an offset of 0, and the null model has it.
        sample_weight, offset
            As for `fit`. With `aggregate_sample_scores` weights are 0 or 1.

        Returns
        -------
        float or numpy.ndarray
            The score; an array if `aggregate_sample_scores` returns one.

        Raises
        ------
        ValueError
            If `score_type` or `null` is unknown, "train" is asked for after `update` instead of `fit`, or bits per spike of
            a model that has no spikes; if X or y has other names than in the fit, another order, or bins of another size.

        References
        ----------
        McFadden (1974) in *Frontiers in Econometrics*; Cohen et al. (2003), *Applied Multiple Regression*; for bits per
        spike, Pillow et al. (2008), *Nature* 454:995-999.

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
        require_fitted(self)
        require_option("score_type", score_type, SCORE_TYPES)
        require_function("aggregate_sample_scores", aggregate_sample_scores, "an array (time, neurons)")
        on_data = place_on_data(self, X, y, sample_weight, offset, purpose="`score`")
        if aggregate_sample_scores is not None:
            on_data.require_selection("`aggregate_sample_scores`")
        require_spike_counts(score_type, on_data.model)
        aggregate = aggregate_sample_scores and (lambda scores: aggregate_sample_scores(as_user_array(self, scores)))
        null = null_means(self, null, on_data.n_neurons, is_compared=score_type != "log-likelihood")
        return score_model(score_type, on_data, aggregate, null)

    def simulate(self, key: jax.Array, X: Features, *, offset: RowValues | None = None) -> ActivityArray:
        r"""Draw activity, each bin by itself, :math:`y_{tn} \sim p(\,\cdot \mid x_t^\top w_n + b_n + o_{tn})`.

        For features that do not depend on what is drawn. Where the history of the neurons is among them, use
        `popglm.simulation.simulate`: there the activity that is drawn becomes the history of later bins.

        Parameters
        ----------
        key : jax.Array
            Random key, ``jax.random.key(seed)``. The same key draws the same from the same features.
        X
            Features, shape (time, features); lazy ones are made a block at a time.
        offset
            Added to the linear predictor, as in `fit`; shape (time,) or (time, neurons), 0 by default.

        Returns
        -------
        activity
            Shape (time,) for GLM, (time, neurons) for PopulationGLM; a Tsd or TsdFrame if X is one, with the columns that y
            had. NaN where the features are.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit` or `update`.
        ValueError
            If X has another number of features than the model, other names or bins, a scale is not known, or a mean is too
            large to draw from.

        Examples
        --------
        >>> import jax
        >>> import numpy as np
        >>> from popglm.glm import GLM
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(2000, 2))
        >>> model = GLM().fit(X, rng.poisson(np.exp(X @ [0.5, -0.3] - 1)))
        >>> again = GLM().fit(X, model.simulate(jax.random.key(0), X))
        >>> bool(np.allclose(again.coef_, model.coef_, atol=0.15))
        True
        """
        require_fitted(self)
        key, X = require_key(key), as_features(X)
        require_same_features(self, X)
        rows, design, (coef, intercept) = self._predictor_parts(X, offset)
        model = model_with_dispersion(self, "`simulate`")
        eta = rows.gather(collect_entries(linear_predictor_rows, design, len(intercept), coef, intercept))
        activity = draw_in_blocks(key, model, eta, self._columns)
        return as_pynapple(as_user_array(self, activity), X, self._columns)

    def _predictor_parts(self, X, offset):
        """Rows of the features, the design with the offset, and the parameters."""
        rows, params = as_design_rows(X.values, mask=used_features(self)), core_params(self)
        offset = as_row_values("offset", offset, {"X": X}, len(self.intercept_), self._columns)
        return rows, Design(rows, None, None, offset), params
