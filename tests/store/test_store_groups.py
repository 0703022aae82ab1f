"""Errors by their codes, as `status` and the last words tell them."""

from __future__ import annotations

from batchproc.model import Usage
from batchproc.store.look import error_groups
from batchproc.store.totals import Totals


def test_the_line_is_said_once() -> None:
    """The message in an output names the line of a bad job; a group that names it too does not repeat that."""
    totals = Totals()
    totals.add("invalid_job", Usage(), 6, "line 6: it names no model", "")
    totals.add("invalid_job", Usage(), 7, "line 7: it names no model", "")
    totals.add("content_filter", Usage(), 9, "line 3: of the prompt", "")
    assert [(g.code, g.count, g.line, g.message) for g in error_groups(totals)] == [
        ("invalid_job", 2, 6, "it names no model"),
        ("content_filter", 1, 9, "line 3: of the prompt"),
    ]
