"""What counts as an answer, by endpoint; and that an answer's body comes out as it came in, on one line."""

from __future__ import annotations

import json
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.model import Answer, Fault, FaultKind, Reply, Usage
from batchproc.providers.bodies import read_answer
from batchproc.providers.errorbody import read_error
from batchproc.providers.openai import OpenAI

API = OpenAI("https://api.test/v1", None, {})
CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES = "/chat/completions", "/completions", "/embeddings", "/responses"


def read(path: str, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> Answer | Fault:
    return API.read(path, Reply(status, headers or {}, body), 0.0)


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        (CHAT, b'{"choices":[{"index":0}]}', "choices"),
        (COMPLETIONS, b'{"choices":[{"text":""}]}', "choices, an empty text in them"),
        (EMBEDDINGS, b'{"data":[{"embedding":[0.1]}]}', "data"),
        (RESPONSES, b'{"status":"completed","error":null}', "completed"),
        (RESPONSES, b'{"status":"incomplete"}', "cut by its maximum: paid, and complete as an answer"),
        ("/moderations", b'{"results":[]}', "another path: any object"),
        ("/rerank", b"{}", "another path: even an empty one"),
        ("/messages", b'{"type":"message","content":[]}', "a message that says nothing is one"),
        ("/messages", b'{"content": [1], "type": "message", "error": null}', "in any order"),
        ("/v1/messages", b'{"type":"message","content":[{"type":"text","text":""}]}', "below a base without /v1"),
        (CHAT, b'\n\n \r\n{"choices":[1]}', "keep-alive lines come first"),
        (CHAT, b'{"choices":[1]}\n', "a final newline"),
        (CHAT, b'{"choices":[' + b" " * 100 + b"1]}", "deep indentation"),
        (CHAT, b'{"choices": \n\t [\n\n 1]}', "white space everywhere"),
        (CHAT, b'{"choices":[1],"usage":"none"}', "usage of an odd shape is not an error"),
        (CHAT, b'{"choices":[1],"error":null}', "no error"),
        ("/openai/deployments/d/chat/completions", b'{"choices":[1]}', "a longer path that ends so"),
    ],
)
def test_answers(path, body, why):
    """These are answers."""
    answer = read(path, body)
    assert isinstance(answer, Answer), why
    assert b"\n" not in answer.body


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        (CHAT, b"", "empty"),
        (CHAT, b" \n\n", "nothing but keep-alive lines"),
        (CHAT, b"<html>hello</html>", "a web page"),
        (CHAT, b'{"choices":[{"index":0', "cut off"),
        (CHAT, b"null", "null"),
        (CHAT, b"[]", "a list"),
        (CHAT, b'"text"', "a string"),
        (CHAT, b"{}", "an empty object"),
        (CHAT, b'{"choices":[]}', "no choices"),
        (CHAT, b'{"choices":[ \n ]}', "no choices, with white space"),
        (CHAT, b'{"choices":null}', "null choices"),
        (CHAT, b'{"choices":{"0":1}}', "choices that are no list"),
        (CHAT, b'{"data":[1]}', "what another endpoint answers with"),
        (COMPLETIONS, b'{"choices":[]}', "no choices"),
        (EMBEDDINGS, b'{"choices":[1]}', "what another endpoint answers with"),
        (EMBEDDINGS, b'{"data":[]}', "no data"),
        (RESPONSES, b'{"status":"failed","error":null}', "failed"),
        (RESPONSES, b'{"status":"in_progress"}', "not there yet"),
        (RESPONSES, b"{}", "no status"),
        (RESPONSES, b'{"status":"failed","error":{"code":"server_error","message":"m"}}', "failed, and why"),
        (CHAT, b'{"choices":[1],"error":{"message":"upstream"}}', "an error beside choices"),
        (CHAT, b'{"error":{"code":429,"message":"slow"}}', "an error inside a 200"),
        (CHAT, b'{"error":"text"}', "an error as a text"),
        ("/moderations", b'{"error":{}}', "an error without words"),
        ("/messages", b'{"content":[]}', "no type"),
        ("/messages", b'{"type":"message"}', "no content"),
        ("/messages", b'{"type":"message","content":null}', "null content"),
        ("/messages", b'{"type":"message","content":"text"}', "content that is no list"),
        ("/messages", b'{"type":"completion","content":[]}', "another type"),
        ("/messages", b'{"type":"error","error":{"type":"api_error","message":"m"}}', "an error inside a 200"),
        ("/messages", b'{"choices":[1]}', "what another endpoint answers with"),
        (CHAT, b'{"choices":[NaN]}', "NaN"),
        (CHAT, b'{"choices":[1],"x":Infinity}', "Infinity, where nobody looks"),
        (CHAT, b'{"choices":[1]}{"choices":[1]}', "two documents"),
        (CHAT, b'{"choices":[1],}', "a trailing comma"),
        (CHAT, b'{"choices":["\xff"]}', "not UTF-8, in a part that is passed over"),
        (CHAT, b'{"choices":["\xed\xa0\x80"]}', "a surrogate in UTF-8 is not UTF-8"),
        (CHAT, b'{"choices":["a\nb"]}', "a raw line break in a string"),
        (CHAT, b'{"choices":[1],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper than any stack"),
        ("/openai/deployments/d/chat/completions", b"{}", "a longer path is judged by its end"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_no_answers(path, body, why):
    """These are not, and are tried again."""
    fault = read(path, body, {"x-request-id": "r"})
    assert isinstance(fault, Fault), why
    assert (fault.kind, fault.code) == (FaultKind.INVALID, "invalid_response"), why
    assert (fault.status, fault.request_id, fault.body) == (200, "r", body)
    assert fault.message


@pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key", "account_deactivated"])
def test_money_inside_a_200_ends_the_run(code):
    """Whatever the status, an error that nothing can pass stops the run."""
    fault = read(CHAT, b'{"error":{"message":"m","code":"%s"}}' % code.encode())
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.code) == (FaultKind.REFUSED, code)


def test_lone_surrogates_are_kept():
    """A half of a pair, which models do send, stays as it was spelt."""
    body = rb'{"id":"x","choices":[{"t":"\ud800 \uDFFF \\ud800 \ud83d\ude00"}]}'
    answer = read(CHAT, body)
    assert isinstance(answer, Answer)
    assert answer.body == body


def test_line_separators_inside_strings_stay():
    """U+2028 and friends are characters like any other: only white space between tokens goes."""
    body = '{"choices":["a\u2028b\u2029c\u0085d\\n"]}'.encode()
    answer = read(CHAT, body)
    assert isinstance(answer, Answer)
    assert answer.body == body


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}', Usage(3, 4)),
        (b'{"usage":{"input_tokens":3,"output_tokens":4}}', Usage(3, 4)),
        (b'{"usage":{"prompt_tokens":3}}', Usage(3, 0)),
        (b'{"usage":{"prompt_tokens":-3,"completion_tokens":"4"}}', Usage(0, 0)),
        (b'{"usage":{"prompt_tokens":true,"completion_tokens":1.5}}', Usage(0, 0)),
        (b'{"usage":null}', Usage(0, 0)),
        (b'{"usage":[1]}', Usage(0, 0)),
        (b"{}", Usage(0, 0)),
    ],
)
def test_usage(body, usage):
    """Whatever is odd counts as nothing."""
    answer = read("/any", body)
    assert isinstance(answer, Answer)
    assert answer.usage == usage


