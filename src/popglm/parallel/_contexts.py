"""The blocks of code on several devices or processes, and the start of a job of several processes."""

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import jax

from popglm.parallel._share import SAME_SCRIPT, SHARE, ProcessError, gather, tell_error

ROWS = "shared", "own"
HEARTBEAT_SECONDS = 30  # without a sign of life, after which a process counts as dead
GOODBYE_SECONDS = 5.0  # in which others should have taken note of an error
JOB_SIZES = "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"


@contextmanager
def devices(devices: int | Sequence[Any] | None = None) -> Iterator[tuple[Any, ...]]:
    r"""Sum over several devices of this process: GPUs, or parts of a processor.

    Whatever is a sum over time bins, :math:`S = \sum_{c=1}^{C} S_c` over chunks of the recording, is shared out: chunk c is
    kept and summed by device c modulo D, and the :math:`S_c` are added in their order, in double precision, as on one
    device. So all numbers are, bit by bit, those of one device. The function that is summed is compiled once for all
    devices, which exchange nothing while they sum.

    Fits, scores, inference and comparisons inside the block follow; ``predict`` and solvers that a user names stay on one
    device. A chunk has 32,768 bins: a recording of C chunks has work for C devices.

    Parameters
    ----------
    devices
        The devices, or how many of ``jax.local_devices()``; None takes all of these.

    Yields
    ------
    tuple
        The devices.

    Raises
    ------
    ValueError
        If there are fewer devices, or some are those of another process.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm import parallel
    >>> from popglm.glm import PopulationGLM
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(1000, 3)), rng.poisson(0.2, (1000, 2))
    >>> with parallel.devices():
    ...     model = PopulationGLM().fit(X, y)
    >>> bool((model.coef_ == PopulationGLM().fit(X, y).coef_).all())
    True
    """
    chosen = _as_devices(devices)
    token = SHARE.set(SHARE.get()._replace(devices=chosen if len(chosen) > 1 else ()))
    try:
        yield chosen
    finally:
        SHARE.reset(token)


@contextmanager
def processes(rows: str = "shared") -> Iterator[tuple[int, int]]:
    r"""Sum over several processes, on one machine or many, that `initialize` has joined. All of them must run this block.

    Whatever is a sum over time bins, :math:`S = \sum_p S_p`, is made of the sums of all processes p, and every process has
    the same result. Quadratic models with absolute values, evidence and inverses of information are shared by neurons. In a
    job of one process, the block changes nothing.

    Only the first process writes checkpoints and shows progress. If one stops with an error, all do, with its message. If
    one is killed, the others stop, and the same job started again continues from the checkpoint.

    Parameters
    ----------
    rows
        "shared": all processes open the same recording, and each reads and sums only its chunks. The numbers are, bit by
        bit, those of one process on such a machine. "own": each process gives other rows, such as its own sessions, of the
        same features and neurons. Coefficients are then within 1e-3 standard errors of those of one process with all rows,
        since blocks have other borders.

    Yields
    ------
    tuple
        Rank of this process, from 0, and the number of processes.

    Raises
    ------
    ValueError
        If `rows` is neither of these; if what is fitted cannot be shared: solvers that a user names, ``fit_batches``,
        ``update``; with rows of their own also errors by clusters, and comparisons of models.
    RuntimeError
        If another process has stopped, or does other things than this one.

    Examples
    --------
    >>> from popglm import parallel
    >>> parallel.initialize()  # alone, unless a cluster has started several processes
    >>> with parallel.processes(rows="shared") as (rank, n_processes):
    ...     print(rank, n_processes)
    0 1
    """
    if rows not in ROWS:
        raise ValueError(f"`rows` must be 'shared' or 'own'; got {rows!r}.")
    rank, n_processes = jax.process_index(), jax.process_count()
    if n_processes == 1:
        yield rank, n_processes
        return
    token = SHARE.set(SHARE.get()._replace(rows=rows, rank=rank, n_processes=n_processes))
    try:
        _require_same_code(rows)
        yield rank, n_processes
        gather(None, "leaves the block of code")
    except ProcessError:
        raise
    except BaseException as error:
        with suppress(ProcessError):
            tell_error(error)
        error.add_note("The other processes of this job have been told, and stop.")
        error.popglm_told = True  # type: ignore[attr-defined]
        raise
    finally:
        SHARE.reset(token)


