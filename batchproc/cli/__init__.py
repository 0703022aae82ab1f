"""Asks: one file a command; the only place where concrete things are built."""
