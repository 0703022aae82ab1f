"""The quota in a file: several real processes, files that are damaged, foreign, held or removed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from quotakit import ask

from batchproc.core.pot import Pot
from batchproc.errors import UsageError
from batchproc.lease import QuotaLost
from batchproc.quota.sqlite import SqliteStore


def store(path: Path, worker: str = "a", clock: Callable[[], float] = lambda: 1e9) -> SqliteStore:
    return SqliteStore(str(path), worker, clock=clock)


async def test_two_runs_take_turns(tmp_path: Path) -> None:
    """What one has leased the other waits for; each knows of the other; models are apart."""
    a, b = store(tmp_path / "q", "a"), store(tmp_path / "q", "b")
    await a.open()
    await b.open()
    first, other = await a.exchange([ask(5.0), ask(2.0, "other")])
    second = (await b.exchange([ask(5.0)]))[0]
    assert (first.wait_s, second.wait_s, other.wait_s) == (pytest.approx(0.5), pytest.approx(1.0), pytest.approx(0.2))
    assert (first.workers, second.workers) == (1, 2)
    await a.close()
    await b.close()


async def test_a_later_run_finds_what_was_used(tmp_path: Path) -> None:
    """Also after everybody has left."""
    for wait_s in (0.5, 1.0):
        one = store(tmp_path / "q")
        await one.open()
        assert (await one.exchange([ask(5.0)]))[0].wait_s == pytest.approx(wait_s)
        await one.close()


def _text(path: Path) -> None:
    path.write_text("this is a letter, and no database at all\n" * 100)


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (name TEXT)")
    db.close()


def _made(path: Path, sql: str) -> None:
    async def make() -> None:
        one = store(path)
        await one.open()
        await one.exchange([ask(1.0)])
        await one.close()

    asyncio.run(make())
    db = sqlite3.connect(path)
    db.execute(sql)
    db.commit()
    db.close()


def _torn(path: Path) -> None:
    _made(path, "SELECT 1")
    path.write_bytes(path.read_bytes()[:5000])


BAD: dict[str, Callable[[Path], object]] = {
    "text": _text,
    "another program's": _foreign,
    "a later version's": lambda p: _made(p, "PRAGMA user_version = 99"),
    "a state that is no JSON": lambda p: _made(p, "UPDATE quota SET state = 'x'"),
    "a state of another shape": lambda p: _made(p, "UPDATE quota SET state = '{\"parts\": 3}'"),
    "no table": lambda p: _made(p, "DROP TABLE quota"),
    "cut off": _torn,
    "a folder": lambda p: p.mkdir(),
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_is_no_quota_of_ours_is_refused(kind: str, tmp_path: Path) -> None:
    """With its name and what to do; nothing of it is changed."""
    path = tmp_path / "q"
    await asyncio.to_thread(BAD[kind], path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(UsageError) as caught:
        await store(path).open()
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert (path.read_bytes() if path.is_file() else b"") == before


async def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    """It is said how to make it."""
    with pytest.raises(UsageError, match="no folder"):
        await store(tmp_path / "no" / "q").open()


@pytest.mark.parametrize("sql", ["UPDATE quota SET state = 'x'", "DROP TABLE quota"])
async def test_a_file_that_is_spoilt_meanwhile_is_a_lost_store(sql: str, tmp_path: Path) -> None:
    """Nothing is granted; and it does not come back by itself."""
    one = store(tmp_path / "q")
    await one.open()
    await one.exchange([ask(1.0)])
    with sqlite3.connect(tmp_path / "q") as db:
        db.execute(sql)
    db.close()
    with pytest.raises(QuotaLost):
        await one.exchange([ask(1.0)])
    with pytest.raises(QuotaLost):
        await one.probe()
    await one.close()


async def test_limits_that_make_no_sense_are_a_lost_store(tmp_path: Path) -> None:
    """Division by nothing, a level that is no number: never a grant."""
    one = store(tmp_path / "q")
    await one.open()
    await one.exchange([ask(1.0)])
    for broken in (
        '{"version":1,"parts":{"tokens/60":{"given":600,"limit":0,"window_s":60,"level":0}}}',
        '{"version":1,"parts":{"tokens/60":{"given":600,"limit":600,"window_s":0,"level":0}}}',
        '{"version":2}',
    ):
        with sqlite3.connect(tmp_path / "q") as db:
            db.execute("UPDATE quota SET state = ?", (broken,))
        db.close()
        for cost in (1.0, 0.0):
            with pytest.raises(QuotaLost):
                await one.exchange([ask(cost)])
    await one.close()


async def test_a_file_that_is_removed_is_lost_and_found_as_a_new_one(tmp_path: Path) -> None:
    """Who still had the old one open would share with nobody."""
    one = store(tmp_path / "q")
    await one.open()
    await one.exchange([ask(5.0)])
    for name in ("q", "q-wal", "q-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(QuotaLost):
        await one.exchange([ask(5.0)])
    await one.probe()
    assert (await one.exchange([ask(5.0)]))[0].wait_s == pytest.approx(0.5)  # empty, not full
    await one.close()


async def test_a_file_that_somebody_holds_is_waited_for_then_lost(tmp_path: Path) -> None:
    """Without a grant, and without blocking the loop for long."""
    one = store(tmp_path / "q")
    await one.open()
    other = sqlite3.connect(tmp_path / "q", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(QuotaLost, match="locked"):
        await one.exchange([ask(1.0)])
    asyncio.get_running_loop().call_later(0.05, other.execute, "COMMIT")
    assert (await one.exchange([ask(1.0)]))[0].wait_s > 0
    other.close()
    await one.close()


async def test_a_clock_that_is_set_back_empties_it(tmp_path: Path) -> None:
    """The rules are those of the pot; here, that the file's own time is used."""
    now = [1e9]
    one = store(tmp_path / "q", clock=lambda: now[0])
    await one.open()
    await one.exchange([ask(0.0)])
    now[0] += 10
    await one.exchange([ask(0.0)])
    now[0] -= 3600
    assert (await one.exchange([ask(1.0)]))[0].wait_s == pytest.approx(0.1)
    await one.close()


HAMMER = """
import asyncio, sys, time
sys.path.insert(0, sys.argv[2])
from quotakit import ask
from batchproc.quota.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1], sys.argv[3], clock=lambda: 1e9)
    await store.open()
    waits = []
    for _ in range(200):
        waits.append((await store.exchange([ask(1.0)]))[0].wait_s)
    print(*waits)

asyncio.run(main())
"""


def test_processes_at_the_same_time(tmp_path: Path) -> None:
    """Three that do nothing but ask, beginning with a file that is not there: no two get the same turn."""
    command = [sys.executable, "-c", HAMMER, str(tmp_path / "q"), str(Path(__file__).parent)]
    children = [subprocess.Popen([*command, n], stdout=subprocess.PIPE, text=True) for n in "abc"]
    waits = sorted(float(word) for child in children for word in child.communicate(timeout=60)[0].split())
    assert waits == pytest.approx([0.1 * (n + 1) for n in range(600)])


async def test_an_exchange_is_quick(tmp_path: Path) -> None:
    """It runs on the loop: some hundred microseconds at the most, also on a machine that is busy."""
    one = SqliteStore(str(tmp_path / "q"), "a")
    await one.open()
    times = []
    for _ in range(200):
        began = time.thread_time()
        await one.exchange([ask(1.0)])
        times.append(time.thread_time() - began)
    assert sorted(times)[100] < 0.001
    await one.close()
    assert os.path.exists(tmp_path / "q")
    assert Pot().parts == {}
