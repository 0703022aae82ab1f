"""The limits of one model: requests and tokens, per minute and per day; all are charged, or none.

"You may hit any of the options depending on what occurs first" (OpenAI, rate limits guide): whichever has no
room refuses. Refused requests count as requests of the minute: "unsuccessful requests contribute to your
per-minute limit" (same page).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchproc.simulator.windows import DAY_S, MINUTE_S, Window, make_window


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """Limits of every model: requests and tokens per minute and per day; None is no limit."""

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    window: str = "bucket"
    phase_s: float = 0.0  # when fixed windows begin, in seconds on the clock that `now_s` is read from
    charge_refused: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not admitted, in the numbers of the provider's message.

    `wait_s` is how long to wait until it would be, nothing else being sent; infinity when it never can be
    (`too_large`: it asks for more than a whole window has).
    """

    dimension: str  # "rpm", "tpm", "rpd" or "tpd"
    limit: int
    used: int
    requested: int
    wait_s: float

    @property
    def too_large(self) -> bool:
        """Whether no amount of waiting helps."""
        return math.isinf(self.wait_s)


class ModelLimits:
    """The windows of one model. `now_s` is any clock that does not go backwards."""

    __slots__ = ("_charge_refused", "_windows", "shown_requests", "shown_tokens")

    def __init__(self, spec: LimitSpec) -> None:
        self._charge_refused = spec.charge_refused
        self._windows: dict[str, Window] = {}
        for name, limit, window_s in (
            ("rpm", spec.rpm, MINUTE_S),
            ("tpm", spec.tpm, MINUTE_S),
            ("rpd", spec.rpd, DAY_S),
            ("tpd", spec.tpd, DAY_S),
        ):
            if limit is not None:
                self._windows[name] = make_window(
                    spec.window, limit, window_s, requests=name[0] == "r", phase_s=spec.phase_s
                )
        #: The windows the x-ratelimit headers show: of minute and day the one with the lower rate
        #: (recorded: 10,000 requests a day instead of 500 a minute).
        self.shown_requests = self._tighter("rpm", "rpd")
        self.shown_tokens = self._tighter("tpm", "tpd")

    def _tighter(self, minute: str, day: str) -> Window | None:
        windows = [w for w in (self._windows.get(minute), self._windows.get(day)) if w is not None]
        return min(windows, key=lambda w: w.limit / w.window_s, default=None)

    def admit(self, now_s: float, tokens: int, requests: int = 1) -> Refusal | None:
        """Charge `requests` and `tokens` to every window and return None, or charge neither and say why.

        Of several windows without room the one with the longest wait is named.
        """
        short = []
        for name, window in self._windows.items():
            if window.wait_s(now_s, requests if name[0] == "r" else tokens) > 0:
                short.append(name)
        if not short:
            for name, window in self._windows.items():
                window.take(now_s, requests if name[0] == "r" else tokens)
            return None
        if self._charge_refused and "rpm" in self._windows:
            self._windows["rpm"].charge_refused(now_s, requests)
        # Waits are read after that charge: who waits as told is let in.
        refusals = [self._refusal(name, now_s, requests if name[0] == "r" else tokens) for name in short]
        return max(refusals, key=lambda refusal: refusal.wait_s)

    def _refusal(self, name: str, now_s: float, requested: int) -> Refusal:
        window = self._windows[name]
        return Refusal(
            dimension=name,
            limit=window.limit,
            used=window.limit - window.remaining(now_s),
            requested=requested,
            wait_s=window.wait_s(now_s, requested),
        )

    def remaining(self, now_s: float) -> dict[str, int]:
        """What each window would admit at this instant, by dimension."""
        return {name: window.remaining(now_s) for name, window in self._windows.items()}

    def reset_s(self, now_s: float) -> dict[str, float]:
        """Seconds until each window is as if nothing had been sent, by dimension."""
        return {name: window.reset_s(now_s) for name, window in self._windows.items()}
