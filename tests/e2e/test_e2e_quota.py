"""`--quota` with the real program: several processes on one quota, judged by the server's ledger.

Short forms of `benchmarks/scale.py`, which prints the figures. The bounds here leave room for a machine on which
processes stand still for half a second; `tests/engine/test_engine_leasing.py` has the exact ones, in virtual time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, chats, check_chats
from scale import Killed, Outage, RedisServer, redis_server, shared
from servers import Simulator

STALL_S = 1.0


def need_redis() -> None:
    """On a developer's machine it may be missing, in CI it may not."""
    if not RedisServer.there():
        text = "redis-server is not on the path: apt-get install redis-server"
        if os.environ.get("CI") or os.environ.get("BATCHPROC_CI"):
            pytest.fail(text)
        pytest.skip(text)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_three_processes_share_one_quota(kind: str) -> None:
    """All of it is used, by equal parts, and no more than it."""
    if kind == "redis":
        need_redis()
        with redis_server() as redis:
            seen = shared(redis.url, seconds=5.0)
    else:
        seen = shared("sqlite", seconds=5.0)
    assert seen.worst(4.0) <= 1.05 + STALL_S / 4
    assert seen.used() >= 0.7
    parts = seen.shares().values()
    assert len(parts) == 3
    assert max(parts) <= 2 * min(parts)
    assert seen.refused == 0


def test_a_worker_that_is_killed_leaves_its_share_at_once_and_loses_nothing() -> None:
    """And what it pays twice is what was on its way."""
    k = Killed("sqlite", seconds=2.5, jobs=300)
    assert k.used_in_next_second >= 0.2
    assert k.used_after >= 0.7
    assert k.worst <= 1.05 + STALL_S / 10
    assert (k.lost, k.code) == (0, 0)
    assert k.paid_twice <= k.in_flight


def test_redis_goes_away_for_four_seconds() -> None:
    """Stopped: the runs go on with four fifths; and with all of it soon after its return."""
    need_redis()
    o = Outage(empty=False, after=4.0)
    assert o.worst <= 1.05 + STALL_S / 10
    assert o.kept >= 0.1
    assert o.within_2_s >= 0.6
    assert "is lost" in o.said
    assert "is back" in o.said


def test_a_later_process_with_another_limit_is_warned(
    program: Program, folder: Path, simulator: Callable[..., Simulator]
) -> None:
    """The first one's holds, until `--quota-reset`."""
    server = simulator()
    jobs = chats(folder / "jobs.jsonl", 5)
    common = ["run", jobs, "--base-url", server.url, "--quota", f"sqlite://{folder}/q.quota?name=org", "--json"]
    for rpm, more, warned in (
        ("6000", [], False),
        ("9000", [], True),
        ("9000", ["--quota-reset"], False),
    ):
        done = program.run(*common, "-o", f"{len(server.ledger())}.jsonl", "--rpm", rpm, *more)
        assert done.code == 0
        assert ("6,000 requests per minute" in done.err) is warned
        assert ("--quota-reset" in done.err) is warned
    check_chats(folder / "10.jsonl", 5)
