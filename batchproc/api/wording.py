"""From how a run of the engine ended to what is raised: the exceptions, in the words of Python."""

from __future__ import annotations

import re

from batchproc.core.decisions import Halt, HaltKind
from batchproc.errors import BatchprocError, ProviderRefused, RunStopped, UsageError

_AGAIN = "with `output` the same call goes on where it stopped"
_ANOTHER = ", or choose another `output`"
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
    ("run the same command again", "make the same call again"),
    (": it goes on where it stopped", f"; {_AGAIN}"),
    (
        "put the old input back to go on, or start over with `--fresh`",
        f"give the old jobs again{_ANOTHER}; `--fresh` starts over",
    ),
    ("change it back to go on", f"change it back to go on{_ANOTHER}"),
    ("give secrets by `--header NAME=@FILE`", "give secrets by `headers`"),
    ("`--prices FILE`", "`prices`"),
    ("`--assume-max-output N`", "`assume_max_output`"),
    ("or with `--model`", "or with `model`"),
    ("choose another output with `-o`", "choose another `output`"),
    ("name a file with `-o`", "name a file"),
    ("name a plain file with `-o`; `-o -` writes to standard output", "name a plain file"),
    ("choose another place with `-o`", "choose another `output`"),
    ("choose a folder you may write to with `-o`", "choose an `output` in a folder you may write to"),
    ("name another output with `-o`", "name another `output`"),
)
_COMMANDS_OWN = re.compile("`--(accept-changes|adopt|fresh|break-lock)`")  # what can be done, but not from Python
_COMMAND = re.compile("(`[a-z][a-z-]* [^`]*`)")  # what is typed in a shell stays as it is
_VALUE = re.compile(r"`--([a-z][a-z-]*) ([^`]+)`")
_OPTION = re.compile(r"--([a-z][a-z-]*)")


def in_python(text: str) -> str:
    """What is said to whoever types a command, for whoever calls a function: `--max-wait 5` is `max_wait=5`."""
    for of_the_command, ours in _INSTEAD:
        text = text.replace(of_the_command, ours)
    ours, own, theirs = text, "", ""
    if found := _COMMANDS_OWN.search(text):
        ours, theirs = text[: found.start()], text[found.start() :]
        own = "with the command: "
    return "".join(_respelt(each) for each in _COMMAND.split(ours)) + own + theirs


def _respelt(text: str) -> str:
    """Options as arguments; a command is left alone."""
    if _COMMAND.match(text):
        return text
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
