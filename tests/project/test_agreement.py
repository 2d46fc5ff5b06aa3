"""Records of the page "Can I trust it" are of tests and faults that exist, and agreement is measured again."""

import json

import agreement
import pytest
from samples import FULL

from tests.faults import RECORD as FAULT_RECORD
from tests.faults import ROOT, load_faults

AGREEMENT = json.loads(agreement.RECORD.read_text("utf8"))


def test_the_record_has_the_rows_that_are_measured():
    assert list(AGREEMENT) == list(agreement.ROWS)
    for tool, _, test in agreement.ROWS.values():
        word = tool.split(", ")[-1].split()[0].removesuffix("'s").lower()
        assert word in (ROOT / "tests" / test).read_text("utf8").lower(), f"{test} says nothing of {tool}"


@pytest.mark.parametrize("name", agreement.ROWS if FULL else ["linear regression", "Firth's penalty"])
def test_numbers_agree_as_well_as_the_record_says(name):
    """Ten times further apart at most: last digits depend on versions and the processor."""
    row = agreement.measure(name)
    assert row["numbers"] == AGREEMENT[name]["numbers"] and row["test"] == AGREEMENT[name]["test"]
    assert row["difference"] < max(10 * AGREEMENT[name]["difference"], 1e-9)


def test_recorded_faults_exist():
    """A fault that was renamed or left is tried again, by its new name: `python tests/faults.py NAME`."""
    recorded = {name for faults in json.loads(FAULT_RECORD.read_text("utf8")).values() for name in faults}
    assert recorded and recorded <= set(load_faults())
