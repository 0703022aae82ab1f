"""The wall clock jumps: limits go by another clock while a run lasts, and by time stamps only after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from program import Program, chats, check_chats
from servers import Simulator

HOUR, DAY = 3600, 86_400
RPM = 300
IN_FLIGHT = 40


class Clock:
    """The wall clock of the runs in a folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.to(0)
        self.env = {"CLOCK_FILE": str(self._file), "PYTHONPATH": str(Path(__file__).with_name("clock"))}

    def to(self, seconds: int) -> None:
        """Let it be off by so much from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._file)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Simulator]:
    """It counts by its own clock."""
    made = Simulator(tmp_path / "ledger", latency="0.05", rpm=RPM, window="bucket")
    yield made
    made.stop()


@pytest.mark.parametrize("jumps", [(HOUR, -HOUR), (-DAY, DAY)], ids=["an hour", "a day"])
def test_during_a_run(program: Program, server: Simulator, tmp_path: Path, jumps: tuple[int, ...]) -> None:
    """Forward and back while it runs: nothing hangs or is sent too early; `report` and `status` still tell."""
    clock = Clock(tmp_path)
    chats(program.folder / "jobs.jsonl", 100)
    words = ["run", "jobs.jsonl", "--base-url", server.url, "--rpm", str(RPM), "--burst", "5", "--concurrency", "10"]
    running = program.start(*words, env=clock.env)
    for n, jump in enumerate(jumps):
        server.received(25 * (n + 1))
        clock.to(jump)
    done = running.wait()
    assert done.code == 0, done.err
    check_chats(program.folder / "jobs.results.jsonl", 100)
    entries = server.ledger()
    assert len(entries) == 100
    assert not [e for e in entries if e["refused"]]
    times = sorted(float(e["time"]) for e in entries)
    most = max(sum(t <= u < t + 10 for u in times) for t in times)
    assert most <= RPM / 60 * (10 + 5) + 10, f"{most} requests in ten seconds"
    assert program.run("status", "jobs.results.jsonl", env=clock.env).code == 0
    assert "requests:     100" in program.run("report", "jobs.results.jsonl", env=clock.env).out


def with_full_burst(server: Simulator) -> list[str]:
    """A run that may send a whole minute's requests at once."""
    limits = ["--rpm", str(RPM), "--burst", "60", "--concurrency", str(IN_FLIGHT)]
    return ["run", "jobs.jsonl", "--base-url", server.url, *limits]


@pytest.mark.parametrize("jump", [0, -HOUR, -DAY], ids=["as it was", "an hour back", "a day back"])
def test_between_kill_and_resume(program: Program, server: Simulator, tmp_path: Path, jump: int) -> None:
    """Back: the time stamps of what was sent are in the future then, and count as just now: where they were forgotten,
    two hundred more would be refused. (What goes out in the instants before a kill is not noted yet.)"""
    clock = Clock(tmp_path)
    chats(program.folder / "jobs.jsonl", 400)
    words = with_full_burst(server)
    first = program.start(*words, "--header", "x-marker=1", env=clock.env)
    server.received(RPM * 2 // 3)
    first.kill()
    first.wait()
    clock.to(jump)
    again = program.run(*words, "--header", "x-marker=2", "--stop-after", "6", "--drain", "1", env=clock.env)
    assert again.code == 5, again.err
    entries = server.ledger()
    refused = len([e for e in entries if e["refused"]])
    assert refused <= IN_FLIGHT, f"{refused} refusals: more than were in flight at once"
    assert len(entries) - refused <= RPM + RPM / 60 * 30


def test_forward_between_kill_and_resume(program: Program, server: Simulator, tmp_path: Path) -> None:
    """An hour forward looks like an hour that has passed: refusals are heard, there is no storm of them."""
    clock = Clock(tmp_path)
    chats(program.folder / "jobs.jsonl", 400)
    words = with_full_burst(server)
    first = program.start(*words, env=clock.env)
    server.received(RPM * 5 // 6)
    first.kill()
    first.wait()
    clock.to(HOUR)
    again = program.run(*words, "--stop-after", "8", "--drain", "1", env=clock.env)
    assert again.code == 5, again.err
    refused = [e for e in server.ledger() if e["refused"]]
    assert len(refused) <= IN_FLIGHT + 1, f"{len(refused)} refusals: more than were in flight at once"
