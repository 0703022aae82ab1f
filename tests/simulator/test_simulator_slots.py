"""Slots and their queue: as arithmetic, as invariants, and in the provider."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.simulator.provider import Provider
from batchproc.simulator.settings import SimulatorSettings
from batchproc.simulator.slots import ENDLESS, Slots

CHAT = "/v1/chat/completions"

# Slots, queue, then (when it comes, how long it works, how long it waits or None for refused).
TABLE = [
    ("one at a time, each after the last", 1, 9, [(0, 5, 0), (0, 5, 5), (1, 5, 9)]),
    ("two at a time", 2, 9, [(0, 5, 0), (0, 7, 0), (0, 1, 5), (0, 1, 6)]),
    ("the earliest slot is taken, whoever holds it", 2, 9, [(0, 9, 0), (0, 2, 0), (1, 3, 1), (1, 3, 4)]),
    ("a free slot is used at once", 1, 0, [(0, 5, 0), (5, 5, 0), (11, 5, 0)]),
    ("no queue: refused", 1, 0, [(0, 5, 0), (4.9, 5, None), (5, 5, 0)]),
    ("a full queue refuses", 1, 1, [(0, 5, 0), (0, 5, 5), (0, 5, None)]),
    ("and has room again when its first is begun", 1, 1, [(0, 5, 0), (0, 5, 5), (5, 5, 5), (5, 5, None)]),
    ("work without length never waits", 1, 0, [(0, 0, 0), (0, 0, 0)]),
    ("an endless queue takes all", 1, ENDLESS, [(0, 1, k) for k in range(50)]),
]  # fmt: skip


@pytest.mark.parametrize(("slots", "queue", "steps"), [r[1:] for r in TABLE], ids=[r[0] for r in TABLE])
def test_waits_and_refusals(slots: int, queue: int, steps: list[tuple[float, float, float | None]]) -> None:
    """Each row's reason is its name."""
    line = Slots(slots, queue)
    for now_s, work_s, wait_s in steps:
        assert line.full(now_s) == (wait_s is None)
        if wait_s is not None:
            assert line.take(now_s, work_s) == wait_s


ARRIVALS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 20)), max_size=60)


@settings(deadline=None)  # the machine may be busy
@given(st.integers(1, 5), st.integers(0, 6), ARRIVALS)
def test_never_more_at_once_and_first_come_first_served(
    slots: int, queue: int, arrivals: list[tuple[int, int]]
) -> None:
    """At no instant more than the slots are worked on or more than the queue waits; nobody is overtaken.

    And nothing idles: whoever waits, waits for the earliest end of those before; whoever is refused found all taken.
    """
    line = Slots(slots, queue)
    now = 0
    spans: list[tuple[float, float, float]] = []  # came, begun, ended
    for passed, work in arrivals:
        now += passed
        busy = sum(begun <= now < ended for _, begun, ended in spans)
        waiting = sum(begun > now for _, begun, _ in spans)
        assert line.waiting(now) == waiting
        assert line.full(now) == (busy >= slots and waiting >= queue)
        if not line.full(now):
            begun = now + line.take(now, work)
            spans.append((now, begun, begun + work))
            assert (begun == now) == (busy < slots)
    assert [span[1] for span in spans] == sorted(span[1] for span in spans)
    for _, instant, _ in spans:
        assert sum(begun <= instant < ended for _, begun, ended in spans) <= slots
        assert sum(came <= instant < begun for came, begun, _ in spans) <= queue
    ends = [ended for _, _, ended in spans]
    assert all(begun == came or begun in ends for came, begun, _ in spans)


def chat(text: str) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()


def test_a_queue_lengthens_latencies_and_then_refuses() -> None:
    """Two slots of a second, two places to wait: 1 s, 1 s, 2 s, 2 s, refused; and a second later again room."""
    provider = Provider(SimulatorSettings(slots=2, queue=2, latency="1"))
    decisions = [provider.decide(0.0, CHAT, chat(str(k)), in_flight=99) for k in range(5)]
    assert [d.latency_s for d in decisions] == [1.0, 1.0, 2.0, 2.0, 0.0]
    assert [d.waited_s for d in decisions] == [0.0, 0.0, 1.0, 1.0, 0.0]
    assert (decisions[4].status, decisions[4].refused) == (503, "slots")
    assert provider.decide(1.0, CHAT, chat("later")).latency_s == 2.0


def test_a_refused_request_takes_no_slot() -> None:
    """What a limit refuses is not worked on, and what finds no place is not charged."""
    provider = Provider(SimulatorSettings(slots=1, queue=1, rpm=2, latency="1", charge_refused=False))
    assert provider.decide(0.0, CHAT, chat("a")).latency_s == 1.0
    assert provider.decide(0.0, CHAT, chat("b")).latency_s == 2.0
    assert provider.decide(0.0, CHAT, chat("c")).refused == "slots"
    assert provider.decide(1.5, CHAT, chat("d")).refused == "rpm"
    assert provider.decide(31.0, CHAT, chat("e")).latency_s == 1.0


def test_without_a_queue_the_server_counts_for_itself_or_is_told() -> None:
    """`in_flight` decides where it is given, as the HTTP server gives it; else the provider's own arithmetic."""
    told = Provider(SimulatorSettings(slots=1, latency="1"))
    assert [told.decide(0.0, CHAT, chat("a"), in_flight=n).status for n in (0, 0, 1)] == [200, 200, 503]
    alone = Provider(SimulatorSettings(slots=1, latency="1"))
    assert [alone.decide(at_s, CHAT, chat("a")).status for at_s in (0.0, 0.5, 1.0)] == [200, 503, 200]


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 5), st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_queues_are_deterministic(seed: int, gaps: list[int]) -> None:
    """The same seed and arrivals give the same latencies, to the last bit."""

    def once() -> list[tuple[int, float]]:
        provider = Provider(SimulatorSettings(slots=2, queue=3, seed=seed, latency="lognormal:1,0.8"))
        now_s, found = 0.0, []
        for k, gap in enumerate(gaps):
            now_s += gap / 4
            decision = provider.decide(now_s, CHAT, chat(str(k)))
            found.append((decision.status, decision.latency_s))
        return found

    assert once() == once()
