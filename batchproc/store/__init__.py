"""Remembers: input, output, checkpoint, lock."""
