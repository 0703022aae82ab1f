"""Errors that shards, their merge, and a quota meet on the way: how each is caused, its words, hint and exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rows import JOB, OUT
from rows_many import CUT_ANEW, MANIFEST, PARTS
from said import is_said
from test_messages_machine import raised

from batchproc.cli.shard import run_shard
from batchproc.errors import Locked
from batchproc.lease import Ask, Granted, QuotaLost
from batchproc.quota.sqlite import SqliteStore
from batchproc.settings import RunSettings, Shard
from batchproc.store.lock import OutputLock

Call = Callable[[str], tuple[int, str]]
MERGE = f"batchproc merge {OUT}"

pytestmark = [  # called in this process, a program that gives up leaves files open which its end would close
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def shard(call: Call, simulators: Callable[..., str]) -> Callable[..., tuple[int, str]]:
    """Types the command of a shard."""
    return lambda which, options="": call(
        f"run jobs.jsonl --base-url {simulators()} --progress none --shard {which} {options}"
    )


def part(number: int) -> Path:
    """The output of a shard."""
    return Path(PARTS, f"{number:05}.1.jsonl")


def test_shards_that_do_not_fit(shard: Callable[..., tuple[int, str]], folder: Path, call: Call) -> None:
    """Exit 6: other cuts, another input, other settings, an ordinary run beside them."""
    assert shard("0/2")[0] == 0
    is_said(shard("0/3"), 6, f"`{OUT}` is made in 2 shards, not in 3", f"type `--shard i/2`; or {CUT_ANEW}")
    is_said(
        shard("0/2", "--endpoint /v1/responses"),
        6,
        "this run was started with other settings: `--endpoint` was not set and is now `/v1/responses`",
        f"change it back to go on; `--accept-changes` goes on with this shard all the same; or {CUT_ANEW}",
    )
    together = f"put them together first: `{MERGE}`"
    is_said(
        call("run jobs.jsonl --simulate"), 6, f"`{OUT}` is made in shards, whose answers are in `{PARTS}`", together
    )
    is_said(call(f"retry {OUT}"), 2, f"`{OUT}` is made in shards, and not merged yet", together)
    is_said(
        call(f"run jobs.jsonl --simulate -o {part(0)}"),
        2,
        f"`{part(0)}` is a part of `{OUT}`, which is made in shards",
        f"`batchproc run … --shard i/N` goes on with it; `{MERGE}` puts all together",
    )
    (folder / "jobs.jsonl").write_text(JOB * 4)
    is_said(
        shard("1/2"),
        6,
        "the job file `jobs.jsonl` is not the one that was cut into shards: it had <…> bytes and has <…>",
        f"put the old one back, and send what was added by `batchproc run` after the merge; or {CUT_ANEW}",
    )


def test_merging(
    shard: Callable[..., tuple[int, str]], folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 5: shards are not done. 6: something is in the way, or is not what it was. 2: the jobs are gone."""
    assert shard("0/2")[0] == 0
    is_said(
        call(f"merge {OUT}"),
        5,
        "1 of 2 shards is not done: 1 (not begun)",
        "go on with `batchproc run jobs.jsonl <…> --shard 1/2`, or take what is there with `--partial`",
    )
    assert shard("1/2")[0] == 0
    jobs = folder / "jobs.jsonl"
    whole = jobs.read_text()
    (folder / OUT).write_text("mine\n")
    is_said(
        call(f"merge {OUT}"),
        6,
        f"`{OUT}` exists, and was not made by `batchproc merge`",
        f"move it away, then type `{MERGE}` again: nothing is overwritten",
    )
    (folder / OUT).unlink()
    jobs.rename("moved")
    is_said(call(f"merge {OUT}"), 2, f"the job file `{jobs}` is not there", "say where it is now with `--jobs FILE`")
    jobs.write_text(whole[:-5])
    is_said(
        call(f"merge {OUT}"),
        6,
        f"the job file `{jobs}` had <…> bytes when it was cut into shards, and has <…>",
        "put the old one back, or say with `--jobs FILE` where it is now",
    )
    jobs.write_text(whole.replace("Hello", "Howdy"))
    is_said(
        call(f"merge {OUT}"),
        6,
        f"line 1 of the input (job 0) is answered in `{part(0)}`, and reads differently now",
        "put the input back that was cut into shards; `--jobs FILE` says where it is",
    )
    jobs.write_text(whole)
    good = part(0).read_text()
    part(0).write_text(good.replace('"index": 0', '"index": 7'))
    is_said(
        call(f"merge {OUT}"),
        6,
        f"`{part(0)}` is damaged at line 1",
        "run this shard again: it mends what is there",
    )
    part(0).write_text(
        "".join(json.dumps(json.loads(line), indent=None, separators=(",", ":")) + "\n" for line in good.splitlines())
    )
    monkeypatch.setattr("batchproc.store.sources.SUMMED_BYTES", 0)  # as of a part too large for checksums of its lines
    is_said(
        call(f"merge {OUT}"),
        6,
        "the result of job 0 (line 1 of the input) does not read as batchproc writes it",
        "put back the part as it was; or remove it, and run its shard again: its jobs are asked again then",
    )
    part(0).write_text(good)
    assert call(f"merge {OUT}")[0] == 0
    for path in Path(PARTS).glob("00001*"):
        path.unlink()
    is_said(
        shard("1/2"),
        6,
        f"the shards of `{OUT}` are merged already",
        "`batchproc run` without `--shard` goes on with the rest",
    )


