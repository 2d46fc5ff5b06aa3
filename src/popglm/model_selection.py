"""Which strength, which model: training and test data of recordings, and cross-validation along a path of strengths."""

from popglm._cross_validation import CrossValidation, cross_validate_path
from popglm._splits import BlockSplit, EpochSplit

__all__ = ["BlockSplit", "CrossValidation", "EpochSplit", "cross_validate_path"]
