"""The exact fit: it knows blocks and sums, and nothing of estimators."""
