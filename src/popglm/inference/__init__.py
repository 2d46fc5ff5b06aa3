"""Inference about a fit: summaries, standard errors, intervals and bands, tests, and false discoveries among many couplings.

Likelihood ratios need a fit without a penalty, profile intervals one under Firth's; all else also takes quadratic penalties,
whose fit is the mode of a posterior.
"""

from popglm._public import export
from popglm.inference._couplings import coupling_table
from popglm.inference._covariance import uncertainty
from popglm.inference._false_discovery import Discoveries, false_discovery
from popglm.inference._filter_table import filter_table
from popglm.inference._likelihood_ratio import leave_out_test, likelihood_ratio_test
from popglm.inference._profile import profile_interval
from popglm.inference._summary import Summary, summary
from popglm.inference._uncertainty import GroupTests, Uncertainty

__all__ = [
    "Discoveries",
    "GroupTests",
    "Summary",
    "Uncertainty",
    "coupling_table",
    "false_discovery",
    "filter_table",
    "leave_out_test",
    "likelihood_ratio_test",
    "profile_interval",
    "summary",
    "uncertainty",
]
export(__name__, globals())


def __dir__():
    return __all__
