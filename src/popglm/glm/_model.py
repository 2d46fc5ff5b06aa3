"""What a fitted model does: predict, score, simulate."""

from popglm import observation_models, regularizer
from popglm._checks.models import require_dispersion, require_fitted, require_n_neurons
from popglm._checks.values import require_function, require_key, require_option
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows, as_features, as_X_y
from popglm._design.total import collect_entries
from popglm._pynapple import as_pynapple
from popglm._sums.scale import broadcast_dispersion
from popglm._sums.scores import linear_predictor_rows, mean_rows
from popglm.glm._draw import draw_in_blocks
from popglm.glm._score import (
    NULL_SOURCES,
    SCORE_TYPES,
    ModelOnData,
    as_null_means,
    require_spike_counts,
    require_train_mean,
    score_model,
)

OBSERVATION_MODELS = {
    name: getattr(observation_models, name)
    for name in ("Poisson", "Bernoulli", "Gaussian", "Gamma", "NegativeBinomial")
}
REGULARIZERS = {
    name: getattr(regularizer, name)
    for name in ("UnRegularized", "Ridge", "Lasso", "ElasticNet", "GroupLasso", "Smoothness")
}


class Model:
    """What an estimator does after its fit."""

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
        require_fitted(self)
        X = as_features(X)
        self._same_features(X)
        model, rows = self._configure()[0].model, as_design_rows(X.values)
        params = self._core_params()
        design = Design(rows)
        rate = rows.gather(collect_entries(mean_rows, design, len(params[1]), model, *params))
        return as_pynapple(self._public(rate), X, self._columns)

    def score(self, X, y, score_type="log-likelihood", aggregate_sample_scores=None, null="scored"):
        r"""How well the model predicts `y`.

        The log-likelihood is normalised (it has the term :math:`-\log y!`) and averaged over valid bins and neurons.
        The others compare it with that of a model that knows only each neuron's mean rate: pseudo-R²
        :math:`1 - L / L_0` (McFadden), or :math:`1 - D / D_0` with deviances (Cohen), and bits per spike
        :math:`(L - L_0) / (\log 2 \sum_t y_t)`, with sums over neurons on either side of the stroke. With the default null
        model, neurons without an event in `y` are left out of them.

        For Gaussian and Gamma take Cohen's, the share of the deviance that is explained. A log-likelihood that is that of a
        density changes with the units of y and may be of either sign, and McFadden's ratio with it.

        Parameters
        ----------
        X, y
            Features and activity, best of data that the fit has not seen.
        score_type
            "log-likelihood", "pseudo-r2-McFadden", "pseudo-r2-Cohen", or, for models of counts, "bits-per-spike".
        aggregate_sample_scores
            A function of the log-likelihoods of all bins, an array (time, neurons), to be used instead of the mean;
            for example ``lambda s: np.nanmean(s, axis=0)`` for one score per neuron. For bits per spike the spikes are
            aggregated likewise. All scores of each neuron at once: `popglm.assessment.scores`.
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
            If `score_type` or `null` is unknown, "train" is asked for after `update` instead of `fit`, or bits per spike of
            a model that has no spikes.

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
        given = self._on(X, y, "`score`")
        require_spike_counts(score_type, given.model)
        aggregate = aggregate_sample_scores and (lambda samples: aggregate_sample_scores(self._public(samples)))
        null = self._null_mean(null, given.n_neurons, needed=score_type != "log-likelihood")
        return score_model(score_type, given, aggregate, null)

    def simulate(self, key, X):
        r"""Draw activity from the fitted model, :math:`y_{tn} \sim p(\,\cdot \mid x_t^\top w_n + b_n)`, each bin by itself.

        For features that do not depend on what is drawn. Where the history of the neurons is among them, use
        `popglm.simulation.simulate`: there the activity that is drawn becomes the history of later bins.

        Parameters
        ----------
        key : jax.Array
            Random key, ``jax.random.key(seed)``. The same key draws the same from the same features.
        X
            Features, shape (time, features); lazy ones are made a block at a time.

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
            If X has another number of features than the model, a scale is not known, or a mean is too large to draw from.

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
        self._same_features(X)
        model, rows = self._scaled("`simulate`"), as_design_rows(X.values)
        coef, intercept = self._core_params()
        design = Design(rows)
        eta = rows.gather(collect_entries(linear_predictor_rows, design, len(intercept), coef, intercept))
        return as_pynapple(self._public(draw_in_blocks(key, model, eta, self._columns)), X, self._columns)

    def _on(self, X, y, why=None, what="a residual") -> ModelOnData:
        """Lay the model on data that it is compared with; `why` it needs any scale, `what` needs one inside the loss."""
        X, y = self._pair(X, y)
        model = self._scaled(why or (what if self._configure()[0].model.shapes else None))
        rows = as_design_rows(X.values)
        return ModelOnData(model, *self._core_params(), X, y, rows, Design(rows, y.values))

    def _pair(self, X, y):
        """Features and activity as the model knows them."""
        X, y = as_X_y(X, y, self._configure()[0].model, self._y_dims)
        self._same_features(X)
        require_n_neurons(len(self.intercept_), y.values.shape[1])
        return X, y

    def _scaled(self, why):
        """The observation model with the scale of each neuron, where it has one; `why` it must, or None."""
        model = self._configure()[0].model
        if why:
            require_dispersion(model, hasattr(self, "scale_"), why)
        if not (model.divides or model.shapes):
            return model
        return (
            model.with_scale(self.scale_)
            if hasattr(self, "scale_")
            else broadcast_dispersion(model, len(self.intercept_))
        )

    def _null_mean(self, null, n_neurons, needed):
        """Means of the null model; None for those of the y that is scored."""
        if not isinstance(null, str):
            return as_null_means(null, n_neurons, self._configure()[0].model.support)
        if require_option("null", null, NULL_SOURCES) == "scored" or not needed:
            return None
        require_train_mean(self)
        return self._train_mean
