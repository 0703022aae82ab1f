"""An error as a provider describes it, in any of the shapes that compatible servers use."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from batchproc import jsontext
from batchproc.providers.details import NOTHING, Details, details_in

_MOST = 1 << 20  # bytes of a body in which an error is looked for
_ANY = msgspec.json.Decoder(Any)


class ErrorBody(Struct, frozen=True):
    """An error as a provider describes it; empty strings where it does not."""

    code: str = ""
    type: str = ""
    message: str = ""
    param: str = ""
    request_id: str | None = None
    details: Details = NOTHING

    @property
    def number(self) -> int:
        """The HTTP status that the code repeats (`429`, `"429"`), else 0."""
        return int(self.code) if len(self.code) == 3 and self.code.isdecimal() else 0


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _words(value: Any) -> str:
    """A message; one that is a structure (Mistral's 422 lists fields) as its JSON."""
    if isinstance(value, dict | list) and value:
        try:
            return msgspec.json.encode(value)[:4000].decode("utf-8", "replace")
        except RecursionError:  # read with one level of the stack to spare
            return ""
    return _text(value)


def error_of(value: Any) -> ErrorBody:
    """The error in the value of an `error` member."""
    if not isinstance(value, dict):
        return ErrorBody(message=value if isinstance(value, str) else "")
    details = details_in(value)
    status = value.get("status")  # Google's name for the type; Azure repeats the HTTP status there
    return ErrorBody(
        details.code or _text(value.get("code")),
        _text(value.get("type")) or (status if isinstance(status, str) else ""),
        _words(value.get("message")),
        _text(value.get("param")),
        details=details,
    )


def read_error(body: bytes) -> ErrorBody:
    """The error in a body; an empty one where it holds none that can be read.

    Shapes: `{"error": {…}}` (OpenAI and most), `{"type": "error", "error": {…}}` (Anthropic), `[{"error": {…}}]`
    (Gemini's compatible endpoint), flat `{"object": "error", "message": …}` (Mistral), `{"detail": …}` (its gateway),
    `{"error": "text"}`.
    """
    try:
        value = jsontext.decode(body, _ANY) if len(body) <= _MOST else None
    except jsontext.NotJson:
        return ErrorBody()
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return ErrorBody()
    if value.get("error") is not None:
        error = error_of(value["error"])
    elif "message" in value:
        error = error_of(value)
    else:
        error = ErrorBody(message=_words(value.get("detail")))
    request_id = value.get("request_id")
    return msgspec.structs.replace(error, request_id=request_id) if isinstance(request_id, str) else error
