"""Pages for users of other tools: the record is of the scripts that the pages show, and the tools still give these numbers."""

import json

import numpy as np
import other_tools
import pytest
from samples import FULL

RECORD = json.loads(other_tools.RECORD.read_text("utf8"))
INSTALL = {
    "nemos": "NeMoS in an environment of its own, .venv-nemos or NEMOS_PYTHON=/path/to/python",
    "r": "R (Debian: r-base-core r-cran-mgcv r-cran-glmnet)",
}


@pytest.mark.parametrize("tool", other_tools.PAGES)
def test_the_record_is_of_the_script_on_the_page(tool):
    names = other_tools.expressions(tool)
    assert names and list(RECORD[tool]["numbers"]) == names
    assert RECORD[tool]["script"] == other_tools.digest(tool), f"run tests/coming_from/other_tools.py {tool} again"


@pytest.mark.parametrize("tool", other_tools.PAGES)
def test_the_other_tool_gives_the_recorded_numbers(tool):
    if not FULL:
        pytest.skip("runs another tool: make test-full")
    program = other_tools.FINDERS[tool]()
    if program is None:
        pytest.skip(f"{tool} is not installed; it takes {INSTALL[tool]}")
    found = other_tools.run_tool(tool, program)["numbers"]
    for name, value in RECORD[tool]["numbers"].items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
