"""From how a run ended to its last words and its exit code."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from decimal import Decimal

from batchproc.building.connect import hidden_header, hidden_url
from batchproc.building.purse import Cost, in_dollars
from batchproc.cli.place import folder
from batchproc.core.decisions import Halt, HaltKind
from batchproc.engine.run import Ending
from batchproc.engine.watch import Watch
from batchproc.errors import DiskFailed
from batchproc.price import PICO
from batchproc.providers.presets import preset_of
from batchproc.settings import RunSettings
from batchproc.snapshot import Snapshot, Status, Summary
from batchproc.store.look import error_groups
from batchproc.store.totals import Totals

_EXIT = {HaltKind.REFUSED: 4, HaltKind.INPUT: 2, HaltKind.UNBOUNDED: 2}
_GUARD = 5
_THEN = "then run the same command again: nothing is lost"
_OF_RUNS = ("--output", "--limit", "--only", "--engine", "--workers", "--shards", "--ray-address")  # with values
_HIDE: dict[str, Callable[[str], str]] = {"--header": hidden_header, "--quota": hidden_url}


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
    code = exit_code(ending, totals, signal_code)
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
        errors=error_groups(totals),
        output=settings.output,
        checkpoint=settings.checkpoint if to_file else None,
        next_command=_next(settings, code, totals, command, trial=trial, halt=halt),
        error=_error(ending, halt),
        hint=_hint(ending, halt, preset_of(settings.provider, settings.base_url).keys[0], keyless=keyless),
        **in_dollars(cost),
    )


def finished_before(settings: RunSettings, totals: Totals, command: list[str], cost: Cost) -> Summary:
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
        errors=error_groups(totals),
        output=settings.output,
        checkpoint=settings.checkpoint,
        next_command=retry_typed(command, settings.output, settings.jobs, folder()) if totals.failed else None,
        **in_dollars(cost),
    )


def done_before(seen: Status) -> Summary:
    """The last words where nothing was left to do, and the input need not even be there."""
    done = seen.answered
    return Summary(
        verdict=_nothing(done),
        exit_code=seen.exit_code,
        total=done,
        succeeded=seen.totals.succeeded,
        failed=seen.totals.failed,
        not_run=0,
        resumed=done,
        elapsed_s=0.0,
        requests=0,
        retries=0,
        rate_limited=0,
        input_tokens=seen.totals.input_tokens,
        output_tokens=seen.totals.output_tokens,
        models=(),
        binding="",
        errors=seen.errors,
        output=seen.output,
        checkpoint=seen.checkpoint,
        next_command=None,
    )


def why_stopped(ending: Ending) -> str:
    """Why a run did not come to its end, in words; empty if it did."""
    if ending.error is not None:
        return ending.error.message
    return ending.halt.message if ending.halt is not None and not ending.complete else ""


def exit_code(ending: Ending, totals: Totals, signal_code: int | None) -> int:
    """The exit code of a run that ended so."""
    halt = None if ending.complete else ending.halt
    if ending.error is not None:
        return ending.error.exit_code
    if ending.complete or halt is None:
        return 3 if totals.failed else 0
    if signal_code is not None or halt.kind is HaltKind.INTERRUPTED:
        return signal_code if signal_code is not None else 130
    return _EXIT.get(halt.kind, _GUARD)


def _verdict(ending: Ending, halt: Halt | None, totals: Totals) -> str:
    done = totals.succeeded + totals.failed
    if isinstance(ending.error, DiskFailed):
        return f"stopped: {HaltKind.DISK.value}"
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
        return ending.error.message + _lost(ending.unsaved)
    if halt is not None and halt.kind is not HaltKind.INTERRUPTED:
        return halt.message
    return None


def _lost(answers: int) -> str:
    if not answers:
        return ""
    return f"; {answers:,} answers that had come could not be saved" if answers > 1 else "; 1 answer could not be saved"


def _hint(ending: Ending, halt: Halt | None, key_variable: str, *, keyless: bool) -> str | None:
    if ending.error is not None:
        return ending.error.hint
    if halt is None:
        return None
    if halt.kind is HaltKind.REFUSED and halt.hint is None:
        if keyless:
            return f"no key was sent: set {key_variable}, or name a file with `--api-key-file`; {_THEN}"
        return f"mend it at the provider (key, money, account); {_THEN}"
    return halt.hint


def _next(
    settings: RunSettings, code: int, totals: Totals, command: list[str], *, trial: bool, halt: Halt | None
) -> str | None:
    if settings.output == "-":
        return None
    if code in (0, 3):
        if trial:  # a limit that was not typed would make the same command the same trial again
            limited = any(word == "--limit" or word.startswith("--limit=") for word in command)
            return typed(command, without_limit=True) if limited else None
        return retry_typed(command, settings.output, settings.jobs, folder()) if totals.failed else None
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


def typed(command: list[str], *, without_limit: bool = False) -> str:
    """The command as it can be typed again to go on: without `--fresh`, values of headers and passwords replaced."""
    if without_limit and "--limit" in command:
        at = command.index("--limit")
        command = command[:at] + command[at + 2 :]
    elif without_limit:
        command = [word for word in command if not word.startswith("--limit=")]
    words: list[str] = [_program(command[0]) if command else "batchproc"]
    hide: Callable[[str], str] | None = None
    once = {"--fresh", "--break-lock"} | ({"--yes", "-y"} if "--fresh" in command else set())
    for word in command[1:]:
        name, equals, value = word.partition("=")
        if hide is not None:
            words.append(hide(word))
            hide = None
        elif name in _HIDE:
            words.append(name + equals + _HIDE[name](value) if equals else word)
            hide = None if equals else _HIDE[name]
        elif word not in once:
            words.append(word)
    if words[0].endswith("__main__.py"):
        words[0:1] = ["python", "-m", "batchproc"]
    return shlex.join(words)


def retry_typed(command: list[str], output: str, jobs: str, folder: str) -> str:
    """The command that sends the failed lines again, with the options of the one that was typed in `folder`."""
    names = {os.path.normpath(os.path.join(folder, name)) for name in (jobs, output)}
    at = next((n for n, word in enumerate(command) if word in ("run", "retry")), None)
    if at is None:
        return shlex.join(["batchproc", "retry", output])
    words = [*command[:at], "retry", output]
    skip = False
    for word in command[at + 1 :]:
        name = word.partition("=")[0]
        if skip:
            skip = False
        elif word in ("-o", *_OF_RUNS):
            skip = True
        elif word in ("-", "--adopt", "--fresh", "--yes", "-y") or name in _OF_RUNS:
            continue
        elif not (word.startswith("-o") or os.path.normpath(os.path.join(folder, word)) in names):
            words.append(word)
    return typed(words)


def _program(path: str) -> str:
    """The name alone where the shell finds the same program by it, else the path that was typed."""
    name = os.path.basename(path)
    if not folder():
        return path
    found = shutil.which(name)
    if found is not None and os.path.realpath(found) == os.path.realpath(path):
        return name
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path
