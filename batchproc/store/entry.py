"""Where the input may be entered on a resume, and whether it is known to be the one that was answered."""

from __future__ import annotations

from collections import deque

from batchproc.model import Position
from batchproc.store.input import InputIdentity

START = Position(0, 1, 0)


class Entry:
    """Collects positions of input lines until the output has come as far.

    `identity` is what marks name as the answered input. `compared_from`: the input is not the file it was; it is named
    only when the lines up to this index have been passed.
    """

    def __init__(self, identity: InputIdentity | None, compared_from: int) -> None:
        self.identity = identity if not compared_from else None
        self._new = identity
        self._compared_from = compared_from
        self._positions: deque[Position] = deque()
        self._last = START

    def note(self, position: Position) -> None:
        """A line of the input starts here; lines before it are compared."""
        self._positions.append(position)
        if position.index >= self._compared_from:
            self.identity = self._new

    def up_to(self, index: int) -> Position:
        """The last position that is not behind this job."""
        while self._positions and self._positions[0].index <= index:
            self._last = self._positions.popleft()
        return self._last

    def read_all(self) -> None:
        """Every line was compared: the run is done."""
        self.identity = self._new
