"""What two files on disk say about where to go on: facts in, a decision out.

The output is its own checkpoint: k whole lines mean that job k is next. The checkpoint adds what identifies
the run and the results that finished early. The decisions, in the order in which they are tried:

    checkpoint        output      decision
    none              none/empty  start
    none              lines       foreign: nothing says that this run made it
    header, other     any         changed: name the settings that differ
    header, same      any         go on
    no header         none/empty  start (its first write never reached the disk)
    no header         lines       go on if every line answers its input line (the ids say so), else foreign
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from msgspec import Struct


class Step(enum.Enum):
    """What to do with the files that are there."""

    START = "start"
    GO_ON = "go on"
    VERIFY = "go on, if the output's ids fit the input"
    FOREIGN = "foreign"
    CHANGED = "changed"


class Found(Struct, frozen=True):
    """The facts: `identity` is None where the checkpoint has no readable header."""

    checkpoint: bool
    identity: Mapping[str, str | None] | None
    output_lines: bool


class Decision(Struct, frozen=True):
    """The step to take, and for CHANGED what differs: (name, before, now)."""

    step: Step
    changes: tuple[tuple[str, str | None, str | None], ...] = ()


def decide(found: Found, wanted: Mapping[str, str | None]) -> Decision:
    """Apply the table above."""
    if found.identity is not None:
        changes = tuple(
            (name, found.identity.get(name), wanted.get(name))
            for name in sorted({*found.identity, *wanted})
            if found.identity.get(name) != wanted.get(name)
        )
        return Decision(Step.CHANGED, changes) if changes else Decision(Step.GO_ON)
    if not found.output_lines:
        return Decision(Step.START)
    return Decision(Step.VERIFY if found.checkpoint else Step.FOREIGN)
