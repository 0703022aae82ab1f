"""What every provider and every preset has to hold: one suite, run for each."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.model import Answer, Fault, FaultKind, Reply, Trouble
from batchproc.providers.base import Provider
from batchproc.providers.choose import provider_for
from batchproc.providers.presets import APIS, COMPATIBLE, PRESETS

KEY = "sk-very-secret-key-0123456789"
WALL = 1_747_145_900.0
BASES = {
    "Azure OpenAI": "https://res.openai.azure.com",
    "Azure OpenAI, v1": "https://res.openai.azure.com/openai/v1",
    "Azure OpenAI, with a deployment": "https://res.openai.azure.com/openai/deployments/mine",
    "Gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
    "a gateway to Azure": "https://gateway.test/azure",
    "a gateway to Anthropic": "https://gateway.test/anthropic",
    COMPATIBLE.name: "https://gateway.test/v1",
}
PROVIDERS: dict[str, tuple[str, str]] = {  # name → API, base URL
    p.name: (p.api, p.base_url or BASES.get(p.name) or _url(p))
    for p in PRESETS
    for _url in [lambda p: f"{'http' if ':' in p.hosts[0] else 'https'}://{p.hosts[0]}/v1"]
} | {
    "Azure OpenAI, v1": ("azure", BASES["Azure OpenAI, v1"]),
    "Azure OpenAI, with a deployment": ("azure", BASES["Azure OpenAI, with a deployment"]),
    "a gateway to Azure": ("azure", BASES["a gateway to Azure"]),
    "a gateway to Anthropic": ("anthropic", BASES["a gateway to Anthropic"]),
    COMPATIBLE.name: ("openai", BASES[COMPATIBLE.name]),
}
AUTH = {"openai": "Authorization", "azure": "api-key", "anthropic": "x-api-key"}
every = pytest.mark.parametrize("name", sorted(PROVIDERS))
many = settings(max_examples=100, deadline=None)


def made(name: str, key: str | None = KEY, extra: dict[str, str] | None = None) -> Provider:
    """The provider of this name."""
    api, base = PROVIDERS[name]
    return provider_for(api, base, key, extra or {}, {})


ALL = {name: made(name) for name in PROVIDERS}


def path_of(name: str) -> str:
    """Where its answers to messages come from."""
    return "/messages" if PROVIDERS[name][0] == "anthropic" else "/chat/completions"


def answer_of(name: str, **more: Any) -> dict[str, Any]:
    """A good answer of its API."""
    if PROVIDERS[name][0] == "anthropic":
        return {"id": "msg_1", "type": "message", "content": [{"type": "text", "text": "x"}], **more}
    return {"id": "c_1", "choices": [{"message": {"content": "x"}}], **more}


def test_every_preset_is_found_by_its_own_address():
    """By host, or by host and port; and its API is inferred."""
    from batchproc.providers.presets import api_of, preset_of

    for preset in PRESETS:
        api, base = PROVIDERS[preset.name]
        assert preset_of(api, base) is preset
        assert api_of(base) == api
        assert preset.api in APIS
        assert preset.keys


@many
@given(st.integers(0, 999), st.binary(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_no_bytes_make_it_raise(status, body, headers):
    """Whatever comes is an answer or a fault."""
    for name, provider in ALL.items():
        outcome = provider.read(path_of(name), Reply(status, headers, body), WALL)
        assert isinstance(outcome, Answer | Fault), name
        provider.rates(Reply(status, headers, body), WALL)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
MEMBERS = ("code", "type", "message", "param", "status", "details", "metadata", "availability")
DETAILS = st.fixed_dictionaries(
    {"@type": st.sampled_from(["x.QuotaFailure", "x.RetryInfo", "x.ErrorInfo"]) | VALUES},
    optional={
        "violations": st.lists(st.dictionaries(st.sampled_from(["quotaId", "quotaValue", "quotaMetric"]), VALUES)),
        "retryDelay": VALUES,
        "reason": VALUES,
    },
)
ERRORS = st.dictionaries(
    st.sampled_from(MEMBERS),
    VALUES
    | st.lists(DETAILS)
    | st.fixed_dictionaries({"headers": st.dictionaries(st.just("X-RateLimit-Reset"), VALUES)})
    | st.fixed_dictionaries({"retryable": VALUES, "retry_after": VALUES}),
)


@settings(many, max_examples=40)  # three shapes for each provider, each
@given(ERRORS, st.sampled_from([200, 400, 402, 403, 404, 429, 500, 529]))
def test_no_shape_of_an_error_makes_it_raise(error, status):
    """A fault of any shape has a kind, a message and a wait that makes sense."""
    for shape in ({"error": error}, [{"error": error}], {"object": "error", **error}):
        body = json.dumps(shape).encode("utf-8", "replace")
        for name, provider in ALL.items():
            fault = provider.read(path_of(name), Reply(status, {}, body), WALL)
            assert isinstance(fault, Fault), name
            assert fault.message
            assert fault.wait_s is None or 0 <= fault.wait_s <= 366 * 86400
            assert fault.limit is None or fault.limit[1] > 0
            json.dumps([fault.code, fault.message]).encode()


@every
def test_the_key_is_in_its_header_alone(name):
    """In one header, in no message, in no URL; and what the user gives goes before it."""
    provider = made(name)
    headers = provider.headers()
    assert [h for h, value in headers.items() if KEY in value] == [AUTH[PROVIDERS[name][0]]]
    assert KEY not in provider.url(path_of(name), "m")
    assert not any(KEY in value for value in made(name, None).headers().values())
    theirs = made(name, KEY, {AUTH[PROVIDERS[name][0]].upper(): "mine"}).headers()
    assert [v for h, v in theirs.items() if h.lower() == AUTH[PROVIDERS[name][0]].lower()] == ["mine"]
    for trouble in Trouble:
        fault = provider.read(path_of(name), Reply(0, {}, b"", trouble, "words"), WALL)
        assert isinstance(fault, Fault)
        assert KEY not in str(fault)


PATHS = st.sampled_from(
    ["/chat/completions", "/completions", "/embeddings", "/responses", "/messages", "/audio/speech"]
)


@many
@given(PATHS, st.text(min_size=1))
def test_no_model_leads_elsewhere(path, model):
    """Whatever a model is called, its URL is below the base URL, without a query or a fragment of its own."""
    for name, provider in ALL.items():
        url = provider.url(path, model)
        got, base = urlsplit(url), urlsplit(PROVIDERS[name][1])
        assert (got.scheme, got.netloc) == (base.scheme, base.netloc)
        assert got.path.startswith(base.path)
        assert not got.fragment
        assert got.query in ("", "api-version=2024-10-21")
        assert url.isascii()
        assert not any(part in ("", ".", "..") for part in got.path.split("/")[1:])
        if "/deployments/" in got.path and not base.path.endswith("mine"):
            assert unquote(got.path.split("/")[3 + base.path.count("/")]) == model


TOKENS = [b'{"a":1.50,"b":1e3,"c":-0.0,"d":"\\u00e9\\ud800","e":[ ]}', b'{"n":123456789012345678901234567890}']


@every
@pytest.mark.parametrize("extra", TOKENS)
def test_an_answer_stays_token_for_token(name, extra):
    """Number spellings, escapes, members nobody knows: as they came, whatever comes before them."""
    body = json.dumps(answer_of(name)).encode()[:-1] + b', "extra": ' + extra + b"}"
    answer = made(name).read(path_of(name), Reply(200, {"retry-after": "53"}, b"\n\n \r\n" + body + b"\n"), WALL)
    assert isinstance(answer, Answer)
    assert answer.body == body


@every
def test_what_is_no_answer_is_tried_again(name):
    """A 200 without its contents, cut off, or of another kind."""
    for body in (b"", b"{}", b"[]", b"<html>", json.dumps(answer_of(name)).encode()[:-2], b'{"content":"text"}'):
        fault = made(name).read(path_of(name), Reply(200, {"retry-after": "53"}, body), WALL)
        assert isinstance(fault, Fault)
        assert (fault.kind, fault.wait_s) == (FaultKind.INVALID, None), "a Retry-After on a 200 says nothing"


@every
@pytest.mark.parametrize(
    ("trouble", "kind", "code"),
    [
        (Trouble.CONNECT, FaultKind.CONNECT, "connection_error"),
        (Trouble.BROKEN, FaultKind.BROKEN, "connection_error"),
        (Trouble.TIMEOUT, FaultKind.TIMEOUT, "request_timeout"),
        (Trouble.TOO_LARGE, FaultKind.REJECTED, "response_too_large"),
    ],
)
def test_each_trouble_of_the_wire_maps(name, trouble, kind, code):
    """What never became an answer keeps the wire's words."""
    assert made(name).read("/x", Reply(0, {}, b"", trouble, "words"), WALL) == Fault(kind, code, "words")


