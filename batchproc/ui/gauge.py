"""One line on a terminal that says how far a file was read; nothing elsewhere."""

from __future__ import annotations

from batchproc.ui.console import Console, paint
from batchproc.ui.frame import gauge
from batchproc.ui.words import count, share

_EVERY_S = 0.1


class Gauge:
    """Drawn over itself at most ten times a second."""

    def __init__(self, console: Console, doing: str) -> None:
        self._console = console
        self._doing = doing
        self._on = console.stream.isatty() and console.audience.printer == "bar"
        self._drawn = False
        self._next = 0.0

    def show(self, read: int, size: int | None, lines: int, now: float) -> None:
        """So many bytes of `size` (None: not known) were read, so many lines; `now` in seconds of a steady clock."""
        if not self._on or now < self._next:
            return
        self._next = now + _EVERY_S
        words = f"{self._doing}: {count(lines)} lines"
        line = words
        if size:
            words += f"  {share(read, size)}"
            bar = gauge(read, size, max(10, min(40, self._console.width - len(words) - 3)), "cyan")
            pieces = (paint(text, style, self._console.colour) if style else text for text, style in bar)
            line = f"{''.join(pieces)}  {words}"
        self._console.stream.write(f"\r{line}\x1b[K")
        self._drawn = True

    def clear(self) -> None:
        """Leave nothing on the screen."""
        if self._drawn:
            self._console.stream.write("\r\x1b[K")
            self._drawn = False
