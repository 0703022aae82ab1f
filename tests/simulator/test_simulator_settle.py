"""Charges that are settled when an answer ends: each kind of window, and Anthropic's and Mistral's arithmetic."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.simulator.provider import Provider
from batchproc.simulator.settings import SimulatorSettings
from batchproc.simulator.windows import Bucket, FixedWindow, SlidingWindow, Window

# A window of 60 per 60 s takes 30 at 1 s; at `now` it is settled by `amount`; then so much remains.
SETTLED = [
    ("a bucket is charged more", Bucket(60, 60), 2, 10, 21),
    ("a bucket is given back", Bucket(60, 60), 2, -10, 41),
    ("a bucket never holds more than its capacity", Bucket(60, 60), 50, -30, 60),
    ("a bucket goes into debt", Bucket(60, 60), 2, 50, 0),
    ("a fixed window counts more", FixedWindow(60, 60), 2, 10, 20),
    ("a fixed window gives back", FixedWindow(60, 60), 2, -10, 40),
    ("but not what a past one counted", FixedWindow(60, 60), 61, -10, 60),
    ("what ends in the next window is charged there", FixedWindow(60, 60), 61, 10, 50),
    ("a sliding window remembers more", SlidingWindow(60, 60), 2, 10, 20),
    ("a sliding window forgets part of a charge", SlidingWindow(60, 60), 2, -10, 40),
    ("what it has forgotten is not given back", SlidingWindow(60, 60), 61, -10, 60),
]


@pytest.mark.parametrize(("window", "now_s", "amount", "left"), [r[1:] for r in SETTLED], ids=[r[0] for r in SETTLED])
def test_settling_a_window(window: Window, now_s: float, amount: int, left: int) -> None:
    """Each row's reason is its name."""
    window.take(1, 30)
    window.settle(now_s, 1, amount)
    assert window.remaining(now_s) == left


def test_a_debt_is_waited_for() -> None:
    """A bucket 20 below zero is back at one after 21 s."""
    bucket = Bucket(60, 60)
    bucket.take(0, 60)
    bucket.settle(0, 0, 20)
    assert bucket.wait_s(0, 1) == pytest.approx(21)


def test_a_sliding_window_gives_back_in_the_right_place() -> None:
    """Of two charges the corrected one is smaller for as long as it is remembered, and no longer."""
    window = SlidingWindow(60, 60)
    window.take(0, 30)
    window.take(10, 30)
    window.settle(20, 0, -20)
    assert window.remaining(20) == 20
    assert window.remaining(60) == 30
    assert window.remaining(70) == 60


def message(text: str = "x" * 400, **fields: Any) -> bytes:
    return json.dumps(
        {"model": "c", "max_tokens": 4000, "messages": [{"role": "user", "content": text}], **fields}
    ).encode()


def anthropic(**fields: Any) -> Provider:
    return Provider(SimulatorSettings(dialect="anthropic", window="sliding", latency="5", **fields))


def test_anthropic_input_is_estimated_then_corrected() -> None:
    """102 tokens are estimated, 99 were used: the difference is back when the answer has ended, not before."""
    provider = anthropic(itpm=1000)
    decision = provider.decide(0.0, "/v1/messages", message())
    usage = json.loads(decision.body)["usage"]
    assert usage["input_tokens"] == 99
    limits = provider.limits_of("c")
    assert limits.remaining(0.0) == {"itpm": 1000 - 102}
    provider.settle(4.9)
    assert limits.remaining(4.9) == {"itpm": 1000 - 102}
    provider.settle(5.0)
    assert limits.remaining(5.0) == {"itpm": 1000 - 99}


