"""Between the engine and whoever takes the results: order, and the bound, whatever comes when."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from batchproc import Result
from batchproc.api import delivery as module
from batchproc.api.delivery import Delivery
from batchproc.model import NO_USAGE


def result(index: int, size: int = 10) -> Result:
    return Result(index, b"x" * size, NO_USAGE, failed=False)


@given(
    order=st.integers(0, 40).flatmap(lambda n: st.permutations(range(n))),
    missing=st.sets(st.integers(0, 39), max_size=5),
    takes=st.lists(st.integers(0, 5), max_size=40),
    ordered=st.booleans(),
)
def test_what_is_put_is_taken_once(order: list[int], missing: set[int], takes: list[int], ordered: bool) -> None:
    """Ordered: none before an earlier one that comes; else in the order of arrival. Nothing twice, nothing lost."""

    async def main() -> None:
        delivery = Delivery(ordered=ordered, look_ahead=50)
        delivery.pulled = len(order)
        came = [index for index in order if index not in missing]
        taken: list[int] = []
        for n, index in enumerate(came):
            delivery.put(result(index))
            for _ in range(takes[n] if n < len(takes) else 0):
                if not delivery._ready:
                    break
                found = await delivery.next()
                assert found is not None
                taken.append(found.index)
            if ordered:
                assert taken == list(range(len(taken))), "before the end, only the unbroken run from 0"
            assert delivery.left == 50 - len(order) + len(taken)
        delivery.end()
        while (found := await delivery.next()) is not None:
            taken.append(found.index)
        assert taken == (sorted(came) if ordered else came)

    asyncio.run(main())


async def test_large_results_are_bounded_by_their_bytes() -> None:
    """However few they are; taking one makes room, which is told."""
    told: list[bool] = []
    delivery = Delivery(ordered=True, look_ahead=1000)
    delivery.room = lambda: told.append(True)
    delivery.pulled = 3
    for index in (1, 2):  # waiting for the first one counts as well
        delivery.put(result(index, module._MOST_BYTES // 2))
    assert delivery.full
    assert delivery.left == 0
    delivery.put(result(0))
    await delivery.next()
    assert told == []
    await delivery.next()
    assert told == [True]
    assert delivery.left == 1000 - 1


async def test_whoever_waits_is_woken() -> None:
    """By a result, and by the end."""
    delivery = Delivery(ordered=True, look_ahead=10)
    waiting = asyncio.ensure_future(delivery.next())
    await asyncio.sleep(0)
    delivery.put(result(1))
    await asyncio.sleep(0)
    assert not waiting.done(), "the first one is not there"
    delivery.put(result(0))
    first = await waiting
    assert first is not None
    assert first.index == 0
    assert (await delivery.next()) is not None
    waiting = asyncio.ensure_future(delivery.next())
    await asyncio.sleep(0)
    delivery.end()
    assert await waiting is None
