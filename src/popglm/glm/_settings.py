"""Settings of an estimator as the core needs them: names become objects, and everything is checked."""

from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from popglm import observation_models, regularizer
from popglm._checks.models import as_feature_mask, require_finite_params, require_params_shape
from popglm._checks.values import require_option
from popglm._design.layout import read_layout
from popglm._solver.exact import SOLVER_DEFAULTS
from popglm._solver.jaxopt import JAXOPT_SOLVERS, jaxopt_defaults
from popglm._solver.problem import Objective
from popglm.glm._checks import (
    as_instance,
    as_solver_options,
    as_strength,
    is_evidence,
    require_evidence_settings,
    require_firth_settings,
    require_fit_to_all,
    require_nonsmooth_solver,
    require_numeric_strength,
    require_positive_dispersion,
    require_solver_options,
)
from popglm.links import LINKS, require_link, resolve_link

OBSERVATION_MODELS = {
    name: getattr(observation_models, name)
    for name in ("Poisson", "Bernoulli", "Gaussian", "Gamma", "NegativeBinomial")
}
REGULARIZERS = {name: getattr(regularizer, name) for name in regularizer.__all__}

FIRTH_LINKS = {
    observation_models.Poisson: "exp",
    observation_models.Bernoulli: "logistic",
}  # that Firth's penalty takes


class Settings(NamedTuple):
    """Settings of an estimator, resolved: `objective` holds the observation model, the penalty and its strength.

    `solver_name` is None for the default solver; `single` is True for a `GLM`, whose arrays have no axis of neurons.
    `layout` lists the inputs of the features, if the penalty needs them. Strengths are `chosen` by data if this fit finds them,
    or if they are an array with one for each part, as such a fit has found them.
    """

    objective: Objective
    solver_name: str | None
    options: dict
    feature_mask: object
    single: bool
    evidence: bool = False  # the strengths are those of largest evidence
    layout: object = None
    chosen: bool = False

    @property
    def y_dims(self):
        """Numbers of dimensions that y may have."""
        return (1,) if self.single else (2,)

    @property
    def estimator(self):
        """Name of the estimator's class."""
        return "GLM" if self.single else "PopulationGLM"

    def as_user_array(self, array):
        """Drop the axis of neurons, the last, where there is one neuron."""
        return array[..., 0] if self.single else array

    @property
    def needs_layout(self):
        """True if the inputs of the features tell the penalty, or its strengths, something."""
        penalty, strength = self.objective.penalty, self.objective.strength
        return bool(self.evidence or strength.ndim or penalty.needs_layout())

    def with_layout(self, read):
        """Settings whose penalty knows the inputs that features are made of; `read` gives their layout."""
        penalty, strength = self.objective.penalty, self.objective.strength
        if not self.needs_layout:
            return self
        layout = read()
        if self.evidence:
            penalty, chosen = penalty.resolve(layout, by_evidence=True), True
        else:
            penalty, chosen = _resolve_penalty(penalty, strength, layout)
        return self._replace(objective=self.objective._replace(penalty=penalty), layout=layout, chosen=chosen)

    @property
    def is_firth(self):
        """True if the penalty is Firth's, which has a solver of its own."""
        return isinstance(self.objective.penalty, regularizer.Firth)

    def with_numeric_strength(self, method):
        """These settings, for a method that is no fit to all data; raise if only such a fit can serve the penalty."""
        require_numeric_strength(self.evidence, method)
        require_fit_to_all(self.is_firth, method)
        return self

    def mask(self, n_features, n_neurons):
        """Features that each neuron uses, 1 or 0, of shape (neurons, features)."""
        return as_feature_mask(self.feature_mask, n_features, n_neurons)

    def checked_params(self, params, n_features, n_neurons, name="params"):
        """Parameters of the user as JAX arrays, in the user's shape."""
        shape = (n_features,) if self.single else (n_features, n_neurons)
        params = tuple(map(jnp.asarray, require_params_shape(params, shape, (n_neurons,), name)))
        require_finite_params(params, name)
        return params

    def core_params(self, params, mask, name="params"):
        """Parameters of the user, checked, as (neurons, features) and (neurons,) in double precision, masked."""
        n_neurons, n_features = mask.shape
        coef, intercept = self.checked_params(params, n_features, n_neurons, name)
        return mask * np.asarray(coef, float).reshape(n_features, -1).T, np.asarray(intercept, float)


def resolve_settings(estimator, X=None, known=None) -> Settings:
    """Check the constructor's arguments as they stand now, and resolve them; the penalty takes its inputs from X, if given.

    `known` is the layout of parameters that X belongs to; a plain array says nothing of its inputs.
    """
    model = resolve_observation_model(estimator)
    penalty = as_instance("regularizer", estimator.regularizer, REGULARIZERS, regularizer.Regularizer)
    evidence = is_evidence(estimator.regularizer_strength)
    if evidence:
        require_evidence_settings(penalty, estimator.solver_name)
    if isinstance(penalty, regularizer.Firth):
        require_firth_settings(model, estimator.regularizer_strength, estimator.solver_name, allows_firth(model))
    strength = 1.0 if evidence else as_strength(estimator.regularizer_strength, penalty)
    options, name = as_solver_options(estimator.solver_kwargs), estimator.solver_name
    if name is not None:
        require_option("solver_name", name, JAXOPT_SOLVERS)
    if penalty.l1_share:
        require_nonsmooth_solver(type(penalty).__name__, name)
    defaults = SOLVER_DEFAULTS if name is None else jaxopt_defaults(name)
    require_solver_options(name or "the default solver", options, defaults)
    objective = Objective(model, penalty, np.asarray(strength, jnp.result_type(float)))
    settings = Settings(
        objective=objective,
        solver_name=name,
        options=options,
        feature_mask=estimator.feature_mask,
        single=estimator._single,
        evidence=evidence,
    )
    return settings if X is None else settings.with_layout(lambda: read_layout(X, known))


def allows_firth(model) -> bool:
    """Return whether an observation model can be fitted under Firth's penalty."""
    return FIRTH_LINKS.get(type(model)) == model.link.name


def _resolve_penalty(penalty, strength, layout):
    """Penalty for given strengths, and if they are as those of a fit by evidence: an array with one for each of its parts."""
    n_features = sum(one.n_features for one in layout)
    given = penalty.resolve(layout)
    if not strength.ndim or penalty.l1_share or any(one.trouble for one in layout):
        return given, False
    by_evidence = penalty.resolve(layout, by_evidence=True)
    n_strengths = strength.shape[-1]
    chosen = n_strengths == by_evidence.n_parts(n_features)
    return by_evidence if chosen and n_strengths != given.n_parts(n_features) else given, chosen


def resolve_observation_model(estimator) -> observation_models.ObservationModel:
    """Observation model of the settings, with their link."""
    model = as_instance(
        "observation_model", estimator.observation_model, OBSERVATION_MODELS, observation_models.ObservationModel
    )
    if estimator.inverse_link_function is not None:
        link = require_link(estimator.inverse_link_function, LINKS)
        model = replace(model, link=resolve_link(link, model.support.low, model.support.high))
    return require_positive_dispersion(model)
