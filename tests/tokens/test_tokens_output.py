"""What is set aside for output: the job's own maximum, or what the answers taught."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchproc.tokens.body import read
from batchproc.tokens.output import COLD_ANSWERS, COLD_RESERVE, MOST, LearntOutput, output_cap

CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES = "/chat/completions", "/completions", "/embeddings", "/responses"


@pytest.mark.parametrize(
    ("path", "body", "cap", "reason"),
    [
        (CHAT, {}, None, "the job names none"),
        (CHAT, {"max_tokens": 50}, 50, "the field that every compatible server takes"),
        (CHAT, {"max_completion_tokens": 50}, 50, "the field of newer models"),
        (CHAT, {"max_completion_tokens": 50, "max_tokens": 70}, 50, "the newer one of two"),
        (CHAT, {"max_completion_tokens": None, "max_tokens": 70}, 70, "null is not there"),
        (CHAT, {"max_tokens": 50, "n": 3}, 150, "every choice is billed"),
        (CHAT, {"max_tokens": 50, "n": 2, "best_of": 3}, 150, "the larger of the two"),
        (CHAT, {"max_tokens": 50, "n": 0}, 50, "no choice at all is no request"),
        (CHAT, {"max_tokens": 50, "n": "3"}, 50, "text is no number"),
        (CHAT, {"max_tokens": 50, "n": -3}, 50, "less than none"),
        (CHAT, {"max_tokens": 50, "n": True}, 50, "a bool is no number"),
        (CHAT, {"n": 3}, None, "how many, but not how long"),
        (CHAT, {"max_tokens": 0}, 0, "nothing is a maximum"),
        (CHAT, {"max_tokens": -1}, None, "less than nothing is none"),
        (CHAT, {"max_tokens": True}, None, "a bool is no number"),
        (CHAT, {"max_tokens": 50.0}, None, "no whole number in JSON's sense"),
        (CHAT, {"max_tokens": "50"}, None, "text is no number"),
        (CHAT, {"max_tokens": [50]}, None, "a list is no number"),
        (CHAT, {"max_tokens": "50", "max_completion_tokens": 7}, 7, "the other one is good"),
        (CHAT, {"max_tokens": 10**18}, MOST, "more than fits where it is stored"),
        (CHAT, {"max_tokens": 10**30, "n": 10**30}, MOST, "larger than 64 bits"),
        (CHAT, {"max_output_tokens": 50}, None, "a field of another endpoint"),
        (COMPLETIONS, {"prompt": "a"}, 16, "the default there"),
        (COMPLETIONS, {"prompt": "a", "max_tokens": None}, 16, "null is not there"),
        (COMPLETIONS, {"prompt": "a", "max_tokens": 50}, 50, "the job's own"),
        (COMPLETIONS, {"prompt": "a", "max_tokens": 0}, 0, "to have the prompt echoed"),
        (COMPLETIONS, {"prompt": ["a", "b", "c"], "max_tokens": 50}, 150, "for each prompt"),
        (COMPLETIONS, {"prompt": [[1], [2]], "max_tokens": 50}, 100, "for each prompt as tokens"),
        (COMPLETIONS, {"prompt": [1, 2, 3], "max_tokens": 50}, 50, "one prompt as tokens"),
        (COMPLETIONS, {"prompt": [], "max_tokens": 50}, 50, "no prompt is taken for one"),
        (
            COMPLETIONS,
            {"prompt": ["a", "b"], "max_tokens": 50, "n": 2, "best_of": 5},
            500,
            "prompts x best_of",
        ),
        (COMPLETIONS, {"prompt": ["a", "b"]}, 32, "the default for each prompt"),
        (RESPONSES, {}, None, "the job names none"),
        (RESPONSES, {"max_output_tokens": 50}, 50, "the field there"),
        (RESPONSES, {"max_tokens": 50}, None, "a field of another endpoint"),
        (RESPONSES, {"max_output_tokens": 1.5}, None, "no whole number"),
        (EMBEDDINGS, {"input": "a"}, 0, "nothing is generated"),
        (EMBEDDINGS, {"input": "a", "max_tokens": 50}, 0, "whatever it says"),
        ("/moderations", {"input": "a"}, 0, "nothing is generated"),
        ("/messages", {"max_tokens": 50}, 50, "Anthropic's field"),
        ("/elsewhere", {"max_output_tokens": 50}, 50, "any of the three where the endpoint is not known"),
        ("/elsewhere", {}, None, "the job names none"),
    ],
)
def test_output_cap(path: str, body: dict[str, object], cap: int | None, reason: str) -> None:
    """Which fields cap the output, at which endpoint, and how often they count."""
    parsed = read(json.dumps(body).encode())
    assert parsed is not None
    assert output_cap(path, parsed) == cap, reason


calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
ANSWERS = st.lists(st.integers(1, 100_000), min_size=COLD_ANSWERS, max_size=200)


def taught(answers: list[int]) -> LearntOutput:
    learnt = LearntOutput()
    for answer in answers:
        learnt.observe(answer)
    return learnt


def test_before_any_answer_it_is_the_cold_default() -> None:
    """Nothing is known yet."""
    assert LearntOutput().reserve() == COLD_RESERVE


def test_the_first_short_answers_do_not_lower_it() -> None:
    """The shortest answers come first, so a few of them say little about the rest."""
    assert taught([5] * (COLD_ANSWERS - 1)).reserve() == COLD_RESERVE
    assert taught([5] * COLD_ANSWERS).reserve() == 5


def test_the_first_long_answer_raises_it() -> None:
    """Answers much longer than the default are believed at once, as too low a reserve is what hurts."""
    assert taught([9_000]).reserve() == 9_000


@calmly
@given(st.integers(1, 100_000), st.integers(COLD_ANSWERS, 300))
def test_equal_answers_are_reserved_exactly(answer: int, times: int) -> None:
    """Without any spread there is no margin: classification answers of one token reserve one token."""
    assert taught([answer] * times).reserve() == answer


@calmly
@given(ANSWERS)
def test_it_stays_near_what_was_seen(answers: list[int]) -> None:
    """Never under the shortest answer, and over the longest by an eighth of the range at the most."""
    low, high = min(answers), max(answers)
    assert low <= taught(answers).reserve() <= math.ceil(high + (high - low) / 8)


@calmly
@given(ANSWERS)
def test_it_depends_on_the_answers_alone(answers: list[int]) -> None:
    """The same answers in the same order give the same reserve: no clock, no randomness."""
    assert taught(answers).reserve() == taught(answers).reserve()


@calmly
@given(ANSWERS, st.integers(-5, 0))
def test_a_missing_usage_teaches_nothing(answers: list[int], nothing: int) -> None:
    """A provider that reports no usage reads as zero, which must not empty the reserve."""
    assert taught([*answers, nothing]).reserve() == taught(answers).reserve()
    assert taught([nothing] * 100).reserve() == COLD_RESERVE


def test_it_follows_a_change() -> None:
    """When a file turns from short to long answers, 200 of them are enough to be within a tenth."""
    assert 1_000 <= taught([20] * 500 + [1_000] * 200).reserve() <= 1_100


@pytest.mark.parametrize(
    ("draw", "reason"),
    [
        (lambda r: 1 + int(r.expovariate(1 / 300)), "exponential: many short, few long"),
        (lambda r: 1 + int(r.lognormvariate(5, 1)), "log-normal: a long tail"),
        (lambda r: r.randint(200, 400), "even"),
        (lambda r: 2 if r.random() < 0.9 else 1_500, "yes or no, and now and then an essay"),
    ],
)
def test_it_is_not_systematically_low(draw: object, reason: str) -> None:
    """Over batches of 64 requests the sum set aside covers what comes in most of them, at a small surplus."""
    assert callable(draw)
    chance = random.Random(7)
    learnt, covered, reserved, spent = LearntOutput(), 0, 0, 0
    batches = 400
    for batch in range(-2, batches):
        answers = [draw(chance) for _ in range(64)]
        if batch >= 0:
            covered += 64 * learnt.reserve() >= sum(answers)
            reserved += 64 * learnt.reserve()
            spent += sum(answers)
        for answer in answers:
            learnt.observe(answer)
    assert covered / batches > 0.8, reason
    assert 1 < reserved / spent < 1.8, reason


def test_absurd_usage_stays_a_number_that_fits() -> None:
    """A provider that reports 10**30 tokens does not break the arithmetic."""
    assert taught([10**30] * 100 + [1]).reserve() <= MOST
