"""Types of inputs that may be many things, and of results that follow them: for readers and type checkers.

At run time they are `Any` with the names of the axes. Nothing is imported for them, and nothing is checked by them, so a
user's bad input meets the messages of this package. Arrays of a `GLM` lack the axis of neurons.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import jax
    import numpy as np
    import pandas

    class Sliceable(Protocol):
        """An array, an object of pynapple, lazy features or counts, a data set of a file."""

        @property
        def shape(self) -> tuple[int, ...]: ...

        @property
        def dtype(self) -> Any: ...

        def __getitem__(self, key: Any, /) -> Any: ...

    Data: TypeAlias = Sliceable | Sequence | pandas.DataFrame | pandas.Series
    Numbers: TypeAlias = jax.Array | np.ndarray | Sequence | float
    Array: TypeAlias = jax.Array | np.ndarray
    Table: TypeAlias = pandas.DataFrame
else:
    Data = Numbers = Array = Table = Any

Features = Annotated[Data, "time features"]  # X of a fit or a score
Counts = Annotated[Data, "time neurons"]  # y of a fit or a score
Inputs = Annotated[Data, "time inputs"]  # what a basis makes features of
FeatureArray = Annotated[Any, "time features"]  # an array; a TsdFrame where the inputs have times
ActivityArray = Annotated[Any, "time neurons"]  # an array; a Tsd or a TsdFrame where X has times
BatchLike = tuple[Data, Data] | tuple[Data, Data, Data | None, Data | None]  # (X, y), or with sample_weight and offset
Batches = Annotated[Iterable[BatchLike], "(X, y) or (X, y, sample_weight, offset)"]
RowValues = Annotated[Data, "time #neurons"]  # a number for each row, for all neurons, or one for each neuron
Params = Annotated[tuple[Array, Array], "(features neurons, neurons)"]  # coefficients and intercepts
Entries = Annotated[Array, "neurons time"]  # a number for each bin, neurons first
PerNeuron = Annotated[Array, "neurons"]
Coefficients = Annotated[Array, "neurons features"]  # neurons first, as penalties take them
Strength = Annotated[Numbers, "..."]  # a number, one for each part of the penalty, or these for each neuron
Points = Annotated[Numbers, "points"]  # where functions of a basis are evaluated
Kernel = Annotated[Numbers, "points basis"]  # functions of a basis on a grid of lags or values
Range = Annotated[Numbers, "2"]  # lowest and highest
# labels of terms, or numbers of features: see `Uncertainty.test`
Groups = int | str | Sequence[str] | Annotated[Numbers, "groups features"] | Mapping[Any, Any]
LinkLike = str | Callable  # a name, or a function of JAX from the linear predictor to the mean; also a `Link`
FilePath = str | os.PathLike
