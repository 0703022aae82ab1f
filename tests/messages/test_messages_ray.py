"""Errors of `--engine ray`: how each is caused, its words, hint and exit code. Ray itself is never started here.

What makes no sense is refused before Ray is looked for; what Ray or a worker may answer is answered by fakes, so that
all of this holds where Ray is not installed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rows import OUT, Row
from rows_many import PARTS
from said import SEEN, Said, fits, said_in
from test_messages_machine import raised

from batchproc import __version__
from batchproc.cli.onray.cluster import Cluster, Lost, check_address
from batchproc.cli.onray.driver import Driver
from batchproc.cli.onray.orders import QUOTA_NAME, Hello
from batchproc.core.decisions import Halt, HaltKind
from batchproc.quota.actorstore import ActorStore
from batchproc.settings import RunSettings

Call = Callable[[str], tuple[int, str]]
RAY = "run jobs.jsonl --simulate --engine ray"
IN_ONE = "leave it out, or run in one process: without `--engine ray`"
IS_IT = "add `--engine ray`, or leave it out"
SAME = "is the same batchproc installed on every node of the cluster?"
VERSIONS = "`ray status --address ADDRESS` tells whether it is there; Python and Ray must be of the cluster's versions"
ELSEWHERE = "is there room in the folder for temporary files, and in /dev/shm? `--ray-address` joins a cluster"

pytestmark = [  # called in this process, a program that gives up leaves files open which its end would close
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

REFUSED = [
    Row("run jobs.jsonl --simulate --workers 2", 2, "`--workers` is for `--engine ray`", IS_IT),
    Row("run jobs.jsonl --simulate --shards 2", 2, "`--shards` is for `--engine ray`", IS_IT),
    Row("run jobs.jsonl --simulate --ray-address auto", 2, "`--ray-address` is for `--engine ray`", IS_IT),
    Row(
        f"{RAY} --shard 0/2",
        2,
        "`--shard` and `--engine ray` contradict each other",
        "`--engine ray` runs all shards itself",
    ),
    Row(f"{RAY} --max-cost 5", 2, "`--max-cost` cannot be kept over many workers: each would spend it", IN_ONE),
    Row(
        f"{RAY} --max-total-tokens 5",
        2,
        "`--max-total-tokens` cannot be kept over many workers: each would spend it",
        IN_ONE,
    ),
    Row(
        f"{RAY} --limit 1",
        2,
        "`--limit` makes no sense with `--engine ray`, whose shards begin everywhere in the jobs",
        "for a trial, leave `--engine ray` out and name another output: `-o trial.jsonl`",
    ),
    Row(
        f"{RAY} --ray-address auto",
        2,
        "how many workers the cluster shall give is not said",
        "add `--workers N`",
    ),
    Row(
        f"{RAY} --ray-address auto --workers 2",
        2,
        "the embedded provider is not reached from other nodes",
        "leave `--ray-address` out; or serve one with `batchproc simulate`, and name it with `--base-url`",
    ),
    Row(
        f"{RAY} --ray-address ray://head:10001 --workers 2",
        2,
        "`--ray-address ray://head:10001` is not the address of a cluster's head",
        "give `head:6379`, or `auto` on a node of the cluster; `ray job submit -- batchproc run …` runs it there",
    ),
]


@pytest.mark.parametrize("row", REFUSED, ids=[row.typed.removeprefix("run jobs.jsonl ") for row in REFUSED])
def test_what_makes_no_sense(row: Row, folder: Path, call: Call) -> None:
    """Exit 2, to the letter; nothing is written, and Ray is not looked for."""
    said = said_in(*call(row.typed))
    assert fits(row.error, said.error), said.error
    assert fits(row.hint, said.hint), said.hint
    assert said.code == row.code
    assert [p.name for p in folder.iterdir()] == ["jobs.jsonl"]


def test_other_shards_than_were_begun(call: Call, simulators: Callable[..., str]) -> None:
    """Exit 6: a file is cut once."""
    common = f"run jobs.jsonl --base-url {simulators()} --progress none"
    assert call(f"{common} --shard 0/2")[0] == 0
    said = said_in(*call(f"{common} --engine ray --shards 3"))
    assert said.error == f"`{OUT}` is made in 2 shards, not in 3"
    assert fits(
        f"leave `--shards` out to go on; or move `{PARTS}` away to cut anew: its answers are asked again then",
        said.hint,
    )
    assert said.code == 6


# --- Ray -----------------------------------------------------------------------------------------------------


class RayError(Exception):
    """What all of Ray's own are."""


