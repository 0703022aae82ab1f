"""A quota in an actor of the Ray cluster in which a run works: `--engine ray` needs no other server."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from batchproc.errors import UsageError
from batchproc.lease import Ask, Granted, QuotaLost

TIMEOUT_S = 2.0  # an actor answers within some ms, on a busy machine within some more
_OPENING_S = 30.0  # the first answer: its process may have to be started yet, which takes seconds on a busy machine


class ActorStore:
    """`name` is that of the actor, in the namespace of the run."""

    def __init__(self, name: str, worker: str) -> None:
        self._name = name
        self._worker = worker
        self._actor: Any = None
        self._asked = False  # a run that was stopped meanwhile does not wait so long again to give back

    async def open(self) -> None:
        """Find it. Raises UsageError."""
        try:
            self._find()
        except QuotaLost as e:
            raise UsageError(
                f"the quota of this run cannot be found in the Ray cluster: {e}",
                "run the same command again: it makes a new one, and what is answered is saved",
            ) from None

    def _find(self) -> None:
        ray: Any = importlib.import_module("ray")
        try:
            self._actor = ray.get_actor(self._name)
        except (ValueError, ray.exceptions.RayError) as e:
            raise QuotaLost(_words(e)) from None

    async def exchange(self, asks: Sequence[Ask]) -> list[Granted]:
        """Carry out all of this in one call. Raises QuotaLost."""
        if self._actor is None:
            raise QuotaLost("it is closed")
        ray: Any = importlib.import_module("ray")
        within_s, self._asked = TIMEOUT_S if self._asked else _OPENING_S, True
        try:
            async with asyncio.timeout(within_s):
                granted: list[Granted] = await asyncio.wrap_future(
                    self._actor.exchange.remote(list(asks), self._worker).future()
                )
        except TimeoutError:
            raise QuotaLost(f"no answer within {within_s:g} s") from None
        except ray.exceptions.RayError as e:
            raise QuotaLost(_words(e)) from None
        return granted

    async def probe(self) -> None:
        """Is it there again? Raises QuotaLost."""
        self._find()
        await self.exchange([])

    async def close(self) -> None:
        """Done."""
        self._actor = None


def _words(e: Exception) -> str:
    return (str(e).strip() or type(e).__name__).splitlines()[0][:200]
