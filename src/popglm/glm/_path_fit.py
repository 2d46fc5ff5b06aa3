"""Fits along a path of strengths."""

from typing import NamedTuple

import numpy as np

from popglm._checks.models import as_feature_mask
from popglm._checks.values import as_positive_integer, require_flag
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows, as_X_y
from popglm._solver.exact import neuron_progress_bar
from popglm._solver.path import fit_strengths
from popglm.glm._settings import as_path_strengths, require_path_settings


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


class PathFits:
    """The paths of an estimator."""

    def fit_path(self, X, y, strengths=None, *, n_strengths=20, progress=False):
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
            Once for the neurons without an event, once for those with nothing else, and once for those that did not converge at
            some strength.

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
        require_path_settings(objective.penalty, solver, strengths)
        require_flag("progress", progress)
        n_strengths = as_positive_integer("n_strengths", n_strengths)
        base = objective.strength if objective.strength.ndim else np.ones_like(objective.strength)
        objective = objective._replace(strength=base)
        X, y = as_X_y(X, y, objective.model, self._y_dims)
        rows = as_design_rows(X.values, centered=True)
        design = Design(rows, y.values)
        mask = as_feature_mask(self.feature_mask, X.values.shape[1], y.values.shape[1])
        grid = None if strengths is None else as_path_strengths(strengths)
        with neuron_progress_bar(y.values.shape[1], progress) as report:
            grid, fits = fit_strengths(design, objective, mask, grid, n_strengths, report=report, **options)
        center = rows.offset(X.values.shape[1])
        coef = np.stack([fit.coef for fit in fits])
        intercept = np.stack([fit.intercept - fit.coef.astype(float) @ center for fit in fits]).astype(coef.dtype)
        flags = np.stack([fit.converged for fit in fits]), np.stack([fit.n_iter for fit in fits])
        self._warn_of_silent(objective.model, fits[0].silent, fits[0].mean, y.columns)
        late = ~flags[0].all(0)
        self._warn(late, y.columns, "the path stopped before it converged at every strength. Raise `maxiter` or `tol`")
        return Path(grid, self._public(coef.swapaxes(1, 2)), intercept, *flags)
