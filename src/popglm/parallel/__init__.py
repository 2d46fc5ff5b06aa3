"""Several devices and several processes, on one machine or many: the same code, and the same numbers."""

from popglm._public import export
from popglm.parallel._contexts import devices, initialize, processes

__all__ = ["devices", "initialize", "processes"]


def __dir__():
    return __all__


export(__name__, globals())
