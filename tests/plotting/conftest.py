"""Figures of tests are drawn on no screen, and closed."""

import matplotlib
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def figures():
    """Draw on no screen; close what was drawn."""
    matplotlib.use("Agg")
    yield
    plt.close("all")
