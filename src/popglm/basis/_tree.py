"""Bases side by side (`+`) and multiplied (`*`), their functions on a grid, features split again.

A basis is a tree. Its leaves, each with an input of its own, are `Conv` and `Eval`; its nodes are `Sum` and `Product`. Every
one makes features (`_transformer`), and knows its functions on a grid.
"""

from abc import abstractmethod
from copy import deepcopy
from functools import reduce
from itertools import chain, islice
from math import prod

import numpy as np
from sklearn.base import clone

from popglm._checks.arrays import as_real_array
from popglm._checks.index import require_feature_axis
from popglm._checks.values import as_positive_integer
from popglm._design.terms import ProductTerm, SumTerm
from popglm._pynapple import as_frame, column_metadata, select_columns
from popglm.basis._checks import (
    as_part_position,
    require_any_basis,
    require_basis,
    require_basis_labels,
    require_grid_memory,
    warn_large_offset,
)
from popglm.basis._features import OUTPUT_CONFIG_ATTRIBUTE, FeatureColumns, Transformer


class Basis(Transformer):
    """Functions of inputs, as features of a GLM."""

    label = None

    @abstractmethod
    def _grid(self, n_samples):
        """An axis for each input, and the functions on all of them, of shape (*lengths, functions)."""

    def __add__(self, other):
        """Features of this basis and of another, each of an input of its own, side by side."""
        return Sum(self, other)

    def __mul__(self, other):
        """Every feature of this basis times every feature of another, each of an input of its own."""
        return Product(self, other)

    def evaluate_on_grid(self, n_samples=100):
        """The functions of this basis where they live: lags in bins, or values of a variable.

        Parameters
        ----------
        n_samples : int
            How many values of every variable. The lags of a convolution are what they are.

        Returns
        -------
        *axes : numpy.ndarray
            Of a convolution all lags in bins, ascending: from 1 to W for the past. Of an evaluation even steps over the
            bounds, or from 0 to 1 as long as there are none; of categories each of them. One axis for each input.
        functions : numpy.ndarray, shape (*lengths of the axes, n_basis_funcs)

        Raises
        ------
        ValueError
            If the functions of several inputs on all of their axes take more than 1 GB.

        Examples
        --------
        >>> from popglm.basis import BSplineEval, RaisedCosineLogConv
        >>> lags, functions = RaisedCosineLogConv(5, window_size=40).evaluate_on_grid()
        >>> lags[0], lags[-1], functions.shape
        (np.int64(1), np.int64(40), (40, 5))
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
        """Number of functions, as counted in the shape."""

    @abstractmethod
    def split_by_feature(self, x, axis=1):
        """Split features or coefficients by what they belong to."""

    @abstractmethod
    def _split(self, x, axis, widths):
        """Do that; an iterator hands out the number of columns of each leaf's input."""


