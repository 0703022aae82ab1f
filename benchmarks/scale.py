"""Several processes on one quota, judged by the ledger of a server that enforces it.

    python benchmarks/scale.py                about three minutes
    python benchmarks/scale.py --only redis --seconds 60

Starts a simulated provider and runs of the real program, each with jobs of its own, and prints for each case: the share
of the quota that was used (of requests or tokens, whichever more), between the first second and the end; the largest ÷
the smallest share; the worst stretch of ten seconds ÷ the limit. Then: a worker killed (kill -9) half-way and started
again; Redis stopped, or killed and started again empty, for four seconds; what leases cost. Redis needs `redis-server`
on the path; its cases are left out where it is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from machine import machine

from batchproc.lease import Ask, Want
from batchproc.simulator.embedded import Embedded
from batchproc.simulator.settings import SimulatorSettings

RPM, TPM = 6_000, 600_000
OUTPUT = 60  # tokens that each job allows; the server charges them
_Entry = dict[str, Any]


def free_port() -> int:
    """A port below those that clients get, so that nobody takes it while its server is away."""
    while True:
        port = random.randrange(12_000, 30_000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class RedisServer:
    """A real one, on a port of its own, that keeps nothing."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._child: subprocess.Popen[bytes] | None = None

    @staticmethod
    def there() -> bool:
        """Whether the program is on this machine."""
        return shutil.which("redis-server") is not None

    def start(self) -> None:
        """Start it, empty, and wait until it serves."""
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ]
        self._child = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir())
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                    s.sendall(b"PING\r\n")
                    if s.recv(5) == b"+PONG":
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise AssertionError("redis-server does not start")
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Stop or continue it, say."""
        assert self._child is not None
        self._child.send_signal(number)

    def stop(self) -> None:
        """Take it away."""
        child, self._child = self._child, None
        if child is not None:
            child.send_signal(signal.SIGCONT)
            child.kill()
            child.wait()


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A Redis for a while."""
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Lab:
    """A server with a ledger, and runs on one quota. `quota` is the URL of its store."""

    def __init__(self, folder: Path, quota: str, *, rpm: int = RPM, tpm: int = TPM, latency: str = "0.05-0.15") -> None:
        self.folder = folder
        self.quota = quota
        self.rpm, self.tpm = rpm, tpm
        self._ledger = folder / "ledger.jsonl"
        settings = SimulatorSettings(
            port=0, rpm=rpm, tpm=tpm, latency=latency, ledger=str(self._ledger), charge="sum", headers=False
        )
        self._server = Embedded(settings)
        self.url = self._server.start()
        self.runs: dict[str, subprocess.Popen[bytes]] = {}

    def jobs(self, name: str, count: int) -> Path:
        """A file of jobs of different sizes."""
        path = self.folder / f"{name}.jsonl"
        u = random.Random(name)
        with path.open("w") as f:
            for k in range(count):
                text = f"{name} {k} " + "word " * int(min(120, u.lognormvariate(2.5, 0.8)))
                message = {"role": "user", "content": text}
                f.write(json.dumps({"model": "gpt-4o-mini", "messages": [message], "max_tokens": OUTPUT}) + "\n")
        return path

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start the run of that name (again)."""
        jobs = self.folder / f"{name}.jsonl"
        command = [sys.executable, "-m", "batchproc", "run", str(jobs), "--base-url", self.url, "--quota", self.quota]
        command += ["--rpm", str(self.rpm), "--tpm", str(self.tpm), "--header", f"X-Marker={name}", "--drain", "2"]
        command += ["--progress", "plain", "--break-lock", *options]
        with (self.folder / f"{name}.err").open("ab") as err:
            self.runs[name] = subprocess.Popen(command, stderr=err, stdout=subprocess.DEVNULL)
        return self.runs[name]

    def said(self, name: str) -> str:
        """What a run has said."""
        return (self.folder / f"{name}.err").read_text()

    def ledger(self) -> list[_Entry]:
        """What the server saw, oldest first."""
        lines = self._ledger.read_bytes().split(b"\n")[:-1] if self._ledger.exists() else []
        return sorted((json.loads(line) for line in lines), key=lambda e: e["time"])

    def wait_for(self, names: list[str], seconds: float = 60.0) -> None:
        """Wait until each of these runs has been let in ten times."""
        deadline = time.monotonic() + seconds
        while True:
            seen = Counter(e["marker"] for e in self.ledger() if e["admitted"])
            if all(seen[name] >= 10 for name in names):
                return
            said = {name: self.said(name) for name in names}
            assert time.monotonic() < deadline, f"not all of {names} sent anything: {said}"
            time.sleep(0.05)

    def stop(self) -> None:
        """End everything."""
        for child in self.runs.values():
            if child.poll() is None:
                child.terminate()
        for child in self.runs.values():
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def close(self) -> None:
        """And the server."""
        self.stop()
        self._server.stop()


@contextmanager
def lab(quota: str, **more: Any) -> Iterator[Lab]:
    """A laboratory in a folder of its own; a quota `sqlite` is a file there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = Lab(folder, f"sqlite://{folder}/test.quota" if quota == "sqlite" else quota, **more)
        try:
            yield made
        finally:
            made.close()


