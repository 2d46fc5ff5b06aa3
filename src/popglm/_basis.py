"""What all bases share: features built or lazy, bases side by side (`+`) and multiplied (`*`), features split again.

A basis is a tree. Its leaves, each with an input of its own, are `Conv` and `Eval`; its nodes are `Sum` and `Product`. Every
one knows its term (how rows are made), its columns (what they are called), and its functions on a grid.
"""

from abc import ABC, abstractmethod
from copy import deepcopy
from functools import reduce
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone

from popglm import _check, _check_bases, _pynapple, _terms
from popglm._lazy import LazyFeatures


class Columns(NamedTuple):
    """What is known of every column: its name, the input and the function it is made of, and the part of a sum."""

    names: list
    inputs: list
    functions: list
    terms: list | None = None

    def metadata(self):
        """As pynapple keeps it."""
        known = {"input": self.inputs, "function": self.functions, "term": self.terms}
        return {key: _array(values) for key, values in known.items() if values is not None}


class Basis(TransformerMixin, BaseEstimator, ABC):
    """Functions of inputs, as features of a GLM."""

    label = None

    @property
    @abstractmethod
    def _leaves(self) -> list:
        """The bases with an input of their own, in the order of the inputs."""

    @abstractmethod
    def _term(self, frames):
        """How rows are made of inputs; an iterator hands out one frame for each leaf."""

    @abstractmethod
    def _columns(self, units) -> Columns:
        """What the columns are; an iterator hands out the names of the columns of each leaf's input."""

    @abstractmethod
    def _grid(self, n_samples):
        """An axis for each input, and the functions on all of them, of shape (*lengths, functions)."""

    def compute_features(self, *inputs):
        r"""Features of inputs: a convolution sees bins around each bin, an evaluation the values in it.

        Parameters
        ----------
        *inputs
            One for each basis of a sum or a product, in their order, one for a single basis. Each a Tsd, TsdFrame or array
            of shape (time,) or (time, columns), one row per bin; all on one time axis.

        Returns
        -------
        features
            Shape (time, features), input-major: all functions of the first column, then of the second; of a sum, the
            features of its bases side by side. A TsdFrame with columns named "input:function" if an input comes
            from pynapple, else a NumPy array. A row is NaN where one of its features is not known: its window is not
            complete (near the ends of each epoch) or holds a NaN, or a value is NaN or out of bounds.

        Raises
        ------
        ValueError
            If there are more or fewer inputs than bases, or their times differ; if every epoch is shorter than
            ``window_size + 1`` bins, bins are missing inside an epoch, or an input is infinite.
        TypeError
            If an input holds spike times instead of counts, or no real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.basis import BSplineEval, RaisedCosineLogConv
        >>> counts, speed = np.zeros((100, 3)), np.linspace(0, 30, 100)
        >>> history = RaisedCosineLogConv(5, window_size=40)
        >>> history.compute_features(counts).shape
        (100, 15)
        >>> (history + BSplineEval(6)).compute_features(counts, speed).shape
        (100, 21)
        """
        X = self.lazy_features(*inputs)
        return _pynapple.wrap(np.asarray(X), X.frame, X.columns, X.metadata)

    def lazy_features(self, *inputs):
        """Features as by `compute_features`, made one block at a time by whoever uses them, and never kept.

        Parameters
        ----------
        *inputs
            As for `compute_features`; or what is read when it is sliced: `LazyCounts`, or a data set in a file (HDF5,
            zarr, memmap).

        Returns
        -------
        LazyFeatures
            Looks like a matrix of shape (time, features) and keeps no more than the inputs. Accepted wherever X is.

        Raises
        ------
        ValueError, TypeError
            As `compute_features`.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.basis import RaisedCosineLogConv
        >>> from popglm.glm import PopulationGLM
        >>> counts = np.random.default_rng(0).poisson(0.1, (5000, 3))
        >>> X = RaisedCosineLogConv(5, window_size=40).lazy_features(counts)
        >>> PopulationGLM().fit(X, counts).coef_.shape
        (15, 3)
        """
        leaves = self._leaves
        _check_bases.one_each(len(leaves), inputs)
        frames = [leaf.look(x) for leaf, x in zip(leaves, inputs, strict=True)]
        timed = [i for i, frame in enumerate(frames) if frame.times is not None]
        clock = max(timed, key=lambda i: len(frames[i].epochs), default=0)  # whoever knows of most gaps
        for i, frame in enumerate(frames):
            if i != clock:
                _check.aligned(frames[clock], frame, f"input {clock}", f"input {i}")
        clock = frames[clock]
        timed = [f if f.times is not None else f._replace(times=clock.times, epochs=clock.epochs) for f in frames]
        term = self._term(iter(timed))
        columns = self._columns(
            list(range(leaf.n_inputs_) if f.columns is None else f.columns)
            for leaf, f in zip(leaves, frames, strict=True)
        )
        return LazyFeatures(term, clock._replace(values=None), columns.names, columns.metadata())

    # As a step of scikit-learn's pipelines

    def fit(self, X, y=None):
        """Learn the bounds, or the categories, of every input anew, whatever this basis has seen before.

        Parameters
        ----------
        X
            Shape (time, columns): the columns of every input, one each, or as many as `set_input_shape` said.
        y
            Not used.

        Returns
        -------
        self
        """
        for leaf, x in zip(self._leaves, self._inputs(X), strict=True):
            leaf.look(x, anew=True)
        return self

    def transform(self, X):
        """Features of the columns of X, as by `compute_features`.

        Parameters
        ----------
        X
            Shape (time, columns), as for `fit`.

        Returns
        -------
        features
            Shape (time, features).
        """
        return self.compute_features(*self._inputs(X))

    def __sklearn_is_fitted__(self):
        """What is not learned yet is learned when it is first needed."""
        return True

    def to_transformer(self):
        """A copy, for a step of a pipeline of scikit-learn: bases are transformers.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.model_selection import GridSearchCV
        >>> from sklearn.pipeline import Pipeline
        >>> from popglm.basis import RaisedCosineLinearEval
        >>> from popglm.glm import GLM
        >>> rng = np.random.default_rng(0)
        >>> position = rng.uniform(0, 1, (2000, 1))
        >>> y = rng.poisson(np.exp(2 * np.sin(6 * position[:, 0]) - 1))
        >>> steps = [("basis", RaisedCosineLinearEval(4, bounds=(0, 1)).to_transformer()), ("glm", GLM())]
        >>> search = GridSearchCV(Pipeline(steps), {"basis__n_basis_funcs": [2, 8]}, cv=3).fit(position, y)
        >>> search.best_params_
        {'basis__n_basis_funcs': 8}
        """
        return clone(self)

    def set_input_shape(self, *inputs):
        """Say how many columns each input has, before `fit`, `transform` or `split_by_feature` need it.

        Parameters
        ----------
        *inputs
            For each basis the number of columns of its input, or such an input.

        Returns
        -------
        self
        """
        width = lambda x: x if not hasattr(x, "shape") else 1 if len(x.shape) == 1 else x.shape[1]
        self._input_shape = _check_bases.input_shape([width(x) for x in inputs], len(self._leaves))
        for leaf, n in zip(self._leaves, self._input_shape, strict=True):
            leaf.n_inputs_ = n
        return self

    def _inputs(self, X):
        """The input of every leaf: columns of X."""
        if len(self._leaves) == 1:
            return [X]
        frame = _pynapple.unwrap(X)
        values = _check.array("X", frame.values, (2,)) if frame.times is None else X
        widths = getattr(self, "_input_shape", (1,) * len(self._leaves))
        _check_bases.all_columns(widths, values.shape[1])
        edges = np.cumsum((0, *widths))
        return [values[:, a:b] for a, b in pairwise(edges)]

    # Parts and wholes

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
        axes, functions = self._grid(_check.positive_integer("n_samples", n_samples))
        return (*axes, functions)

    @abstractmethod
    def split_by_feature(self, x, axis=1):
        """Split features or coefficients by what they belong to."""


