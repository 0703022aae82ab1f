"""Around a run: checks the files, takes the lock, starts the embedded provider, says the last words."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from batchproc.cli.assemble import Run
from batchproc.errors import DiskFailed, UsageError
from batchproc.settings import RunSettings
from batchproc.simulator.embedded import Embedded
from batchproc.simulator.settings import SimulatorSettings
from batchproc.store.input import check_input
from batchproc.store.lock import OutputLock
from batchproc.store.opening import set_aside
from batchproc.ui.console import Console, audience
from batchproc.ui.progress import progress_for
from batchproc.ui.summary import summary_json


def begin(
    settings: RunSettings,
    *,
    key: str | None,
    headers: dict[str, str],
    secrets: list[str],
    show: str,
    quiet: bool,
    verbose: int,
    no_color: bool,
    as_json: bool,
    command: list[str],
) -> int:
    """Run; returns the exit code. Raises BatchprocError."""
    if as_json and settings.output == "-":
        raise UsageError("`--json` and `-o -` both want standard output", "write the results to a file")
    who = audience(
        isatty=_is_terminal(sys.stderr),
        environ=os.environ,
        progress=show,
        no_color=no_color,
        quiet=quiet,
        results_on_terminal=settings.output == "-" and _is_terminal(sys.stdout),
    )
    console = Console(sys.stderr, who)
    progress = progress_for(console, -1 if quiet else verbose)
    _check_files(settings)
    embedded = _embedded(settings)
    lock = None
    try:
        if embedded is not None:
            embedded.spawn()
        if settings.output != "-":
            lock = OutputLock(settings.output)
            lock.acquire(break_lock=settings.break_lock)
            if settings.fresh:
                _confirm(settings)
        base_url: Callable[[], str] = embedded.wait_url if embedded is not None else lambda: settings.base_url
        run = Run(
            settings,
            key=key,
            headers=headers,
            secrets=secrets,
            base_url=base_url,
            lock=lock,
            start_over=lambda: _start_over(settings, console),
            progress=progress,
            command=command,
        )
        summary = run.execute()
    finally:
        if lock is not None:
            lock.release()
        if embedded is not None:
            embedded.stop()
    progress.summary(summary)
    if as_json:
        print_document(summary_json(summary))
    return summary.exit_code


def print_document(document: bytes) -> None:
    """Write a document to standard output. Raises DiskFailed where it is full or closed."""
    try:
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left must not fail again at exit
        raise DiskFailed(f"writing to standard output failed: {e.strerror or e}") from e


def _is_terminal(stream: object) -> bool:
    try:
        return bool(stream is not None and stream.isatty())  # type: ignore[attr-defined]
    except ValueError:
        return False  # closed


def _check_files(settings: RunSettings) -> None:
    check_input(settings.jobs)
    if settings.output == "-":
        if settings.fresh:
            raise UsageError("`--fresh` makes no sense with `-o -`: there is no file to start over")
        return
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


def _embedded(settings: RunSettings) -> Embedded | None:
    if settings.provider != "simulated":
        return None
    limits = settings.limits
    return Embedded(SimulatorSettings(port=0, rpm=limits.rpm, tpm=limits.tpm))


def _confirm(settings: RunSettings) -> None:
    """Ask whether to start over, where there is something that would be put aside."""
    there = [p for p in (settings.output, settings.checkpoint) if os.path.exists(p)]
    if not there or settings.yes:
        return
    if not _is_terminal(sys.stdin):
        raise UsageError(
            f"`--fresh` would start over although `{there[0]}` exists", "add `--yes` if that is what you want"
        )
    click.confirm(f"start over? {' and '.join(there)} will be renamed", abort=True, err=True)


def _start_over(settings: RunSettings, console: Console) -> None:
    for name in set_aside(settings.output, settings.checkpoint):
        console.line(f"kept as {name}")
