"""TOML: the lines of keys, and values that are read again as they were written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.cli.toml import key_lines, read_text, read_toml, toml_path, toml_value
from batchproc.errors import UsageError

TEXT = '''\
# rpm = 1

rpm = 3500
model = "tpm = 4"
header = [
  "A=1",  # tpm = 5
  "B=2",
]
note = """
tpm = 6
"""
tpm = 7

[models."gpt-4o"]  # rpm = 8
"rpm" = 9
models.rpd = 10
[models.'o 3'.deep]
tpm = 11
'''
LINES = {
    ("rpm",): 3,
    ("model",): 4,
    ("header",): 5,
    ("note",): 9,
    ("tpm",): 12,
    ("models",): 14,
    ("models", "gpt-4o"): 14,
    ("models", "gpt-4o", "rpm"): 15,
    ("models", "gpt-4o", "models"): 16,
    ("models", "gpt-4o", "models", "rpd"): 16,
    ("models", "o 3"): 17,
    ("models", "o 3", "deep"): 17,
    ("models", "o 3", "deep", "tpm"): 18,
}


def test_key_lines() -> None:
    """Every key at the line where its statement begins; comments, texts and lists only look like keys."""
    tomllib.loads(TEXT)
    assert key_lines(TEXT) == LINES


FILLERS = st.sampled_from(["", "# x = 1", 'y = """\nx = 2\n"""', "z = [\n1,\n2]", "w = {x = 3}"])


@given(st.lists(FILLERS, unique=True), st.lists(FILLERS, unique=True))
def test_the_line_of_a_key_is_found_among_anything(before: list[str], after: list[str]) -> None:
    """Whatever stands around a key, its line is the one that it was written to."""
    text = "\n".join([*before, "x = 5", *(f for f in after if f not in before)])
    assert key_lines(text)[("x",)] == "\n".join([*before, ""]).count("\n") + 1


def test_a_statement_of_very_many_lines_costs_no_time() -> None:
    """Behind a text of thousands of lines no lines are told; before it they are."""
    lines = key_lines('a = 1\nb = """\n' + "x\n" * 100_000 + '"""\nc = 3\n')
    assert lines == {("a",): 1}


VALUES = st.recursive(
    st.booleans() | st.integers(0, 10**15) | st.text(st.characters(exclude_categories=["Cs"])), st.lists, max_leaves=5
)


@given(VALUES)
def test_values_are_read_as_they_were_written(value: Any) -> None:
    """Numbers, truths, lists and every text, also with quotes, line ends and controls."""
    assert tomllib.loads(f"x = {toml_value(value)}") == {"x": value}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_written_texts_are_printable(text: str) -> None:
    """Nothing in them moves a cursor, breaks a line or turns the direction of reading."""
    assert toml_value(text).isprintable()


@given(st.floats(0, 1e15, allow_nan=False, allow_infinity=False))
def test_floats_are_written_without_exponents(value: float) -> None:
    """As the options take them, and exactly."""
    written = toml_value(value)
    assert not set(written) - set("0123456789.")
    assert float(written) == value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_dotted_keys(path: list[str]) -> None:
    """A path is read as the tables that it names."""
    document = tomllib.loads(f"{toml_path(*path)} = 1")
    for name in path:
        assert list(document) == [name]
        document = document[name]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"rpm = 5 # \xff", "not UTF-8"),
        (b"rpm = 5 \xff", "not UTF-8"),
        ("rpm = 5".encode("utf-16"), "not UTF-8"),
        (b"#" * (1 << 20) + b"#", "larger than 1 MiB"),
    ],
)
def test_what_is_no_text(tmp_path: Path, data: bytes, why: str) -> None:
    """What cannot be a config file is said to be none."""
    (tmp_path / "c.toml").write_bytes(data)
    with pytest.raises(UsageError, match=why):
        read_text(str(tmp_path / "c.toml"))


def test_files_of_other_editors(tmp_path: Path) -> None:
    """A byte-order mark and Windows line ends are fine, and lines are counted alike."""
    (tmp_path / "c.toml").write_bytes(b'\xef\xbb\xbfrpm = 5\r\nheader = [\r\n"A=1"\r\n]\r\ntpm = 6\r\n')
    text = read_text(str(tmp_path / "c.toml"))
    assert read_toml("c.toml", text) == {"rpm": 5, "header": ["A=1"], "tpm": 6}
    assert key_lines(text) == {("rpm",): 1, ("header",): 2, ("tpm",): 5}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rpm = 5\nmodel = gpt\n", r"line 2"),
        ("rpm = 5\nrpm = 6\n", r"line 2"),
        ("x = [", "end of document"),
        ("x = " + "[" * 20_000, "much too long"),
        ("x = " + "9" * 20_000, "much too long"),
    ],
)
def test_what_is_no_toml(text: str, why: str) -> None:
    """The parser's own words, with line and column where it knows them, and an example."""
    with pytest.raises(UsageError, match=why) as error:
        read_toml("c.toml", text)
    assert "`c.toml` is not TOML" in error.value.message
    assert "rpm = 3500" in (error.value.hint or "")
