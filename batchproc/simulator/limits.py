"""The limits of one model: requests and tokens, per minute and per day; all are charged, or none.

"You may hit any of the options depending on what occurs first" (OpenAI, rate limits guide): whichever has no
room refuses. Refused requests count as requests of the minute: "unsuccessful requests contribute to your
per-minute limit" (same page).

What a limit counts is its meter: requests, tokens, or input and output tokens apart. Windows that are charged
by what an answer really used are settled when it ends; a request is let in while they have room for one token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchproc.simulator.windows import DAY_S, MINUTE_S, Window, make_window

REQUESTS, TOKENS, INPUT, OUTPUT = range(4)

#: What is asked of each meter, or charged to it.
Amounts = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One limit: so many of what its meter counts per `window_s` seconds, counted in windows of `kind`."""

    name: str  # "rpm", "tpm", "rpd", "tpd", "itpm", "otpm", or a dialect's own
    meter: int
    limit: int
    window_s: float
    kind: str
    phase_s: float = 0.0  # when fixed windows begin, in seconds on the clock that `now_s` is read from


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
    itpm: int | None = None  # input tokens per minute
    otpm: int | None = None  # output tokens per minute

    def dimensions(self) -> list[Dimension]:
        """The limits that are set."""
        rows = (
            ("rpm", REQUESTS, self.rpm, MINUTE_S),
            ("tpm", TOKENS, self.tpm, MINUTE_S),
            ("rpd", REQUESTS, self.rpd, DAY_S),
            ("tpd", TOKENS, self.tpd, DAY_S),
            ("itpm", INPUT, self.itpm, MINUTE_S),
            ("otpm", OUTPUT, self.otpm, MINUTE_S),
        )
        return [
            Dimension(name, meter, limit, window_s, self.window, self.phase_s)
            for name, meter, limit, window_s in rows
            if limit is not None
        ]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not admitted, in the numbers of the provider's message.

    `wait_s` is how long to wait until it would be, nothing else being sent; infinity when it never can be
    (`too_large`: it asks for more than a whole window has).
    """

    dimension: str  # the name of a `Dimension`
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

    __slots__ = ("_charge_refused", "_metered", "shown_requests", "shown_tokens", "windows")

    def __init__(self, spec: LimitSpec, dimensions: Sequence[Dimension] | None = None) -> None:
        self._charge_refused = spec.charge_refused
        #: By the name of the dimension.
        self.windows: dict[str, Window] = {}
        self._metered: list[tuple[str, int, Window]] = []
        for d in spec.dimensions() if dimensions is None else dimensions:
            window = make_window(d.kind, d.limit, d.window_s, requests=d.meter == REQUESTS, phase_s=d.phase_s)
            self.windows[d.name] = window
            self._metered.append((d.name, d.meter, window))
        #: The windows the x-ratelimit headers show: of minute and day the one with the lower rate
        #: (recorded: 10,000 requests a day instead of 500 a minute).
        self.shown_requests = self._tighter("rpm", "rpd")
        self.shown_tokens = self._tighter("tpm", "tpd")

    def _tighter(self, minute: str, day: str) -> Window | None:
        windows = [w for w in (self.windows.get(minute), self.windows.get(day)) if w is not None]
        return min(windows, key=lambda w: w.limit / w.window_s, default=None)

    def admit(self, now_s: float, tokens: int, requests: int = 1) -> Refusal | None:
        """Charge `requests` and `tokens` to every window and return None, or charge neither and say why."""
        amounts = (requests, tokens, tokens, 0)
        return self.admit_amounts(now_s, amounts, amounts)

    def admit_amounts(self, now_s: float, needed: Amounts, taken: Amounts) -> Refusal | None:
        """If every window has room for what is needed of its meter, charge what is taken and return None.

        Else charge nothing and say why; of several windows without room the one with the longest wait is named.
        """
        for index, (_, meter, window) in enumerate(self._metered):
            if window.wait_s(now_s, needed[meter]) > 0:
                return self._refuse(now_s, needed, index)
        for _, meter, window in self._metered:
            window.take(now_s, taken[meter])
        return None

    def _refuse(self, now_s: float, needed: Amounts, first: int) -> Refusal:
        """Charge the refusal and put it into numbers; `first` is the first window without room."""
        short = [self._metered[first]]
        for row in self._metered[first + 1 :]:
            if row[2].wait_s(now_s, needed[row[1]]) > 0:
                short.append(row)  # noqa: PERF401 - a comprehension costs a frame, and most often there is none
        if self._charge_refused and "rpm" in self.windows:
            self.windows["rpm"].charge_refused(now_s, needed[REQUESTS])
        # Waits are read after that charge: who waits as told is let in.
        refusals = [self._refusal(name, window, now_s, needed[meter]) for name, meter, window in short]
        return refusals[0] if len(refusals) == 1 else max(refusals, key=lambda refusal: refusal.wait_s)

    def settle(self, now_s: float, taken_s: float, amounts: Amounts) -> None:
        """Charge these amounts as well (give back where negative) for a request admitted at `taken_s`."""
        for _, meter, window in self._metered:
            if amounts[meter]:
                window.settle(now_s, taken_s, amounts[meter])

    def _refusal(self, name: str, window: Window, now_s: float, requested: int) -> Refusal:
        return Refusal(
            dimension=name,
            limit=window.limit,
            used=window.limit - window.remaining(now_s),
            requested=requested,
            wait_s=window.wait_s(now_s, requested),
        )

    def remaining(self, now_s: float) -> dict[str, int]:
        """What each window would admit at this instant, by dimension."""
        return {name: window.remaining(now_s) for name, window in self.windows.items()}

    def reset_s(self, now_s: float) -> dict[str, float]:
        """Seconds until each window is as if nothing had been sent, by dimension."""
        return {name: window.reset_s(now_s) for name, window in self.windows.items()}
