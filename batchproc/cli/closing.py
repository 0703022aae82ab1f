"""From how a run ended to its last words and its exit code."""

from __future__ import annotations

import os
import shlex
import shutil
from decimal import Decimal
from typing import Any

from batchproc.cli.purse import Cost
from batchproc.core.decisions import Halt, HaltKind
from batchproc.engine.run import Ending
from batchproc.engine.watch import Watch
from batchproc.price import PICO, dollars_in
from batchproc.settings import RunSettings
from batchproc.snapshot import ErrorGroup, Snapshot, Summary
from batchproc.store.checkpoint import Totals

_EXIT = {HaltKind.REFUSED: 4, HaltKind.INPUT: 2, HaltKind.UNBOUNDED: 2}
_GUARD = 5


def closing(
    settings: RunSettings,
    ending: Ending,
    watch: Watch,
    last: Snapshot,
    totals: Totals,
    *,
    now: float,
    signal_code: int | None,
    command: list[str],
    keyless: bool,
    cost: Cost,
) -> Summary:
    """The last words of a run. `command` is what was typed."""
    halt = None if ending.complete else ending.halt
    done = totals.succeeded + totals.failed
    total = last.total
    code = _exit_code(ending, halt, totals, signal_code)
    nothing = ending.complete and not watch.stats.requests and watch.resumed == done > 0
    trial = settings.limit is not None and total is None and code in (0, 3)
    to_file = settings.output != "-"
    return Summary(
        verdict=_nothing(done) if nothing else _trial(settings, totals) if trial else _verdict(ending, halt, totals),
        exit_code=code,
        total=total,
        succeeded=totals.succeeded,
        failed=totals.failed,
        not_run=total - done if total is not None else None,
        resumed=watch.resumed,
        elapsed_s=last.elapsed_s,
        requests=watch.stats.requests,
        retries=watch.stats.retries,
        rate_limited=watch.stats.rate_limited,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        models=watch.means(now),
        binding=watch.binding(),
        errors=_errors(totals),
        output=settings.output,
        checkpoint=settings.checkpoint if to_file else None,
        next_command=_next(settings, code, totals, command, trial=trial, halt=halt),
        error=_error(ending, halt),
        hint=_hint(ending, halt, keyless=keyless),
        **_costs(cost),
    )


def _costs(cost: Cost) -> dict[str, Any]:
    if not cost.priced:
        return {"unpriced": cost.unpriced}
    return {
        "cost_usd": dollars_in(cost.answers),
        "cost_lost_usd": dollars_in(cost.lost) if cost.lost else None,
        "unpriced": cost.unpriced,
    }


def finished_before(settings: RunSettings, totals: Totals, cost: Cost) -> Summary:
    """The last words where an earlier run left nothing to do."""
    done = totals.succeeded + totals.failed
    return Summary(
        verdict=_nothing(done),
        exit_code=3 if totals.failed else 0,
        total=done,
        succeeded=totals.succeeded,
        failed=totals.failed,
        not_run=0,
        resumed=done,
        elapsed_s=0.0,
        requests=0,
        retries=0,
        rate_limited=0,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        models=(),
        binding="",
        errors=_errors(totals),
        output=settings.output,
        checkpoint=settings.checkpoint,
        next_command=_look_at_failures(settings) if totals.failed else None,
        **_costs(cost),
    )


def _exit_code(ending: Ending, halt: Halt | None, totals: Totals, signal_code: int | None) -> int:
    if ending.error is not None:
        return ending.error.exit_code
    if ending.complete or halt is None:
        return 3 if totals.failed else 0
    if signal_code is not None or halt.kind is HaltKind.INTERRUPTED:
        return signal_code if signal_code is not None else 130
    return _EXIT.get(halt.kind, _GUARD)


def _verdict(ending: Ending, halt: Halt | None, totals: Totals) -> str:
    done = totals.succeeded + totals.failed
    if ending.error is not None:
        return "stopped: the input does not fit"
    if halt is not None:
        if halt.kind is HaltKind.REFUSED:
            return "stopped: the provider refuses this run"
        return f"stopped: {halt.message if halt.kind is HaltKind.INTERRUPTED else halt.kind.value}"
    if not done:
        return "done: the input has no jobs"
    if totals.failed:
        return f"finished: {totals.succeeded:,} of {done:,} jobs answered, {totals.failed:,} failed"
    return f"done: all {done:,} jobs answered"


