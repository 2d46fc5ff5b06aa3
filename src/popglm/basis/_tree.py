"""Trees of bases: sums and products, their functions on a grid, and features split by input.

The leaves of a tree are `Conv` and `Eval`, each with one input. Its nodes are `Sum` and `Product`. Every basis computes
features (`_features`), evaluates its functions on a grid, and splits features or coefficients by the inputs they belong to.
"""

from abc import abstractmethod
from copy import deepcopy
from functools import reduce
from itertools import chain, islice
from math import prod
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import clone

from popglm._checks.arrays import as_real_array
from popglm._checks.index import require_axis
from popglm._checks.values import as_positive_integer
from popglm._design.terms import ProductTerm, SumTerm
from popglm._pynapple import as_frame, column_metadata, select_columns
from popglm._types import FeatureArray
from popglm.basis._checks import (
    require_basis,
    require_basis_labels,
    require_grid_memory,
    warn_large_offset,
)
from popglm.basis._features import OUTPUT_CONFIG_ATTRIBUTE, FeatureColumns, Transformer


class Basis(Transformer):
    """Base class of all bases: functions of one or several inputs, as features of a GLM."""

    label: str | None = None

    @abstractmethod
    def _grid(self, n_samples):
        """Return one axis for each input, and the functions on the grid of all axes, of shape (*lengths, functions)."""

    def __add__(self, other: "Basis") -> "Sum":
        """Set the features of this basis and of another side by side; each basis has its own input."""
        return Sum(self, other)

    def __mul__(self, other: "Basis") -> "Product":
        """Multiply every feature of this basis by every feature of another; each basis has its own input."""
        return Product(self, other)

    def evaluate_on_grid(self, n_samples: int = 100) -> tuple[np.ndarray, ...]:
        """Evaluate the functions of this basis at all lags in bins, or at even steps over the values of a variable.

        Parameters
        ----------
        n_samples : int
            Number of values of every variable. Convolutions ignore it: they return every lag.

        Returns
        -------
        *axes : numpy.ndarray
            One axis for each input. For a convolution all lags in bins, ascending: from 1 to W for the past. For an
            evaluation even steps over the bounds, or over [0, 1] if there are no bounds yet. For categories each of them.
        functions : numpy.ndarray, shape (*lengths of the axes, n_basis_funcs)

        Raises
        ------
        ValueError
            If the functions of several inputs on the grid of all axes take more than 1 GB.

        Examples
        --------
        >>> from popglm.basis import BSplineEval, RaisedCosineLogConv
        >>> lags, functions = RaisedCosineLogConv(5, window_size=40).evaluate_on_grid()
        >>> lags[0], lags[-1], functions.shape
        (np.float64(1.0), np.float64(40.0), (40, 5))
        >>> x, speed, functions = (BSplineEval(6) * BSplineEval(4)).evaluate_on_grid(50)
        >>> functions.shape
        (50, 50, 24)
        """
        n_samples = as_positive_integer("n_samples", n_samples)
        if len(self._leaves) > 1:
            lengths = [len(axis) for leaf in self._leaves for axis in leaf._grid(n_samples)[0]]
            require_grid_memory(lengths, self._n_functions)
        axes, functions = self._grid(n_samples)
        return (*axes, functions)

    @property
    @abstractmethod
    def _n_functions(self) -> int:
        """Number of functions: the columns of `shape`, added or multiplied over the bases."""

    @abstractmethod
    def split_by_feature(self, x: FeatureArray, axis: int = 1) -> dict[Any, Any]:
        """Split features or coefficients by the inputs they belong to."""

    @abstractmethod
    def _split(self, x, axis, widths):
        """Split x; the iterator `widths` yields the number of input columns of each leaf."""


