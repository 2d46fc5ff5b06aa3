"""The two estimators, GLM of one neuron and PopulationGLM of many that share their features, and the paths of their fits."""

from popglm._public import export
from popglm.glm._glm import GLM, PopulationGLM
from popglm.glm._path_fit import Path

__all__ = ["GLM", "Path", "PopulationGLM"]
export(__name__, globals())


def __dir__():
    return __all__
