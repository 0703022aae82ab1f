"""One shard of a run: an ordinary run over a part of the job file, with files of its own in `OUTPUT.parts`."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable

from msgspec import structs

from batchproc.building.firstlook import FIRST, look
from batchproc.cli.assemble import Run
from batchproc.cli.begin import is_terminal
from batchproc.cli.place import check_folder
from batchproc.engine.run import Ending
from batchproc.errors import FilesDoNotFit, InputChanged, Locked, UsageError
from batchproc.events import Note
from batchproc.interrupt import heard
from batchproc.model import RawLine
from batchproc.providers.presets import drops_v1, preset_of
from batchproc.settings import RunSettings, Shard
from batchproc.snapshot import Summary
from batchproc.store.attempts import Attempt, attempts_at, copy_answers, next_number, path_of
from batchproc.store.input import open_input
from batchproc.store.jobs import JobParser
from batchproc.store.lines import read_lines
from batchproc.store.lock import OutputLock
from batchproc.store.parts import (
    Manifest,
    cannot_be_cut,
    check,
    folder_of,
    is_merged,
    manifest_for,
    merge_of,
    read_manifest,
)
from batchproc.ui.console import Console, audience
from batchproc.ui.progress import progress_for
from batchproc.ui.words import count

_ROUNDS = 100  # in which another process takes the attempt that this one wanted


def run_shard(settings: RunSettings, begin: Callable[[RunSettings], int], say: Callable[[str], None]) -> int:
    """Run the shard `settings.shard`, or go on with it; returns the exit code of its run.

    `begin` makes one ordinary run of the settings it gets, and raises Locked where another process writes that output;
    `say` takes lines for people. The first shard that starts cuts the job file; all others find the manifest. Raises
    UsageError, FilesDoNotFit, DiskFailed.
    """
    heard()
    assert settings.shard is not None  # noqa: S101 - the caller has looked
    manifest = manifest_of(settings, settings.shard.count)
    for option, value in (("--max-cost", settings.max_cost), ("--max-total-tokens", settings.max_total_tokens)):
        if value is not None and settings.shard.count > 1:
            say(f"{option} holds for this shard alone: {manifest.count} of them may use {manifest.count} times as much")
    return _run_an_attempt(settings, manifest, settings.shard, begin, say)


def manifest_of(settings: RunSettings, number: int, option: str = "--shard") -> Manifest:
    """The manifest of a run in so many shards, made now where there is none; what does not fit it is refused.

    `option` is what asked for shards. Raises UsageError, FilesDoNotFit, DiskFailed.
    """
    _refuse(settings, option)
    if read_manifest(settings.output) is None:
        asyncio.run(_look(settings))
    manifest = manifest_for(settings.output, settings.jobs, number, settings.identity())
    identity = None if settings.accept_changes else settings.identity()
    check(manifest, settings.output, settings.jobs, number, identity)
    return manifest


def say_to(show: str, *, quiet: bool, verbose: int, no_color: bool) -> Callable[[str], None]:
    """What tells people something, or the program that reads the events of a run (`--progress json`)."""
    terminal = is_terminal(sys.stderr)
    who = audience(isatty=terminal, environ=os.environ, progress=show, no_color=no_color, quiet=quiet)
    progress = progress_for(Console(sys.stderr, who), -1 if quiet else verbose)
    return lambda text: progress.event(Note(0.0, text))


class ShardRun(Run):
    """An ordinary run, whose last words tell what comes next for a shard."""

    async def _execute(self) -> Summary:
        summary = await super()._execute()
        settings = self._settings
        if summary.exit_code not in (0, 3) or summary.total is None or settings.shard is None:
            return summary  # unfinished, or a trial: the command that goes on is the right one
        return structs.replace(
            summary,
            verdict=f"shard {settings.shard}: {summary.verdict}",
            next_command=merge_of(folder_of_part(settings.output)),  # names the shards that are not done, if some are
        )

    def _words(self, summary: Summary, ending: Ending) -> Summary:
        settings = self._settings
        if not isinstance(ending.error, InputChanged) or settings.part is None:
            return summary
        where = f" (lines and jobs of shard {settings.shard} are counted from byte {settings.part[0]:,} of the input)"
        hint = f"put the old input back to go on, or move `{folder_of(folder_of_part(settings.output))}` away"
        return structs.replace(summary, error=f"{summary.error}{where}", hint=hint)


def folder_of_part(path: str) -> str:
    """The output that a part belongs to."""
    return os.path.dirname(path).removesuffix(".parts")


def _refuse(settings: RunSettings, shard: str) -> None:
    """Raise UsageError for what makes no sense with shards, which the option `shard` asked for."""
    if settings.output == "-":
        raise UsageError(f"shards need files: `-o -` makes no sense with `{shard}`", "name the output with `-o FILE`")
    for option, given in (("--adopt", settings.adopt), ("--fresh", settings.fresh)):
        if given:
            raise UsageError(
                f"`{option}` makes no sense with `{shard}`",
                f"to start all shards over, move `{folder_of(settings.output)}` away",
            )
    if settings.checkpoint != settings.output + ".ckpt":
        raise UsageError(
            f"`--checkpoint` makes no sense with `{shard}`",
            f"leave it out: each shard has its own in `{folder_of(settings.output)}`",
        )
    check_folder(settings.jobs, settings.output)
    what = cannot_be_cut(settings.jobs)
    if what:
        raise UsageError(
            f"{what} cannot be read in shards",
            "write the jobs to a plain file first, for example `zcat jobs.jsonl.gz > jobs.jsonl`",
        )
    if os.path.isdir(settings.output):
        raise UsageError(f"the output `{settings.output}` is a directory", "name a file with `-o`")
    folder = os.path.dirname(settings.output) or "."
    if not os.path.isdir(folder):
        raise UsageError(
            f"there is no folder `{folder}` for the output", f"make it first: `mkdir -p {shlex.quote(folder)}`"
        )


async def _look(settings: RunSettings) -> None:
    """Look at the head of the job file before it is cut. Raises UsageError where it is none."""
    parser = JobParser(
        endpoint=settings.endpoint,
        model=settings.model,
        strip_v1=drops_v1(settings.provider, settings.base_url),
        messages=preset_of(settings.provider, settings.base_url).messages,
    )
    opened = await open_input(settings.jobs)
    first: list[RawLine] = []
    lines = read_lines(opened.blocks)
    try:
        async for batch in lines:
            first += batch
            if len(first) >= FIRST:
                break
        look(first, parser)
    finally:
        await lines.aclose()  # type: ignore[attr-defined]
        await opened.blocks.close()


def _run_an_attempt(
    settings: RunSettings,
    manifest: Manifest,
    shard: Shard,
    begin: Callable[[RunSettings], int],
    say: Callable[[str], None],
) -> int:
    """Go on with an attempt that no process is at; where there is none, begin one."""
    output = settings.output
    part = manifest.cuts[shard.index], manifest.cuts[shard.index + 1]
    for _ in range(_ROUNDS):
        found = attempts_at(output, shard.index)
        if is_merged(output) and not any(a.complete for a in found):
            raise FilesDoNotFit(
                f"the shards of `{output}` are merged already",
                "`batchproc run` without `--shard` goes on with the rest",
            )
        if settings.break_lock:
            found.sort(key=lambda a: (not a.complete, -a.number))
        for attempt in sorted(found, key=lambda a: a.running and not settings.break_lock):
            try:
                return begin(_settings_of(settings, attempt.path, part))
            except Locked:
                if attempt.complete and attempt.status is not None:
                    say(f"shard {shard} is done by another process, which is about to end")
                    return attempt.status.exit_code
        number = next_number(output, shard.index)
        path = path_of(output, shard.index, number)
        try:
            if number > 1:
                _begin_beside(found, path, shard, say)
            return begin(_settings_of(settings, path, part))
        except Locked:
            continue  # a third one was quicker
    raise FilesDoNotFit(
        f"other processes take every attempt of shard {shard} of `{output}`",
        f"start each shard once only; `batchproc status {shlex.quote(output)}` tells who is at work",
    )


def _settings_of(settings: RunSettings, path: str, part: tuple[int, int]) -> RunSettings:
    return structs.replace(settings, output=path, checkpoint=path + ".ckpt", part=part)


def _begin_beside(found: list[Attempt], path: str, shard: Shard, say: Callable[[str], None]) -> None:
    """Begin a new attempt with what another one has, and say so. Raises Locked, DiskFailed."""
    lock = OutputLock(path)
    lock.acquire()
    try:
        source = next((a for a in found if a.status is not None), None)
        copied = copy_answers(source, path) if source is not None else 0
    finally:
        lock.release()
    holder = next((a.status.running for a in found if a.status is not None and a.status.running is not None), None)
    who = f" (process {holder.pid} on {holder.host})" if holder is not None else ""
    say(
        f"another process is at shard {shard}{who}; this one begins with the {count(copied)} answers that are there, "
        "and the rest may be paid twice: stop one of the two"
    )
