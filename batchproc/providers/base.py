"""What every provider needs: where requests go, with which headers, and what an answer means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from batchproc.jsontext import one_line
from batchproc.model import Answer, Fault, FaultKind, RateSeen, Reply, Trouble
from batchproc.providers.bodies import read_answer
from batchproc.providers.errorbody import read_error
from batchproc.providers.headers import rates_in
from batchproc.providers.presets import Preset
from batchproc.providers.refusals import refuses
from batchproc.providers.triage import request_id, triage

_TROUBLES = {
    Trouble.CONNECT: (FaultKind.CONNECT, "connection_error"),
    Trouble.BROKEN: (FaultKind.BROKEN, "connection_error"),
    Trouble.TIMEOUT: (FaultKind.TIMEOUT, "request_timeout"),
    Trouble.TOO_LARGE: (FaultKind.REJECTED, "response_too_large"),
}


class Provider(Protocol):
    """Translates between one API and batchproc."""

    name: str

    @property
    def settles(self) -> bool:
        """Whether the provider corrects what it charged against a limit to the tokens really used."""
        ...

    def url(self, path: str, model: str) -> str:
        """The whole URL for a job's path and model."""
        ...

    def headers(self) -> dict[str, str]:
        """Headers of every request, the key among them: never to be printed."""
        ...

    def read(self, path: str, reply: Reply, wall: float) -> Answer | Fault:
        """What a reply means. Pure; `wall` is Unix time, for dates in headers."""
        ...

    def rates(self, reply: Reply, wall: float) -> tuple[RateSeen, ...]:
        """What the headers of a reply say of the limits."""
        ...


class Api:
    """What the APIs have in common; one of them adds its URLs and the header of its key.

    `environment` may hold what an API wants beside its key; `preset` is what is particular to the provider that
    speaks it.
    """

    name = ""
    standard: Preset  # of the API's own provider

    def __init__(
        self,
        base_url: str,
        key: str | None,
        extra: Mapping[str, str],
        *,
        environment: Mapping[str, str] | None = None,
        preset: Preset | None = None,
    ) -> None:
        self._preset = preset or self.standard
        self._environment = environment or {}
        self._base = base_url.rstrip("/")
        self._key = key
        self._extra = dict(extra)

    @property
    def settles(self) -> bool:
        """Whether the provider corrects what it charged against a limit to the tokens really used."""
        return self._preset.settles

    def url(self, path: str, model: str) -> str:
        """The base URL and the job's path."""
        return self._base + path

    def headers(self) -> dict[str, str]:
        """Content type, key, and what the user adds, which goes before ours."""
        ours = {"Content-Type": "application/json", "Accept": "application/json"} | self._credentials()
        theirs = {name.lower() for name in self._extra}
        return {name: value for name, value in ours.items() if name.lower() not in theirs} | self._extra

    def _credentials(self) -> dict[str, str]:
        raise NotImplementedError

    def read(self, path: str, reply: Reply, wall: float) -> Answer | Fault:
        """What a reply means."""
        if reply.trouble is not None:
            kind, code = _TROUBLES[reply.trouble]
            return Fault(kind, code, reply.detail)
        if not 200 <= reply.status < 300:
            return triage(reply, read_error(reply.body), wall, self._preset)
        read = read_answer(path, reply.body)
        if not read.problem:
            return Answer(reply.status, request_id(reply, self._preset) or read.id, one_line(reply.body), read.usage)
        error = read.error
        if error is not None:
            if self._preset.errors_in_200:  # OpenRouter: what its own provider answered comes in a 200
                status = error.number if error.number >= 400 else 502
                return triage(reply, error, wall, self._preset, status)
            if refuses(reply.status, error):
                return triage(reply, error, wall, self._preset)
        return Fault(
            FaultKind.INVALID,
            "invalid_response",
            read.problem,
            status=reply.status,
            request_id=request_id(reply, self._preset) or read.id,
            body=reply.body,
        )

    def rates(self, reply: Reply, wall: float) -> tuple[RateSeen, ...]:
        """What the headers of a reply say of the limits."""
        return rates_in(reply.headers, wall, self._preset.rates)
