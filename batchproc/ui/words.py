"""Numbers, times and foreign text in words: pure functions, no colour, no width of a terminal."""

from __future__ import annotations

import math
import re

_CLIP = "…"

# What could move the cursor, change colours, break a line, or turn the reading direction of what follows; and lone
# surrogates, which no encoding can write.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SPELT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8, as os.fsdecode() carries it
        return f"\\x{code - 0xDC00:02x}"
    return _SPELT.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def harmless(text: str) -> str:
    """Text of a server, a file or a file name, on one line and with every control character spelt out (`\\x1b`)."""
    return _HARMFUL.sub(_escape, text)


def clip(text: str, width: int) -> str:
    """`text` made harmless and cut to `width` characters, the last one `…` if something was cut off."""
    if width <= 0:
        return ""
    # A message may be 64 kB long and is drawn five times a second: cut before looking closely.
    shown = harmless(text[: width + 1])
    return shown if len(shown) <= width else shown[: width - 1] + _CLIP


def count(n: int) -> str:
    """A number with thousands separators: `1,234,567`."""
    return f"{n:,}"


def plural(n: int, noun: str, several: str | None = None) -> str:
    """`1 job`, `1,234 jobs`; `several` where an `s` will not do."""
    return f"{n:,} {noun if n == 1 else several or noun + 's'}"


def short(n: float) -> str:
    """A number in few characters, for rates and gauges: `1,200`, `45k`, `1.25M`, `3B`."""
    if not math.isfinite(n):
        return "?"
    whole = round(n)
    if abs(whole) < 10_000:
        return f"{whole:,}"
    # The borders are where rounding would reach the next unit: 999,999 is 1M and not 1000k.
    if abs(whole) < 999_500:
        return f"{whole / 1_000:.0f}k"
    if abs(whole) < 999_500_000:
        return f"{_three_digits(whole / 1_000_000)}M"
    return f"{_three_digits(whole / 1_000_000_000)}B"


def _three_digits(value: float) -> str:
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rate(value: float, unit: str, limit: float | None) -> str:
    """`1,200 RPM of 3,500`, or `1,200 RPM` where no limit is known."""
    return f"{short(value)} {unit}" if limit is None else f"{short(value)} {unit} of {short(limit)}"


def share(part: float, whole: float) -> str:
    """`12%` of the whole, rounded down: `100%` means all of it, `0%` means nothing."""
    if whole <= 0 or part >= whole:
        return "100%"
    if part <= 0:
        return "0%"
    percent = int(100 * part / whole)
    return f"{percent}%" if percent else "<1%"


def duration(seconds: float, *, fine: bool = False) -> str:
    """`45 s`, `2 min 05 s`, `1 h 02 min`, `3 d 4 h`; `fine` gives tenths below ten seconds."""
    if not math.isfinite(seconds):
        return "?"
    seconds = max(0.0, seconds)
    if fine and seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days:,} d {h} h"
    if hours:
        return f"{h} h {m:02d} min"
    return f"{m} min {s:02d} s" if minutes else f"{s} s"


def remaining(seconds: float) -> str:
    """Time left, coarse enough to stand still on a screen: `12 min left`, `1 h 02 min left`."""
    if math.isfinite(seconds) and 120 <= seconds < 3600:
        return f"{int(seconds // 60)} min left"
    return f"{duration(seconds)} left"


def clock(seconds: float) -> str:
    """Time since the start as on a stop watch: `00:30`, `1:02:03`, `26:00:00`."""
    whole = int(max(0.0, seconds)) if math.isfinite(seconds) else 0
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m:02d}:{s:02d}"


def size(n: int) -> str:
    """Bytes in powers of a thousand: `512 B`, `1.2 MB`."""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.5 or (unit == "B" and abs(value) < 1000):
            return f"{n:,} B" if unit == "B" else f"{_three_digits(value)} {unit}"
        value /= 1000
    return f"{_three_digits(value)} TB"
