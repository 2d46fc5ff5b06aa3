"""Checks the code, the prose, the workflows and the lock file without running anything: `make lint`.

`python tests/lint.py style spelling` runs some of the checks; the hooks in .pre-commit-config.yaml do so, one by one.
"""

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted(map(str, (ROOT / ".github/workflows").glob("*.yml")))
FORMS = sorted(map(str, (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")))
DEPENDABOT, HOOKS = ".github/dependabot.yml", ".pre-commit-config.yaml"
YAML = ["_config.yml", "_toc.yml", ".readthedocs.yaml", "CITATION.cff", DEPENDABOT, HOOKS, *FORMS, *WORKFLOWS]
SCHEMAS = {  # name: (schema of check-jsonschema, files)
    "workflows": ("github-workflows", WORKFLOWS),
    "Read the Docs": ("readthedocs", [".readthedocs.yaml"]),
    "Dependabot": ("dependabot", [DEPENDABOT]),
    "issue forms": ("github-issue-forms", FORMS),
    "citation": ("citation-file-format", ["CITATION.cff"]),
}
COMMANDS = {
    "style": ["ruff", "check", "."],
    "layout": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "spelling": ["codespell", "."],
    "YAML": ["yamllint", "--strict", *YAML],
    **{
        name: ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files]
        for name, (schema, files) in SCHEMAS.items()
    },
    "actionlint": ["actionlint", *WORKFLOWS],
}


def lock_file() -> list[str]:
    """Return what is wrong with the lock file: addresses, no checksum, or a Python that it leaves incomplete."""
    text = (ROOT / "requirements.lock").read_text("utf8")
    wrong = [line for line in text.splitlines() if re.search(r"https?://|index-url|find-links", line)]
    pins = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        pin = Requirement(entry.split("\\")[0])
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
        if "--hash=sha256:" not in entry or not re.fullmatch(r"==[\w.+!]+", str(pin.specifier)):
            wrong.append(f"{pin}: needs an exact version and its checksums")
    for python in ("3.11", "3.12", "3.13"):
        wrong += [f"Python {python}: {need} is not locked" for need in unlocked(pins, python)]
    return wrong


def unlocked(pins: dict[str, list[Requirement]], python: str) -> set[str]:
    """Return what popglm with all its extras needs on this Python and the lock file does not hold."""
    here = default_environment() | {"python_version": python, "python_full_version": f"{python}.0"}
    todo, seen, missing = [("popglm", ("notebooks", "book", "test", "lint"))], set(), set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            needs = map(Requirement, metadata.requires(name) or [])
        except metadata.PackageNotFoundError:
            continue  # not for the Python that runs this
        for need in needs:
            if need.marker and not any(need.marker.evaluate(here | {"extra": extra}) for extra in ("", *extras)):
                continue
            key = canonicalize_name(need.name)
            held = [pin for pin in pins.get(key, []) if pin.marker is None or pin.marker.evaluate(here)]
            if key != "popglm" and not any(need.specifier.contains(str(pin.specifier)[2:], True) for pin in held):
                missing.add(f"{need} of {name}")
            todo.append((key, tuple(sorted(need.extras))))
    return missing


def front_matter() -> list[str]:
    """Return the pages whose front matter holds more than Jupytext and Jupyter need, the same for all."""
    heads = {}
    for page in sorted([*(ROOT / "book").rglob("*.md"), *(ROOT / "tests/canaries").glob("*.md")]):
        text = page.read_text("utf8")
        if text.startswith("---"):
            heads.setdefault(text.split("\n---\n")[0], []).append(str(page.relative_to(ROOT)))
    usual = max(heads, key=lambda head: len(heads[head]), default="")
    keys = {"jupytext", "text_representation", "extension", "format_name"}
    keys |= {"kernelspec", "display_name", "language", "name"}
    stray = set(re.findall(r"^\s*(\w+):", usual, re.MULTILINE)) - keys
    return [f"{page}: differs" for head in heads if head != usual for page in heads[head]] + sorted(stray)


def run_command(name: str) -> bool:
    """Run the command of a check, and return whether it passed."""
    program, *arguments = COMMANDS[name]
    path = shutil.which(program, path=str(BIN)) or shutil.which(program)
    if path is None and program == "actionlint":  # no package of it installs without a download of its own
        print(f"-- {name}: not installed, NOT checked")
        return True
    print(f"-- {name}", flush=True)
    return path is not None and subprocess.run([path, *arguments], cwd=ROOT, check=False).returncode == 0


def run_function(name: str) -> bool:
    """Print what a check of this file finds, and return whether that is nothing."""
    print(f"-- {name}")
    wrong = FUNCTIONS[name]()
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return not wrong


FUNCTIONS = {"lock file": lock_file, "front matter": front_matter}
CHECKS = dict.fromkeys(COMMANDS, run_command) | dict.fromkeys(FUNCTIONS, run_function)


def main() -> int:
    """Run the checks named on the command line, or all, and say which failed."""
    names = sys.argv[1:] or list(CHECKS)
    if unknown := set(names) - set(CHECKS):
        print(f"There is no check {', '.join(sorted(unknown))}; the checks are {', '.join(CHECKS)}.")
        return 2
    failed = [name for name in names if not CHECKS[name](name)]
    print(f"FAILED: {', '.join(failed)}" if failed else "All checks passed.")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
