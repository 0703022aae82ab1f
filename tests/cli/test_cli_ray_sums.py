"""What the display of a Ray run adds up."""

from __future__ import annotations

import pytest

from batchproc.cli.onray.summing import Sums
from batchproc.snapshot import ModelRate, Snapshot
from batchproc.store.parts import Manifest


def at_work(requests: int) -> Snapshot:
    """A shard that sent so many requests of ten tokens within the last minute."""
    rate = ModelRate("m", requests, 10 * requests, 6000, None)
    none = dict.fromkeys(Snapshot.__struct_fields__[3:15], 0)
    words = {"waiting_for": "", "eta_s": None, "outage_s": None, "stopping": ""}
    return Snapshot(1.0, None, None, **none, models=(rate,), **words)  # type: ignore[arg-type]


@pytest.fixture
def sums() -> Sums:
    """A run of three shards that began at 0."""
    manifest = Manifest("jobs.jsonl", 30, 0, "", "", [0, 10, 20, 30], {})
    return Sums(manifest, {}, 0.0)


@pytest.mark.parametrize(
    ("later_s", "requests", "why"),
    [(0, 700, "what ended just now was sent within the last minute"), (30, 400, "half of it was"), (60, 100, "none")],
)
def test_what_ended_shards_sent_counts_for_a_minute(sums: Sums, later_s: float, requests: int, why: str) -> None:
    """Shards of some seconds end all the time: the rates shown are those of the run, not of the shards at work now."""
    sums.seen(0, at_work(600))
    sums.seen(1, at_work(100))
    sums.ended(0, None, 50.0)
    (rate,) = sums.snapshot(50.0 + later_s).models
    assert (rate.requests, rate.tokens, rate.request_limit) == (requests, 10 * requests, 6000), why
