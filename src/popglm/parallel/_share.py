"""Share of the work that this process and its devices have, and values that the processes of a job exchange.

`popglm.parallel` sets the share for a block of code. All processes of a job run the same code on it and exchange values at the
same places, in the same order: `gather` compares what they are at, and an error of one ends all of them.
"""

import pickle
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import numpy as np

OK, STOPPED = 0, 1  # status of a process
NOTE_BYTES = 1000  # of the note that a process sends with its status
SAME_SCRIPT = (
    "All processes must run the same script with the same settings, data and versions, on one kind of processor."
)


class Share(NamedTuple):
    """Devices of this process that chunks are spread over, none for JAX's default; its rank among the processes.

    The `rows` are "shared" if all processes have the same recording and each takes some chunks of it, "own" if each gives
    other rows, and None in a process that works alone.
    """

    devices: tuple[Any, ...] = ()
    n_processes: int = 1
    rank: int = 0
    rows: str | None = None

    def takes(self, number: int) -> bool:
        """Return whether this process sums the chunk of this number."""
        return self.rows != "shared" or number % self.n_processes == self.rank

    def device_of(self, position: int) -> Any:
        """Device of a chunk by its position among those of this process; None for the default one."""
        return self.devices[position % len(self.devices)] if self.devices else None


ALONE = Share()
SHARE: ContextVar[Share] = ContextVar("share", default=ALONE)


class ProcessError(RuntimeError):
    """Error that all processes of the job know of."""


def has_own_rows() -> bool:
    """Return whether the processes of the job give rows of their own."""
    return SHARE.get().rows == "own"


def shares_rows() -> bool:
    """Return whether several processes share the rows of one recording."""
    return SHARE.get().rows == "shared"


def is_first() -> bool:
    """Return whether this process writes files and shows what concerns the whole job."""
    return SHARE.get().rank == 0


def describe_job() -> dict[str, str]:
    """Settings of the job for a checkpoint, which belongs to it; none of a process that works alone."""
    share = SHARE.get()
    return {} if share.rows is None else {"processes": f"{share.n_processes} with {share.rows} rows"}


def gather(value: Any, place: str) -> list[Any]:
    """Gather a value of every process, in the order of their ranks; alone, a list of one.

    The processes exchange their status first: `place` says where the caller is, and must be the same for all.
    """
    if SHARE.get().rows is None:
        return [value]
    content = pickle.dumps(value, protocol=5)
    status = _exchange_status(OK, place, len(content))
    n_bytes = status[:, 2]
    words = np.zeros(_padded_words(int(n_bytes.max())), np.uint32)
    words.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
    every = _gather_words(words).view(np.uint8)
    return [pickle.loads(row[:n].tobytes()) for row, n in zip(every, n_bytes, strict=True)]


def tell_error(error: BaseException) -> None:
    """Tell the other processes why this one stops; they stop, too, at the next value that they gather."""
    _exchange_status(STOPPED, f"{type(error).__name__}: {error}", 0, raises=False)


def in_order_of_rows(sums: Iterable[tuple[int, Any]], place: Callable[[], str]) -> Iterator[Any]:
    """Yield sums of chunks, pairs (first row, sums), of all processes: in the order of rows, as one process would.

    Processes may have different numbers of chunks, and leave out some. So each round tells how far each has come.
    """
    if SHARE.get().rows is None:
        yield from (new for _, new in sums)
        return
    waiting: list[tuple[int, int, Any]] = []
    sums, name = iter(sums), place()
    while True:
        mine = next(sums, None)
        every = gather(None if mine is None else (mine[0], jax.tree.map(np.asarray, mine[1])), name)
        waiting = sorted(
            [*waiting, *((new[0], rank, new[1]) for rank, new in enumerate(every) if new)], key=lambda one: one[:2]
        )
        reached = min(np.inf if new is None else new[0] for new in every)
        while waiting and waiting[0][0] <= reached:
            yield waiting.pop(0)[2]
        if all(new is None for new in every):
            return


