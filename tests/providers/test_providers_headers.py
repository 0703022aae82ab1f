"""Rate-limit headers: every spelling, and nothing from what makes no sense."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.model import RateSeen
from batchproc.providers.headers import rates_in, reset_s
from batchproc.providers.spellings import ANTHROPIC, AZURE, GROQ, MISTRAL, OPENROUTER, TOGETHER

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
    (rate,) = rates_in(named("requests", 120, 119, "500"), WALL, AZURE)
    assert rate.reset_s == 0.5


AZURE_RECORDED = {
    **named("requests", 120, 119, "500"),
    **named("tokens", 120000, 119986, "7"),
    "x-ratelimit-renewalperiod-requests": "60",
    "x-ratelimit-renewalperiod-tokens": "60",
    "x-ratelimit-abusepenalty-active": "False",
}


def of_anthropic(what: str, limit: int, remaining: int, reset: str) -> dict[str, str]:
    """The three headers of one of Anthropic's limits."""
    return {
        f"anthropic-ratelimit-{what}-{part}": str(value)
        for part, value in (("limit", limit), ("remaining", remaining), ("reset", reset))
    }


ANTHROPIC_RECORDED = (  # 2025-05-13 14:20:04
    of_anthropic("requests", 4000, 3999, "2025-05-13T14:20:02Z")
    | of_anthropic("input-tokens", 400000, 399000, "2025-05-13T14:20:03Z")
    | of_anthropic("output-tokens", 80000, 80000, "2025-05-13T14:20:04Z")
    | of_anthropic("tokens", 480000, 479000, "2025-05-13T14:20:03Z")
)


def unnamed(limit: int, remaining: int, reset: object, prefix: str = "x-ratelimit-") -> dict[str, str]:
    """Headers that do not say what they limit."""
    return {prefix + "limit": str(limit), prefix + "remaining": str(remaining), prefix + "reset": str(reset)}


MIDNIGHT_MS = 1_747_180_800_000  # 2025-05-14T00:00Z


@pytest.mark.parametrize(
    ("spelt", "headers", "rates", "why"),
    [
        (AZURE, AZURE_RECORDED, [("requests", 120, 119, 0.5, 60.0), ("tokens", 120000, 119986, 0.007, 60.0)],
         "Azure, recorded: milliseconds, the window in a header"),
        (AZURE, named("tokens", 9, 8) | {"x-ratelimit-renewalperiod-tokens": "x"}, [("tokens", 9, 8, None, None)],
         "Azure, a window that cannot be read"),
        (AZURE, {"x-ratelimit-remaining-tokens": "119984"}, [], "Azure of 2024 says no limits"),
        (ANTHROPIC, ANTHROPIC_RECORDED,
         [("requests", 4000, 3999, 102.0, 60.0), ("input_tokens", 400000, 399000, 103.0, 60.0),
          ("output_tokens", 80000, 80000, 104.0, 60.0), ("tokens", 480000, 479000, 103.0, 60.0)],
         "Anthropic, recorded: absolute resets, input and output apart"),
        (ANTHROPIC, of_anthropic("requests", 50, 49, "2025-05-13T14:00:00Z"), [("requests", 50, 49, 0.0, 60.0)],
         "Anthropic, a reset in the past is full"),
        (ANTHROPIC, named("requests", 5, 4), [], "Anthropic does not spell as OpenAI"),
        (GROQ, {**named("requests", 14400, 14397, "17.399999999s"), **named("tokens", 6000, 5987, "130ms")},
         [("requests", 14400, 14397, 17.399999999, 86400.0), ("tokens", 6000, 5987, 0.13, 60.0)],
         "Groq, recorded: requests are a day's"),
        (MISTRAL, {**named("req-10-second", 60, 59), **named("tokens-minute", 2000000, 1999893),
                   **named("tokens-month", 10**10, 10**10 - 107), "x-ratelimit-tokens-query-cost": "107"},
         [("requests", 60, 59, None, 10.0), ("tokens", 2000000, 1999893, None, 60.0)],
         "Mistral, recorded: a month's limit is no business of a tracker"),
        (TOGETHER, {**unnamed(2, 1, 2), **unnamed(500, 400, 1, "x-tokenlimit-")},
         [("requests", 2, 1, 2.0, 1.0), ("tokens", 500, 400, 1.0, 1.0)], "Together: by the second"),
        (OPENROUTER, unnamed(20, 0, 1_747_145_930_000), [("requests", 20, 0, 30.0, 60.0)], "OpenRouter's minute"),
        (OPENROUTER, unnamed(50, 0, MIDNIGHT_MS), [("requests", 50, 0, 34_900.0, 86400.0)], "OpenRouter's day"),
    ],
)  # fmt: skip
def test_spellings_of_providers(spelt, headers, rates, why):
    """What is particular to one provider."""
    expected = [RateSeen(w, limit, rest, reset and pytest.approx(reset), s) for w, limit, rest, reset, s in rates]
    assert list(rates_in(headers, WALL, spelt)) == expected, why


