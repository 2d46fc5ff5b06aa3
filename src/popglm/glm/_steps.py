"""Single steps of a named solver: `initialize_params`, `initialize_state`, `update`."""

import jax
import jax.numpy as jnp

from popglm._checks.arrays import require_valid_bins
from popglm._checks.models import as_feature_mask
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows, as_X_y, has_valid_bin
from popglm._design.total import total
from popglm._solver.jaxopt import jaxopt_init, jaxopt_update
from popglm._sums.losses import fit_null_model
from popglm._sums.moments import bins_and_events
from popglm.glm._settings import warn_unsuited_solver


class Steps:
    """The stepwise methods of an estimator."""

    def initialize_params(self, X, y):
        """Parameters to start from: coefficients 0 and each neuron's mean rate in `y`.

        Parameters
        ----------
        X, y
            As for `fit`; one batch is enough.

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
        model = self._configure()[0].model
        X, y = as_X_y(X, y, model, self._y_dims)
        bins, events = total(bins_and_events, Design(as_design_rows(X.values), y.values))
        require_valid_bins(bins.any())
        _, null, _ = fit_null_model(model, bins, events)
        intercept = jnp.asarray(null, jnp.result_type(float))
        return self._public(jnp.zeros((X.values.shape[1], y.values.shape[1]), intercept.dtype)), intercept

    def initialize_state(self, X, y, params):
        """State of the solver before the first `update`.

        `update` uses the jaxopt solver of this name; without a name, gradient descent. For batches that differ, give
        it a fixed step without momentum: a step size searched on one batch is wrong for the next.

        Parameters
        ----------
        X, y
            A batch.
        params
            From `initialize_params`.

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
        objective, name, options = self._stepper()
        warn_unsuited_solver(name, options)
        X, y = as_X_y(X, y, objective.model, self._y_dims, built=True)
        require_valid_bins(has_valid_bin(X.values, y.values))
        params, mask = self._checked(params, X.values.shape[1], y.values.shape[1]), self._mask(X, y)
        return jaxopt_init(name, options, objective, params, X.values, self._public(y.values), mask)

    def update(self, params, state, X, y):
        """One step of the solver on one batch.

        Parameters
        ----------
        params, state
            From `initialize_params` and `initialize_state`, or from the last `update`.
        X, y
            The batch, as for `fit`. Batches of one shape share one compilation.

        Returns
        -------
        params, state : tuple
            The next parameters and state. The parameters are also kept as `coef_` and `intercept_`.

        Raises
        ------
        ValueError
            If the batch does not belong to the parameters, its timestamps differ, or it has no valid bin.
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
        objective, name, options = self._stepper()
        X, y = as_X_y(X, y, objective.model, self._y_dims, built=True)
        require_valid_bins(has_valid_bin(X.values, y.values))
        mask = self._mask(X, y)
        params, state = jaxopt_update(name, options, objective, params, state, X.values, self._public(y.values), mask)
        if isinstance(params[0], jax.core.Tracer):
            return params, state  # inside somebody's jit, where nothing may be kept
        jax.block_until_ready(params)  # JAX may read the batch where it lies, and the next one may be written there
        self._forget()
        self.coef_, self.intercept_ = params
        self.n_features_in_, self._columns = X.values.shape[1], y.columns
        self._keep_names(X.columns)
        return params, state

    def _stepper(self):
        """The same for single steps: those of gradient descent, proximal for a penalty with kinks, if no solver is named."""
        objective, solver, options = self._configure()
        plain = "ProximalGradient" if objective.penalty.lengths else "GradientDescent"
        return (objective, solver, options) if solver else (objective, plain, {})

    def _mask(self, X, y):
        """Features of each neuron as (neurons, features), in the precision of the parameters."""
        mask = as_feature_mask(self.feature_mask, X.values.shape[1], y.values.shape[1])
        return mask.astype(jnp.result_type(float))
