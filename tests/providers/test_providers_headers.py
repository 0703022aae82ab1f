"""Rate-limit headers: every spelling, and nothing from what makes no sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.model import RateSeen
from batchproc.providers.headers import rates_in, reset_s

WALL = 1_747_145_900.0  # 2025-05-13T14:18:20Z


def named(suffix: str, limit: object, remaining: object, reset: object = None) -> dict[str, str]:
    """The three headers of one limit."""
    given = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{k}-{suffix}": str(v) for k, v in given.items() if v is not None}


@pytest.mark.parametrize(
    ("headers", "rates", "why"),
    [
        (
            {**named("requests", 5000, 4999, "12ms"), **named("tokens", 160000, 159974, "10ms")},
            [("requests", 5000, 4999, 0.012, None), ("tokens", 160000, 159974, 0.01, None)],
            "OpenAI, recorded",
        ),
        (named("requests", 10000, 9999, "8.64s"), [("requests", 10000, 9999, 8.64, None)], "OpenAI, a day's limit"),
        (named("tokens", 6000, 5000, "17.399999999s"), [("tokens", 6000, 5000, 17.399999999, None)], "Groq"),
        (named("project-tokens", 100, 90, "3s"), [("tokens", 100, 90, 3.0, None)], "a project's limit"),
        (
            {**named("req-10-second", 60, 59), **named("tokens-minute", 2000000, 1999893)},
            [("requests", 60, 59, None, 10.0), ("tokens", 2000000, 1999893, None, 60.0)],
            "Mistral: no reset, the window in the name",
        ),
        (
            {**named("requests-day", 900, 899, "26.5"), **named("tokens-minute", 60, 50, "26.5")},
            [("requests", 900, 899, 26.5, 86400.0), ("tokens", 60, 50, 26.5, 60.0)],
            "Cerebras",
        ),
        (named("tokens", 100, -1, "1s"), [], "a negative remainder"),
        (named("tokens", 0, 0, "1s"), [], "a limit of nothing"),
        (named("tokens", 100, 101, "1s"), [], "more than there is"),
        (named("tokens", 100, None, "1s"), [], "no remainder"),
        (named("tokens", None, 5, "1s"), [], "no limit"),
        (named("tokens", "many", 5, "1s"), [], "no number"),
        (named("tokens", "1e6", 5, "1s"), [], "no whole number"),
        (named("tokens", 10**16, 5, "1s"), [], "beyond any limit"),
        (named("tokens", "9" * 5000, 5, "1s"), [], "more digits than Python reads"),
        (named("tokens", 100, 5, "soon"), [("tokens", 100, 5, None, None)], "a reset that cannot be read"),
        (named("tokens", 100, 0), [("tokens", 100, 0, None, None)], "nothing remains, no reset"),
        ({}, [], "no headers"),
    ],
)
def test_spellings(headers, rates, why):
    """One row for each spelling and for each nonsense."""
    assert rates_in(headers, WALL) == tuple(RateSeen(*rate) for rate in rates), why


@pytest.mark.parametrize(
    ("text", "seconds", "why"),
    [
        ("0s", 0.0, "full"),
        ("6ms", 0.006, "Go, milliseconds"),
        ("1.182s", 1.182, "Go, a fraction"),
        ("6m0s", 360.0, "Go, minutes"),
        ("20m52.666s", 1252.666, "Go, minutes and a fraction"),
        ("1h2m3s", 3723.0, "Go, hours"),
        ("2m59.56s", 179.56, "Groq"),
        ("26.5", 26.5, "Cerebras, seconds"),
        (" 7 ", 7.0, "blanks around it"),
        ("1747145910000", 10.0, "OpenRouter, Unix milliseconds"),
        ("1747145910", 10.0, "Unix seconds"),
        ("1747145000", 0.0, "in the past: full"),
        ("2025-05-13T14:18:25Z", 5.0, "Anthropic, RFC 3339"),
        ("2025-05-13T14:18:25+00:00", 5.0, "with an offset"),
        ("2025-05-13T14:18:02Z", 0.0, "an instant in the past: full"),
        ("2025-13-99T99:99:99Z", None, "no such instant"),
        ("-1", None, "negative"),
        ("nan", None, "no number"),
        ("inf", None, "never"),
        ("", None, "nothing"),
        ("soon", None, "a word"),
        (None, None, "absent"),
    ],
)
def test_resets(text, seconds, why):
    """The rule that covers all of providers.md, section 2."""
    expected = None if seconds is None else pytest.approx(seconds, abs=1e-6)
    assert reset_s(text, WALL) == expected, why


def test_azure_counts_in_milliseconds():
    """14 of 120,000 tokens a minute are refilled in 7 ms; a unit that is named stands."""
    assert reset_s("7", WALL, 0.001) == pytest.approx(0.007)
    assert reset_s("7s", WALL, 0.001) == 7.0
    (rate,) = rates_in(named("requests", 120, 119, "500"), WALL, plain_unit_s=0.001)
    assert rate.reset_s == 0.5


@given(st.dictionaries(st.sampled_from(sorted({**named("tokens", 1, 1, 1), **named("requests", 1, 1, 1)})), st.text()))
def test_nothing_raises(headers):
    """Whatever a header holds, what comes of it makes sense."""
    for rate in rates_in(headers, WALL):
        assert 0 <= rate.remaining <= rate.limit
        assert rate.reset_s is None or rate.reset_s >= 0
