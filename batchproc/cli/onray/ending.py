"""The last words of a run in a Ray cluster: those of a run in one process."""

from __future__ import annotations

import time

from batchproc.building.purse import book_for, cost_of, in_dollars
from batchproc.cli.closing import retry_typed, typed
from batchproc.cli.onray.driver import Driver
from batchproc.cli.onray.orders import Outcome
from batchproc.cli.onray.signals import Signals
from batchproc.cli.onray.summing import Sums
from batchproc.cli.onray.together import Merging
from batchproc.cli.place import folder
from batchproc.core.decisions import Halt
from batchproc.settings import RunSettings
from batchproc.snapshot import Summary
from batchproc.store.attempts import attempts_of
from batchproc.store.look import error_groups
from batchproc.store.parts import Manifest, folder_of
from batchproc.store.totals import Totals

_GUARD = 5


def last_words(
    settings: RunSettings,
    manifest: Manifest,
    sums: Sums,
    driver: Driver | None,
    signals: Signals,
    merging: Merging,
    command: list[str],
) -> Summary:
    """What to say at the end. Raises what kept the shards from being merged."""
    if merging.error is not None:
        raise merging.error
    made = merging.made
    totals = made.totals if made is not None else _so_far(settings.output)
    failure = driver.failure if driver is not None else None
    halt = driver.halt if driver is not None else None
    if made is not None:
        code, following = (
            (3, retry_typed(command, settings.output, settings.jobs, folder())) if totals.failed else (0, None)
        )
        verdict, error, hint = _done(totals, sums), None, None
    else:
        code = signals.code or (failure.code if failure is not None else _GUARD)
        following = typed(command) if code not in (2, 6) else None
        verdict, error, hint = _stopped(halt, failure, signals)
    now = time.monotonic()
    sent = sums.requests()
    done = totals.succeeded + totals.failed
    total = done if made is not None else sums.total
    return Summary(
        verdict=verdict,
        exit_code=code,
        total=total,
        succeeded=totals.succeeded,
        failed=totals.failed,
        not_run=total - done if total is not None else None,
        resumed=sums.before,
        elapsed_s=sums.elapsed_s(now),
        requests=sent["requests"],
        retries=sent["retries"],
        rate_limited=sent["rate_limited"],
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        models=sums.means(now),
        binding=sums.binding(),
        errors=error_groups(totals),
        output=settings.output,
        checkpoint=settings.checkpoint if made is not None else folder_of(settings.output),
        next_command=following,
        error=error,
        hint=hint,
        **in_dollars(cost_of(totals, book_for(settings.prices, settings.base_url))),
    )


def _done(totals: Totals, sums: Sums) -> str:
    done = totals.succeeded + totals.failed
    if not done:
        return "done: the input has no jobs"
    if sums.before == done and not sums.requests()["requests"]:
        return f"merged: all {done:,} jobs had their result already"
    if totals.failed:
        return f"finished: {totals.succeeded:,} of {done:,} jobs answered, {totals.failed:,} failed"
    return f"done: all {done:,} jobs answered"


def _stopped(halt: Halt | None, failure: Outcome | None, signals: Signals) -> tuple[str, str | None, str | None]:
    """Verdict, error and hint."""
    if signals.code is not None:
        return f"stopped: interrupted ({signals.name})", None, None
    if failure is not None:
        summary = failure.summary
        if summary is not None:
            return summary.verdict, summary.error, summary.hint
        return f"stopped: shard {failure.shard} cannot go on", failure.error, failure.hint
    if halt is not None:
        return f"stopped: {halt.kind.value}", halt.message, halt.hint
    return "stopped: not all shards are done", None, None


def _so_far(output: str) -> Totals:
    totals = Totals()
    for attempts in attempts_of(output).values():
        totals.merge(attempts[0].totals)
    for error in totals.errors.values():
        error.line = 0  # each shard counts its own
    return totals
