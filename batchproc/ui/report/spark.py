"""A series on one line of a terminal."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_GAP = "┊"


def spark(values: Sequence[float | None], most: float | None = None) -> str:
    """One character a value: `▁` for nothing, `█` for `most` (by default the largest), `┊` for None."""
    top = most if most is not None else max((v for v in values if v is not None), default=0)
    return "".join(_GAP if v is None else _block(v, top) for v in values)


def _block(value: float, top: float) -> str:
    if value <= 0 or top <= 0:
        return _BLOCKS[0]
    # What is more than nothing is never shown as nothing.
    return _BLOCKS[max(1, min(len(_BLOCKS) - 1, round((len(_BLOCKS) - 1) * value / top)))]
