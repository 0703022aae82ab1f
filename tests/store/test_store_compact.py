"""What a compaction holds in memory, of a million results that wait."""

from __future__ import annotations

import tracemalloc
from array import array
from types import SimpleNamespace

from batchproc.core.order import InOrder
from batchproc.store.compact import Plan

N = 100_000


async def test_a_few_bytes_for_each_result_that_waits() -> None:
    """Three arrays of eight bytes, and no object for each: a million of those would be a hundred megabytes."""
    order = InOrder()
    for index in range(1, N + 1):
        order.put(index, 10 * index)
    tracemalloc.start()
    try:
        plan = Plan(SimpleNamespace(size=20 * N))  # type: ignore[arg-type]
        await plan.choose(order)
        plan._at = array("q", range(N))
        plan.move(order)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 45 * N
    assert [order.where(index) for index in (1, 2, N)] == [0, 1, N - 1]
