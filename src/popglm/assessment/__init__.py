"""How good a fit is: scores of each neuron, residuals of each bin, and rescaled time, on data of your choice.

Everything takes a model with coefficients and the X and y that it is compared with, best of data that the fit has not seen.
"""

from popglm.assessment._rescaling import ks_test, rescaled_intervals
from popglm.assessment._residuals import deviance_residuals, pearson_residuals, scores

__all__ = ["deviance_residuals", "ks_test", "pearson_residuals", "rescaled_intervals", "scores"]


def __dir__():
    return __all__
