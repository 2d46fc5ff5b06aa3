"""The two estimators, GLM of one neuron and PopulationGLM of many that share their features, and the paths of their fits."""

from typing import Annotated, Any

from popglm._types import LinkLike, Numbers, Strength
from popglm.glm._checks import require_no_selector
from popglm.glm._estimator import Estimator
from popglm.links import Link
from popglm.observation_models import ObservationModel
from popglm.regularizer import Regularizer


class GLM(Estimator):
    r"""Generalized linear model of one neuron: :math:`\mathrm{E}[y_t] = f(x_t^\top w + b)`.

    Parameters
    ----------
    observation_model
        "Poisson", "Bernoulli", "Gaussian", "Gamma", "NegativeBinomial", or an object of `popglm.observation_models`.
    inverse_link_function
        f, from the linear predictor to the mean: "exp", "softplus", "logistic", "probit", "cloglog", "identity" or an
        increasing JAX function; None is the observation model's own.
    regularizer
        "UnRegularized", "Ridge", "Lasso", "ElasticNet", "Firth" (no penalty on size, but finite estimates with little bias
        where events are few), or an object of `popglm.regularizer`.
    regularizer_strength
        Strength of the penalty on the scale of the mean loss, or an array with one for each feature, or for each part of a
        penalty that has several; None is the regularizer's own (1). "evidence": the data choose a strength for each part of
        `Ridge`, `Smoothness` or `Mixed`, the maximum of the restricted likelihood (REML). A plain array as X says nothing of
        its inputs and counts as one: give `sizes` and `cyclic` of the penalty.
    solver_name
        None for the exact solver of this package. "GradientDescent", "LBFGS", "BFGS", "NonlinearCG" or
        "ProximalGradient" for jaxopt's.
    solver_kwargs
        Options of the solver: `tol` and `maxiter` for the default; those of the jaxopt solver otherwise.

    Attributes
    ----------
    coef_ : shape (features,)
    intercept_ : shape (1,)
    n_iter_, converged_ : shape (1,)
        Evaluations (or jaxopt's iterations), and whether the solver reached its tolerance.
    scale_ : shape (1,)
        Variance of a Gaussian, dispersion of a Gamma or a negative binomial; 1 for the others. Not after `update`.
    strength_ : shape (parts,)
        With strengths by evidence: those found, which `regularizer_strength` takes for the same fit and errors. NaN where
        there is nothing to fit: then ``numpy.nan_to_num(strength_)``.
    edf_ : shape (inputs,)
        With strengths by evidence: effective degrees of freedom of the filter of each input.
    log_evidence_ : shape (1,)
        With strengths by evidence: logarithm of the restricted likelihood at its maximum, by Laplace's approximation; for a
        Gamma at Pearson's dispersion.
    bin_size_ : float
        In seconds, if X or y has times. New data must have the same, and the same names of columns in the same order.

    References
    ----------
    Nelder and Wedderburn (1972), *Journal of the Royal Statistical Society A* 135:370-384; Wood (2011), *Journal of the Royal
    Statistical Society B* 73:3-36; Wood and Fasiolo (2017), *Biometrics* 73:1071-1081.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 2))
    >>> y = rng.poisson(np.exp(X @ [0.5, -0.3] - 1))
    >>> bool(np.allclose(GLM().fit(X, y).coef_, [0.5, -0.3], atol=0.1))
    True
    """

    _single = True

    def __init__(
        self,
        observation_model: str | ObservationModel = "Poisson",
        inverse_link_function: LinkLike | Link | None = None,
        regularizer: str | Regularizer = "UnRegularized",
        regularizer_strength: Strength | None = None,
        solver_name: str | None = None,
        solver_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.observation_model = observation_model
        self.inverse_link_function = inverse_link_function
        self.regularizer = regularizer
        self.regularizer_strength = regularizer_strength
        self.solver_name = solver_name
        self.solver_kwargs = solver_kwargs


class PopulationGLM(Estimator):
    r"""Generalized linear models of many neurons, same features: :math:`\mathrm{E}[y_{tn}] = f(x_t^\top w_n + b_n)`.

    Every neuron has its own optimum: the fit equals that of one `GLM` per neuron, in one pass over the data for all.

    Parameters
    ----------
    observation_model, inverse_link_function, regularizer, regularizer_strength, solver_name, solver_kwargs
        As for `GLM`. A strength of shape (features, neurons), (parts, neurons) or (1, neurons) is each neuron's own.
    feature_mask
        Array (features, neurons) of 0 and 1; a coefficient with a 0 is 0 and stays 0. None uses every feature. A NaN in X
        costs a neuron its row only where the neuron uses that feature; fits by batches and `update` leave out the row.

    Attributes
    ----------
    intercept_ : shape (neurons,)
    n_iter_, converged_ : shape (neurons,)
        Evaluations (or jaxopt's iterations), and whether the solver reached its tolerance.
    scale_ : shape (neurons,)
        Variance of a Gaussian, dispersion of a Gamma or a negative binomial; 1 for the others. Not after `update`.
    strength_, edf_, log_evidence_ : shapes (parts, neurons), (inputs, neurons), (neurons,)
        As for `GLM`, with strengths by evidence.
    bin_size_ : float
        In seconds, if X or y has times. New data must have the same, and the same names of columns in the same order.

    References
    ----------
    Pillow et al. (2008), *Nature* 454:995-999.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import PopulationGLM
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(1000, 4)), rng.poisson(0.3, (1000, 3))
    >>> PopulationGLM().fit(X, y).coef_.shape
    (4, 3)
    """

    _single = False

    def __init__(
        self,
        observation_model: str | ObservationModel = "Poisson",
        inverse_link_function: LinkLike | Link | None = None,
        regularizer: str | Regularizer = "UnRegularized",
        regularizer_strength: Strength | None = None,
        solver_name: str | None = None,
        solver_kwargs: dict[str, Any] | None = None,
        feature_mask: Annotated[Numbers, "features neurons"] | None = None,
    ) -> None:
        self.observation_model = observation_model
        self.inverse_link_function = inverse_link_function
        self.regularizer = regularizer
        self.regularizer_strength = regularizer_strength
        self.solver_name = solver_name
        self.solver_kwargs = solver_kwargs
        self.feature_mask = feature_mask

    @property
    def coef_(self) -> Any:
        """Coefficients, shape (features, neurons): column n holds those of neuron n.

        For coupling, ``coef_.reshape(n_neurons, n_basis, n_neurons)`` is (sender, function, receiver). Selectors of
        scikit-learn, which expect (neurons, features), need ``importance_getter=lambda model: model.coef_.T``.
        """
        require_no_selector()
        if "coef_" not in self.__dict__:
            raise AttributeError("this PopulationGLM has no coefficients yet. Call `fit` or `update` first.")
        return self.__dict__["coef_"]

    @coef_.setter
    def coef_(self, value: Any) -> None:
        self.__dict__["coef_"] = value

    def __sklearn_tags__(self) -> Any:
        """Several neurons."""
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output, tags.target_tags.multi_output = False, True
        return tags
