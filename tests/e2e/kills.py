"""SIGKILL at random instants: how a run is killed and resumed, and what must be true of it afterwards.

By itself it runs many more kills than the test does: `python tests/e2e/kills.py --times 30 --seed 7`.

Every attempt of every request is in the simulator's ledger with the instant it was received, and how long its
answer takes is a pure function of request and attempt; so for every kill it is known which answers had arrived.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from program import Program, busy, chat, check_chats, saved_on_disk, write_jobs
from servers import Simulator, sha_of

from batchproc.simulator.answers import digest_of
from batchproc.simulator.faults import uniform
from batchproc.simulator.latency import parse_latency

JOBS = 240
PATH = "/v1/chat/completions"
LATENCY = "0.01-0.25"
FAULTS = ("slow=2%", "500=3%", "reset=2%", "cut=2%")
SLOW = 20  # times its latency takes an answer that the fault `slow` befalls
SAVED_WITHIN_S = 0.05  # what is promised
SLACK_S = 1.0  # what the machine may add to it, more on a busy one: the kernel must run server and client first
CONCURRENCIES = ("auto", "1", "4", "8", "16", "40", "100")


@dataclass
class Trial:
    """One run killed several times: what was seen."""

    seed: int
    kills: int = 0
    repeats: int = 0  # real answers asked for once more
    in_flight: int = 0  # answers lost at the kills, summed
    latest_s: float = 0.0  # the oldest answer that was lost: seconds between its arrival and the kill
    attempts_off: int = 0  # attempts in the output minus requests in the ledger
    saved: list[int] = field(default_factory=list)  # results on disk at each kill

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills with {self.saved} of {JOBS} saved, {self.repeats} repeats of "
            f"{self.in_flight} in flight, oldest lost answer {self.latest_s * 1000:.0f} ms, "
            f"attempts off by {self.attempts_off}"
        )


class Killing:
    """A folder, a simulator, a job file, and runs of them that are killed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.trial = Trial(seed)
        self._random = random.Random(seed)
        (folder / "work").mkdir(parents=True)
        (folder / "log").mkdir()
        self.program = Program(folder / "work", folder / "log", real=True)
        self.server = Simulator(folder / "ledger.jsonl", latency=LATENCY, faults=FAULTS, seed=seed)
        bodies = [chat(f"job {k}") for k in range(JOBS)]
        self.jobs = write_jobs(folder / "work" / "jobs.jsonl", bodies)
        self.index_of = {sha_of(body): k for k, body in enumerate(bodies)}
        self._latency = {
            sha_of(b): (digest_of(seed, PATH, json.dumps(b).encode()), parse_latency(LATENCY)) for b in bodies
        }
        self.output = folder / "work" / "jobs.results.jsonl"
        self.checkpoint = folder / "work" / "jobs.results.jsonl.ckpt"
        self._saved_at: list[set[int]] = []
        self._killed_at: list[float] = []

    def _command(self, marker: str, output: Path, concurrency: str) -> list[str]:
        options = ["-o", str(output), "--concurrency", concurrency, "--header", f"x-marker={marker}", "-q"]
        return ["run", str(self.jobs), "--base-url", self.server.url, *options]

    def kill_once(self) -> bool:
        """Start or resume, kill at a random instant; False if the run ended before it."""
        concurrency = self._random.choice(CONCURRENCIES)
        after_s = self._random.uniform(0.3, 1.6)
        running = self.program.start(*self._command(str(len(self._killed_at)), self.output, concurrency))
        time.sleep(after_s)
        if running.child.poll() is not None:
            assert running.wait().code == 0, running.err()
            return False
        running.kill()
        killed_at = time.time()
        running.wait()
        self._killed_at.append(killed_at)
        self._saved_at.append(saved_on_disk(self.output, self.checkpoint))
        self.trial.kills += 1
        self.trial.saved.append(len(self._saved_at[-1]))
        return True

    def finish(self) -> None:
        """Run to the end without a kill, then compare everything."""
        last = self.program.run(*self._command("last", self.output, self._random.choice(CONCURRENCIES[3:])))
        assert last.code == 0, last.err
        assert not last.out
        check_chats(self.output, JOBS)
        self._compare_with_an_uninterrupted_run()
        self._judge()
        again = self.program.run(*self._command("again", self.output, "auto"))
        assert again.code == 0
        assert not self.server.ledger("again")

    def close(self) -> None:
        """End what runs."""
        self.program.stop_all()
        self.server.stop()

    def _compare_with_an_uninterrupted_run(self) -> None:
        whole = self.output.with_name("whole.jsonl")
        done = self.program.run(*self._command("whole", whole, "100"))
        assert done.code == 0, done.err
        assert masked(self.output) == masked(whole)

    def _arrived_s(self, entry: dict[str, Any]) -> float:
        """When the client had the answer at the earliest, as Unix time."""
        digest, latency = self._latency[entry["sha"]]
        took = latency.draw_s(uniform(digest, "latency", entry["attempt"]))
        return float(entry["time"]) + took * (SLOW if entry["fault"] == "slow" else 1)

    def _judge(self) -> None:
        """By the server's own ledger: nothing saved is asked again, nothing that arrived in time is lost."""
        trial = self.trial
        runs = [str(n) for n in range(len(self._killed_at))] + ["last"]
        real: dict[str, list[dict[str, Any]]] = {marker: [] for marker in runs}
        for entry in self.server.ledger():
            if entry["marker"] in real and entry["status"] == 200 and entry["fault"] in (None, "slow"):
                real[entry["marker"]].append(entry)
        for n, (saved, killed_at) in enumerate(zip(self._saved_at, self._killed_at, strict=True)):
            later = {self.index_of[e["sha"]] for m in runs[n + 1 :] for e in real[m]}
            assert not saved & later, f"seed {trial.seed}, kill {n}: saved answers asked again: {sorted(saved & later)}"
            for entry in real[runs[n]]:
                if self.index_of[entry["sha"]] in saved:
                    continue
                trial.in_flight += 1
                trial.latest_s = max(trial.latest_s, killed_at - self._arrived_s(entry))
        assert trial.latest_s < SAVED_WITHIN_S + SLACK_S * busy(), f"an answer was lost that had arrived: {trial}"
        asked = Counter(entry["sha"] for marker in runs for entry in real[marker])
        trial.repeats = sum(asked.values()) - len(asked)
        assert trial.repeats <= trial.in_flight, str(trial)
        sent = sum(1 for entry in self.server.ledger() if entry["marker"] in real)
        told = sum(json.loads(line)["attempts"] for line in self.output.read_bytes().split(b"\n")[:-1])
        trial.attempts_off = told - sent
        assert abs(trial.attempts_off) <= trial.in_flight + trial.kills * 2, str(trial)


