"""A first look at the input, before anything is written: is this a job file at all?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from batchproc.errors import UsageError
from batchproc.model import BadJob, RawLine
from batchproc.ports import Parser
from batchproc.tokens.weigh import Weigher

FIRST = 20


def look(lines: list[RawLine], parser: Parser) -> None:
    """Raise UsageError if the first 20 lines are all bad, or if fewer are and the file is clearly something else."""
    first = lines[:FIRST]
    if not first:
        return
    bad = [job for job in map(parser.parse, first) if isinstance(job, BadJob)]
    if len(bad) < len(first):
        return
    guess = _guess(first)
    if len(first) < FIRST and not guess:
        return
    what = f"it looks like {guess}" if guess else f"for example line {bad[0].line}: {bad[0].message}"
    many = f"none of the first {len(first)} lines" if len(first) > 1 else "its first line is not"
    tail = "is a job" if len(first) > 1 else "a job"
    raise UsageError(
        f"this is not a job file: {many} {tail}; {what}",
        'one JSON object a line is needed, such as {"model": "gpt-4o-mini", "messages": […]}; '
        "the README shows how to make one",
    )


def _guess(first: list[RawLine]) -> str:
    head = first[0].data
    if head.startswith(b"PAR1"):
        return "a Parquet file"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in head[:200]:
        return "UTF-16 text: save it as UTF-8" if b"\x00" in head[:200] else "UTF-16 text"
    if head in (b"[", b"[{") or (head.startswith(b"[") and b"{" in head[:20]):
        return "one JSON array: write each element on a line of its own"
    if head == b"{":
        return "JSON spread over several lines: write each object on one line"
    if head.startswith(b"<"):
        return "a web page or XML"
    if head.startswith((b"PK\x03\x04", b"%PDF")):
        return "a ZIP (perhaps Excel) or PDF file"
    for separator, name in ((b",", "CSV"), (b"\t", "tab-separated text"), (b";", "CSV with semicolons")):
        columns = {line.data.count(separator) for line in first}
        if len(first) > 1 and 0 not in columns and len(columns) <= 2 and not head.startswith(b"{"):
            return name
    return ""


async def warm_up(weigher: Weigher, parser: Parser, first: list[RawLine], provider: str) -> None:
    """Load the ranks for the first job's model while an embedded provider starts."""
    import asyncio

    for raw in first[:1] if provider == "simulated" else ():
        model = getattr(parser.parse(raw), "model", None)
        if model:
            await asyncio.to_thread(weigher.preload, model)


async def chained(seen: list[list[RawLine]], rest: AsyncIterator[list[RawLine]]) -> AsyncIterator[list[RawLine]]:
    """What was looked at, then the rest."""
    for batch in seen:
        yield batch
    async for batch in rest:
        yield batch
