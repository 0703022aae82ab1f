"""What `run_jobs` yields: how one job ended."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from batchproc.api.text import text_of
from batchproc.model import Usage


class Error(Struct, frozen=True):
    """Why a job failed. `code` is the provider's own where it gave one, else one of the README's table."""

    code: str
    message: str


class Result:
    """How one job ended: answered, or failed (`error` is set). The answer is read only when it is looked at.

    `index` counts the jobs as they were given, from 0. `line` is exactly the job's line of the output that
    `batchproc run` would write, with the final newline. `usage` has `input_tokens`, `output_tokens`, `cached_tokens`
    (among the input's) and `total_tokens`, as the provider reported them; zeros where it said nothing.
    """

    __slots__ = ("_failed", "_read", "index", "line", "usage")

    def __init__(self, index: int, line: bytes, usage: Usage, *, failed: bool) -> None:
        self.index = index
        self.line = line
        self.usage = usage
        self._failed = failed
        self._read: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether the job has an answer."""
        return not self._failed

    @property
    def error(self) -> Error | None:
        """Why the job failed; None for an answer."""
        if not self._failed:
            return None
        said = self._document["error"]
        return Error(said["code"], said["message"])

    @property
    def custom_id(self) -> str:
        """The job's own `custom_id`, or `request-INDEX`."""
        value: str = self._document["custom_id"]
        return value

    @property
    def attempts(self) -> int:
        """How many requests were sent for the job; with `output`, over all runs."""
        value: int = self._document["attempts"]
        return value

    @property
    def metadata(self) -> Any:
        """The job's `metadata`, None where it has none."""
        return self._document.get("metadata")

    @property
    def status_code(self) -> int | None:
        """The HTTP status of the last answer; None where there was none."""
        response = self._document["response"]
        return None if response is None else int(response["status_code"])

    @property
    def body(self) -> Any:
        """The last answer as Python data, also that of a failed job; None where there was none."""
        response = self._document["response"]
        return None if response is None else response["body"]

    @property
    def text(self) -> str | None:
        """What the model said: the first choice of a chat or a completion, the text of a response or a message.

        None where the job failed, or the answer has no text (an embedding, a call of a tool).
        """
        return None if self._failed else text_of(self.body)

    @property
    def _document(self) -> dict[str, Any]:
        if self._read is None:
            self._read = json.loads(self.line)
        return self._read

    def __repr__(self) -> str:
        error = self.error
        how = "ok" if error is None else f"error={error.code!r}"
        return f"<Result {self.index} {self.custom_id!r} {how}>"
