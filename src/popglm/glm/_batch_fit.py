"""Fits by batches."""

from contextlib import nullcontext

import jax.numpy as jnp
import numpy as np

from popglm._checks.arrays import as_real_array, require_valid_bins
from popglm._checks.models import as_feature_mask, require_dispersion
from popglm._checks.values import as_positive_integer, require_flag, require_function
from popglm._design.inputs import as_X_y, has_valid_bin
from popglm._files.checkpoint import Checkpoint
from popglm._files.fingerprint import frame_fingerprint, objective_fingerprint, options_fingerprint, values_checksum
from popglm._solver.problem import Convergence
from popglm._solver.threads import one_thread
from popglm.batching import Windows
from popglm.batching._checks import (
    as_init_pair,
    require_batch_pair,
    require_batches,
    require_same_stepper,
    require_stepper,
    require_uniform_batches,
)
from popglm.batching._exact_passes import batch_fit_result, collinear_in_batches
from popglm.batching._run import RunState, run_batches
from popglm.batching._state import BatchFitState
from popglm.batching._steppers import DEFAULT_SOLVER, BatchFit, jaxopt_stepper, optax_stepper
from popglm.batching._watch import Watch, show_step_progress
from popglm.glm._access import as_user_array
from popglm.glm._checks import require_nonsmooth_solver, warn_unsuited_solver
from popglm.glm._fitted import Findings, Fitted, Names, Parameters
from popglm.glm._model import FITTED_ATTRIBUTES
from popglm.glm._report import BATCHES_STALLED, warn_of_fit
from popglm.glm._settings import resolve_settings