@every
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Tue, 13 May 2025 14:18:50 GMT"}, 30.0),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
    ],
)
def test_the_wait_is_read_in_every_spelling(name, headers, wait_s):
    """Of a 429 and of a 503 alike."""
    for status in (429, 503):
        fault = made(name).read(path_of(name), Reply(status, headers, b""), WALL)
        assert isinstance(fault, Fault)
        assert fault.wait_s == (None if wait_s is None else pytest.approx(wait_s))


@every
@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (400, {FaultKind.REJECTED}),
        (401, {FaultKind.REFUSED}),
        (402, {FaultKind.REFUSED}),
        (404, {FaultKind.REJECTED}),
        (408, {FaultKind.SERVER}),
        (413, {FaultKind.REJECTED}),
        (422, {FaultKind.REJECTED}),
        (429, {FaultKind.RATE_LIMITED, FaultKind.OVERLOADED}),
        (500, {FaultKind.SERVER}),
        (503, {FaultKind.OVERLOADED}),
        (529, {FaultKind.OVERLOADED}),
        (301, {FaultKind.REJECTED}),
    ],
)
def test_a_status_without_words(name, status, kinds):
    """Where nothing else is said, the status decides."""
    fault = made(name).read(path_of(name), Reply(status, {}, b""), WALL)
    assert isinstance(fault, Fault)
    assert fault.kind in kinds
    assert fault.status == status


