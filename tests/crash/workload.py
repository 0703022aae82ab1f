"""A random job file, and what its output must say, line by line: the lab knows every job by the SHA of its body."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

WORDS = ("job", "été", "\u2028\u2029", "\u0085\x0b\x0c", '"},{"index":0', "\\ud800 \\n", "{}\x7f", "日本")


@dataclass(frozen=True)
class Expected:
    """A job: the SHA-256 of the body that goes out (empty: the line cannot be sent), its names."""

    sha: str
    custom_id: str
    metadata: Any = None


class Workload:
    """Jobs of one seed; lines can be added at the end. Every body differs from every other one."""

    def __init__(self, rng: random.Random, count: int) -> None:
        self.expected: list[Expected] = []
        self.bodies: dict[str, bytes] = {}  # by their SHA
        self._rng = rng
        self._lines: list[bytes] = []
        self.suffix = rng.choice([".jsonl", ".jsonl", ".jsonl", ".jsonl.gz", ".jsonl.zst"])
        self.grow(count)

    def grow(self, count: int) -> None:
        """Add jobs."""
        for _ in range(count):
            self._lines.append(self._line(len(self.expected)))

    def write(self, path: Path) -> None:
        """Write the file."""
        text = b"".join(self._lines)
        if path.suffix == ".gz":
            text = gzip.compress(text, 1)
        elif path.suffix == ".zst":
            text = zstandard.ZstdCompressor(level=1).compress(text)
        path.write_bytes(text)

    def append(self, path: Path, count: int) -> None:
        """Add jobs to the file that is there."""
        before = len(self._lines)
        self.grow(count)
        if path.suffix in (".gz", ".zst"):
            self.write(path)
            return
        with path.open("ab") as f:
            f.write(b"".join(self._lines[before:]))

    def _line(self, k: int) -> bytes:
        rng = self._rng
        kind = rng.random()
        if kind < 0.02:
            self.expected.append(Expected("", f"request-{k}"))
            return b"\xff not JSON %d\n" % k
        text = f"{k} {rng.choice(WORDS)} " + "x" * rng.choice([0, 0, 0, 10, 300, 20_000])
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
        ascii_only = rng.random() < 0.5
        raw = json.dumps(body, ensure_ascii=ascii_only)
        sha = hashlib.sha256(raw.encode()).hexdigest()
        self.bodies[sha] = raw.encode()
        blank = b"  \r\n" if rng.random() < 0.03 else b""
        if kind < 0.5:
            self.expected.append(Expected(sha, f"request-{k}"))
            return blank + raw.encode() + b"\n"
        meta = {"row": k, "why": rng.choice(WORDS)} if rng.random() < 0.5 else None
        line = {"custom_id": f"c{k}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        if meta is not None:
            line["metadata"] = meta
        self.expected.append(Expected(sha, f"c{k}", meta))
        return blank + json.dumps(line, ensure_ascii=ascii_only).encode() + b"\n"
