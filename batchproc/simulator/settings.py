"""Every option of the simulated provider, validated as a whole."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from batchproc.errors import UsageError
from batchproc.simulator.charge import CHARGE_MODES
from batchproc.simulator.dialects import DIALECTS, load
from batchproc.simulator.faults import parse_faults
from batchproc.simulator.latency import DEFAULT_LATENCY, parse_latency
from batchproc.simulator.limits import LimitSpec
from batchproc.simulator.windows import WINDOW_KINDS

DEFAULT_PORT = 8089


def is_loopback(host: str) -> bool:
    """Whether a host is this machine talking to itself: 127.0.0.0/8, ::1 or `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """How the simulated provider behaves. Raises `UsageError` when a value makes no sense.

    Limits are per model, in requests or tokens per minute or day. Probabilities and distributions are kept
    as they are typed, so that settings survive the way to a child process as JSON.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT  # 0: any free one
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    window: str = ""  # none given: what is usual in the dialect; so for charge, slots and queue
    phase_s: float = 0.0  # fixed windows begin this many seconds after the start of the server
    charge: str = ""
    charge_refused: bool = True
    latency: str = DEFAULT_LATENCY  # seconds
    faults: tuple[str, ...] = ()  # `KIND=PROBABILITY`
    seed: int = 0
    headers: bool = True  # x-ratelimit-…
    retry_after: bool = True
    key: str | None = None  # the only key that is let in; None lets in all
    models: tuple[str, ...] = ()  # the models that exist; none named: all
    context_length: int | None = None  # tokens a prompt may have
    slots: int | None = None  # requests worked on at once, None: any number
    queue: int | None = None  # requests that wait for a slot, `slots.ENDLESS` for any number; more are refused
    quota_after: int | None = None  # admitted requests until the money is gone
    ledger: str | None = None  # a file to append one JSON line per request to
    pretty: bool = False  # bodies indented, as the real API sends them
    #: Other limits, for single models: `{"gpt-4o": {"rpm": 60}}`; `gpt-4*` means all that begin so.
    by_model: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    dialect: str = "openai"
    itpm: int | None = None  # input tokens per minute
    otpm: int | None = None  # output tokens per minute

    def __post_init__(self) -> None:
        if not is_loopback(self.host):
            raise UsageError(
                f"the simulated provider serves loopback addresses only, not `{self.host}`",
                "use `--host 127.0.0.1`",
            )
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"`{self.port}` is not a port", "use 0 to 65535; 0 takes any free one")
        if self.dialect not in DIALECTS:
            raise UsageError(f"`{self.dialect}` is not a dialect", f"use {', '.join(DIALECTS)}")
        self._fill_in()
        for name in ("rpm", "tpm", "rpd", "tpd", "itpm", "otpm", "context_length", "slots"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"`{name}` must be at least 1, not {value}", "leave it out for no limit")
        if self.queue is not None and self.queue < 0:
            raise UsageError(f"`queue` must not be negative, as {self.queue} is", "use 0 for no queue")
        if self.quota_after is not None and self.quota_after < 0:
            raise UsageError(f"`quota_after` must not be negative, as {self.quota_after} is", "use 0 for none")
        if self.window not in WINDOW_KINDS:
            raise UsageError(f"`{self.window}` is not a kind of window", f"use {', '.join(WINDOW_KINDS)}")
        if self.charge not in CHARGE_MODES:
            raise UsageError(f"`{self.charge}` is not a way to charge", f"use {', '.join(CHARGE_MODES)}")
        parse_latency(self.latency)
        parse_faults(self.faults)

    def _fill_in(self) -> None:
        """Put what is usual in the dialect where nothing is given."""
        usual = load(self.dialect)
        for name in ("window", "charge", "slots", "queue"):
            if getattr(self, name) in ("", None):
                object.__setattr__(self, name, getattr(usual, name))  # the only way while it is made

    @property
    def limit_spec(self) -> LimitSpec:
        """The limits of each model."""
        return LimitSpec(
            self.rpm,
            self.tpm,
            self.rpd,
            self.tpd,
            self.window,
            self.phase_s,
            self.charge_refused,
            self.itpm,
            self.otpm,
        )

    def limit_spec_of(self, model: str) -> LimitSpec:
        """The limits of one model: over those of each, what the names in `by_model` say, the most exact last."""
        names = [n for n in self.by_model if n == model or (n[-1:] == "*" and model.startswith(n[:-1]))]
        given: dict[str, int] = {}
        for name in sorted(names, key=lambda n: (n[-1:] != "*", len(n))):
            given.update(self.by_model[name])
        return replace(self.limit_spec, **given)  # type: ignore[arg-type] # its limits are integers
