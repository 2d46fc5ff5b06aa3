"""Seconds and peak memory, measured in the same way for every tool."""

import os
import resource
import time
from pathlib import Path


def timed(call):
    """Return the seconds that `call` took and what it returned."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def peak_bytes() -> dict[str, int]:
    """Return the largest resident memory of this process so far, and of its largest worker if it had any."""
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    own, worker = (resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.exists():  # Linux hands ru_maxrss down from the process that started this one, but not this
        own = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return {"peak_bytes": own, "peak_worker_bytes": worker}
