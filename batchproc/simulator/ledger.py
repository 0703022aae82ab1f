"""One JSON line per request received, for tests to judge by."""

from __future__ import annotations

import asyncio
import hashlib
import time
from types import TracebackType

from msgspec import json

from batchproc.errors import UsageError
from batchproc.simulator.decision import Decision

_DELAY_S = 0.01  # lines of this long are written together


class Ledger:
    """Appends to a file what was decided about each request, at most 10 ms after the decision.

    The fields of a line: `time` (seconds since 1970), `path`, `sha` (SHA-256 of the body, hex), `marker` (the
    request's `x-marker` header), `model`, `status`, `admitted`, `charged` (tokens), `usage` (tokens a real
    answer reports, else 0), `refused`, `fault`, `attempt` (from 0) and `request_id`.
    Raises `UsageError` when the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        try:
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - lives as long as the server
        except OSError as bad:
            raise UsageError(
                f"cannot write the ledger `{path}`: {bad.strerror}", "name a file you may write to with `--ledger`"
            ) from bad
        self._lines: list[bytes] = []
        self._due: asyncio.TimerHandle | None = None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, decision: Decision, body: bytes, marker: str | None) -> None:
        """Note a decision; needs a running loop."""
        line = {
            "time": round(time.time(), 6),
            "path": decision.path,
            "sha": hashlib.sha256(body).hexdigest(),
            "marker": marker,
            "model": decision.model,
            "status": decision.status,
            "admitted": decision.admitted,
            "charged": decision.charged,
            "usage": decision.usage,
            "refused": decision.refused,
            "fault": decision.fault,
            "attempt": decision.attempt,
            "request_id": decision.headers.get("x-request-id"),
        }
        self._lines.append(json.encode(line))
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_DELAY_S, self.flush)

    def flush(self) -> None:
        """Write what is noted."""
        self._due = None
        if self._lines:
            self._file.write(b"\n".join(self._lines) + b"\n")
            self._lines.clear()

    def close(self) -> None:
        """Write what is noted and close the file."""
        if self._due is not None:
            self._due.cancel()
        self.flush()
        self._file.close()
