"""Runs: the worker pool, the feed, signals."""