def masked(path: Path) -> bytes:
    """The bytes of an output, the numbers of attempts taken out."""
    return re.sub(rb'"attempts": \d+', b'"attempts": ?', path.read_bytes())


def run_trial(folder: Path, seed: int, kills: int) -> Trial:
    """Kill one run up to `kills` times, finish it, and judge it."""
    killing = Killing(folder, seed)
    try:
        while killing.trial.kills < kills and killing.kill_once():
            pass
        killing.finish()
    finally:
        killing.close()
    return killing.trial


def run_trials(folder: Path, seed: int, times: int) -> list[Trial]:
    """As many trials as it takes for `times` kills; prints what each saw."""
    trials: list[Trial] = []
    while (left := times - sum(t.kills for t in trials)) > 0:
        number = seed + len(trials)
        trials.append(run_trial(folder / hashlib.sha256(str(number).encode()).hexdigest()[:8], number, min(left, 6)))
        print(trials[-1], flush=True)
    return trials


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=30, help="kills in all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first trial; the next ones count up")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        trials = run_trials(Path(folder), options.seed, options.times)
        took = time.monotonic() - started
    kills, repeats = sum(t.kills for t in trials), sum(t.repeats for t in trials)
    print(f"{kills} kills in {took:.0f} s, {repeats} repeats, all outputs as uninterrupted ones")


if __name__ == "__main__":
    main()
