"""One process per output: an advisory lock on `OUTPUT.lock`, and a heartbeat where locks do not work.

The file holds host, process id and start time of its owner as JSON. On file systems without working locks
(some network ones) its modification time, renewed every few seconds, says whether the owner lives.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Any

import msgspec
from msgspec import Struct

from batchproc.errors import Locked
from batchproc.snapshot import Holder
from batchproc.store.files import disk_failed

HEARTBEAT_S = 5.0
STALE_S = 30.0


class Owner(Struct, frozen=True):
    """Who holds a lock. `since` is Unix time."""

    host: str
    pid: int
    since: float


class OutputLock:
    """The lock of one output file. `beat` renews the heartbeat; call it every HEARTBEAT_S seconds or more often."""

    def __init__(self, output: str) -> None:
        self.path = output + ".lock"
        self._output = output
        self._fd = -1
        self._beat_at = 0.0  # when the next heartbeat is due, by the monotonic clock

    def acquire(self, *, break_lock: bool = False) -> None:
        """Take the lock. Raises Locked, naming the owner, or DiskFailed."""
        while True:
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as e:
                disk_failed("creating", self.path, e)
            got = _try_lock(fd)
            if got is None and not break_lock:  # locks do not work here: the heartbeat decides
                age = time.time() - os.fstat(fd).st_mtime
                got = not (os.fstat(fd).st_size and 0 <= age < STALE_S)
            if got is False and not break_lock:
                owner = _owner(fd)
                os.close(fd)
                raise Locked(
                    f"`{self._output}` is being written by another batchproc ({_describe(owner)})",
                    "wait for it or stop it; `--break-lock` takes over if you are sure that it is gone",
                )
            if got is False:  # --break-lock: a new file, locked by this process, takes the old one's place
                os.close(fd)
                self._remove()
                break_lock = False
                continue
            if self._is_current(fd):
                break
            os.close(fd)  # its owner removed the file while this process waited: take the new one
        self._fd = fd
        me = Owner(socket.gethostname(), os.getpid(), time.time())
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, msgspec.json.encode(me) + b"\n", 0)
        except OSError as e:
            disk_failed("writing", self.path, e)

    def beat(self) -> None:
        """Renew the heartbeat, where it is due."""
        now = time.monotonic()
        if self._fd >= 0 and now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_S
            try:
                os.utime(self._fd if os.utime in os.supports_fd else self.path)
            except OSError:
                pass  # a heartbeat that cannot be written must not end a run

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._fd < 0:
            return
        try:
            if self._is_current(self._fd):
                os.unlink(self.path)
        except OSError:
            pass  # a stale lock file does no harm: nobody holds it
        os.close(self._fd)
        self._fd = -1

    def _remove(self) -> None:
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as e:
            disk_failed("removing", self.path, e)

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except FileNotFoundError:
            return False


def held_by(output: str) -> Holder | None:
    """Which process writes this output, going by the lock's file and its heartbeat alone; None if none seems to."""
    path = output + ".lock"
    try:
        with open(path, "rb") as f:
            owner = msgspec.json.decode(f.read(4096), type=Owner)
            beat_s = time.time() - os.fstat(f.fileno()).st_mtime
    except (OSError, msgspec.DecodeError):
        return None
    here = owner.host == socket.gethostname()
    if here and not _lives(owner.pid):
        return None
    if beat_s > STALE_S and not (here and _is_locked(path)):
        return None
    return Holder(owner.host, owner.pid, owner.since, max(0.0, beat_s))


def _lives(pid: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end it there: the heartbeat decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True


def _is_locked(path: str) -> bool:
    """Whether Linux lists a lock on the file: its process may be stopped, or busy, and not beat."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii") as f:
            return any(line.split()[5].endswith(f":{inode}") for line in f if " FLOCK " in line)
    except (OSError, IndexError):
        return False


def _try_lock(fd: int) -> bool | None:
    """True: locked. False: somebody else holds it. None: this file system has no locks."""
    try:
        import fcntl
    except ImportError:
        return _try_lock_windows(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        return False if e.errno in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK) else None
    return True


def _try_lock_windows(fd: int) -> bool | None:
    import msvcrt

    windows: Any = msvcrt
    try:
        os.lseek(fd, 1 << 30, os.SEEK_SET)  # beyond the text, which others must be able to read
        windows.locking(fd, windows.LK_NBLCK, 1)
    except OSError as e:
        return False if e.errno in (errno.EACCES, errno.EDEADLK) else None
    return True


def _owner(fd: int) -> Owner | None:
    try:
        return msgspec.json.decode(os.pread(fd, 4096, 0), type=Owner)
    except (OSError, msgspec.DecodeError):
        return None


def _describe(owner: Owner | None) -> str:
    if owner is None:
        return "its process is not known"
    return f"process {owner.pid} on {owner.host}"
