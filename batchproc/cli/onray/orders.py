"""What the driver and the workers of a Ray cluster say to each other: plain records, which are pickled.

None of them holds a key: each worker takes it from its own environment, or from the file that `--api-key-file` names.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from batchproc.events import Event
from batchproc.settings import RunSettings
from batchproc.snapshot import Snapshot, Summary

QUOTA_NAME = "batchproc-quota"
STOPPED = 130  # the code of a shard that was stopped from outside


class Order(Struct, frozen=True):
    """One shard to run. `options` are those of the command that a worker needs; `command` is what was typed."""

    shard: int
    settings: RunSettings
    options: dict[str, Any]
    command: list[str]


class Outcome(Struct, frozen=True):
    """How a shard ended. `returned`: it was not begun. `error` and `hint` where there was one without last words."""

    shard: int
    code: int
    summary: Summary | None = None
    error: str | None = None
    hint: str | None = None
    returned: bool = False


class Look(Struct, frozen=True):
    """What a worker is doing: a snapshot of each shard at work, and what happened since the last look."""

    shards: dict[int, Snapshot]
    events: list[Event]


class Hello(Struct, frozen=True):
    """Who a worker is. `lacks`: why it cannot work here; empty if it can."""

    version: str
    host: str
    pid: int
    lacks: str = ""
