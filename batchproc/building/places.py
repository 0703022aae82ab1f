"""Where results may be written, before anything is."""

from __future__ import annotations

import os
import shlex

from batchproc.errors import UsageError
from batchproc.settings import RunSettings


def check_places(settings: RunSettings) -> None:
    """Raise UsageError where output and checkpoint cannot be files, or are the same, or the input."""
    for name, path, option in (("output", settings.output, "-o"), ("checkpoint", settings.checkpoint, "--checkpoint")):
        if os.path.isdir(path):
            raise UsageError(f"the {name} `{path}` is a directory", f"name a file with `{option}`")
        if os.path.exists(path) and not os.path.isfile(path):
            raise UsageError(
                f"the {name} `{path}` is not a plain file",
                f"name a plain file with `{option}`; `-o -` writes to standard output",
            )
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise UsageError(
                f"there is no folder `{folder}` for the {name}", f"make it first: `mkdir -p {shlex.quote(folder)}`"
            )
    names = [settings.output, settings.checkpoint, settings.output + ".lock"]
    if settings.jobs != "-":
        names.append(settings.jobs)
    if len({os.path.realpath(n) for n in names}) < len(names):
        raise UsageError("jobs, output, checkpoint and lock must be different files", "name another output with `-o`")
