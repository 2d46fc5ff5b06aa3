"""Recordings, as sorters and laboratories store them, in the form that the package takes: spike times, and several sessions."""

from popglm._public import export
from popglm.recording._group_spikes import group_spikes
from popglm.recording._sessions import JoinedSessions, join_sessions

__all__ = ["JoinedSessions", "group_spikes", "join_sessions"]
export(__name__, globals())


def __dir__():
    return __all__
