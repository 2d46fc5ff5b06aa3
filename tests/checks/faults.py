"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "the future begins with the bin itself": Fault(
        "_checks/values.py",
        '"anti-causal": window + 1',
        '"anti-causal": window',
        "basis/test_bases.py",
        "sum_over_its_lags",
    ),
    "timestamps are not compared": Fault(
        "_checks/times.py",
        "tolerance = TOLERANCE * bin_size",
        "tolerance = bin_size",
        "checks/test_checks_messages.py",
        "shifted",
    ),
    "timestamps are compared to the microsecond": Fault(
        "_checks/times.py",
        "tolerance = TOLERANCE * bin_size",
        "tolerance = 1e-6",
        "batching/test_clocks.py",
        "rate_of_frames",
    ),
}
