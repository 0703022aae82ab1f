"""A series on one line of a terminal."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_GAP = "┊"


def spark(values: Sequence[float | None], gaps: Sequence[object], most: float | None = None) -> str:
    """One character a value: `▁` for nothing, `█` for `most` (by default the largest), a blank for None.

    Where `gaps` has None, no process was at work: `┊`.
    """
    top = most if most is not None else max((v for v in values if v is not None), default=0)
    marks = (_GAP if g is None else " " if v is None else _block(v, top) for v, g in zip(values, gaps, strict=True))
    return "".join(marks)


def _block(value: float, top: float) -> str:
    if value <= 0 or top <= 0:
        return _BLOCKS[0]
    # What is more than nothing is never shown as nothing.
    return _BLOCKS[max(1, min(len(_BLOCKS) - 1, round((len(_BLOCKS) - 1) * value / top)))]