def share_neurons(f: Callable, neurons: np.ndarray, place: str, size: int = 1) -> list[Any]:
    """Compute ``f(block)`` for consecutive blocks of `size` neurons; each process computes some, and all get all results.

    A block is the same whoever computes it, so results have the bits of one process. A single block is not worth an exchange:
    every process computes it.
    """
    blocks, share = np.split(neurons, range(size, len(neurons), size)), SHARE.get()
    if share.rows is None or len(blocks) == 1:
        return [f(block) for block in blocks]
    mine = [f(block) for block in blocks[share.rank :: share.n_processes]]
    every = gather(mine, f"{place}, neurons {zlib.crc32(neurons.tobytes()):08x}")
    return [every[i % share.n_processes][i // share.n_processes] for i in range(len(blocks))]


def agree(value: Any, place: str) -> Any:
    """Return the value of the first process that has one, if processes have rows of their own; else the value itself."""
    if not has_own_rows():
        return value
    return next((one for one in gather(value, place) if one is not None), None)


def on_first(make: Callable[[], Any], place: str) -> Any:
    """Let the first process make a value, and return it in all of them."""
    return gather(make() if is_first() else None, place)[0]


def refuse_processes(what: str, fix: str) -> None:
    """Refuse what several processes cannot do together."""
    if SHARE.get().rows is not None:
        raise ValueError(f"several processes cannot share {what}. {fix}.")


def refuse_own_rows(what: str) -> None:
    """Refuse what needs all rows in every process."""
    if has_own_rows():
        fix = 'Give all processes the same recording: popglm.parallel.processes(rows="shared")'
        raise ValueError(f"{what} needs all rows, and each process has rows of its own. {fix}.")


def describe_sum(f: Callable, args: tuple) -> str:
    """Name of a function that is summed, and a checksum of its arguments."""
    checksum = 0
    for leaf in jax.tree.leaves(args):
        array = np.ascontiguousarray(leaf)
        checksum = zlib.crc32(array, zlib.crc32(f"{array.dtype} {array.shape}".encode(), checksum))  # type: ignore[arg-type]
    return f"sums {getattr(f, '__qualname__', type(f).__name__)}, arguments {checksum:08x}"


def _exchange_status(status: int, note: str, n_bytes: int, *, raises: bool = True) -> np.ndarray:
    """Exchange status, checksum of the note, and length of the value to come; raise an error unless all are well."""
    text = note.encode()[:NOTE_BYTES]
    words = np.zeros(3 + NOTE_BYTES // 4, np.uint32)
    words[:3] = status, zlib.crc32(note.encode()), n_bytes
    words[3:].view(np.uint8)[: len(text)] = np.frombuffer(text, np.uint8)
    every = _gather_words(words)
    if not raises:
        return every
    notes = [row[3:].tobytes().rstrip(b"\0").decode(errors="replace") for row in every]
    for rank, (row, told) in enumerate(zip(every, notes, strict=True)):
        if row[0] == STOPPED:
            raise ProcessError(f"process {rank} of this job has stopped, and all others with it: {told}")
    other = next((rank for rank, row in enumerate(every) if row[1] != every[0, 1]), None)
    if other is not None:
        raise ProcessError(f"process 0 {notes[0]}, process {other} {notes[other]}. {SAME_SCRIPT}")
    return every


def _gather_words(words: np.ndarray) -> np.ndarray:
    """Gather 32-bit words, which JAX leaves as they are; it would round double precision."""
    from jax.experimental.multihost_utils import process_allgather

    try:
        return np.ascontiguousarray(process_allgather(words))
    except Exception as error:
        fix = "Start the job again: a fit with a checkpoint goes on from there"
        raise ProcessError(f"another process of this job has ended, or cannot be reached. {fix}.") from error


def _padded_words(n_bytes: int) -> int:
    """Round up to about three significant bits, so that few lengths are compiled."""
    n = -(-n_bytes // 4)
    step = 1 << max(max(n, 64).bit_length() - 3, 0)
    return max(-(-n // step) * step, 64)
