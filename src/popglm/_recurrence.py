"""A fitted model taken apart for a simulation: what activity adds to later bins, and what inputs add that are known before."""

from itertools import chain, compress, pairwise

import numpy as np

from popglm import _check_bases, _check_simulation, _data, _design, _objective
from popglm._basis import Basis, Sum
from popglm._conv import Conv
from popglm._rollout import Recurrence


def parts(coef, intercept, basis, inputs, model_name):
    """How activity acts on later bins, the linear predictor without it (time, neurons) or None, and the inputs' time axis.

    `coef` is (neurons, features); an input that is None is the activity.
    """
    _check_simulation.basis(basis, Basis)
    n, terms = len(intercept), list(_terms(basis))
    rest = iter(_check_simulation.inputs(inputs, len(basis._leaves)))
    given = [[next(rest) for _ in term._leaves] for term in terms]
    drawn = [any(x is None for x in some) for some in given]
    for term in compress(terms, drawn):
        _check_simulation.recurrent(term, Conv)
        _check_bases.convolution(term)
    known = [not is_drawn for is_drawn in drawn]
    X, widths = _features(compress(terms, known), compress(given, known))
    widths = [n * t.kernel.shape[1] if own else next(widths) for t, own in zip(terms, drawn, strict=True)]
    _check_simulation.features(coef.shape[1], sum(widths), model_name)
    edges = np.cumsum((0, *widths))
    weights = [coef[:, a:b] for a, b in pairwise(edges)]
    recurrence = _joined([t.kernel for t in compress(terms, drawn)], list(compress(weights, drawn)), n)
    if X is None:
        return recurrence, None, None
    external = np.concatenate(list(compress(weights, known)), 1)
    rows = _data.rows(X)
    design = _design.Design(rows)
    eta = rows.take(_design.entries(_objective.predictor_rows, design, n, external, intercept))
    return recurrence, eta, X.frame


def _terms(basis):
    """What stands side by side in a sum, however it is nested."""
    if isinstance(basis, Sum):
        for part in basis.bases:
            yield from _terms(part)
    else:
        yield basis


def _features(terms, inputs):
    """Lazy features of terms whose inputs are known, None if there are no terms; and how many each has."""
    terms = list(terms)
    if not terms:
        return None, iter(())
    side = Sum(*terms)
    for part in side.bases:
        part.label = None  # they need differ inside of their own sums only
    X = side.lazy_features(*chain.from_iterable(inputs))
    units = map(range, side._known())
    return X, iter([len(part._columns(units).names) for part in side.bases])


def _joined(kernels, weights, n):
    """Several bases of the activity as one, over the longest window."""
    window = max(map(len, kernels))
    kernel = np.concatenate([np.pad(k, ((0, window - len(k)), (0, 0))) for k in kernels], 1)
    coef = [np.asarray(w, float).reshape(n, n, -1) for w in weights]  # receiver, sender, function
    return Recurrence(kernel, np.concatenate(coef, 2).transpose(1, 2, 0))
