"""Model selection: splits of recordings into training and test data, and cross-validation along a path of strengths.

The splitters follow scikit-learn's protocol, so `GridSearchCV` and `cross_val_score` take them, too.

>>> import numpy as np
>>> from sklearn.model_selection import cross_val_score
>>> from popglm.basis import RaisedCosineLogConv
>>> from popglm.glm import PopulationGLM
>>> from popglm.model_selection import BlockSplit
>>> counts = np.random.default_rng(0).poisson(0.3, (1000, 3))
>>> X = RaisedCosineLogConv(4, window_size=20).lazy_features(counts)  # these know their window
>>> cross_val_score(PopulationGLM(), X, counts, cv=BlockSplit(4)).shape
(4,)
"""

from popglm._public import export
from popglm.model_selection._comparison import compare
from popglm.model_selection._comparison_result import Comparison
from popglm.model_selection._cross_validation import CrossValidation, cross_validate_path
from popglm.model_selection._splits import BlockSplit, EpochSplit

__all__ = ["BlockSplit", "Comparison", "CrossValidation", "EpochSplit", "compare", "cross_validate_path"]
export(__name__, globals())


def __dir__():
    return __all__
