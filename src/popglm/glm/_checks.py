"""Checks of an estimator's settings and parameters: observation model, penalty and its strength, solver and its options."""

import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass, replace

import numpy as np

from popglm._checks.arrays import as_real_array
from popglm._checks.other_names import option_hint
from popglm._checks.values import (
    as_number,
    as_plain_number,
    as_positive_integer,
    as_share,
    calling_module,
    require_option,
    trace_function,
    warn_user,
)
from popglm._solver.jaxopt import has_line_search, has_momentum

OPTION_CHOICES = {  # options that are words
    "linesearch": ("zoom", "backtracking", "hager-zhang"),
    "linesearch_init": ("increase", "max", "current"),
    "condition": ("wolfe", "strong-wolfe", "armijo", "goldstein"),
    "method": ("polak-ribiere", "fletcher-reeves", "hestenes-stiefel"),
}


def require_nonsmooth_solver(penalty, solver):
    """Refuse a solver that cannot handle a non-smooth penalty, whose coefficients are exactly 0."""
    if solver not in (None, "ProximalGradient"):
        why = f"{solver} needs a smooth objective; coefficients would never be exactly 0"
        fix = "Use the default solver, solver_name=None, or 'ProximalGradient'."
        raise ValueError(f"{penalty} is not smooth at 0, and {why}. {fix}")


def require_path_settings(penalty, solver, strengths):
    """Refuse a path without a penalty, with a named solver, or without strengths where the penalty gives no first one."""
    if solver is not None:
        raise ValueError(f"`fit_path` is for the default solver; got solver_name={solver!r}. Use solver_name=None.")
    if not penalty.default_strength:
        raise ValueError('`fit_path` needs a penalty; got "UnRegularized". Set regularizer="Lasso", for example.')
    if strengths is None and not penalty.l1_share:
        why = "no strength makes all coefficients 0, where a path could begin"
        fix = "Write strengths=numpy.geomspace(1e-5, 1, 11)."
        raise ValueError(f"`strengths` must be given for {type(penalty).__name__}: {why}. {fix}")


def require_default_solver(name, checkpoint):
    """Refuse a checkpoint of a named solver, which cannot be interrupted between two passes."""
    if checkpoint is not None and name is not None:
        fix = "Leave out `solver_name`, or take its steps by `fit_batches`."
        raise ValueError(f"`checkpoint` is for the default solver; {name!r} runs in one piece. {fix}")


def require_no_selector():
    """Refuse to give coefficients (features, neurons) to a selector of scikit-learn, which reads (targets, features)."""
    if calling_module() == "sklearn.feature_selection._base":
        raise ValueError(
            "selectors of scikit-learn expect `coef_` of shape (targets, features); that of a PopulationGLM is (features, "
            "neurons), so they would select wrong features. Write importance_getter=lambda model: model.coef_.T."
        )


def as_instance(name, value, classes, kind):
    """Convert the name of a class to an object of it; refuse an object of another kind."""
    if isinstance(value, str):
        cls = classes[require_option(name, value, tuple(classes))]
        needed = [key for key, known in inspect.signature(cls).parameters.items() if known.default is known.empty]
        if needed:
            raise ValueError(f"{value} needs to know its {needed[0]}; give {name}={value}(...) instead of the name.")
        return cls()
    if not isinstance(value, kind):
        expected = f"`{name}` must be a name ({', '.join(classes)}) or an object of that kind"
        raise TypeError(f"{expected}; got {describe_foreign(value)}.{foreign_hint(value, classes)}")
    if not is_dataclass(value):
        fix = "Write @dataclass(frozen=True) above its class."
        raise TypeError(f"`{name}` must be a frozen dataclass; got {value!r}. {fix}")
    return value


def describe_foreign(value):
    """Describe what was given in place of an object of this package: data by their shape."""
    return f"data of shape {np.shape(value)}" if np.ndim(value) else repr(value)


def foreign_hint(value, classes):
    """Fix for data in place of a setting, for a class in place of its object, and for objects of other tools."""
    if np.ndim(value):
        return " Data go to `fit`: GLM().fit(X, y)."
    if inspect.isclass(value) and value in classes.values():
        return f' Write {value.__name__}() or "{value.__name__}".'
    choice = option_hint(value, classes)
    return f" Did you mean {choice!r}?" if choice else ""


def require_positive_dispersion(model):
    """Refuse a scale that is not one positive number, or None."""
    if np.ndim(model.scale):
        fix = "Leave it out, and each neuron's is estimated, or fit a GLM for each."
        raise ValueError(f"`scale` must be one number, for all neurons; got shape {np.shape(model.scale)}. {fix}")
    if model.scale is not None:
        model = replace(model, scale=as_number("scale", model.scale, 0, strict=True))
    return model


def require_stepsize_function(function):
    """Refuse a step size that is no function of the iteration that JAX can trace."""
    fix = " Use jax.numpy, and jax.numpy.where instead of if."
    expected = "`stepsize` must be a number, or a JAX function of the iteration that gives one"
    (first,) = trace_function(function, [0], expected, fix)
    if first.shape != () or not np.isfinite(first) or first <= 0:
        raise ValueError(f"`stepsize` must give a positive number at every iteration; at 0 it gives {first}.")


