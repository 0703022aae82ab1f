"""Where a command was typed."""

from __future__ import annotations

import os

from batchproc.errors import UsageError


def folder() -> str:
    """The current folder; empty where it was removed since."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def check_folder(*paths: str) -> None:
    """Raise UsageError where the current folder was removed and one of these paths is meant from there."""
    if not folder() and not all(map(os.path.isabs, paths)):
        raise UsageError("the folder in which this was typed was removed", "go to one that is there, and type it again")


def is_here(path: str) -> bool:
    """Whether a folder is the current one."""
    here = folder()
    return bool(here) and os.path.realpath(path) == os.path.realpath(here)
