"""The one place that sets up a page's kernel: the build and the tests of the pages both use it.

It also says which cached executions are still valid: those of the same package, lock file, Python and set-up.
"""

import hashlib
import os
import sys
from pathlib import Path

PROFILE = """\
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Date": None}}
c.InlineBackend.rc = {"svg.hashsalt": "popglm"}
c.HistoryManager.enabled = False
c.Application.log_level = "ERROR"
"""


def kernel_environment(root: Path, threads: int | None = None) -> dict[str, str]:
    """Write IPython's profile below `root`/_build and return the environment variables of a page's kernel."""
    profile = root / "_build" / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text(PROFILE)
    path = [str(root / "src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]  # this checkout's package first
    cap = str(threads or os.cpu_count() or 1)
    return {
        "IPYTHONDIR": str(profile.parent),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "SOURCE_DATE_EPOCH": "0",
        "JAX_PLATFORMS": "cpu",
        "TQDM_DISABLE": "1",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, path))),
        **dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), cap),  # NPROC: XLA's
    }


def execution_cache(root: Path) -> Path:
    """Return the folder of the executions that are valid for what the pages would import now."""
    salt = hashlib.sha256(sys.version.encode())
    source = [p for p in (root / "src").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    for path in sorted([*source, root / "requirements.lock", Path(__file__)]):
        salt.update(f"{path.relative_to(root) if path.is_relative_to(root) else path.name}\0".encode())
        salt.update(path.read_bytes())
    return root / "_build" / ".jupyter_cache" / salt.hexdigest()[:16]
