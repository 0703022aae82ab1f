"""Mend what a crash or a bad disk left of output and checkpoint: nothing is cut off before it is safe elsewhere."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from batchproc.store.checkpoint import Header, Mark, header_records, mark_record, result_record
from batchproc.store.files import AppendFile, disk_failed, sync_folder
from batchproc.store.recover import Recovered, start_position


def set_aside(*paths: str) -> list[str]:
    """Rename files out of the way, for a fresh start; returns the new names. Raises DiskFailed."""
    renamed: list[str] = []
    for path in paths:
        if not os.path.exists(path):
            continue
        new = _free_name(path, "old")
        try:
            os.rename(path, new)
        except OSError as e:
            disk_failed("renaming", path, e)
        sync_folder(path)
        renamed.append(new)
    return renamed


async def mended(
    had: Recovered,
    output: str,
    checkpoint: str,
    executor: ThreadPoolExecutor,
    *,
    header: Header | None,
    unchanged: bool,
) -> tuple[AppendFile, AppendFile]:
    """Mend both files and open them. Nothing is cut off the output before it is safe elsewhere."""
    if not had.keep_tail:
        AppendFile.cut(checkpoint, had.checkpoint_size)
    ckpt = await AppendFile.open(checkpoint, executor)
    if had.keep_tail:
        await ckpt.append(b"\n")  # ends the torn line; its results are written again below
    if header is not None:
        await ckpt.append(header_records(header))
    for r in had.salvaged:
        where = await ckpt.append(result_record(r))
        had.order.put(r.index, where)
        had.totals.add(r.code, r.usage, r.input_line, r.message, r.model)
        had.digests.put(r.index, int.from_bytes(r.digest, "big"))
        had.unanswered.pop(r.index, None)
    if header is not None or had.salvaged:
        await ckpt.sync()
    if had.lost:
        had.notes.append(f"what is cut off the output is kept as `{_keep_cut(output, had.output_size)}`")
    AppendFile.cut(output, had.output_size)
    out = await AppendFile.open(output, executor)
    out.synced = min(out.size, had.mark.output_length if had.mark is not None else 0)
    if had.mark is not None and had.mark.next_index > had.order.next_index:  # its checksums hold no longer
        n = had.order.next_index
        position = start_position(had.mark, n, unchanged)
        was = had.mark.input if unchanged else None
        mark = Mark(had.mark.at, n, had.output_size, position, had.written.copy(), was, since=n)
        await ckpt.append(mark_record(mark))
        await ckpt.sync()
    return out, ckpt


def _keep_cut(output: str, size: int) -> str:
    """Copy what will be cut off the output beside it; returns the copy's name. Raises DiskFailed."""
    path = _free_name(output, "damaged")
    try:
        with open(output, "rb") as source, open(path, "xb") as target:
            source.seek(size)
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
    except OSError as e:
        disk_failed("writing", path, e)
    sync_folder(path)
    return path


def _free_name(path: str, why: str) -> str:
    """A name beside `path` that no file has."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    new = f"{path}.{stamp}.{why}"
    n = 1
    while os.path.exists(new):
        n += 1
        new = f"{path}.{stamp}.{n}.{why}"
    return new
