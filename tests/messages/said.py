"""What the program said, and whether that is what was expected."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """What a command said: the last `error:` and `hint:` on stderr."""

    code: int
    error: str
    hint: str | None
    err: str


SEEN: list[Said] = []  # everything that any row met, for the test that compares it with the source


def said_in(code: int, err: str) -> Said:
    """The error in what was written to stderr."""
    found = re.search(r"^error: (.*(?:\n(?!hint: ).+)*)(?:\nhint: (.*))?\n?\Z", err, re.MULTILINE)
    assert found is not None, err
    assert "Traceback" not in err
    SEEN.append(Said(code, found[1], found[2], err))
    return SEEN[-1]


def fits(expected: str, text: str | None) -> bool:
    """Whether a text is as expected; `<…>` stands for what differs."""
    pattern = ".*".join(map(re.escape, expected.split("<…>")))
    return text is not None and re.fullmatch(pattern, text, re.DOTALL) is not None


def is_said(seen: tuple[int, str], code: int, error: str, hint: str) -> Said:
    """The error that ended a command, to the letter."""
    said = said_in(*seen)
    assert fits(error, said.error), said.error
    assert fits(hint, said.hint), said.hint
    assert said.code == code, said.err
    return said
