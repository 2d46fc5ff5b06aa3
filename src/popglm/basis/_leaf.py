"""Leaves of a tree of bases: bases with one input."""

from abc import abstractmethod
from typing import Any

import numpy as np

from popglm._checks.arrays import as_input_matrix, as_real_array, require_sliceable
from popglm._checks.index import require_axis, require_whole_blocks
from popglm._design.streams import is_stream
from popglm._pynapple import Frame, as_frame, column_metadata
from popglm._types import FeatureArray, Inputs
from popglm.basis._features import FeatureColumns
from popglm.basis._tree import Basis


class Leaf(Basis):
    """A basis with one input."""

    _is_cyclic = False  # True if the first function follows the last

    @abstractmethod
    def look(self, inputs: Inputs, name: str = "the input", *, anew: bool = False) -> Frame:
        """Check the input and learn bounds or categories from it; `anew` replaces what was learned before. Sets `n_inputs_`.

        `name` stands for the input in messages.
        """

    @staticmethod
    def _as_frame(inputs) -> Frame:
        """Return the input as a frame of numbers, in memory or streamed."""
        frame = as_frame(inputs)
        streamed = is_stream(frame.values)
        values = require_sliceable("inputs", frame.values) if streamed else as_input_matrix(frame.values)
        return frame._replace(values=values)

    @property
    def _leaves(self):
        return [self]

    def _columns(self, units):
        units, functions = next(units), range(self._n_functions)
        names = [f"{unit}:{function}" for unit in units for function in functions]
        inputs, n_columns = [unit for unit in units for _ in functions], len(names)
        return FeatureColumns(names, inputs, [*functions] * len(units), [self._is_cyclic] * n_columns)

    def split_by_feature(self, x: FeatureArray, axis: int = 1) -> dict[Any, Any]:
        """Split features or coefficients by the input column they belong to.

        Parameters
        ----------
        x
            Features from `compute_features`, or coefficients with ``axis=0``.
        axis
            The axis of length columns * n_basis_funcs.

        Returns
        -------
        dict
            For each input column an array with n_basis_funcs entries along `axis`. If x is a TsdFrame of features, the
            keys are the names of the columns (unit ids), else 0, 1, ...

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
        names, functions = (column_metadata(x, key) for key in ("input", "function"))
        values = as_real_array("x", as_frame(x).values, (1, 2))
        require_axis(values.shape, axis, n_basis, blocks=True)
        n_inputs = values.shape[axis] // n_basis
        if names is not None and values.ndim == 2 and axis % 2 == 1:
            require_whole_blocks(names, functions, n_basis)
        else:
            names = None
        names = np.arange(n_inputs) if names is None else names[::n_basis]
        return dict(zip(names.tolist(), np.split(values, n_inputs, axis), strict=True))

    def _split(self, x, axis, widths):
        return self.split_by_feature(x, axis)
