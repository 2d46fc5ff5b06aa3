"""Edit and launch buttons need the repository's address: the build's environment has it, or there are none."""

import os
import re

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
    """Return where the built book is going to stand, or nothing if the environment does not tell."""
    owner, _, name = env.get("GITHUB_REPOSITORY", "").partition("/")
    pages = (
        f"https://{owner.lower()}.github.io/{name}/"
        if env.get("GITHUB_SERVER_URL") == "https://github.com" and name
        else ""
    )
    return env.get("READTHEDOCS_CANONICAL_URL", pages)


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
