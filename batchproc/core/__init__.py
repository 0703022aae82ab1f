"""Decides: no clock, no randomness, no files, no network."""
