"""How close to what a server allows does batchproc come, and how often is it refused?

Whole runs of the real scheduler and pool in virtual time, against the simulated provider's windows, beside the
clairvoyant optimum (a client that asks the server's own windows before each send, in order) and beside what other
clients do: a full token bucket (the cookbook's way), an exact sliding window, even pacing.

    python benchmarks/throttle.py                 the table: time ÷ optimum (share of 429s)
    python benchmarks/throttle.py --only fixed    rows whose name contains this
    python benchmarks/throttle.py --minutes 3     shorter work (default: 11.7 minutes' worth)
    python benchmarks/throttle.py --clients "ours;even"   columns
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from virtualrun import VirtualRun

from batchproc.core.capacity import DualCapacity
from batchproc.core.tracker import CapacityTracker
from batchproc.settings import Limits
from batchproc.simulator.asked import read_chat
from batchproc.simulator.charge import charge_tokens
from batchproc.simulator.limits import ModelLimits
from batchproc.simulator.settings import SimulatorSettings

RPM = 600
TPM = 120_000
LATENCY_S = 0.5
WINDOWS = ("bucket", "quantized", "fixed", "sliding", "azure")


def chat(i: int, tokens: int, *, model: str = "m", cap: int | None = 16) -> bytes:
    """A chat job that the server estimates at about `tokens` input tokens."""
    text = f"{i} " + "abcd" * max(1, tokens - 4)
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if cap is not None:
        body["max_tokens"] = cap
    return json.dumps(body).encode()


def rpm_bound(n: int, u: random.Random) -> Iterator[bytes]:
    """All small: requests are scarcer."""
    return (chat(i, 20) for i in range(n))


def tpm_bound(n: int, u: random.Random) -> Iterator[bytes]:
    """Log-normal sizes: tokens are scarcer."""
    return (chat(i, min(20_000, int(u.lognormvariate(6.3, 0.8)))) for i in range(n * 2 // 5))


def both_near(n: int, u: random.Random) -> Iterator[bytes]:
    """Mean size of about limit/limit: both are scarce."""
    return (chat(i, 120 + u.randrange(130)) for i in range(n))


def large_ones(n: int, u: random.Random) -> Iterator[bytes]:
    """One in twenty needs 40% of a minute's tokens."""
    return (chat(i, int(TPM * 0.4) if i % 20 == 10 else 60) for i in range(n // 15))


def no_maximum(n: int, u: random.Random) -> Iterator[bytes]:
    """Jobs that name no maximum of output: the server charges the input, the client would reserve more."""
    return (chat(i, 190 + u.randrange(50), cap=None) for i in range(n))


def high_cap(n: int, u: random.Random) -> Iterator[bytes]:
    """A maximum of 400 output tokens that this server does not charge."""
    return (chat(i, 190 + u.randrange(50), cap=400) for i in range(n))


def two_models(n: int, u: random.Random) -> Iterator[bytes]:
    """Two models with a limit each, in turn."""
    return (chat(i, 20, model="ab"[i % 2]) for i in range(2 * n))


MIXES: dict[str, tuple[Callable[[int, random.Random], Iterator[bytes]], str]] = {
    "small": (rpm_bound, "documented"),
    "lognormal": (tpm_bound, "documented"),
    "both near": (both_near, "documented"),
    "1/20 large": (large_ones, "documented"),
    "no max, prompt": (no_maximum, "prompt"),
    "max 400, prompt": (high_cap, "prompt"),
    "max 400, sum": (high_cap, "sum"),
    "max 400, max": (high_cap, "documented"),
    "two models": (two_models, "documented"),
}


class SlidingTracker(CapacityTracker):
    """What a client with an exact sliding window does: never more than the limit in any 60 s, all at once if it may."""

    def __init__(self, limit: float, now: float) -> None:
        super().__init__(limit, now, burst_s=60)
        self._sent: deque[tuple[float, float]] = deque()
        self._sum = 0.0
        self._closed_until = float("-inf")

    def delay_s(self, amount: float, now: float) -> float:
        while self._sent and self._sent[0][0] <= now - self.window_s:
            self._sum -= self._sent.popleft()[1]
        wait = max(0.0, self._closed_until - now)
        over = self._sum + min(amount, self.limit) - self.limit
        for at, taken in self._sent:
            if over <= 0:
                break
            over -= taken
            wait = max(wait, at + self.window_s - now)
        return wait

    def take(self, amount: float, now: float) -> None:
        self._sent.append((now, amount))
        self._sum += amount

    def refused(self, amount: float, now: float, *, sent_at: float, wait_s: float | None) -> None:
        self._closed_until = max(self._closed_until, now + (wait_s or 0.0))


def dual(make: Callable[[float, float], CapacityTracker]) -> Callable[[str], DualCapacity]:
    """A maker of trackers of one kind."""

    def capacity(_model: str) -> DualCapacity:
        now = asyncio.get_running_loop().time()
        return DualCapacity(make(RPM, now), make(TPM, now))

    return capacity


@dataclass(frozen=True)
class Client:
    """How a column throttles."""

    capacity: Callable[[str], DualCapacity] | None
    headers: bool


CLIENTS = {
    "ours": Client(None, True),
    "ours, no headers": Client(None, False),
    "full bucket": Client(dual(lambda limit, now: CapacityTracker(limit, now, burst_s=60)), False),
    "sliding": Client(dual(SlidingTracker), False),
    "even": Client(dual(lambda limit, now: CapacityTracker(limit, now, burst_s=1)), False),
}


def optimum_s(bodies: list[bytes], server: SimulatorSettings) -> float:
    """Seconds that a client needs which knows the server's windows, sending in order."""
    spec = replace(server.limit_spec, charge_refused=False)
    models: dict[str, tuple[ModelLimits, list[float]]] = {}
    for body in bodies:
        asked = read_chat(body)
        limits, at = models.setdefault(asked.model, (ModelLimits(spec), [0.0]))
        tokens = charge_tokens(server.charge, asked, 0)
        while (refusal := limits.admit(at[0], tokens)) is not None:
            if refusal.too_large:
                break
            at[0] += refusal.wait_s + 1e-6
    return max(at[0] for _, at in models.values()) + LATENCY_S


def servers() -> Iterator[tuple[str, SimulatorSettings]]:
    """The kinds of windows; a fixed minute begins at an instant the client does not know."""
    for window in WINDOWS:
        phase = 23.0 if window in ("fixed", "azure") else 0.0
        yield window, SimulatorSettings(rpm=RPM, tpm=TPM, window=window, phase_s=phase, latency=str(LATENCY_S))


def one(client: Client, bodies: list[bytes], server: SimulatorSettings) -> tuple[float, float]:
    """Seconds and share of 429s of one run."""
    run = VirtualRun(
        bodies,
        server=replace(server, headers=client.headers),
        limits=Limits(rpm=RPM, tpm=TPM),
        capacity_for=client.capacity,
        delay_s=0.02,
        jitter_s=0.03,
    ).go()
    if not run.ending.complete or run.ledger.totals.failed:
        raise SystemExit(f"the run did not succeed: {run.ending} {run.ledger.totals}")
    return run.seconds, run.transport.statuses[429] / sum(run.transport.statuses.values())


def table(minutes: float, only: str, columns: list[str]) -> Iterator[str]:
    """The rows, as they are measured."""
    yield f"{'window, jobs':<28}{'optimum':>9}" + "".join(f"{name:>20}" for name in columns)
    worst = dict.fromkeys(columns, (0.0, 0.0))
    for window, server in servers():
        for mix, (make, charge) in MIXES.items():
            name = f"{window}, {mix}"
            if only not in name:
                continue
            bodies = list(make(int(RPM * minutes), random.Random(7)))
            charged = replace(server, charge=charge)
            best = optimum_s(bodies, charged)
            cells = []
            for column in columns:
                seconds, refused = one(CLIENTS[column], bodies, charged)
                ratio = seconds / best
                worst[column] = (max(worst[column][0], ratio), max(worst[column][1], refused))
                cells.append(f"{ratio:>10.3f} ({refused:6.2%})")
            yield f"{name:<28}{best:>8.0f}s" + "".join(f"{cell:>20}" for cell in cells)
    yield f"{'worst':<37}" + "".join(f"{f'{r:.3f} ({s:.2%})':>20}" for r, s in worst.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=11.7)
    parser.add_argument("--only", default="")
    parser.add_argument("--clients", default="", help="columns, separated by semicolons")
    given = parser.parse_args()
    wanted = [c.strip() for c in given.clients.split(";")]
    columns = [name for name in CLIENTS if name in wanted] or list(CLIENTS)
    print(f"{RPM} requests and {TPM:,} tokens a minute, latency {LATENCY_S} s; time ÷ optimum (share of 429s)")
    for row in table(given.minutes, given.only, columns):
        print(row, flush=True)


if __name__ == "__main__":
    main()