class Seen:
    """A stretch of a ledger, from `begin` to `end` in Unix time."""

    def __init__(self, entries: list[_Entry], rpm: int, tpm: int, begin: float, end: float) -> None:
        self.rpm, self.tpm = rpm, tpm
        self.begin, self.end = begin, end
        self.admitted = [e for e in entries if e["admitted"] and begin <= e["time"] < end]
        self.refused = sum(e["status"] == 429 for e in entries if begin <= e["time"] < end)

    def used(self, begin: float | None = None, end: float | None = None) -> float:
        """The share of the quota that was used, of requests or tokens, whichever is more."""
        a, b = begin or self.begin, end or self.end
        inside = [e for e in self.admitted if a <= e["time"] < b]
        return max(len(inside) / self.rpm, sum(e["charged"] for e in inside) / self.tpm) * 60 / (b - a)

    def shares(self) -> dict[str, float]:
        """Of each run, of what was used."""
        counted: Counter[str] = Counter()
        for e in self.admitted:
            counted[e["marker"]] += e["charged"]
        return {name: tokens / counted.total() for name, tokens in sorted(counted.items())}

    def worst(self, seconds: float = 10.0) -> float:
        """The fullest stretch of so many seconds ÷ the limit."""
        worst = 0.0
        for limit, amounts in ((self.rpm, [1] * len(self.admitted)), (self.tpm, [e["charged"] for e in self.admitted])):
            first, total = 0, 0
            for e, amount in zip(self.admitted, amounts, strict=True):
                total += amount
                while self.admitted[first]["time"] <= e["time"] - seconds:
                    total -= amounts[first]
                    first += 1
                worst = max(worst, total / (limit / 60 * seconds))
        return worst


def shared(quota: str, *, runs: int = 3, seconds: float = 30.0) -> Seen:
    """So many runs on one quota, from when all are at work."""
    with lab(quota) as one:
        names = [f"run{n}" for n in range(runs)]
        for name in names:
            one.jobs(name, int(RPM / 60 * (seconds + 20)))
            one.start(name)
        one.wait_for(names)
        begin = time.time() + 1.0
        time.sleep(seconds + 1.0)
        end = time.time()
        one.stop()
        return Seen(one.ledger(), one.rpm, one.tpm, begin, end)


class Killed:
    """Of three runs one is killed, and started again when the others are measured: see the fields."""

    in_flight = 24  # at the most

    def __init__(self, quota: str, *, seconds: float = 8.0, jobs: int = 900) -> None:
        with lab(quota) as one:
            names = ["run0", "run1", "run2"]
            one.jobs("run0", jobs)
            for name in names[1:]:
                one.jobs(name, int(RPM / 60 * (seconds + 40)))
            for name in names:
                one.start(name, "--concurrency", str(self.in_flight))
            one.wait_for(names)
            time.sleep(2.0)
            one.runs["run0"].kill()
            one.runs["run0"].wait()
            at = time.time()
            time.sleep(seconds)
            end = time.time()
            one.start("run0")
            code = one.runs["run0"].wait(120)
            one.stop()
            entries = one.ledger()
            seen = Seen(entries, one.rpm, one.tpm, at - 2.0, end)
            self.used_in_next_second = seen.used(at, at + 1.0)  # by the others, and what was on its way
            self.used_after = seen.used(at + 1.0, end)
            self.worst = seen.worst()
            results = (one.folder / "run0.results.jsonl").read_bytes().splitlines()
            good = sum(json.loads(line)["error"] is None for line in results)
            self.lost = jobs - good
            self.code = code
            bodies = Counter(e["sha"] for e in entries if e["marker"] == "run0" and e["status"] == 200)
            self.paid_twice = sum(count - 1 for count in bodies.values())


