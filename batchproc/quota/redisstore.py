"""A quota in a Redis or Valkey server, for runs on several hosts: one script a model, all of a round trip in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from batchproc.errors import UsageError
from batchproc.lease import Ask, Granted, QuotaLost
from batchproc.quota.script import SCRIPT

TIMEOUT_S = 1.0
_STALL_S = 0.1  # a time-out that comes so late: it was this process that stood still, so ask again
_decoder = msgspec.json.Decoder(Granted)


class RedisStore:
    """`url` as the package redis takes it; `where` is the part of it that may be shown."""

    def __init__(self, url: str, where: str, worker: str, *, clock: float | None = None) -> None:
        self._url = url
        self._where = where
        self._worker = worker
        self._clock = "" if clock is None else repr(clock)
        self._connection: Any = None
        self._sha = b""

    def at(self, clock: float) -> None:
        """Set the clock by hand: for tests."""
        self._clock = repr(clock)

    async def open(self) -> None:
        """Connect. Raises UsageError."""
        try:
            import redis.asyncio as redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise UsageError(
                "`--quota redis://…` needs the package redis", "type: pip install 'batchproc[redis]'"
            ) from None
        # One connection, without the library's client around it: that alone would cost as much as all the rest.
        quick: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": None, "retry": Retry(NoBackoff(), 0)}
        try:
            pool: Any = redis.ConnectionPool.from_url(self._url, **quick)
            self._connection = pool.make_connection()
            await self.probe()
        except (QuotaLost, ValueError, redis.RedisError) as e:
            await self.close()
            text = str(e) if isinstance(e, QuotaLost) else "its address cannot be understood"
            raise UsageError(
                f"the quota store at {self._where} cannot be used: {text}",
                "is the server running, and does its address in `--quota` fit? try: redis-cli -u URL ping",
            ) from None

    async def probe(self) -> None:
        """Is it there? Raises QuotaLost."""
        self._sha = (await self._call([("SCRIPT", "LOAD", SCRIPT)]))[0]

    async def exchange(self, asks: Sequence[Ask]) -> list[Granted]:
        """Carry out all of this in one round trip; each ask all at once. Raises QuotaLost."""
        replies = await self._call([("EVALSHA", self._sha, 1, *self._args(ask)) for ask in asks])
        try:
            return [_decoder.decode(reply) for reply in replies]
        except (msgspec.MsgspecError, TypeError):
            raise QuotaLost("it answers what no quota of batchproc does") from None

    def _args(self, ask: Ask) -> tuple[str, bytes, str, str]:
        wants = [msgspec.structs.asdict(want) | {"key": want.key} for want in ask.wants]
        document = msgspec.structs.asdict(ask) | {"wants": wants}
        return ask.name, msgspec.json.encode(document), self._worker, self._clock

    async def _call(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to these commands."""
        connection = self._connection
        if connection is None:
            raise QuotaLost("it is closed")
        now = asyncio.get_running_loop().time
        for _ in range(3):
            began = now()
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    for command in commands:
                        await connection.send_command(*command, check_health=False)
                    return [await connection.read_response() for _ in commands]
            except TimeoutError:
                await self._reconnect()
                if now() - began < TIMEOUT_S + _STALL_S:
                    break
            except Exception as e:  # whatever a library or a server does: nothing is granted
                await self._reconnect()
                raise QuotaLost(_words(e)) from None
        raise QuotaLost(f"no answer within {TIMEOUT_S:g} s")

    async def _reconnect(self) -> None:
        """An answer that is late must not be taken for that to another question."""
        try:
            await self._connection.disconnect(nowait=True)
        except Exception:
            pass  # it is gone in one way or another

    async def close(self) -> None:
        """Done."""
        if self._connection is not None:
            await self._reconnect()
            self._connection = None


def _words(e: Exception) -> str:
    """What went wrong, without what a server or a library may repeat of an address."""
    name = type(e).__name__
    kinds = {
        "AuthenticationError": "the user name or password is wrong, or missing",
        "AuthorizationError": "this user may not do that",
        "NoPermissionError": "this user may not do that",
        "TimeoutError": f"no answer within {TIMEOUT_S:g} s",
        "BusyLoadingError": "it is still loading its data",
        "ReadOnlyError": "it is a read-only replica",
        "ConnectionError": "no connection",
    }
    text = kinds.get(name)
    if text is None and name == "ResponseError":
        text = str(e).split("@", 1)[0].strip()[:200]
    return text or name
