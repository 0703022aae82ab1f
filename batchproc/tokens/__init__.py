"""Weighs: how many tokens a request needs."""
