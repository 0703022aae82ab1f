"""The quota of one model, as it is kept for several runs: a bucket for each limit, from which leases are booked.

A lease is booked ahead: the level may become negative, and who booked waits until it has refilled to nothing. So
leases come into force one after another at the rate of the limit, first come, first served, whatever their sizes, and
nobody polls. What nobody books is kept for `burst_s` only, except of a limit per day, which is kept whole.

A bucket begins EMPTY: a store that lost its memory gives no second burst. A limit per day begins full: an even trickle
would make a day's work of ten jobs, and what a day has used the server knows.

Who could not reach the store went on with a part of its share. That is charged on return: first to what meanwhile ran
over here (nobody else had it), then to the level.

Pure: `now` is Unix time. A clock that jumps back empties the buckets and shifts what it had set; one that jumps
forward refills no more than the burst. `quota/script.py` says the same in Lua; one suite of tests runs both.
"""

from __future__ import annotations

from msgspec import Struct, field

from batchproc.lease import GONE_S, Ask, Granted, Positive, Want

VERSION = 1
LONG_S = 3600.0  # a window this long is kept whole
_JUMP_S = 1.0  # a clock that goes back further was set
_SPARE_S = 5.0  # so long what ran over may be charged against
_SPARE_MOST_S = 60.0  # and so many seconds' worth of it


class Level(Struct):
    """One limit."""

    given: Positive
    limit: Positive  # the lower of it and what the server named
    window_s: Positive
    level: float
    spare: float = 0.0  # what ran over lately
    spare_at: float = 0.0


class Pot(Struct):
    """The state, as it is stored."""

    version: int = VERSION
    at: float = 0.0
    hold: float = 0.0  # until then nobody sends
    parts: dict[str, Level] = field(default_factory=dict)
    workers: dict[str, float] = field(default_factory=dict)  # when each was last heard of


def exchange(pot: Pot, ask: Ask, worker: str, now: float) -> Granted:
    """Carry out what `worker` asks for, and answer."""
    passed = _passed(pot, now)
    _live(pot, ask, worker, pot.at)
    pot.hold = max(pot.hold, pot.at + ask.hold_s if ask.hold_s else 0.0)
    for part in pot.parts.values():
        _refill(part, passed, pot.at, ask.burst_s)
    wait_s = 0.0
    for want in ask.wants:
        wait_s = max(wait_s, _book(pot, want, ask))
    hold_s = max(0.0, pot.hold - pot.at)
    return Granted(
        max(wait_s, hold_s),
        hold_s,
        max(1, len(pot.workers)),
        {key: part.limit for key, part in pot.parts.items()},
        {key: part.given for key, part in pot.parts.items()},
    )


def _passed(pot: Pot, now: float) -> float:
    """Seconds since the last exchange; sets the pot's clock."""
    passed = now - pot.at
    if passed >= 0:
        pot.at = now
        return passed
    if passed < -_JUMP_S:
        pot.at = now
        pot.hold = max(0.0, pot.hold + passed)
        pot.workers = dict.fromkeys(pot.workers, now)
        for part in pot.parts.values():
            part.level = min(0.0, part.level)
            part.spare = 0.0
    return 0.0


def _live(pot: Pot, ask: Ask, worker: str, now: float) -> None:
    pot.workers = {name: at for name, at in pot.workers.items() if now - at <= GONE_S and name != worker}
    if not ask.leaving:
        pot.workers[worker] = now


def _most(part: Level, burst_s: float) -> float:
    return part.limit if part.window_s >= LONG_S else part.limit / part.window_s * burst_s


def _refill(part: Level, passed: float, now: float, burst_s: float) -> None:
    rate, most = part.limit / part.window_s, _most(part, burst_s)
    level = part.level + passed * rate
    if now - part.spare_at > _SPARE_S:
        part.spare = 0.0
    if level > most:
        part.spare = min(part.spare + level - most, _SPARE_MOST_S * rate)
        part.spare_at = now
        level = most
    part.level = level


def _book(pot: Pot, want: Want, ask: Ask) -> float:
    """Carry out what is wanted of one limit; returns how long to wait for it."""
    part = pot.parts.get(want.key)
    if part is None:
        if not want.given:
            return 0.0
        # What was sent without a store that comes back empty was covered by what this one would have refilled.
        spare = want.given / want.window_s * _SPARE_MOST_S
        level = want.given if want.window_s >= LONG_S else 0.0
        part = pot.parts[want.key] = Level(want.given, want.given, want.window_s, level, spare, pot.at)
    elif ask.reset and want.given:
        part.given = part.limit = want.given
    if 0 < want.told < part.limit:
        part.limit = want.told
    covered = min(part.spare, want.offline)
    part.spare -= covered
    part.level -= want.offline - covered + want.cost
    part.level = min(part.level, _most(part, ask.burst_s))
    return -part.level * part.window_s / part.limit if want.cost > 0 and part.level < 0 else 0.0