def test_request_id_of_the_header_goes_before_the_body_s():
    """The provider's header, else the body's `id`, else nothing; a number is no id."""
    for body, headers, expected in (
        (b'{"id":"b"}', {"x-request-id": "h"}, "h"),
        (b'{"id":"b"}', {}, "b"),
        (b'{"id":7}', {}, None),
    ):
        answer = read("/any", body, headers)
        assert isinstance(answer, Answer)
        assert answer.request_id == expected


TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
SPACE = st.text(" \t\r\n", max_size=4)


@given(VALUES, st.booleans(), st.data())
def test_pretty_printed_answers_keep_every_token(value, ascii_only, data):
    """However an answer is laid out, it comes out on one line with the same tokens in the same order."""
    compact = json.dumps({"choices": [1], "x": value}, ensure_ascii=ascii_only).encode("utf-8", "replace")
    tokens = TOKEN.findall(compact)
    body = b"".join(data.draw(SPACE).encode() + token for token in tokens) + data.draw(SPACE).encode()
    answer = read(CHAT, body)
    assert isinstance(answer, Answer)
    assert b"\n" not in answer.body
    assert b"\r" not in answer.body
    assert TOKEN.findall(answer.body) == tokens


@given(st.sampled_from([CHAT, EMBEDDINGS, RESPONSES, "/x"]), st.sampled_from([200, 400, 429, 500]), st.binary())
def test_any_bytes_are_read(path, status, body):
    """No body makes the reader raise."""
    read(path, body, status=status)


@given(VALUES, st.sampled_from([200, 400, 402, 429, 500]))
def test_any_json_as_an_error_is_read(value, status):
    """No shape of an error makes the reader raise."""
    for shape in ({"error": value}, [value], [{"error": value}], value, {"message": value, "code": value}):
        read(CHAT, json.dumps(shape).encode("utf-8", "replace"), status=status)


def test_an_enormous_error_is_not_decoded():
    """Over a megabyte the status alone decides; numbers of thousands of digits are no trap either."""
    assert read_error(b'{"error":{"message":"' + b"x" * (1 << 20) + b'"}}').message == ""
    assert read_error(b'{"error":{"code":' + b"1" * 5000 + b"}}").code == ""


def test_an_absurd_usage_does_not_make_an_answer_worse():
    """It is paid for: a number nobody can read costs the count, not the answer."""
    for usage in (b'{"prompt_tokens":1e999}', b'"none"', b"[1]", b'{"prompt_tokens":-3,"completion_tokens":true}'):
        read = read_answer("/chat/completions", b'{"choices":[{}],"usage":%s}' % usage)
        assert not read.problem
        assert read.usage.total_tokens == 0


def test_a_large_answer_is_not_copied() -> None:
    """Hundreds of megabytes of embeddings are looked at where they are."""
    body = b'{"data":[%s]}' % b",".join([b'{"embedding":[0.25]}'] * 200_000)
    tracemalloc.start()
    try:
        assert not read_answer("/embeddings", body).problem
        assert tracemalloc.get_traced_memory()[1] < len(body) / 10
    finally:
        tracemalloc.stop()
