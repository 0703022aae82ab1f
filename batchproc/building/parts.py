"""The one place where what sends is put together: provider, wire, scheduler, pool, feed."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from batchproc.building.descriptors import room_for
from batchproc.building.policy import policy_of
from batchproc.building.trackers import SentBefore, Shared, capacity_maker
from batchproc.core.budget import Budget
from batchproc.core.concurrency import MOST
from batchproc.core.scheduler import Scheduler
from batchproc.engine.feed import Earlier, Feed
from batchproc.engine.pool import Pool
from batchproc.engine.shutdown import DRAIN_S
from batchproc.events import Observer
from batchproc.model import RawLine
from batchproc.ports import Ledger, Parser, Shelf
from batchproc.providers.choose import provider_for
from batchproc.providers.presets import drops_v1, preset_of
from batchproc.settings import RunSettings
from batchproc.store.jobs import JobParser
from batchproc.tokens.output import LearntOutput
from batchproc.tokens.weigh import Weigher
from batchproc.wire.http import HttpTransport, proxy_for


class Access:
    """What a request carries besides its body: the key, headers, and of both what must be shown nowhere."""

    def __init__(self, key: str | None, headers: Mapping[str, str], secrets: Sequence[str]) -> None:
        self.key = key
        self.headers = dict(headers)
        self.secrets = secrets

    def __repr__(self) -> str:
        return "Access(…)"


class Source(Struct):
    """Where jobs come from: lines, what earlier runs answered of them, and how they are understood and weighed.

    `shelf` makes a place on disk for the jobs of a model that is held; None: they wait in memory.
    """

    lines: AsyncIterator[list[RawLine]]
    earlier: Earlier
    parser: Parser
    weigher: Weigher
    shelf: Callable[[], Shelf] | None = None


class Parts(Struct):
    """What sends. `note` is what the user should know of how it is put together; empty: nothing."""

    transport: HttpTransport
    scheduler: Scheduler
    pool: Pool
    feed: Feed
    note: str = ""


def parser_for(settings: RunSettings) -> JobParser:
    """Reads jobs under the defaults of a run."""
    return JobParser(
        endpoint=settings.endpoint,
        model=settings.model,
        strip_v1=drops_v1(settings.provider, settings.base_url),
        messages=preset_of(settings.provider, settings.base_url).messages,
    )


def build(
    settings: RunSettings,
    access: Access,
    base_url: str,
    source: Source,
    ledger: Ledger,
    budget: Budget,
    *,
    sent: Iterable[SentBefore] = (),
    observers: Iterable[Observer] = (),
    raise_limits: bool = True,
    shared: Shared | None = None,
) -> Parts:
    """Put the parts of a run together, inside its loop; the caller opens and closes the transport.

    `base_url` is where requests go, also where the provider is embedded. `sent` are requests of earlier processes,
    which still count against the limits. `raise_limits`: the process's limit of open files may be raised. `shared`: the
    quota that other runs use too; its task is the caller's to run.
    """
    loop = asyncio.get_running_loop()
    provider = provider_for(settings.provider, base_url, access.key, access.headers, os.environ)
    transport = HttpTransport(
        url_for=provider.url,
        headers=provider.headers(),
        timeout_s=settings.timeout_s,
        proxy=proxy_for(base_url) if settings.provider != "simulated" else None,
        secrets=access.secrets,
    )
    capacity_for = capacity_maker(settings.limits_for, sent, now=loop.time, wall=time.time())
    if shared is not None:
        capacity_for = shared.capacity_for(base_url, capacity_for)
    scheduler = Scheduler(
        policy_of(settings, settles=provider.settles),
        capacity_for,
        lambda model: LearntOutput(),
        budget,
    )
    wanted = settings.concurrency or MOST
    most = room_for(wanted, may_raise=raise_limits)
    pool = Pool(
        scheduler,
        transport,
        provider,
        ledger,
        list(observers),
        most=most,
        wall=time.time,
        random=random.Random(),  # noqa: S311 - jitter, nothing secret
        drain_s=settings.drain_s if settings.drain_s is not None else DRAIN_S,
    )
    feed = Feed(
        source.lines,
        source.earlier,
        source.parser,
        source.weigher,
        ledger,
        scheduler,
        pool,
        limit=settings.limit,
        shelf=source.shelf,
    )
    note = f"the limit of open files (ulimit -n) allows only {most} requests in flight" if most < wanted else ""
    return Parts(transport, scheduler, pool, feed, note)
