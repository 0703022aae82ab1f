"""One task a run that fetches leases for its models, all in one round trip, and gives back what is not needed.

It sleeps until a model is short of something, and looks four times a second, which is a sign of life to the others. No
job ever waits for the store itself: the scheduler's own clock lets a lease come into force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from batchproc.core.decisions import Halt, HaltKind
from batchproc.core.leased import Leased
from batchproc.core.shared import SharedCapacity
from batchproc.engine.pool import Pool
from batchproc.events import Note
from batchproc.lease import BEAT_S, QuotaLost
from batchproc.ports import QuotaStore

SHARE = 0.8  # of the last fair share, without the store
PROBE_S = 1.0
GATHER_S = 0.005  # so long models are waited for that want something too
_HINT = "mend it, then run the same command again; `--on-quota-loss share` goes on with a part of the quota meanwhile"


class Leasing:
    """See the module's text. `on_loss` is `share`, `pause` or `fail`; `where` names the store to people."""

    def __init__(self, store: QuotaStore, where: str, on_loss: str) -> None:
        self._store = store
        self._where = where
        self._on_loss = on_loss
        self._models: dict[str, SharedCapacity] = {}
        self._wanted = asyncio.Event()
        self._pool: Pool | None = None
        self._ever = False
        self.trips = 0

    def capacity(
        self,
        model: str,
        name: str,
        parts: Iterable[tuple[str, Leased]],
        *,
        fraction: float,
        burst_s: float | None,
        reset: bool,
    ) -> SharedCapacity:
        """The trackers of a model whose quota has this name."""
        made = SharedCapacity(name, parts, self._wanted.set, fraction=fraction, burst_s=burst_s, reset=reset)
        self._models[model] = made
        return made

    async def run(self, pool: Pool) -> None:
        """Until cancelled; then everything is given back."""
        self._pool = pool
        try:
            while True:
                await self._sleep(BEAT_S)
                await asyncio.sleep(GATHER_S)
                self._wanted.clear()
                try:
                    await self._round()
                except QuotaLost as e:
                    await self._lost(str(e))
        finally:
            await self._leave()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            pass

    async def _round(self, *, leaving: bool = False) -> None:
        now = self._now()
        asked = [(m, c, ask) for m, c in self._models.items() if (ask := c.ask(now, leaving=leaving)) is not None]
        if not asked:
            return
        self.trips += 1
        granted = await self._store.exchange([ask for _, _, ask in asked])
        self._ever = True
        if leaving:
            return
        now = self._now()
        for (model, capacity, ask), answer in zip(asked, granted, strict=True):
            capacity.granted(ask, answer, now)
            for text in capacity.news:
                self._tell(f"{model}: {text}")
            capacity.news.clear()
            self._wake(model)

    def _wake(self, model: str) -> None:
        pool = self._pool
        if pool is not None:
            pool.scheduler.model(model).blocked_until = float("-inf")
            pool.pump()

    async def _lost(self, why: str) -> None:
        """Go on without the store, and look for it every second."""
        pool = self._pool
        if pool is None:
            return
        text = f"the quota store {self._where} is lost ({why})"
        if self._on_loss == "fail" or not self._ever:
            pool.halt(Halt(HaltKind.QUOTA, text, _HINT))
            await asyncio.Event().wait()
        goes_on = "going on with 80% of this run's share" if self._on_loss == "share" else "nothing is sent"
        self._tell(f"{text}: {goes_on} until it is back")
        while True:
            self._do_without()
            await self._later()
            try:
                await self._store.probe()
                for capacity in self._models.values():
                    capacity.found()
                await self._round()
                break
            except QuotaLost:
                pass
        self._tell("the quota store is back")

    def _do_without(self) -> None:
        workers = max((c.workers for c in self._models.values()), default=0)
        for model, capacity in self._models.items():
            if not capacity.lost:
                capacity.lose(SHARE if self._on_loss == "share" else 0.0, workers)
                self._wake(model)

    async def _later(self) -> None:
        """Wait until the next probe; models that are met meanwhile are without a store at once."""
        deadline = self._now() + PROBE_S
        while (left := deadline - self._now()) > 0:
            self._wanted.clear()
            await self._sleep(left)
            self._do_without()

    async def _leave(self) -> None:
        """Give back what is held, as far as the store is there."""
        try:
            if not any(c.lost for c in self._models.values()):
                await self._round(leaving=True)
        except QuotaLost:
            pass  # it is only a lease
        await self._store.close()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _tell(self, text: str) -> None:
        if self._pool is not None:
            for observer in self._pool.observers:
                observer(Note(self._now(), text))
