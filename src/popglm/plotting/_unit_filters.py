"""Figure of all filters of one unit: a panel for each input of its model."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from popglm._checks.models import require_estimator, require_fitted
from popglm._design.feature_names import FeatureNames
from popglm.basis import CategoryEval, Conv, Eval, Product, Sum
from popglm.glm._access import core_params, fitted_names, is_single
from popglm.glm._model import Model
from popglm.plotting._axes import as_panels, draw_categories, draw_curves
from popglm.plotting._checks import require_errors, select_panels, unit_number
from popglm.plotting._filters import filters

GRID = 101  # points of a curve
N_COLUMNS = 3  # of panels in a new figure


class Panel(NamedTuple):
    """One input of a model: its term and title, its basis, and the numbers of its features."""

    term: Any
    title: str
    basis: Any
    features: np.ndarray


class Curves(NamedTuple):
    """Functions along one variable, shape (curves, points, functions), with a curve for each category of the others."""

    x: np.ndarray
    functions: np.ndarray
    labels: list | None
    is_lag: bool


def unit_filters(
    model: Any,
    basis: Any,
    errors: Any = None,
    unit: Any = None,
    axes: Any = None,
    *,
    bin_size: float | None = None,
    inputs: Sequence | None = None,
) -> Any:
    r"""Draw all filters of a unit as gains, a panel for each input: filters against the lag, curves against the value.

    A curve over values is about its mean, which the intercept has: with the functions :math:`b_k`, the gain is

    .. math:: \exp\Bigl(\sum_k [b_k(x) - \bar b_k]\, w_k\Bigr)

    Panels of one part of the model have one scale.

    Parameters
    ----------
    model
        A fitted `GLM` or `PopulationGLM`.
    basis
        The basis of its features, which has seen the inputs.
    errors
        Result of `inference.uncertainty`: draws pointwise 95 % bands.
    unit
        Name or number of the neuron; None for a `GLM`.
    axes
        Array or list of at least as many Axes as there are panels; None makes a new figure.
    bin_size
        Size of a bin in seconds; None takes that of the fit, or draws lags in bins if it is not known.
    inputs
        Labels of parts ("coupling"), or titles of panels ("coupling: 7"), to draw these only.

    Returns
    -------
    numpy.ndarray
        The Axes of the panels, shape (panels,).

    Raises
    ------
    ValueError
        If the basis is not that of the model, an input is not known, or there are more panels than one can read.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import basis, plotting
    >>> from popglm.glm import GLM
    >>> counts, speed = np.random.default_rng(0).poisson(0.2, 4000), np.linspace(0, 30, 4000)
    >>> design = basis.RaisedCosineLogConv(4, 20, label="history") + basis.BSplineEval(5, label="speed")
    >>> model = GLM(regularizer="Ridge", regularizer_strength=1e-3).fit(design.lazy_features(counts, speed), counts)
    >>> axes = plotting.unit_filters(model, design)
    >>> [ax.get_title() for ax in axes]
    ['history', 'speed']
    """
    require_estimator(model, Model)
    require_fitted(model)
    if not isinstance(basis, Conv | Eval | Product | Sum):
        raise TypeError(f"`basis` must be the basis of the features; got {type(basis).__name__}.")
    names = fitted_names(model)
    column = unit_number(unit, names.neurons, len(model.intercept_), is_single(model))
    coef = np.asarray(core_params(model)[0], float)[column]
    require_errors(errors, len(coef))
    panels = select_panels(_make_panels(basis, names.features, len(coef)), inputs)
    curves = [_make_curves(panel) for panel in panels]
    bands = [_make_bands(errors, panel, one, column) for panel, one in zip(panels, curves, strict=True)]
    axes = as_panels(axes, len(panels), N_COLUMNS)
    for ax, panel, one, band in zip(axes, panels, curves, bands, strict=True):
        weights = coef[panel.features]
        if one is None:
            _draw_surface(ax, panel, weights)
        else:
            _draw_gains(ax, panel, one, weights, band, names.bin_size if bin_size is None else bin_size)
        ax.set_title(panel.title)
    _share_scales(axes, panels, curves)
    return axes


def _make_panels(basis, names, n_features):
    """Panels of all inputs of a model, in the order of its features."""
    parts = list(_split(basis, basis.split_by_feature(np.arange(n_features), axis=0)))
    inputs = None if names is None else FeatureNames.of_features(None, names, n_features).input
    panels = []
    for path, part, key, features in parts:
        name = key if inputs is None else inputs[features[0]]
        alone = [other[0] for other in parts].count(path) == 1
        term = ", ".join(map(str, path))
        panels.append(Panel(term, term if path and alone else f"{term}: {name}" if path else str(name), part, features))
    return panels


def _split(basis, parts, path=()):
    """Yield the labels, the basis, the input and the features of each input of a sum."""
    for key, part in parts.items():
        if isinstance(basis, Sum):
            inner = basis[key]
            yield from _split(inner, part, (*path, key))
        else:
            yield path, basis, key, np.asarray(part)


def _make_curves(panel):
    """Functions of an input along its variable, one curve for each category that it is multiplied with; None for a map."""
    bases = panel.basis.bases if isinstance(panel.basis, Product) else (panel.basis,)
    lines = [i for i, part in enumerate(bases) if not isinstance(part, CategoryEval)] or [len(bases) - 1]
    if len(lines) > 2 or len(lines) == 2 < len(bases) or not all(isinstance(part, Conv | Eval) for part in bases):
        fix = "Leave it out: `inputs=` names the parts that are drawn."
        raise ValueError(f"an input must be of one variable, or of two, to be drawn; {panel.title!r} is more. {fix}")
    if len(lines) == 2:
        return None
    (line,) = lines
    *grid, functions = panel.basis.evaluate_on_grid(GRID)
    functions = np.moveaxis(functions, line, -2)
    functions = functions.reshape(-1, *functions.shape[-2:])
    others = [axis for i, axis in enumerate(grid) if i != line]
    labels = [", ".join(map(str, words)) for words in product(*others)] if others else None
    is_lag = isinstance(bases[line], Conv)
    return Curves(grid[line], functions if is_lag else functions - functions.mean(1, keepdims=True), labels, is_lag)


def _make_bands(errors, panel, curves, column):
    """Bands of the curves of an input, a pair of arrays (points, curves); None without errors."""
    if errors is None or curves is None:
        return None
    ends = errors.bands(curves.functions.reshape(-1, len(panel.features)), panel.features)
    shape = curves.functions.shape[:2]
    low, high = ((end if end.ndim == 1 else end[:, column]).reshape(shape).T for end in ends)
    return low, high


def _draw_gains(ax, panel, curves, coef, band, bin_size):
    """Draw the curves of an input as gains."""
    values = (curves.functions @ coef).T
    if curves.is_lag:
        filters(curves.x, values, band, ax, bin_size=bin_size, labels=curves.labels)
    elif isinstance(panel.basis, CategoryEval):
        draw_categories(ax, list(curves.x), np.exp(values), band if band is None else np.exp(band))
    else:
        ax.axhline(1, color=ax.xaxis.label.get_color(), lw=1, ls=":")
        draw_curves(ax, curves.x, np.exp(values), band if band is None else np.exp(band), curves.labels)
    ax.set(xlabel=ax.get_xlabel() or panel.term or "value", ylabel="gain (factor)")


def _draw_surface(ax, panel, coef):
    """Draw the gains of an input of two variables as colours."""
    x, y, functions = panel.basis.evaluate_on_grid(GRID)
    values = functions @ coef
    image = ax.pcolormesh(x, y, np.exp(values - values.mean()).T, shading="nearest", vmin=0)
    ax.figure.colorbar(image, cax=ax.inset_axes([1.04, 0, 0.06, 1]), label="gain (factor)")
    ax.set(
        xlabel=panel.basis.bases[0].label or "first variable", ylabel=panel.basis.bases[1].label or "second variable"
    )
    ax.grid(False)


def _share_scales(axes, panels, curves):
    """Give the panels of one term one scale, so that a large filter looks larger than a small one."""
    for term in {panel.term for panel, one in zip(panels, curves, strict=True) if one is not None}:
        same = [ax for ax, panel in zip(axes, panels, strict=True) if panel.term == term]
        low, high = np.transpose([ax.get_ylim() for ax in same])
        for ax in same:
            ax.set_ylim(low.min(), high.max())
