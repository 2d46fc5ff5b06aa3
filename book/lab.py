"""Opens the pages as notebooks in JupyterLab: `make lab`. Further arguments go to `jupyter lab`.

JupyterLab would open Markdown as text, so Jupytext's notebook view is made its default. Settings, workspaces and logs
are kept below _build/lab, never in the user's home.
"""

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = ROOT / "_build" / "lab"
VIEWERS = dict.fromkeys(("markdown", "myst"), "Jupytext Notebook")


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
    options = [f"--ServerApp.root_dir={ROOT}", "--LabApp.default_url=/lab/tree/book/quickstart.md"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append(
            "--allow-root"
        )  # in a container; the server listens to this machine only, and asks for its token
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options, *sys.argv[1:]])