class Node(Basis):
    """Several bases in one, each with its own input or inputs. Copies of them, since each learns from its own input."""

    _what, _sign, _verb = "", "", ""

    def __init__(self, *bases, label=None):
        require_any_basis(bases, self._what)
        for basis in bases:
            require_basis(basis, Basis, self._verb)
        unpack = lambda b: b.bases if type(b) is type(self) and b.label is None else (b,)
        self.bases = tuple(deepcopy(part) for basis in bases for part in unpack(basis))
        self.label = label

    @property
    def _leaves(self):
        return [leaf for basis in self.bases for leaf in basis._leaves]

    @property
    def _names(self):
        """Labels of the bases; where one has none, its number."""
        require_basis_labels([basis.label for basis in self.bases if basis.label is not None])
        return [i if basis.label is None else basis.label for i, basis in enumerate(self.bases)]

    @property
    def n_basis_funcs(self) -> int:
        """Number of features, where every input has one column."""
        return self._n_functions

    def __repr__(self):
        """The bases with a sign between them."""
        wrapped = (f"({basis!r})" if isinstance(basis, Node) else repr(basis) for basis in self.bases)
        return self._sign.join(wrapped)

    def _repr_mimebundle_(self, **kwargs):
        """As text, in notebooks too."""
        return {"text/plain": repr(self)}

    def __getitem__(self, key):
        """The basis with this label, or this number."""
        return self.bases[as_part_position(key, self._names)]

    def get_params(self, deep=True):
        """The bases by their labels, or as basis1, basis2, ...; if `deep`, their settings too: basis1__n_basis_funcs."""
        names = [name if isinstance(name, str) else f"basis{name + 1}" for name in self._names]
        params = {"label": self.label} | dict(zip(names, self.bases, strict=True))
        for name, basis in zip(names, self.bases, strict=True) if deep else ():
            params |= {f"{name}__{key}": value for key, value in basis.get_params().items()}
        return params

    def _get_param_names(self):
        return [*self.get_params(deep=False)]

    def set_params(self, **params):
        """Set what `get_params` gives."""
        parts = [name for name in self.get_params(deep=False) if name != "label"]
        new = [params.pop(name, basis) for name, basis in zip(parts, self.bases, strict=True)]
        for basis in new:
            require_basis(basis, Basis, self._verb)
        self.bases = tuple(new)
        super().set_params(**params)
        require_basis_labels([basis.label for basis in self.bases if basis.label is not None])
        return self

    def __sklearn_clone__(self):
        """The same of clones. What was said about the inputs is kept."""
        other = type(self)(*self.bases, label=self.label)
        other.bases = tuple(map(clone, self.bases))  # as they stand: a sum that was set is not taken apart
        if hasattr(self, OUTPUT_CONFIG_ATTRIBUTE):  # what scikit-learn's own clone keeps
            setattr(other, OUTPUT_CONFIG_ATTRIBUTE, getattr(self, OUTPUT_CONFIG_ATTRIBUTE))
        return other.set_input_shape(*self._input_shape) if hasattr(self, "_input_shape") else other


class Sum(Node):
    """Several bases side by side: ``(a + b).compute_features(x, z)`` has all features of x, then of z.

    Parameters
    ----------
    *bases
        Bases, of which it keeps copies: ``basis["speed"]`` or ``basis[1]`` is one of them. A sum inside a sum is taken
        apart, unless it has a label.
    label : str
        Its name inside of other bases.

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
    >>> parts = basis.split_by_feature(np.zeros(19), axis=0)  # of the coefficients of one neuron
    >>> {name: list(part) for name, part in parts.items()}
    {'history': [0, 1, 2], 'speed': [0]}
    """

    _what, _sign, _verb = "sum", " + ", "added to"

    def _term(self, frames):
        return SumTerm(tuple(basis._term(frames) for basis in self.bases))

    def _columns(self, units):
        parts = [basis._columns(units) for basis in self.bases]
        names = [f"{name}/{column}" for name, part in zip(self._names, parts, strict=True) for column in part.names]
        terms = [name for name, part in zip(self._names, parts, strict=True) for _ in part.names]
        joined = lambda lists: list(chain.from_iterable(lists))
        return FeatureColumns(names, joined(p.inputs for p in parts), joined(p.functions for p in parts), terms)

    def _grid(self, n_samples):
        axes, parts = _expand_to_mesh([basis._grid(n_samples) for basis in self.bases])
        return axes, np.concatenate(parts, -1)

    @property
    def _n_functions(self):
        return sum(basis._n_functions for basis in self.bases)

    def split_by_feature(self, x, axis=1):
        """Split features, or coefficients, by the bases of the sum, and each further as its basis does.

        Parameters
        ----------
        x
            Features from `compute_features`, or coefficients with ``axis=0``.
        axis
            The axis of all features.

        Returns
        -------
        dict
            For every basis, by its label (its number where it has none), what its own `split_by_feature` gives.

        Raises
        ------
        ValueError
            If the axis has another length, or this basis has not seen its inputs yet.
        """
        return self._split(x, axis, self._known())

    def _split(self, x, axis, widths):
        own = [list(islice(widths, len(basis._leaves))) for basis in self.bases]
        n_features = [len(basis._columns(map(range, some)).names) for basis, some in zip(self.bases, own, strict=True)]
        shape = np.shape(as_frame(x).values)
        require_feature_axis(shape, axis, sum(n_features))
        edges = np.cumsum((0, *n_features))
        part = lambda some: select_columns(x, some) if axis % len(shape) else np.asarray(x)[some]
        parts = map(part, map(slice, edges[:-1], edges[1:]))
        each = zip(self._names, self.bases, parts, own, strict=True)
        return {name: basis._split(some, axis, iter(widths)) for name, basis, some, widths in each}


