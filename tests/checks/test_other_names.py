"""Names of other tools: each is refused with what it is called here, and what the hint says to write exists."""

import re

import numpy as np
import pytest

import popglm
from popglm import observation_models, regularizer
from popglm._checks import other_names
from popglm._checks.other_names import ARGUMENTS, ATTRIBUTES, OPTIONS, SOLVERS
from popglm.basis import BSplineEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM

X, Y = np.random.default_rng(0).normal(size=(50, 2)), np.ones(50)
MODEL = GLM().fit(X, np.random.default_rng(1).poisson(1.0, 50))
OWNERS = {  # what has an argument: how it is called with one of another tool
    "observation_model": lambda **more: GLM(**more),
    "inverse_link_function": lambda **more: PopulationGLM(**more),
    "regularizer": lambda **more: PopulationGLM(**more),
    "regularizer_strength": lambda **more: GLM(**more),
    "solver_name": lambda **more: GLM(**more),
    "solver_kwargs": lambda **more: GLM(**more),
    "sample_weight": lambda **more: GLM().fit(X, Y, **more),
    "offset": lambda **more: MODEL.predict(X, **more),
    "init_params": lambda **more: GLM().fit(X, Y, **more),
    "scale": lambda **more: observation_models.NegativeBinomial(**more),
    "l1_ratio": lambda **more: regularizer.ElasticNet(**more),
    "sizes": lambda **more: regularizer.GroupLasso(**more),
    "predictor_causality": lambda **more: RaisedCosineLogConv(5, 20, **more),
    "window_size": lambda **more: RaisedCosineLogConv(5, **more),
    "n_basis_funcs": lambda **more: BSplineEval(**more),
    "order": lambda **more: BSplineEval(5, **more),
}
TAKEN = {  # options of settings, and all of their choices
    "observation_model": ("Poisson", "Bernoulli", "Gaussian", "Gamma", "NegativeBinomial"),
    "inverse_link_function": ("exp", "softplus", "logistic", "probit", "cloglog", "identity"),
    "regularizer": ("UnRegularized", "Ridge", "Lasso", "ElasticNet"),
}


@pytest.mark.parametrize(("theirs", "ours", "hint"), ARGUMENTS, ids=[f"{a}-{b}" for a, b, _ in ARGUMENTS])
def test_an_argument_of_another_tool(theirs, ours, hint):
    with pytest.raises(TypeError, match=rf"has no argument `{theirs}`\. Instead: ") as caught:
        OWNERS[ours](**{theirs: 1.0})
    assert hint in str(caught.value) or [a for a, *_ in ARGUMENTS].count(theirs) > 1


def test_the_hint_is_of_the_argument_that_the_call_has():
    for call, hint in ((GLM, "regularizer_strength"), (observation_models.NegativeBinomial, "scale=alpha")):
        with pytest.raises(TypeError, match=hint):
            call(alpha=0.1)


def test_other_arguments_are_refused_by_python():
    with pytest.raises(TypeError, match="unexpected keyword argument 'xyz'"):
        GLM(xyz=1)


@pytest.mark.parametrize("theirs", OPTIONS)
def test_a_word_of_another_tool(theirs):
    ours = OPTIONS[theirs]
    name = next(name for name, choices in TAKEN.items() if ours in choices)
    value = None if theirs == "None" else theirs
    with pytest.raises((TypeError, ValueError), match=f"Did you mean '{ours}'"):
        GLM(**{name: value}).fit(X, Y)


@pytest.mark.parametrize("theirs", SOLVERS)
def test_a_solver_of_another_tool(theirs):
    with pytest.raises(ValueError, match=re.escape(SOLVERS[theirs])):
        GLM(solver_name=theirs).fit(X, Y)


def test_a_solver_of_another_tool_that_is_here():
    for theirs in ("lbfgs", "LBFGS[jaxopt]"):
        with pytest.raises(ValueError, match="Did you mean 'LBFGS'"):
            GLM(solver_name=theirs).fit(X, Y)


class PoissonObservations:
    """As NeMoS's."""


class Binomial:
    """As statsmodels'."""


class Ridge:
    """As NeMoS's."""


FOREIGN = {
    "object of NeMoS": ({"observation_model": PoissonObservations()}, "Did you mean 'Poisson'"),
    "object of statsmodels": ({"observation_model": Binomial()}, "Did you mean 'Bernoulli'"),
    "penalty of NeMoS": ({"regularizer": Ridge()}, "Did you mean 'Ridge'"),
    "class for object": ({"regularizer": regularizer.Ridge}, r'Write Ridge\(\) or "Ridge"'),
    "data": ({"observation_model": X}, r"got data of shape \(50, 2\)\. Data go to `fit`"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_an_object_of_another_tool(case):
    settings, message = FOREIGN[case]
    with pytest.raises(TypeError, match=message):
        GLM(**settings).fit(X, Y)


MODULES = {  # what is an attribute of a module, or of a basis
    "load_model": popglm,
    "load_params": popglm.io,
    "simulate_recurrent": popglm.simulation,
    **dict.fromkeys(("setup_basis", "kernel_", "evaluate"), RaisedCosineLogConv(5, 20)),
    **dict.fromkeys(("AdditiveBasis", "MultiplicativeBasis", "Category", "SplineTransformer"), popglm.basis),
    **dict.fromkeys(("PoissonRegressor", "LogisticRegression"), popglm.glm),
}


@pytest.mark.parametrize("theirs", ATTRIBUTES)
def test_an_attribute_of_another_tool(theirs):
    with pytest.raises(AttributeError, match=re.escape(f"Here it is {ATTRIBUTES[theirs]}")):
        getattr(MODULES.get(theirs, MODEL), theirs)


def test_names_that_hints_give_exist():
    """Of popglm, with their modules; and each argument."""
    texts = [*ATTRIBUTES.values(), *(hint for *_, hint in ARGUMENTS)]
    for path in {path for text in texts for path in re.findall(r"popglm\.([a-z_]+\.\w+)", text)}:
        module, name = path.split(".")
        assert hasattr(getattr(popglm, module), name), path
    for text in ("Sum", "Product", "CategoryEval", "BSplineEval"):
        assert hasattr(popglm.basis, text)


def test_a_property_that_fails_tells_its_own_error():
    """Not that the property does not exist."""
    broken = type("Broken", (RaisedCosineLogConv,), {"kernel": property(lambda self: self.lags.missing)})(5, 20)
    with pytest.raises(AttributeError, match="'missing'"):
        broken.kernel  # noqa: B018


def test_functions_without_such_arguments_stay_what_they_are():
    assert other_names.with_argument_hints(test_a_solver_of_another_tool_that_is_here, "x") is (
        test_a_solver_of_another_tool_that_is_here
    )
