"""A file that only grows: group writes in, one fsync when asked, and what was half written is cut again."""

from __future__ import annotations

import asyncio
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import aiofiles

from batchproc.errors import DiskFailed

_HINTS = {
    errno.ENOSPC: "free some space, then run the same command again: it goes on where it stopped",
    errno.EDQUOT: "the quota is used up: free some space, then run the same command again",
    errno.EROFS: "the file system is read-only: choose another place with `-o`",
    errno.EACCES: "choose a folder you may write to with `-o`",
    errno.EPERM: "choose a folder you may write to with `-o`",
    errno.EIO: "the disk reports errors: check it, then run the same command again",
}
_PIPE_FULL_S = 0.005


def disk_failed(doing: str, path: str, error: OSError, *, resumable: bool = True) -> NoReturn:
    """Raise DiskFailed for an OSError: what was being done, to which file, and what to do next."""
    if not resumable:
        hint = "a run to standard output cannot be resumed: write to a file with `-o FILE`"
        raise DiskFailed(f"{doing} `{path}` failed: {error.strerror or error}", hint) from error
    hint = _HINTS.get(error.errno or 0, "mend it, then run the same command again: it goes on where it stopped")
    raise DiskFailed(f"{doing} `{path}` failed: {error.strerror or error}", hint) from error


def sync_folder(path: str) -> None:
    """Make a rename or a new file in the folder of `path` durable (nothing to do on Windows)."""
    if os.name == "nt":
        return
    try:
        fd = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass  # some network file systems refuse it; the rename itself has been done
    finally:
        os.close(fd)


class AppendFile:
    """An append-only file, written through aiofiles in the threads of `executor`.

    `size` is the length of what was written whole, `synced` of what an fsync made durable (or stood there before); the
    file must have no other writer. `durable`: it is a file that stays, not a pipe or a temporary one. `unsure`: an
    fsync failed. What was written since `synced` may never reach the disk then, though it can be read, and a later
    fsync says that all is well: the system forgets what it could not write. Errors are raised as DiskFailed.
    """

    def __init__(self, path: str, file: Any, size: int, executor: ThreadPoolExecutor, durable: bool = True) -> None:
        self.path = path
        self.size = self.synced = size
        self.unsure = False
        self._file = file
        self.executor = executor
        self.durable = durable

    @classmethod
    async def open(cls, path: str, executor: ThreadPoolExecutor) -> AppendFile:
        """Open for appending, created if missing. Raises DiskFailed."""
        try:
            new = not os.path.exists(path)
            file = await aiofiles.open(path, "a+b", buffering=0, executor=executor)
            if new:
                sync_folder(path)
            return cls(path, file, os.path.getsize(path), executor)
        except OSError as e:
            disk_failed("opening", path, e)

    @staticmethod
    def cut(path: str, size: int) -> None:
        """Cut a file that is there to a length. Raises DiskFailed."""
        try:
            if os.path.exists(path) and os.path.getsize(path) > size:
                os.truncate(path, size)
        except OSError as e:
            disk_failed("cutting", path, e)

    @property
    def fd(self) -> int:
        """The descriptor, for reading back and for fsync."""
        return int(self._file.fileno())

    async def append(self, data: bytes) -> int:
        """Write all of `data`; returns the offset at which it begins.

        Where the disk fails in the middle, the whole lines that were written stay.
        """
        start = self.size
        view = memoryview(data)
        try:
            while view:
                n = await self._file.write(view)
                if n is None:  # a pipe that is set not to block, and is full
                    await asyncio.sleep(_PIPE_FULL_S)
                else:
                    view = view[n:]
        except OSError as e:
            self.size = start + data.rfind(b"\n", 0, len(data) - len(view)) + 1
            self._cut(self.size)
            disk_failed("writing", self.path, e, resumable=self.durable)
        self.size = start + len(data)
        return start

    async def sync(self) -> None:
        """Make what was written durable. Runs beside further writes."""
        if not self.durable:
            return
        size = self.size
        try:
            await asyncio.get_running_loop().run_in_executor(self.executor, os.fsync, self.fd)
        except OSError as e:
            self.unsure = True
            disk_failed("syncing", self.path, e)
        if not self.unsure:
            self.synced = size
        if not self._is_there():
            raise DiskFailed(
                f"`{self.path}` was removed or replaced while the run was writing it",
                "let nothing touch output and checkpoint during a run; then run the same command again",
            )

    def put_back(self) -> None:
        """Where the file was removed, write it again under its name. Raises DiskFailed."""
        if not self.durable or os.path.lexists(self.path):
            return
        new = self.path + ".back"
        try:
            with open(new, "wb") as f:
                at = 0
                while data := os.pread(self.fd, 1 << 20, at):
                    f.write(data)
                    at += len(data)
                f.flush()
                os.fsync(f.fileno())
            os.rename(new, self.path)
        except OSError as e:
            disk_failed("writing", self.path, e)
        sync_folder(self.path)

    async def written_since(self, start: int) -> bytes:
        """What stands in the file from byte `start` on, as far as it can be read."""
        try:
            return await asyncio.to_thread(os.pread, self.fd, self.size - start, start)
        except OSError:
            return b""

    def cut_back(self) -> None:
        """Cut off what an fsync may have lost."""
        self.size = self.synced
        self._cut(self.size)
        self.unsure = False

    def is_durable(self) -> None:
        """What an fsync may have lost was written again, and made durable."""
        self.synced, self.unsure = self.size, False

    def _is_there(self) -> bool:
        """Whether the file still has its name."""
        try:
            there, ours = os.stat(self.path), os.fstat(self.fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) or os.name == "nt"

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()

    def _cut(self, size: int) -> None:
        if not self.durable:
            return
        try:
            os.ftruncate(self.fd, size)
        except OSError:
            pass  # the next run cuts the torn line
