"""How many rows a block has, and how many blocks a chunk."""

from types import SimpleNamespace

SIZES = SimpleNamespace(
    block_rows=2048,  # rows whose features exist at one time
    chunk_blocks=16,
)
