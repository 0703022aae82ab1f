"""Puts the shards of a run together, or says which are not done."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys

from batchproc.cli.begin import is_terminal
from batchproc.cli.closing import retry_typed
from batchproc.cli.known import quoted
from batchproc.cli.partlook import command_of, not_done
from batchproc.cli.stdout import write_document
from batchproc.errors import ForeignOutput, Locked, UsageError
from batchproc.snapshot import Merged, Status
from batchproc.store.attempts import Attempt, attempts_of, part_files
from batchproc.store.files import disk_failed, sync_folder
from batchproc.store.lock import OutputLock
from batchproc.store.look import look
from batchproc.store.merge import Together, merge, merged_here, note_merged
from batchproc.store.parts import MANIFEST, MERGED, Manifest, folder_of, is_merged, merge_of, read_manifest
from batchproc.store.recover import has_lines
from batchproc.ui.console import Console, audience
from batchproc.ui.jsontext import json_line
from batchproc.ui.words import count, plural

_SHOWN = 10  # shards that are named where many are not done


class NotDone(UsageError):
    """Shards are missing or unfinished."""

    exit_code = 5


def merge_shards(
    output: str,
    *,
    jobs: str | None = None,
    partial: bool = False,
    remove_parts: bool = False,
    break_lock: bool = False,
) -> Merged:
    """Put the shards of `output` together; merged before, only say so.

    Raises NotDone naming the shards that are not done, unless `partial`; UsageError, FilesDoNotFit, DiskFailed.
    """
    manifest = read_manifest(output)
    if manifest is None:
        return _without_parts(output)
    lock = OutputLock(output)
    lock.acquire(break_lock=break_lock)
    try:
        if is_merged(output) or (has_lines(output) and merged_here(output)):
            if not is_merged(output):
                note_merged(output)
            merged = _before(look(output, output + ".ckpt"), manifest.count)
        else:
            merged = _merge(output, manifest, jobs, partial, lock)
        if remove_parts:
            _remove(output)
            merged = Merged(**{f: getattr(merged, f) for f in Merged.__struct_fields__} | {"removed": True})
        return merged
    finally:
        lock.release()


def say_merged(merged: Merged, *, quiet: bool, no_color: bool, as_json: bool) -> int:
    """The last words; returns the exit code."""
    console = Console(sys.stderr, audience(isatty=is_terminal(sys.stderr), environ=os.environ, no_color=no_color))
    if not quiet:
        console.line(merged.verdict)
        if merged.paid_twice:
            both = plural(merged.paid_twice, "job")
            console.line(f"paid twice: {both}, which two copies of a shard both sent; the first answer is in the file")
        if merged.next_command:
            console.line(f"next:      {merged.next_command}")
    if as_json:
        write_document(json_line(merged).encode() + b"\n")
    return merged.exit_code


def _merge(output: str, manifest: Manifest, jobs: str | None, partial: bool, lock: OutputLock) -> Merged:
    for path in (output, output + ".ckpt"):
        if has_lines(path) and not (path != output and merged_here(output)):
            raise ForeignOutput(
                f"`{path}` exists, and was not made by `batchproc merge`",
                f"move it away, then type `{merge_of(output)}` again: nothing is overwritten",
            )
    attempts = attempts_of(output)
    missing = not_done(manifest, attempts)
    if missing and not partial:
        raise _unfinished(output, manifest, attempts, missing)
    at_work = [a for i in missing for a in attempts.get(i, ()) if a.running]
    if at_work:
        raise Locked(
            f"`{at_work[0].path}` is being written by another batchproc",
            f"stop it, or wait for it: `batchproc status {quoted(output)}` tells how far it is",
        )
    jobs = jobs if jobs is not None else manifest.jobs
    if not os.path.isfile(jobs):
        raise UsageError(f"the job file `{jobs}` is not there", "say where it is now with `--jobs FILE`")
    command, folder = command_of(attempts, manifest, None, output)
    together = asyncio.run(merge(output, manifest, jobs, attempts, command=command, folder=folder, tick=lock.beat))
    return _merged(output, manifest, together, command, retry_typed(shlex.split(command), output, jobs, folder))


def _unfinished(output: str, manifest: Manifest, attempts: dict[int, list[Attempt]], missing: list[int]) -> NotDone:
    told = [_how_far(i, attempts.get(i, [])) for i in missing[:_SHOWN]]
    if len(missing) > _SHOWN:
        told.append(f"and {count(len(missing) - _SHOWN)} others")
    what = "is" if len(missing) == 1 else "are"
    idle = [i for i in missing if not any(a.running for a in attempts.get(i, ()))]
    if idle:
        hint = (
            f"go on with `{command_of(attempts, manifest, idle[0], output)[0]}`, or take what is there with `--partial`"
        )
    else:
        hint = f"wait for them: `batchproc status {quoted(output)}` tells how far they are"
    return NotDone(
        f"{count(len(missing))} of {plural(manifest.count, 'shard')} {what} not done: {'; '.join(told)}", hint
    )


def _how_far(shard: int, attempts: list[Attempt]) -> str:
    best = next((a.status for a in attempts if a.status is not None), None)
    if best is None:
        return f"{shard} (not begun)"
    of = f" of ~{count(best.total_estimate)}" if best.total_estimate is not None else ""
    work = f", process {best.running.pid} on {best.running.host} is at work" if best.running is not None else ""
    return f"{shard} ({count(best.answered)}{of} jobs answered{work})"


def _merged(output: str, manifest: Manifest, together: Together, command: str, retry: str) -> Merged:
    totals = together.totals
    jobs = totals.succeeded + totals.failed
    verdict = f"merged {plural(manifest.count, 'shard')} into {output}: {plural(jobs, 'job')} = "
    verdict += f"{count(totals.succeeded)} succeeded + {count(totals.failed)} failed"
    code = 3 if totals.failed else 0
    following = retry if totals.failed else None
    if together.missing:
        verdict += f"; {plural(together.missing, 'job')} without a result"
        code, following = 5, command
    return Merged(
        output, code, verdict, manifest.count, jobs, totals.succeeded, totals.failed, together.missing,
        together.paid_twice, False, following,
    )  # fmt: skip


def _before(seen: Status, shards: int) -> Merged:
    words = "its shards were merged before" if shards else "it has no shards"
    return Merged(
        seen.output, seen.exit_code, f"nothing to do: {seen.output} is there, and {words}", shards, seen.answered,
        seen.totals.succeeded, seen.totals.failed, 0, 0, False, seen.command if seen.exit_code == 5 else None,
    )  # fmt: skip


def _without_parts(output: str) -> Merged:
    if not os.path.exists(output):
        raise UsageError(
            f"there is nothing to merge: no folder `{folder_of(output)}` of shards",
            "name the output of `batchproc run JOBS -o OUTPUT --shard I/N`",
        )
    return _before(look(output, output + ".ckpt"), 0)


def _remove(output: str) -> None:
    """Remove the parts, the notes that tell of them last. Raises Locked, DiskFailed."""
    for attempt in (a for group in attempts_of(output).values() for a in group):
        if attempt.running:
            raise Locked(
                f"`{attempt.path}` is being written by another batchproc",
                "the parts are kept: stop it, then type the same again",
            )
    folder = folder_of(output)
    try:
        left = [name for name in os.listdir(folder) if name.startswith(MANIFEST + ".")]  # by a kill
        for path in [*part_files(output), *(os.path.join(folder, name) for name in (*left, MANIFEST, MERGED))]:
            if os.path.exists(path):
                os.unlink(path)
        if not os.listdir(folder):
            os.rmdir(folder)
    except OSError as e:
        disk_failed("removing", folder, e)
    sync_folder(folder)