class Leaf(Basis):
    """A basis with one input."""

    @abstractmethod
    def look(self, inputs, *, anew=False) -> _pynapple.Frame:
        """Check inputs, and learn what there is to be learned of them. Sets `n_inputs_`."""

    @property
    @abstractmethod
    def _n_functions(self) -> int:
        """Number of functions, as counted in the shape."""

    @property
    def _leaves(self):
        return [self]

    def _columns(self, units):
        units, functions = next(units), range(self._n_functions)
        names = [f"{unit}:{function}" for unit in units for function in functions]
        return Columns(names, [unit for unit in units for _ in functions], [*functions] * len(units))

    def split_by_feature(self, x, axis=1):
        """Split features, or coefficients, by the column of the input that they belong to.

        Parameters
        ----------
        x
            Features from `compute_features`, or coefficients with ``axis=0``.
        axis
            The axis of length columns * n_basis_funcs.

        Returns
        -------
        dict
            For each column of the input an array with n_basis_funcs entries along `axis`. The keys are the names of the
            columns (unit ids) where x is a TsdFrame of features, else 0, 1, ...

        Raises
        ------
        ValueError
            If the axis does not hold all functions of every column.

        Examples
        --------
        >>> import numpy as np
        >>> from popglm.basis import RaisedCosineLogConv
        >>> basis = RaisedCosineLogConv(5, window_size=40)
        >>> {name: part.shape for name, part in basis.split_by_feature(np.zeros((15, 2)), axis=0).items()}
        {0: (5, 2), 1: (5, 2), 2: (5, 2)}
        """
        n_basis = self._n_functions
        names, functions = (_pynapple.metadata(x, key) for key in ("input", "function"))
        values = _check.array("x", _pynapple.unwrap(x).values, (1, 2))
        n_inputs = _check.whole_inputs(values.shape, axis, n_basis)
        if names is not None and values.ndim == 2 and axis % 2 == 1:
            _check.whole_blocks(names, functions, n_basis)
        else:
            names = None
        names = np.arange(n_inputs) if names is None else names[::n_basis]
        return dict(zip(names.tolist(), np.split(values, n_inputs, axis), strict=True))


