"""The charge rule: found within seconds from what remains, and revised where it was wrong."""

from __future__ import annotations

from random import Random

import pytest

from batchproc.core.charging import RULES, Charging, charges_of
from batchproc.model import Job


def job(tokens: int, by_bytes: int, cap: int | None) -> Job:
    """A job of these weights."""
    return Job(0, 1, b"", "", "/x", "m", b"", None, input_tokens=tokens, output_cap=cap, limiter_tokens=by_bytes)


def jobs(seed: int = 1, cap: int | None = None):
    """Jobs without end whose inputs and maxima differ, bytes/4 and tokens included."""
    random = Random(seed)
    while True:
        tokens = random.randrange(100, 900)
        yield job(tokens, int(tokens * random.uniform(1.1, 1.5)), random.randrange(50, 900) if cap is None else cap)


def follow(charging: Charging, rule: int, source, seconds: float, start: float = 0.0, refill: float = 0.0) -> list:
    """A server of this rule, ten jobs a second; the rules that were believed on the way."""
    remaining, believed = 1e9, []
    for n in range(int(seconds * 10)):
        one = next(source)
        totals = charging.sent(one, start + n / 10)
        remaining += refill / 10 - charges_of(one)[rule]
        if charging.told(totals, int(remaining), refill):
            believed.append(charging.rule)
    return believed


@pytest.mark.parametrize("refill", [0.0, 2000.0])
@pytest.mark.parametrize("rule", range(len(RULES)))
def test_each_rule_is_found_within_seconds(rule, refill):
    """On a bucket and on a server that counts in windows."""
    charging = Charging()
    assert follow(charging, rule, jobs(), 5, refill=refill) == [rule]


@pytest.mark.parametrize("rule", range(len(RULES)))
@pytest.mark.parametrize("wrong", range(len(RULES)))
def test_a_wrong_rule_is_revised(rule, wrong):
    """A choice that misses by more than a few per cent is given up within half a minute."""
    charging = Charging()
    charging.rule = wrong
    follow(charging, rule, jobs(), 30)
    assert charging.rule is not None
    charged = [charges_of(one) for one, _ in zip(jobs(2), range(500), strict=False)]
    said, true = (sum(c[n] for c in charged) for n in (charging.rule, rule))
    assert said == pytest.approx(true, rel=0.09)


def test_rules_that_agree_are_as_good():
    """Where no job names a maximum, max and prompt are the same."""
    charging = Charging()
    follow(charging, 2, jobs(cap=0), 5)
    assert charging.rule is not None
    one = next(jobs(3, cap=0))
    assert charging.charge(one, 99) == one.limiter_tokens


@pytest.mark.parametrize(
    ("cap", "charge", "why"), [(None, 150, "the reserve"), (0, 100, "none wanted"), (400, 500, "its maximum")]
)
def test_until_a_rule_is_known_the_charge_is_careful(cap, charge, why):
    """The input and the output to expect."""
    assert Charging().charge(job(100, 90, cap), 50) == charge, why


def test_an_endpoint_without_an_estimate_is_charged_by_tokens():
    """Where there is no rule by bytes."""
    assert charges_of(job(100, 0, 10)) == (100, 100, 100, 100, 110, 110)


def test_a_factor_is_no_rule():
    """A server that charges three times the input follows no rule that is known."""
    charging = Charging()
    remaining = 1e9
    source = jobs(cap=0)
    for n in range(600):
        one = next(source)
        totals = charging.sent(one, n / 10)
        remaining -= 3 * one.limiter_tokens
        assert not charging.told(totals, int(remaining), 0.0)
    assert charging.rule is None


def test_a_refusal_for_tokens_puts_the_rule_in_doubt():
    """One for requests does not."""
    charging = Charging()
    follow(charging, 2, jobs(), 5)
    one = next(jobs())
    charging.sent(one, 9.0)
    charging.refused(one, by_tokens=False)
    assert charging.rule == 2
    charging.sent(one, 9.0)
    charging.refused(one, by_tokens=True)
    assert charging.rule is None
    assert follow(charging, 4, jobs(), 5, start=10.0) == [4]


