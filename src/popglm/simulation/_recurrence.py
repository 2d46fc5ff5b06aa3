"""A fitted model taken apart for a simulation: what activity adds to later bins, and what inputs add that are known before."""

from itertools import chain, compress, pairwise

import numpy as np

from popglm._checks.models import require_estimator, require_fitted
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows
from popglm._design.total import collect_entries
from popglm._sums.scores import linear_predictor_rows
from popglm.basis import Conv
from popglm.basis._tree import Basis, Sum
from popglm.glm._access import core_params, model_with_dispersion
from popglm.glm._model import Model
from popglm.simulation._checks import (
    as_simulation_inputs,
    require_basis_features,
    require_causal_kernel,
    require_model_basis,
    require_recurrent,
)
from popglm.simulation._rollout import Recurrence


def decompose_predictor(coef, intercept, basis, inputs, model_name):
    """How activity acts on later bins, the linear predictor without it (time, neurons) or None, and the inputs' time axis.

    `coef` is (neurons, features); an input that is None is the activity.
    """
    require_model_basis(basis, Basis)
    n, terms = len(intercept), list(_flatten_sum(basis))
    rest = iter(as_simulation_inputs(inputs, len(basis._leaves)))
    given = [[next(rest) for _ in term._leaves] for term in terms]
    drawn = [any(x is None for x in some) for some in given]
    for term in compress(terms, drawn):
        require_recurrent(term, Conv)
        require_causal_kernel(term)
    known = [not is_drawn for is_drawn in drawn]
    X, widths = _input_features(compress(terms, known), compress(given, known))
    widths = [n * t.kernel.shape[1] if own else next(widths) for t, own in zip(terms, drawn, strict=True)]
    require_basis_features(coef.shape[1], sum(widths), model_name)
    edges = np.cumsum((0, *widths))
    weights = [coef[:, a:b] for a, b in pairwise(edges)]
    recurrence = _join_recurrences([t.kernel for t in compress(terms, drawn)], list(compress(weights, drawn)), n)
    if X is None:
        return recurrence, None, None
    external = np.concatenate(list(compress(weights, known)), 1)
    rows = as_design_rows(X)
    design = Design(rows)
    eta = rows.gather(collect_entries(linear_predictor_rows, design, n, external, intercept))
    return recurrence, eta, X.frame


def _flatten_sum(basis):
    """What stands side by side in a sum, however it is nested."""
    if isinstance(basis, Sum):
        for part in basis.bases:
            yield from _flatten_sum(part)
    else:
        yield basis


def _input_features(terms, inputs):
    """Lazy features of terms whose inputs are known, None if there are no terms; and how many each has."""
    terms = list(terms)
    if not terms:
        return None, iter(())
    side = Sum(*terms)
    for part in side.bases:
        part.label = None  # they need differ inside of their own sums only
    X = side.lazy_features(*chain.from_iterable(inputs))
    units = map(range, side._input_widths())
    return X, iter([len(part._columns(units).names) for part in side.bases])


def _join_recurrences(kernels, weights, n):
    """Several bases of the activity as one, over the longest window."""
    window = max(map(len, kernels))
    kernel = np.concatenate([np.pad(k, ((0, window - len(k)), (0, 0))) for k in kernels], 1)
    coef = [np.asarray(w, float).reshape(n, n, -1) for w in weights]  # receiver, sender, function
    return Recurrence(kernel, np.concatenate(coef, 2).transpose(1, 2, 0))


def decompose_model(model, basis, inputs):
    """The observation model with its scale, the recurrence, and the predictor of inputs with its time axis."""
    require_estimator(model, Model)
    require_fitted(model)
    known = model_with_dispersion(model, "a simulation")
    return known, *decompose_predictor(*core_params(model), basis, inputs, type(model).__name__)