def _nothing(done: int) -> str:
    return f"nothing to do: all {done:,} jobs have their result already"


def _trial(settings: RunSettings, totals: Totals) -> str:
    done = totals.succeeded + totals.failed
    return f"trial done: {done:,} jobs have their result; --limit {settings.limit} leaves the rest for another run"


def _error(ending: Ending, halt: Halt | None) -> str | None:
    if ending.error is not None:
        return ending.error.message
    if halt is not None and halt.kind is not HaltKind.INTERRUPTED:
        return halt.message
    return None


def _hint(ending: Ending, halt: Halt | None, *, keyless: bool) -> str | None:
    if ending.error is not None:
        return ending.error.hint
    if halt is None:
        return None
    if halt.kind is HaltKind.REFUSED and halt.hint is None:
        if keyless:
            return "set OPENAI_API_KEY or name a file with `--api-key-file`, then run the same command again"
        return "mend it at the provider (key, money, account), then run the same command again: nothing is lost"
    return halt.hint


def _errors(totals: Totals) -> tuple[ErrorGroup, ...]:
    groups = [ErrorGroup(code, e.count, e.line, e.message) for code, e in totals.errors.items()]
    return tuple(sorted(groups, key=lambda g: (-g.count, g.line)))


def _next(
    settings: RunSettings, code: int, totals: Totals, command: list[str], *, trial: bool, halt: Halt | None
) -> str | None:
    if settings.output == "-":
        return None
    if code in (0, 3):
        if trial:
            return typed(command, without_limit=True)
        return _look_at_failures(settings) if totals.failed else None
    if code in (2, 6):
        return None
    if halt is not None and halt.kind is HaltKind.BUDGET:
        return typed(raised(command, settings))
    return typed(command)


def raised(command: list[str], settings: RunSettings) -> list[str]:
    """The command with twice the budget: the options as they were typed, or added where they came from elsewhere."""
    budgets = {"--max-total-tokens": settings.max_total_tokens, "--max-cost": settings.max_cost}
    for option, amount in budgets.items():
        if amount is None:
            continue
        twice = str(2 * amount) if option != "--max-cost" else f"{2 * Decimal(amount) / PICO:f}"
        at = next((n for n, word in enumerate(command) if word == option or word.startswith(option + "=")), None)
        if at is None:
            command = [*command, option, twice]
        else:
            rest = at + (2 if command[at] == option else 1)
            command = [*command[:at], option, twice, *command[rest:]]
    return command


def _look_at_failures(settings: RunSettings) -> str:
    return f"jq -c 'select(.error)' {shlex.quote(settings.output)}"


def typed(command: list[str], *, without_limit: bool = False) -> str:
    """The command as it can be typed again to go on: without `--fresh`, header values replaced."""
    if without_limit and "--limit" in command:
        at = command.index("--limit")
        command = command[:at] + command[at + 2 :]
    elif without_limit:
        command = [word for word in command if not word.startswith("--limit=")]
    words: list[str] = [_program(command[0]) if command else "batchproc"]
    hide = False
    for word in command[1:]:
        if hide:
            words.append(_hidden(word))
            hide = False
        elif word == "--header":
            words.append(word)
            hide = True
        elif word.startswith("--header="):
            words.append("--header=" + _hidden(word.removeprefix("--header=")))
        elif word not in ("--fresh", "--yes", "-y", "--break-lock"):
            words.append(word)
    if words[0].endswith("__main__.py"):
        words[0:1] = ["python", "-m", "batchproc"]
    return shlex.join(words)


def _program(path: str) -> str:
    """The name alone where the shell finds the same program by it, else the path that was typed."""
    name = os.path.basename(path)
    found = shutil.which(name)
    if found is not None and os.path.realpath(found) == os.path.realpath(path):
        return name
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path


def _hidden(header: str) -> str:
    name, _, value = header.partition("=")
    return header if value.startswith("@") else f"{name}=…"
