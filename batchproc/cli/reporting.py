"""Puts a report together from the files of a run, and writes its page."""

from __future__ import annotations

import os

from batchproc.building.purse import book_for, by_model, with_cost
from batchproc.core.review import review
from batchproc.core.timeline import TimeLine
from batchproc.errors import UsageError
from batchproc.runreport import RunReport
from batchproc.store.files import disk_failed
from batchproc.store.look import looked
from batchproc.store.recover import has_lines
from batchproc.store.timeline import read_timeline


def reported(output: str, checkpoint: str, columns: int, prices: str | None = None) -> RunReport:
    """The report of a run, with costs by the price list `prices`. Raises UsageError, ForeignOutput, DiskFailed."""
    found = looked(output, checkpoint)
    book = book_for(prices, found.identity.get("`--base-url`") or "")
    timeline = TimeLine()
    try:
        if has_lines(checkpoint):
            with open(checkpoint, "rb", buffering=0) as f:
                read_timeline(f.fileno(), timeline)
    except OSError as e:
        disk_failed("reading", checkpoint, e)
    return review(with_cost(found.status, found.totals, book), timeline, columns, by_model(found.totals, book))


def write_page(path: str, seen: RunReport, others: tuple[str, ...]) -> None:
    """Write the page, whole or not at all. Raises UsageError, DiskFailed."""
    from batchproc.ui.report.page import page

    if os.path.isdir(path):
        raise UsageError(f"`{path}` is a folder", "name the file to write, for example `--html report.html`")
    if os.path.realpath(path) in {os.path.realpath(other) for other in others}:
        raise UsageError(f"`--html {path}` would overwrite a file of the run", "name another file")
    text = page(seen).encode("utf-8", "backslashreplace")
    part = path + ".part"
    try:
        with open(part, "wb") as f:
            f.write(text)
        os.replace(part, path)
    except OSError as e:
        disk_failed("writing", path, e)
