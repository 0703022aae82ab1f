"""How long an answer takes: a draw from a distribution, the same for the same request and attempt."""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchproc.errors import UsageError

_CLIP = 20.0  # a log-normal draw is at most this many medians
DEFAULT_LATENCY = "lognormal:0.15,0.5"


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of seconds: uniform from `low_s` to `high_s`, or log-normal when `sigma` is set."""

    low_s: float
    high_s: float
    sigma: float | None = None  # of the logarithm; the median is `low_s`

    @property
    def constant(self) -> bool:
        """Whether every draw is the same."""
        return self.low_s == self.high_s and not self.sigma

    def draw_s(self, u: float) -> float:
        """Seconds for a random `u`, from 0 up to and without 1."""
        if self.sigma is None:
            return self.low_s + (self.high_s - self.low_s) * u
        # Box and Muller's normal draw needs two numbers: the lower bits of `u` are the second.
        v = u * 2**20 % 1.0
        normal = math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(math.tau * v)
        return self.low_s * min(math.exp(self.sigma * normal), _CLIP)


def parse_latency(text: str) -> Latency:
    """Read `0.2`, `0.05-0.4` or `lognormal:MEDIAN,SIGMA`, all in seconds.

    Raises `UsageError` when it is none of these.
    """
    try:
        if text.startswith("lognormal:"):
            median, _, sigma = text.removeprefix("lognormal:").partition(",")
            latency = Latency(float(median), float(median), float(sigma or "0.5"))
        else:
            low, dash, high = text.partition("-")
            latency = Latency(float(low), float(high if dash else low))
    except ValueError:
        latency = Latency(-1.0, -1.0)
    fits = 0.0 <= latency.low_s <= latency.high_s < 86_400.0 and 0.0 <= (latency.sigma or 0.0) <= 5.0
    if not fits:
        raise UsageError(
            f"`{text}` is not a latency",
            "give seconds (`0.2`), a range (`0.05-0.4`) or `lognormal:MEDIAN,SIGMA` (`lognormal:0.15,0.5`)",
        )
    return latency
