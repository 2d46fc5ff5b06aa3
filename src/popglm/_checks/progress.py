"""Progress bars, one kind in a terminal and one in a notebook that can show it."""

import warnings


def open_bar(total, unit, **options):
    """Open a bar of tqdm. A notebook without ipywidgets shows that of a terminal, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TqdmWarning, when tqdm finds no ipywidgets
        from tqdm.auto import tqdm
    return tqdm(total=total, unit=unit, **options)
