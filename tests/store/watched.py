"""A folder whose files are watched: what a crash would leave before and after every change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Snapshot = dict[str, bytes]


class Disk:
    """Sees every call that changes a file: keeps what a crash before and after it would leave.

    `killed`: what the page cache held at each step. `cut_off`: what was surely on the disk; a rename whose folder
    was not synced may have happened or not.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.killed: list[Snapshot] = []
        self.cut_off: list[Snapshot] = []
        self.calls: list[tuple[str, str]] = []
        self._durable: Snapshot = {}
        for name in ("write", "replace", "truncate", "ftruncate", "unlink"):
            monkeypatch.setattr(os, name, self._seen(name, getattr(os, name)))
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _seen(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def seen(*args: Any, **kwargs: Any) -> Any:
            self._snap()
            try:
                return call(*args, **kwargs)
            finally:
                self.calls.append((name, self._name(args[0])))
                if name == "replace":
                    self.cut_off.append(dict(self._durable))  # not yet
                    self._durable[self._name(args[1])] = self._durable.pop(self._name(args[0]), b"")
                    self.cut_off.append(dict(self._durable))  # or already
                self._snap()

        return seen

    def _fsync(self, fd: int) -> None:
        name = self._name(fd)
        self.calls.append(("fsync", name))
        if (self.folder / name).is_file():
            self._durable[name] = (self.folder / name).read_bytes()
            self.cut_off.append(dict(self._durable))

    @staticmethod
    def _name(file: int | str) -> str:
        return Path(os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else file).name

    def _snap(self) -> None:
        now = {}
        for path in self.folder.iterdir():
            try:
                if path.is_file():
                    now[path.name] = path.read_bytes()
            except FileNotFoundError:
                return  # renamed at this very moment, by another thread: that one takes its own picture
        if not self.killed or self.killed[-1] != now:
            self.killed.append(now)
