"""One line of the job file → a Job, or a BadJob that says what is wrong with it.

Only what batchproc itself needs is checked; the rest of a body is the provider's to judge. The body is cut
out of the line, never rebuilt, so that it goes out as it was written.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchproc import jsontext
from batchproc.model import BadJob, Job, RawLine
from batchproc.store.lines import MAX_LINE

_NONE = Raw(b"")
_NOT_SENT = frozenset({b"custom_id", b"metadata"})
# A plain absolute path. What is left out could point elsewhere (`//host`, `/\host`, `@host`, `..`, an
# encoded form of these) or carry something (query, fragment): the key goes nowhere but to the base URL.
_PATH = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,;=:-][A-Za-z0-9._~!$&'()*+,;=:-]*)+", re.ASCII)
_EMBEDDING = re.compile(r"embed", re.IGNORECASE)


class _Head(Struct, gc=False):
    """The members of a line, or of a body, that batchproc looks at."""

    custom_id: Any = None
    metadata: Raw = _NONE
    method: Any = None
    url: Any = None
    body: Raw = _NONE
    model: Any = None
    messages: Raw = _NONE
    prompt: Raw = _NONE
    input: Raw = _NONE
    stream: Any = None
    background: Any = None


_HEAD = msgspec.json.Decoder(_Head)


class _Bad(Exception):
    """The line cannot be sent; args are code and message."""


class JobParser:
    """Turns lines into jobs under the defaults of a run (`--endpoint`, `--model`).

    `strip_v1` is set when the base URL ends in `/v1`, which then is not doubled. `messages` is where a bare body with
    messages goes.
    """

    def __init__(
        self, *, endpoint: str | None, model: str | None, strip_v1: bool, messages: str = "/v1/chat/completions"
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._strip_v1 = strip_v1
        self._messages = messages
        self._paths: dict[str, str] = {}

    def parse(self, raw: RawLine) -> Job | BadJob:
        """Read one line; never raises for what a line can contain."""
        custom_id = f"request-{raw.index}"
        metadata: bytes | None = None
        try:
            if raw.too_long:
                raise _Bad("invalid_job", f"the line is longer than {MAX_LINE >> 20} MiB")
            head = _read(raw.data)
            if isinstance(head.custom_id, str):
                custom_id = head.custom_id
            elif head.custom_id is not None:
                raise _Bad("invalid_job", "`custom_id` is not a string")
            batch = bool(head.body) or head.url is not None
            line = raw.data
            if head.metadata:
                metadata = _exact(line, head.metadata, b"metadata")
                metadata = None if metadata == b"null" else metadata
            if batch:
                body, head = self._body_of(line, head)
            else:
                body = line
                if head.custom_id is not None or head.metadata or b'"custom_id"' in line:
                    body = jsontext.without_members(line, _NOT_SENT)
            path, model, body = self._check(head, body, batch)
        except _Bad as bad:
            code, message = bad.args
            return BadJob(raw.index, raw.line, raw.digest, custom_id, code, message, metadata)
        return Job(raw.index, raw.line, raw.digest, custom_id, path, model, body, metadata)

    def _body_of(self, line: bytes, head: _Head) -> tuple[bytes, _Head]:
        """The body of the Batch form as it stands in the line, and what is in it."""
        if head.method is not None and head.method != "POST":
            raise _Bad("invalid_job", "`method` is not `POST`")
        if head.url is not None and not isinstance(head.url, str):
            raise _Bad("invalid_job", "`url` is not a string")
        if not head.body:
            raise _Bad("invalid_job", "there is a `url` but no `body`")
        body = _exact(line, head.body, b"body")
        if not body.startswith(b"{"):
            raise _Bad("invalid_job", "`body` is not an object")
        inner = _read(body)
        inner.url = head.url
        return body, inner

    def _check(self, head: _Head, body: bytes, batch: bool) -> tuple[str, str, bytes]:
        model = head.model
        if model is None and self._model is not None:
            model = self._model
            value = msgspec.json.encode(model)
            if b'"model"' in body:  # a null one
                body = jsontext.without_members(body, frozenset({b"model"}))
            body = jsontext.with_member(body, b"model", value)
        if model is None:
            raise _Bad("invalid_job", "it names no model, and no `--model` is set")
        if not isinstance(model, str) or not model:
            raise _Bad("invalid_job", "`model` is not a string")
        for name, value in (("stream", head.stream), ("background", head.background)):
            if value is True:
                raise _Bad("invalid_job", f"`{name}: true` cannot be batched: a result is one JSON document")
        url = head.url if batch else None
        return (
            self._path(url if url is not None else self._endpoint or _infer(head, model, self._messages)),
            model,
            body,
        )

    def _path(self, url: str) -> str:
        path = self._paths.get(url)
        if path is None:
            path = self.path_of(url)
            if len(self._paths) < 1000:
                self._paths[url] = path
        return path

    def path_of(self, url: str) -> str:
        """The path below the base URL for a job's `url`; a bad job if it is no plain absolute path."""
        if not is_plain_path(url):
            raise _Bad(
                "invalid_job", f"`url` is not a plain absolute path such as `/v1/chat/completions`: {url[:80]!r}"
            )
        return url.removeprefix("/v1") if self._strip_v1 and url.startswith("/v1/") else url


def is_plain_path(url: str) -> bool:
    """Whether a `url` or `--endpoint` is a path that cannot leave the base URL."""
    return len(url) <= 2048 and ".." not in url and _PATH.fullmatch(url) is not None


def _read(data: bytes) -> _Head:
    if not data.startswith(b"{"):
        try:
            jsontext.decode(data, _ANY)
        except jsontext.NotJson as e:
            raise _Bad("invalid_json", f"not JSON: {e}") from None
        raise _Bad("invalid_job", "not a JSON object")
    try:
        return jsontext.decode(data, _HEAD)
    except jsontext.NotJson as e:
        raise _Bad("invalid_json", f"not JSON: {e}") from None


_ANY = msgspec.json.Decoder(Raw)


def _exact(line: bytes, value: Raw, name: bytes) -> bytes:
    """The value as it stands in the line; decoding may have replaced lone surrogate escapes in `value`."""
    data = bytes(value)
    if b"\\ufffd" in data and jsontext.plain_surrogates(line) != line:
        return jsontext.member(line, name) or data
    return data


def _infer(head: _Head, model: str, messages: str) -> str:
    if head.messages:
        return messages
    if head.prompt:
        return "/v1/completions"
    if head.input:
        return "/v1/embeddings" if _EMBEDDING.search(model) else "/v1/responses"
    raise _Bad("invalid_job", "no `messages`, `prompt` or `input`, and no `--endpoint` is set")