class BatchFits:
    """The fit by batches of an estimator."""

    def fit_batches(
        self,
        batches,
        n_steps,
        *,
        init=None,
        solver=None,
        progress=False,
        callback=None,
        held_out=None,
        check_every=50,
        patience=5,
        checkpoint=None,
    ):
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
            Gives pairs (X, y) as for `update`: `random_windows`, a list, a generator. What can be iterated again gives
            the next pass.
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
            A pair (X, y) that the fit does not see. Every `check_every` steps it is scored; after `patience` checks
            without a better score the fit ends. The best parameters are kept, those at the end included.
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
            If there is no batch, or one has no valid bin or other features or neurons than the first; or if the checkpoint
            is damaged, or of another fit or other data.
        TypeError
            If `batches` does not give pairs.
        OSError
            If the checkpoint cannot be written. The last one is untouched.

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
        settings_ = resolve_settings(self)
        objective, name, options = settings_.objective, settings_.solver_name, settings_.options
        require_batches(batches)
        n_steps = as_positive_integer("n_steps", n_steps)
        check_every, patience = (
            as_positive_integer(word, n) for word, n in (("check_every", check_every), ("patience", patience))
        )
        require_flag("progress", progress)
        require_function("callback", callback, "the step, the loss and the parameters")
        params, stand = as_init_pair(init, RunState)
        held_out = None if held_out is None else require_batch_pair(held_out, "`held_out` must be a pair (X, y)")
        if name is not None:
            warn_unsuited_solver(name, options)
        if solver is not None and objective.penalty.lengths:
            require_nonsmooth_solver(type(objective.penalty).__name__, type(solver).__name__)
        if (name is not None or solver is not None) and (objective.model.shapes or held_out is not None):
            require_dispersion(objective.model, False, "a solver that you name or bring")
        keep = None
        if checkpoint is not None:
            checks = held_out and [check_every, patience, values_checksum(*held_out)]
            init = params and [values_checksum(*params), *(() if stand is None else (stand.number, stand.taken))]
            settings = {"held_out": checks, "init": init, "solver": name or DEFAULT_SOLVER}
            if solver is not None:
                settings["solver"] = type(solver).__name__
            keep = self._checkpoint_of_batches(checkpoint, objective, options, batches, settings)
        for known in FITTED_ATTRIBUTES:
            self.__dict__.pop(known, None)
        self.observation_model_ = objective.model
        expected = {} if stand is None else {"shape": stand.shape}

        def convert(item):
            X, y = as_X_y(*require_batch_pair(item), objective.model, settings_.y_dims, built=True)
            came = {"shape": (X.values.shape[1], y.values.shape[1]), "X": X.columns, "y": y.columns}
            for what in came:
                require_uniform_batches(what, expected.setdefault(what, came[what]), came[what])
            require_valid_bins(has_valid_bin(X.values, y.values))
            return X.values, y.values

        def start(shape):
            n_features, n_neurons = shape
            if params is None:
                return np.zeros((n_neurons, n_features)), np.full(n_neurons, np.nan)
            return settings_.core_params(params, as_feature_mask(self.feature_mask, *shape), "params")

        def stepper(shape):
            mask = as_feature_mask(self.feature_mask, *shape)
            if solver is not None:
                return optax_stepper(objective, mask, require_stepper(solver, name))
            return BatchFit(objective, mask) if name is None else jaxopt_stepper(objective, mask, name, options)

        if stand is not None:
            how = stepper(stand.shape)
            require_same_stepper(stand.stepper, how.kind)
            stand = stand._replace(stepper=how, solver=how.resume(stand.solver, start(stand.shape)))
        if isinstance(batches, Windows):
            expected |= {key: frame.columns for key, frame in zip("Xy", batches.frames, strict=True)}
            keep_names(self, expected["X"])
        watch = Watch(self, callback, held_out, check_every, patience)
        with keep or nullcontext():  # at its end, when the fit is kept, the file is written
            with one_thread, show_step_progress(n_steps, progress) as report:
                stand, n = run_batches(batches, n_steps, stepper, convert, start, stand, report, watch, keep)
            known = dict(stand.names or {}) | expected  # a run whose neurons are all done takes no batch
            self._keep_batches(stand._replace(names=known), watch, n)
        return self

    def _checkpoint_of_batches(self, path, objective, options, batches, settings):
        """The checkpoint of a fit with these settings, by these batches."""
        mask = None if self.feature_mask is None else as_real_array("feature_mask", self.feature_mask, (2,))
        settings |= {"method": f"fit_batches of {type(self).__name__}", "batches": None}
        settings |= objective_fingerprint(objective, mask) | options_fingerprint(options)
        if isinstance(batches, Windows):
            frames = [frame_fingerprint(letter, frame) for letter, frame in zip("Xy", batches.frames, strict=True)]
            values = values_checksum(*(frame.values for frame in batches.frames))
            settings |= {"batches": repr(batches), "in memory": values} | frames[0] | frames[1]
        elif isinstance(batches, list | tuple):
            settings["batches"] = f"{len(batches)}, {values_checksum(batches)}"
        return Checkpoint(path, settings)

    def _keep_batches(self, stand, watch, n):
        state, names = stand.solver, stand.names
        self._columns, self.history_ = names["y"], watch.history
        self.batch_state_ = stand._replace(stepper=stand.stepper.kind)  # without functions, so that it can be pickled
        keep_names(self, names["X"])
        findings = None
        if isinstance(state, BatchFitState):
            of = state, stand.stepper.objective, stand.stepper.mask
            found = batch_fit_result(*of)
            coef, intercept, mean, silent, converged, failed, scales = found
            self._train_mean = mean.astype(jnp.result_type(float))
            self.scale_ = scales.scale
            findings = Findings(
                silent, scales.constant, scales.separated, scales.separated_features, collinear_in_batches(*of)
            )
        else:
            coef, intercept = stand.stepper.params(state)
            converged = np.zeros(len(coef), bool)
            failed = ~np.isfinite(coef).all(1) | ~np.isfinite(intercept)
        objective = stand.stepper.objective
        fitted = Fitted(
            objective.model,
            Parameters(coef, intercept, getattr(self, "scale_", None)),
            Names(names["y"], names["X"]),
            Convergence(n, converged, failed),
            findings,
            getattr(self, "_train_mean", None),
        )
        warn_of_fit(fitted, objective.strength, None, BATCHES_STALLED)
        self._adopt(coef, intercept)
        if watch.best is not None and not watch.improved():
            _, best, scale = watch.best
            self._adopt(*best)
            if scale is not None:
                self.scale_ = scale
        self.converged_, self.n_iter_ = converged, np.full(len(converged), n)

    def _adopt(self, coef, intercept):
        """Take these parameters of the core, neurons first."""
        dtype = jnp.result_type(float)
        self.coef_, self.intercept_ = as_user_array(self, np.asarray(coef, dtype).T), np.asarray(intercept, dtype)
        self.n_features_in_ = coef.shape[1]


def keep_names(model, features):
    model.__dict__.pop("feature_names_in_", None)
    if features is not None and all(isinstance(name, str) for name in features):
        model.feature_names_in_ = np.asarray(features, object)
