"""Open the job file: plain, gzip, zstd, or a pipe. What it is, is read from its first bytes, not its name."""

from __future__ import annotations

import asyncio
import os
import queue
import shlex
import stat
import sys
import threading
import zlib
from pathlib import Path
from typing import IO, Any, cast

import aiofiles
from msgspec import Struct

from batchproc.errors import UsageError
from batchproc.store.lines import BLOCK, Blocks
from batchproc.store.packed import begins_packed, unpacked
from batchproc.store.ranges import PartBlocks

_AGAIN = "what is answered is saved: run the same command again"
_LET_BE = f"let nothing write to it during a run; {_AGAIN}"
_WHOLE = f"put a whole copy with the same lines in its place (`gzip -t` or `zstd -t` tests one); {_AGAIN}"


class InputIdentity(Struct, frozen=True, gc=False):
    """Size, time and inode of a plain file: unchanged means that it can be entered in the middle."""

    size: int
    mtime_ns: int
    inode: int


class Opened(Struct, frozen=True):
    """An open input. `identity` is None for what cannot be entered in the middle (pipe, compressed).

    `size` is the bytes on disk where known, `fd` the descriptor for reading single lines again, or None. `start` is the
    byte at which what is read begins: offsets of lines are counted from there.
    """

    blocks: Blocks
    identity: InputIdentity | None
    size: int | None
    fd: int | None
    start: int = 0


def cannot_read(error: OSError) -> UsageError:
    """What to say where the disk, or whoever is at the other end of a pipe, fails."""
    return UsageError(f"the input cannot be read: {error.strerror or error}", f"mend that; {_AGAIN}")


class _FileBlocks:
    """A plain file of so many bytes, read in large blocks by aiofiles."""

    def __init__(self, file: Any, size: int, offset: int) -> None:
        self._file = file
        self._size = size
        self._read = offset
        self._whole = True  # what was read so far ends with a newline

    async def read(self) -> bytes:
        try:
            block = cast(bytes, await self._file.read(BLOCK))
        except OSError as e:
            raise cannot_read(e) from e
        self._read += len(block)
        if block:
            self._whole = block.endswith(b"\n")
        elif self._read < self._size:
            raise UsageError("the input became shorter while the run was reading it", _LET_BE)
        elif self._read > self._size and not self._whole:
            raise UsageError("the input grows while the run is reading it, and its last line is not whole", _LET_BE)
        return block

    async def close(self) -> None:
        await self._file.close()


class _ThreadBlocks:
    """A blocking reader served by a daemon thread of its own, one read at a time.

    A thread of a pool would be joined when the program ends: a pipe that stays silent would then keep
    an interrupted run from ending.
    """

    def __init__(self, file: IO[bytes], closes: IO[bytes] | None = None) -> None:
        self._file = file
        self._closes = file if isinstance(file, _Pipe) else closes
        self._asked: queue.SimpleQueue[asyncio.Future[bytes] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._serve, name="batchproc-input", daemon=True).start()

    async def read(self) -> bytes:
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._asked.put(future)
        try:
            return await future
        except Exception as e:
            if isinstance(e, OSError) and e.errno is not None:
                raise cannot_read(e) from e
            if isinstance(e, EOFError | OSError | zlib.error) or type(e).__module__.startswith("zstandard"):
                raise UsageError(f"the input is damaged or cut short: {e}", _WHOLE) from e
            raise

    async def close(self) -> None:
        self._asked.put(None)

    def _serve(self) -> None:
        while (future := self._asked.get()) is not None:
            try:
                block = _some(self._file, BLOCK)
            except BaseException as e:
                self._answer(future, None, e)
            else:
                self._answer(future, block, None)
        if self._closes is not None:
            self._closes.close()

    def _answer(self, future: asyncio.Future[bytes], block: bytes | None, error: BaseException | None) -> None:
        def settle() -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(block or b"")

        try:
            self._loop.call_soon_threadsafe(settle)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more


