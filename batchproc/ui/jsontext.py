"""One JSON object on one line of ASCII, whatever it holds: readable through any encoding and any line splitter."""

from __future__ import annotations

import json
import re

import msgspec

_NOT_PRINTABLE_ASCII = re.compile(r"[^\x20-\x7e]")


def json_line(record: object) -> str:
    """`record` (a Struct, or what JSON knows) as JSON without a line break. NaN and infinity become null."""
    try:
        text = msgspec.json.encode(record).decode()
    except UnicodeEncodeError:  # a lone surrogate, from a file name or a server's `\ud800`: JSON can spell it
        text = json.dumps(msgspec.to_builtins(record), separators=(",", ":"))
        return json.dumps(json.loads(text, parse_constant=lambda _: None), separators=(",", ":"))
    # Outside of strings JSON is ASCII, so whatever is found stands inside one and may be escaped.
    return text if text.isascii() and text.isprintable() else _NOT_PRINTABLE_ASCII.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
