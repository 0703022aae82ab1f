"""Where results may be written, before anything is."""

from __future__ import annotations

import os

from batchproc.errors import UsageError
from batchproc.settings import RunSettings


def check_places(settings: RunSettings) -> None:
    """Raise UsageError where output and checkpoint cannot be files, or are the same, or the input."""
    for name, path in (("output", settings.output), ("checkpoint", settings.checkpoint)):
        if os.path.isdir(path):
            raise UsageError(f"the {name} `{path}` is a directory", "name a file with `-o`")
        if os.path.exists(path) and not os.path.isfile(path):
            raise UsageError(f"the {name} `{path}` is not a plain file", "`-o -` writes to standard output")
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise UsageError(f"there is no folder `{folder}` for the {name}", f"make it first: mkdir -p {folder}")
    names = [settings.output, settings.checkpoint, settings.output + ".lock"]
    if settings.jobs != "-":
        names.append(settings.jobs)
    if len({os.path.realpath(n) for n in names}) < len(names):
        raise UsageError("jobs, output and checkpoint must be different files", "name another output with `-o`")
