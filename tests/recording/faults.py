"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "sessions lie closer to each other than is said": Fault(
        "recording/_sessions.py", "GAP = 10.0", "GAP = 1.0", "recording/test_sessions.py", "follow"
    ),
    "a unit that a session lacks counts as silent there": Fault(
        "recording/_sessions.py",
        "choose(supports, holders[unit]) for unit",
        "choose(supports, range(len(groups))) for unit",
        "recording/test_sessions.py",
        "counts_are",
    ),
    "spikes go to the units of other spikes": Fault(
        "recording/_group_spikes.py",
        "np.split(times[order], first[1:])",
        "np.split(times, first[1:])",
        "recording/test_recording.py",
        "form",
    ),
    "times keep the precision of the file": Fault(
        "recording/_group_spikes.py", "train.astype(float) for", "train for", "recording/test_recording.py", "seconds"
    ),
    "spikes outside the epochs are left out in silence": Fault(
        "recording/_group_spikes.py",
        "if n_outside.any():",
        "if n_outside.all():",
        "recording/test_recording.py",
        "counted",
    ),
}
