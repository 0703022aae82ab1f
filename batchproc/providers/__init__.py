"""Translates between APIs and batchproc."""
