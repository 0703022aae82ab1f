"""One history: a random workload is run, killed, damaged and resumed until it is done; the server's ledger judges."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from damage import LOST, TORN, durable_output, hit, saved_in
from program import Program, Running, busy
from servers import Simulator
from workload import Workload

from batchproc.simulator.answers import digest_of
from batchproc.simulator.faults import uniform
from batchproc.simulator.latency import parse_latency

LATE_S = 1.05  # an answer is saved 0.05 s after it came; the rest is what the machine may add, more on a busy one
LATENCIES = ("0-0.02", "0.01-0.25", "0.05-0.6")
FAULTS = ((), ("slow=2%", "500=3%", "reset=2%", "cut=2%"), ("any=8%",), ("429=10%", "503=5%", "empty=2%"))
CONCURRENCIES = ("auto", "1", "4", "16", "60", "200")
PATH = "/v1/chat/completions"


@dataclass
class Stop:
    """One run of the history: what was on disk when it ended, and after the damage."""

    marker: str
    at: float
    graceful: bool
    saved: set[int]
    left: set[int]  # still readable after the damage


@dataclass
class Told:
    """What was seen."""

    seed: int
    jobs: int = 0
    kills: int = 0
    damages: list[str] = field(default_factory=list)
    repeats: int = 0
    in_flight: int = 0
    damaged: int = 0
    oldest_lost_s: float = 0.0

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.jobs} jobs, {self.kills} kills, damage {self.damages or 'none'} "
            f"({self.damaged} results gone), {self.repeats} repeats of {self.in_flight} in flight, "
            f"oldest lost answer {self.oldest_lost_s * 1000:.0f} ms"
        )


class History:
    """See the module's text; everything follows from the seed but the instants at which the kernel runs whom."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.told = Told(seed)
        (folder / "work").mkdir(parents=True)
        (folder / "log").mkdir()
        self.program = Program(folder / "work", folder / "log")
        self.work = Workload(rng, rng.choice([40, 150, 300]))
        self.latency, faults = rng.choice(LATENCIES), rng.choice(FAULTS)
        self.seed = seed
        self.server = Simulator(folder / "ledger.jsonl", latency=self.latency, faults=faults, seed=seed)
        self.jobs = folder / "work" / f"jobs{self.work.suffix}"
        self.work.write(self.jobs)
        self.output = folder / "work" / "out.jsonl"
        self.checkpoint = folder / "work" / "out.jsonl.ckpt"
        self.stops: list[Stop] = []
        self._must_say = False
        self._bent: set[bytes] = set()  # lines with other bytes than were written, which may still be JSON

    def run(self) -> Told:
        """Live it, and judge it. Raises AssertionError, which names the seed."""
        try:
            most = self.rng.randrange(1, 7)
            while len(self.stops) < most and self._interrupted():
                pass
            last = self._start("last", slowest="4").wait(600)  # it may have drawn slow answers on a loaded machine
            self._check_said(last.err)
            bad = any(not e.sha for e in self.work.expected)
            assert last.code == (3 if bad else 0), last.err
            self._judge_output()
            self._judge_ledger()
            again = self._start("again").wait()
            assert again.code == (3 if bad else 0), again.err
            assert not self.server.ledger("again"), "a finished run sent something"
            return self.told
        except AssertionError as e:
            raise AssertionError(f"seed {self.seed} ({self.told}): {e}") from e
        finally:
            self.program.stop_all()
            self.server.stop()

    # --- living it ---------------------------------------------------------------------------------------------

    def _start(self, marker: str, slowest: str = "1") -> Running:
        concurrency = self.rng.choice(CONCURRENCIES)
        concurrency = slowest if concurrency == "1" else concurrency
        options = ["--timeout", "20", "--progress", "plain", "--concurrency", concurrency]
        if self.rng.random() < 0.2:
            options += ["--rpm", "6000"]
        command = ["run", self.jobs, "-o", self.output, "--base-url", self.server.url, *options]
        return self.program.start(*command, "--header", f"x-marker={marker}")

    def _interrupted(self) -> bool:
        """Start, end it somehow, damage what it left; False if it came to its end."""
        rng, marker = self.rng, str(len(self.stops))
        running = self._start(marker)
        signum = rng.choices([signal.SIGKILL, signal.SIGINT, signal.SIGTERM], [8, 1, 1])[0]
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0.05, 1.5))
        else:
            self._until_grown(running, rng.choice([1, 2000, 20_000, 100_000]))
        running.kill(signum) if running.child.poll() is None else None
        at = time.time()
        ended = running.wait()
        self._check_said(ended.err)
        if ended.code in (0, 3):
            return False
        assert ended.code in (-signal.SIGKILL, -signal.SIGTERM, 130, 143), ended  # −15: it was not listening yet
        self.told.kills += 1
        output, checkpoint = self._files()
        saved = saved_in(output, checkpoint, self._good_lines(output))
        stop = Stop(marker, at, ended.code > 0, saved, saved)
        self.stops.append(stop)
        if not stop.graceful or rng.random() < 0.3:
            self._damage(stop)
        if rng.random() < 0.15:
            self.work.append(self.jobs, rng.randrange(1, 30))
        return True

    def _until_grown(self, running: Running, by: int) -> None:
        before = sum(map(len, self._files()))
        end = time.monotonic() + 3 * busy()
        while time.monotonic() < end and running.child.poll() is None:
            if sum(p.stat().st_size for p in (self.output, self.checkpoint) if p.exists()) >= before + by:
                return
            time.sleep(0.002)

    def _files(self) -> tuple[bytes, bytes]:
        return tuple(p.read_bytes() if p.exists() else b"" for p in (self.output, self.checkpoint))  # type: ignore[return-value]

    def _damage(self, stop: Stop) -> None:
        rng = self.rng
        output, checkpoint = self._files()
        written = self._good_lines(output)
        durable = durable_output(self.checkpoint)
        for path in (self.output, self.checkpoint):
            data = output if path is self.output else checkpoint
            if not path.exists() or rng.random() < 0.4:
                continue
            if path is self.output and not data:
                continue  # the head of the checkpoint is durable before the first byte comes here: nothing tears both
            kind = rng.random()
            if kind < 0.5 or stop.graceful:
                change = rng.choice(TORN)
                new, name = change(data, rng), change.__name__
            elif kind < 0.8:
                change = rng.choice(LOST)
                new, name = change(data, rng), change.__name__
            else:
                # What stands behind the mark has no checksum yet: there only a torn end can be told.
                last = data.rfind(b"\n", 0, max(0, len(data) - 1)) + 1
                new, name = hit(data, rng, min(durable, last) if path is self.output else last), "hit"
                self._must_say |= new != data
            path.write_bytes(new)
            self.told.damages.append(f"{name}:{'out' if path is self.output else 'ckpt'}")
        output, checkpoint = self._files()
        self._bent |= set(output.split(b"\n")[:-1]) - written
        stop.left = saved_in(output, checkpoint, written)
        self.told.damaged += len(stop.saved - stop.left)

    def _good_lines(self, output: bytes) -> set[bytes]:
        """The lines that stand as they were written: a process that is killed early leaves the others unmended."""
        return set(output.split(b"\n")[:-1]) - self._bent

    def _check_said(self, err: str) -> None:
        assert "Traceback" not in err, err
        if not self._must_say or not err.strip():  # one that ended before it said anything leaves it to the next
            return
        kept = list(self.output.parent.glob("*.damaged"))
        assert kept or "damaged" in err or "lost" in err or "not usable" in err, f"damage not said: {err}"
        self._must_say = False

    # --- judging it --------------------------------------------------------------------------------------------

    def _judge_output(self) -> None:
        """One line a job, in order, each the answer that the server gave to that job's body."""
        given: dict[str, set[str]] = defaultdict(set)
        for entry in self.server.ledger():
            given[entry["sha"]].add(entry["request_id"])
        data = self.output.read_bytes()
        assert data.endswith(b"\n"), "the output ends in a torn line"
        lines = [json.loads(line) for line in data.split(b"\n")[:-1]]
        self.told.jobs = len(lines)
        assert len(lines) == len(self.work.expected), f"{len(lines)} lines for {len(self.work.expected)} jobs"
        for k, (line, job) in enumerate(zip(lines, self.work.expected, strict=True)):
            assert line["index"] == k, f"line {k} has index {line['index']}"
            assert line["custom_id"] == job.custom_id, line
            assert line.get("metadata") == job.metadata, line
            if job.sha:
                assert line["error"] is None, line
                assert line["response"]["request_id"] in given[job.sha], f"line {k} is the answer of another job"
            else:
                assert line["error"]["code"] == "invalid_json", line

    def _judge_ledger(self) -> None:
        """Nothing readable is asked again; what is repeated was in flight, or its result was damaged."""
        index = {job.sha: k for k, job in enumerate(self.work.expected) if job.sha}
        real: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for entry in self.server.ledger():
            if entry["status"] == 200 and entry["fault"] in (None, "slow", "drip", "retry200"):
                real[entry["marker"]].append(entry)
        markers = [stop.marker for stop in self.stops] + ["last"]
        every: dict[str, set[int]] = defaultdict(set)
        for entry in self.server.ledger():
            every[entry["marker"]].add(index[entry["sha"]])
        for n, stop in enumerate(self.stops):
            for later in markers[n + 1 :]:
                again = every[later] & stop.left
                assert not again, f"saved at stop {n}, sent again in run {later}: {sorted(again)[:5]}"
                stop_later = next((s for s in self.stops if s.marker == later), None)
                if stop_later is not None:
                    stop.left = stop.left & stop_later.left  # what a later damage takes may be asked again
            for entry in real[stop.marker]:
                if index[entry["sha"]] not in stop.saved:
                    self.told.in_flight += 1
                    lost_s = stop.at - self._arrived(entry)
                    self.told.oldest_lost_s = max(self.told.oldest_lost_s, lost_s)
                    assert lost_s < LATE_S * busy(), (
                        f"job {index[entry['sha']]} was answered {lost_s:.2f} s before the kill"
                    )
        asked = Counter(entry["sha"] for marker in markers for entry in real[marker])
        self.told.repeats = sum(asked.values()) - len(asked)
        assert self.told.repeats <= self.told.in_flight + self.told.damaged, "more repeats than were in flight"

    def _arrived(self, entry: dict[str, Any]) -> float:
        """When the client had the answer at the earliest, as Unix time."""
        if entry["fault"] in ("slow", "drip"):
            return float("inf")
        body = self.work.bodies[entry["sha"]]
        took = parse_latency(self.latency).draw_s(
            uniform(digest_of(self.seed, PATH, body), "latency", entry["attempt"])
        )
        return float(entry["time"]) + took
