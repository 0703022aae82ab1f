"""One process for an output: real processes, real locks, and the heartbeat where there are none."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchproc.errors import Locked
from batchproc.store import lock as lock_module
from batchproc.store.lock import STALE_S, OutputLock

HOLD = """
import sys
from batchproc.store.lock import OutputLock
OutputLock(sys.argv[1]).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(output: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, output], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_process_is_refused(tmp_path: Path) -> None:
    """The refusal names host and process, and the way on."""
    output = str(tmp_path / "o")
    with holder(output) as process, pytest.raises(Locked) as caught:
        OutputLock(output).acquire()
    assert str(process.pid) in caught.value.message
    assert socket.gethostname() in caught.value.message
    assert "--break-lock" in (caught.value.hint or "")
    assert caught.value.exit_code == 6


def test_a_killed_holder_leaves_it_free(tmp_path: Path) -> None:
    """The file stays behind, but nobody holds it."""
    output = str(tmp_path / "o")
    with holder(output) as process:
        process.kill()
        process.wait()
        assert (tmp_path / "o.lock").exists()
        OutputLock(output).acquire()


def test_break_lock(tmp_path: Path) -> None:
    """`--break-lock` takes over from a living holder, and holds: a third one is refused, also when the first ends."""
    output = str(tmp_path / "o")
    mine = OutputLock(output)
    with holder(output) as process:
        mine.acquire(break_lock=True)
        process.kill()
        process.wait()
        with pytest.raises(Locked, match=str(os.getpid())):
            OutputLock(output).acquire()
    mine.release()
    assert not (tmp_path / "o.lock").exists()


def test_a_broken_lock_is_not_removed_by_its_old_holder(tmp_path: Path) -> None:
    """Who lost the lock does not remove the new holder's file."""
    old, new = OutputLock(str(tmp_path / "o")), OutputLock(str(tmp_path / "o"))
    old.acquire()
    new.acquire(break_lock=True)
    old.release()
    assert (tmp_path / "o.lock").exists()
    new.release()


def test_release_removes_the_file(tmp_path: Path) -> None:
    """Nothing is left, a second release does nothing, and the lock can be taken again."""
    lock = OutputLock(str(tmp_path / "o"))
    for _ in range(2):
        lock.acquire()
        lock.release()
        lock.release()
        assert list(tmp_path.iterdir()) == []


def test_removed_between_open_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder ends after this process opened the file and before it locks: the orphan is not taken for the lock."""
    first, second, third = (OutputLock(str(tmp_path / "o")) for _ in range(3))
    first.acquire()
    real = lock_module._try_lock

    def late(fd: int) -> bool | None:
        first.release()
        return real(fd)

    monkeypatch.setattr(lock_module, "_try_lock", late)
    second.acquire()
    monkeypatch.undo()
    with pytest.raises(Locked):
        third.acquire()
    second.release()


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def unsupported(fd: int, how: int) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)


@pytest.mark.usefixtures("no_flock")
@pytest.mark.parametrize(
    ("age_s", "refused"),
    [
        pytest.param(0, True, id="it beats"),
        pytest.param(STALE_S - 5, True, id="it missed a few beats"),
        pytest.param(STALE_S + 5, False, id="it is dead"),
    ],
)
def test_heartbeat(tmp_path: Path, age_s: float, refused: bool) -> None:
    """Without locks the age of the file decides."""
    first, second = OutputLock(str(tmp_path / "o")), OutputLock(str(tmp_path / "o"))
    first.acquire()
    then = os.stat(first.path).st_mtime - age_s
    os.utime(first.path, (then, then))
    if refused:
        with pytest.raises(Locked):
            second.acquire()
        second.acquire(break_lock=True)
    else:
        second.acquire()
    second.release()
    first.release()


@pytest.mark.usefixtures("no_flock")
def test_beat_keeps_it(tmp_path: Path) -> None:
    """A beat makes an old file young."""
    first = OutputLock(str(tmp_path / "o"))
    first.acquire()
    os.utime(first.path, (1, 1))
    first.beat()
    with pytest.raises(Locked):
        OutputLock(str(tmp_path / "o")).acquire()
    os.utime(first.path, (1, 1))
    first.beat()
    assert os.stat(first.path).st_mtime == 1, "the next is due in some seconds"
    first.release()
    first.beat()  # does nothing
