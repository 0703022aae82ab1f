"""The window of requests in flight: growth, trials, plateaus, and what a refusal means for it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.concurrency import FIRST, MOST, PATIENCE, Phase, Window
from batchproc.core.plateau import Curve, Level

_REFUSAL_S = 0.02


class Server:
    """Keeps a window full: `slots` work for `latency_s` each, `queue` wait, the rest is refused after 20 ms."""

    def __init__(self, window: Window, slots: int, latency_s: float = 1.0, queue: float = 0.0) -> None:
        self.window, self.slots, self.latency_s, self.queue = window, slots, latency_s, queue
        self.now = 0.0
        self.answers = self.refusals = self.unrelated = 0
        self.refuses: Callable[[int], bool] = lambda n: False  # the n-th request, whatever is in flight
        self._sent = 0
        self._held: list[float] = []  # when what was let in will have been answered
        self._flying: list[tuple[float, int, int, float, bool]] = []

    def _send(self) -> None:
        self._sent += 1
        self._held = [at for at in self._held if at > self.now + 1e-9]
        among = len(self._flying) + 1
        full = len(self._held) >= self.slots + self.queue
        if full or self.refuses(self._sent):
            heappush(self._flying, (self.now + _REFUSAL_S, self._sent, among, self.now, False))
            return
        before = sorted(self._held)
        start = self.now if len(before) < self.slots else before[len(before) - self.slots]
        self._held.append(start + self.latency_s)
        heappush(self._flying, (start + self.latency_s, self._sent, among, self.now, True))

    def run(self, until: float) -> Server:
        while True:
            while self.window.has_room(len(self._flying)):
                self._send()
            if self._flying[0][0] > until:
                return self
            in_flight = len(self._flying)
            self.now, _, among, sent_at, good = heappop(self._flying)
            if good:
                self.answers += 1
                self.window.answered(in_flight, among, sent_at, self.now)
            else:
                self.refusals += 1
                self.unrelated += not self.window.overloaded(in_flight, sent_at, self.now)
            assert 1 <= self.window.size <= MOST

    def then(self, seconds: float) -> tuple[int, int]:
        """Answers and refusals of this time."""
        before = self.answers, self.refusals
        self.run(self.now + seconds)
        return self.answers - before[0], self.refusals - before[1]


def test_slow_start_doubles_while_it_is_in_use():
    """8, 16, 32 … 1000: one round trip each."""
    window, sizes = Window(None), []
    for trip in range(20):
        sizes.append(int(window.size))
        for _ in range(int(window.size)):
            window.answered(int(window.size), int(window.size), trip - 0.5, float(trip))
        if window.size == MOST:
            break
    assert sizes == [8, 16, 32, 64, 128, 256, 512]
    assert not window.has_room(MOST)
    assert window.has_room(MOST - 1)


def test_it_does_not_grow_while_it_is_not_in_use():
    """Seven in flight of eight say nothing about sixteen; nor do they make it smaller."""
    window = Window(None)
    for n in range(1000):
        window.answered(7, 7, n, n + 9.0)
    assert window.size == 8


@pytest.mark.parametrize(("fixed", "first", "then"), [(500, 8, 500), (8, 8, 8), (3, 3, 3), (1, 1, 1), (5000, 8, 5000)])
def test_a_number_is_used_once_the_first_answer_is_in(fixed, first, then):
    """At most 8 before it, the number after it."""
    window = Window(fixed)
    assert window.size == first
    window.answered(1, 1, 0.0, 1.0)
    assert window.size == then


def test_one_overload_first_does_not_take_a_number_away():
    """The number that was asked for is tried before it is doubted."""
    window = Window(100)
    assert window.overloaded(8, 0.0, 1.0)
    window.answered(8, 8, 0.0, 1.0)
    assert window.size == 100


@pytest.mark.parametrize("queue", [0, 10_000])
def test_a_number_is_never_tuned_by_throughput(queue):
    """A queue of ten slots' work is what the user asked for."""
    server = Server(Window(100), 100 if not queue else 10, queue=queue).run(60)
    assert server.window.size == 100


@pytest.mark.parametrize("fixed", [None, 100])
@pytest.mark.parametrize("slots", [1, 4, 7, 32, 90])
def test_slots_without_a_queue_are_found_and_hardly_asked_for_more(slots, fixed):
    """All slots work, and fewer than two requests in a hundred are refused."""
    server = Server(Window(fixed), slots).run(30)
    answers, refusals = server.then(100)
    assert answers >= 0.97 * 100 * slots
    assert refusals <= 0.02 * (answers + refusals) + 1
    assert not server.unrelated


@pytest.mark.parametrize(("before", "after"), [(8, 64), (64, 128), (64, 48), (64, 20), (256, 8)])
def test_slots_that_come_and_go(before, after):
    """Autoscaling: what is new is used, what is gone is not asked for."""
    server = Server(Window(None), before).run(30)
    server.slots = after
    server.run(80)
    answers, refusals = server.then(50)
    assert answers >= 0.95 * 50 * after
    assert refusals <= 0.03 * (answers + refusals)


@pytest.mark.parametrize("slots", [4, 32, 256])
@pytest.mark.parametrize("latency_s", [1.0, 10.0])
def test_before_an_endless_queue_it_stops_where_throughput_does(slots, latency_s):
    """All slots work, and what waits is no more than a few times what is worked on."""
    server = Server(Window(None), slots, latency_s, queue=1e9).run(40 * latency_s)
    answers, _ = server.then(10 * latency_s)
    assert answers == pytest.approx(10 * slots, abs=slots)
    assert slots <= server.window.size <= max(6 * slots, 32)


