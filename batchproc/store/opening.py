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
from batchproc.errors import ForeignOutput, InputChanged
from batchproc.model import Position
from batchproc.store.checkpoint import Header, Sent, Totals, header_records, parse_result
from batchproc.store.files import AppendFile, disk_failed, sync_folder
from batchproc.store.input import InputIdentity
from batchproc.store.recover import Recovered, has_lines, recover, start_position
from batchproc.store.results import ResultStore


class OpenedStore(Struct):
    """An open store and where to enter the input.

    `verify`: every answered line of the input must be read again and compared before anything is sent.
    `digests`: of the input lines of the results that wait. `finished`: there is nothing left to do.
    """

    store: ResultStore
    position: Position
    verify: bool
    digests: dict[int, bytes]
    sent: list[Sent]
    notes: list[str]
    resumed: bool
    finished: bool = False


def set_aside(*paths: str) -> list[str]:
    """Rename files out of the way, for a fresh start; returns the new names. Raises DiskFailed."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    renamed: list[str] = []
    for path in paths:
        if not os.path.exists(path):
            continue
        new = f"{path}.{stamp}.old"
        n = 1
        while os.path.exists(new):
            n += 1
            new = f"{path}.{stamp}.{n}.old"
        try:
            os.rename(path, new)
        except OSError as e:
            disk_failed("renaming", path, e)
        sync_folder(path)
        renamed.append(new)
    return renamed


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
    found, had = recover(output, checkpoint)
    header = found.header if found else None
    decision = decide(Found(found is not None, header.identity if header else None, has_lines(output)), identity)
    if decision.step is Step.FOREIGN:
        raise ForeignOutput(
            f"`{output}` exists, and there is no checkpoint `{checkpoint}` that says this run made it",
            "choose another output with `-o`, or start over with `--fresh` (the old file is renamed, not deleted)",
        )
    if decision.step is Step.CHANGED and not accept_changes:
        raise InputChanged(_changes_text(decision), _CHANGES_HINT)
    executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="batchproc-store")
    wanted = Header(dict(identity))
    if decision.step is Step.START:
        if found is not None and os.path.getsize(checkpoint):
            had.notes.append(f"the checkpoint was not usable; it is kept as `{set_aside(checkpoint)[0]}`")
        return await _start(output, checkpoint, wanted, input_identity, executor, had.notes)
    out = await AppendFile.open(output, executor, had.output_size)
    ckpt = await AppendFile.open(checkpoint, executor, had.checkpoint_size)
    mends = had.salvaged
    if decision.step is not Step.GO_ON:
        mends = [header_records(wanted), *mends]
    for record in mends:
        where = await ckpt.append(record)
        _note_salvaged(had, record, where)
    if mends:
        await ckpt.sync()
    return _go_on(had, out, ckpt, wanted, input_identity, verify=decision.step is Step.VERIFY)


def _note_salvaged(had: Recovered, record: bytes, where: int) -> None:
    r = parse_result(record[:-1])
    if r is not None and r.index not in had.order:
        had.order.put(r.index, where)
        had.totals.add(r.code, r.usage, r.input_line, r.message)
        had.digests[r.index] = r.digest
        had.unanswered.pop(r.index, None)


def _go_on(
    had: Recovered,
    out: AppendFile,
    ckpt: AppendFile,
    header: Header,
    input_identity: InputIdentity | None,
    *,
    verify: bool,
) -> OpenedStore:
    mark = had.mark
    unchanged = not verify and mark is not None and mark.input is not None and mark.input == input_identity
    finished = unchanged and mark is not None and mark.done and mark.next_index == had.order.next_index
    store = ResultStore(
        out,
        ckpt,
        had.order,
        header=header,
        totals=had.totals,
        written=had.written,
        input_identity=input_identity,
        unanswered=had.unanswered,
    )
    position = start_position(mark, had.order.next_index, unchanged)
    store.position(position)
    return OpenedStore(
        store, position, not unchanged, had.digests, had.sent, had.notes, resumed=True, finished=finished
    )


async def _start(
    output: str,
    checkpoint: str,
    header: Header,
    input_identity: InputIdentity | None,
    executor: ThreadPoolExecutor,
    notes: list[str],
) -> OpenedStore:
    """A fresh start: the header is durable before there is an output to belong to it."""
    ckpt = await AppendFile.open(checkpoint, executor, 0)
    await ckpt.append(header_records(header))
    await ckpt.sync()
    out = await AppendFile.open(output, executor, 0)
    store = ResultStore(
        out,
        ckpt,
        InOrder(),
        header=header,
        totals=Totals(),
        written=Totals(),
        input_identity=input_identity,
    )
    return OpenedStore(store, Position(0, 1, 0), False, {}, [], notes, resumed=False)


async def open_stdout() -> OpenedStore:
    """Results to standard output: no resume; what finishes early waits in a temporary file."""
    executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="batchproc-store")
    out_file = aiofiles.threadpool.wrap(cast(Any, sys.stdout.buffer).raw, executor=executor)
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
    return OpenedStore(store, Position(0, 1, 0), False, {}, [], [], resumed=False)


_CHANGES_HINT = (
    "change it back to go on; `--accept-changes` goes on with the new setting and keeps the answers that are there; "
    "`--fresh` starts over (the old files are renamed, not deleted)"
)


def _changes_text(decision: Decision) -> str:
    parts = [f"{name} was {_show(before)} and is now {_show(now)}" for name, before, now in decision.changes]
    return "this run was started with other settings: " + "; ".join(parts)


def _show(value: str | None) -> str:
    return f"`{value}`" if value is not None else "not set"