def test_anthropic_output_is_charged_as_it_was() -> None:
    """max_tokens of 4000 does not matter to a limit of 100; the 56 tokens of the answer do, when it ends."""
    provider = anthropic(otpm=100)
    output = json.loads(provider.decide(0.0, "/v1/messages", message()).body)["usage"]["output_tokens"]
    limits = provider.limits_of("c")
    assert (output, limits.remaining(0.0)) == (56, {"otpm": 100})
    assert provider.decide(4.0, "/v1/messages", message()).admitted
    assert provider.decide(5.0, "/v1/messages", message()).admitted
    assert limits.remaining(5.0) == {"otpm": 44}
    refused = provider.decide(10.0, "/v1/messages", message())  # three answers are 168 of 100
    assert (refused.status, refused.refused) == (429, "otpm")
    assert refused.headers["retry-after"] == "59"  # until 69, when two of the three are forgotten


def test_anthropic_combined_limit() -> None:
    """A combined limit is charged the estimated input first and all that was used in the end."""
    provider = anthropic(tpm=1000)
    decision = provider.decide(0.0, "/v1/messages", message())
    limits = provider.limits_of("c")
    assert limits.remaining(0.0) == {"tpm": 898}
    provider.settle(5.0)
    assert limits.remaining(5.0) == {"tpm": 1000 - 99 - 56}
    assert decision.charged == decision.usage == 155


def test_a_failed_answer_has_no_output_and_keeps_its_input() -> None:
    """After a 500 the estimate stays charged and no output is."""
    provider = anthropic(itpm=1000, otpm=100, faults=("500=1",))
    provider.decide(0.0, "/v1/messages", message())
    provider.settle(5.0)
    assert provider.limits_of("c").remaining(5.0) == {"itpm": 898, "otpm": 100}


def test_an_answer_that_breaks_on_the_wire_is_charged() -> None:
    """Whoever lost the answer pays for it all the same."""
    provider = anthropic(otpm=100, faults=("reset=1",))
    assert provider.decide(0.0, "/v1/messages", message()).wire == "reset"
    provider.settle(5.0)
    assert provider.limits_of("c").remaining(5.0) == {"otpm": 44}


def test_mistral_is_paid_afterwards() -> None:
    """A limit of 100 lets in whatever comes while a token is left, and charges what was used when it ends."""
    provider = Provider(SimulatorSettings(dialect="mistral", tpm=100, latency="2"))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}).encode()
    first = provider.decide(0.0, "/v1/chat/completions", body)
    second = provider.decide(1.0, "/v1/chat/completions", body)
    assert (first.status, second.status, first.usage) == (200, 200, 155)
    assert first.headers["x-ratelimit-tokens-query-cost"] == "155"
    assert second.headers["x-ratelimit-remaining-tokens-minute"] == "0"
    assert provider.limits_of("m").remaining(1.0)["tpm"] == 100
    third = provider.decide(2.0, "/v1/chat/completions", body)
    assert (third.status, third.refused, third.headers["retry-after"]) == (429, "tpm", "58")
    assert provider.decide(60.0, "/v1/chat/completions", body).status == 200


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 400), st.integers(1, 60)), max_size=25))
def test_in_the_end_everything_used_is_charged(steps: list[tuple[int, int, int]]) -> None:
    """Whatever the order of ends, an endless sliding window has been charged exactly the sum of all usages."""
    served = SimulatorSettings(dialect="anthropic", itpm=10**9, otpm=10**9, window="sliding", latency="0.1-40")
    provider = Provider(served)
    now_s, used_in, used_out = 0.0, 0, 0
    for k, (gap, length, cap) in enumerate(steps):
        now_s += gap / 100  # all within a minute of each other
        decision = provider.decide(now_s, "/v1/messages", message(f"{k} {'y' * length}", max_tokens=cap))
        usage = json.loads(decision.body)["usage"]
        used_in += usage["input_tokens"]
        used_out += usage["output_tokens"]
    provider.settle(45.0)
    assert provider.limits_of("c").remaining(45.0) == {"itpm": 10**9 - used_in, "otpm": 10**9 - used_out}
