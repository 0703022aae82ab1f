"""How long a provider says to wait: the order of what it says, and what makes no sense."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.providers.waits import duration_s, wait_s

WALL = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT
DATE = "Wed, 21 Oct 2015 07:28:30 GMT"


@pytest.mark.parametrize(
    ("headers", "message", "seconds", "why"),
    [
        ({}, "", None, "nothing is said"),
        ({"retry-after-ms": "1500", "retry-after": "9"}, "try again in 3s", 1.5, "milliseconds go first"),
        ({"retry-after": "9"}, "Please try again in 3s.", 9.0, "the header goes before other words"),
        ({"retry-after": "2"}, "Please try again in 1.378s.", 1.378, "whole seconds round the words up"),
        ({"retry-after": "1"}, "Please try again in 120ms.", 0.12, "the same, under a second"),
        ({"retry-after": "1"}, "Please try again in 7m12s.", 1.0, "the header is shorter than the words"),
        ({"retry-after": "0"}, "", 0.0, "at once"),
        ({"retry-after": "1.5"}, "", 1.5, "a fraction"),
        ({"retry-after": " 5 "}, "", 5.0, "white space"),
        ({"retry-after": "20s"}, "", 20.0, "a unit that should not be there"),
        ({"retry-after": DATE}, "", 30.0, "a date"),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT"}, "", 0.0, "a date in the past"),
        ({"retry-after": "Wednesday, 21-Oct-15 07:28:30 GMT"}, "", 30.0, "a date of RFC 850"),
        ({"retry-after": "Wed Oct 21 07:28:30 2015"}, "", 30.0, "a date of asctime, which has no zone: UTC"),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 -0000"}, "", 30.0, "no zone is UTC, not this machine's"),
        ({"retry-after": "1445412500"}, "", 20.0, "an instant in Unix seconds"),
        ({"retry-after": "1445412500000"}, "", 20.0, "an instant in Unix milliseconds"),
        ({"retry-after": "-1"}, "", None, "negative"),
        ({"retry-after": "nan"}, "", None, "not a number"),
        ({"retry-after": "inf"}, "", None, "infinite"),
        ({"retry-after": "1e400"}, "", None, "infinite once read"),
        ({"retry-after": "1e300"}, "", None, "longer than anybody lives"),
        ({"retry-after": "40000000"}, "", None, "over a year"),
        ({"retry-after": "86400"}, "", 86400.0, "a day is possible"),
        ({"retry-after": "soon"}, "try again in 2s", 2.0, "no sense: the words count"),
        ({"retry-after": ""}, "try again in 2s", 2.0, "empty: the words count"),
        ({"retry-after": "Someday"}, "", None, "no date"),
        ({"retry-after": "Wed, 99 Oct 2015 99:99:99 GMT"}, "", None, "no such date"),
        ({"retry-after-ms": "x", "retry-after": "4"}, "", 4.0, "no sense: the next one counts"),
        ({"retry-after-ms": "-5", "retry-after": "-4"}, "try again in 6s", 6.0, "neither makes sense"),
        ({"x-ratelimit-reset-requests": "12s"}, "", None, "when a bucket is full again is no wait"),
        ({}, "Please try again in 1.378s. Visit https://x", 1.378, "seconds"),
        ({}, "Please try again in 7m12s.", 432.0, "minutes and seconds"),
        ({}, "Please try again in 120ms.", 0.12, "milliseconds"),
        ({}, "Please try again in 1h2m3s", 3723.0, "hours"),
        ({}, "Please try again in 1d1h", 90_000.0, "days"),
        ({}, "Please try again in 2m59.56s.", 179.56, "Groq's"),
        ({}, "Please retry in 38.2s.", 38.2, "Gemini's"),
        ({}, "Please retry after 5 seconds. Please go here", 5.0, "Azure's"),
        ({}, "Please retry after 1 second.", 1.0, "one"),
        ({}, "PLEASE TRY AGAIN IN 250 MILLISECONDS", 0.25, "spelt out, in capitals"),
        ({}, "try again in 2 minutes", 120.0, "minutes spelt out"),
        ({}, "try again in 3 hours", 10_800.0, "hours spelt out"),
        ({}, "try again in 999999999999h", None, "longer than a year"),
        ({}, "try again in 12 bananas", None, "no unit"),
        ({}, "try again later", None, "no number"),
    ],
)
def test_wait(headers, message, seconds, why, monkeypatch):
    """One row, one rule; and no rule depends on the time zone of the machine."""
    for zone in ("UTC", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert wait_s(headers, message, WALL) == pytest.approx(seconds), why
    monkeypatch.undo()
    time.tzset()


@given(st.text(), st.text(), st.text())
def test_any_text_is_read(ms, after, message):
    """Whatever is said, a wait is a finite number that is not negative, or not said."""
    said = wait_s({"retry-after-ms": ms, "retry-after": after}, message, WALL)
    assert said is None or 0 <= said <= 366 * 86400


@given(st.integers(0, 10**15))
def test_any_number_is_read(n):
    """Numbers of every size: never negative, never beyond a year."""
    for text in (str(n), f"{n}.5", f"-{n}", f"{n}e9"):
        said = wait_s({"retry-after": text}, f"try again in {text}s", WALL)
        assert said is None or 0 <= said <= 366 * 86400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0.0), ("6ms", 0.006), ("8.64s", 8.64), ("6m0s", 360.0), ("20m52.666s", 1252.666), ("1h2m3s", 3723.0),
     (" 1s ", 1.0), ("", None), ("5", None), ("s", None), ("5 s", None), ("1s1", None), ("-1s", None)],
)  # fmt: skip
def test_duration(text, seconds):
    """Go's durations, as printed in headers; nothing else."""
    assert duration_s(text) == (pytest.approx(seconds) if seconds is not None else None)
