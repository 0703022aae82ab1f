"""No body, however odd, stops the weighing: what cannot be counted weighs its bytes / 4."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchproc.errors import BatchprocError
from batchproc.tokens import count, encodings
from batchproc.tokens.count import Rule, Weight, count_text, input_tokens
from batchproc.tokens.counter import Counter, counter
from batchproc.tokens.output import MOST
from batchproc.tokens.weigh import Weigher

CHAT = "/chat/completions"

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
PATHS = [CHAT, "/completions", "/embeddings", "/responses", "/messages", ""]
MODELS = ["gpt-4o", "gpt-3.5-turbo-0301", "gpt-5", "?"]
FIELDS = [
    *("messages", "prompt", "input", "instructions", "system", "tools", "functions"),
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "other"),
]
KEYS = [
    *("role", "content", "name", "type", "text", "image_url", "detail", "tool_calls", "function", "data"),
    *("arguments", "description", "parameters", "properties", "items", "enum", "id"),
]
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=12),  # with lone surrogates
    st.sampled_from([*KEYS, "user", "low", "data:", "<|endoftext|>", "object", "input_image"]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | TEXTS, inner, max_size=4),
    max_leaves=12,
)


def check(path: str, model: str, body: bytes) -> None:
    tokens, _, cap, _ = Weigher(exact=True).weigh(path, model, body)
    assert type(tokens) is int
    assert tokens >= 0
    assert cap is None or (type(cap) is int and 0 <= cap <= MOST)


@calmly
@given(
    path=st.sampled_from(PATHS),
    model=st.sampled_from(MODELS),
    body=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5),
)
def test_any_json_in_any_field(path: str, model: str, body: dict[str, Any]) -> None:
    """Whatever stands in a field that is looked at, there is a weight and no error."""
    check(path, model, json.dumps(body).encode())


@calmly
@given(
    path=st.sampled_from(PATHS),
    items=st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), max_size=3),
    field=st.sampled_from(FIELDS),
)
def test_almost_right_messages_and_tools(path: str, items: list[Any], field: str) -> None:
    """Objects with the right keys and wrong values reach deeper than random JSON does."""
    check(path, "gpt-4o", json.dumps({"messages": [], "input": [], field: items}).encode())


@calmly
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=80))
def test_any_bytes(path: str, body: bytes) -> None:
    """A body that is not even JSON weighs its bytes."""
    check(path, "gpt-4o", body)
    check(path, "gpt-4o", b'{"messages":[{"content":"' + body + b'"}]}')


DEEP = 200_000


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        (CHAT, b"", "nothing"),
        (CHAT, b"null", "no object"),
        (CHAT, b"[1]", "no object"),
        (CHAT, b'{"messages":', "cut"),
        (CHAT, b"{}", "no messages"),
        (CHAT, b'{"messages":null}', "no messages"),
        (CHAT, b'{"messages":"hi"}', "text for messages"),
        (CHAT, b'{"messages":{"role":"user"}}', "one message without its list"),
        (CHAT, b'{"messages":["hi"]}', "text for a message"),
        (CHAT, b'{"messages":[null]}', "null for a message"),
        (CHAT, b'{"messages":[{"role":"user","content":5}]}', "a number for content"),
        (CHAT, b'{"messages":[{"role":"user","content":{"text":"hi"}}]}', "one part without its list"),
        (CHAT, b'{"messages":[],"tools":{}}', "an object for tools"),
        (CHAT, b'{"messages":[],"tools":"all"}', "text for tools"),
        (CHAT, b'{"messages":[],"tools":[5]}', "a number for a tool"),
        (CHAT, b'{"messages":[],"tools":[{"name":"f","parameters":5}]}', "a number for a schema"),
        (
            CHAT,
            b'{"messages":[],"tools":[{"name":"f","parameters":{"properties":{"a":true}}}]}',
            "a bare true",
        ),
        (CHAT, b'{"messages":[],"n":1e999}', "a number out of range in a field that is read"),
        (CHAT, b'{"messages":' + b"[" * DEEP + b"]" * DEEP + b"}", "nested deeper than any stack"),
        (
            CHAT,
            b'{"messages":[],"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
            "the same in a field that is skipped",
        ),
        (CHAT, b'{"messages":[],"tools":' + b"[" * DEEP + b"]" * DEEP + b"}", "the same in the tools"),
        (CHAT, b'{"messages":[{"content":"\xff\xfe"}]}', "not UTF-8"),
        ("/completions", b"{}", "no prompt"),
        ("/completions", b'{"prompt":[true]}', "a bool is no token"),
        ("/completions", b'{"prompt":[1,"a"]}', "tokens and texts"),
        ("/embeddings", b'{"input":5}', "a number for the input"),
        ("/embeddings", b'{"input":[[1,2.5]]}', "a token that is no whole number"),
        ("/embeddings", b'{"input":[null]}', "null for an input"),
        ("/responses", b'{"input":5}', "a number for the input"),
        ("/responses", b'{"input":"hi","instructions":5}', "a number for the instructions"),
        ("/elsewhere", b'{"query":"hi"}', "an endpoint and fields without a rule"),
    ],
)
def test_what_has_no_count_weighs_its_bytes(path: str, body: bytes, reason: str) -> None:
    """ceil(bytes / 4), and the weight says that it is no count."""
    assert input_tokens(path, body, "gpt-4o") == Weight((len(body) + 3) // 4, exact=False), reason


def failing(error: BaseException) -> Callable[[str], Rule]:
    """Rules whose tiktoken fails with this error."""

    class Broken:
        name = "o200k_base"

        def encode_ordinary(self, text: str) -> list[int]:
            raise error

    return lambda model: Rule(Counter(Broken()), 3, 1, 3)  # type: ignore[arg-type]


class PanicException(BaseException):
    """Like pyo3_runtime.PanicException: by that name only, and no Exception."""


@pytest.mark.parametrize("error", [PanicException("regex"), ValueError("Max stack size"), MemoryError()])
def test_a_failing_tiktoken_is_survived(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """A panic of the Rust code or any error of it is one body weighed by its bytes, not the end of a run."""
    monkeypatch.setattr(count, "rule_for", failing(error))
    assert input_tokens("/completions", b'{"prompt":"hi"}', "gpt-4o") == Weight(4, exact=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_an_interrupt_goes_through(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a count stops the program and is not mistaken for a panic."""
    monkeypatch.setattr(count, "rule_for", failing(error))
    with pytest.raises(type(error)):
        input_tokens("/completions", b'{"prompt":"hi"}', "gpt-4o")


def test_a_text_alone_falls_back_to_its_own_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`count_text` has no body to weigh, so it takes the UTF-8 bytes of the text (a lone half has three)."""
    monkeypatch.setattr(count, "counter", lambda name: failing(ValueError())(name).counter)
    assert count_text("éé\ud800ab", "o200k_base") == 3


def test_a_damaged_installation_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks that cannot be loaded are an error to show, not a reason to weigh a whole run by its bytes."""

    def damaged(name: str) -> bytes:
        raise BatchprocError("damaged")

    monkeypatch.setattr(encodings, "_loaded", {})
    monkeypatch.setattr(encodings, "read_ranks", damaged)
    counter.cache_clear()
    count._rule_for.cache_clear()
    with pytest.raises(BatchprocError, match="damaged"):
        input_tokens(CHAT, b'{"messages":[]}', "gpt-4o")
