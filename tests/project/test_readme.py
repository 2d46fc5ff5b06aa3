"""The README says nothing that was not run: its example here, its commands by `make test` and the workflow."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text("utf8")


def test_example_runs_and_draws(tmp_path):
    example = "".join(text for language, text in BLOCKS if language == "python")
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout.split(":")[1]) > 0.05
    assert (tmp_path / "couplings.svg").stat().st_size > 10_000


def test_times_are_those_of_the_record():
    record = json.loads((ROOT / "src/popglm/data/benchmarks.json").read_text("utf8"))
    assert record["fit"]["dense"]["warm_s"] < 1 and record["fit"]["lazy"]["warm_s"] < 1
    assert record["hour"]["warm_s"] < 5.5 and record["hour"]["peak_bytes"] < 0.6e9


@pytest.mark.parametrize(
    "command", [line for language, text in BLOCKS if language == "console" for line in text.splitlines()]
)
def test_commands_are_run_by_the_workflow(command):
    steps = [line.strip().removeprefix("- run: ") for line in WORKFLOW.splitlines()]
    assert command in steps or (command == "make test" and ".ci/run" in steps)


def test_ci_runs_make_test_and_nothing_else():
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith(("#", "set ", "cd "))] == ["make test"]


def test_pictures_exist():
    for path in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README):
        assert (ROOT / path).stat().st_size < 500_000
