"""Opens the pages as notebooks in JupyterLab: `make lab`. Further arguments go to `jupyter lab`.

JupyterLab would open Markdown as text, so Jupytext's notebook view is made its default. Jupytext writes the metadata of
all cells again in its own style, so `Pages` keeps the style of the page: saving changes what was edited and nothing else.
Settings, workspaces and logs are kept below _build/lab, never in the user's home.
"""

import json
import os
import re
import sys
from pathlib import Path

import jupytext
import nbformat
import yaml

ROOT = Path(__file__).parents[1]
HOME = ROOT / "_build" / "lab"
VIEWERS = dict.fromkeys(("markdown", "myst"), "Jupytext Notebook")
FRONT = re.compile(r"\A---\n.*?^---\n\n?", re.MULTILINE | re.DOTALL)
CELL = re.compile(
    r"^(?P<start>(?P<fence>`{3,})\{(?:code|raw)-cell\}[^\n]*\n)"
    r"(?P<header>---\n.*?^---\n|(?::[^\n]*\n)+|)(?P<blank>\n?)(?P<body>.*?)(?P<end>^(?P=fence)$)",
    re.MULTILINE | re.DOTALL,
)
ENTRY = re.compile(r"^\w[^\n]*\n(?:(?!---$)(?:[ -][^\n]*)?\n)*", re.MULTILINE)


def metadata(header: str) -> str:
    """Return what a cell's header, or an entry of it, says, however it is written."""
    try:
        return repr(yaml.safe_load(re.sub(r"^(---$|:)", "", header, flags=re.MULTILINE)) or {})
    except yaml.YAMLError:
        return header


def keep_style(old: str, new: str) -> str:
    """Return the page `new` with the front matter of `old`, and with its headers and their entries that say the same.

    The front matter of `new` stays if the page has its first cells.
    """
    style = {}
    for cell in CELL.finditer(old):
        for key in (metadata(cell["header"]), cell["body"]), metadata(cell["header"]):
            style.setdefault(key, cell["header"] + cell["blank"])
        for entry in ENTRY.findall(cell["header"]):
            style.setdefault(("entry", metadata(entry)), entry)

    def restore(cell: re.Match) -> str:
        said = metadata(cell["header"])
        edited = ENTRY.sub(lambda entry: style.get(("entry", metadata(entry[0])), entry[0]), cell["header"])
        header = style.get((said, cell["body"]), style.get(said, edited + cell["blank"]))
        return cell["start"] + header + cell["body"] + cell["end"]

    if CELL.search(old) or not CELL.search(new):
        front = FRONT.match(old)
        new = (front[0] if front else "") + FRONT.sub("", new)
    return CELL.sub(restore, new)


class Pages(jupytext.AsyncTextFileContentsManager):
    """Reads and writes pages as notebooks; what was not edited keeps its style. Pages edited as text are saved as typed."""

    async def save(self, model, path=""):
        """Save a model, and return it without its content."""
        if model["type"] == "notebook" and path.endswith(".md") and await self.file_exists(path):
            old = await self.get(path, type="file", format="text")
            notebook = nbformat.from_dict(model["content"])
            new = jupytext.writes(notebook, fmt="md:myst", config=await self.get_config(path))
            model = {"type": "file", "format": "text", "content": keep_style(old["content"], new)}
        return await super().save(model, path)


def environment() -> dict[str, str]:
    """Write JupyterLab's default settings and return the variables that lead it there."""
    settings = HOME / "config" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": VIEWERS}}))
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    return {name: str(HOME / folder) for name, folder in folders.items()}


if __name__ == "__main__":
    os.environ.update(environment())
    options = [
        f"--ServerApp.root_dir={ROOT}",
        "--ServerApp.contents_manager_class=book.lab.Pages",
        "--LabApp.default_url=/lab/tree/book/quickstart.md",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # In a container; the server listens to this machine only, and asks for its token.
        options.append("--allow-root")
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options, *sys.argv[1:]])
