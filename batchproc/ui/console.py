"""Who we talk to: a terminal, a pipe or a program behind stderr; how to say an error to it without ever failing."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Literal, TextIO

from msgspec import Struct

from batchproc.ui.jsontext import json_line
from batchproc.ui.words import harmless

Printer = Literal["bar", "plain", "json", "none"]

# What stderr can do without when it cannot encode it (LANG=C, old Windows code pages); one cell for one cell, so that
# nothing on a screen moves.
_PLAINER = {"━": "=", "╸": "=", "─": "-", "·": "|", "×": "x", "…": "~", "’": "'", "–": "-", "—": "-"}

# Reasons for which one line is lost, but the next may get through.
_PASSING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOSPC, errno.EDQUOT}

RESET = "\x1b[0m"
STYLES = {"red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m", "cyan": "\x1b[36m", "dim": "\x1b[2m"}


class Audience(Struct, frozen=True):
    """How to speak: which printer, and whether in colour."""

    printer: Printer
    colour: bool


def audience(
    *,
    isatty: bool,
    environ: Mapping[str, str],
    progress: str = "auto",
    no_color: bool = False,
    quiet: bool = False,
    results_on_terminal: bool = False,
) -> Audience:
    """Choose the printer and colour; `isatty` is that of stderr.

    `NO_COLOR` (https://no-color.org: set and not empty), `TERM=dumb` and a pipe mean no colour and no cursor movement,
    so `auto` prints plain lines there. An explicit `bar` is obeyed under `NO_COLOR`, in one colour, but not where the
    cursor cannot move. `results_on_terminal` (`-o -` with no redirection) would write through a bar.
    """
    dumb = not isatty or environ.get("TERM", "").lower() in {"dumb", "unknown"}
    wants_none = bool(environ.get("NO_COLOR"))
    colour = not (dumb or wants_none or no_color)
    if quiet or progress == "none":
        return Audience("none", colour)
    if progress == "json":
        return Audience("json", False)
    if progress == "plain" or dumb or results_on_terminal:
        return Audience("plain", colour)
    return Audience("plain" if progress == "auto" and wants_none else "bar", colour)


def paint(text: str, style: str, colour: bool) -> str:
    """`text` in the colour named `style`, or as it is."""
    return f"{STYLES[style]}{text}{RESET}" if colour and text else text


class SafeStream:
    """A text stream that never raises: a lost terminal or reader must not end a run that costs money.

    What the encoding lacks is written in plainer characters or as an escape. `stream` may be None, as `sys.stderr` is
    when the program was started with it closed. It has what rich asks of a file.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        """The encoding of the stream; in-memory streams have none and are taken for UTF-8."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal; a closed stream is none."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """The file descriptor; raises OSError where there is none."""
        if self._stream is None:
            raise OSError(errno.EBADF, "stderr is closed")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write all of it or lose it."""
        if self._stream is not None:
            try:
                self._stream.write(_encodable(text, self.encoding))
                self._stream.flush()
            except OSError as error:
                if error.errno not in _PASSING:
                    self._give_up()
            except ValueError:  # the stream was closed meanwhile
                self._stream = None
        return len(text)

    def flush(self) -> None:
        """Nothing to do: every write is flushed."""

    def _give_up(self) -> None:
        """Nobody is listening any more. What Python still buffers must go somewhere: else it exits with 120."""
        stream, self._stream = self._stream, None
        try:
            if stream is not None and stream.fileno() == 2:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 2)
                os.close(null)
        except (OSError, ValueError):
            pass  # no descriptor, nothing buffered


class Console:
    """Stderr, spoken to as its audience understands it."""

    def __init__(self, stream: TextIO | None, audience: Audience) -> None:
        self.stream = SafeStream(stream)
        self.audience = audience

    @property
    def colour(self) -> bool:
        """Whether to use colour."""
        return self.audience.colour

    @property
    def width(self) -> int:
        """Columns of the terminal, 100 elsewhere."""
        try:
            return max(20, os.get_terminal_size(self.stream.fileno()).columns or 100)
        except (OSError, ValueError):  # no terminal, no descriptor
            return 100

    def line(self, text: str) -> None:
        """Print a finished line; foreign text in it has been made harmless by whoever put it there."""
        self.stream.write(text + "\n")

    def error(self, message: str, hint: str | None = None) -> None:
        """Print `error: …` and `hint: …`; values in them stand in backticks. To a program, as one JSON event."""
        if self.audience.printer == "json":
            self.line(json_line({"event": "error", "message": message, "hint": hint}))
            return
        lines = [f"{paint('error:', 'red', self.colour)} {harmless(message)}"]
        if hint:
            lines.append(f"{paint('hint:', 'cyan', self.colour)} {harmless(hint)}")
        self.line("\n".join(lines))


def _encodable(text: str, encoding: str) -> str:
    """`text` as far as `encoding` can write it."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_encodable_char(char, encoding) for char in text)
    return text


def _encodable_char(char: str, encoding: str) -> str:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return _PLAINER.get(char) or char.encode("ascii", "backslashreplace").decode("ascii")
    return char
