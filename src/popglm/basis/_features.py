"""Features of inputs, built or lazy, and bases as steps of scikit-learn's pipelines.

A class of features defines its leaves (one for each input), its term (how rows are computed) and its columns (their names).
"""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin, clone

from popglm._checks.arrays import as_real_array
from popglm._checks.names import FIT, keep_feature_names, kept_feature_names, require_same_names
from popglm._checks.other_names import refuse_attribute
from popglm._checks.times import find_bin_size, require_aligned
from popglm._checks.values import as_positive_integer
from popglm._design.lazy import LazyFeatures
from popglm._pynapple import as_feature_table, as_frame, as_object_array, as_plain_array, select_columns
from popglm._types import FeatureArray, Inputs
from popglm.basis._checks import require_all_columns

OUTPUT_CONFIG_ATTRIBUTE = "_sklearn_output_config"  # set by scikit-learn's `set_output`


class FeatureColumns(NamedTuple):
    """Description of every column: its name, input and function, if functions are on a circle, and its term in a sum."""

    names: list
    inputs: list
    functions: list
    cyclic: list
    terms: list | None = None

    def metadata(self):
        """Return the description as metadata of a TsdFrame."""
        metadata = {"input": self.inputs, "function": self.functions, "cyclic": self.cyclic, "term": self.terms}
        return {key: _as_metadata_array(values) for key, values in metadata.items() if values is not None}


