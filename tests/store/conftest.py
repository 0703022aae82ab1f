"""Fixtures of the store's tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from storekit import Files, InlineFile

from batchproc.store import files as store_files
from batchproc.store import results


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An empty folder for a run."""
    return Files(tmp_path)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No threads, no waiting for a group or a disk: what is tested is what is written, not when."""

    async def open_inline(path: str, *args: Any, **kwargs: Any) -> InlineFile:
        return InlineFile(path)

    async def sync_inline(self: store_files.AppendFile) -> None:
        os.fsync(self.fd)

    async def at_once(work: Any, *args: Any) -> Any:
        await asyncio.sleep(0)  # others go on meanwhile, as beside a thread
        return work(*args)

    monkeypatch.setattr(results, "GROUP_S", 0)
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(store_files.aiofiles, "open", open_inline)
    monkeypatch.setattr(store_files.AppendFile, "sync", sync_inline)
