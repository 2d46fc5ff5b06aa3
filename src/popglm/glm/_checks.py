"""Checks of an estimator's settings and parameters: observation model, penalty and its strength, solver and its options."""

import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass

import jax
import numpy as np

from popglm._checks.arrays import as_real_array
from popglm._checks.values import as_number, as_positive_integer, as_share, require_option, warn_user
from popglm._solver.jaxopt import has_line_search, has_momentum

OPTION_CHOICES = {  # options that are words
    "linesearch": ("zoom", "backtracking", "hager-zhang"),
    "linesearch_init": ("increase", "max", "current"),
    "condition": ("wolfe", "strong-wolfe", "armijo", "goldstein"),
    "method": ("polak-ribiere", "fletcher-reeves", "hestenes-stiefel"),
}


def as_strength_array(value):
    """Convert strengths to an array, of no dimension for a number; refuse what is below 0."""
    if np.ndim(value) == 0 and not isinstance(value, np.ndarray):
        return np.asarray(as_number("regularizer_strength", value, 0), float)
    array = as_real_array("regularizer_strength", value, (0, 1, 2))
    if array.dtype == bool or not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(
            f"`regularizer_strength` must hold finite numbers of at least 0; got values from {np.min(array)} to "
            f"{np.max(array)}."
        )
    return np.asarray(array, float)


def require_nonsmooth_solver(penalty, solver):
    """Refuse a solver that cannot handle a non-smooth penalty, whose coefficients are exactly 0."""
    if solver not in (None, "ProximalGradient"):
        raise ValueError(
            f"{penalty} is not smooth at 0, and {solver} needs a smooth objective; coefficients would never be exactly 0. "
            "Use the default solver, solver_name=None, or 'ProximalGradient'."
        )


def as_path_strengths(strengths):
    """Convert the strengths of a path to an array; refuse what is not above 0, or not increasing."""
    values = as_real_array("strengths", strengths, (1,)).astype(float)
    if not (len(values) and np.isfinite(values).all() and (values > 0).all() and (np.diff(values) > 0).all()):
        raise ValueError(
            "`strengths` must be positive numbers in increasing order; got "
            f"{np.array2string(values, threshold=8)}. Write numpy.geomspace(1e-4, 1e-1, 20)."
        )
    return values


def require_path_settings(penalty, solver, strengths):
    """Refuse a path without a penalty, with a named solver, or without strengths where the penalty gives no first one."""
    if solver is not None:
        raise ValueError(f"`fit_path` is for the default solver; got solver_name={solver!r}. Use solver_name=None.")
    if not penalty.default_strength:
        raise ValueError('`fit_path` needs a penalty; got "UnRegularized". Set regularizer="Lasso", for example.')
    if strengths is None and not penalty.l1_share:
        raise ValueError(
            f"`strengths` must be given for {type(penalty).__name__}: no strength makes all coefficients 0, where a path "
            "could begin. Write strengths=numpy.geomspace(1e-5, 1, 11)."
        )


def require_default_solver(name, checkpoint):
    """Refuse a checkpoint of a named solver, which cannot be interrupted between two passes."""
    if checkpoint is not None and name is not None:
        raise ValueError(
            f"`checkpoint` is for the default solver; {name!r} runs in one piece. Leave out `solver_name`, or take "
            "its steps by `fit_batches`."
        )


def as_instance(name, value, classes, kind):
    """Convert the name of a class to an object of it; refuse an object of another kind."""
    if isinstance(value, str):
        cls = classes[require_option(name, value, tuple(classes))]
        needed = [key for key, known in inspect.signature(cls).parameters.items() if known.default is known.empty]
        if needed:
            raise ValueError(
                f"{value} needs to know its {needed[0]}, so the name is not enough. Give {name}={value}(...)."
            )
        return cls()
    if isinstance(value, kind):
        if not is_dataclass(value):
            raise TypeError(
                f"`{name}` must be a frozen dataclass; got {value!r}. Write @dataclass(frozen=True) above its class."
            )
        return value
    raise TypeError(f"`{name}` must be a name ({', '.join(classes)}) or an object of that kind; got {value!r}.")


def require_positive_dispersion(model):
    """Refuse a scale that is not one positive number, or None."""
    if np.ndim(model.scale):
        raise ValueError(
            f"`scale` must be one number, for all neurons; got shape {np.shape(model.scale)}. Leave it out, and each neuron's "
            "is estimated, or fit a GLM for each."
        )
    if model.scale is not None:
        as_number("scale", model.scale, 0, strict=True)
    return model


def require_stepsize_function(function):
    """Refuse a step size that is no function of the iteration that JAX can trace."""
    try:
        first = np.asarray(jax.jit(lambda i: function(i))(0))
    except Exception as error:
        raise TypeError(
            f"`stepsize` must be a number, or a JAX function of the iteration that gives one; {function!r} cannot be "
            f"traced ({type(error).__name__}). Use jax.numpy, and jax.numpy.where instead of if."
        ) from error
    if first.shape != () or not np.isfinite(first) or first <= 0:
        raise ValueError(f"`stepsize` must give a positive number at every iteration; at 0 it gives {first}.")


def as_strength(value, penalty):
    """Convert the strength of a penalty to an array, neurons first; refuse one where there is no penalty."""
    if value is None:
        return np.asarray(penalty.default_strength)
    strengths = as_strength_array(value)
    if not penalty.default_strength and strengths.any():
        raise ValueError(f'`regularizer_strength` is {value!r} but there is no penalty. Set regularizer="Ridge".')
    return strengths.T


def as_solver_options(value):
    """Convert the options of a solver to a dictionary."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"`solver_kwargs` must be a dictionary of options; got {value!r}.")


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
    trouble = [
        word
        for word, found in (
            ("searches its step size on every batch", has_line_search(name, options)),
            ("accelerates, so its steps remember other batches", has_momentum(name, options)),
        )
        if found
    ]
    if trouble:
        warn_user(
            f"{name} {' and '.join(trouble)}: right for the same data at every step, wrong for batches. "
            'For batches: solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False}.',
        )
