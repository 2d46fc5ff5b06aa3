"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "arguments of other tools have no hint": Fault(
        "_public.py",
        "if hinted is not method:",
        "if hinted is method:",
        "checks/test_other_names.py",
        "an_argument_of_another_tool and alpha",
    ),
    "the last hint of a name wins": Fault(
        "_checks/other_names.py",
        "in reversed(ARGUMENTS) if needed in own and",
        "in reversed(ARGUMENTS) if",
        "checks/test_other_names.py",
        "hint_is_of_the_argument",
    ),
    "the future begins with the bin itself": Fault(
        "_checks/values.py",
        '"anti-causal": window + 1',
        '"anti-causal": window',
        "basis/test_bases.py",
        "sum_over_its_lags",
    ),
    "names of neurons are taken by position": Fault(
        "_checks/names.py",
        "for part, text in texts.items():",
        "for part, text in list(texts.items())[:1]:",
        "checks/test_names.py",
        "in_another_order_are_refused and words",
    ),
    "numbers are no names": Fault(
        "_checks/names.py",
        "not _are_numbers(names)",
        "True",
        "checks/test_names.py",
        "count_columns",
    ),
    "bins of any size are taken": Fault(
        "_checks/names.py",
        "<= TOLERANCE * expected:",
        "<= 1e9 * expected:",
        "checks/test_names.py",
        "bins_of_another_size and predict",
    ),
    "history crosses a gap that an index made": Fault(
        "_checks/times.py",
        "(steps > MIN_GAP * usual)",
        "(steps > 1e9 * usual)",
        "design/test_features.py",
        "neighbour",
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
