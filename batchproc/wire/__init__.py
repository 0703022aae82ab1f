"""Talks: HTTP."""
