"""What a crash, a power loss or a bad disk leaves of a file: cut, torn, zeroed, overwritten."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from batchproc.store.checkpoint import parse_result
from batchproc.store.scan import read_marks


def torn_record(data: bytes, rng: random.Random) -> bytes:
    """A record that was only half written."""
    lines = data.split(b"\n")[:-1] or [b'{"crc":"00000000","kind":"x"}']
    line = rng.choice(lines)
    return data + line[: rng.randrange(len(line) + 1)]


def zeros(data: bytes, rng: random.Random) -> bytes:
    """Blocks that were allocated, and never written."""
    return data + bytes(rng.choice([1, 17, 511, 4096]))


def garbage(data: bytes, rng: random.Random) -> bytes:
    """Something else, perhaps with newlines in it."""
    return data + rng.randbytes(rng.choice([1, 40, 3000])) + (b"\n" if rng.random() < 0.5 else b"")


def cut(data: bytes, rng: random.Random) -> bytes:
    """The end never reached the disk."""
    return data[: max(0, len(data) - rng.choice([1, 2, 30, 400, 3000]))]


def zeroed_tail(data: bytes, rng: random.Random) -> bytes:
    """The length did reach the disk, the bytes did not."""
    n = min(len(data), rng.choice([1, 30, 400, 3000]))
    return data[: len(data) - n] + bytes(n)


TORN: tuple[Callable[[bytes, random.Random], bytes], ...] = (torn_record, zeros, garbage)  # beyond what was written
LOST: tuple[Callable[[bytes, random.Random], bytes], ...] = (cut, zeroed_tail)  # what was not durable yet


def hit(data: bytes, rng: random.Random, below: int) -> bytes:
    """A few bytes are something else, somewhere below an offset."""
    if below < 2:
        return data
    at = rng.randrange(below - 1)
    size = min(rng.choice([1, 1, 8, 64]), below - at)
    return data[:at] + rng.randbytes(size) + data[at + size :]


def durable_output(checkpoint: Path) -> int:
    """How much of the output the last mark speaks of: its checksums are known."""
    if not checkpoint.exists():
        return 0
    mark = read_marks(str(checkpoint), sums=False).last
    return mark.output_length if mark is not None else 0


def saved_in(output: bytes, checkpoint: bytes, written: set[bytes] | None = None) -> set[int]:
    """The jobs whose result is readable: whole lines (of those that were `written`), records whose checksum holds."""
    there: set[int] = set()
    for line in output.split(b"\n")[:-1]:
        if written is None or line in written:
            try:
                there.add(int(json.loads(line)["index"]))
            except (ValueError, KeyError, TypeError):
                continue  # torn
    for line in checkpoint.split(b"\n")[:-1]:
        result = parse_result(line)
        if result is not None:
            there.add(result.index)
    return there