class _Prefixed:
    """A stream whose first bytes were read already to see what it is."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1) -> bytes:
        if self._head:
            head, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
            return head + (self._rest.read() if size < 0 else b"")
        return self._rest.read(size)

    def close(self) -> None:
        self._rest.close()


def check_input(name: str) -> None:
    """Raise UsageError if `name` cannot be a job file: missing, a directory, unreadable."""
    if name == "-":
        return
    path = Path(name)
    if path.is_dir():
        raise UsageError(f"`{name}` is a directory, not a job file", "name a .jsonl file, or `-` for standard input")
    if not path.exists():
        raise UsageError(f"there is no file `{name}`", "check the name; `-` reads from standard input")
    if not os.access(path, os.R_OK):
        raise UsageError(
            f"`{name}` cannot be read: permission denied", f"allow yourself to read it: `chmod u+r {shlex.quote(name)}`"
        )


def identity_of(name: str) -> InputIdentity | None:
    """The identity of a plain file by its name, without opening it; None where it has none."""
    if name == "-":
        return None
    st = os.stat(name)
    if not stat.S_ISREG(st.st_mode):
        return None
    return InputIdentity(st.st_size, st.st_mtime_ns, st.st_ino)


async def open_input(name: str, offset: int = 0, part: tuple[int, int] | None = None) -> Opened:
    """Open the job file, at byte `offset` where it is a plain file; or a part of it, as if it were the whole.

    Raises UsageError where it cannot be opened.
    """
    check_input(name)
    if part is not None:
        return await _open_part(name, offset, *part)
    stdin = name == "-"
    if stdin and sys.stdin is None:
        raise UsageError("standard input is closed", "name a job file, or give the jobs through a pipe")
    try:
        st = os.fstat(sys.stdin.fileno()) if stdin else os.stat(name)
        if not stat.S_ISREG(st.st_mode):
            return Opened(_ThreadBlocks(cast(IO[bytes], _Pipe(name))), None, None, None)
        raw = _open(name)
    except OSError as e:
        raise UsageError(
            f"`{name}` cannot be opened: {e.strerror}", "name a file that can be read, or `-` for standard input"
        ) from e
    try:
        head = os.pread(raw.fileno(), 4, raw.tell())
    except OSError as e:
        raise cannot_read(e) from e
    if begins_packed(head):
        return Opened(_ThreadBlocks(unpacked(head, raw), None if stdin else raw), None, None, None)
    if stdin:
        return Opened(_ThreadBlocks(raw), None, st.st_size, None)
    raw.close()
    file = await aiofiles.open(name, "rb", buffering=0)
    await file.seek(offset)
    identity = InputIdentity(st.st_size, st.st_mtime_ns, st.st_ino)
    return Opened(_FileBlocks(file, st.st_size, offset), identity, st.st_size, file.fileno())


async def _open_part(name: str, offset: int, start: int, stop: int) -> Opened:
    try:
        st = os.stat(name)
        file = await aiofiles.open(name, "rb", buffering=0)
    except OSError as e:
        raise UsageError(f"`{name}` cannot be opened: {e.strerror}") from e
    await file.seek(start + offset)
    identity = InputIdentity(stop - start, st.st_mtime_ns, st.st_ino)
    return Opened(PartBlocks(file, stop - start - offset), identity, stop - start, file.fileno(), start)


def _open(name: str) -> IO[bytes]:
    return cast(IO[bytes], cast(Any, sys.stdin.buffer).raw if name == "-" else open(name, "rb", 0))


class _Pipe:
    """A pipe. It is opened, and looked at for what it brings, by the first read: both may have to wait for ever."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._raw: IO[bytes] | None = None
        self._stream: IO[bytes] | None = None

    def read(self, size: int = -1) -> bytes:
        """Some of the text; empty at the end."""
        if self._stream is None:
            self._raw = _open(self._name)
            head = _first_bytes(self._raw)
            self._stream = cast(IO[bytes], _Prefixed(head, self._raw))
            if begins_packed(head):
                self._stream = unpacked(head, self._stream)
        return _some(self._stream, size)

    def close(self) -> None:
        """Close it; standard input is not ours to close."""
        if self._raw is not None and self._name != "-":
            self._raw.close()


def _some(stream: IO[bytes], size: int) -> bytes:
    """What one read brings, at most `size` bytes."""
    read1 = getattr(stream, "read1", None)
    return cast(bytes, read1(size) if read1 is not None else stream.read(size))


def _first_bytes(raw: IO[bytes]) -> bytes:
    """Four bytes of a pipe, which may bring them one by one; fewer at its end."""
    head = b""
    while len(head) < 4 and (more := raw.read(4 - len(head))):
        head += more
    return head
