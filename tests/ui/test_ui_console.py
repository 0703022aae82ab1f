"""Who we talk to, and that talking never fails."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys

import pytest

from batchproc.ui.console import Audience, Console, SafeStream, audience

TTY: dict[str, str] = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("asked", "isatty", "environ", "expected", "reason"),
    [
        ({}, True, TTY, ("bar", True), "a terminal gets everything"),
        ({}, False, TTY, ("plain", False), "a pipe gets lines"),
        ({}, True, {"TERM": "dumb"}, ("plain", False), "a terminal that cannot move its cursor"),
        ({}, True, {"TERM": "unknown"}, ("plain", False), "nor one of which nothing is known"),
        ({}, True, {}, ("bar", True), "consoles without TERM exist (Windows)"),
        ({}, True, TTY | {"NO_COLOR": "1"}, ("plain", False), "NO_COLOR: no cursor movement either"),
        ({}, True, TTY | {"NO_COLOR": ""}, ("bar", True), "an empty NO_COLOR does not count"),
        ({"progress": "bar"}, True, TTY | {"NO_COLOR": "1"}, ("bar", False), "asked for by name, in one colour"),
        ({"no_color": True}, True, TTY, ("bar", False), "--no-color is about colour alone"),
        ({"progress": "bar"}, False, TTY, ("plain", False), "no bar into a pipe, even if asked for"),
        ({"progress": "bar"}, True, {"TERM": "dumb"}, ("plain", False), "nor where it would litter"),
        ({"progress": "plain"}, True, TTY, ("plain", True), "plain lines, errors still in red"),
        ({"progress": "json"}, True, TTY, ("json", False), "JSON has no colour"),
        ({"progress": "none"}, True, TTY, ("none", True), "errors still in red"),
        ({"quiet": True}, True, TTY, ("none", True), "-q"),
        ({"quiet": True, "progress": "json"}, False, TTY, ("none", False), "-q wins"),
        ({"results_on_terminal": True}, True, TTY, ("plain", True), "results would be written through a bar"),
    ],
)
def test_audience(
    asked: dict[str, object], isatty: bool, environ: dict[str, str], expected: tuple[str, bool], reason: str
) -> None:
    """The printer and the colour follow from where stderr leads and what was asked for."""
    chosen = audience(isatty=isatty, environ=environ, **asked)  # type: ignore[arg-type]
    assert (chosen.printer, chosen.colour) == expected, reason


def test_error_and_hint() -> None:
    """An error is a line, its hint another."""
    out = io.StringIO()
    console = Console(out, Audience("plain", False))
    console.error("cannot read `jobs.jsonl`", "check the path")
    console.error("no hint")
    assert out.getvalue() == "error: cannot read `jobs.jsonl`\nhint: check the path\nerror: no hint\n"


def test_error_in_colour() -> None:
    """Only the label is coloured, so that a value can be copied as it is."""
    out = io.StringIO()
    Console(out, Audience("bar", True)).error("bad", "mend it")
    assert out.getvalue() == "\x1b[31merror:\x1b[0m bad\n\x1b[36mhint:\x1b[0m mend it\n"


def test_hostile_error() -> None:
    """A message from outside can neither add a line nor move the cursor."""
    out = io.StringIO()
    Console(out, Audience("plain", False)).error("a\x1b[2J\nhint: pay\u2028me \ud800", "in `x\ny`")
    assert out.getvalue() == "error: a\\x1b[2J\\nhint: pay\\u2028me \\ud800\nhint: in `x\\ny`\n"


def test_error_to_a_program() -> None:
    """Under `--progress json` every line of stderr is an object, errors too."""
    out = io.StringIO()
    Console(out, Audience("json", False)).error("bad \x1b\ud800", None)
    assert json.loads(out.getvalue()) == {"event": "error", "message": "bad \x1b\ud800", "hint": None}
    assert out.getvalue().isascii()


@pytest.mark.parametrize(
    ("encoding", "text", "written", "reason"),
    [
        ("ascii", "2 × 429 · … ━╸─", b"2 x 429 | ~ ==-", "plainer characters of the same width"),
        ("ascii", "Grüße", b"Gr\\xfc\\xdfe", "others as escapes"),
        ("latin-1", "2 × ü ━", b"2 \xd7 \xfc =", "only what it lacks"),
        ("utf-8", "\ud800é", b"\\ud800\xc3\xa9", "a lone surrogate fits no encoding"),
    ],
)
def test_poor_encodings(encoding: str, text: str, written: bytes, reason: str) -> None:
    """A strict stream of any encoding takes every text."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    SafeStream(stream).write(text)
    assert raw.getvalue() == written, reason


def test_stream_on_a_lost_terminal() -> None:
    """A stream that cannot even say whether it is a terminal is none; a real one has its descriptor."""

    class Lost(io.StringIO):
        def isatty(self) -> bool:
            raise OSError(errno.EIO, "lost")

    assert not SafeStream(Lost()).isatty()
    with open(os.devnull, "w") as null:
        assert SafeStream(null).fileno() == null.fileno()


class _Failing(io.StringIO):
    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code
        self.calls = 0

    def write(self, text: str) -> int:
        self.calls += 1
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize(
    ("code", "calls", "reason"),
    [
        (errno.EPIPE, 1, "the reader is gone for good"),
        (errno.EIO, 1, "the terminal is gone for good"),
        (errno.EAGAIN, 2, "a pipe that is full may empty"),
        (errno.ENOSPC, 2, "space may come back"),
    ],
)
def test_failing_stream(code: int, calls: int, reason: str) -> None:
    """No failure of stderr is one of the run; what is over is not tried again."""
    stream = _Failing(code)
    console = Console(stream, Audience("plain", False))
    console.line("a")
    console.error("b")
    assert stream.calls == calls, reason


def test_closed_stream() -> None:
    """A closed stream, and none at all, swallow everything."""
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        console = Console(stream, Audience("bar", True))
        console.error("nobody hears this")
        console.stream.flush()
        assert not console.stream.isatty()
        assert console.width == 100
        with pytest.raises((OSError, ValueError)):
            console.stream.fileno()


_BROKEN_PIPE = """
import sys
from batchproc.ui.console import Audience, Console
sys.stdin.read()
console = Console(sys.stderr, Audience("plain", False))
console.line("nobody reads this")
console.error("still here")
print("done")
"""


def test_exit_code_after_a_broken_pipe() -> None:
    """The reader of stderr goes away: the program goes on, and what Python still buffers does not make it exit 120."""
    child = subprocess.Popen(
        [sys.executable, "-c", _BROKEN_PIPE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},  # it hides the fault
    )
    assert child.stderr is not None
    child.stderr.close()
    child.stderr = None
    out, _ = child.communicate("")
    assert (child.returncode, out) == (0, "done\n")


def test_rich_is_not_imported_before_a_bar_is_shown() -> None:
    """Start-up does not pay for a display it may not need."""
    code = "import sys, batchproc.ui.progress, batchproc.ui.summary; print('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
