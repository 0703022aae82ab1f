"""What becomes of a request: the record every part of the simulated provider hands on."""

from __future__ import annotations

from msgspec import Struct


class Decision(Struct, gc=False):
    """What becomes of a request. `headers` have lower-case names; `latency_s` passes before anything is sent.

    `wire` says how the sending itself goes wrong: `reset`, `cut`, `hang` or `drip`; None is a whole answer.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    latency_s: float = 0.0
    wire: str | None = None
    digest: str = ""
    path: str = ""
    model: str | None = None
    admitted: bool = False
    charged: int = 0  # tokens charged to the limits, those at the end of the answer included
    refused: str | None = None  # the limit that refused: rpm, tpm, rpd, tpd, …, or `quota`, `slots`, `key`
    fault: str | None = None
    attempt: int = 0  # how often this request came before
    usage: int = 0  # total tokens a real answer reports, 0 for anything else
    waited_s: float = 0.0  # the part of the latency spent in the queue


def end(decision: Decision, status: int, body: bytes) -> Decision:
    """Make the decision one that is no real answer."""
    decision.status = status
    decision.body = body
    decision.usage = 0
    return decision
