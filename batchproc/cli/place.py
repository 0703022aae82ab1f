"""Where a command was typed."""

from __future__ import annotations

import os


def folder() -> str:
    """The current folder; empty where it was removed since."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def is_here(path: str) -> bool:
    """Whether a folder is the current one."""
    here = folder()
    return bool(here) and os.path.realpath(path) == os.path.realpath(here)
