"""What a dialect is: everything in which one provider's answers differ from another's.

The provider decides what happens to a request, the dialect how that looks: its paths, where it wants the key,
its headers, its error bodies, and which windows, charges and queues are usual there. It holds no state but
the date its clock began at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from batchproc.simulator.asked import Asked
from batchproc.simulator.decision import Decision
from batchproc.simulator.limits import Dimension, LimitSpec, ModelLimits, Refusal
from batchproc.simulator.outcomes import Spoiled

#: How a path is read and answered: the answer's body and the total of its usage, in tokens.
Endpoint = tuple[Callable[[bytes], Asked], Callable[[Asked, str], tuple[bytes, int]]]

#: A status and a body.
Words = tuple[int, bytes]


class Call(Struct, frozen=True, gc=False):
    """The envelope of a request. Names of headers are asked for in lower case; None is a caller without HTTP."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] | None
    authorization: str | None
    length: int  # bytes of the body


class Dialect(Protocol):
    """How one provider speaks. `now_s` is the provider's clock; `started_s` is when that began, since 1970."""

    base: str  # what its base URLs end in, such as `/v1`
    root: str  # its paths begin with this
    window: str  # the usual kind of window
    charge: str  # the usual way to charge
    slots: int | None  # requests usually worked on at once, None: any number
    queue: int  # requests that usually wait for a slot
    endpoints: Mapping[str, Endpoint]
    models_path: str
    guarded: bool  # whether `objection` has something to say
    finishes: bool  # whether `finish` does something

    def __init__(self, started_s: float) -> None: ...

    def route(self, path: str) -> Endpoint | None:
        """What a path leads to that is not among the endpoints as it stands."""

    def dimensions(self, spec: LimitSpec) -> list[Dimension]:
        """The limits of a model, as this provider counts them."""

    def greeting(self, digest: str) -> dict[str, str]:
        """The headers of every answer, with the request's own id."""

    def add_origin(self, decision: Decision) -> None:
        """Add the headers of a request that came as far as the limits."""

    def add_limits(self, headers: dict[str, str], limits: ModelLimits, now_s: float) -> None:
        """Add the rate-limit headers of any answer."""

    def add_refusal(self, headers: dict[str, str], refusal: Refusal, limits: ModelLimits, now_s: float) -> None:
        """Add the rate-limit headers of a refused request."""

    def add_wait(self, headers: dict[str, str], wait_s: float) -> None:
        """Add Retry-After, or whatever stands for it."""

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Add the header that tells how long the work took."""

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """What a request hears whose key is not `key`; None lets it in."""

    def objection(self, call: Call, decision: Decision) -> Words | None:
        """What a request hears whose envelope is wrong in another way."""

    def no_such_path(self, decision: Decision, method: str) -> Words:
        """The path does not exist."""

    def wrong_method(self, decision: Decision, method: str) -> Words:
        """The path wants another method."""

    def malformed(self, decision: Decision, message: str, code: str | None, param: str | None) -> Words:
        """The body cannot be used."""

    def unknown_model(self, decision: Decision, model: str) -> Words:
        """The model does not exist."""

    def busy(self, decision: Decision, places: int) -> Words:
        """There are `places` for requests at work and waiting, and none is free."""

    def no_money(self, decision: Decision, now_s: float) -> Words:
        """The money is gone."""

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """A limit has no room."""

    def too_long(self, decision: Decision, length: int, tokens: int) -> Words:
        """The prompt does not fit into the model's context."""

    def spoil(self, decision: Decision, fault: str, asked: Asked, rpm: int | None, now_s: float) -> Spoiled:
        """Apply a fault to the true answer that the decision holds."""

    def finish(self, decision: Decision, asked: Asked) -> None:
        """Have a last look at an answer, true or spoilt."""

    def models(self, names: tuple[str, ...]) -> bytes:
        """The list of models."""
