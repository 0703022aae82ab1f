"""What is in an answer's body: an error in any of the compatible spellings, or an answer to an endpoint."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchproc import jsontext
from batchproc.model import Usage
from batchproc.usage import usage_in


class ErrorBody(Struct, frozen=True):
    """An error as a provider describes it; empty strings where it does not."""

    code: str = ""
    type: str = ""
    message: str = ""
    param: str = ""


class _Top(Struct, gc=False):
    """The members of an answer that decide what it is; the rest is validated and passed over."""

    error: Any = None
    choices: Raw = Raw(b"")
    data: Raw = Raw(b"")
    status: Any = None
    id: Any = None
    usage: Raw = Raw(b"")
    # flat errors, as Mistral spells them
    object: Any = None
    message: Any = None
    type: Any = None
    code: Any = None
    param: Any = None


_TOP = msgspec.json.Decoder(_Top)
_ANY = msgspec.json.Decoder(Any)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _error_of(value: Any) -> ErrorBody:
    if isinstance(value, dict):
        return ErrorBody(
            _text(value.get("code")), _text(value.get("type")), _text(value.get("message")), _text(value.get("param"))
        )
    return ErrorBody(message=value if isinstance(value, str) else "")


def read_error(body: bytes) -> ErrorBody:
    """The error in a body; an empty one where it holds none that can be read.

    Shapes: `{"error": {…}}` (OpenAI and most), `[{"error": {…}}]` (Gemini's compatible endpoint), flat
    `{"object": "error", "message": …}` (Mistral), `{"error": "text"}`.
    """
    try:
        value = jsontext.decode(body, _ANY) if len(body) <= 1 << 20 else None
    except jsontext.NotJson:
        return ErrorBody()
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return ErrorBody()
    if value.get("error") is not None:
        return _error_of(value["error"])
    return _error_of(value) if "message" in value else ErrorBody()


class Read(Struct, frozen=True, gc=False):
    """What a 200 holds: why it is no answer (an empty string if it is one), its id and usage, an error inside it."""

    problem: str
    id: str | None = None
    usage: Usage = Usage()
    error: ErrorBody | None = None


def read_answer(path: str, body: bytes) -> Read:
    """Judge the body of a 2xx by what its endpoint has to answer with."""
    if not body.strip():
        return Read("the answer is empty")
    start = body.lstrip()[:1]
    if start != b"{":
        return Read("the answer is a web page, not JSON" if start == b"<" else "the answer is not a JSON object")
    try:
        top = jsontext.decode(body, _TOP)
    except jsontext.NotJson as e:
        return Read(f"the answer is not whole JSON: {e}")
    if top.error is not None:
        error = _error_of(top.error)
        return Read(f"an error inside a 200: {error.message or error.code or 'unnamed'}", error=error)
    problem = _missing(path, top)
    usage = usage_in(bytes(top.usage))
    return Read(problem, top.id if isinstance(top.id, str) else None, usage)


def _missing(path: str, top: _Top) -> str:
    if path.endswith("/completions"):
        return "" if _is_full_list(top.choices) else "the answer has no `choices`"
    if path.endswith("/embeddings"):
        return "" if _is_full_list(top.data) else "the answer has no `data`"
    if path.endswith("/responses") and top.status not in ("completed", "incomplete"):
        return f"the response's status is {top.status!r}, not completed or incomplete"
    return ""


_FULL_LIST = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*[^ \t\r\n\]]")


def _is_full_list(value: Raw) -> bool:
    return _FULL_LIST.match(memoryview(value)) is not None
