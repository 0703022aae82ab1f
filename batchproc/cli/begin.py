"""Around a run: checks the files, takes the lock, starts the embedded provider, says the last words."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

import click

from batchproc.building.descriptors import room_for
from batchproc.building.embedded import embedded
from batchproc.building.parts import Access
from batchproc.building.places import check_places
from batchproc.cli.assemble import Run
from batchproc.cli.closing import done_before
from batchproc.cli.place import check_folder
from batchproc.cli.stdout import write_document
from batchproc.errors import UsageError
from batchproc.interrupt import heard
from batchproc.settings import RunSettings
from batchproc.snapshot import Status
from batchproc.store.adopt import adopt
from batchproc.store.input import check_input
from batchproc.store.jobs import JobParser
from batchproc.store.lock import OutputLock
from batchproc.store.mending import set_aside
from batchproc.store.parts import refuse_parts
from batchproc.store.recover import has_lines
from batchproc.ui.console import Console, audience
from batchproc.ui.progress import progress_for
from batchproc.ui.summary import print_summary, summary_json

_TO_A_FILE = "leave it out, or write to a file: `-o results.jsonl`"


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
    make: type[Run] = Run,
) -> int:
    """Run, or what `make` does instead; returns the exit code. Raises BatchprocError."""
    heard()
    if as_json and settings.output == "-":
        raise UsageError(
            "`--json` and `-o -` both want standard output", "write the results to a file: `-o results.jsonl`"
        )
    who = audience(
        isatty=is_terminal(sys.stderr),
        environ=os.environ,
        progress=show,
        no_color=no_color,
        quiet=quiet,
        results_on_terminal=settings.output == "-" and is_terminal(sys.stdout),
    )
    console = Console(sys.stderr, who)
    progress = progress_for(console, -1 if quiet else verbose)
    room_for(1)
    _check_files(settings)
    simulated = embedded(settings) if make.sends else None
    lock = None
    try:
        if simulated is not None:
            simulated.spawn()
        if settings.output != "-":
            lock = OutputLock(settings.output)
            lock.acquire(break_lock=settings.break_lock)
            if settings.fresh:
                _confirm(settings)
            elif settings.adopt:
                _adopt(settings, console)
        base_url: Callable[[], str] = simulated.wait_url if simulated is not None else lambda: settings.base_url
        run = make(
            settings,
            access=Access(key, headers, secrets),
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
        if simulated is not None:
            simulated.stop()
    progress.summary(summary)
    if as_json:
        write_document(summary_json(summary))
    return summary.exit_code


def say_finished(seen: Status, *, quiet: bool, no_color: bool, as_json: bool) -> int:
    """The last words where everything was done before; returns the exit code. Raises DiskFailed."""
    who = audience(isatty=is_terminal(sys.stderr), environ=os.environ, no_color=no_color, quiet=quiet)
    summary = done_before(seen)
    print_summary(Console(sys.stderr, who), summary, quiet=quiet)
    if as_json:
        write_document(summary_json(summary))
    return summary.exit_code


def is_terminal(stream: object) -> bool:
    """Whether a stream is a terminal; one that is closed is none."""
    try:
        return bool(stream is not None and stream.isatty())  # type: ignore[attr-defined]
    except ValueError:
        return False  # closed


def _check_files(settings: RunSettings) -> None:
    check_input(settings.jobs)
    if settings.output != "-":
        check_folder(settings.jobs, settings.output, settings.checkpoint)
        if settings.part is None:
            refuse_parts(settings.output)
    if settings.adopt and settings.fresh:
        raise UsageError(
            "`--adopt` and `--fresh` contradict each other",
            "leave one of the two out: `--adopt` keeps the output, `--fresh` puts it aside",
        )
    if settings.output == "-":
        if settings.adopt:
            raise UsageError("`--adopt` makes no sense with `-o -`: there is no file to take over", _TO_A_FILE)
        if settings.fresh:
            raise UsageError("`--fresh` makes no sense with `-o -`: there is no file to start over", _TO_A_FILE)
        return
    check_places(settings)


def _confirm(settings: RunSettings) -> None:
    """Ask whether to start over, where there is something that would be put aside."""
    there = [p for p in (settings.output, settings.checkpoint) if os.path.exists(p)]
    if not there or settings.yes:
        return
    if not is_terminal(sys.stdin):
        raise UsageError(
            f"`--fresh` would start over although `{there[0]}` exists", "add `--yes` if that is what you want"
        )
    click.confirm(f"start over? {' and '.join(there)} will be renamed", abort=True, err=True)


def _adopt(settings: RunSettings, console: Console) -> None:
    """Take the output over where it has no checkpoint; where it has one, the run goes on as ever."""
    if has_lines(settings.checkpoint) or not has_lines(settings.output):
        return
    if settings.jobs == "-" or not os.path.isfile(settings.jobs):
        raise UsageError(
            "`--adopt` compares the output with the jobs, and cannot read them twice from a pipe",
            "write the jobs to a file, and name that",
        )
    parser = JobParser(endpoint=settings.endpoint, model=settings.model, strip_v1=True)
    lines = asyncio.run(adopt(settings.output, settings.checkpoint, settings.jobs, parser, settings.identity()))
    console.line(f"adopted {settings.output}: each of its {lines:,} lines is the result of its job")


def _start_over(settings: RunSettings, console: Console) -> None:
    for name in set_aside(settings.output, settings.checkpoint):
        console.line(f"kept as {name}")
