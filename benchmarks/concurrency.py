"""How close does `--concurrency auto` come to the best fixed number, on servers that name no limit?

Whole runs of the real scheduler and pool in virtual time against servers of 4, 32 and 256 slots: without a queue (503,
or a bare 429), with an endless one, with one as long as the slots. The best fixed number is the best of a few runs
with as many in flight as the server has slots, and twice as many.

    python benchmarks/concurrency.py                the table
    python benchmarks/concurrency.py --only 503     rows whose name contains this
    python benchmarks/concurrency.py --seed 7       other draws
"""

from __future__ import annotations

import argparse
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from slots import Kind, SlotTransport, as_long, constant, endless, lognormal, no_queue
from virtualrun import VirtualRun

from batchproc.core.decisions import Halt, HaltKind
from batchproc.core.modelqueue import Policy
from batchproc.simulator.settings import SimulatorSettings

BODY = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
QUEUES = {
    "no queue, 503": (no_queue, 503),
    "no queue, 429": (no_queue, 429),
    "endless queue": (endless, 503),
    "queue of slots": (as_long, 503),
}
# name → (draw, mean seconds)
WORK = {
    "1 s": (constant(1.0), 1.0),
    "log-normal 0.5": (lognormal(1.0, 0.5), 1.133),
    "log-normal 1.0": (lognormal(1.0, 1.0), 1.63),
    "10 s": (constant(10.0), 10.0),
}


@dataclass(frozen=True)
class Case:
    """A row: the server, how long an answer takes, when what is measured begins and ends (seconds)."""

    name: str
    kind: Kind
    best: tuple[int, ...]  # fixed numbers to compare with
    from_s: float
    until_s: float
    most: int  # answers it can give by then


def cases() -> Iterator[Case]:
    """All rows. What is measured is from 30 s to 60 s; where an answer takes 10 s, from 300 s to 600 s."""
    for work, (draw, mean_s) in WORK.items():
        for queue, (length, status) in QUEUES.items():
            for slots in (4, 32, 256):
                scale = 10.0 if mean_s == 10.0 else 1.0
                kind = Kind(lambda now, n=slots: n, draw, length, status)
                most = int(slots * 64 * scale / mean_s * 1.3) + 1100
                yield Case(f"{slots} slots, {queue}, {work}", kind, (slots, 2 * slots), 30 * scale, 60 * scale, most)
    for queue, (length, status) in QUEUES.items():
        for before, after in ((32, 64), (64, 32)):
            kind = Kind(lambda now, b=before, a=after: b if now < 60 else a, lognormal(1.0, 0.5), length, status)
            yield Case(f"{before} → {after} slots at 60 s, {queue}", kind, (after, 2 * after), 90.0, 150.0, 12_000)
    for k in (64, 256):
        kind = Kind(lambda now: 256, lognormal(1.0, 0.5), endless, slowed=lambda n, k=k: 1.0 + n / k)
        yield Case(f"batches of 256, slower by 1/{k} each", kind, (256, 512), 30.0, 90.0, 25_000)
    for faults in (0.01, 0.1):
        kind = Kind(lambda now: 256, lognormal(1.0, 0.5), endless, 503, faults=faults)
        yield Case(f"256 slots, {faults:.0%} of 503 at random", kind, (256, 512), 30.0, 60.0, 25_000)


class Measured:
    """A run of a case."""

    def __init__(self, case: Case, concurrency: int | None, seed: int) -> None:
        self.case = case
        self.run = VirtualRun(
            [BODY] * case.most,
            server=SimulatorSettings(),
            policy=Policy(concurrency=concurrency),
            seed=seed,
            drain_s=0.0,
            during=self._stop,
            transport=lambda: SlotTransport(case.kind, seed=seed),
        ).go()
        self.transport: SlotTransport = self.run.transport
        self.failed = self.run.ledger.totals.failed

    async def _stop(self, run: VirtualRun) -> None:
        import asyncio

        await asyncio.sleep(self.case.until_s)
        if run.scheduler.queued == 0:
            raise SystemExit(f"{self.case.name}: too few jobs")
        run.pool.halt(Halt(HaltKind.STOP_AFTER, "measured"), drain_s=0.0)

    def rate(self, start_s: float, end_s: float) -> float:
        """Answers per second between two instants."""
        times = self.transport.answered
        return (bisect_left(times, end_s) - bisect_left(times, start_s)) / (end_s - start_s)

    @property
    def steady(self) -> float:
        return self.rate(self.case.from_s, self.case.until_s)

    def refused_share(self) -> float:
        """Of the requests of the measured time."""
        refused = sum(1 for at in self.transport.refused if at >= self.case.from_s)
        answered = sum(1 for at in self.transport.answered if at >= self.case.from_s)
        return refused / max(1, refused + answered)

    def in_flight(self) -> float:
        """Mean over the sends of the measured time."""
        seen = [n for at, n in self.transport.sizes if at >= self.case.from_s]
        return sum(seen) / max(1, len(seen))

    def reached_s(self, best: float) -> float:
        """When a tenth of the run first had 95% of the best rate."""
        width = (self.case.until_s - self.case.from_s) / 3
        step, at = width / 20, 0.0
        while at + width <= self.case.until_s:
            if self.rate(at, at + width) >= 0.95 * best:
                return at
            at += step
        return float("inf")


def best_rate(case: Case, seed: int) -> float:
    """Of the best fixed number."""
    numbers = case.best if case.kind.queue(1) >= 1 else case.best[:1]
    return max(Measured(case, n, seed).steady for n in numbers)


def table(only: str, seed: int) -> Iterator[str]:
    """The rows, as they are measured."""
    yield f"{'server':<44}{'best/s':>8}{'ratio':>8}{'95% at':>8}{'refused':>9}{'in flight':>11}{'most':>6}{'failed':>8}"
    worst, most_refused, failed = 9.0, 0.0, 0
    for case in cases():
        if only not in case.name:
            continue
        best = best_rate(case, seed)
        ours = Measured(case, None, seed)
        ratio, refused = ours.steady / best, ours.refused_share()
        worst, most_refused, failed = min(worst, ratio), max(most_refused, refused), failed + ours.failed
        yield (
            f"{case.name:<44}{best:>8.1f}{ratio:>8.3f}{ours.reached_s(best):>7.0f}s{refused:>9.2%}"
            f"{ours.in_flight():>11.0f}{ours.transport.most_in_flight:>6}{ours.failed:>8}"
        )
    yield f"worst ratio {worst:.3f}, most refused {most_refused:.2%}, jobs failed {failed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for row in table(given.only, given.seed):
        print(row, flush=True)


if __name__ == "__main__":
    main()
