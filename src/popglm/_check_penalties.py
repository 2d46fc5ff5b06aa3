"""Checks of penalties: what they are made of, and their strengths. Messages are as in `_check`."""

from collections.abc import Iterable

import numpy as np

from popglm import _check, _check_arrays


def ratio(value):
    """A share of absolute values between those of ridge and lasso."""
    value = _check.number("l1_ratio", value)
    if not 0 < value < 1:
        raise ValueError(f"`l1_ratio` must be above 0 and below 1; got {value:g}. Use Lasso for 1 and Ridge for 0.")


def sizes(value):
    """Sizes of groups: a whole number, or a tuple of them."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(_check.positive_integer("sizes", n, " number of features for each group") for n in value)
    return _check.positive_integer("sizes", value, " number of features, or one for each group")


def differences(order, cyclic, ridge):
    """Differences along the functions of a basis, and a share of ridge."""
    _check.number("ridge", ridge, 0)
    _check.positive_integer("order", order)
    _check.flag("cyclic", cyclic)


def groups(name, sizes, n_features):
    """Sizes of all groups of so many features."""
    each = np.full(n_features // sizes, sizes) if isinstance(sizes, int) else np.asarray(sizes)
    if each.sum() != n_features:
        made = f"groups of {sizes}" if isinstance(sizes, int) else f"groups of {each.sum()} features in all"
        raise ValueError(
            f"`sizes` of {name} must divide the features into groups; X has {n_features} features, which are no {made}. "
            f"Give basis.n_basis_funcs, or a tuple with the number of features of every input: {name}((8, 8, 5))."
        )
    return each


def given(value):
    """Strengths as they were given: a number, or an array of numbers of at least 0."""
    if np.ndim(value) == 0 and not isinstance(value, np.ndarray):
        return np.asarray(_check.number("regularizer_strength", value, 0), float)
    array = _check_arrays.array("regularizer_strength", value, (0, 1, 2))
    if array.dtype == bool or not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(
            f"`regularizer_strength` must hold finite numbers of at least 0; got values from {np.min(array)} to "
            f"{np.max(array)}."
        )
    return np.asarray(array, float)


def strengths(name, strength, n_parts, n_neurons):
    """One strength, one for every part of the penalty, or these for every neuron; neurons first."""
    shape = np.shape(strength)
    if (
        len(shape) == 0
        or shape == (n_parts,)
        or (len(shape) == 2 and shape[0] in (1, n_neurons) and shape[1] in (1, n_parts))
    ):
        return
    raise ValueError(
        f"`regularizer_strength` of {name} must be a number, an array ({n_parts},) with one for each of its features or "
        f"groups, or one of 1 or {n_parts} rows and {n_neurons} columns, which are the neurons; got shape {shape[::-1]}."
    )


def kinks(penalty, solver):
    """A solver that stops at kinks, where coefficients are exactly 0."""
    if solver not in (None, "ProximalGradient"):
        raise ValueError(
            f"{penalty} has a kink at 0, which {solver} does not know of; coefficients would never be exactly 0. Use the "
            "default solver, solver_name=None, or 'ProximalGradient'."
        )


def increasing(strengths):
    """Strengths of a path, above 0, in increasing order."""
    values = _check_arrays.array("strengths", strengths, (1,)).astype(float)
    if not (len(values) and np.isfinite(values).all() and (values > 0).all() and (np.diff(values) > 0).all()):
        raise ValueError(
            "`strengths` must be positive numbers in increasing order; got "
            f"{np.array2string(values, threshold=8)}. Write numpy.geomspace(1e-4, 1e-1, 20)."
        )
    return values


def path(penalty, solver, strengths):
    """A penalty with strengths to choose from; those that are not given begin where a kink holds everything at 0."""
    if solver is not None:
        raise ValueError(f"`fit_path` is for the default solver; got solver_name={solver!r}. Use solver_name=None.")
    if not penalty.default_strength:
        raise ValueError('`fit_path` needs a penalty; got "UnRegularized". Set regularizer="Lasso", for example.')
    if strengths is None and not penalty.lengths:
        raise ValueError(
            f"`strengths` must be given for {type(penalty).__name__}: no strength makes all coefficients 0, where a path "
            "could begin. Write strengths=numpy.geomspace(1e-5, 1, 11)."
        )
