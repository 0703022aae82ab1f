"""Errors of `batchproc.run_jobs`: how each is caused, its class, its words and its hint, in the words of Python."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from rows import JOB
from said import fits

from batchproc import BatchprocError, FilesDoNotFit, Result, RunStopped, UsageError, run_jobs
from batchproc.building.descriptors import room_for
from batchproc.errors import DiskFailed, ForeignOutput, InputChanged, Locked
from batchproc.store.checkpoint import Header, header_records
from batchproc.store.files import disk_failed
from batchproc.store.lock import OutputLock
from batchproc.store.look import look

pytestmark = [  # a call whose files fail leaves some of them to the collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
HELLO: dict[str, Any] = json.loads(JOB)
SERVER = {"base_url": "http://127.0.0.1:1/v1"}
AMOUNT = "leave it out for what is usual"
SECONDS = "give seconds, for example 30 or 0.5"
MAKE_AGAIN = "make the same call again; with `output` the same call goes on where it stopped"

ARGUMENTS: list[tuple[dict[str, Any], str, str]] = [
    ({"rpm": 0}, "`rpm` is 0: it must be at least 1", AMOUNT),
    ({"max_attempts": 10**16}, "`max_attempts` is <…>: it must be at most 1,000,000,000,000,000", AMOUNT),
    ({"timeout": 0}, "`timeout` is 0: it must be more than 0", SECONDS),
    ({"drain": -1}, "`drain` is -1: it must be 0 or more", SECONDS),
    ({"fail_over": 5}, "`fail_over` is 5: it must be from 0 to 1", "give a share of the jobs, such as 0.05"),
    (
        {"on_daily_limit": "no"},
        "`on_daily_limit` is 'no': it must be 'stop' or 'wait'",
        "'stop' ends the run where a day's limit is used up, 'wait' waits until more fits in",
    ),
    (
        {"max_cost": "cheap"},
        "`max_cost` is cheap: it must be an amount of dollars, more than 0",
        "for example 5 or '0.25'",
    ),
    ({"model": " "}, "`model` is empty", "name one, for example 'gpt-4o-mini', or leave it out"),
    ({"endpoint": "x"}, "`endpoint` 'x' is not a plain absolute path", "for example '/v1/chat/completions'"),
    (
        {"checkpoint": "c"},
        "`checkpoint` is given without `output`",
        "name the `output` that it belongs to",
    ),
    (
        {"output": "-"},
        "`output` is the path of a file, not `-`",
        "leave it out: results are yielded anyway",
    ),
    ({"provider": "klingon"}, "there is no provider 'klingon'", "known are openai, <…>"),
    ({"simulate": True}, "`base_url` makes no sense with the embedded provider", "leave one of the two out"),
    (
        {"headers": {"two words": "x"}},
        "the name `two words` of a header is not one word",
        "for example {'X-Team': '7'}",
    ),
    (
        {"base_url": "https://me:secret@x/v1"},
        "the base URL contains a user name or password",
        "give secrets by `headers`",
    ),
    (
        {"base_url": "https://api.openai.com/v1"},
        "there is no API key for https://api.openai.com/v1",
        "set OPENAI_API_KEY, or give `api_key`; `simulate` tries batchproc without a key",
    ),
    ({"prices": "no.json"}, "the price list `no.json` cannot be read: No such file or directory", "it is one <…>"),
]


@pytest.mark.parametrize(("options", "error", "hint"), ARGUMENTS, ids=[str(row[0]) for row in ARGUMENTS])
def test_arguments(options: dict[str, Any], error: str, hint: str, folder: Path) -> None:
    """A UsageError of the call itself."""
    with pytest.raises(UsageError) as caught:
        run_jobs([], **(SERVER | options))
    is_told(caught.value, UsageError, error, hint)


def is_told(raised: BatchprocError, kind: type[BatchprocError], error: str, hint: str) -> None:
    """Class, words and hint, to the letter; the hint is a note, too, which a traceback shows."""
    assert type(raised) is kind
    assert fits(error, raised.message), raised.message
    assert fits(hint, raised.hint), raised.hint
    assert raised.__notes__ == [f"hint: {raised.hint}"]


class Calls:
    """Calls of `run_jobs` against a simulated provider, with `output` unless another is given."""

    def __init__(self, url: Callable[..., str], output: Path) -> None:
        self.url, self.output = url, output

    def take(self, jobs: Any, *, most: int | None = None, **options: Any) -> list[Result]:
        """The results; with `most` it is left early."""

        async def taken() -> list[Result]:
            results: list[Result] = []
            given = {"base_url": self.url(), "output": self.output} | options
            async with aclosing(run_jobs(jobs, **given)) as run:
                async for result in run:
                    results.append(result)
                    if len(results) == most:
                        break
            return results

        return asyncio.run(taken())

    def refused(self, jobs: Any, kind: type[BatchprocError], error: str, hint: str, **options: Any) -> None:
        """A call that raises this."""
        with pytest.raises(BatchprocError) as caught:
            self.take(jobs, **options)
        is_told(caught.value, kind, error, hint)


@pytest.fixture
def calls(folder: Path, simulators: Callable[..., str]) -> Calls:
    return Calls(simulators, folder / "o.jsonl")


def test_files_that_do_not_fit(calls: Calls, folder: Path) -> None:
    """Options that only the command has are said to be its own."""
    calls.take([HELLO] * 3)
    o = calls.output
    calls.refused(
        [HELLO] * 3,
        InputChanged,
        "this run was started with other settings: `endpoint` was not set and is now `/v1/responses`",
        "change it back to go on, or choose another `output`; with the command: `--accept-changes` goes on with the "
        "new setting and keeps the answers that are there; `--fresh` starts over (the old files are renamed, "
        "not deleted)",
        endpoint="/v1/responses",
    )
    old_jobs = (
        "give the old jobs again, or choose another `output`; with the command: `--fresh` starts over "
        "(the old files are renamed, not deleted)"
    )
    other = json.loads(JOB.replace("Hello", "Good bye"))
    changed = "line 2 of the input (job 1) is answered already, and reads differently now"
    calls.refused([HELLO, other, HELLO], InputChanged, changed, old_jobs)
    calls.refused([HELLO] * 2, InputChanged, "the input has 2 jobs, but 3 are answered already", old_jobs)
    lock = OutputLock(str(o))
    lock.acquire()
    calls.refused(
        [HELLO] * 3,
        Locked,
        f"`{o}` is being written by another batchproc (process <…> on <…>)",
        "wait for it or stop it; with the command: `--break-lock` takes over if you are sure that it is gone",
    )
    lock.release()
    ckpt = folder / "o.jsonl.ckpt"
    ckpt.write_bytes(header_records(Header({}, 99)))
    calls.refused(
        [HELLO] * 3,
        FilesDoNotFit,
        f"`{ckpt}` was written by a newer batchproc",
        "go on with that version: `pip install --upgrade batchproc`",
    )
    ckpt.unlink()
    o.write_text("{}\n")
    calls.refused(
        [HELLO] * 3,
        ForeignOutput,
        f"`{o}` exists, and there is no checkpoint `{ckpt}` that says this run made it",
        "choose another `output`; with the command: `--adopt` takes it over if its lines answer these jobs; `--fresh` "
        "starts over (the old file is renamed, not deleted)",
    )
    assert o.read_text() == "{}\n"


def test_an_output_made_in_shards(calls: Calls, folder: Path, call: Callable[[str], tuple[int, str]]) -> None:
    """It would all be asked again. The commands to type stay commands."""
    assert call("run jobs.jsonl -o o.jsonl --simulate --shard 0/2")[0] == 0
    o = calls.output
    calls.refused(
        [HELLO] * 3,
        FilesDoNotFit,
        f"`{o}` is made in shards, whose answers are in `{o}.parts`",
        f"put them together first: `batchproc merge {o}`",
    )
    part = folder / "o.jsonl.parts" / "00000.1.jsonl"
    calls.refused(
        [HELLO] * 3,
        UsageError,
        f"`{part}` is a part of `{o}`, which is made in shards",
        f"`batchproc run … --shard i/N` goes on with it; `batchproc merge {o}` puts all together",
        output=part,
    )
    assert not o.exists()


def test_places(calls: Calls, folder: Path) -> None:
    """Outputs that cannot be written."""
    calls.refused([], UsageError, f"the output `{folder}` is a directory", "name a file", output=folder)
    calls.refused([], UsageError, "the output `/dev/null` is not a plain file", "name a plain file", output="/dev/null")
    same = "jobs, output, checkpoint and lock must be different files"
    calls.refused([], UsageError, same, "name another `output`", checkpoint=calls.output)


def test_a_line_of_the_output_is_spoilt_meanwhile(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is yielded for it, and nothing overwritten."""
    calls.take([HELLO] * 3)
    monkeypatch.setattr("batchproc.api.files.read_line", lambda line: None)
    calls.refused(
        [HELLO] * 3,
        FilesDoNotFit,
        f"line 1 of `{calls.output}` is not what batchproc wrote there",
        "put back what was there, or choose another `output`",
    )


