"""Hands the shards of a run to the workers, looks at them, and stops them all where one must stop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import Struct, field, structs

from batchproc import __version__
from batchproc.cli.onray.cluster import Cluster, Lost
from batchproc.cli.onray.orders import Hello, Look, Order, Outcome
from batchproc.cli.onray.signals import Signals
from batchproc.cli.onray.summing import Sums
from batchproc.core.decisions import Halt, HaltKind
from batchproc.errors import UsageError
from batchproc.events import Note, Stopping
from batchproc.settings import RunSettings
from batchproc.ui.progress import Progress

_LOOK_S = 0.4  # between two looks at a worker
_TURN_S = 0.1
_AT_ONCE = 2  # shards that a worker has: one at work, and the one that begins when that is about to end
_GRACE_S = 15.0  # beyond the drain, until a worker that says nothing any more is given up
_PLACE_S = 30.0  # until it is said that the cluster has no place for a worker
_IN_VAIN = 100
_BEGIN_AGAIN = "look after the cluster, then run the same command again: what is answered is saved"
_FEWEST = 20  # jobs that have ended before a share of failures means anything


class _Hand(Struct):
    """One worker. `asked`: its shards, by what Ray gave for them."""

    actor: Any
    number: int
    hello: Any
    ready: bool = False
    asked: dict[Any, int] = field(default_factory=dict)
    look: Any = None
    looked_at: float = 0.0
    returning: bool = False
    absent: int = 0  # how often it was asked in vain whether it is there


class Driver:
    """One run. `make` makes a worker, `order` what it is told; `done` is called with each shard that is done."""

    def __init__(
        self,
        settings: RunSettings,
        cluster: Cluster,
        sums: Sums,
        progress: Progress,
        signals: Signals,
        *,
        order: Callable[[int], Order],
        done: Callable[[int], None],
        beat: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._sums = sums
        self._progress = progress
        self._signals = signals
        self._order = order
        self._done = done
        self._beat = beat
        self._hands: list[_Hand] = []
        self._queue: deque[int] = deque()
        self._began = time.monotonic()
        self._give_up_at: float | None = None
        self._stops = 0
        self._said_waiting = False
        self._drain: tuple[float, bool] = (0.0, False)
        self._left = 0
        self.halt: Halt | None = None
        self.failure: Outcome | None = None  # of the first shard that could not go on

    @property
    def all_done(self) -> bool:
        """Whether every shard is."""
        return not self._left

    def run(self, shards: list[int], actors: list[Any], broken: Callable[[], Exception | None]) -> None:
        """Until all shards are done, or nothing more is to come. `broken`: what else makes it senseless to go on."""
        self._queue.extend(shards)
        self._left = len(shards)
        self._hands = [_Hand(actor, n, actor.hello.remote()) for n, actor in enumerate(actors)]
        while (self._queue and self.halt is None) or any(hand.asked for hand in self._hands):
            now = time.monotonic()
            self._hand_out()
            refs = [*self._looks(now), *(h.hello for h in self._hands if not h.ready)]
            refs += [ref for h in self._hands for ref in h.asked]
            for ref in self._cluster.finished(refs, _TURN_S):
                self._take(ref)
            self._guards(time.monotonic())
            if broken() is not None and self.halt is None:
                self._stop(Halt(HaltKind.INPUT, "the shards cannot be merged"), None)
            self._progress.update(self._sums.snapshot(time.monotonic(), self._stopping()))
            self._beat()
            if self._give_up_at is not None and time.monotonic() > self._give_up_at:
                break

    def _stopping(self) -> str:
        return self.halt.message if self.halt is not None else ""

    # --- shards ----------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """A shard to each, then a second one; a free worker gets what another one has not begun."""
        if self.halt is not None:
            return
        ready = [hand for hand in self._hands if hand.ready]
        for most in range(1, _AT_ONCE + 1):
            for hand in ready:
                if self._queue and len(hand.asked) < most:
                    shard = self._queue.popleft()
                    hand.asked[self._cluster.once(hand.actor.run, self._order(shard))] = shard
        idle = sum(not hand.asked for hand in ready)
        for hand in ready:
            if idle and not self._queue and len(hand.asked) == _AT_ONCE and not hand.returning:
                hand.returning = True
                self._cluster.once(hand.actor.give_back, list(hand.asked.values())[-1])
                idle -= 1

    def _looks(self, now: float) -> list[Any]:
        for hand in self._hands:
            if hand.look is None and hand.asked and now - hand.looked_at >= _LOOK_S:
                hand.look, hand.looked_at = self._cluster.once(hand.actor.look), now
        return [hand.look for hand in self._hands if hand.look is not None]

    def _take(self, ref: Any) -> None:
        hand = next((h for h in self._hands if ref in h.asked or ref in (h.look, h.hello)), None)
        if hand is None:
            return  # of a worker that was lost meanwhile
        try:
            answer = self._cluster.answer(ref)
        except Lost:
            self._lost(hand, ref)
            return
        if isinstance(answer, Hello):
            self._is_there(hand, answer)
        elif isinstance(answer, Look):
            hand.look = None
            self._seen(hand, answer)
        elif isinstance(answer, Outcome):
            self._ended(hand, hand.asked.pop(ref), answer)

    def _is_there(self, hand: _Hand, hello: Hello) -> None:
        if hello.version != __version__:
            raise UsageError(
                f"`{hello.host}` has batchproc {hello.version}, and this is {__version__}",
                "install the same version on every node of the cluster",
            )
        if hello.lacks:
            raise UsageError(
                f"a worker on `{hello.host}` cannot work: {hello.lacks}", "share the folder, or begin there"
            )
        hand.ready = True
        if self.halt is not None:
            self._tell_to_stop(hand)

    def _seen(self, hand: _Hand, look: Look) -> None:
        shards = set(hand.asked.values())
        for shard, snapshot in look.shards.items():
            if shard in shards:
                self._sums.seen(shard, snapshot)
        now = time.monotonic()
        for event in look.events:
            self._progress.event(structs.replace(event, at=now))

    def _ended(self, hand: _Hand, shard: int, outcome: Outcome) -> None:
        hand.returning = False
        self._sums.ended(shard, outcome.summary, time.monotonic())
        if outcome.returned:
            self._queue.appendleft(shard)
        elif outcome.code in (0, 3):
            self._left -= 1
            self._done(shard)
        else:
            self._queue.appendleft(shard)
            if self.halt is None:
                self.failure = outcome
                summary = outcome.summary
                why = outcome.error or (summary.error or summary.verdict if summary is not None else "it ended")
                self._stop(Halt(HaltKind.INPUT, f"shard {shard}: {why}"), None)

    def _lost(self, hand: _Hand, ref: Any) -> None:
        """A process is gone. Ray starts another one; its shards go to whoever is free, and go on where they stopped."""
        if ref == hand.look:
            hand.look = None
            return  # its shards will tell, if it is more than this one call
        shards = list(hand.asked.values())
        hand.asked, hand.look, hand.returning = {}, None, False
        if hand.ready or ref == hand.hello:
            hand.absent = 0 if hand.ready else hand.absent + 1
            if hand.absent > _IN_VAIN:
                raise UsageError("workers cannot be started in the Ray cluster any more", _BEGIN_AGAIN)
            hand.ready = False
            hand.hello = hand.actor.hello.remote()
        for shard in shards:
            self._sums.ended(shard, None, time.monotonic())
        self._queue.extendleft(reversed(shards))
        if shards:
            self._say(f"worker {hand.number} was lost: its shards go on where they stopped")

    # --- stopping --------------------------------------------------------------------------------------------

    def _guards(self, now: float) -> None:
        settings, sums = self._settings, self._sums
        self._asked_to(now)
        if self.halt is not None:
            return
        if settings.stop_after_s is not None and now - self._began > settings.stop_after_s:
            text = f"the time of --stop-after is up ({settings.stop_after_s:g} s)"
            hint = "run the same command again: it goes on where it stopped"
            self._stop(Halt(HaltKind.STOP_AFTER, text, hint), None)
        rate, ended, failed = settings.fail_over, sums.ended_here, sums.failed_here
        if rate is not None and ended >= _FEWEST and failed > rate * ended:
            text = f"{failed} of the first {ended} jobs failed, more than --fail-over allows"
            hint = "run the same command again to go on, with a higher `--fail-over` or none; `-v` shows the errors"
            self._stop(Halt(HaltKind.FAIL_OVER, text, hint), None)
        absent = sum(not hand.ready for hand in self._hands)
        if absent and now - self._began > _PLACE_S and not self._said_waiting:
            self._said_waiting = True
            self._say(f"{absent} of {len(self._hands)} workers have no place in the cluster yet: the others begin")

    def _asked_to(self, now: float) -> None:
        if self._signals.take_status():
            self._progress.status(self._sums.snapshot(now, self._stopping()))
        count = self._signals.count
        if count > self._stops:
            self._stops = count
            self._stop(
                Halt(HaltKind.INTERRUPTED, f"interrupted ({self._signals.name})"), self._signals.drain_s, count > 1
            )

    def _stop(self, halt: Halt, drain_s: float | None, cut: bool = False) -> None:
        drain_s = self._settings.drain_s if self._settings.drain_s is not None else drain_s or 30.0
        now = time.monotonic()
        if self.halt is None:
            self.halt = halt
            in_flight = self._sums.snapshot(now).in_flight
            self._progress.event(Stopping(now, halt.message, in_flight, drain_s))
        self._drain = 0.0 if cut else drain_s, cut
        self._give_up_at = now + (0.0 if cut else drain_s) + _GRACE_S
        for hand in self._hands:
            if hand.ready:
                self._tell_to_stop(hand)

    def _tell_to_stop(self, hand: _Hand) -> None:
        self._cluster.once(hand.actor.stop, *self._drain)

    def _say(self, text: str) -> None:
        self._progress.event(Note(time.monotonic(), text))
