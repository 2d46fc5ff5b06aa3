"""Number of rows in a block, and of blocks in a chunk."""

from types import SimpleNamespace

SIZES = SimpleNamespace(
    block_rows=2048,  # rows whose features exist at one time
    chunk_blocks=16,
)
