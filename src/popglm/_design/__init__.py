"""X and y as blocks of rows, and the only loop over them."""