class RayTaskError(RayError):
    """What was called raised."""


class ActorDiedError(RayError):
    """The process is gone, or never came."""


class RuntimeEnvSetupError(RayError):
    """The environment of the process could not be made."""


def fake_ray(monkeypatch: pytest.MonkeyPatch, **functions: Callable[..., Any]) -> None:
    """Puts a module in Ray's place that has these functions."""
    kinds = {k.__name__: k for k in (RayError, RayTaskError, ActorDiedError, RuntimeEnvSetupError)}
    plain: dict[str, Any] = {"init": lambda **_: None, "shutdown": lambda: None, "exceptions": SimpleNamespace(**kinds)}
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(**plain | functions))  # type: ignore[arg-type]
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        monkeypatch.setenv(name, os.environ.get(name, "0"))  # the program sets them: taken back after the test


def failing(error: Exception) -> Callable[..., Any]:
    """A function that raises this."""

    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


def test_without_the_package(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, with what to install."""
    fake_ray(monkeypatch)
    monkeypatch.setitem(sys.modules, "ray", None)
    said = said_in(*call(RAY))
    assert (said.error, said.hint) == ("`--engine ray` needs the package ray", "type: pip install 'batchproc[ray]'")
    assert said.code == 2


def test_windows_starts_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2: Ray of Windows is another one."""
    monkeypatch.setattr("batchproc.cli.onray.cluster.sys", SimpleNamespace(platform="win32"))
    raised(
        lambda: check_address(None),
        2,
        "Ray is not started on Windows by batchproc",
        "join a cluster with `--ray-address`",
    )


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        ("--simulate", "Ray cannot be started here: no room", ELSEWHERE),
        (
            "--ray-address head:6379 --workers 2 --base-url http://127.0.0.1:1/v1",
            "the Ray cluster at `head:6379` cannot be joined: no room",
            VERSIONS,
        ),
    ],
)
def test_no_cluster(options: str, error: str, hint: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2: Ray raises whatever it likes, with a page of text; its last line says what was wrong."""
    fake_ray(monkeypatch, init=failing(RuntimeError("some lines\nno room\n")))
    said = said_in(*call(f"run jobs.jsonl --engine ray --progress none {options}"))
    assert (said.code, said.error, said.hint) == (2, error, hint)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (RayTaskError("Traceback\nTypeError: no such thing"), "a worker cannot work: TypeError: no such thing"),
        (
            ActorDiedError("The actor died in its creation task\nNo module named 'batchproc'"),
            "a worker cannot begin: No module named 'batchproc'",
        ),
        (
            RuntimeEnvSetupError("ModuleNotFoundError: batchproc"),
            "a worker cannot begin: ModuleNotFoundError: batchproc",
        ),
    ],
)
def test_workers_of_another_kind(answer: Exception, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2: to ask again would not help."""
    fake_ray(monkeypatch, get=failing(answer))
    cluster = Cluster("head:6379", 2)
    raised(lambda: cluster.answer(object()), 2, error, SAME)


@pytest.mark.parametrize("answer", [ActorDiedError("killed"), RayError("unreachable")])
def test_a_worker_that_is_lost_is_no_error(answer: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its shards go elsewhere."""
    fake_ray(monkeypatch, get=failing(answer))
    with pytest.raises(Lost):
        Cluster("head:6379", 2).answer(object())


def test_the_quota_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, in the worker: its shard ends, and the others with it."""
    fake_ray(monkeypatch, get_actor=failing(ValueError("no actor of that name\nand so on")))
    raised(
        lambda: asyncio.run(ActorStore(QUOTA_NAME, "a worker").open()),
        2,
        "the quota of this run cannot be found in the Ray cluster: no actor of that name",
        "run the same command again: it makes a new one, and what is answered is saved",
    )


# --- the driver ----------------------------------------------------------------------------------------------


class Workers:
    """A cluster with one worker, who answers `hello` with this; None: he never does. A call is a reference to it."""

    def __init__(self, hello: Hello | Exception | None) -> None:
        self._hello = hello
        self.actor = SimpleNamespace(hello=SimpleNamespace(remote=object))

    def finished(self, asked: Iterable[Any], within_s: float) -> list[Any]:
        return list(asked) if self._hello is not None else []

    def answer(self, ref: Any) -> Any:
        if isinstance(self._hello, Exception):
            raise self._hello
        return self._hello


def drive(workers: Workers, *, broken: Exception | None = None, failed: int = 0, signals: int = 0, **of: Any) -> Halt:
    """Runs one shard by this worker, as far as it comes; returns why it ended."""
    settings = RunSettings(
        jobs="jobs.jsonl", output=OUT, checkpoint=f"{OUT}.ckpt", base_url="http://x/v1", provider="simulated", **of
    )
    seen = SimpleNamespace(in_flight=0)
    sums = SimpleNamespace(ended_here=100, failed_here=failed, snapshot=lambda *_: seen)
    progress = SimpleNamespace(event=lambda event: None, update=lambda snapshot: None)
    heard = SimpleNamespace(count=signals, name="SIGINT", drain_s=5.0, take_status=lambda: False)
    made: Any = (settings, workers, sums, progress, heard)
    driver = Driver(*made, order=lambda shard: pytest.fail("no worker is ready"), done=lambda shard: None, beat=int)
    driver.run([0], [workers.actor], lambda: broken)
    assert driver.halt is not None
    return driver.halt


@pytest.mark.parametrize(
    ("hello", "error", "hint"),
    [
        (
            Hello("0.0.1", "node7", 1),
            f"`node7` has batchproc 0.0.1, and this is {__version__}",
            "install the same version on every node of the cluster",
        ),
        (
            Hello(__version__, "node7", 1, "the folder `/data` is not there: all nodes must share it"),
            "a worker on `node7` cannot work: the folder `/data` is not there: all nodes must share it",
            "share the folder, or begin there",
        ),
        (
            Lost("killed"),
            "workers cannot be started in the Ray cluster any more",
            "look after the cluster, then run the same command again: what is answered is saved",
        ),
    ],
)
def test_a_worker_that_is_no_use(hello: Hello | Exception, error: str, hint: str) -> None:
    """Exit 2: another version, another folder; or it dies again and again."""
    raised(lambda: drive(Workers(hello)), 2, error, hint)


def test_what_stops_all_workers() -> None:
    """A guard over all shards, the merge, or whoever runs it; `last_words` says it, and the exit code."""
    of_guards = [
        (
            drive(Workers(None), failed=6, fail_over=0.05),
            HaltKind.FAIL_OVER,
            "6 of the first 100 jobs failed, more than --fail-over allows",
            "run the same command again to go on, with a higher `--fail-over` or none; `-v` shows the errors",
        ),
        (
            drive(Workers(None), stop_after_s=0.0),
            HaltKind.STOP_AFTER,
            "the time of --stop-after is up (0 s)",
            "run the same command again: it goes on where it stopped",
        ),
    ]
    for halt, kind, message, hint in of_guards:
        assert (halt.kind, halt.message, halt.hint) == (kind, message, hint)
        SEEN.append(Said(5, message, hint, ""))
    halt = drive(Workers(None), broken=OSError("disk full"))
    assert (halt.kind, halt.message) == (HaltKind.INPUT, "the shards cannot be merged")
    halt = drive(Workers(None), signals=1)
    assert (halt.kind, halt.message) == (HaltKind.INTERRUPTED, "interrupted (SIGINT)")
