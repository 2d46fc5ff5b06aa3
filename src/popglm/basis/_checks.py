"""Checks of bases: settings, functions of users, bounds, categories, labels and inputs."""

import math
import numbers
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from popglm._checks.values import (
    as_number,
    as_plain_number,
    as_positive_integer,
    is_called_from,
    require_flag,
    warn_user,
)

MAX_GRID_BYTES = 1e9


def as_window_size(value):
    """Return the window as a number of bins; a fraction is probably meant in seconds."""
    hint = " If this is seconds, divide by the bin size." if isinstance(value, numbers.Real) else ""
    return as_positive_integer("window_size", value, " number of bins", hint)


def warn_rank_deficient(kernel):
    """Warn if the functions are linearly dependent over the window: their coefficients are not unique."""
    rank = int(np.linalg.matrix_rank(kernel))
    if rank < kernel.shape[1]:
        came = f"the {kernel.shape[1]} functions of this basis have rank {rank} over a window of {len(kernel)} bins"
        warn_user(f"{came}: their coefficients are not unique. Use fewer functions or a longer window.")


def require_visible_cuts(frame):
    """Require times or an index under scikit-learn's cross-validation, since rows of a plain array do not show a cut."""
    if frame.times is None and frame.index is None and is_called_from("sklearn.model_selection"):
        raise ValueError(
            "a convolution inside a cross-validated pipeline got a plain array, which does not show where rows were cut out, "
            "so that history would cross the cut. Make the features once, X = basis.lazy_features(inputs), and cross-validate "
            "the model alone; or give the pipeline a pynapple object or a table of pandas."
        )


def as_raised_cosine_settings(n_basis_funcs, width, decay=False):
    """Return the number and the width of raised cosines."""
    n = as_positive_integer("n_basis_funcs", n_basis_funcs)
    require_flag("enforce_decay_to_zero", decay)
    if n == 1 and not decay:
        expected = "at least 2, unless they are to decay to zero (enforce_decay_to_zero=True)"
        raise ValueError(f"`n_basis_funcs` must be {expected}; got 1.")
    width = as_number("width", width, 1, strict=True)
    if 2 * width != round(2 * width):
        raise ValueError(f"`width` must be a multiple of 0.5, so that the functions sum to a constant; got {width}.")
    return n, width


def as_spline_settings(n_basis_funcs, order, least=1):
    """Return the number of splines and their order, the degree of their polynomials plus 1."""
    n, order = as_positive_integer("n_basis_funcs", n_basis_funcs), as_positive_integer("order", order)
    if order < least:
        raise ValueError(f"`order` must be at least {least}, so that the functions are continuous; got {order}.")
    if n < order:
        fix = "Take more functions, or a lower order (4 is cubic, 2 is piecewise linear)."
        raise ValueError(f"`n_basis_funcs` must be at least the order of the splines, {order}; got {n}. {fix}")
    return n, order


