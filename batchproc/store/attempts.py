"""The attempts of a shard: `OUTPUT.parts/00003.1.jsonl`, its checkpoint beside it; and `.2` where `.1` was at work.

Each attempt is written by one process, as the output of any run. Where a second copy of a shard is started while the
first one lives (or seems to), it takes a name of its own, and begins with a copy of what the first had answered.
"""

from __future__ import annotations

import os
import re
import shutil

import msgspec
from msgspec import Struct

from batchproc.errors import ForeignOutput
from batchproc.snapshot import Status
from batchproc.store.files import disk_failed, sync_folder
from batchproc.store.look import looked
from batchproc.store.parts import folder_of
from batchproc.store.recover import recover
from batchproc.store.totals import Totals

_NAME = re.compile(r"(\d{5,})\.(\d+)\.jsonl(.*)")
_CHECKPOINT = ".ckpt"
_COPIED = ".copied.json"


class Attempt(Struct):
    """One attempt; `status` is None where it has nothing yet."""

    path: str
    number: int
    status: Status | None
    totals: Totals

    @property
    def checkpoint(self) -> str:
        """Its checkpoint."""
        return self.path + _CHECKPOINT

    @property
    def answered(self) -> int:
        """Jobs that have their result."""
        return self.status.answered if self.status is not None else 0

    @property
    def running(self) -> bool:
        """Whether a process seems to be at work."""
        return self.status is not None and self.status.running is not None

    @property
    def complete(self) -> bool:
        """Whether every job of the shard has its result."""
        return self.status is not None and self.status.exit_code != 5


class Copied(Struct, frozen=True):
    """Which answers of an attempt were copied from another one: the first `lines`, and those of `others`."""

    lines: int = 0
    others: list[int] = []


def path_of(output: str, shard: int, number: int) -> str:
    """The name of an attempt."""
    return os.path.join(folder_of(output), f"{shard:05d}.{number}.jsonl")


def attempts_of(output: str) -> dict[int, list[Attempt]]:
    """The attempts that have begun, by shard; first those that are complete, then by what is answered.

    Raises DiskFailed.
    """
    found: dict[int, list[Attempt]] = {}
    for shard, number, suffix in _names(output):
        if suffix == _CHECKPOINT:
            found.setdefault(shard, []).append(_attempt(path_of(output, shard, number), number))
    for attempts in found.values():
        attempts.sort(key=lambda a: (not a.complete, -a.answered, a.number))
    return found


def attempts_at(output: str, shard: int) -> list[Attempt]:
    """The same of one shard."""
    numbers = [n for s, n, suffix in _names(output) if s == shard and suffix == _CHECKPOINT]
    attempts = [_attempt(path_of(output, shard, n), n) for n in numbers]
    return sorted(attempts, key=lambda a: (not a.complete, -a.answered, a.number))


def next_number(output: str, shard: int) -> int:
    """A number that no attempt of this shard has."""
    return 1 + max((n for s, n, _ in _names(output) if s == shard), default=0)


def copy_answers(source: Attempt, target: str) -> int:
    """Let a new attempt begin with what another one, perhaps at work, has answered; how many answers that is.

    The caller holds the lock of `target`. The checkpoint is copied first: what it drops later is in the output, which
    is copied afterwards. An attempt has begun once its checkpoint has its name. Raises DiskFailed.
    """
    output, checkpoint = target + ".new", target + ".ckpt.new"
    try:
        shutil.copyfile(source.checkpoint, checkpoint)
        if os.path.exists(source.path):
            shutil.copyfile(source.path, output)
        had = recover(output, checkpoint)
        others = [index for index, _ in had.order.items()]
        with open(target + _COPIED, "wb") as f:
            f.write(msgspec.json.encode(Copied(had.order.next_index, others)))
        for path in (output, checkpoint):
            if os.path.exists(path):
                with open(path, "rb") as f:
                    os.fsync(f.fileno())
        if os.path.exists(output):
            os.replace(output, target)
        os.replace(checkpoint, target + _CHECKPOINT)
    except OSError as e:
        disk_failed("writing", target, e)
    sync_folder(target)
    return had.order.next_index + len(others)


def copied_in(attempt: Attempt) -> Copied:
    """What of an attempt was copied when it began."""
    try:
        with open(attempt.path + _COPIED, "rb") as f:
            return msgspec.json.decode(f.read(), type=Copied)
    except (OSError, msgspec.MsgspecError):
        return Copied()


def part_files(output: str) -> list[str]:
    """Every file of every attempt."""
    return [path_of(output, shard, number) + suffix for shard, number, suffix in _names(output)]


def _names(output: str) -> list[tuple[int, int, str]]:
    """Shard, number and the rest of every file's name in the folder of the parts. Raises DiskFailed."""
    try:
        names = os.listdir(folder_of(output))
    except FileNotFoundError:
        return []
    except OSError as e:
        disk_failed("reading", folder_of(output), e)
    matches = (_NAME.fullmatch(name) for name in names)
    return sorted((int(m[1]), int(m[2]), m[3]) for m in matches if m is not None)


def _attempt(path: str, number: int) -> Attempt:
    try:
        found = looked(path, path + _CHECKPOINT)
    except ForeignOutput:
        return Attempt(path, number, None, Totals())  # killed before its header was on disk
    return Attempt(path, number, found.status, found.totals)