class Node(Basis):
    """Several bases in one, each with its own input or inputs. Copies of them, since each learns from its own input."""

    _what, _sign, _verb = "", "", ""

    def __init__(self, *bases, label=None):
        _check_bases.some_bases(bases, self._what)
        for basis in bases:
            _check_bases.basis(basis, Basis, self._verb)
        unpack = lambda b: b.bases if type(b) is type(self) and b.label is None else (b,)
        self.bases = tuple(deepcopy(part) for basis in bases for part in unpack(basis))
        self.label = label

    @property
    def _leaves(self):
        return [leaf for basis in self.bases for leaf in basis._leaves]

    @property
    def _names(self):
        """Labels of the bases; where one has none, its number."""
        _check_bases.labels([basis.label for basis in self.bases if basis.label is not None])
        return [i if basis.label is None else basis.label for i, basis in enumerate(self.bases)]

    @property
    def n_basis_funcs(self) -> int:
        """Number of features, where every input has one column."""
        return len(self._columns(iter([[0]] * len(self._leaves))).names)

    def __repr__(self):
        """The bases with a sign between them."""
        wrapped = (f"({basis!r})" if isinstance(basis, Node) else repr(basis) for basis in self.bases)
        return self._sign.join(wrapped)

    def _repr_mimebundle_(self, **kwargs):
        """As text, in notebooks too."""
        return {"text/plain": repr(self)}

    def __getitem__(self, key):
        """The basis with this label, or this number."""
        return self.bases[_check_bases.part(key, self._names)]

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
            _check_bases.basis(basis, Basis, self._verb)
        self.bases = tuple(new)
        return super().set_params(**params)

    def __sklearn_clone__(self):
        """The same of clones. What was said about the inputs is kept."""
        other = type(self)(*map(clone, self.bases), label=self.label)
        return other.set_input_shape(*self._input_shape) if hasattr(self, "_input_shape") else other

    def _known(self):
        """Columns of each leaf's input, as counted when they were last seen."""
        widths = _check_bases.seen([getattr(leaf, "n_inputs_", None) for leaf in self._leaves])
        return iter([list(range(width)) for width in widths])


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
        return _terms.Beside(tuple(basis._term(frames) for basis in self.bases))

    def _columns(self, units):
        parts = [basis._columns(units) for basis in self.bases]
        names = [f"{name}/{column}" for name, part in zip(self._names, parts, strict=True) for column in part.names]
        terms = [name for name, part in zip(self._names, parts, strict=True) for _ in part.names]
        joined = lambda lists: list(chain.from_iterable(lists))
        return Columns(names, joined(p.inputs for p in parts), joined(p.functions for p in parts), terms)

    def _grid(self, n_samples):
        axes, parts = _on_mesh([basis._grid(n_samples) for basis in self.bases])
        return axes, np.concatenate(parts, -1)

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
        units = self._known()
        widths = [len(basis._columns(units).names) for basis in self.bases]
        shape = np.shape(_pynapple.unwrap(x).values)
        _check_bases.whole_axis(shape, axis, sum(widths))
        edges = np.cumsum((0, *widths))
        each = zip(self._names, self.bases, map(slice, edges[:-1], edges[1:]), strict=True)
        part = lambda some: _pynapple.columns(x, some) if axis % len(shape) else np.asarray(x)[some]
        return {name: basis.split_by_feature(part(some), axis) for name, basis, some in each}


