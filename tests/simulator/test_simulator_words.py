"""Charges, answers, faults, latencies and settings, as tables."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.errors import UsageError
from batchproc.simulator.answers import ENDPOINTS, digest_of, echo
from batchproc.simulator.asked import read_chat, read_completion, read_embedding, read_responses
from batchproc.simulator.charge import charge_tokens
from batchproc.simulator.faults import ANY, FAULTS, LASTING, Faults, parse_faults
from batchproc.simulator.latency import parse_latency
from batchproc.simulator.outcomes import spoil
from batchproc.simulator.settings import SimulatorSettings


def _chat(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 34}], **fields}).encode()


CHARGES = [
    ("1 + 1 + ceil(34 / 4), as recorded", "prompt", _chat(), 11),
    ("the larger one: the maximum", "documented", _chat(max_tokens=50), 50),
    ("the larger one: the estimate", "documented", _chat(max_completion_tokens=5), 11),
    ("the sum, n times the maximum", "sum", _chat(max_tokens=50, n=2), 111),
    ("no maximum adds nothing", "sum", _chat(n=2), 11),
    ("bytes count, not characters", "prompt", _chat(messages=[{"role": "user", "content": "ü" * 34}]), 19),
    ("every message adds one", "prompt", _chat(messages=[{"content": "abcd"}, {"content": None}]), 4),
    ("text parts count as text", "prompt", _chat(messages=[{"content": [{"type": "text", "text": "abcd"}]}]), 3),
    ("a picture by its tiles", "prompt",
     _chat(messages=[{"content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]), 767),
    ("a picture of low detail", "prompt",
     _chat(messages=[{"content": [{"type": "image_url", "image_url": {"detail": "low"}}]}]), 87),
    ("what the usage says", "actual", _chat(), 4321),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "body", "tokens"), [row[1:] for row in CHARGES], ids=[row[0] for row in CHARGES])
def test_charges(mode: str, body: bytes, tokens: int) -> None:
    """What a chat request costs in each mode."""
    assert charge_tokens(mode, read_chat(body), 4321) == tokens


def test_estimates_of_the_other_endpoints() -> None:
    """Completions and embeddings are a quarter of their bytes, responses 19 more, or 217 with functions."""
    assert read_completion(b'{"model":"m","prompt":["12345","1"]}').estimate == 3
    assert read_completion(b'{"model":"m","prompt":"1"}').cap == 16
    assert read_embedding(b'{"model":"m","input":[[1,2,3],"1234"]}').estimate == 4
    assert read_embedding(b'{"model":"m","input":[1,2,3]}').texts == ("1 2 3",)
    assert read_responses(b'{"model":"m","input":"12345678"}').estimate == 21
    assert read_responses(b'{"model":"m","input":"1234","tools":[{"type":"function"}]}').estimate == 218
    assert read_responses(b'{"model":"m","input":[{"role":"user","content":"hi"}]}').texts == ("hi",)


BODIES = {
    "/v1/chat/completions": _chat(),
    "/v1/completions": b'{"model":"m","prompt":["a","b"],"n":2}',
    "/v1/embeddings": b'{"model":"m","input":["a","b"]}',
    "/v1/responses": b'{"model":"m","input":"a"}',
}


@pytest.mark.parametrize("path", BODIES)
def test_answers_are_a_function_of_the_request(path: str) -> None:
    """The same seed, path and body give the same bytes; another seed other ids. The usage adds up."""
    read, make = ENDPOINTS[path]
    asked = read(BODIES[path])
    first, total = make(asked, digest_of(1, path, BODIES[path]))
    assert make(asked, digest_of(1, path, BODIES[path])) == (first, total)
    assert make(asked, digest_of(2, path, BODIES[path]))[0] != first
    document = json.loads(first)
    assert document["model"] == "m"
    assert document["usage"]["total_tokens"] == total > 0


def test_an_answer_shows_whose_it_is() -> None:
    """Chat answers echo the last thing the user said; of long ones both ends."""
    asked = read_chat(_chat(messages=[{"role": "user", "content": "job 17"}, {"role": "system", "content": "s"}]))
    assert "Simulated answer to: job 17" in ENDPOINTS["/v1/chat/completions"][1](asked, "0" * 64)[0].decode()
    long = echo("begin " + "x" * 500 + " end")
    assert len(long) < 230
    assert "begin" in long
    assert long.endswith(" end")


def test_a_maximum_of_output_tokens_is_respected_in_the_usage() -> None:
    """The usage stays within the request's own maximum, and the finish reason says why."""
    body, _ = ENDPOINTS["/v1/chat/completions"][1](read_chat(_chat(max_tokens=3)), "0" * 64)
    document = json.loads(body)
    assert document["usage"]["completion_tokens"] == 3
    assert document["choices"][0]["finish_reason"] == "length"