def as_frequencies(value):
    """Return the numbers of periods: 1 to n for an integer n, else those of a list."""
    value = as_plain_number(value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return np.arange(1, as_positive_integer("frequencies", value) + 1)
    expected = "a number of frequencies, or the different whole numbers of periods, such as [0, 1, 2]"
    refusal = f"`frequencies` must be {expected}; got {value!r}."
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        raise TypeError(refusal) from None
    whole = array.ndim == 1 and array.size and (array >= 0).all() and (array == np.round(array)).all()
    if not whole or len(set(array.tolist())) < len(array):
        raise ValueError(refusal)
    return array.astype(int)


def as_functions(value):
    """Return a list of at least one function."""
    functions = [value] if callable(value) else list(value) if isinstance(value, Sequence) else []
    if not functions or not all(map(callable, functions)):
        raise TypeError(f"`funcs` must be a list of functions of an array, such as [numpy.sin]; got {value!r}.")
    return functions


def evaluate_function(function, x):
    """Evaluate a function of the user: one number for each entry of the array; NaN is a missing value."""
    name = getattr(function, "__name__", repr(function))
    try:
        out = np.asarray(function(x))
    except Exception as error:
        came = f"for one of shape {x.shape} {name} raises {type(error).__name__}: {error}"
        fix = f"Use NumPy's functions, or numpy.vectorize({name})."
        raise TypeError(f"a function of `funcs` must take an array; {came}. {fix}") from error
    if out.shape != x.shape or out.dtype.kind not in "biuf" or np.isinf(out).any():
        values = "an infinite value" if out.shape == x.shape else f"shape {out.shape}"
        came = f"for an array of shape {x.shape} {name} gives {values} of dtype {out.dtype}"
        fix = "Use NumPy's functions."
        raise ValueError(f"a function of `funcs` must give one real number for every value; {came}. {fix}")
    return out.astype(float)


def as_shape_values(cls, values, n_values, n_functions):
    """Return the result of `shape` of a basis: a row for each value, a column for each function; None is any number."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape != (n_values, n_functions or values.shape[1]):
        shape = f"({n_values}, {n_functions or 'functions'})"
        expected = f"a row for every value and a column for every function, {shape}"
        raise ValueError(f"`shape` of {cls.__name__} must give {expected}; got shape {values.shape}.")
    return values


def require_range(low, high):
    """Return the range of a variable; raise unless it varies."""
    if low < high:
        return low, high
    came = f"is {low:g} wherever it is known" if low == high else "holds no number"
    raise ValueError(f"the input {came}, so it says nothing about the range of the variable. Give `bounds`.")


def warn_learned_period(basis, low, high):
    """Warn that a circle closes where the data end."""
    came = f"the period of {basis} was learned from the data, {high - low:.6g}"
    closes = f"{low:.6g} and {high:.6g} are one point of its circle"
    fix = "Give the period as `bounds`, such as (0, 360) for degrees or (0, 2 * numpy.pi) for radians"
    warn_user(f"{came}: {closes}. {fix}.")


def warn_far_outside_period(n_far, n_values, low, high):
    """Warn if values lie more than a period outside the bounds of a circle: they may have other units."""
    if n_far:
        came = f"{n_far} of {n_values} values lie more than a period outside the bounds ({low:.6g}, {high:.6g})"
        fix = f"Give `bounds` in units of the variable; if it was unwrapped, take it modulo {high - low:.6g}"
        warn_user(f"{came}, and are moved by whole periods. {fix}.")


def warn_outside_bounds(n_outside, n_values, low, high, learned):
    """Warn if values lie outside the bounds, and say how many."""
    if n_outside:
        origin = "learned from the first data that this basis saw" if learned else "given"
        came = f"{n_outside} of {n_values} values lie outside the bounds ({low:.6g}, {high:.6g}), {origin}"
        fix = "Give wider `bounds`, or learn them anew with `fit`."
        warn_user(f"{came}: their features are NaN, and no method counts such rows. {fix}")


def as_categories(value):
    """Return an array of different categories, in their order."""
    if value is None:
        raise ValueError("the categories are not known yet. Give `categories`, or compute features first.")
    array = np.asarray(value)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "biufUS" or len(np.unique(array)) < len(array):
        raise ValueError(f"`categories` must be a list of different numbers or words; got {value!r}.")
    return array


def as_reference_position(value, categories):
    """Return the position of the category without a function; None if every category has one."""
    if value is None:
        return None
    where = np.flatnonzero(categories == value)
    if not len(where) or len(categories) < 2:
        raise ValueError(f"`reference` must be one of at least two categories, {categories.tolist()}; got {value!r}.")
    return int(where[0])


def require_known_categories(unknown, categories):
    """Raise if the input holds values that are not categories."""
    if len(unknown):
        known = f"the categories {categories.tolist()} (those given, or those in the first data that this basis saw)"
        fix = "Give all `categories`, or mark these bins by NaN."
        raise ValueError(f"the input holds {unknown[:5].tolist()}, not among {known}. {fix}")


def require_basis(value, kind, operator):
    """Raise unless the value is a basis, which the operator can combine with another."""
    if not isinstance(value, kind):
        verb = {"+": "added to", "*": "multiplied with"}[operator]
        raise TypeError(f"a basis can be {verb} a basis only; got {value!r}.")


def require_basis_labels(bases):
    """Raise unless the labels of the bases differ, and `set_params` can tell them from names of settings."""
    labels = [basis.label for basis in bases if basis.label is not None]
    for label in labels:
        if not isinstance(label, str) or "__" in label or not label or label in ("label", "bases"):
            expected = "a word without a double underscore, and neither 'label' nor 'bases'"
            raise ValueError(f"`label` must be {expected}; got {label!r}.")
    if len(set(labels)) < len(labels):
        raise ValueError(f"the labels of the parts must differ; got {', '.join(map(repr, labels))}.")


def require_grid_memory(lengths, n_functions):
    """Raise if the functions on a grid of several inputs need more than `MAX_GRID_BYTES`."""
    n_bytes = 8 * math.prod(lengths) * n_functions
    if n_bytes > MAX_GRID_BYTES:
        came = (
            f"{n_functions} functions on a grid of {' x '.join(map(str, lengths))} points take {n_bytes / 1e9:.3g} GB"
        )
        fix = "Evaluate one part at a time, basis[0].evaluate_on_grid(), or take fewer `n_samples`."
        raise ValueError(f"{came}, more than {MAX_GRID_BYTES / 1e9:g}. {fix}")


def warn_large_offset(name, mean, sd):
    """Warn if a factor of a product has a mean so large that round-off hides its variation: products cannot be centred."""
    dtype = jnp.result_type(float)
    # squares of a factor beyond this limit look constant
    far = (np.abs(mean) * jnp.finfo(dtype).eps ** 0.5 > 0.15 * sd) & (sd > 0)
    if far.any():
        distance = f"{(np.abs(mean[far]) / sd[far]).max():.1g} standard deviations from 0"
        came = f"part {name!r} of a product lies {distance}, and its products are rounded to {dtype}"
        fix = "Subtract its mean before it is multiplied, and add the other part to the sum."
        warn_user(f"{came}: fits take long and lose digits. {fix}")


def require_all_columns(widths, got):
    """Raise unless X has as many columns as all inputs together."""
    if sum(widths) != got:
        expected = f"{sum(widths)} columns, {', '.join(map(str, widths))} for the inputs of this basis in their order"
        fix = "If an input has several columns, say so: `set_input_shape`."
        raise ValueError(f"X must have {expected}; got {got}. {fix}")
