"""JSON as text: validate strictly, look inside, and leave every byte of what is kept as it was written.

Decoding is msgspec's: strict (no NaN, no trailing commas, no control characters) even in parts it only
skips, which is what lets a body be validated and passed on untouched. Two things it does not do are added
here: strings it skips are not checked for UTF-8, and a lone surrogate escape (`\\ud800` without its other
half), which JSON's grammar allows and providers send, is an error to it.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

T = TypeVar("T")


class NotJson(ValueError):
    """The bytes are not one JSON document of the expected shape; the text says why."""


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    rb"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|.)",
    re.DOTALL,
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def plain_surrogates(data: bytes) -> bytes:
    """Replace every lone surrogate escape by `\\ufffd`: same length, so positions stay what they were."""
    if _SURROGATE.search(data) is None:
        return data
    return _ESCAPE.sub(lambda m: rb"\ufffd" if m["lone"] else m[0], data)


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode one JSON document.

    Raises NotJson for anything else: wrong types, bad UTF-8, nesting deeper than the interpreter's stack.
    Lone surrogate escapes are read as U+FFFD; only the caller's own copy of the bytes still has them.
    """
    try:
        if not data.isascii():
            data.decode()
        try:
            return decoder.decode(data)
        except msgspec.DecodeError:
            plain = plain_surrogates(data)
            if plain == data:
                raise
            return decoder.decode(plain)
    except RecursionError:
        raise NotJson("nested too deep") from None
    except UnicodeDecodeError as e:
        raise NotJson(f"not UTF-8: byte 0x{data[e.start]:02x} at offset {e.start}") from None
    except msgspec.ValidationError as e:
        raise NotJson(str(e)) from None
    except msgspec.DecodeError as e:
        raise NotJson(str(e).removeprefix("JSON is malformed: ")) from None


_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]', re.DOTALL)
_WHITE = b" \t\r\n"


def members(obj: bytes) -> list[tuple[bytes, int, int, int]]:
    """Where the members of a JSON object stand, for an object that has been validated.

    Returns, in order, (key without quotes as written, start of the key, start of the value, end of the
    value); white space around a value may be included.
    """
    found: list[tuple[bytes, int, int, int]] = []
    depth = 0
    key, key_at, value_at = b"", 0, -1
    for m in _TOKEN.finditer(obj):
        c = obj[m.start()]
        if c == 0x22:  # a string: a key where no value has begun
            if depth == 1 and value_at < 0:
                key, key_at = m[0][1:-1], m.start()
        elif c in b"{[":
            depth += 1
        elif c in b"}]":
            depth -= 1
            if depth == 0 and value_at >= 0:
                found.append((key, key_at, value_at, m.start()))
        elif depth == 1 and c == 0x3A:
            if value_at < 0:
                value_at = m.end()
        elif depth == 1:
            found.append((key, key_at, value_at, m.start()))
            value_at = -1
    return found


def member(obj: bytes, name: bytes) -> bytes | None:
    """The bytes of one member's value (the last of that name), or None."""
    value = None
    for key, _, start, end in members(obj):
        if key == name:
            value = obj[start:end].strip(_WHITE)
    return value


def without_members(obj: bytes, names: frozenset[bytes]) -> bytes:
    """The object without the members of these names; every other byte between the braces stays."""
    spans = members(obj)
    kept = [(start, end) for key, start, _, end in spans if key not in names]
    if len(kept) == len(spans):
        return obj
    return b"{" + b",".join(obj[start:end] for start, end in kept) + b"}"


def with_member(obj: bytes, name: bytes, value: bytes) -> bytes:
    """The object with one member put first; the caller knows that it has none of that name."""
    rest = obj[1:].lstrip(_WHITE)
    return b'{"' + name + b'":' + value + (rest if rest.startswith(b"}") else b"," + rest)


_BREAK = re.compile(rb"[\r\n][ \t\r\n]*")


def one_line(document: bytes) -> bytes:
    """A validated JSON document without line breaks and the indentation after them.

    Inside a string a raw line break is not JSON, so only white space between tokens goes.
    """
    document = document.strip(_WHITE)
    if 0x0A in document or 0x0D in document:  # numbers, as they are found five times as fast
        return _BREAK.sub(b"", document)
    return document
