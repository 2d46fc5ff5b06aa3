"""JAX's persistent compilation cache: what one process has compiled, the next ones read."""

import os
import sys
from pathlib import Path
from typing import Any

import jax


def cache(folder: Any = None) -> Path:
    r"""Keep compiled programs in a folder, so that the first fit of the next process compiles nothing.

    Without it, every new process and every restarted notebook compiles for some seconds before its first numbers. Call this
    once, at the top of a script or notebook, before or after the first import of a module. It switches on JAX's persistent
    compilation cache for this process, for programs of every size, and not only for those that take a second to compile.
    All of JAX uses it, not PopGLM alone. The numbers are those without a cache, bit by bit.

    A program is found again if nothing that matters has changed: with :math:`k` a hash of the program (shapes, dtypes and
    operations), the options of the compiler, the versions of JAX and its compiler and the kind of device, it is read from
    the file of k, if there is one, and compiled and written there, if not. After an update of JAX, programs are compiled
    anew. Nothing is ever deleted: the folder grows by 10 to 100 kB for each program, and may be deleted at any time.

    Parameters
    ----------
    folder
        Path of the folder, which is made if there is none. None takes that which JAX is set to already
        (``JAX_COMPILATION_CACHE_DIR``), or else ``popglm`` in the user's folder of caches: ``~/.cache`` on Linux (or
        ``XDG_CACHE_HOME``), ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows. Programs run with your rights:
        do not take a folder that others may write to.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    TypeError
        If `folder` is not a path.
    ValueError
        If `folder` is an address, a file, or cannot be made or written to.

    References
    ----------
    JAX documentation, "Persistent compilation cache".

    Examples
    --------
    >>> import tempfile
    >>> import popglm
    >>> with tempfile.TemporaryDirectory() as place:  # your scripts: popglm.cache()
    ...     folder = popglm.cache(place)
    ...     folder.is_dir()
    True
    """
    if folder is None:
        folder = jax.config.jax_compilation_cache_dir or _user_cache_folder()
        if "://" in str(folder):  # set in JAX itself, which reads it
            _switch_on(str(folder))
            return Path(folder)
    path = _as_writable_folder(folder)
    _switch_on(str(path))
    return path


def _switch_on(folder: str) -> None:
    """Set the options of JAX, and let it look at them again if it has compiled something already."""
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()


def _user_cache_folder() -> Path:
    """Folder of this package among the user's caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "popglm" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "popglm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "popglm"


def _as_writable_folder(folder: Any) -> Path:
    """Convert to the path of a folder, which is made if there is none."""
    if not isinstance(folder, str | os.PathLike) or isinstance(os.fspath(folder), bytes):
        raise TypeError(f"`folder` must be the path of a folder, such as 'compiled'; got {folder!r}.")
    text = os.fspath(folder)
    if "://" in text:
        fix = (
            "Give such an address to JAX: jax.config.update('jax_compilation_cache_dir', address), then popglm.cache()"
        )
        raise ValueError(f"`folder` must be a folder of this machine; got {text!r}. {fix}.")
    try:
        path = Path(text).expanduser().resolve()
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = "is a file" if isinstance(error, FileExistsError) else f"cannot be made: {error}"
        raise ValueError(f"`folder` must be a folder; {text!r} {reason}. Give another path.") from None
    if not os.access(path, os.W_OK):
        raise ValueError(f"`folder` must be writable; {path} is not. Give another path.")
    return path


cache.__module__ = "popglm"  # its public place
