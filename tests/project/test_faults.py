"""Every named fault can still be made: what it changes stands once in the code, and its tests exist."""

import re
from pathlib import Path

import pytest

import popglm
from tests.faults import ROOT, load_faults, path

SOURCE = Path(popglm.__file__).parent
FAULTS = load_faults()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fits_the_code_and_the_tests(name):
    fault = FAULTS[name]
    code, tests = (SOURCE / fault.file).read_text("utf8"), (ROOT / path(fault)).read_text("utf8")
    assert code.count(fault.right) == 1, f"{fault.file} holds {code.count(fault.right)} times: {fault.right}"
    compile(code.replace(fault.right, fault.wrong), fault.file, "exec")
    words = set(re.findall(r"\w+", fault.select)) - {"and", "or", "not", "True", "False"}
    assert all(word.lower() in tests.lower() for word in words), f"{fault.tests} has no test {fault.select!r}"


def test_a_fault_stands_beside_the_tests_of_its_code():
    """In the folder with the name of the package's folder; single modules have none of their own."""
    for file in (ROOT / "tests").glob("*/faults.py"):
        for code in re.findall(r'Fault\(\s*"(\w+)/', file.read_text("utf8")):
            assert code.removeprefix("_") == file.parent.name
