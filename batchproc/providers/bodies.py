"""What is in the body of a 200: an answer to an endpoint, or not."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchproc import jsontext
from batchproc.model import Usage
from batchproc.providers.errorbody import ErrorBody, error_of
from batchproc.usage import usage_in


class _Top(Struct, gc=False):
    """The members of an answer that decide what it is; the rest is validated and passed over."""

    error: Any = None
    choices: Raw = Raw(b"")
    data: Raw = Raw(b"")
    status: Any = None
    id: Any = None
    usage: Raw = Raw(b"")
    type: Any = None
    content: Raw = Raw(b"")


_TOP = msgspec.json.Decoder(_Top)


class Read(Struct, frozen=True, gc=False):
    """What a 200 holds: why it is no answer (an empty string if it is one), its id and usage, an error inside it."""

    problem: str
    id: str | None = None
    usage: Usage = Usage()
    error: ErrorBody | None = None


def read_answer(path: str, body: bytes) -> Read:
    """Judge the body of a 2xx by what its endpoint has to answer with."""
    if not body.startswith(b"{") and (start := body.lstrip()[:1]) != b"{":
        if not start:
            return Read("the answer is empty")
        return Read("the answer is a web page, not JSON" if start == b"<" else "the answer is not a JSON object")
    try:
        top = jsontext.decode(body, _TOP)
    except jsontext.NotJson as e:
        return Read(f"the answer is not whole JSON: {e}")
    if top.error is not None:
        error = error_of(top.error)
        return Read(f"an error inside a 200: {error.message or error.code or 'unnamed'}", error=error)
    problem = _missing(path, top)
    usage = usage_in(bytes(top.usage))
    return Read(problem, top.id if isinstance(top.id, str) else None, usage)


def _missing(path: str, top: _Top) -> str:
    if path.endswith("/completions"):
        return "" if _is_full_list(top.choices) else "the answer has no `choices`"
    if path.endswith("/messages"):
        if top.type != "message":
            return f"the answer's type is {top.type!r}, not message"
        return "" if _LIST.match(memoryview(top.content)) else "the answer has no `content`"
    if path.endswith("/embeddings"):
        return "" if _is_full_list(top.data) else "the answer has no `data`"
    if path.endswith("/responses") and top.status not in ("completed", "incomplete"):
        return f"the response's status is {top.status!r}, not completed or incomplete"
    return ""


_LIST = re.compile(rb"[ \t\r\n]*\[")
_FULL_LIST = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*[^ \t\r\n\]]")


def _is_full_list(value: Raw) -> bool:
    text = memoryview(value)  # perhaps hundreds of megabytes
    return bytes(text[:2]) == b"[{" or _FULL_LIST.match(text) is not None
