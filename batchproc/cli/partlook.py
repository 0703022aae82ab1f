"""How far a run in shards is: looks at every part, and adds them up."""

from __future__ import annotations

import os
import shlex
import sys

import click

from batchproc.building.purse import book_for, with_cost
from batchproc.snapshot import ShardedStatus, ShardStatus, StatusTotals
from batchproc.store.attempts import Attempt, attempts_of
from batchproc.store.look import error_groups
from batchproc.store.parts import Manifest, folder_of, is_merged, merge_of, read_manifest
from batchproc.store.totals import Totals
from batchproc.ui.console import audience
from batchproc.ui.jsontext import json_line
from batchproc.ui.shards import shards_text


def say_shards(output: str, prices: str | None, *, as_json: bool, no_color: bool) -> int | None:
    """Print how far the shards are; the exit code, or None where there are none, or none that are not merged.

    Raises UsageError, FilesDoNotFit, DiskFailed.
    """
    manifest = read_manifest(output)
    if manifest is None or is_merged(output):
        return None
    attempts = attempts_of(output)
    seen, totals = _sum(output, manifest, attempts)
    seen = with_cost(seen, totals, book_for(prices, manifest.identity.get("`--base-url`") or ""))  # type: ignore[assignment]
    if as_json:
        click.echo(json_line(seen))
    else:
        who = audience(isatty=sys.stdout.isatty(), environ=os.environ, no_color=no_color)
        here = seen.folder is None or os.path.realpath(seen.folder) == os.path.realpath(os.getcwd())
        click.echo(shards_text(seen, who.colour, here=here))
    return seen.exit_code


def not_done(manifest: Manifest, attempts: dict[int, list[Attempt]]) -> list[int]:
    """The shards that have jobs without a result; one that holds no line has none."""
    cuts = manifest.cuts
    return [
        i
        for i in range(manifest.count)
        if cuts[i] < cuts[i + 1] and not any(a.complete for a in attempts.get(i, ())[:1])
    ]


def command_of(
    attempts: dict[int, list[Attempt]], manifest: Manifest, shard: int | None, output: str
) -> tuple[str, str]:
    """What to type for a shard, and in which folder, by what was typed for it or another one.

    Where `shard` is None: for the whole, without `--shard`.
    """
    own = attempts.get(shard, []) if shard is not None else []
    told = [a.status for a in (*own, *(a for g in attempts.values() for a in g)) if a.status is not None]
    status = next((s for s in told if s.command), None)
    folder = (status.folder if status is not None else None) or os.getcwd()
    typed = status.command if status is not None else None
    words = shlex.split(typed) if typed else ["batchproc", "run", manifest.jobs, "-o", output]
    kept: list[str] = []
    skip = False
    for word in words:
        if not skip and word != "--shard" and not word.startswith("--shard="):
            kept.append(word)
        skip = word == "--shard"
    whole = shard is None or any(word == "--engine" or word.startswith("--engine=") for word in kept)
    return shlex.join(kept if whole else [*kept, "--shard", f"{shard}/{manifest.count}"]), folder


def _sum(output: str, manifest: Manifest, attempts: dict[int, list[Attempt]]) -> tuple[ShardedStatus, Totals]:
    """The shards, and what they add up to."""
    totals = Totals()
    shards = [_shard(i, manifest, attempts.get(i, [])) for i in range(manifest.count)]
    for group in attempts.values():
        for attempt in group[:1]:
            totals.merge(attempt.totals)
    for error in totals.errors.values():
        error.line = 0  # each shard counts its own
    missing = not_done(manifest, attempts)
    at_work = any(s.running is not None for s in shards)
    idle = next((i for i in missing if shards[i].running is None), None)
    command, folder = command_of(attempts, manifest, idle, output) if missing else (merge_of(output), None)
    answered = totals.succeeded + totals.failed
    return ShardedStatus(
        output=output,
        checkpoint=folder_of(output),
        state="running" if at_work else "unfinished",
        exit_code=5,  # it is not merged
        total=None if missing else answered,
        total_estimate=_estimate(manifest, shards) if missing else None,
        answered=answered,
        written=0,
        waits_for=None,
        totals=StatusTotals(totals.succeeded, totals.failed, totals.input_tokens, totals.output_tokens),
        errors=error_groups(totals),
        running=None,
        retrying=False,
        stopped_at=None,
        stopped_why="",
        stopped_code=None,
        jobs=manifest.jobs,
        folder=folder,
        command=command if not missing or idle is not None else None,
        shards=tuple(shards),
    ), totals


def _shard(shard: int, manifest: Manifest, attempts: list[Attempt]) -> ShardStatus:
    status = next((a.status for a in attempts if a.status is not None), None)
    if status is None:
        empty = manifest.cuts[shard] == manifest.cuts[shard + 1]
        state, code = ("finished", 0) if empty else ("not begun", 5)
        return ShardStatus(shard, state, code, 0, 0 if empty else None, None, 0, None, len(attempts), None, None)
    running = next((a.status.running for a in attempts if a.status is not None and a.status.running), None)
    done = status.exit_code != 5
    return ShardStatus(
        shard,
        "finished" if done else "running" if running else "unfinished",
        status.exit_code,
        status.answered,
        status.total,
        status.total_estimate,
        status.totals.failed,
        None if done else running,
        len(attempts),
        status.output,
        status.command,
    )


def _estimate(manifest: Manifest, shards: list[ShardStatus]) -> int | None:
    """Jobs in all shards, by the bytes of those whose number is known."""
    known = [(s.shard, n) for s in shards if (n := s.total if s.total is not None else s.total_estimate) is not None]
    size = sum(manifest.cuts[i + 1] - manifest.cuts[i] for i, _ in known)
    return sum(n for _, n in known) * manifest.size // size if size else None
