"""What runs in the processes of a Ray cluster: workers, and the quota that they share."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence

from batchproc import __version__
from batchproc.cli.onray.orders import STOPPED, Hello, Look, Order, Outcome
from batchproc.cli.onray.relay import Relay, shown_by
from batchproc.core.pot import Pot, exchange
from batchproc.errors import BatchprocError
from batchproc.lease import Ask, Granted
from batchproc.snapshot import Snapshot

_PATIENCE_S = 10.0  # for a process that was killed, or is being ended by Ray, to let go of a shard


class QuotaActor:
    """The quota of one run, in one process: buckets by name. Killed, it begins anew with empty ones."""

    def __init__(self) -> None:
        self._pots: dict[str, Pot] = {}

    def exchange(self, asks: Sequence[Ask], worker: str) -> list[Granted]:
        """Carry out what `worker` asks for."""
        now = time.time()
        return [exchange(self._pots.setdefault(ask.name, Pot()), ask, worker, now) for ask in asks]


class Worker:
    """Runs shards, each in a thread with a loop of its own; a second one begins when the first is about to end.

    An actor with several threads: `look`, `stop` and `give_back` are answered while shards run.
    """

    def __init__(self, folder: str, output_folder: str) -> None:
        self._changed = threading.Condition()
        self._relays: dict[int, Relay] = {}
        self._newest: Relay | None = None
        self._stop: tuple[float | None, bool] | None = None
        self._lacks = ""
        try:
            os.chdir(folder)  # names of files are as they were typed
        except OSError:
            self._lacks = f"the folder `{folder}` is not there: all nodes must see it under the same name"
        if not self._lacks and not os.path.isdir(output_folder):
            self._lacks = f"the folder `{output_folder}` is not there: all nodes must share it"

    def hello(self) -> Hello:
        """That it is alive."""
        return Hello(__version__, socket.gethostname(), os.getpid(), self._lacks)

    def run(self, order: Order) -> Outcome:
        """Run a shard to its end, after the one before it is about to end. Raises nothing that is expected."""
        with self._changed:
            before, relay = self._newest, Relay(order.shard, self._tell)
            self._newest = self._relays[order.shard] = relay
            self._changed.wait_for(lambda: before is None or before.tail or relay.withdrawn or self._stop is not None)
            if relay.withdrawn or self._stop is not None:
                return self._returned(order.shard, relay)
            relay.begun = True
        try:
            return _run_here(order, relay)
        finally:
            with self._changed:
                self._relays.pop(order.shard, None)
            relay.tail_is_reached()

    def look(self) -> Look:
        """What it is doing."""
        with self._changed:
            relays = list(self._relays.values())
        shards: dict[int, Snapshot] = {r.shard: r.snapshot for r in relays if r.snapshot is not None}
        return Look(shards, [event for relay in relays for event in relay.events()])

    def stop(self, drain_s: float | None, cut: bool) -> None:
        """Send nothing any more; `cut`: do not wait either. Shards that have not begun are given back."""
        with self._changed:
            self._stop = drain_s, cut
            self._changed.notify_all()
            relays = list(self._relays.values())
        for relay in relays:
            relay.halt(drain_s, cut)

    def give_back(self, shard: int) -> None:
        """Another worker is free: a shard that has not begun is given back."""
        with self._changed:
            relay = self._relays.get(shard)
            if relay is not None and not relay.begun:
                relay.withdrawn = True
                self._changed.notify_all()

    def _returned(self, shard: int, relay: Relay) -> Outcome:
        self._relays.pop(shard, None)
        relay.tail = True
        if self._newest is relay:
            self._newest = next(reversed(self._relays.values()), None)
        return Outcome(shard, STOPPED, returned=True)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _run_here(order: Order, relay: Relay) -> Outcome:
    from batchproc.cli.bug import bug_found
    from batchproc.cli.going import go
    from batchproc.cli.shard import run_shard
    from batchproc.events import Note

    def say(text: str) -> None:
        relay.event(Note(0.0, text))

    kind = shown_by(relay)
    try:
        _wait_for_the_dead(order)
        code = run_shard(order.settings, lambda part: go(part, order.options, make=kind, command=order.command), say)
    except BatchprocError as e:
        return Outcome(order.shard, e.exit_code, None, e.message, e.hint)
    except Exception as e:
        told = bug_found(e, order.command)
        return Outcome(order.shard, told.exit_code, None, told.message, told.hint)
    return Outcome(order.shard, code, relay.ended)


def _wait_for_the_dead(order: Order) -> None:
    """A worker that was lost holds its lock for some moments: else its shard would be begun beside it, and paid twice.

    Who holds it longer is alive, and two copies do no harm.
    """
    from batchproc.store.attempts import attempts_at

    until = time.monotonic() + (0.0 if order.settings.break_lock else _PATIENCE_S)
    while time.monotonic() < until:
        found = attempts_at(order.settings.output, order.shard)
        if not found or found[0].complete or not all(a.running for a in found):
            return
        time.sleep(0.1)