class Node(Basis):
    """Several bases combined by an operator. A node keeps copies of its bases, since each basis learns from its own input."""

    _operator = ""

    def __init__(self, *bases: Basis, label: str | None = None) -> None:
        if not bases:
            raise ValueError(f"a {type(self).__name__} needs at least one basis; got none.")
        for basis in bases:
            require_basis(basis, Basis, self._operator)
        unpack = lambda b: b.bases if type(b) is type(self) and b.label is None else (b,)  # type: ignore[has-type]
        self.bases = tuple(deepcopy(part) for basis in bases for part in unpack(basis))
        self.label = label

    @property
    def _leaves(self):
        return [leaf for basis in self.bases for leaf in basis._leaves]

    @property
    def _names(self):
        """Labels of the bases; a basis without a label has its number."""
        require_basis_labels(self.bases)
        return [i if basis.label is None else basis.label for i, basis in enumerate(self.bases)]

    @property
    def n_basis_funcs(self) -> int:
        """Number of features if every input has one column."""
        return self._n_functions

    def __repr__(self) -> str:
        """Write the bases with the operator between them."""
        wrapped = (f"({basis!r})" if isinstance(basis, Node) else repr(basis) for basis in self.bases)
        return f" {self._operator} ".join(wrapped)

    def _repr_mimebundle_(self, **kwargs):
        """Show text in notebooks, too."""
        return {"text/plain": repr(self)}

    def __getitem__(self, key: str | int) -> Basis:
        """Return the basis with this label or number."""
        names = self._names
        if key in names:
            return self.bases[names.index(key)]
        if isinstance(key, Integral) and not isinstance(key, bool) and -len(names) <= key < len(names):
            return self.bases[key]
        raise KeyError(f"the parts of this basis are {', '.join(map(repr, names))}; got {key!r}.")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the bases by label, or as basis1, basis2, ...; if `deep`, also their settings: basis1__n_basis_funcs."""
        names = [name if isinstance(name, str) else f"basis{name + 1}" for name in self._names]
        params = {"label": self.label} | dict(zip(names, self.bases, strict=True))
        for name, basis in zip(names, self.bases, strict=True) if deep else ():
            params |= {f"{name}__{key}": value for key, value in basis.get_params().items()}
        return params

    def _get_param_names(self):
        return [*self.get_params(deep=False)]

    def set_params(self, **params: Any) -> Self:
        """Set parameters by the names that `get_params` returns."""
        parts = [name for name in self.get_params(deep=False) if name != "label"]
        new = [params.pop(name, basis) for name, basis in zip(parts, self.bases, strict=True)]
        for basis in new:
            require_basis(basis, Basis, self._operator)
        self.bases = tuple(new)
        super().set_params(**params)
        require_basis_labels(self.bases)
        return self

    def __sklearn_clone__(self) -> Self:
        """Combine clones of the bases; the input shape that the user set is kept."""
        other = type(self)(*self.bases, label=self.label)
        # the constructor flattens a sum inside a sum; one that `set_params` put there stays as it is
        other.bases = tuple(map(clone, self.bases))
        if hasattr(self, OUTPUT_CONFIG_ATTRIBUTE):  # scikit-learn's clone keeps it
            setattr(other, OUTPUT_CONFIG_ATTRIBUTE, getattr(self, OUTPUT_CONFIG_ATTRIBUTE))
        return other.set_input_shape(*self._input_shape) if hasattr(self, "_input_shape") else other


class Sum(Node):
    """Several bases side by side: ``(a + b).compute_features(x, z)`` has all features of x, then of z.

    Parameters
    ----------
    *bases
        The bases to add. The sum keeps copies: ``basis["speed"]`` or ``basis[1]`` is one of them. A sum inside a sum is
        flattened, unless it has a label.
    label : str
        Name of the sum inside other bases.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import RaisedCosineLinearEval, RaisedCosineLogConv
    >>> counts, speed = np.zeros((500, 3)), np.linspace(0, 30, 500)
    >>> history = RaisedCosineLogConv(5, window_size=40, label="history")
    >>> basis = history + RaisedCosineLinearEval(4, label="speed")
    >>> X = basis.lazy_features(counts, speed)
    >>> X.shape
    (500, 19)
    >>> parts = basis.split_by_feature(np.zeros(19), axis=0)  # coefficients of one neuron
    >>> {name: list(part) for name, part in parts.items()}
    {'history': [0, 1, 2], 'speed': [0]}
    """

    _operator = "+"

    def _term(self, frames):
        return SumTerm(tuple(basis._term(frames) for basis in self.bases))

    def _columns(self, units):
        parts = [basis._columns(units) for basis in self.bases]
        names = [f"{name}/{column}" for name, part in zip(self._names, parts, strict=True) for column in part.names]
        terms = [name for name, part in zip(self._names, parts, strict=True) for _ in part.names]
        inputs, functions, cyclic = (
            list(chain.from_iterable(getattr(part, kind) for part in parts))
            for kind in ("inputs", "functions", "cyclic")
        )
        return FeatureColumns(names, inputs, functions, cyclic, terms)

    def _grid(self, n_samples):
        axes, parts = _expand_to_mesh([basis._grid(n_samples) for basis in self.bases])
        return axes, np.concatenate(parts, -1)

    @property
    def _n_functions(self):
        return sum(basis._n_functions for basis in self.bases)

    def split_by_feature(self, x: FeatureArray, axis: int = 1) -> dict[Any, Any]:
        """Split features or coefficients by the bases of the sum, then by the inputs of each basis.

        Parameters
        ----------
        x
            Features from `compute_features`, or coefficients with ``axis=0``.
        axis
            The axis of all features.

        Returns
        -------
        dict
            The result of `split_by_feature` of every basis, by its label, or by its number if it has none.

        Raises
        ------
        ValueError
            If the axis has another length, or this basis has not seen its inputs yet.
        """
        return self._split(x, axis, self._input_widths())

    def _split(self, x, axis, widths):
        own = [list(islice(widths, len(basis._leaves))) for basis in self.bases]
        n_features = [len(basis._columns(map(range, n)).names) for basis, n in zip(self.bases, own, strict=True)]
        shape = np.shape(as_frame(x).values)
        require_axis(shape, axis, sum(n_features))
        edges = np.cumsum((0, *n_features))
        select = lambda rows: select_columns(x, rows) if axis % len(shape) else np.asarray(x)[rows]
        parts = map(select, map(slice, edges[:-1], edges[1:]))
        each = zip(self._names, self.bases, parts, own, strict=True)
        return {name: basis._split(part, axis, iter(widths)) for name, basis, part, widths in each}


class Product(Node):
    r"""Several bases multiplied: every feature of the first times every feature of the second, in each bin.

    .. math:: X_{t,(i,j)} = A_{ti}\, B_{tj}, \qquad \text{column } (i, j) = i \cdot n_B + j.

    The features of the last basis run fastest. A product of evaluations is a tensor basis: functions of several variables.
    A product of a convolution and an evaluation makes the effect of the past depend on the present, such as a history gated by
    a category; the category is that of the current bin, not of the bin of the past event. Subtract the mean of a variable
    that lies far from 0 before you multiply it, since products cannot be centred afterwards: above about 400 standard
    deviations (in 32 bits) a warning says so.

    Parameters
    ----------
    *bases
        The bases to multiply. The product keeps copies. A product inside a product is flattened, unless it has a label.
    label : str
        Name of the product inside other bases.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import BSplineEval
    >>> place = BSplineEval(8, bounds=(0, 100)) * BSplineEval(5, bounds=(0, 50))
    >>> X = place.compute_features(np.linspace(0, 100, 200), np.linspace(0, 50, 200))
    >>> X.shape, bool(np.allclose(X.sum(1), 1))
    ((200, 40), True)
    """

    _operator = "*"

    def _term(self, frames):
        terms = tuple(basis._term(frames) for basis in self.bases)
        for i, term in enumerate(terms):
            warn_large_offset(self.bases[i].label or i, *term.column_mean_sd())
        return ProductTerm(terms)

    def _columns(self, units):
        parts = [basis._columns(units) for basis in self.bases]
        names, functions, cyclic = (
            [getattr(part, kind) for part in parts] for kind in ("names", "functions", "cyclic")
        )
        inputs = [
            p.inputs if p.terms is None else [f"{t}/{i}" for t, i in zip(p.terms, p.inputs, strict=True)] for p in parts
        ]
        cross = lambda lists: reduce(lambda a, b: [f"{i}*{j}" for i in a for j in b], lists)
        return FeatureColumns(cross(names), cross(inputs), cross(functions), cross(cyclic))

    def _grid(self, n_samples):
        axes, parts = _expand_to_mesh([basis._grid(n_samples) for basis in self.bases])
        times = lambda a, b: (a[..., :, None] * b[..., None, :]).reshape(*a.shape[:-1], -1)
        return axes, reduce(times, parts)

    @property
    def _n_functions(self):
        return prod(basis._n_functions for basis in self.bases)

    def split_by_feature(self, x: FeatureArray, axis: int = 1) -> dict[Any, Any]:
        """Split features or coefficients by combinations of input columns, one column of each input.

        Parameters
        ----------
        x
            Features from `compute_features`, or coefficients with ``axis=0``.
        axis
            The axis of all features.

        Returns
        -------
        dict
            For every combination of columns, named "a*b", an array with the products of their functions along `axis`;
            the functions of the last input run fastest. If x is a TsdFrame of features, columns have their names in
            pynapple, else 0, 1, ...

        Raises
        ------
        ValueError
            If the axis has another length, or this basis has not seen its inputs yet.
        """
        return self._split(x, axis, self._input_widths())

    def _split(self, x, axis, widths):
        values = as_real_array("x", as_frame(x).values, (1, 2))
        inputs = self._columns(map(range, widths)).inputs
        require_axis(values.shape, axis, len(inputs))
        names = column_metadata(x, "input") if values.ndim == 2 and axis % 2 == 1 else None
        inputs = np.asarray(inputs if names is None else names)
        return {str(key): np.compress(inputs == key, values, axis) for key in dict.fromkeys(inputs.tolist())}


def _expand_to_mesh(grids):
    """Return all axes, and the functions of each basis broadcast to the grid of all axes."""
    axes = [axis for own, _ in grids for axis in own]
    lengths, before, parts = [len(axis) for axis in axes], 0, []
    for own, functions in grids:
        after = len(axes) - before - len(own)
        shape = (*(1,) * before, *functions.shape[:-1], *(1,) * after, functions.shape[-1])
        parts.append(np.broadcast_to(functions.reshape(shape), (*lengths, functions.shape[-1])))
        before += len(own)
    return axes, parts