class Transformer(TransformerMixin, BaseEstimator, ABC):
    """Base class of bases: turns inputs into features of a GLM, built, lazy, or as scikit-learn asks."""

    @property
    @abstractmethod
    def _leaves(self) -> list:
        """Bases with one input each, in the order of the inputs."""

    @abstractmethod
    def _term(self, frames):
        """Return the term that computes rows of features; the iterator `frames` yields one frame for each leaf."""

    @abstractmethod
    def _columns(self, units) -> FeatureColumns:
        """Describe the columns; the iterator `units` yields the names of the input columns of each leaf."""

    def __getattr__(self, name: str) -> Any:
        """Refuse an attribute that there is not, with what it is called here if another tool has it."""
        refuse_attribute(f"{type(self).__name__} object", name, self)

    def compute_features(self, *inputs: Inputs) -> FeatureArray:
        r"""Compute features: convolutions use the bins around each bin, evaluations the values in the bin.

        Parameters
        ----------
        *inputs
            One input for a single basis; for a sum or a product one input for each basis, in their order. Each input is a
            Tsd, TsdFrame or array of shape (time,) or (time, columns), one row per bin; all on one time axis.

        Returns
        -------
        features
            Shape (time, features), input-major: all functions of the first column, then of the second. For a sum, the
            features of its bases side by side. A TsdFrame with columns named "input:function" if an input comes
            from pynapple, such a table if one comes from pandas, else a NumPy array. A feature is NaN where it is
            unknown: its window is not complete (near the ends of each epoch) or holds a NaN, or its value is NaN or out
            of bounds.

        Raises
        ------
        ValueError
            If the numbers of inputs and bases differ, or the times of inputs differ; if every epoch is shorter than
            ``window_size + 1`` bins, times are not regular, or an input is infinite.
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
        return as_feature_table(np.asarray(X), X.frame, X.metadata)

    def lazy_features(self, *inputs: Inputs) -> LazyFeatures:
        """Return the features as a matrix that is computed block by block when it is used, and never stored.

        Parameters
        ----------
        *inputs
            As for `compute_features`, or data that are read when they are sliced: `LazyCounts`, or a data set in a file
            (HDF5, zarr, memmap).

        Returns
        -------
        LazyFeatures
            A matrix of shape (time, features) that stores the inputs only. Every method accepts it as X.

        Raises
        ------
        ValueError, TypeError
            As for `compute_features`.

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
        if len(leaves) != len(inputs):
            several = f"this combination of {len(leaves)} bases needs as many inputs, in the same order"
            expected = "this basis needs 1 input" if len(leaves) == 1 else several
            raise ValueError(f"{expected}; got {len(inputs)}.")
        names = ["the input"] if len(leaves) == 1 else [f"input {i}" for i in range(len(leaves))]
        frames = [leaf.look(x, name) for leaf, x, name in zip(leaves, inputs, names, strict=True)]
        self._saw = tuple(leaf.n_inputs_ for leaf in leaves)
        timed = [i for i, frame in enumerate(frames) if frame.times is not None]
        indexed = [i for i, frame in enumerate(frames) if frame.index is not None]
        for i in indexed[1:]:
            require_aligned(frames[indexed[0]], frames[i], names[indexed[0]], names[i])
        first = max(timed, key=lambda i: len(frames[i].epochs), default=0)  # the input with most gaps
        for i, frame in enumerate(frames):
            if i != first:
                require_aligned(frames[first], frame, names[first], names[i])
        clock = frames[first]._replace(index=frames[indexed[0]].index if indexed else None)
        if clock.times is not None:
            clock = clock._replace(bin_size=find_bin_size(clock))
        on_clock = [
            f._replace(index=clock.index) if f.times is not None else clock._replace(values=f.values, columns=f.columns)
            for f in frames
        ]
        term = self._term(iter(on_clock))
        columns = self._columns(
            list(range(leaf.n_inputs_) if f.columns is None else f.columns)
            for leaf, f in zip(leaves, frames, strict=True)
        )
        return LazyFeatures(term, clock._replace(values=None), columns.names, columns.metadata())

    # As a step of scikit-learn's pipelines

    def fit(self, X: Inputs, y: Any = None) -> Self:
        """Learn the bounds or categories of every input from X, and forget those learned before.

        Parameters
        ----------
        X
            Shape (time, columns): one column for each input, or the numbers of columns set by `set_input_shape`. Names of
            columns are kept, as words in `feature_names_in_`.
        y
            Not used.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If scikit-learn's cross-validation gives a plain array to a convolution, which does not show where it was cut.
        """
        for leaf, x in zip(self._leaves, self._split_inputs(X), strict=True):
            leaf.look(x, anew=True)
        self._saw = tuple(leaf.n_inputs_ for leaf in self._leaves)
        keep_feature_names(self, as_frame(X).columns)
        return self

    def transform(self, X: Inputs) -> FeatureArray:
        """Compute the features of the columns of X, as `compute_features` does.

        Parameters
        ----------
        X
            Shape (time, columns), as for `fit`.

        Returns
        -------
        features
            Shape (time, features), of the type that `compute_features` returns, or that was chosen by `set_output`.

        Raises
        ------
        ValueError
            If the columns of X have other names than those of `fit`, or are in another order.
        """
        require_same_names(kept_feature_names(self), as_frame(X).columns, FIT["features"])
        features = self.compute_features(*self._split_inputs(X))
        output = getattr(self, OUTPUT_CONFIG_ATTRIBUTE, {}).get("transform") or get_config()["transform_output"]
        # scikit-learn turns arrays into the table that was asked for
        return features if output == "default" else np.asarray(as_plain_array(features))

    def _input_widths(self):
        """Yield the number of input columns of each leaf, as this basis last saw them; a leaf may have seen others alone."""
        widths = getattr(self, "_saw", ())
        if len(widths) != len(self._leaves):
            widths = [getattr(leaf, "n_inputs_", None) for leaf in self._leaves]
        if None in widths:
            raise ValueError(
                "how many columns belong to each part depends on the inputs, which this basis has not seen. Compute features "
                "first, or say how many columns each input has: `set_input_shape(3, 1)`."
            )
        return iter(widths)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features, for scikit-learn.

        Parameters
        ----------
        input_features
            Names of the columns of X; by default those of `fit`, or numbers that start at 0 for each input.

        Returns
        -------
        numpy.ndarray
            "input:function" for each feature; in a sum, preceded by the label of the basis.

        Raises
        ------
        ValueError
            If this basis has not seen its inputs, or the numbers of names and columns differ.

        Examples
        --------
        >>> from popglm.basis import BSplineEval
        >>> BSplineEval(3, order=2, bounds=(0, 1)).fit([[0.2], [0.4]]).get_feature_names_out(["place"]).tolist()
        ['place:0', 'place:1', 'place:2']
        """
        widths, fitted = list(self._input_widths()), kept_feature_names(self)
        if input_features is None and fitted is not None and len(fitted) == sum(widths):
            input_features = fitted
        if input_features is None:
            units = map(range, widths)
        else:
            require_same_names(
                fitted, input_features, "`input_features` should match the names that were passed during fit"
            )
            require_all_columns(widths, len(input_features))
            units = iter(np.split(np.asarray(input_features, object), np.cumsum(widths)[:-1]))
        return np.asarray(self._columns(units).names, object)

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: a basis learns from the first data if `fit` was not called."""
        return True

    def to_transformer(self) -> Self:
        """Return a copy, for a step of a pipeline of scikit-learn: bases are transformers.

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

    def set_input_shape(self, *inputs: Any) -> Self:
        """Set the number of columns of each input, if `fit`, `transform` or `split_by_feature` need it before data.

        Parameters
        ----------
        *inputs
            For each basis the number of columns of its input, or an input with that number of columns.

        Returns
        -------
        self
        """
        width = lambda x: x if not hasattr(x, "shape") else 1 if len(x.shape) == 1 else x.shape[1]
        if len(inputs) != len(self._leaves):
            raise ValueError(
                f"`set_input_shape` needs a number of columns for each of {len(self._leaves)} inputs; got {len(inputs)}."
            )
        self._input_shape = tuple(as_positive_integer("number of columns", width(x)) for x in inputs)
        for leaf, n in zip(self._leaves, self._input_shape, strict=True):
            leaf.n_inputs_ = n
        self._saw = self._input_shape
        return self

    def _split_inputs(self, X):
        """Split the columns of X into the inputs of the leaves."""
        if len(self._leaves) == 1:
            return [X]
        frame = as_frame(X)
        # pynapple and pandas keep their own types
        table = frame.times is not None or frame.columns is not None
        values = X if table else as_real_array("X", frame.values, (2,))
        widths = getattr(self, "_input_shape", (1,) * len(self._leaves))
        require_all_columns(widths, values.shape[1])
        edges = np.cumsum((0, *widths))
        return [select_columns(values, slice(a, b)) for a, b in pairwise(edges)]


def _as_metadata_array(values):
    """Return an array of the values' type if they have one type, else an array of objects."""
    kinds = {type(value) for value in values}
    return np.asarray(values) if len(kinds) == 1 and tuple not in kinds else as_object_array(values)
