"""Which limit binds, and how long the jobs take at it.

A limit of N a minute lets the jobs of a model pass in jobs ÷ N minutes. A limit per day says nothing as long as the
jobs fit into one day. Models have limits of their own and run side by side, so the slowest decides; what may be in
flight is shared by all. Token limits are reckoned with input plus the most output, which servers charge at the most.
"""

from __future__ import annotations

from batchproc.settings import Limits

_DAY = 1440.0  # minutes


def slowest(jobs: int, input_tokens: int, output_tokens: int, limits: Limits) -> tuple[str | None, float | None]:
    """The limit that holds a model back longest, and its minutes; (None, None) where none is given."""
    found: list[tuple[float, str]] = []
    tokens = input_tokens + output_tokens
    for name, amount, limit, minutes in (
        ("tpm", tokens, limits.tpm, 1.0),
        ("rpm", jobs, limits.rpm, 1.0),
        ("itpm", input_tokens, limits.itpm, 1.0),
        ("otpm", output_tokens, limits.otpm, 1.0),
        ("tpd", tokens, limits.tpd, _DAY),
        ("rpd", jobs, limits.rpd, _DAY),
    ):
        if limit is not None:
            took = amount / limit * minutes
            found.append((0.0 if minutes == _DAY and amount <= limit else took, name))
    if not found:
        return None, None
    minutes, name = max(found, key=lambda f: f[0])
    return name, minutes


def enough_s(jobs: int, minutes: float | None, concurrency: int | None) -> float | None:
    """How long requests may take on average, in seconds, before so many in flight are too few for the other limits."""
    if not jobs or not minutes or concurrency is None:
        return None
    return concurrency * minutes * 60 / jobs
