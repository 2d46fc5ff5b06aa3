"""Functions of one block whose totals are statistics (losses, moments, scores), and estimates from those totals."""
