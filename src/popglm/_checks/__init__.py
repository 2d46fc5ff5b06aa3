"""Checks that several parts share; those of one part live beside it, in its own `_checks`."""