class Outage:
    """Redis is away for four seconds: stopped, or (`empty`) killed and started again with nothing in it."""

    def __init__(self, *, empty: bool, on_loss: str = "share", seconds: float = 4.0, after: float = 6.0) -> None:
        with redis_server() as redis, lab(redis.url) as one:
            names = ["run0", "run1", "run2"]
            for name in names:
                one.jobs(name, int(RPM / 60 * (seconds + after + 30)))
                one.start(name, "--on-quota-loss", on_loss)
            one.wait_for(names)
            time.sleep(3.0)
            gone = time.time()
            if empty:
                redis.stop()
            else:
                redis.signal(signal.SIGSTOP)
            time.sleep(seconds)
            if empty:
                redis.start()
            else:
                redis.signal(signal.SIGCONT)
            back = time.time()
            time.sleep(after)
            end = time.time()
            one.stop()
            seen = Seen(one.ledger(), one.rpm, one.tpm, gone - 3.0, end)
            self.kept = seen.used(gone, back)
            self.within_2_s = seen.used(back + 2.0, end)
            self.worst = seen.worst()
            self.by_second = [round(seen.used(gone + k, gone + k + 1), 2) for k in range(int(end - gone))]
            self.said = one.said("run0")


async def cost(store: Any, requests: int = 20, rounds: int = 2000) -> tuple[float, float]:
    """CPU and wall time of one round trip, in µs."""
    await store.open()
    wants = (Want("requests", 60.0, 1e9, float(requests)), Want("tokens", 60.0, 1e12, 700.0 * requests))
    ask = Ask("batchproc:{cost}", wants)
    for _ in range(100):
        await store.exchange([ask])
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(rounds):
        await store.exchange([ask])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    await store.close()
    return cpu / rounds * 1e6, wall / rounds * 1e6


def costs() -> None:
    """The table of costs."""
    import uvloop

    from batchproc.lease import LEASE_S
    from batchproc.quota.redisstore import RedisStore
    from batchproc.quota.sqlite import SqliteStore

    print("\n| store | round trip, CPU µs | wall µs | a request at 100 (300) a second and process |")
    print("|---|---|---|---|")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stores: list[tuple[str, Any]] = [("sqlite", SqliteStore(f"{folder}/cost.quota", "w"))]
        if RedisServer.there():
            stores.append(("redis", RedisStore(stack.enter_context(redis_server()).url, "", "w")))
        for name, store in stores:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                cpu, wall = runner.run(cost(store))
            print(f"| {name} | {cpu:.0f} | {wall:.0f} | {cpu / 100 / LEASE_S:.1f} ({cpu / 300 / LEASE_S:.1f}) µs |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="sqlite, redis, costs or ray (then see scaleray.py)")
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    if given.only == "ray":
        import scaleray

        scaleray.main([])
        return
    kinds = [k for k in ("sqlite", "redis") if given.only in ("", k)]
    if "redis" in kinds and not RedisServer.there():
        print("no redis-server here: its cases are left out")
        kinds.remove("redis")
    print(f"{machine()}\n\n{RPM:,} requests and {TPM:,} tokens a minute")
    print("\n| case | used | shares | worst 10 s | 429s |\n|---|---|---|---|---|")
    for kind in kinds:
        with ExitStack() as stack:
            quota = kind if kind == "sqlite" else stack.enter_context(redis_server()).url
            seen = shared(quota, seconds=given.seconds)
            parts = " ".join(f"{s:.3f}" for s in seen.shares().values())
            print(f"| {kind}, 3 runs | {seen.used():.1%} | {parts} | {seen.worst():.3f} | {seen.refused} |", flush=True)
    print("\n| case | used in the second after | then | lost | paid twice (in flight) | worst 10 s |")
    print("|---|---|---|---|---|---|")
    for kind in kinds:
        with ExitStack() as stack:
            quota = kind if kind == "sqlite" else stack.enter_context(redis_server()).url
            k = Killed(quota)
            row = f"{k.used_in_next_second:.1%} | {k.used_after:.1%} | {k.lost} | {k.paid_twice} ({k.in_flight})"
            print(f"| {kind}, kill -9 of 1 of 3 | {row} | {k.worst:.3f} |", flush=True)
    if "redis" in kinds:
        print("\n| redis away for 4 s | kept | from 2 s after its return | worst 10 s | by second |")
        print("|---|---|---|---|---|")
        for empty in (False, True):
            o = Outage(empty=empty)
            name = "killed, back empty" if empty else "stopped"
            print(f"| {name} | {o.kept:.1%} | {o.within_2_s:.1%} | {o.worst:.3f} | {o.by_second} |", flush=True)
    costs()


if __name__ == "__main__":
    main()
