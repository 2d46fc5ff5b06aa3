"""Names that other tools have for what this package offers: hints in errors."""

from collections.abc import Collection
from typing import Any, NoReturn

OPTIONS = {  # words for an argument
    "Binomial": "Bernoulli",
    "Normal": "Gaussian",
    "log": "exp",
    "logit": "logistic",
    "sigmoid": "logistic",
    "expit": "logistic",
    "norm": "probit",
    "l1": "Lasso",
    "l2": "Ridge",
}

SUMMARY, ERRORS = "popglm.inference.summary(model, X, y)", "popglm.inference.uncertainty(model, X, y)"
STATISTICS = ["aic", "bic", "bic_llf", "deviance", "df_resid", "llf", "llnull", "null_deviance", "pearson_chi2"]

ATTRIBUTES = {  # attributes of models and modules
    "initialize_solver_and_state": "`initialize_state`",
    "initialize_optimizer_and_state": "`initialize_state`",
    "initialize_optimization_and_state": "`initialize_state`",
    "save_params": "popglm.io.save(model, path)",
    "load_params": "popglm.io.load(path)",
    "load_model": "popglm.io.load(path)",
    "simulate_recurrent": "popglm.simulation.simulate",
    "summary": SUMMARY,
    **dict.fromkeys(STATISTICS, f"in the table `neurons` of {SUMMARY}"),
    "params": "`coef_` and `intercept_`",
    "bse": f"`coef_se` of {ERRORS}",
    "tvalues": f"`z` of {ERRORS}",
    "pvalues": f"`p_values` of {ERRORS}",
    "conf_int": f"`interval` of {ERRORS}",
    "cov_params": f"`covariance` of {ERRORS}",
    "wald_test": f"`test` of {ERRORS}",
    "fittedvalues": "`predict(X)`",
    "resid_pearson": "popglm.assessment.pearson_residuals(model, X, y)",
    "resid_deviance": "popglm.assessment.deviance_residuals(model, X, y)",
}


def option_hint(value: Any, choices: Collection[str]) -> str | None:
    """Choice that another tool calls `value`, or None."""
    names = OPTIONS | {name.lower(): choice for name, choice in OPTIONS.items()}
    word = str(value).removesuffix("Observations")
    found = names.get(word) or names.get(word.lower()) or next((c for c in choices if c.lower() == word.lower()), None)
    return found if found in choices else None


def refuse_attribute(owner: str, name: str, obj: Any = None) -> NoReturn:
    """Refuse an attribute that an object or a module does not have, with what it is called here if another tool has it."""
    plain = name.removesuffix("Observations")
    here = ATTRIBUTES.get(name) or (plain if plain != name and hasattr(obj, plain) else None)
    hint = f" Here it is {here}." if here else ""
    raise AttributeError(f"{owner} has no attribute {name!r}.{hint}", name=name, obj=obj)
