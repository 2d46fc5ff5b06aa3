"""Decomposition of a fitted model for a simulation: effect of the activity on later bins, and effect of known inputs."""

from itertools import chain, compress, pairwise

import numpy as np

from popglm._checks.models import require_estimator, require_fitted
from popglm._checks.names import require_same_names
from popglm._design.design import Design
from popglm._design.inputs import as_design_rows, as_row_values
from popglm._design.streams import read_rows
from popglm._design.total import collect_entries
from popglm._pynapple import as_frame
from popglm._sums.scores import linear_predictor_rows
from popglm.basis import Conv
from popglm.basis._tree import Basis, Sum
from popglm.glm._access import core_params, fitted_names, fitted_neuron_names, model_with_dispersion
from popglm.glm._model import Model
from popglm.simulation._checks import (
    as_simulation_inputs,
    require_causal_kernel,
)
from popglm.simulation._rollout import Recurrence


def decompose_predictor(coef, intercept, basis, inputs, model_name, names=None):
    """Recurrence, linear predictor without it (time, neurons), and time axis of the inputs; None for both without inputs.

    `coef` is (neurons, features), whose `names` are None if they are not known; None among the inputs stands for the activity.
    """
    if not isinstance(basis, Basis):
        expected = "the basis of the model's features"
        raise TypeError(f"`basis` must be {expected}; got {basis!r}. For example history + stimulus.")
    n, terms = len(intercept), list(_flatten_sum(basis))
    input_iterator = iter(as_simulation_inputs(inputs, len(basis._leaves)))
    inputs = [[next(input_iterator) for _ in term._leaves] for term in terms]
    recurrent = [any(x is None for x in term_inputs) for term_inputs in inputs]
    for term in compress(terms, recurrent):
        if not isinstance(term, Conv):
            raise ValueError(
                "the activity that is drawn must go into a convolution over the past, alone or in a sum; got None as an input "
                f"of {term!r}. Give that basis an input that is known beforehand."
            )
        require_causal_kernel(term)
    external = [not is_recurrent for is_recurrent in recurrent]
    X, widths = _input_features(compress(terms, external), compress(inputs, external))
    widths = [
        n * t.kernel.shape[1] if is_recurrent else next(widths)
        for t, is_recurrent in zip(terms, recurrent, strict=True)
    ]
    if sum(widths) != coef.shape[1]:
        raise ValueError(
            f"`basis` and `inputs` make {sum(widths)} features, and the {model_name} has {coef.shape[1]}. Give the basis of "
            "its fit, and inputs with as many columns."
        )
    edges = np.cumsum((0, *widths))
    weights = [coef[:, a:b] for a, b in pairwise(edges)]
    recurrence = _join_recurrences(
        [t.kernel for t in compress(terms, recurrent)], list(compress(weights, recurrent)), n
    )
    if X is None:
        return recurrence, None, None
    if names is not None:
        _require_same_inputs([names[a:b] for a, b in compress(pairwise(edges), external)], X)
    external = np.concatenate(list(compress(weights, external)), 1)
    rows = as_design_rows(X)
    design = Design(rows)
    eta = rows.gather(collect_entries(linear_predictor_rows, design, n, external, intercept))
    return recurrence, eta, X.frame


def _require_same_inputs(names, X):
    """Require that known inputs have the names that they had in the fit, whatever the bases are called in sums."""
    column = lambda name: str(name).split("/")[-1]
    came = None if X.frame.columns is None else list(map(column, X.frame.columns))
    require_same_names(
        list(map(column, chain.from_iterable(names))), came, "the names of `inputs` should match those of the fit"
    )


def _flatten_sum(basis):
    """Terms of a sum, from all levels of nesting."""
    if isinstance(basis, Sum):
        for part in basis.bases:
            yield from _flatten_sum(part)
    else:
        yield basis


def _input_features(terms, inputs):
    """Lazy features of terms with their inputs, None without terms; and the number of features of each."""
    terms = list(terms)
    if not terms:
        return None, iter(())
    side = Sum(*terms)
    for part in side.bases:
        # Labels need to differ within the original sums only.
        part.label = None
    X = side.lazy_features(*chain.from_iterable(inputs))
    units = map(range, side._input_widths())
    return X, iter([len(part._columns(units).names) for part in side.bases])


def _join_recurrences(kernels, weights, n):
    """Combine several bases of the activity into one, over the longest window."""
    window = max(map(len, kernels))
    kernel = np.concatenate([np.pad(k, ((0, window - len(k)), (0, 0))) for k in kernels], 1)
    coef = [np.asarray(w, float).reshape(n, n, -1) for w in weights]  # receiver, sender, function
    return Recurrence(kernel=kernel, coef=np.concatenate(coef, 2).transpose(1, 2, 0))


def as_drive(model, offset, eta, frame):
    """Linear predictor `eta` (time, neurons) plus the offset of its rows, and the offset as such an array, or None."""
    if offset is None:
        return eta, None
    frame = (as_frame(eta) if frame is None else frame)._replace(values=eta)
    offset = as_row_values("offset", offset, {"the simulation": frame}, eta.shape[1], fitted_neuron_names(model))
    offset = np.broadcast_to(read_rows(offset, 0, len(eta)), eta.shape).astype(float)
    return eta + offset, offset


def decompose_model(model, basis, inputs):
    """Observation model with its dispersion; recurrence, linear predictor without it and time axis by `decompose_predictor`."""
    require_estimator(model, Model)
    require_fitted(model)
    observation_model = model_with_dispersion(model, "a simulation")
    names = fitted_names(model).features
    return observation_model, *decompose_predictor(*core_params(model), basis, inputs, type(model).__name__, names)  # type: ignore[call-arg]
