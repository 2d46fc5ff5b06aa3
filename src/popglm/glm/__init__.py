"""The two estimators, GLM of one neuron and PopulationGLM of many that share their features, and the paths of their fits."""

from popglm.glm._glm import GLM, PopulationGLM
from popglm.glm._path_fit import Path

__all__ = ["GLM", "Path", "PopulationGLM"]


def __dir__():
    return __all__
