"""The estimator: a model with its ways to be fitted. Every method is its docstring and a few lines; the work is elsewhere."""

from collections.abc import Callable
from typing import Any, Self

from popglm._types import Batches, BatchLike, Counts, Features, FilePath, Numbers, Params, RowValues
from popglm.glm._access import params_layout, params_names
from popglm.glm._batch_fit import fit_by_batches
from popglm.glm._exact_fit import fit_to_data
from popglm.glm._model import Model
from popglm.glm._path_fit import Path, fit_along_path
from popglm.glm._report import BATCHES_STALLED, EVIDENCE_STOPPED_EARLY, SOLVER_STOPPED_EARLY, STOPPED_EARLY, warn_of_fit
from popglm.glm._settings import resolve_settings
from popglm.glm._updates import initial_params, initial_solver_state, update_params


class Estimator(Model):
    """Ways to fit that GLM and PopulationGLM share."""

    def fit(
        self,
        X: Features,
        y: Counts,
        init_params: Params | None = None,
        *,
        sample_weight: RowValues | None = None,
        offset: RowValues | None = None,
        progress: bool = False,
        checkpoint: FilePath | None = None,
    ) -> Self:
        r"""Find the maximum of the (penalised) likelihood, of each neuron by itself.

        The objective is the sum over neurons of the mean over valid bins, with weights :math:`a_{tn}` and offsets
        :math:`o_{tn}` (1 and 0 by default),

        .. math:: \sum_n \Bigl[ \frac{\sum_t a_{tn}\, \ell(\eta_{tn}, y_{tn})}{\sum_t a_{tn}} + s\, P(w_n) \Bigr],
           \qquad \eta_{tn} = x_t^\top w_n + b_n + o_{tn}

        Parameters
        ----------
        X
            Features, shape (time, features): TsdFrame, array, or `LazyFeatures`. Rows with a NaN are left out, for
            each neuron those in which a feature that its `feature_mask` uses is NaN.
        y
            Activity in each bin, shape (time,) for GLM, (time, neurons) for PopulationGLM. A NaN leaves out that bin
            of that neuron.
        init_params
            Where to start, a pair (coef, intercept); by default at the null model.
        sample_weight
            How often each row counts, shape (time,), or (time, neurons) for each neuron by itself: a weight of 0 leaves the row
            out, a weight of 2 counts it twice. A row that is left out stays in the history of others.
        offset
            Added to the linear predictor, of the same shapes: what is known already, such as the log of an exposure. Tools of
            scikit-learn give it to `fit`, and to `score` if asked by metadata routing, ``set_score_request(offset=True)``.
            A NaN in either leaves out that bin of that neuron. Weights that are not counts, such as propensities, also give the
            right coefficients; for their errors take ``uncertainty(kind="sandwich", clusters="rows")``.
        progress
            Show a bar: how far the neurons are on their way, how many are done, and the passes over the data. For the
            default solver only.
        checkpoint
            Path of a file (.npz). The fit is written to it every 30 s, between two passes, and whenever it ends. If the file
            exists, the same call continues from it, or returns its result at once; an interrupted fit ends with exactly the
            numbers of an uninterrupted one. `maxiter` may grow between the calls. Settings and data are compared. For the
            default solver only.

        Returns
        -------
        self
            With `coef_`, `intercept_`, and per neuron `n_iter_`, `converged_` and `scale_` (1 where the model has none). With
            strengths by evidence also `strength_`, `edf_` and `log_evidence_`.

        Raises
        ------
        ValueError
            If a setting is unknown, shapes, timestamps or indices of the data differ, a weight is negative, or no bin is
            valid; or if the checkpoint is damaged, or of another fit or other data.
        TypeError
            If X or y does not hold real numbers.
        OSError
            If the checkpoint cannot be written during the fit. The last one is untouched.

        Warns
        -----
        RuntimeWarning
            Names neurons without a valid bin, and those that are silent, always active, constant, separated, not
            overdispersed, or not converged; features that are collinear, or that no event comes with, alone or, where it is
            cheap to find, in a weighted sum; by evidence, inputs that come twice. If more than a tenth of the rows is lost to
            missing values, beyond what windows explain; if the fit has ended, but its last checkpoint cannot be written.
        UserWarning
            If y looks like spike times.

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
        settings = resolve_settings(self, X)
        fitted = fit_to_data(settings, X, y, sample_weight, offset, init_params, progress, checkpoint)
        self._store(fitted)
        self._keep_layout(settings.layout)
        stopped_early = EVIDENCE_STOPPED_EARLY if settings.evidence else STOPPED_EARLY
        warn_of_fit(fitted, stopped_early if settings.solver_name is None else SOLVER_STOPPED_EARLY)
        return self

    def fit_path(
        self,
        X: Features,
        y: Counts,
        strengths: Numbers | None = None,
        *,
        sample_weight: RowValues | None = None,
        offset: RowValues | None = None,
        n_strengths: int = 20,
        progress: bool = False,
    ) -> Path:
        r"""Fit at one strength of the penalty after another, each from where the last has ended.

        The sums that do not depend on the penalty are shared, so that a path of twenty strengths takes the time of a few
        fits. Without `strengths` a lasso, elastic net or group lasso goes from the strength at which the last neuron's
        coefficients leave 0 (those that have a strength, if it is an array),

        .. math:: s_{\max} = \max_{n,g}\; \frac{\lVert \partial_{w_g} \ell_n(w = 0) \rVert}{\rho \sqrt{n_g}},

        down to a thousandth of it, in equal ratios (:math:`\rho` is 1, or the `l1_ratio`). The model itself stays unfitted:
        choose a strength, by `popglm.model_selection` say, and call `fit`.

        Parameters
        ----------
        X, y
            As for `fit`.
        strengths
            Strengths, increasing: they take the place of `regularizer_strength`. If that is an array, they multiply it.
        sample_weight, offset
            As for `fit`.
        n_strengths : int
            How many, if they are not given.
        progress
            Show a bar for every strength.

        Returns
        -------
        Path
            `strengths`, and for each of them `coef`, `intercept`, `converged`, `n_iter`, as `fit` would give them.

        Raises
        ------
        ValueError
            As `fit` does; if there is no penalty or a solver is named, or no strengths are given for a smooth penalty.

        Warns
        -----
        RuntimeWarning
            Names neurons without a valid bin, silent, always active, or not converged at some strength;
            features without a finite optimum that no penalty holds. Of lost rows, as `fit`.

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
        settings = resolve_settings(self, X).with_numeric_strength("fit_path")
        return fit_along_path(settings, X, y, sample_weight, offset, strengths, n_strengths, progress)

    def fit_batches(
        self,
        batches: Batches,
        n_steps: int,
        *,
        init: tuple[Params, Any] | None = None,
        solver: Any = None,
        progress: bool = False,
        callback: Callable | None = None,
        held_out: BatchLike | None = None,
        check_every: int = 50,
        patience: int | None = 5,
        checkpoint: FilePath | None = None,
    ) -> Self:
        r"""Fit by batches: `n_steps` steps, each of which sees one batch.

        Without a solver, the first pass over the data takes a share of a Newton step for every batch,

        .. math:: \theta_n \leftarrow \theta_n - \frac{m}{b}\, P_n^{-1} g_n,

        with the mean gradient :math:`g_n` of a batch of m bins, b bins seen so far, and the Hessian :math:`P_n`
        of neuron n, from a sample of the rows seen. At the end of the pass, or of the fit if that comes first, the sample
        also tells how the sum of all gradients has changed since each was computed, and the parameters go to where it is 0:
        batches that come once give nearly the fit to all of them, and follow noise where it does: if neurons have few events
        for each feature, take a `Ridge` penalty. If the batches then show the same bins again, their sums
        are those of the whole recording, and every pass takes a step of the exact solver, until all neurons are at their
        optimum. A pass that is not completed then changes nothing: take ``n_steps=2 * len(batches)``, say. On the first pass
        a neuron whose loss on a new batch is far above that of its mean rate alone goes back to that rate. The sample takes
        32 MB at most, in single precision.

        Parameters
        ----------
        batches
            Gives pairs (X, y) as for `update`, or tuples (X, y, sample_weight, offset) with None for what is not given:
            `random_windows`, a list, a generator. What can be iterated again gives the next pass. The objective divides by the
            sum of the weights of all batches.
        n_steps : int
            Number of batches to take, at most.
        init
            None starts anew. A pair (params, state) of `initialize_params` and None starts at these parameters, which
            the first batches move as far as any others; with the parameters and the ``batch_state_`` of an earlier call the
            fit goes on where it ended: a generator that has run out may be followed by another, of other bins.
        solver
            None is the default. Or an object with the methods `init` and `update` of optax's transformations. A model
            with a `solver_name` takes the steps of that solver, as `update` does.
        progress
            Whether to show a bar, with the loss of the last batches and the time left.
        callback
            Called after every step with its number, the mean loss of the batch and the parameters; a true value ends the fit.
        held_out
            One pair or tuple like a batch, that the fit does not see. Every `check_every` steps it is scored; after `patience`
            checks without a better score the fit ends. The best parameters are kept, those at the end included.
        check_every, patience : int
            See `held_out`.
        checkpoint
            Path of a file (.npz) that the fit is written to every 30 s and whenever it ends. If the file is there, the same
            call goes on from it, with the same batches in the same order, or returns at once what it found; `n_steps`, which
            counts all steps, may grow between the calls, unless a callback or held-out data have ended the fit. Settings are
            compared (of a solver object its name only), data in memory, and of others the last batch that was seen.

        Returns
        -------
        self
            With `coef_`, `intercept_`, `converged_` (per neuron), `n_iter_` (steps), `batch_state_`, and `history_`: a dict
            with the `loss` of every step and the steps and scores of the checks.

        Raises
        ------
        ValueError
            If there is no batch, or one has no valid bin or other features, neurons, names or bins than the first, or weights
            or offsets unlike it; if a weight is negative; or if the checkpoint is damaged, or of another fit or other data.
        TypeError
            If `batches` gives neither pairs nor tuples of four.
        OSError
            If the checkpoint cannot be written during the fit. The last one is untouched.

        Warns
        -----
        RuntimeWarning
            If the batches end early; of neurons and features as `fit`, and of neurons that failed.
        UserWarning
            If the model's own solver searches its step size or accelerates.

        References
        ----------
        Bertsekas (1996), *SIAM Journal on Optimization* 6:807-822.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.batching import random_windows
        >>> from popglm.glm import PopulationGLM
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(5000, 4))
        >>> y = rng.poisson(np.exp(0.3 * X[:, :2] - 1))
        >>> batches = random_windows(X, y, n_bins=500, seed=0)
        >>> model = PopulationGLM().fit_batches(batches, n_steps=3 * len(batches))
        >>> bool(np.allclose(model.coef_, PopulationGLM().fit(X, y).coef_, atol=1e-3))
        True
        """
        settings = resolve_settings(self).with_numeric_strength("fit_batches")
        fitted, state, history = fit_by_batches(
            settings, batches, n_steps, init=init, solver=solver, progress=progress, callback=callback,
            held_out=held_out, check_every=check_every, patience=patience, checkpoint=checkpoint,
        )  # fmt: skip
        self._store(fitted)
        self.batch_state_, self.history_ = state, history
        self._keep_layout(None)
        warn_of_fit(fitted, stopped_early=None, stalled=BATCHES_STALLED)
        return self

    def initialize_params(
        self, X: Features, y: Counts, *, sample_weight: RowValues | None = None, offset: RowValues | None = None
    ) -> Params:
        """Parameters to start from: coefficients 0 and each neuron's mean rate in `y`.

        Parameters
        ----------
        X, y
            As for `fit`; one batch is enough.
        sample_weight, offset
            As for `fit`.

        Returns
        -------
        params : tuple of jax.Array
            (coef, intercept), of shapes (features, neurons) and (neurons,); (features,) and (1,) for GLM. A neuron
            without an event in y starts at half an event.

        Raises
        ------
        ValueError
            If y does not fit the observation model, or no bin is valid.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.glm import PopulationGLM
        >>> X, y = np.ones((4, 2)), np.array([[1, 0], [0, 0], [1, 2], [0, 2]])
        >>> coef, intercept = PopulationGLM().initialize_params(X, y)
        >>> np.exp(intercept).round(3).tolist()  # the mean counts
        [0.5, 1.0]
        """
        settings = resolve_settings(self, X)
        params, self._params_names = initial_params(settings, X, y, sample_weight, offset)
        self._keep_layout(settings.layout)
        return params

    def initialize_state(
        self,
        X: Features,
        y: Counts,
        params: Params,
        *,
        sample_weight: RowValues | None = None,
        offset: RowValues | None = None,
    ) -> Any:
        """State of the solver before the first `update`.

        `update` uses the jaxopt solver of this name; without a name, gradient descent. For batches that differ, give
        it a fixed step without momentum: a step size searched on one batch is wrong for the next.

        Parameters
        ----------
        X, y
            A batch.
        params
            From `initialize_params`.
        sample_weight, offset
            As for `update`.

        Returns
        -------
        state : NamedTuple
            To be given to `update` and replaced by what it returns.

        Raises
        ------
        ValueError
            If X, y and params do not belong together.

        Warns
        -----
        UserWarning
            If the solver searches its step size or accelerates.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.glm import PopulationGLM
        >>> X, y = np.ones((4, 2)), np.array([[1, 0], [0, 0], [1, 2], [0, 2]])
        >>> model = PopulationGLM(solver_name="GradientDescent",
        ...                       solver_kwargs={"stepsize": 0.1, "acceleration": False})
        >>> state = model.initialize_state(X, y, model.initialize_params(X, y))
        """
        settings = resolve_settings(self, X, params_layout(self)).with_numeric_strength("initialize_state")
        return initial_solver_state(settings, X, y, params, params_names(self), sample_weight, offset)

    def update(
        self,
        params: Params,
        state: Any,
        X: Features,
        y: Counts,
        *,
        sample_weight: RowValues | None = None,
        offset: RowValues | None = None,
    ) -> tuple[Params, Any]:
        """One step of the solver on one batch.

        Parameters
        ----------
        params, state
            From `initialize_params` and `initialize_state`, or from the last `update`.
        X, y
            The batch, as for `fit`. Batches of one shape share one compilation.
        sample_weight, offset
            As for `fit`; the loss of a batch is divided by the sum of its weights.

        Returns
        -------
        params, state : tuple
            The next parameters and state. The parameters are also kept as `coef_` and `intercept_`.

        Raises
        ------
        ValueError
            If the batch does not belong to the parameters, by shape or by the names and bins of the data that they come from;
            if its timestamps differ, or it has no valid bin.
        TypeError
            If the state belongs to another solver.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.glm import PopulationGLM
        >>> rng = np.random.default_rng(0)
        >>> X, y = rng.normal(size=(1000, 5)), rng.poisson(0.2, (1000, 3))
        >>> model = PopulationGLM(solver_name="GradientDescent",
        ...                       solver_kwargs={"stepsize": 0.1, "acceleration": False})
        >>> params = model.initialize_params(X, y)
        >>> state = model.initialize_state(X, y, params)
        >>> params, state = model.update(params, state, X, y)
        >>> params[0].shape
        (5, 3)
        """
        settings, names = resolve_settings(self, X, params_layout(self)), params_names(self)
        settings = settings.with_numeric_strength("update")
        params, state, fitted = update_params(settings, params, state, X, y, names, sample_weight, offset)
        if fitted is not None:
            self._store(fitted)
        return params, state