NAMES = sorted(
    {
        n
        for p in (*PRESETS, COMPATIBLE)
        for s in (*p.rates.first, *p.rates.rest)
        for n in (s.limit, s.remaining, s.reset)
    }
    | {"x-ratelimit-renewalperiod-tokens", "ratelimit", "ratelimit-policy"}
)
NONSENSE = st.sampled_from(["-1", "0", "1", "60", "nan", "inf", "1e999", "9" * 400, "", " ", "x", "1e12", "1e300"])


@many
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, NONSENSE | st.integers().map(str))))
def test_rates_make_sense_whatever_is_said(headers):
    """−1, 0, absent, huge, NaN: what is told has a limit, a remainder within it, and a reset that comes."""
    for name, provider in ALL.items():
        for rate in provider.rates(Reply(200, headers, b""), WALL):
            assert rate.limit >= 1, name
            assert 0 <= rate.remaining <= rate.limit
            assert rate.reset_s is None or 0 <= rate.reset_s <= 366 * 86400
            assert rate.window_s is None or rate.window_s > 0
            assert rate.what in ("requests", "tokens", "input_tokens", "output_tokens")


def test_who_settles():
    """Those that are documented, or recorded, to correct the charge to what was used."""
    assert {name for name in PROVIDERS if made(name).settles} == {"Anthropic", "Mistral", "a gateway to Anthropic"}
