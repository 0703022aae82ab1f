"""Count the results of a run from its files alone, without checking or keeping them: for whoever only looks."""

from __future__ import annotations

import os
import re

import msgspec
from msgspec import Struct

from batchproc.model import NO_USAGE, Usage
from batchproc.store.checkpoint import text_of
from batchproc.store.index import Index, outside, read_indices
from batchproc.store.recover import keep_losses, names_known, read_output
from batchproc.store.scan import Marks, sent_records
from batchproc.store.totals import Totals

# A result's record up to its line; a run of them is found much faster than each is looked at.
_RESULT = re.compile(
    rb'\n\{"crc":"[0-9a-f]{8}","kind":"result","index":(\d+),"job":"[0-9a-f]{16}","input_line":(\d+),'
    rb'"code":(null|"(?:[^"\\]|\\.)*"),"usage":\[(\d+),(\d+)(?:,(\d+))?\],(?:"model":("(?:[^"\\]|\\.)*"),)?"line":'
)
_ANSWER, _FAILURE = 1, 2


class Counted(Struct):
    """Totals of all results, lines written, results that wait, requests sent for the job they wait for.

    `whole`: the output has nothing that does not belong there.
    """

    totals: Totals
    written: int
    waiting: int
    tries: int
    whole: bool


def _usable(checkpoint: str, marks: Marks, first: int) -> list[Index]:
    """Indices of results that are all written, or all wait; a retry's may be there twice, so they are looked at."""
    if marks.retry is not None or not os.path.exists(checkpoint):
        return []
    return [i for i in read_indices(checkpoint)[0] if i.last < first or i.first >= first]


def count(output: str, checkpoint: str, marks: Marks) -> Counted:
    """Count; failures that wait have no messages. Raises OSError."""
    size = os.path.getsize(output) if os.path.exists(output) else 0
    tail = read_output(output, size, marks)
    keep_losses(tail.written, marks.last)
    totals, first = tail.written.copy(), tail.next_index
    kinds = bytearray()
    failed: dict[int, tuple[str, int]] = {}
    tries = 0
    models: set[str] = set()
    retry_from = marks.retry_from if marks.retry is not None else None
    indices = _usable(checkpoint, marks, first)
    for index in indices:
        if index.first >= first:
            if index.last - first >= len(kinds):
                kinds.extend(bytes(index.last - first + 1 - len(kinds) + 4096))
            shift = index.first - first
            for job in index.entries()[0]:
                kinds[shift + job] = _ANSWER  # or a failure, and that is all there will be
            totals.merge(index.totals)
    for offset, block in outside(checkpoint, indices) if os.path.exists(checkpoint) else ():
        if retry_from is not None and offset + len(block) > retry_from:
            _count_retried(block[max(0, retry_from - offset) :], first, totals)
        for number, line, code, input_tokens, output_tokens, cached, model in _RESULT.findall(b"\n" + block):
            at = int(number) - first
            if at < 0:
                continue
            if at >= len(kinds):
                kinds.extend(bytes(at + 1 - len(kinds) + 4096))
            if code != b"null":
                if kinds[at] != _ANSWER:
                    kinds[at] = _FAILURE
                    failed[at] = (str(msgspec.json.decode(code)), int(line))
            elif kinds[at] != _ANSWER:
                if kinds[at]:
                    del failed[at]
                kinds[at] = _ANSWER
                totals.add(None, Usage(int(input_tokens), int(output_tokens), int(cached or 0)), 0, "", text_of(model))
        for sent in sent_records(block):
            if sent.requests:
                models.add(sent.model)
            tries += sent.jobs.count(first) - sent.undone.count(first)
    for code_text, line_number in failed.values():
        totals.add(code_text, NO_USAGE, line_number, "")
    totals.rename(names_known(models, marks.last))
    return Counted(totals, first, len(kinds) - kinds.count(0), max(0, tries), not tail.bad)


def _count_retried(block: bytes, first: int, totals: Totals) -> None:
    """Answers of a retry that is not through: they take the places of failed lines later, but are paid for now."""
    for number, _, code, input_tokens, output_tokens, cached, model in _RESULT.findall(b"\n" + block):
        if code == b"null" and int(number) < first:
            totals.spent(text_of(model)).add(Usage(int(input_tokens), int(output_tokens), int(cached or 0)))
