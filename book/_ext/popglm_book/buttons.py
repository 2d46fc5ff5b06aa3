"""Edit and launch buttons need the repository's address: the build's environment has it, or there are none.

Binder opens the page itself, in the environment of `.binder`. Colab opens notebooks of GitHub only: a workflow puts them
into the branch `notebooks`, as `write_notebooks` makes them, with a first cell that installs popglm.
"""

import os
import re
from pathlib import Path

import nbformat

COLAB, BRANCH, FOLDER = "https://colab.research.google.com", "notebooks", "_notebooks"
HOSTS = ("github.com", "gitlab.com", "bitbucket.org")


def repository(env):
    """Return (address, branch) from what Read the Docs or GitHub tells, or None."""
    github = f"{env.get('GITHUB_SERVER_URL', '')}/{env.get('GITHUB_REPOSITORY', '')}"
    url = env.get("READTHEDOCS_GIT_CLONE_URL", github)
    found = re.match(r"(?:https://|git@|ssh://git@)([^/:]+)[/:](.+?)(?:\.git)?/?$", url)
    if not found or found[1] not in HOSTS:
        return None
    external = env.get("READTHEDOCS_VERSION_TYPE") == "external"  # a pull request, whose identifier is a number
    branch = env.get("READTHEDOCS_GIT_COMMIT_HASH" if external else "READTHEDOCS_GIT_IDENTIFIER")
    branch = branch or env.get("GITHUB_HEAD_REF") or env.get("GITHUB_REF_NAME") or "main"
    return f"https://{found[1]}/{found[2]}", branch


def book_address(env):
    """Return where the built book is going to stand, on Read the Docs or GitHub's pages; nothing if that is not known."""
    if "READTHEDOCS_CANONICAL_URL" in env:
        return env["READTHEDOCS_CANONICAL_URL"]
    if env.get("GITHUB_SERVER_URL") != "https://github.com" or "/" not in env.get("GITHUB_REPOSITORY", ""):
        return ""
    owner, name = env["GITHUB_REPOSITORY"].split("/")
    site = f"{owner.lower()}.github.io"
    return f"https://{site}/" if name.lower() == site else f"https://{site}/{name}/"


def set_buttons(app, config):
    """Set the theme's options, replacing Jupyter Book's own address, and the address of the book itself."""
    config.html_baseurl = config.html_baseurl or book_address(os.environ)
    options = config.html_theme_options
    for key in ("repository_url", "repository_branch", "path_to_docs", "launch_buttons"):
        options.pop(key, None)
    known = repository(os.environ)
    if known:
        url, branch = known
        options |= {"repository_url": url, "repository_branch": branch}
        options |= dict.fromkeys(("use_repository_button", "use_edit_page_button", "use_issues_button"), True)
        if "github.com" in url:
            options["launch_buttons"] = {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"}


def add_colab(app, pagename, templatename, context, doctree):
    """Add a button for Colab to those that launch a page."""
    groups = [button for button in context.get("header_buttons", []) if button.get("label") == "launch-buttons"]
    for group in groups:
        name = app.config.html_theme_options["repository_url"].removeprefix("https://github.com/")
        url = f"{COLAB}/github/{name}/blob/{BRANCH}/{pagename}.ipynb"
        icon = "_static/images/logo_colab.png"
        group["buttons"].append(
            {"type": "link", "text": "Colab", "tooltip": "Launch on Colab", "icon": icon, "url": url}
        )


def write_notebooks(app, exception):
    """Write the notebooks that Colab opens: the downloads, after a cell that installs popglm."""
    known = repository(os.environ)
    if exception or app.builder.format != "html" or not known or "github.com" not in known[0]:
        return
    line = f'%pip install --quiet "popglm[notebooks] @ git+{known[0]}@{known[1]}"'
    comment = "# Colab has no popglm: this installs it. If it asks to restart the session, do so, and go on below.\n"
    for file in Path(app.outdir, "_sources").rglob("*.ipynb"):
        notebook = nbformat.read(file, 4)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(comment + line, id="install-popglm"))
        notebook.nbformat_minor = max(notebook.nbformat_minor, 5)  # whose cells have ids
        _, notebook = nbformat.validator.normalize(notebook)
        target = Path(app.outdir, FOLDER, file.relative_to(Path(app.outdir, "_sources")))
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)
