"""Goodness of fit: scores of each neuron, residuals of each bin, and rescaled time, on data of your choice.

All functions take a model with coefficients, and X and y to compare it with: best data that the fit has not seen.
"""

from popglm._public import export
from popglm.assessment._rescaling import ks_test, rescaled_intervals
from popglm.assessment._residuals import deviance_residuals, pearson_residuals, scores

__all__ = ["deviance_residuals", "ks_test", "pearson_residuals", "rescaled_intervals", "scores"]
export(__name__, globals())


def __dir__():
    return __all__