def is_evidence(value):
    """Return whether strengths are chosen by evidence; refuse another word."""
    if isinstance(value, str) and value != "evidence":
        raise ValueError(f'`regularizer_strength` must be finite numbers or "evidence"; got {value!r}.')
    return isinstance(value, str)


def require_evidence_settings(penalty, solver):
    """Refuse strengths by evidence for a penalty that is no sum of squares, or with a named solver."""
    name = type(penalty).__name__
    if penalty.l1_share or not penalty.default_strength:
        fix = 'Set regularizer="Smoothness" or "Ridge", or choose the strength by `cross_validate_path`.'
        raise ValueError(f'regularizer_strength="evidence" needs a penalty that is a sum of squares; got {name}. {fix}')
    if solver is not None:
        raise ValueError(
            f'regularizer_strength="evidence" is for the default solver; got solver_name={solver!r}. Use solver_name=None.'
        )


def require_numeric_strength(evidence, method):
    """Refuse strengths by evidence where no Hessian of all data is at hand."""
    if evidence:
        raise ValueError(
            f'`{method}` needs numbers for `regularizer_strength`; got "evidence", which only `fit` takes. Use `fit`, or take '
            "the strengths of such a fit: regularizer_strength=model.strength_."
        )


def require_firth_settings(model, strength, solver, is_allowed):
    """Refuse Firth's penalty for an observation model that does not allow it, with a strength, or with a named solver."""
    if not is_allowed:
        raise ValueError(
            'regularizer="Firth" is for "Poisson" with the link "exp" and "Bernoulli" with "logistic"; got '
            f'{type(model).__name__} with {model.link.name!r}. Use regularizer="Ridge" with a small strength, or one of these.'
        )
    if strength is not None and np.any(np.asarray(strength) != 0):
        raise ValueError(f'regularizer="Firth" has no strength; got {strength!r}. Leave `regularizer_strength` out.')
    if solver is not None:
        raise ValueError(f'regularizer="Firth" is for the default solver; got {solver!r}. Use solver_name=None.')


def require_fit_to_all(is_firth, method):
    """Refuse Firth's penalty where the information of all data is not at hand."""
    if is_firth:
        raise ValueError(
            f'`{method}` cannot serve regularizer="Firth", whose penalty is the information of all data; only `fit` can. '
            'Use `fit`, or regularizer="Ridge" with a small strength.'
        )


def require_no_checkpoint(checkpoint):
    """Refuse a checkpoint of a fit under Firth's penalty."""
    if checkpoint is not None:
        raise ValueError('regularizer="Firth" writes no checkpoint; got one. Leave out `checkpoint`.')


def as_strength(value, penalty):
    """Convert the strength of a penalty to an array, neurons first; refuse one where there is no penalty."""
    name = "regularizer_strength"
    if value is None:
        return np.asarray(penalty.default_strength)
    number = np.ndim(value) == 0 and not isinstance(value, np.ndarray)
    strengths = as_real_array(name, as_number(name, value, 0) if number else value, (0, 1, 2))
    if strengths.dtype == bool or not (np.isfinite(strengths) & (strengths >= 0)).all():
        came = f"values from {strengths.min()} to {strengths.max()}"
        raise ValueError(f"`{name}` must hold finite numbers of at least 0; got {came}.")
    if not penalty.default_strength and strengths.any():
        raise ValueError(f'`{name}` is {value!r} but there is no penalty. Set regularizer="Ridge".')
    return strengths.T.astype(float)


def as_solver_options(value):
    """Convert the options of a solver to a dictionary."""
    if not isinstance(value, Mapping | None):
        raise TypeError(f"`solver_kwargs` must be a dictionary of options; got {value!r}.")
    return {name: as_plain_number(option) for name, option in (value or {}).items()}


def require_solver_options(solver, options, defaults):
    """Refuse options that a solver does not have, or of another type than their defaults."""
    for name, value in options.items():
        require_option(f"solver_kwargs of {solver}", name, tuple(defaults))
        default = defaults[name]
        if value is None and default is None:
            continue
        if name in OPTION_CHOICES:
            require_option(name, value, OPTION_CHOICES[name])
        elif isinstance(default, bool):
            if not isinstance(value, bool | np.bool_):
                raise ValueError(f"`{name}` must be True or False; got {value!r}.")
        elif isinstance(default, int):
            as_positive_integer(name, value)
        elif name == "stepsize" and callable(value):
            require_stepsize_function(value)
        elif name == "decrease_factor":
            as_share(name, as_number(name, value, 0, strict=True))
        else:
            as_number(name, value, 0)


def warn_unsuited_solver(name, options):
    """Warn of a solver whose steps are wrong for batches."""
    facts = {
        "searches its step size on every batch": has_line_search(name, options),
        "accelerates, so its steps remember other batches": has_momentum(name, options),
    }
    trouble = " and ".join(filter(facts.get, facts))
    if trouble:
        fix = 'For batches: solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False}.'
        warn_user(f"{name} {trouble}: right for the same data at every step, wrong for batches. {fix}")
