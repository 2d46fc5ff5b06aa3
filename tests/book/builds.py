"""Strict builds of a book, by both programs that build it, for the tests of this folder."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = (ROOT / "tests/canaries/passes.md").read_text("utf8").split("\n# ")[0]
# Logged now and then when the messages of a kernel that ends are still read; it ran, and Sphinx says so if it did not.
END_OF_KERNEL = re.compile(
    r"^ERROR:tornado\.general:Uncaught exception in ZMQStream callback\nTraceback.*\n", re.MULTILINE
)
ELSEWHERE = (
    "GITHUB_SERVER_URL",
    "GITHUB_REPOSITORY",
    "READTHEDOCS_OUTPUT",
    "READTHEDOCS_GIT_CLONE_URL",
    "READTHEDOCS_CANONICAL_URL",
)


@dataclass
class Build:
    """A finished build."""

    status: int
    output: str
    seconds: float
    html: Path

    @property
    def executed(self) -> list[str]:
        """Return the names of the pages that ran, rather than being taken from the cache."""
        return re.findall(r"([\w-]+)\.md:\S* Executing notebook", self.output)

    @property
    def problems(self) -> str:
        """Return the lines to read where it did not succeed without any warning; nothing where it did."""
        lines = END_OF_KERNEL.sub("", self.output).splitlines()
        found = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL|Error|Traceback)\b", line)]
        return "\n".join(found or (lines[-20:] if self.status else []))


def build(root: Path, readthedocs: Path | None = None, **environment: str) -> Build:
    """Build the book in `root` strictly, with jupyter-book or as Read the Docs does into the folder `readthedocs`."""
    variables = {key: value for key, value in os.environ.items() if key not in ELSEWHERE} | environment
    strict = ["-n", "-W", "--keep-going"]
    if readthedocs:
        html = readthedocs / "html"
        variables |= {"READTHEDOCS_OUTPUT": str(readthedocs)}
        command = [sys.executable, "-m", "sphinx", "-b", "html", *strict, "-d", f"{readthedocs}/doctrees", ".", html]
    else:
        html = root / "_build" / "html"
        command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", *strict]
    start = time.monotonic()
    done = subprocess.run(
        command, cwd=root, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return Build(done.returncode, done.stdout, time.monotonic() - start, html)


def write_page(file: Path, title: str, code: str = "", **metadata: object) -> None:
    """Write a page with one code cell, or with none."""
    options = "".join(f":{key}: {value}\n" for key, value in metadata.items())
    cell = f"\n```{{code-cell}} ipython3\n{options}\n{code}\n```\n" if code else ""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{HEAD if code else ''}\n# {title}\n{cell}".lstrip("\n"), "utf8")
