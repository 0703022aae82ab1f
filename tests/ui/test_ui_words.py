"""Numbers, times and foreign text in words."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.ui.words import clip, clock, count, duration, harmless, plural, rate, remaining, share, short, size


@pytest.mark.parametrize(
    ("seconds", "words", "reason"),
    [
        (0, "0 s", "nothing"),
        (-3, "0 s", "a clock that went back shows no negative time"),
        (0.4, "0 s", "whole seconds"),
        (45, "45 s", "seconds alone"),
        (59.6, "1 min 00 s", "rounded before it is split: never 60 s"),
        (125, "2 min 05 s", "two digits, so that columns stand still"),
        (3599.7, "1 h 00 min", "rounding reaches the next unit"),
        (3720, "1 h 02 min", "seconds no longer matter"),
        (86_399, "23 h 59 min", "the last minute of a day"),
        (273_600, "3 d 4 h", "minutes no longer matter"),
        (86_400 * 1234, "1,234 d 0 h", "a daily limit can make it years"),
        (math.inf, "?", "no arithmetic on infinity"),
        (math.nan, "?", "nor on what is no number"),
    ],
)
def test_duration(seconds: float, words: str, reason: str) -> None:
    """A duration is told in its two largest units."""
    assert duration(seconds) == words, reason


@pytest.mark.parametrize(
    ("seconds", "words", "reason"),
    [
        (0.04, "0.0 s", "short waits have tenths"),
        (2.34, "2.3 s", "one decimal"),
        (9.94, "9.9 s", "the last with a decimal"),
        (9.96, "10 s", "never 10.0 s"),
        (45.4, "45 s", "beyond, as ever"),
    ],
)
def test_fine_duration(seconds: float, words: str, reason: str) -> None:
    """Where tenths matter they are told below ten seconds."""
    assert duration(seconds, fine=True) == words, reason


@pytest.mark.parametrize(
    ("seconds", "words", "reason"),
    [
        (45, "45 s left", "seconds near the end"),
        (119, "1 min 59 s left", "still fine"),
        (754, "12 min left", "whole minutes, so that it stands still"),
        (3720, "1 h 02 min left", "hours and minutes"),
        (math.inf, "? left", "not known"),
    ],
)
def test_remaining(seconds: float, words: str, reason: str) -> None:
    """The time left is coarse."""
    assert remaining(seconds) == words, reason


@pytest.mark.parametrize(
    ("seconds", "words", "reason"),
    [
        (0, "00:00", "the start"),
        (30.9, "00:30", "a clock does not round up"),
        (3723, "1:02:03", "hours appear when there are some"),
        (93_600, "26:00:00", "hours go on counting"),
        (-1, "00:00", "never negative"),
        (math.nan, "00:00", "never a crash"),
    ],
)
def test_clock(seconds: float, words: str, reason: str) -> None:
    """Times of a run read as on a stop watch."""
    assert clock(seconds) == words, reason


@pytest.mark.parametrize(
    ("number", "words", "reason"),
    [
        (0, "0", "nothing"),
        (1200, "1,200", "as it is below ten thousand"),
        (9999.6, "10k", "rounding reaches the next unit"),
        (45_200, "45k", "no decimals: they would flicker"),
        (999_499, "999k", "the last of the thousands"),
        (999_999, "1M", "never 1000k"),
        (1_250_000, "1.25M", "limits come in quarters of a million"),
        (12_340_000, "12.3M", "three digits"),
        (2_000_000, "2M", "no empty decimals"),
        (100_000_000, "100M", "zeros before the point stay"),
        (3_000_000_000, "3B", "a day of many tokens"),
        (math.inf, "?", "no number"),
    ],
)
def test_short(number: float, words: str, reason: str) -> None:
    """Rates take few characters."""
    assert short(number) == words, reason


@pytest.mark.parametrize(
    ("part", "whole", "words", "reason"),
    [
        (0, 10, "0%", "nothing is nothing"),
        (1, 10_000, "<1%", "something is not nothing"),
        (1234, 10_000, "12%", "rounded down"),
        (9_999, 10_000, "99%", "not all until it is all"),
        (10, 10, "100%", "all"),
        (0, 0, "100%", "all of an empty file"),
        (12, 10, "100%", "more than all is all"),
    ],
)
def test_share(part: float, whole: float, words: str, reason: str) -> None:
    """A share promises nothing that is not so."""
    assert share(part, whole) == words, reason


@pytest.mark.parametrize(
    ("n", "words", "reason"),
    [
        (999, "999 B", "bytes are counted"),
        (1234, "1.23 kB", "powers of a thousand"),
        (999_700, "1 MB", "never 1,000 kB"),
        (52_000_000, "52 MB", "no empty decimals"),
        (7 * 10**12, "7 TB", "the largest unit"),
    ],
)
def test_size(n: int, words: str, reason: str) -> None:
    """Sizes of files are short."""
    assert size(n) == words, reason


def test_counts() -> None:
    """Counts have separators, nouns agree with them, rates name their limit only where there is one."""
    assert count(1_234_567) == "1,234,567"
    assert plural(1, "job") == "1 job"
    assert plural(1200, "retry", "retries") == "1,200 retries"
    assert rate(1200, "RPM", 3500) == "1,200 RPM of 3,500"
    assert rate(1200, "RPM", None) == "1,200 RPM"


@pytest.mark.parametrize(
    ("text", "shown", "reason"),
    [
        ("\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred", "no escape sequence reaches the terminal"),
        ("a\nerror: forged", "a\\nerror: forged", "a message cannot start a line of ours"),
        ("50%\r100%", "50%\\r100%", "nor write over one"),
        ("a\tb", "a\\tb", "a tab would break the columns"),
        ("a\x9b31m", "a\\x9b31m", "C1 controls are escapes too"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d", "line breaks of other standards"),
        ("\u202egnp.exe", "\\u202egnp.exe", "text cannot be shown backwards"),
        ("half \ud83d", "half \\ud83d", "a lone surrogate cannot be written"),
        ("caf\udce9.jsonl", "caf\\xe9.jsonl", "a byte of a file name that is not UTF-8"),
        ("Grüße, 你好 👩\u200d🚀", "Grüße, 你好 👩\u200d🚀", "languages and their joiners stay"),
    ],
)
def test_harmless(text: str, shown: str, reason: str) -> None:
    """Foreign text is shown, not obeyed."""
    assert harmless(text) == shown, reason


@given(st.text(alphabet=st.characters(), max_size=50), st.integers(0, 60))
def test_clip_is_one_printable_line(text: str, width: int) -> None:
    """Whatever a server says becomes one line of the width allowed that any UTF-8 stream can take."""
    shown = clip(text, width)
    assert len(shown) <= width
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in shown)
    shown.encode()


def test_clip_of_a_huge_message() -> None:
    """A cut text ends in an ellipsis, one that fits does not."""
    assert clip("x" * 10_000_000, 5) == "xxxx…"
    assert clip("12345", 5) == "12345"
