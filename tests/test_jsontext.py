"""JSON as text: every operation against what json.loads makes of the same bytes."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc import jsontext

ANY = msgspec.json.Decoder(object)
TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT | st.sampled_from(['"', "\\", "{", "}]", ",:", '\\"', "\u2028"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)  # fmt: skip
PARTS = [r"\ud800", r"\uDBFF", r"\udc00", r"\uDfff", r"\ud83d\ude00", r"\\", r"\"", r"\n", "a", "u", "é", r"\u00e9"]
KEYS = st.sampled_from(["a", "b", "metadata", "x y", "}", "ключ", ","])
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)
INDENTS = st.sampled_from([None, 0, 1, 4, "\t"])
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])


def dumps(value: object, indent: object, separators: tuple[str, str], ascii_only: bool) -> bytes:
    return json.dumps(value, indent=indent, separators=separators, ensure_ascii=ascii_only).encode()  # type: ignore[arg-type]


@given(OBJECTS, INDENTS, SEPARATORS)
def test_members_are_where_json_says(obj, indent, separators):
    """Keys in order, and values that read the same."""
    data = dumps(obj, indent, separators, False)
    found = jsontext.members(data)
    assert [(json.loads(b'"' + key + b'"'), json.loads(data[start:end])) for key, _, start, end in found] == [
        *obj.items()
    ]
    for key, at, _, _ in found:
        assert data[at : at + len(key) + 2] == b'"' + key + b'"'
    for name, value in obj.items():
        text = jsontext.member(data, name.encode())
        assert text is not None
        assert text == text.strip()
        assert json.loads(text) == value
    assert jsontext.member(data, b"none such") is None


@given(OBJECTS, INDENTS, SEPARATORS, st.sets(KEYS))
def test_without_members(obj, indent, separators, names):
    """What is left is what json leaves; nothing to leave out: the same bytes."""
    data = dumps(obj, indent, separators, False)
    out = jsontext.without_members(data, frozenset(n.encode() for n in names))
    assert json.loads(out) == {k: v for k, v in obj.items() if k not in names}
    assert (out == data) or (names & obj.keys())


@given(OBJECTS, INDENTS, SEPARATORS, VALUES)
def test_with_member(obj, indent, separators, value):
    """One more, in front, the others as they were."""
    data = dumps(obj, indent, separators, False)
    out = json.loads(jsontext.with_member(data, b"new", json.dumps(value).encode()))
    assert list(out.items()) == [("new", value), *obj.items()]


@given(VALUES, INDENTS, SEPARATORS, st.booleans(), st.sampled_from(["\n", "\r\n", "\r", "\n \n\t"]))
def test_one_line(value, indent, separators, ascii_only, ending):
    """One line that reads the same, whatever the line endings."""
    data = b"\n " + dumps(value, indent, separators, ascii_only).replace(b"\n", ending.encode()) + b"\r\n"
    line = jsontext.one_line(data)
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.dumps(json.loads(line)) == json.dumps(value)
    assert jsontext.one_line(line) == line


@given(st.lists(st.sampled_from(PARTS)))
def test_plain_surrogates(parts):
    """Lone halves become U+FFFD at the same length; whole pairs and everything else stay."""
    data = ('"' + "".join(parts) + '"').encode()
    plain = jsontext.plain_surrogates(data)
    assert len(plain) == len(data)
    value = json.loads(data)
    expected = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value)
    assert json.loads(plain) == expected
    assert jsontext.decode(data, ANY) == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"{}{}", "trailing characters"),
        (b"NaN", "invalid character"),
        (b"[1,]", "trailing comma"),
        (b'"\x01"', "invalid character"),
        (b'"\xff"', "not UTF-8: byte 0xff at offset 1"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "invalid character"),
        (b"[" * 100_000, "nested too deep"),
        (rb'"\ud800', "truncated"),
    ],
)
def test_not_json(data, words):
    """What is no JSON is refused in words, without the decoder's own preamble."""
    with pytest.raises(jsontext.NotJson, match=words) as e:
        jsontext.decode(data, ANY)
    assert "malformed" not in str(e.value)


def test_wrong_types_are_said():
    """A document of another shape is not what was asked for."""
    with pytest.raises(jsontext.NotJson, match="Expected `str`"):
        jsontext.decode(b"1", msgspec.json.Decoder(str))


@given(st.binary())
def test_any_bytes(data):
    """Nothing but NotJson is ever raised, and what is read json reads too."""
    try:
        value = jsontext.decode(data, ANY)
    except jsontext.NotJson:
        return
    assert value == json.loads(data) or value != value