class Product(Node):
    r"""Several bases multiplied: every feature of the first times every feature of the second, in each bin.

    .. math:: X_{t,(i,j)} = A_{ti}\, B_{tj}, \qquad \text{column } (i, j) = i \cdot n_B + j.

    The features of the last basis run fastest. With evaluations this is a tensor basis, a function of several variables;
    with a convolution, features of the past that depend on the present: history gated by a category. A variable that
    lies far from 0 must lose its mean before it is multiplied.

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
        return _terms.Crossed(tuple(basis._term(frames) for basis in self.bases))

    def _columns(self, units):
        parts = [basis._columns(units) for basis in self.bases]
        names, functions = ([getattr(part, kind) for part in parts] for kind in ("names", "functions"))
        inputs = [
            p.inputs if p.terms is None else [f"{t}/{i}" for t, i in zip(p.terms, p.inputs, strict=True)] for p in parts
        ]
        cross = lambda lists: reduce(lambda a, b: [f"{i}*{j}" for i in a for j in b], lists)
        return Columns(cross(names), cross(inputs), cross(functions))

    def _grid(self, n_samples):
        axes, parts = _on_mesh([basis._grid(n_samples) for basis in self.bases])
        times = lambda a, b: (a[..., :, None] * b[..., None, :]).reshape(*a.shape[:-1], -1)
        return axes, reduce(times, parts)

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
        values = _check.array("x", _pynapple.unwrap(x).values, (1, 2))
        inputs = self._columns(self._known()).inputs
        _check_bases.whole_axis(values.shape, axis, len(inputs))
        named = _pynapple.metadata(x, "input") if values.ndim == 2 and axis % 2 == 1 else None
        inputs = np.asarray(inputs if named is None else named)
        return {str(key): np.compress(inputs == key, values, axis) for key in dict.fromkeys(inputs.tolist())}


def _array(values):
    """An array of values of one type, or of objects."""
    return np.asarray(values, None if len({type(value) for value in values}) == 1 else object)


def _on_mesh(grids):
    """All axes, and the functions of each on all of them."""
    axes = [axis for some, _ in grids for axis in some]
    lengths, before, parts = [len(axis) for axis in axes], 0, []
    for some, functions in grids:
        after = len(axes) - before - len(some)
        shape = (*(1,) * before, *functions.shape[:-1], *(1,) * after, functions.shape[-1])
        parts.append(np.broadcast_to(functions.reshape(shape), (*lengths, functions.shape[-1])))
        before += len(some)
    return axes, parts