def test_a_run_that_is_stopped(calls: Calls) -> None:
    """By a guard."""
    calls.refused(
        [HELLO] * 3,
        RunStopped,
        "the time of stop_after is up (0.1 s)",
        "with `output` the same call goes on where it stopped",
        base_url=calls.url(latency="5"),
        stop_after=0.1,
        drain=0.0,
    )


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_disk(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do is said for a call."""

    def full(*_: object, **__: object) -> None:
        disk_failed("writing", "o", OSError(28, "No space left on device"))

    monkeypatch.setattr("batchproc.store.files.AppendFile.append", full)
    hint = f"free some space, then {MAKE_AGAIN}"
    calls.refused([HELLO], DiskFailed, "writing `o` failed: No space left on device", hint)
    gc.collect()  # the files that never were whole are left to it; not in the middle of another test


def test_what_status_says_of_a_run_that_was_left(calls: Calls) -> None:
    """No exception of ours is raised, so the files tell why there is an end: the iterable's, or that of its taker."""

    def broken() -> Iterator[dict[str, Any]]:
        yield HELLO
        raise LookupError("a row is missing")

    with pytest.raises(LookupError, match="a row is missing"):
        calls.take(broken())
    assert stopped_why("o.jsonl") == "the iterable of jobs raised an error"
    calls.take([HELLO] * 50, most=1, base_url=calls.url(latency="0.05"), output="left.jsonl", concurrency=1)
    assert stopped_why("left.jsonl") == "the results were not taken to their end"


def stopped_why(output: str) -> str | None:
    """What `status` says."""
    return look(output, output + ".ckpt").stopped_why


def test_too_few_files_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one connection: also the command says it, with exit code 2."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, 20))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with pytest.raises(UsageError) as caught:
        room_for(8)
    assert caught.value.message == "this process may have only 20 open files, and needs 32 at least"
    assert caught.value.hint == "raise the limit: `ulimit -n 1024`"
