"""Runs batchproc on a bent disk: `python bent.py '[{"call":"fsync","file":"out.jsonl","at":2,"die":"after"}]' run …`.

call    write, fsync, replace, truncate, ftruncate or unlink
file    how the file's name ends; `/` is its folder
at      which of these calls, from 0; every later one too where it fails
die     before, after, or half (of a write): the process is gone at that instant, as by kill -9
errno   the call fails so instead; `room` bytes of a write that fails first still get through
until   …but no longer, once a file of this name is there
slow_s  the call takes so long
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from program import Program, Running

CALLS = ("write", "fsync", "replace", "truncate", "ftruncate", "unlink")
DIED = 137


class Bend:
    """One fault; see the module's text."""

    def __init__(
        self,
        call: str,
        file: str,
        at: int = 0,
        die: str = "",
        errno: int = 0,
        room: int = 0,
        until: str = "",
        slow_s: float = 0.0,
    ) -> None:
        self.call, self.file, self.die, self.errno, self.until, self.slow_s = call, file, die, errno, until, slow_s
        self._left = at
        self._room = room

    def __call__(self, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Do what the fault does to this call."""
        self._left -= 1
        if self._left >= 0 or (self.until and os.path.exists(self.until)):
            return real(*args)
        if self.slow_s:
            time.sleep(self.slow_s)
        if self.errno:
            if self._room:
                data, self._room = args[1][: self._room], 0
                return real(args[0], data)
            raise OSError(self.errno, os.strerror(self.errno))
        if self.die == "half":
            real(args[0], args[1][: len(args[1]) // 2])
        elif self.die == "after":
            real(*args)
        if self.die:
            os._exit(DIED)
        return real(*args)

    def meets(self, file: int | str) -> bool:
        """Whether a call on this file is meant."""
        try:
            path = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else os.fspath(file)
        except OSError:
            return False
        return os.path.isdir(path) if self.file == "/" else path.endswith(self.file)


class PlainFile:
    """What aiofiles gives, but every write is an `os.write`, which can be bent."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    async def write(self, data: memoryview) -> int:
        """Write some of it."""
        return os.write(self._fd, data)

    async def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def bend(bends: list[Bend]) -> None:
    """Let these faults happen in this process."""
    for name in CALLS:
        real = getattr(os, name)

        def bent(*args: Any, real: Any = real, name: str = name) -> Any:
            for one in bends:
                if one.call == name and one.meets(args[0] if name != "replace" else args[1]):
                    return one(real, args)
            return real(*args)

        setattr(os, name, bent)


def main() -> None:
    """Bend the disk, then be batchproc."""
    faults = json.loads(sys.argv[1])
    from batchproc.cli.main import main as batchproc
    from batchproc.store import files, journal, results

    real = files.aiofiles.open

    async def open_plain(path: str, mode: str = "r", **kwargs: Any) -> Any:
        return PlainFile(path) if mode == "a+b" else await real(path, mode, **kwargs)  # type: ignore[call-overload]

    if not any(f.get("at_speed") for f in faults):
        journal.COMPACT_BYTES = 3000  # compact as often as can be
        results.SYNC_S = 0.02
    files.aiofiles.open = open_plain  # type: ignore[attr-defined]
    bend([Bend(**{k: v for k, v in f.items() if k != "at_speed"}) for f in faults])
    sys.argv = ["batchproc", *sys.argv[2:]]
    batchproc()


def start(program: Program, faults: Sequence[dict[str, Any]], *words: str) -> Running:
    """Start batchproc so."""
    for fault in faults:
        assert fault["call"] in CALLS
        assert fault.get("errno", 0) in (0, *errno.errorcode)
    return program.start(json.dumps(faults), *words, script=Path(__file__).resolve())


if __name__ == "__main__":
    main()
