"""Builds the source archive and the wheel into `dist/`, and tests the wheel as a user gets it: `make dist`.

The wheel is made from the source archive, so both are complete or neither is. It is installed with the newest dependencies
into a new environment, and tested from an empty folder, where nothing of the repository can be imported.

    python tests/release.py                 build, install, test
    python tests/release.py --tag v0.1.0    the same, if the tag is that of the version in pyproject.toml
    python tests/release.py --quick         without the tests of laws
    python -I tests/release.py --installed  test only what this Python has installed
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from importlib import import_module, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src/popglm"
LAWS = (  # a few fast tests: what imports what, algebra of bases, scores, files of this version and of earlier ones
    "project/test_imports.py",
    "basis/test_algebra.py",
    "glm/test_score.py",
    "io/test_io.py",
    "files/test_earlier_versions.py",
)


def read_version() -> str:
    """Return the version, whose only place is pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]["version"]


def check_release(tag: str) -> list[str]:
    """Return what is wrong with a tag, and with the files that name the version and the date of the release."""
    version, wrong = read_version(), []
    if tag != f"v{version}":
        wrong.append(f"the tag must be v{version}, as `version` in pyproject.toml; got {tag}")
    cited = dict(re.findall(r"^(version|date-released): (\S+)$", (ROOT / "CITATION.cff").read_text("utf8"), re.M))
    heads = re.findall(r"^## \[?([^\]\s]+)\]?(?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text("utf8"), re.M)
    newest = next((head for head in heads if head[0] != "Unreleased"), ("", ""))
    if newest[0] != version:
        wrong.append(f"the newest version in CHANGELOG.md must be {version}; it is {newest[0] or 'missing'}")
    if (cited.get("version"), cited.get("date-released")) != newest:
        wrong.append(f"CITATION.cff must have version and date of CHANGELOG.md, {' of '.join(newest)}; it has {cited}")
    return wrong


def build(folder: Path) -> Path:
    """Build the source archive, and from it the wheel; return the wheel."""
    shutil.rmtree(folder, ignore_errors=True)
    hatchling = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run([*hatchling, "-t", "sdist"], cwd=ROOT, check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(archive) as files:
            files.extractall(unpacked, filter="data")
        subprocess.run([*hatchling, "-t", "wheel"], cwd=Path(unpacked, archive.name[: -len(".tar.gz")]), check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_wheel(wheel: Path, quick: bool):
    """Install the wheel into a new environment, and test it there, outside of the repository."""
    with tempfile.TemporaryDirectory() as folder:
        bin_folder = Path(folder, "env", "Scripts" if os.name == "nt" else "bin")
        python, empty, tests = str(bin_folder / "python"), Path(folder, "empty"), Path(folder, "laws")
        empty.mkdir()
        needs = ["matplotlib", "beartype", "hypothesis", "pytest"]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        run = lambda *command, cwd=empty: subprocess.run(command, cwd=cwd, env=clean, check=True)
        run(sys.executable, "-m", "venv", str(bin_folder.parent))
        run(python, "-m", "pip", "install", "--quiet", str(wheel), *needs)
        run(python, "-I", str(Path(__file__).resolve()), "--installed")
        if not quick:
            shutil.copytree(ROOT / "tests", tests)
            run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *LAWS, cwd=tests)


def check_installed():
    """Test the popglm of this Python: its place, its version, its files, every public module, and the README's example."""
    popglm = import_module("popglm")
    package = Path(popglm.__file__).parent
    assert package.is_relative_to(sys.prefix), f"popglm must be installed in {sys.prefix}; it is {package}"
    assert popglm.__version__ == metadata.version("popglm") == read_version(), popglm.__version__
    files = {
        path.relative_to(SOURCE) for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    missing = sorted(str(path) for path in files if not (package / path).is_file())
    assert not missing, f"the wheel lacks {', '.join(missing)}"
    for name in popglm._MODULES:
        import_module(f"popglm.{name}")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf8"), re.S)
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"MPLBACKEND": "Agg"}
        subprocess.run([sys.executable, "-I", "-c", "".join(blocks)], cwd=folder, env=environment, check=True)
        assert Path(folder, "couplings.svg").stat().st_size > 10_000
    print(f"popglm {popglm.__version__} works: {package}")


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tag", help="the release's tag, which must be that of the version")
    parser.add_argument("--quick", action="store_true", help="leave the tests of laws out")
    parser.add_argument(
        "--installed", action="store_true", help="test what this Python has installed, and build nothing"
    )
    options = parser.parse_args()
    if options.tag and (wrong := check_release(options.tag)):
        print(*wrong, sep="\n")
        return 1
    if options.installed:
        check_installed()
    else:
        wheel = build(ROOT / "dist")
        check_wheel(wheel, options.quick)
        print(f"Built and tested: {wheel.name} and its source archive, in {wheel.parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
