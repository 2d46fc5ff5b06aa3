"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "cyclic splines do not close": Fault(
        "basis/_shapes.py",
        "np.arange(n) + order / 2, n)",
        "np.arange(n) + order / 2, n + 1)",
        "basis/test_bases.py",
        "cyclic_splines",
    ),
    "M-splines without their order": Fault(
        "basis/_shapes.py", "np.diag(order / (knots", "np.diag(1 / (knots", "basis/test_bases.py", "m_splines"
    ),
    "test data have bounds of their own": Fault(
        "basis/_eval.py", 'else getattr(self, "bounds_", None)', "else None", "basis/test_bases.py", "bounds_are_those"
    ),
    "a whole is split by what a part has seen alone": Fault(
        "basis/_features.py", "if len(widths) != len(self._leaves):", "if True:", "basis/test_algebra.py", "used_alone"
    ),
    "bounds that were taken back stay": Fault(
        "basis/_eval.py", 'getattr(self, "_given", False)', "False", "basis/test_bases.py", "taken_back"
    ),
    "bounds know of no rounding": Fault(
        "basis/_eval.py", "return low - off, high + off", "return low, high", "basis/test_bases.py", "rounds"
    ),
    "a circle is closed at the ends of the data in silence": Fault(
        "basis/_eval.py", "elif self._is_periodic:", "elif False:", "basis/test_bases.py", "period"
    ),
    "angles outside the bounds are missing": Fault(
        "basis/_eval.py", "return self._is_periodic and self._given", "return False", "basis/test_bases.py", "angles"
    ),
    "a factor far from 0 is no word worth": Fault(
        "basis/_checks.py", "if far.any():", "if False:", "basis/test_algebra.py", "factor_far"
    ),
    "a window around a bin needs a bin more": Fault(
        "basis/_conv.py", "alone=0 < ahead <= window", "alone=False", "basis/test_bases.py", "around_a_bin"
    ),
    "a clone of a sum takes it apart": Fault(
        "basis/_tree.py", "other.bases = tuple(map(clone, self.bases))", "pass", "basis/test_algebra.py", "clones_keep"
    ),
}
