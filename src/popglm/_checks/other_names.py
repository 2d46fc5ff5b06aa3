"""Names that other tools have for what this package offers: hints in errors. Each table maps their name to ours."""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, NoReturn

OPTIONS = {  # words for an argument
    "Binomial": "Bernoulli",
    "Normal": "Gaussian",
    "negbin": "NegativeBinomial",
    "nbinom": "NegativeBinomial",
    "negative_binomial": "NegativeBinomial",
    "log": "exp",
    "logit": "logistic",
    "sigmoid": "logistic",
    "expit": "logistic",
    "norm": "probit",
    "None": "UnRegularized",
    "l1": "Lasso",
    "l2": "Ridge",
    "elastic_net": "ElasticNet",
}

EXACT = "Leave it out: the default solver finds the optimum of every neuron."
BATCHES = "Leave it out, and fit by batches: `fit_batches`."
SOLVERS = {  # solvers that have no equivalent among jaxopt's
    **dict.fromkeys(("IRLS", "irls-ls", "irls-cd", "newton", "newton-cg", "newton-cholesky", "nm", "ncg"), EXACT),
    **dict.fromkeys(("liblinear", "cd", "NAG", "FISTA", "OptimistixNAG"), EXACT),
    **dict.fromkeys(("SVRG", "ProxSVRG", "saga", "sag", "sgd", "adam"), BATCHES),
}

TO_FIT = "the data go to `fit`: GLM(...).fit(X, y)"
INTERCEPT = "a model always has an intercept, without a penalty; leave it out"
TOLERANCE = 'solver_kwargs={"tol": ...}; the default needs none'
ITERATIONS = 'solver_kwargs={"maxiter": ...}'
WEIGHT = "sample_weight, which counts rows"
ARGUMENTS = [  # their argument, one of those that were called here must have, and what to write
    ("family", "observation_model", 'observation_model="Poisson", for example'),
    ("distribution", "observation_model", 'observation_model="Poisson", for example'),
    ("distr", "observation_model", 'observation_model="Poisson", for example'),
    ("link", "inverse_link_function", 'inverse_link_function, the inverse: "exp" for a log link'),
    ("alpha", "regularizer_strength", 'regularizer="Ridge", regularizer_strength=alpha'),
    ("lambda_", "regularizer_strength", 'regularizer="Lasso", regularizer_strength=lambda_'),
    ("reg_lambda", "regularizer_strength", 'regularizer="Lasso", regularizer_strength=reg_lambda'),
    ("C", "regularizer_strength", 'regularizer="Ridge", regularizer_strength=1 / (C * n) for n bins'),
    ("penalty", "regularizer", 'regularizer, such as "Ridge" for "l2"'),
    ("l1_ratio", "regularizer", "regularizer=popglm.regularizer.ElasticNet(l1_ratio)"),
    ("l1_ratio", "regularizer_strength", "regularizer=popglm.regularizer.ElasticNet(l1_ratio)"),
    ("fit_intercept", "observation_model", INTERCEPT),
    ("solver", "solver_name", f"solver_name. {EXACT}"),
    ("tol", "solver_kwargs", TOLERANCE),
    ("max_iter", "solver_kwargs", ITERATIONS),
    ("maxiter", "solver_kwargs", ITERATIONS),
    ("endog", "observation_model", TO_FIT),
    ("exog", "observation_model", TO_FIT),
    ("n_jobs", "observation_model", "nothing: PopulationGLM fits all neurons at once"),
    ("weights", "sample_weight", WEIGHT),
    ("freq_weights", "sample_weight", WEIGHT),
    ("var_weights", "sample_weight", f"{WEIGHT}; the scale of a Gaussian differs"),
    ("exposure", "offset", "offset=numpy.log(exposure)"),
    ("start_params", "init_params", "init_params=(coef, intercept)"),
    ("theta", "scale", "scale=1 / theta"),
    ("alpha", "scale", "scale=alpha"),
    ("dispersion", "scale", "scale"),
    ("l1_wt", "l1_ratio", "l1_ratio"),
    ("mask", "sizes", "sizes, the number of features in each group"),
    ("conv_kwargs", "predictor_causality", 'predictor_causality="acausal", for example'),
    ("kernel_size", "window_size", "window_size, in bins"),
    ("n_basis", "n_basis_funcs", "n_basis_funcs"),
    ("df", "n_basis_funcs", "n_basis_funcs"),
    ("k", "n_basis_funcs", "n_basis_funcs"),
    ("n_knots", "n_basis_funcs", "n_basis_funcs=n_knots + degree - 1"),
    ("degree", "order", "order=degree + 1"),
]

