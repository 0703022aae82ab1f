"""What a run and the place where its quota is kept say to each other. Amounts are requests or tokens."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

LEASE_S = 0.2  # all leases of a model together are about so many seconds' worth of its limits
BURST_S = 0.25  # so much of a limit is kept while nobody asks for it
BEAT_S = 0.25  # between signs of life
GONE_S = 0.9  # a worker that has given none for so long is gone


Positive: TypeAlias = Annotated[float, Meta(gt=0.0)]  # what is read from a store must make sense


class QuotaLost(Exception):
    """The store cannot be reached, or does not make sense; the text says which."""


class Want(Struct, frozen=True):
    """What a worker wants of one limit: `cost` to lease, negative to give back."""

    what: str  # a field of Demand
    window_s: float
    given: float  # the limit, as this worker was told by its user; 0: not told
    cost: float = 0.0
    offline: float = 0.0  # sent while the store could not be reached
    told: float = 0.0  # a lower limit that the server named; 0: none

    @property
    def key(self) -> str:
        """The name of the limit: `tokens/60`."""
        return f"{self.what}/{self.window_s:g}"


class Ask(Struct, frozen=True):
    """One model's part of a round trip; also a sign of life, unless the worker is `leaving`."""

    name: str  # of the quota
    wants: tuple[Want, ...]
    burst_s: float = BURST_S
    hold_s: float = 0.0  # nobody may send for so long: the provider said so
    leaving: bool = False
    reset: bool = False  # what this worker was given replaces what the first one was given


class Granted(Struct, frozen=True):
    """The answer: what was asked for may be used after `wait_s`."""

    wait_s: Annotated[float, Meta(ge=0.0)]
    hold_s: Annotated[float, Meta(ge=0.0)]
    workers: Annotated[int, Meta(ge=1)]  # alive, this one included
    limits: dict[str, Positive]  # as they hold now, by key
    given: dict[str, Positive]  # as the first worker was told
