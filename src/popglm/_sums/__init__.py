"""Functions of one block whose totals are statistics: losses, moments, scores; and what those totals say."""