SUMMARY, ERRORS = "popglm.inference.summary(model, X, y)", "popglm.inference.uncertainty(model, X, y)"
STATISTICS = ["aic", "bic", "bic_llf", "deviance", "df_resid", "llf", "llnull", "null_deviance", "pearson_chi2"]

ATTRIBUTES = {  # attributes of models, bases and modules
    "initialize_solver_and_state": "`initialize_state`",
    "initialize_optimizer_and_state": "`initialize_state`",
    "initialize_optimization_and_state": "`initialize_state`",
    "save_params": "popglm.io.save(model, path)",
    "load_params": "popglm.io.load(path)",
    "load_model": "popglm.io.load(path)",
    "simulate_recurrent": "popglm.simulation.simulate",
    "setup_basis": "not needed: `kernel` is always there",
    "kernel_": "`kernel`",
    "evaluate": "`compute_features`, or `evaluate_on_grid`",
    "AdditiveBasis": "`Sum`, which `+` makes",
    "MultiplicativeBasis": "`Product`, which `*` makes",
    "Category": "`CategoryEval`",
    "SplineTransformer": "`BSplineEval`",
    "PoissonRegressor": '`GLM`, with regularizer="Ridge" for alpha',
    "LogisticRegression": '`GLM("Bernoulli")`, with regularizer="Ridge" for C',
    "summary": SUMMARY,
    **dict.fromkeys(STATISTICS, f"in the table `neurons` of {SUMMARY}"),
    "dof_resid_": f"`df_residual` in the table `neurons` of {SUMMARY}",
    "params": "`coef_` and `intercept_`",
    "bse": f"`coef_se` of {ERRORS}",
    "tvalues": f"`z` of {ERRORS}",
    "pvalues": f"`p_values` of {ERRORS}",
    "conf_int": f"`interval` of {ERRORS}",
    "cov_params": f"`covariance` of {ERRORS}",
    "wald_test": f"`test` of {ERRORS}",
    "fit_regularized": '`fit`, with regularizer="ElasticNet" in the constructor',
    "from_formula": "`fit(X, y)`; make X by bases, or by a package for formulas",
    "fittedvalues": "`predict(X)`",
    "predict_proba": "`predict(X)`, the probability of y = 1",
    "decision_function": "popglm.links: the inverse of `predict(X)`",
    "resid_pearson": "popglm.assessment.pearson_residuals(model, X, y)",
    "resid_deviance": "popglm.assessment.deviance_residuals(model, X, y)",
}


def option_hint(value: Any, choices: Collection[str]) -> str | None:
    """Choice that another tool calls `value`, a word or an object, or None."""
    names = OPTIONS | {name.lower(): choice for name, choice in OPTIONS.items()}
    named = value if isinstance(value, str) or value is None else getattr(value, "__name__", type(value).__name__)
    word = str(named).split("[")[0].removesuffix("Observations")
    found = names.get(word) or names.get(word.lower()) or next((c for c in choices if c.lower() == word.lower()), None)
    return found if found in choices else None


def refuse_attribute(owner: str, name: str, obj: Any = None) -> NoReturn:
    """Refuse an attribute that an object or a module does not have, with what it is called here if another tool has it."""
    if hasattr(type(obj), name):
        object.__getattribute__(obj, name)  # a property that failed raises its own error again
    plain = name.removesuffix("Observations")
    here = ATTRIBUTES.get(name) or (plain if plain != name and hasattr(obj, plain) else None)
    hint = f" Here it is {here}." if here else ""
    raise AttributeError(f"{owner} has no attribute {name!r}.{hint}", name=name, obj=obj)


def with_argument_hints(function: Callable, owner: str) -> Callable:
    """Return the function, refusing arguments that other tools have, with what they are called here."""
    own = inspect.signature(function).parameters
    hints = {name: hint for name, needed, hint in reversed(ARGUMENTS) if needed in own and name not in own}
    if not hints:
        return function

    @wraps(function)
    def call(*args: Any, **arguments: Any) -> Any:
        for name in arguments.keys() & hints.keys():
            raise TypeError(f"`{owner}` has no argument `{name}`. Instead: {hints[name]}.")
        return function(*args, **arguments)

    return call
