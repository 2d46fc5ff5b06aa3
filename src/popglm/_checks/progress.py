"""Progress bars, one kind in a terminal and one in a notebook that can show it."""

import warnings
from typing import Any


def open_bar(total: int, unit: str, **options: Any) -> Any:
    """Open a bar of tqdm. A notebook without ipywidgets shows that of a terminal, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TqdmWarning, when tqdm finds no ipywidgets
        from tqdm.auto import tqdm
    return tqdm(total=total, unit=unit, **options)
