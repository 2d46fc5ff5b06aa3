"""Faults that the tests must notice, in the penalties; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "ridge without its half": Fault(
        "regularizer/_base.py",
        "(weight * rows**2).sum(-1) / 2",
        "(weight * rows**2).sum(-1)",
        "solver/test_fit.py",
        "scikit_learn",
    ),
    "a group's length without its size": Fault(
        "regularizer/_base.py",
        "self.l1_share * np.sqrt(sizes) * ",
        "self.l1_share * ",
        "solver/test_penalties.py",
        "conditions",
    ),
}
