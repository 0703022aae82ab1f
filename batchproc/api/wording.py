"""From how a run of the engine ended to what is raised: the exceptions, in the words of Python."""

from __future__ import annotations

import re

from batchproc.core.decisions import Halt, HaltKind
from batchproc.errors import BatchprocError, ProviderRefused, RunStopped, UsageError

_AGAIN = "with `output` the same call goes on where it stopped"
_HINTS = {
    HaltKind.REFUSED: "mend it at the provider (key, money, account)",
    HaltKind.MAX_WAIT: f"`max_wait` sets how long to wait; {_AGAIN}",
    HaltKind.STOP_AFTER: _AGAIN,
    HaltKind.TIMEOUTS: "raise `timeout`",
    HaltKind.FAIL_OVER: "look at the errors of the results",
}
_INSTEAD = (
    ("name a file with `--api-key-file`", "give `api_key`"),
    ("run the same command with a higher", "call again with a higher"),
    (": it goes on where it stopped", f"; {_AGAIN}"),
    ("give secrets by `--header NAME=@FILE`", "give secrets by `headers`"),
    ("`--prices FILE`", "`prices`"),
    ("`--assume-max-output N`", "`assume_max_output`"),
    ("or with `--model`", "or with `model`"),
    ("choose another output with `-o`", "choose another `output`"),
    ("name a file with `-o`", "name a file"),
    ("name another output with `-o`", "name another `output`"),
)
_VALUE = re.compile(r"`--([a-z][a-z-]*) ([^`]+)`")
_OPTION = re.compile(r"--([a-z][a-z-]*)")


def in_python(text: str) -> str:
    """What is said to whoever types a command, for whoever calls a function: `--max-wait 5` is `max_wait=5`."""
    for of_the_command, ours in _INSTEAD:
        text = text.replace(of_the_command, ours)
    text = _VALUE.sub(lambda m: f"`{m[1].replace('-', '_')}={m[2]}`", text)
    return _OPTION.sub(lambda m: m[1].replace("-", "_"), text)


def reworded(error: BatchprocError) -> BatchprocError:
    """The same error, its words for Python."""
    error.message = in_python(error.message)
    error.hint = in_python(error.hint) if error.hint is not None else None
    error.args = (error.message,)
    return _noted(error)


def _noted(error: BatchprocError) -> BatchprocError:
    """With its hint as a note, which a traceback shows."""
    if error.hint is not None:
        error.add_note(f"hint: {error.hint}")
    return error


def stopped_by(halt: Halt) -> BatchprocError:
    """What is raised where a run did not come to its end."""
    hint = _HINTS.get(halt.kind) if halt.hint is None or halt.kind is not HaltKind.REFUSED else halt.hint
    hint = in_python(hint or halt.hint or "") or None
    message = in_python(halt.message)
    if halt.kind is HaltKind.REFUSED:
        return _noted(ProviderRefused(message, hint))
    if halt.kind is HaltKind.UNBOUNDED:
        return _noted(UsageError(message, hint))
    return _noted(RunStopped(message, hint, reason=halt.kind.name.lower()))
