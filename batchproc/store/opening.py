"""Open output and checkpoint for a run: start, go on, or refuse; nothing paid is overwritten."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import aiofiles.threadpool
from msgspec import Struct

from batchproc.core.order import InOrder
from batchproc.core.resume import Decision, Found, Step, decide
from batchproc.errors import DiskFailed, FilesDoNotFit, ForeignOutput, InputChanged
from batchproc.model import Position
from batchproc.store.checkpoint import VERSION, Header, Sent, header_records
from batchproc.store.compact import remove_left_over
from batchproc.store.digests import Digests
from batchproc.store.files import AppendFile, disk_failed
from batchproc.store.input import InputIdentity
from batchproc.store.mending import mended, set_aside
from batchproc.store.recover import has_lines, recover, start_position
from batchproc.store.results import ResultStore
from batchproc.store.sending import SentLog
from batchproc.store.threads import Threads
from batchproc.store.totals import Totals


class OpenedStore(Struct):
    """An open store and where to enter the input.

    `verify`: every answered line of the input must be read again and compared before anything is sent.
    `digests`: of the input lines of the results that wait (a `Digests`). `finished`: there is nothing left to do.
    `killed`: the last process did not end in order, so requests may have been in flight. `before`: what was spent
    besides what the store's totals say (those of a retry are only its own).
    """

    store: ResultStore
    position: Position
    verify: bool
    digests: Any
    sent: list[Sent]
    notes: list[str]
    resumed: bool
    finished: bool = False
    killed: bool = False
    before: Totals | None = None


async def open_store(
    output: str,
    checkpoint: str,
    *,
    identity: Mapping[str, str | None],
    input_identity: InputIdentity | None,
    accept_changes: bool = False,
) -> OpenedStore:
    """Open the files of a run; the caller holds the lock.

    Raises ForeignOutput, InputChanged, DiskFailed.
    """
    had = recover(output, checkpoint)
    if had.retry is not None:
        raise FilesDoNotFit(
            f"a retry of `{output}` is not through yet",
            f"`batchproc retry` goes on with it; `batchproc status {output}` tells the whole command",
        )
    identity_then = had.header.identity if had.header is not None else None
    begun = has_lines(output) or had.order.waiting > 0 or bool(had.salvaged)
    decision = decide(Found(os.path.exists(checkpoint), identity_then, begun), identity)
    if decision.step is Step.FOREIGN or (decision.step is Step.VERIFY and not had.ours):
        raise ForeignOutput(
            f"`{output}` exists, and there is no checkpoint `{checkpoint}` that says this run made it",
            "choose another output with `-o`; `--adopt` takes it over if its lines answer these jobs; `--fresh` starts "
            "over (the old file is renamed, not deleted)",
        )
    if had.header is not None and had.header.version > VERSION:
        raise FilesDoNotFit(
            f"`{checkpoint}` was written by a newer batchproc",
            "go on with that version: `pip install --upgrade batchproc`",
        )
    if decision.step is Step.CHANGED and not accept_changes:
        raise InputChanged(changes_text(decision), CHANGES_HINT)
    executor = Threads(4, "batchproc-store")
    remove_left_over(checkpoint)
    wanted = Header(dict(identity))
    if decision.step is Step.START:
        if has_lines(checkpoint):
            had.notes.append(f"the checkpoint was not usable; it is kept as `{set_aside(checkpoint)[0]}`")
        return await _start(output, checkpoint, wanted, input_identity, executor, had.notes)
    verify = decision.step is Step.VERIFY
    unchanged = not verify and had.mark is not None and had.mark.input is not None and had.mark.input == input_identity
    finished = unchanged and had.mark is not None and had.mark.done and had.mark.next_index == had.order.next_index
    out, ckpt = await mended(
        had, output, checkpoint, executor, header=None if decision.step is Step.GO_ON else wanted, unchanged=unchanged
    )
    store = ResultStore(
        out,
        ckpt,
        had.order,
        header=wanted,
        totals=had.totals,
        written=had.written,
        input_identity=input_identity,
        sent=SentLog(had.recent, had.unanswered),
        compared_from=0 if unchanged else had.order.end,
        record_bytes=had.record_bytes,
        last_index=had.last_index,
    )
    position = start_position(had.mark, had.order.next_index, unchanged)
    store.position(position)
    sent = had.recent.groups(time.time())
    opened = OpenedStore(store, position, not unchanged, had.digests, sent, had.notes, resumed=True, finished=finished)
    opened.killed = not had.closed
    return opened


async def _start(
    output: str,
    checkpoint: str,
    header: Header,
    input_identity: InputIdentity | None,
    executor: ThreadPoolExecutor,
    notes: list[str],
) -> OpenedStore:
    """A fresh start: the header is durable before there is an output to belong to it."""
    AppendFile.cut(checkpoint, 0)
    ckpt = await AppendFile.open(checkpoint, executor)
    await ckpt.append(header_records(header))
    await ckpt.sync()
    out = await AppendFile.open(output, executor)
    store = ResultStore(
        out,
        ckpt,
        InOrder(),
        header=header,
        totals=Totals(),
        written=Totals(),
        input_identity=input_identity,
    )
    return OpenedStore(store, Position(0, 1, 0), False, Digests(0), [], notes, resumed=False)


async def open_stdout() -> OpenedStore:
    """Results to standard output: no resume; what finishes early waits in a temporary file."""
    executor = Threads(4, "batchproc-store")
    if sys.stdout is None:
        raise DiskFailed("standard output is closed", "write to a file with `-o FILE`")
    raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)  # with PYTHONUNBUFFERED it is raw itself
    out_file = aiofiles.threadpool.wrap(cast(Any, raw), executor=executor)
    out = AppendFile("standard output", out_file, 0, executor, durable=False)
    try:
        spool = tempfile.TemporaryFile("a+b", buffering=0, prefix="batchproc-")  # noqa: SIM115
    except OSError as e:
        disk_failed("creating a temporary file in", tempfile.gettempdir(), e)
    wrapped = aiofiles.threadpool.wrap(spool, executor=executor)
    ckpt = AppendFile("the temporary file", wrapped, 0, executor, durable=False)
    store = ResultStore(
        out,
        ckpt,
        InOrder(),
        header=Header({}),
        totals=Totals(),
        written=Totals(),
        input_identity=None,
        compacts=False,
    )
    return OpenedStore(store, Position(0, 1, 0), False, Digests(0), [], [], resumed=False)


CHANGES_HINT = (
    "change it back to go on; `--accept-changes` goes on with the new setting and keeps the answers that are there; "
    "`--fresh` starts over (the old files are renamed, not deleted)"
)


def changes_text(decision: Decision) -> str:
    """Which settings changed, in words."""
    parts = [f"{name} was {_show(before)} and is now {_show(now)}" for name, before, now in decision.changes]
    return "this run was started with other settings: " + "; ".join(parts)


def _show(value: str | None) -> str:
    return f"`{value}`" if value is not None else "not set"
