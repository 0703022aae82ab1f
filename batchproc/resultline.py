"""The output line of a job: how it is written, and what can be read back from it.

    {"id": "batch_req_…", "custom_id": "…", "index": k, "response": …, "error": …, "attempts": n, "metadata": …}

A superset of the OpenAI Batch API's output line. The id is made of the digest of the job's input line and
its index, so it is the same after a resume, and a written line tells which input line it answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from batchproc import jsontext
from batchproc.model import NO_USAGE, Answer, BadJob, Fault, Job, Result, Usage
from batchproc.usage import usage_in

_encode = msgspec.json.Encoder().encode
_MOST_TEXT = 64_000  # bytes of an answer that is not JSON kept in a failed line


def request_id(index: int, digest: bytes) -> str:
    """The `id` of a job's output line."""
    return f"batch_req_{digest.hex()}{index:08x}"


def _line(job: Job | BadJob, response: bytes, error: bytes, attempts: int) -> bytes:
    tail = b', "metadata": ' + job.metadata if job.metadata is not None else b""
    return b'{"id": "%s", "custom_id": %s, "index": %d, "response": %s, "error": %s, "attempts": %d%s}\n' % (
        request_id(job.index, job.digest).encode(),
        _encode(job.custom_id),
        job.index,
        response,
        error,
        attempts,
        tail,
    )


def _response(status: int, request_id: str | None, body: bytes) -> bytes:
    return b'{"status_code": %d, "request_id": %s, "body": %s}' % (status, _encode(request_id), body)


def _error(code: str, message: str) -> bytes:
    return b'{"code": %s, "message": %s}' % (_encode(code), _encode(message))


def answered(job: Job, answer: Answer, attempts: int) -> Result:
    """The result of a job that succeeded after so many requests."""
    response = _response(answer.status, answer.request_id, answer.body)
    return Result(
        job.index, job.digest, _line(job, response, b"null", attempts), None, job.line, "", answer.usage, job.model
    )


def failed(job: Job, fault: Fault, attempts: int, *, code: str | None = None, message: str | None = None) -> Result:
    """The result of a job that is given up; `code` and `message` replace the fault's own where given."""
    code, message = code or fault.code, message or fault.message
    response = b"null"
    if fault.status:
        response = _response(fault.status, fault.request_id, _body(fault.body))
    line = _line(job, response, _error(code, message), attempts)
    return Result(job.index, job.digest, line, code, job.line, message)


def unsent(job: Job | BadJob, code: str, message: str, attempts: int = 0) -> Result:
    """The result of a job that fails without (another) request."""
    line = _line(job, b"null", _error(code, message), attempts)
    return Result(job.index, job.digest, line, code, job.line, message)


def refused(bad: BadJob, attempts: int = 0) -> Result:
    """The result of a line that cannot be sent (any more); its message names the physical line."""
    result = unsent(bad, bad.code, f"line {bad.line}: {bad.message}", attempts)
    return structs.replace(result, message=bad.message)


_ANY = msgspec.json.Decoder(Raw)


def _body(body: bytes) -> bytes:
    """A failed answer's body: itself where it is JSON, else a string of its first 64 kB."""
    if len(body) <= 1 << 20:
        try:
            jsontext.decode(body, _ANY)
        except jsontext.NotJson:
            pass
        else:
            return jsontext.one_line(body)
    return _encode(body[:_MOST_TEXT].decode("utf-8", "replace"))


class Seen(Struct, frozen=True, gc=False):
    """What a written line says about its job. `digest` is None for an id that batchproc did not make."""

    index: int
    digest: bytes | None
    code: str | None
    message: str
    usage: Usage
    model: str = ""  # as the server names it


class _Body(Struct, gc=False):
    usage: Raw = Raw(b"")
    model: Any = None


class _Response(Struct, gc=False):
    body: Raw = Raw(b"null")


class _Error(Struct, gc=False):
    code: str = ""
    message: str = ""


class _Written(Struct, gc=False):
    id: str
    custom_id: str
    index: int
    response: _Response | None
    error: _Error | None


_WRITTEN = msgspec.json.Decoder(_Written)
_BODY = msgspec.json.Decoder(_Body)
_ID = re.compile(r"batch_req_([0-9a-f]{16})([0-9a-f]{8,})")
_PREFIX = re.compile(rb'\{"id": "batch_req_([0-9a-f]{16})')


def digest_in(line: bytes) -> bytes | None:
    """The digest of the input line that an output line answers, without reading the rest of it."""
    m = _PREFIX.match(line)
    return bytes.fromhex(m[1].decode()) if m else None


_OPENING = re.compile(rb'\{"id": "[^"]*", "custom_id": ("(?:[^"\\]|\\.)*"), "index": (\d+), ')
_ANSWERED = re.compile(rb', "error": null, "attempts": \d+\}\Z')  # so ends an answer's line that has no metadata
_REFUSED = re.compile(
    rb'"response": null, "error": \{"code": "(?:invalid_json|invalid_job|not_run)", "message": "line (\d+): '
)


def is_answer(line: bytes, index: int, digest: bytes) -> bool:
    """Whether a line can be seen at a glance to answer this job; where not, `read_line` tells."""
    opening = _OPENING.match(line)
    return (
        opening is not None
        and int(opening[2]) == index
        and digest_in(line) == digest
        and _ANSWERED.search(line, len(line) - 48) is not None
    )


def renumbered(line: bytes, index: int, digest: bytes, input_line: int, custom_id: Callable[[], str]) -> bytes:
    """A written line as it reads where its job has another index, and stands on another line of the input.

    `custom_id` gives the job's name at its new index; it is asked only where the old one may be made of the old index.
    What `refused` says of a physical line is mended; everything else stays byte for byte. Raises ValueError for what
    batchproc did not write.
    """
    opening = _OPENING.match(line)
    if opening is None:
        raise ValueError("not an output line")
    name, rest = opening[1], line[opening.end() :]
    if name == b'"request-%s"' % opening[2]:
        name = _encode(custom_id())
    refusal = _REFUSED.match(rest)
    if refusal is not None:
        rest = b"%s%d%s" % (rest[: refusal.start(1)], input_line, rest[refusal.end(1) :])
    head = b'{"id": "%s", "custom_id": %s, "index": %d, '
    return head % (request_id(index, digest).encode(), name, index) + rest


def read_line(line: bytes) -> Seen | None:
    """Read a written line back; None if it is not a whole, valid output line."""
    try:
        w = jsontext.decode(line, _WRITTEN)
    except jsontext.NotJson:
        return None
    m = _ID.fullmatch(w.id)
    digest = bytes.fromhex(m[1]) if m else None
    if m and int(m[2], 16) != w.index:
        return None
    if w.error is not None:
        return Seen(w.index, digest, w.error.code, w.error.message, NO_USAGE)
    return Seen(w.index, digest, None, "", *_usage(w.response))


def _usage(response: _Response | None) -> tuple[Usage, str]:
    """Usage and model of an answer."""
    if response is None:
        return NO_USAGE, ""
    try:
        body = jsontext.decode(bytes(response.body), _BODY)
    except jsontext.NotJson:
        return NO_USAGE, ""
    return usage_in(bytes(body.usage)), body.model if isinstance(body.model, str) else ""
