"""Fits by batches."""

from contextlib import nullcontext

import jax.numpy as jnp
import numpy as np

from popglm._checks.arrays import as_real_array
from popglm._checks.models import as_feature_mask, require_dispersion
from popglm._checks.values import as_positive_integer, require_flag, require_function
from popglm._files.checkpoint import Checkpoint
from popglm._files.fingerprint import frame_fingerprint, objective_fingerprint, options_fingerprint, values_checksum
from popglm._solver.threads import one_thread
from popglm.batching import Windows
from popglm.batching._batch_fit import DEFAULT_SOLVER, BatchFit
from popglm.batching._batches import CheckedBatches
from popglm.batching._checks import (
    as_init_pair,
    require_batch_pair,
    require_batches,
    require_same_stepper,
    require_stepper,
)
from popglm.batching._run import Place, RunState, read_shape, run_batches
from popglm.batching._user_solver import UserSolver
from popglm.batching._watch import Watch, show_step_progress
from popglm.glm._settings import require_nonsmooth_solver, warn_unsuited_solver


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
        objective, name, options = self._configure()
        require_batches(batches)
        n_steps = as_positive_integer("n_steps", n_steps)
        check_every, patience = (
            as_positive_integer(word, n) for word, n in (("check_every", check_every), ("patience", patience))
        )
        require_flag("progress", progress)
        require_function("callback", callback, "the step, the loss and the parameters")
        params, state = as_init_pair(init, RunState)
        held_out = None if held_out is None else require_batch_pair(held_out, "`held_out` must be a pair (X, y)")
        if name is not None:
            warn_unsuited_solver(name, options)
        if solver is not None and objective.penalty.lengths:
            require_nonsmooth_solver(type(objective.penalty).__name__, type(solver).__name__)
        if (name is not None or solver is not None) and (objective.model.shapes or held_out is not None):
            require_dispersion(objective.model, False, "a solver that you name or bring")
        checkpoint_ = None
        if checkpoint is not None:
            checks = held_out and [check_every, patience, values_checksum(*held_out)]
            place = () if state is None else (state.pass_number, state.batches_taken)
            init = params and [values_checksum(*params), *place]
            settings = {"held_out": checks, "init": init, "solver": name or DEFAULT_SOLVER}
            if solver is not None:
                settings["solver"] = type(solver).__name__
            checkpoint_ = self._checkpoint_of_batches(checkpoint, objective, options, batches, settings)
        self._forget()
        checked = CheckedBatches(batches, objective.model, self._y_dims, None if state is None else state.shape)
        if checked.names is not None:
            self._keep_names(checked.names[0])
        place = Place() if state is None else Place(state.pass_number, state.batches_taken)
        checked.seek(place.pass_number, place.batches_taken)

        def tell(n, loss, params):
            coef, intercept = params
            return callback(n, loss, (self._public(coef.T), intercept))

        def score(params, dispersion):
            self._adopt(*params)
            if dispersion is not None:
                self.scale_ = dispersion
            return self.score(*held_out)

        with checkpoint_ or nullcontext():  # at its end, when the fit is kept, the file is written
            with one_thread, show_step_progress(n_steps, progress) as report:
                stepper = self._stepper_of_batches(objective, name, options, solver, read_shape(checked, checkpoint_), params)
                if state is not None:
                    require_same_stepper(state.solver, stepper.name)
                    stepper = stepper.resume(state.solver_state)
                watch = Watch(report, callback and tell, held_out and score, check_every, patience)
                stepper, place = run_batches(checked, stepper, n_steps, place, watch, checkpoint_)
            names = checked.names or state.names  # a run whose neurons are all done takes no batch
            self._keep_batches(stepper, place, checked.shape, names, watch)
        return self

    def _stepper_of_batches(self, objective, name, options, solver, shape, params):
        """The steps that the settings ask for, from these parameters on."""
        n_features, n_neurons = shape
        mask = as_feature_mask(self.feature_mask, n_features, n_neurons)
        start = np.zeros((n_neurons, n_features)), np.full(n_neurons, np.nan)
        if params is not None:
            start = self._inner(params, mask)
        if solver is not None:
            return UserSolver.from_optax(objective, mask, start, require_stepper(solver, name))
        if name is not None:
            return UserSolver.from_jaxopt(objective, mask, start, name, options)
        return BatchFit.start(objective, mask, *start)

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

    def _keep_batches(self, stepper, place, shape, names, watch):
        features, self._columns = names
        self.history_ = watch.history
        self.batch_state_ = RunState(
            solver=stepper.name,
            solver_state=stepper.plain_state,
            shape=shape,
            names=names,
            pass_number=place.pass_number,
            batches_taken=place.batches_taken,
        )
        self._keep_names(features)
        found, scale = stepper.result(), None
        if found.null is not None:
            self._train_mean = found.null.mean.astype(jnp.result_type(float))
            scale = self.scale_ = found.dispersion.scale
            self._warn_of_neurons(found.null.silent, found.dispersion, self._columns, features)
            self._warn_of_dependent(found.collinear, features)
        text = "the fit met round-off, or a loss that is not finite. Scale X, start nearer"
        self._warn(found.failed, self._columns, text)
        params, scale = watch.best((found.coef, found.intercept), scale)
        self._adopt(*params)
        if scale is not None:
            self.scale_ = scale
        self.converged_, self.n_iter_ = found.converged, np.full(len(found.converged), place.n_steps)

    def _adopt(self, coef, intercept):
        """Take these parameters of the core, neurons first."""
        dtype = jnp.result_type(float)
        self.coef_, self.intercept_ = self._public(np.asarray(coef, dtype).T), np.asarray(intercept, dtype)
        self.n_features_in_ = coef.shape[1]