def test_a_shard_is_at_work_at_the_merge(shard: Callable[..., tuple[int, str]], folder: Path, call: Call) -> None:
    """Exit 6: neither taken half nor removed."""
    assert shard("0/2", "--limit 1")[0] == 0
    lock = OutputLock(str(part(0)))
    lock.acquire()
    try:
        owner = f"`{part(0)}` is being written by another batchproc"
        is_said(
            call(f"merge {OUT} --partial"),
            6,
            owner,
            f"stop it, or wait for it: `batchproc status {OUT}` tells how far it is",
        )
        lock.release()
        assert shard("0/2")[0] == 0
        assert shard("1/2")[0] == 0
        lock.acquire()
        is_said(call(f"merge {OUT} --remove-parts"), 6, owner, "the parts are kept: stop it, then type the same again")
        assert part(0).exists()
    finally:
        lock.release()


def test_too_many_copies_of_a_shard(folder: Path) -> None:
    """Exit 6: whatever attempt it wants, another process has it."""

    def begin(settings: RunSettings) -> int:
        raise Locked("taken")

    settings = RunSettings(
        jobs="jobs.jsonl",
        output=OUT,
        checkpoint=OUT + ".ckpt",
        base_url="http://x/v1",
        provider="simulated",
        shard=Shard(0, 2),
    )
    raised(
        lambda: run_shard(settings, begin, lambda text: None),
        6,
        f"other processes take every attempt of shard 0/2 of `{OUT}`",
        f"start each shard once only; `batchproc status {OUT}` tells who is at work",
    )


def test_the_manifest_is_removed_at_once(
    shard: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 7: without it shards would not agree."""
    monkeypatch.setattr("batchproc.store.parts.read_manifest", lambda output: None)
    is_said(
        shard("0/2"),
        7,
        f"`{MANIFEST}` was written, and is not there",
        "let nothing else touch that folder, then start the shard again",
    )


def test_the_input_becomes_shorter_under_a_shard(
    shard: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, as under any run."""
    from batchproc.store import ranges

    async def nothing(self: Any, size: int) -> bytes:
        return b""

    read = ranges.PartBlocks.read

    async def short(self: Any) -> bytes:
        monkeypatch.setattr(type(self._file), "read", nothing)
        return await read(self)

    monkeypatch.setattr(ranges.PartBlocks, "read", short)
    is_said(
        shard("0/2"),
        2,
        "the input became shorter while the run was reading it<…>",
        "let nothing write to it during a run; what is answered is saved: run the same command again",
    )


def test_a_quota_that_is_lost(call: Call, simulators: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 5 with `--on-quota-loss fail`; what was answered is saved."""

    async def lost(self: SqliteStore, asks: Sequence[Ask]) -> list[Granted]:
        raise QuotaLost("the file was replaced")

    monkeypatch.setattr(SqliteStore, "exchange", lost)
    is_said(
        call(f"run jobs.jsonl --base-url {simulators()} --rpm 60 --quota sqlite://{Path.cwd()}/q --on-quota-loss fail"),
        5,
        f"the quota store {Path.cwd()}/q is lost (the file was replaced)",
        "mend it, then run the same command again; `--on-quota-loss share` goes on with a part of the quota meanwhile",
    )


def test_a_quota_in_redis_without_its_package(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, with what to install."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    is_said(
        call("run jobs.jsonl --simulate --rpm 60 --quota redis://host/0"),
        2,
        "`--quota redis://…` needs the package redis",
        "install it: `pip install 'batchproc[redis]'`",
    )
