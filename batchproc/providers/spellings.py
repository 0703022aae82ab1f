"""The names of rate-limit headers: what each provider calls limit, remainder and reset. Data only."""

from __future__ import annotations

from msgspec import Struct

_MINUTE_S, _DAY_S = 60.0, 86_400.0


class Spelling(Struct, frozen=True):
    """The headers of one limit, in lower case. `window_s` is its window where the name or the provider tells."""

    limit: str
    remaining: str
    reset: str
    what: str  # "requests", "tokens", "input_tokens" or "output_tokens"
    window_s: float | None = None
    window: str = ""  # a header that gives the window in seconds


class Rates(Struct, frozen=True):
    """How one provider spells its limits; `rest` is looked at where `first` has not both requests and tokens."""

    first: tuple[Spelling, ...]
    rest: tuple[Spelling, ...] = ()
    plain_unit_s: float = 1.0  # of a reset without a unit
    standard: bool = True  # whether the `RateLimit` headers of the IETF's draft may be there instead
    daily_if_long: bool = False  # a reset more than a minute away is that of a day


def _x(suffix: str, what: str, window_s: float | None = None, window: str = "") -> Spelling:
    limit, remaining, reset = (f"x-ratelimit-{part}-{suffix}" for part in ("limit", "remaining", "reset"))
    return Spelling(limit, remaining, reset, what, window_s, window)


def _anthropic(what: str) -> Spelling:
    prefix = f"anthropic-ratelimit-{what.replace('_', '-')}-"
    return Spelling(prefix + "limit", prefix + "remaining", prefix + "reset", what, _MINUTE_S)


_PLAIN = (_x("requests", "requests"), _x("tokens", "tokens"))
# Where a project has a limit of its own (OpenAI); the others of servers that put the window into the name.
_RARE = (
    _x("project-tokens", "tokens"),
    _x("project-requests", "requests"),
    _x("req-10-second", "requests", 10.0),
    _x("req-minute", "requests", _MINUTE_S),
    _x("requests-day", "requests", _DAY_S),
    _x("requests-minute", "requests", _MINUTE_S),
    _x("tokens-minute", "tokens", _MINUTE_S),
    _x("tokens-day", "tokens", _DAY_S),
)
COMMON = Rates(_PLAIN, _RARE)

# Recorded traffic: resets are milliseconds until full (7 for 14 of 120,000 tokens), and the window is named.
AZURE = Rates(
    (
        _x("requests", "requests", None, "x-ratelimit-renewalperiod-requests"),
        _x("tokens", "tokens", None, "x-ratelimit-renewalperiod-tokens"),
    ),
    plain_unit_s=0.001,
    standard=False,
)

# Anthropic's documentation of its rate limits: resets are RFC 3339, `tokens` is the tightest limit in force.
ANTHROPIC = Rates(tuple(_anthropic(w) for w in ("requests", "input_tokens", "output_tokens", "tokens")), standard=False)

# Groq's documentation: requests are per day, tokens per minute.
GROQ = Rates((_x("requests", "requests", _DAY_S), _x("tokens", "tokens", _MINUTE_S)), standard=False)

# Recorded traffic: requests of ten seconds, tokens of a minute; no resets.
MISTRAL = Rates((_x("req-10-second", "requests", 10.0), _x("tokens-minute", "tokens", _MINUTE_S)), _RARE)

_UNNAMED = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
# Together's documentation: limits are measured by the second.
TOGETHER = Rates(
    (
        Spelling(*_UNNAMED, "requests", 1.0),
        Spelling("x-tokenlimit-limit", "x-tokenlimit-remaining", "x-tokenlimit-reset", "tokens", 1.0),
    ),
    _PLAIN,
)
# OpenRouter's documentation: on its own refusals only, of free models, per minute or per day; Unix milliseconds.
OPENROUTER = Rates((Spelling(*_UNNAMED, "requests", _MINUTE_S),), standard=False, daily_if_long=True)
