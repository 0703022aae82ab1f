"""Limits: every kind of window is kept, and a resume within the minute remembers what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from program import WINDOW_JOBS, Program, Running, chat, chats, check_chats, noted, wait_until, write_jobs
from servers import Simulator


def busiest_minute(times: Iterable[float]) -> int:
    """The most events in any sixty seconds."""
    ordered = sorted(times)
    most = first = 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - 60.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_every_window(window_runs: dict[str, tuple[Running, Simulator, Path]]) -> None:
    """300 jobs at 600 RPM finish on each of the four kinds of window, with few refusals."""
    for kind, (run, server, output) in window_runs.items():
        done = run.wait()
        assert done.code == 0, done.err
        check_chats(output, WINDOW_JOBS)
        statuses = Counter(entry["status"] for entry in server.ledger())
        summary = done.summary()
        print(f"{kind}: {statuses[429]} × 429, {summary['elapsed_s']:.1f} s")
        assert statuses[200] == WINDOW_JOBS
        assert summary["rate_limited"] == statuses[429]
        assert statuses[429] <= 15, f"{kind}: {statuses[429]} of {WINDOW_JOBS} requests were refused"


@pytest.mark.parametrize("kill", [False, True], ids=["ended", "killed"])
def test_a_resume_remembers_the_minute(
    program: Program, folder: Path, simulator: Callable[..., Simulator], kill: bool
) -> None:
    """What an earlier run sent within the minute counts: both together send what one run may, and no more."""
    server = simulator(rpm=100, window="sliding", headers=False, latency="1" if kill else "0.02")
    chats(folder / "jobs.jsonl", 150)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--rpm", "100", "--burst", "60", "--concurrency", "60")
    if kill:  # what it sends is in the checkpoint a few hundredths of a second later, here before the answers come
        first = program.start(*command, "--limit", "60")
        wait_until("60 requests noted", lambda: noted(folder / "jobs.results.jsonl.ckpt") == 60)
        server.received(60)
        first.kill()
        first.wait()
    else:
        assert program.run(*command, "--limit", "60").code == 0
    server.at_rest()
    sent = len(server.ledger())
    assert sent == 60
    second = program.run(*command, "--stop-after", "4s", "--json")
    assert second.code == 5, second.err
    entries = server.ledger()
    assert len(entries) > sent
    refused = [entry for entry in entries if entry["status"] == 429]
    peak = busiest_minute(entry["time"] for entry in entries)
    print(f"first {sent}, then {len(entries) - sent}: {peak} in the busiest minute, {len(refused)} × 429")
    refilled = (entries[-1]["time"] - entries[0]["time"]) * 100 / 60
    assert peak <= 100 + refilled + 1
    assert len(refused) <= refilled + 1
    assert second.summary()["failed"] == 0


def test_tokens_per_minute(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A token limit holds the run back without a single failed job, and is named as what held it."""
    server = simulator(tpm=6000, latency="0.02")
    write_jobs(folder / "jobs.jsonl", (chat(f"job {k}", max_tokens=300) for k in range(30)))
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--tpm", "6000", "--stop-after", "10s", "--json")
    assert done.code == 5, done.err
    summary = done.summary()
    assert summary["failed"] == 0
    assert 0 < summary["succeeded"] < 30
    assert "tokens" in summary["binding"]
    assert server.stats()["peak_tokens_per_minute"] <= 6000 * 1.2
    refused = [entry for entry in server.ledger() if entry["status"] == 429]
    assert len(refused) <= 1, "one may come a hundredth of a second before the refill"


def test_limits_are_learnt_from_refusals(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Without any limit set the run gets through on what the server says, and burns no job."""
    server = simulator(rpm=300, window="quantized", latency="0.02", headers=False)
    chats(folder / "jobs.jsonl", 30)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--max-attempts", "1", "--json")
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 30)
    print(f"{done.summary()['rate_limited']} × 429")
