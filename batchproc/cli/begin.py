"""Around a run: checks the files, takes the lock, starts the embedded provider, says the last words."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from batchproc.cli.assemble import Run
from batchproc.cli.closing import done_before
from batchproc.cli.stdout import write_document
from batchproc.errors import UsageError
from batchproc.settings import Limits, RunSettings
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

if TYPE_CHECKING:
    from batchproc.simulator.embedded import Embedded
    from batchproc.simulator.settings import SimulatorSettings


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
    if as_json and settings.output == "-":
        raise UsageError("`--json` and `-o -` both want standard output", "write the results to a file")
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
    _check_files(settings)
    embedded = _embedded(settings) if make.sends else None
    lock = None
    try:
        if embedded is not None:
            embedded.spawn()
        if settings.output != "-":
            lock = OutputLock(settings.output)
            lock.acquire(break_lock=settings.break_lock)
            if settings.fresh:
                _confirm(settings)
            elif settings.adopt:
                _adopt(settings, console)
        base_url: Callable[[], str] = embedded.wait_url if embedded is not None else lambda: settings.base_url
        run = make(
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
    if settings.part is None and settings.output != "-":
        refuse_parts(settings.output)
    if settings.adopt and settings.fresh:
        raise UsageError("`--adopt` and `--fresh` contradict each other")
    if settings.output == "-":
        if settings.adopt:
            raise UsageError("`--adopt` makes no sense with `-o -`: there is no file to take over")
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
    from batchproc.simulator.embedded import Embedded

    return Embedded(embedded_settings(settings))


def embedded_settings(settings: RunSettings) -> SimulatorSettings:
    """An embedded provider that enforces the limits of this run, on any free port."""
    from batchproc.simulator.settings import SimulatorSettings

    by_model = {name: _enforced(limits) for name, limits in settings.models.items()}
    return SimulatorSettings(port=0, **_enforced(settings.limits), by_model=by_model)  # type: ignore[arg-type]


def _enforced(limits: Limits) -> dict[str, int]:
    """What is limited, of that which the embedded provider can limit."""
    from batchproc.simulator.settings import SimulatorSettings

    known = {f.name for f in dataclasses.fields(SimulatorSettings)}
    return {f: v for f in limits.__struct_fields__ if f in known and (v := getattr(limits, f)) is not None}


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
        raise UsageError("`--adopt` compares the output with the jobs, and cannot read them twice from a pipe")
    parser = JobParser(endpoint=settings.endpoint, model=settings.model, strip_v1=True)
    lines = asyncio.run(adopt(settings.output, settings.checkpoint, settings.jobs, parser, settings.identity()))
    console.line(f"adopted {settings.output}: each of its {lines:,} lines is the result of its job")


def _start_over(settings: RunSettings, console: Console) -> None:
    for name in set_aside(settings.output, settings.checkpoint):
        console.line(f"kept as {name}")