def test_a_queue_that_grows_shorter_work_is_harmless():
    """Where all is answered within half a second there is nothing to tune, and it grows as ever."""
    server = Server(Window(None), 2500, 0.2, queue=1e9).run(5)
    assert server.window.size == MOST


def test_refusals_that_come_anyway_do_not_lower_it():
    """One in ten, whatever is in flight: after a look whether fewer in flight helps, it grows on."""
    server = Server(Window(None), 256)
    server.refuses = lambda n: n % 10 == 3
    server.run(60)
    answers, _ = server.then(30)
    assert answers >= 0.85 * 30 * 256
    assert server.unrelated > 0, "and these are told from «too many at once»"


def test_over_thirty_percent_cut_it_by_half_once_a_round_trip():
    """Over 30% of the last 20, at the number that had passed."""
    window = Window(None)
    window.answered(8, 8, 0.0, 1.0)
    window.answered(8, 8, 1.5, 2.0)
    window._tolerant, window.phase, before = True, Phase.STANDING, int(window.size)
    window._ground = window.size
    for _ in range(6):
        assert not window.overloaded(before, 3.0, 4.0)
    assert window.size == before, "6 of 20 are not over 30%"
    assert window.overloaded(1, 3.0, 4.0)
    assert window.size == pytest.approx(before / 2, abs=1)
    cut = window.size
    for _ in range(20):
        assert window.overloaded(5, 3.9, 5.0), "sent before the cut: the same round trip"
    assert window.size == cut


def test_nothing_but_refusals_leaves_one():
    """Never none."""
    window = Window(None)
    for n in range(200):
        window.overloaded(int(window.size), n, n + 0.5)
    assert window.size == 1
    assert window.has_room(0)


def test_after_an_outage_it_starts_slowly():
    """The number asked for is grown into again."""
    window = Window(100)
    window.answered(1, 1, 0.0, 1.0)
    window.restart()
    assert window.size == FIRST
    for _ in range(8):
        window.answered(int(window.size), 8, 0.0, 2.0)
    assert window.size == 16


def test_a_failed_trial_waits():
    """Before the next: 10 answers, then 20, 40, 80, 80 …; one refusal each."""
    server = Server(Window(None), 8).run(200)
    assert server.answers / (server.refusals - 8) > PATIENCE / 2


@pytest.mark.parametrize(
    ("latency_at", "flat", "why"),
    [
        (lambda n: 1.0, False, "it does not get slower"),
        (lambda n: 1.0 + n / 100, False, "it batches: slower, but more"),
        (lambda n: n / 8, True, "a queue: as much slower as there are more"),
        (lambda n: max(1.0, n / 32), True, "a queue from 32 on"),
        (lambda n: n / 1000, False, "a queue that takes no time"),
    ],
)
def test_what_is_a_plateau(latency_at, flat, why):
    """Judged by the latencies at each number in flight."""
    curve = Curve()
    found = any(curve.flat(n, latency_at(n)) for n in range(8, 200) for _ in range(2))
    assert found is flat, why


def level_after(level: Level, rate: Callable[[float], float], seconds: float) -> float | None:
    """The size wanted after so long, of a server that answers so many a second with so many in flight."""
    wanted: float | None = level.size
    now = 0.0
    while now < seconds and wanted is not None:
        now += 1 / rate(wanted)
        wanted = level.answered(wanted / rate(wanted), now)
    return wanted


def test_a_level_stays_where_nothing_changes():
    """More is tried, brings nothing, and is left again."""
    level = Level(48, 1.5)
    assert level_after(level, lambda n: 32.0, 500) in (48, 72)
    assert level.size == 48


def test_a_level_grows_where_the_server_does_more():
    """Both when it shows by itself and when only a trial of more shows it."""
    level = Level(48, 1.5)
    level_after(level, lambda n: 32.0, 20)
    assert level_after(level, lambda n: 48.0, 100) is None
    assert level_after(Level(48, 1.0), lambda n: n, 100) is None


def test_a_level_shrinks_where_slots_were_lost_and_not_where_jobs_grew_longer():
    """Fewer answers: only if fewer in flight bring as many is the number made smaller."""
    lost = Level(48, 1.5)
    level_after(lost, lambda n: 32.0, 20)
    level_after(lost, lambda n: 8.0, 300)
    assert 8 <= lost.size < 20
    longer = Level(30, 1.0)
    level_after(longer, lambda n: 30.0, 20)
    level_after(longer, lambda n: min(n, 30) / 3, 300)
    assert longer.size == 30


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 1200), st.floats(0, 20), st.floats(0, 3)), max_size=300),
    st.one_of(st.none(), st.integers(1, 2000)),
)
def test_whatever_comes_it_stays_between_one_and_the_most(events, fixed):
    """Never none, never more than was asked for; and the ground is never above what is allowed."""
    window, now = Window(fixed), 0.0
    for good, in_flight, ago, later in events:
        now += later
        among = min(in_flight, 7)
        if good:
            window.answered(in_flight, among, now - ago, now)
        else:
            window.overloaded(in_flight, now - ago, now)
        assert 1 <= window.size <= (fixed or MOST)
        assert window.has_room(0)
