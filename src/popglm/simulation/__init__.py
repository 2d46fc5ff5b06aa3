"""Recurrent simulation of fitted models, and of populations with known couplings to test a fit against the truth."""

from popglm._public import export
from popglm.simulation._population import random_coupling, simulate_population
from popglm.simulation._recording import Population
from popglm.simulation._simulate import simulate
from popglm.simulation._stability import Stability, stability

__all__ = ["Population", "Stability", "random_coupling", "simulate", "simulate_population", "stability"]
export(__name__, globals())


def __dir__():
    return __all__
