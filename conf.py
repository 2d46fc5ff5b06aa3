"""Sphinx's configuration for Read the Docs, derived from _config.yml so that the two cannot drift apart."""

from pathlib import Path

from jupyter_book.config import get_final_config

_root = Path(__file__).parent
_cli = {"external_toc_path": "_toc.yml", "latex_individualpages": False}
_config, _ = get_final_config(user_yaml=_root / "_config.yml", sourcedir=_root, cli_config=_cli, raise_on_invalid=True)
globals().update(_config)
