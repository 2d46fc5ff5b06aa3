"""Progress bars, one kind in a terminal and one in a notebook that can show it."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from popglm.parallel._share import is_first

PASS_WATCHER: ContextVar[Callable[[float], None] | None] = ContextVar("pass_watcher", default=None)
SECONDS_BETWEEN_SHARES = 0.2  # of a pass, as a bar shows them


def open_bar(total: int, unit: str, **options: Any) -> Any:
    """Open a bar of tqdm, which the first process alone shows. A notebook without ipywidgets shows that of a terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TqdmWarning, when tqdm finds no ipywidgets
        from tqdm.auto import tqdm
    return tqdm(total=total, unit=unit, disable=not is_first(), **options)


@contextmanager
def show_passes(bar: Any) -> Iterator[Callable[[str], None]]:
    """Let a bar show how far each pass over the data has come; yield the function that sets the text before that."""
    text, last = "", 0.0

    def set_text(new: str) -> None:
        nonlocal text
        text = new
        bar.set_postfix_str(text)

    def show_share(share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_SHARES:
            last = time.monotonic()
            bar.set_postfix_str(f"{text}{', ' if text else ''}{share:.0%} of a pass")

    before = PASS_WATCHER.get()
    PASS_WATCHER.set(show_share)
    try:
        yield set_text
    finally:
        PASS_WATCHER.set(before)


def watch_pass(chunks: Iterable[tuple[int, Any]], n_rows: int | None) -> Iterable[tuple[int, Any]]:
    """Tell the bar, if one is shown, the share of the rows that are before each chunk, when that is asked for."""
    watcher = PASS_WATCHER.get()
    if watcher is None or not n_rows:
        return chunks
    return _watch_chunks(chunks, n_rows, watcher)


def _watch_chunks(
    chunks: Iterable[tuple[int, Any]], n_rows: int, watcher: Callable[[float], None]
) -> Iterator[tuple[int, Any]]:
    for start, chunk in chunks:
        watcher(start / n_rows)
        yield start, chunk