@pytest.mark.parametrize(
    ("policy", "limit", "rates", "why"),
    [
        ('"burst";q=100;w=60,"daily";q=1000;w=86400', '"burst";r=50;t=30', [("requests", 100, 50, 30.0, 60.0)], "one"),
        ('"a";q=100;w=60, "b";q=1000;w=86400', '"a";r=1;t=2, "b";r=9',
         [("requests", 100, 1, 2.0, 60.0), ("requests", 1000, 9, None, 86400.0)], "both"),
        ('"a";q=100;w=60;qu="requests"', '"a";r=1', [("requests", 100, 1, None, 60.0)], "a unit that is named"),
        ('"a";q=100;w=60;qu="content-bytes"', '"a";r=1', [], "bytes are not followed"),
        ('"a";q=100', '"a";r=1', [], "no window"),
        ('"other";q=100;w=60', '"a";r=1;t=1', [], "no such policy"),
        ("", '"a";r=1;t=1', [], "no policy"),
        ('"a";q=5;w=60', '"a";r=6', [], "more than there is"),
        ('"a";q=-5;w=60', '"a";r=-6', [], "negative"),
        ('"a";q=5;w=60', '"a";r=1;pk=:cGxlYXNl:;t=4', [("requests", 5, 1, 4.0, 60.0)], "a partition key in between"),
        ("100;w=60", "50", [], "an older draft"),
    ],
)  # fmt: skip
def test_the_standard_headers(policy, limit, rates, why):
    """`RateLimit` and `RateLimit-Policy`, with the examples of the draft."""
    seen = rates_in({"ratelimit-policy": policy, "ratelimit": limit}, WALL)
    assert seen == tuple(RateSeen(*rate) for rate in rates), why


@given(st.text(), st.text(st.sampled_from('"ab;=,qrtw019: ')))
def test_any_standard_header_is_read(policy, limit):
    """Whatever they hold, what comes of it makes sense."""
    for rate in rates_in({"ratelimit-policy": policy, "ratelimit": limit}, WALL):
        assert 0 <= rate.remaining <= rate.limit


@pytest.mark.parametrize("text", ["2025-05-13T14:18:25", "2025-05-13 14:18:25"])
def test_an_instant_without_a_zone_is_utc(text, monkeypatch):
    """Not that of this machine."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert reset_s(text, WALL) == pytest.approx(5.0)
    monkeypatch.undo()
    time.tzset()


@given(st.dictionaries(st.sampled_from(sorted({**named("tokens", 1, 1, 1), **named("requests", 1, 1, 1)})), st.text()))
def test_nothing_raises(headers):
    """Whatever a header holds, what comes of it makes sense."""
    for rate in rates_in(headers, WALL):
        assert 0 <= rate.remaining <= rate.limit
        assert rate.reset_s is None or rate.reset_s >= 0
