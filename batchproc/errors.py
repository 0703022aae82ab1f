"""Every exception batchproc raises on purpose.

    BatchprocError                  1  a bug, unless a subclass says otherwise
    ├── UsageError                  2  options or settings cannot be used
    ├── FilesDoNotFit               6  the files on disk do not belong to this run
    │   ├── Locked                  6  another process writes this output
    │   ├── InputChanged            6  a line that is already answered reads differently now
    │   └── ForeignOutput           6  the output was not made by this run
    ├── DiskFailed                  7  the disk is full, read-only or failing
    ├── ProviderRefused             4  the provider refuses the run: bad key, quota gone, closed account
    └── RunStopped                  5  a guard stopped the run: a budget, a wait that is too long, too many failures

A run that the provider refuses (4), or that a guard stops (5), ends in order: inside batchproc that is no exception
but a `Halt`, and the command says it in its last words. Only `run_jobs` raises the last two, after the last result.

Each carries the exit code of the program and, where there is one, a hint: what to type or change next.
"""

from __future__ import annotations


class BatchprocError(Exception):
    """Base of all errors; `message` says what happened and where, `hint` what to do next."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(BatchprocError):
    """An option, a setting or the input file cannot be used as it is."""

    exit_code = 2


class FilesDoNotFit(BatchprocError):
    """Output, checkpoint, lock and input do not belong together."""

    exit_code = 6


class Locked(FilesDoNotFit):
    """Another process is writing the same output."""


class InputChanged(FilesDoNotFit):
    """An answered line, or a setting that changes requests, is not what it was."""


class ForeignOutput(FilesDoNotFit):
    """The output file exists and was not made by this run."""


class DiskFailed(BatchprocError):
    """A file could not be written: the disk is full, read-only or failing."""

    exit_code = 7


class ProviderRefused(BatchprocError):
    """The provider refuses every request of this run: the key is bad, the quota is gone, the account is closed."""

    exit_code = 4


class RunStopped(BatchprocError):
    """A guard stopped the run before its end; what was in flight was awaited.

    `reason` is `max_wait`, `budget`, `fail_over`, `timeouts` or `stop_after`.
    """

    exit_code = 5

    def __init__(self, message: str, hint: str | None = None, *, reason: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of ours in a group, else the group's first."""
    for error in group.exceptions:
        inner = first_error(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(inner, BatchprocError):
            return inner
    first = group.exceptions[0]
    return first_error(first) if isinstance(first, BaseExceptionGroup) else first
