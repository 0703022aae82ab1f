"""Tells: what a run says on stderr while it goes on, and its last words."""