def test_refused_jobs_are_not_summed():
    """They took no tokens, so they must not mislead."""
    charging = Charging()
    source, remaining = jobs(), 1e9
    for n in range(60):
        lost = next(source)
        charging.sent(lost, n / 10)
        charging.refused(lost, by_tokens=False)
        one = next(source)
        remaining -= charges_of(one)[4]
        charging.told(charging.sent(one, n / 10), int(remaining), 0.0)
    assert charging.rule == 4


def test_another_window_is_no_evidence():
    """What remains jumps up when a fixed minute begins."""
    charging = Charging()
    source = jobs()
    assert not charging.told(charging.sent(next(source), 0.0), 100, 0.0)
    assert not charging.told(charging.sent(next(source), 2.0), 100_000, 0.0)
    assert charging.rule is None
    assert follow(charging, 3, source, 5, start=3.0) == [3]


def test_what_remains_in_two_windows_is_not_compared():
    """Across the end of a window `remaining` says nothing of what was charged: no rule may come of it."""
    charging = Charging()
    first = charging.sent(job(100, 100, 400), 50.0)
    charging.told(first, 10_000, 0.0, ends=60.0)
    last = first
    for n in range(1, 20):
        last = charging.sent(job(100, 100, 400), 50.0 + n)
    # 1,900 less than before: exactly the inputs of these jobs, by chance.
    charging.told(last, 8_100, 0.0, ends=120.0)
    assert charging.rule is None


@pytest.mark.parametrize(
    ("remaining", "rule", "why"),
    [
        (120_000 - 150, "prompt, bytes/4", "an untouched bucket of the whole limit"),
        (2_000 - 150, "prompt, bytes/4", "one of a second's worth"),
        (120_000 - 100, "prompt, tokens", "a true count"),
        (120_000 - 550, "sum, bytes/4", ""),
        (120_000 - 400, "max of bytes/4", "the larger, whichever way the input is counted"),
        (120_000 - 300, None, "others have used it before, or two requests came first"),
        (120_000, None, "nothing was charged"),
    ],
)
def test_the_first_request_shows_its_charge(remaining, rule, why):
    """Exactly, without waiting for a slope: 100 tokens, estimated at 150, a maximum of 400."""
    charging = Charging()
    one = job(100, 150, 400)
    charging.sent(one, 0.0)
    assert charging.first(one, 120_000, remaining) == (rule is not None), why
    assert (charging.rule is None) if rule is None else (RULES[charging.rule or 0] == rule)


def test_only_the_first_answers_can_be_of_an_untouched_bucket():
    """Later a charge would be hit by accident."""
    charging = Charging()
    one = job(100, 150, 400)
    for _ in range(8):
        assert not charging.first(one, 120_000, 50_000)
    assert not charging.first(one, 120_000, 120_000 - 150)


def test_a_bucket_that_was_full_says_nothing():
    """What it would have been refilled by was lost: the slope would show the refill, not the charge."""
    charging = Charging()
    charging.rule = 2
    for n in range(300):
        totals = charging.sent(job(100, 150, 400), n / 10)
        assert not charging.told(totals, 2000 - 150, 4000.0, full=2000 - 550)
    assert charging.rule == 2


@pytest.mark.parametrize("rule", range(len(RULES)))
@pytest.mark.parametrize("wrong", [None, 0, 3, 4])
def test_on_a_sliding_window_all_that_is_used_counts(rule, wrong):
    """What expires between two answers does not lead astray, however long it goes on."""
    charging, source = Charging(), jobs(4)
    charging.rule = wrong
    sent: list[tuple[float, int]] = []
    for n in range(3000):
        now, one = n / 10, next(source)
        totals = charging.sent(one, now)
        sent.append((now, charges_of(one)[rule]))
        charging.told_sliding(totals, sum(c for at, c in sent[-700:] if at > now - 60), 60.0)
    assert charging.rule is not None
    charged = [charges_of(one) for one, _ in zip(jobs(5), range(500), strict=False)]
    said, true = (sum(c[n] for c in charged) for n in (charging.rule, rule))
    assert said == pytest.approx(true, rel=0.09)
    assert len(charging._log) < 400