class Product(Node):
    r"""Several bases multiplied: every feature of the first times every feature of the second, in each bin.

    .. math:: X_{t,(i,j)} = A_{ti}\, B_{tj}, \qquad \text{column } (i, j) = i \cdot n_B + j.

    The features of the last basis run fastest. With evaluations this is a tensor basis, a function of several variables;
    with a convolution, features of the past that depend on the present: history gated by a category, whose value is that of
    the bin itself and not of the event in the past. A variable that lies far from 0 must lose its mean before it is multiplied,
    since nothing can take it from the products: from some 400 standard deviations on (in 32 bits) a warning says so.

    Parameters
    ----------
    *bases
        Bases, of which it keeps copies. A product inside a product is taken apart, unless it has a label.
    label : str
        Its name inside of other bases.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.basis import BSplineEval
    >>> place = BSplineEval(8, bounds=(0, 100)) * BSplineEval(5, bounds=(0, 50))
    >>> X = place.compute_features(np.linspace(0, 100, 200), np.linspace(0, 50, 200))
    >>> X.shape, bool(np.allclose(X.sum(1), 1))
    ((200, 40), True)
    """

    _what, _sign, _verb = "product", " * ", "multiplied with"

    def _term(self, frames):
        terms = tuple(basis._term(frames) for basis in self.bases)
        for i, term in enumerate(terms):
            warn_large_offset(self.bases[i].label or i, *term.column_mean_sd())
        return ProductTerm(terms)

    def _columns(self, units):
        parts = [basis._columns(units) for basis in self.bases]
        names, functions = ([getattr(part, kind) for part in parts] for kind in ("names", "functions"))
        inputs = [
            p.inputs if p.terms is None else [f"{t}/{i}" for t, i in zip(p.terms, p.inputs, strict=True)] for p in parts
        ]
        cross = lambda lists: reduce(lambda a, b: [f"{i}*{j}" for i in a for j in b], lists)
        return FeatureColumns(cross(names), cross(inputs), cross(functions))

    def _grid(self, n_samples):
        axes, parts = _expand_to_mesh([basis._grid(n_samples) for basis in self.bases])
        times = lambda a, b: (a[..., :, None] * b[..., None, :]).reshape(*a.shape[:-1], -1)
        return axes, reduce(times, parts)

    @property
    def _n_functions(self):
        return prod(basis._n_functions for basis in self.bases)

    def split_by_feature(self, x, axis=1):
        """Split features, or coefficients, by the columns of the inputs whose functions they multiply.

        Parameters
        ----------
        x
            Features from `compute_features`, or coefficients with ``axis=0``.
        axis
            The axis of all features.

        Returns
        -------
        dict
            For every combination of columns, one of each input, named as "a*b", an array with the products of their
            functions along `axis`, the functions of the last input running fastest. Names of columns are those of
            pynapple where x is a TsdFrame of features, else 0, 1, ...

        Raises
        ------
        ValueError
            If the axis has another length, or this basis has not seen its inputs yet.
        """
        return self._split(x, axis, self._known())

    def _split(self, x, axis, widths):
        values = as_real_array("x", as_frame(x).values, (1, 2))
        inputs = self._columns(map(range, widths)).inputs
        require_feature_axis(values.shape, axis, len(inputs))
        named = column_metadata(x, "input") if values.ndim == 2 and axis % 2 == 1 else None
        inputs = np.asarray(inputs if named is None else named)
        return {str(key): np.compress(inputs == key, values, axis) for key in dict.fromkeys(inputs.tolist())}


def _expand_to_mesh(grids):
    """All axes, and the functions of each on all of them."""
    axes = [axis for some, _ in grids for axis in some]
    lengths, before, parts = [len(axis) for axis in axes], 0, []
    for some, functions in grids:
        after = len(axes) - before - len(some)
        shape = (*(1,) * before, *functions.shape[:-1], *(1,) * after, functions.shape[-1])
        parts.append(np.broadcast_to(functions.reshape(shape), (*lengths, functions.shape[-1])))
        before += len(some)
    return axes, parts
