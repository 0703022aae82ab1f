"""Feeds bytes through the real path: line → job → result line, answer → outcome → result line → store → output."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from batchproc.model import Answer, BadJob, Fault, Job, RawLine, Reply, Result
from batchproc.providers.choose import provider_for
from batchproc.resultline import answered, failed, read_line, refused
from batchproc.store.checkpoint import parse_result, result_record
from batchproc.store.input import InputIdentity
from batchproc.store.jobs import JobParser
from batchproc.store.lines import digest_of
from batchproc.store.opening import open_store
from batchproc.tokens.weigh import Weigher

PARSER = JobParser(endpoint=None, model=None, strip_v1=True)
WEIGHER = Weigher(exact=False)
PATHS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/other")
READERS = [
    provider_for("openai", "https://api.openai.com/v1", "k" * 30, {}, {}),
    provider_for("anthropic", "https://api.anthropic.com", "k" * 30, {}, {}),
    provider_for("openai", "https://openrouter.ai/api/v1", "k" * 30, {}, {}),
]


def check(result: Result) -> Result:
    """One whole line of JSON, which says what it is, and survives the checkpoint."""
    assert result.line.endswith(b"\n")
    assert result.line.count(b"\n") == 1
    line = json.loads(result.line)
    assert line["index"] == result.index
    assert (line["error"] is None) == (result.code is None)
    seen = read_line(result.line[:-1])
    assert seen is not None
    assert (seen.index, seen.digest, seen.code) == (result.index, result.digest, result.code)
    assert min(result.usage.input_tokens, result.usage.output_tokens) >= 0
    again = parse_result(result_record(result)[:-1])
    assert again is not None
    assert (again.index, again.digest, again.line, again.code) == (
        result.index,
        result.digest,
        result.line,
        result.code,
    )
    return result


def feed_line(line: bytes) -> None:
    """A line of the input, up to what would be sent or the failed line."""
    data = line.strip(b" \t\r\n\v\f")
    if not data:
        return
    job = PARSER.parse(RawLine(3, 4, 5, data, digest_of(data)))
    if isinstance(job, BadJob):
        check(refused(job))
        return
    json.loads(job.body)
    tokens, _, _, _ = WEIGHER.weigh(job.path, job.model, job.body)
    assert tokens >= 0
    check(failed(job, fault_of(b"{}", 400), 1))


def fault_of(body: bytes, status: int) -> Fault:
    """A fault, as the first reader reads it."""
    outcome = READERS[0].read(PATHS[0], Reply(status, {}, body), 0.0)
    assert isinstance(outcome, Fault)
    return outcome


def feed_answer(body: bytes, status: int, headers: dict[str, str], index: int = 7) -> Result:
    """An answer by every reader and on every path; returns the last result."""
    key = digest_of(b"%d" % index)
    result: Result | None = None
    for reader in READERS:
        for path in PATHS:
            job = Job(index, index + 1, key, f"c{index}", path, "m", b"{}", None)
            reply = Reply(status, headers, body)
            outcome = reader.read(path, reply, 1_700_000_000.0)
            reader.rates(reply, 1_700_000_000.0)
            good = isinstance(outcome, Answer)
            result = check(answered(job, outcome, 1) if good else failed(job, outcome, 2))  # type: ignore[arg-type]
    assert result is not None
    return result


async def stored(folder: Path, results: list[Result]) -> list[bytes]:
    """Put them into a store from the last to the first, over a restart; returns the output's lines."""
    output, checkpoint = str(folder / "o"), str(folder / "c")
    for part in (results[1:], results[:1]):
        known = InputIdentity(1, 2, 3)
        opened = await open_store(output, checkpoint, identity={}, input_identity=known)
        running = asyncio.create_task(opened.store.run())
        for r in reversed(part):
            assert not opened.store.has(r.index)
            opened.store.put(r)
        opened.store.close(done=part is not results[1:])
        await running
    return (folder / "o").read_bytes().split(b"\n")[:-1]
