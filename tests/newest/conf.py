"""The book for Sphinx alone, without Jupyter Book: `make sphinx-newest`. It takes all it can from _config.yml.

What Jupyter Book 1 adds is little: it translates _config.yml into Sphinx's names, and chooses extensions. See decision 0106.
"""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book/_ext"))
_told = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
globals().update(_told["sphinx"]["config"])

extensions = [*(name for name in extensions if name not in ("jupyter_book", "sphinx_comments"))]  # noqa: F821
project, html_title, author, copyright = _told["title"], _told["title"], _told["author"], _told["copyright"]
exclude_patterns = [*_told["exclude_patterns"], "_build"]
external_toc_path, external_toc_exclude_missing = "_toc.yml", _told["only_build_toc_files"]

html_theme = "sphinx_book_theme"
html_logo, html_favicon = str(ROOT / _told["logo"]), str(ROOT / _told["html"]["favicon"])
html_static_path = [str(ROOT / folder) for folder in html_static_path]  # noqa: F821
html_sourcelink_suffix = ""
html_theme_options |= {"home_page_in_toc": _told["html"]["home_page_in_navbar"]}  # noqa: F821
use_multitoc_numbering = _told["html"]["use_multitoc_numbering"]
bibtex_bibfiles = [str(ROOT / file) for file in _told["bibtex_bibfiles"]]

myst_enable_extensions = _told["parse"]["myst_enable_extensions"]
myst_url_schemes = ["mailto", "http", "https"]
nb_execution_mode = _told["execute"]["execute_notebooks"]
nb_execution_timeout = _told["execute"]["timeout"]
nb_output_stderr = _told["execute"]["stderr_output"]
# From Sphinx 8 on, words of types such as `shape` may be several names.
suppress_warnings = ["myst.domains", "ref.python"]