def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    **options: Any,
) -> None:
    """Join the processes of a job: ``jax.distributed.initialize``, to be called before JAX computes anything.

    On a cluster with SLURM or Open MPI, and where JAX knows the cloud, no argument is needed. Without any, and without such
    a cluster, the process stays alone, so that the same script runs on a laptop. Processes exchange sums by Gloo between
    processors and by NCCL between GPUs; JAX chooses. An error that ends one process ends it at once, so that no other waits
    for it.

    Parameters
    ----------
    coordinator_address
        Machine and port of the first process, such as "10.0.0.1:1234".
    num_processes
        Number of processes.
    process_id
        Rank of this process, from 0.
    options
        Others of ``jax.distributed.initialize``. ``heartbeat_timeout_seconds`` is 30 here.

    Raises
    ------
    RuntimeError
        If JAX has computed something already.
    ValueError
        If a cluster has started several processes, and JAX cannot tell which; or if only some arguments are given.

    Examples
    --------
    >>> from popglm import parallel
    >>> parallel.initialize()
    """
    if jax.distributed.is_initialized():
        return
    options = {"heartbeat_timeout_seconds": HEARTBEAT_SECONDS} | options
    try:
        jax.distributed.initialize(coordinator_address, num_processes, process_id, **options)
    except (ValueError, RuntimeError) as error:
        given = (coordinator_address, num_processes, process_id) != (None, None, None)
        started = any(int(os.environ.get(name, "1")) > 1 for name in JOB_SIZES)
        if started and not _cluster_is_known():
            error.add_note(
                "The queue has given this job several tasks. Start the script by srun or mpirun, or ask for one."
            )
        if given or started or _cluster_is_known():
            raise
        return
    if jax.process_count() > 1:
        sys.excepthook = _end_at_once


def _as_devices(devices: Any) -> tuple[Any, ...]:
    local = jax.local_devices()
    if devices is None:
        return tuple(local)
    if isinstance(devices, int):
        if not 1 <= devices <= len(local):
            fix = (
                "On a processor, XLA_FLAGS=--xla_force_host_platform_device_count=4, set before JAX starts, makes four"
            )
            raise ValueError(f"`devices` must be from 1 to {len(local)}, which this process has; got {devices}. {fix}.")
        return tuple(local[:devices])
    chosen = tuple(devices)
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(local):
        raise ValueError(f"`devices` must be different ones of jax.local_devices(), {local}; got {devices!r}.")
    return chosen


def _cluster_is_known() -> bool:
    """Return whether JAX finds a cluster around this process."""
    from jax._src.clusters import ClusterEnv

    return any(cluster.is_env_present() for cluster in ClusterEnv._cluster_types if not cluster.opt_in_only_method)


def _require_same_code(rows: str) -> None:
    """Require one version of this package and of JAX, and the same settings, in all processes."""
    from importlib.metadata import version

    package = Path(__file__).parents[1]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))).hexdigest()[:12]
    mine = {
        "rows": rows,
        "version of popglm": version("popglm"),
        "code of popglm": code,
        "version of JAX": jax.__version__,
        "jax_enable_x64": jax.config.jax_enable_x64,
    }
    every = gather(mine, "enters the block of code")
    for rank, other in enumerate(every):
        for name, value in every[0].items():
            if other[name] != value:
                raise ProcessError(
                    f"{name} is {value!r} in process 0 and {other[name]!r} in process {rank}. {SAME_SCRIPT}"
                )


def _end_at_once(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show an error that nobody caught, tell the others, and end this process without waiting for them."""
    sys.__excepthook__(kind, error, traceback)
    if not isinstance(error, ProcessError) and not hasattr(error, "popglm_told"):
        telling = threading.Thread(target=_tell_quietly, args=(error,), daemon=True)
        telling.start()
        telling.join(GOODBYE_SECONDS)
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_index() == 0:
        time.sleep(2)  # the others end with this one, and should have shown their error
    os._exit(1)


def _tell_quietly(error: BaseException) -> None:
    with suppress(ProcessError):
        tell_error(error)
