"""What every provider needs: where requests go, with which headers, and what an answer means."""

from __future__ import annotations

from typing import Protocol

from batchproc.model import Answer, Fault, RateSeen, Reply


class Provider(Protocol):
    """Translates between one API and batchproc."""

    name: str

    def url(self, path: str) -> str:
        """The whole URL for a job's path."""
        ...

    def headers(self) -> dict[str, str]:
        """Headers of every request, the key among them: never to be printed."""
        ...

    def read(self, path: str, reply: Reply, wall: float) -> Answer | Fault:
        """What a reply means. Pure; `wall` is Unix time, for dates in headers."""
        ...

    def rates(self, reply: Reply, wall: float) -> tuple[RateSeen, ...]:
        """What the headers of a reply say of the limits."""
        ...