def test_faults_are_read_and_spread() -> None:
    """Percent and fractions are read; `any` is shared out evenly and adds to what is named."""
    assert parse_faults(["500=5%", "reset=0.02"]) == (("500", 0.05), ("reset", 0.02))
    spread = dict(parse_faults(["any=16%", "500=1%"]))
    assert set(spread) == set(ANY)
    assert spread["500"] == pytest.approx(0.02)
    assert "429" in spread


@pytest.mark.parametrize(
    "text",
    ["nonsense=5%", "500", "500=x", "500=-1", "500=2", "500=nan"],
    ids=["unknown", "no share", "no number", "negative", "over one", "not a number"],
)
def test_bad_faults(text: str) -> None:
    """What cannot be read is refused with a hint."""
    with pytest.raises(UsageError) as caught:
        parse_faults([text])
    assert caught.value.hint


def test_faults_cannot_exceed_certainty() -> None:
    """Probabilities of one draw add up to one at most."""
    with pytest.raises(UsageError):
        parse_faults(["500=60%", "502=60%"])


@given(st.binary(max_size=8), st.integers(0, 5))
def test_faults_depend_on_request_and_attempt_only(body: bytes, attempt: int) -> None:
    """Equal questions get equal faults, and a lasting fault strikes every attempt."""
    digest = digest_of(0, "/v1/x", body)
    faults = Faults(parse_faults(["any=40%", "context=20%"]))
    struck = faults.strike(digest, attempt)
    assert Faults(parse_faults(["any=40%", "context=20%"])).strike(digest, attempt) == struck
    assert (faults.strike(digest, 0) in LASTING) == (struck in LASTING)


def test_faults_strike_as_often_as_asked() -> None:
    """Ten percent of four thousand requests are about four hundred."""
    faults = Faults(parse_faults(["500=10%"]))
    struck = sum(faults.strike(digest_of(0, "/", str(k).encode()), 0) is not None for k in range(4000))
    assert 320 < struck < 480


def test_every_fault_has_an_outcome() -> None:
    """No kind that can be asked for is forgotten."""
    asked = read_chat(_chat())
    answer, _ = ENDPOINTS["/v1/chat/completions"][1](asked, "0" * 64)
    for kind in FAULTS:
        spoiled = spoil(kind, asked, answer, 60)
        assert spoiled.wire == (kind if kind in ("reset", "cut", "hang", "drip", "slow") else None)


LATENCIES = [
    ("a constant", "0.2", 0.2, 0.2),
    ("a range", "0.05-0.4", 0.05, 0.4),
    ("log-normal, clipped at twenty medians", "lognormal:0.1,3", 0.0, 2.0),
    ("log-normal without spread", "lognormal:0.1,0", 0.1, 0.1),
]


@pytest.mark.parametrize(
    ("text", "least_s", "most_s"), [row[1:] for row in LATENCIES], ids=[row[0] for row in LATENCIES]
)
def test_latencies(text: str, least_s: float, most_s: float) -> None:
    """Draws stay within their distribution."""
    latency = parse_latency(text)
    for k in range(1000):
        assert least_s - 1e-12 <= latency.draw_s((k * 0.6180339887498949) % 1.0) <= most_s + 1e-12


def test_the_median_of_the_default_latency() -> None:
    """Half of the log-normal draws are below the median given."""
    latency = parse_latency("lognormal:0.15,0.5")
    draws = sorted(latency.draw_s((k * 0.6180339887498949) % 1.0) for k in range(2001))
    assert draws[1000] == pytest.approx(0.15, rel=0.1)


@pytest.mark.parametrize("text", ["", "fast", "-1", "0.4-0.1", "lognormal:", "lognormal:0.1,x", "nan", "inf"])
def test_bad_latencies(text: str) -> None:
    """What is no distribution is refused with a hint."""
    with pytest.raises(UsageError) as caught:
        parse_latency(text)
    assert caught.value.hint


BAD_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("other machines are not served", {"host": "0.0.0.0"}),
    ("nor names that resolve to who knows what", {"host": "example.com"}),
    ("no such port", {"port": 70_000}),
    ("no limit is None, not 0", {"rpm": 0}),
    ("windows are named", {"window": "round"}),
    ("charges are named", {"charge": "nothing"}),
    ("latencies are read", {"latency": "soon"}),
    ("faults are read", {"faults": ("now",)}),
    ("dialects are named", {"dialect": "latin"}),
    ("no limit of input is None, not 0", {"itpm": 0}),
    ("a queue is not negative", {"queue": -1}),
    ("money is not negative", {"quota_after": -1}),
]


@pytest.mark.parametrize("fields", [row[1] for row in BAD_SETTINGS], ids=[row[0] for row in BAD_SETTINGS])
def test_bad_settings(fields: dict[str, Any]) -> None:
    """Settings that make no sense are refused when they are made."""
    with pytest.raises(UsageError):
        SimulatorSettings(**fields)
