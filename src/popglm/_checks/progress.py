"""Progress bars, one kind in a terminal and one in a notebook that can show it."""

import warnings
from typing import Any

from popglm.parallel._share import is_first


def open_bar(total: int, unit: str, **options: Any) -> Any:
    """Open a bar of tqdm, which the first process alone shows. A notebook without ipywidgets shows that of a terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TqdmWarning, when tqdm finds no ipywidgets
        from tqdm.auto import tqdm
    return tqdm(total=total, unit=unit, disable=not is_first(), **options)
