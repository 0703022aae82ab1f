"""The output line: its exact shape, and that it can be read back."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchproc.model import NO_USAGE, Answer, BadJob, Fault, FaultKind, Job, Usage
from batchproc.resultline import answered, digest_in, failed, read_line, refused, renumbered, request_id, unsent
from batchproc.usage import usage_in

DIGEST = bytes(range(8))
KEYS = ["id", "custom_id", "index", "response", "error", "attempts"]


def job(index: int = 3, custom_id: str = "c", metadata: bytes | None = None) -> Job:
    return Job(index, 9, DIGEST, custom_id, "/x", "m", b"{}", metadata)


def fault(status: int = 0, body: bytes = b"", message: str = "m") -> Fault:
    return Fault(FaultKind.REJECTED, "code", message, status=status, request_id="r", body=body)


TEXT = st.text(st.characters(codec="utf-8"))


@given(TEXT, st.integers(0, 2**40), st.integers(1, 99), st.none() | st.just(b'{"a": [1, 2.50]}'))
def test_an_answer_s_line_and_back(custom_id, index, attempts, metadata):
    """Whatever the custom_id: one line, the keys in order, every value back."""
    body = rb'{"id":"x","t":"\ud800","n":1.50,"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    result = answered(job(index, custom_id, metadata), Answer(200, "r", body, Usage(3, 4)), attempts)
    assert result.line.endswith(b"}\n")
    assert result.line.count(b"\n") == 1
    assert b"\r" not in result.line
    doc = json.loads(result.line)
    assert list(doc) == KEYS + (["metadata"] if metadata is not None else [])
    assert (doc["custom_id"], doc["index"], doc["attempts"], doc["error"]) == (custom_id, index, attempts, None)
    assert body in result.line
    assert list(doc["response"]) == ["status_code", "request_id", "body"]
    seen = read_line(result.line)
    assert seen is not None
    assert (seen.index, seen.digest, seen.code, seen.usage) == (index, DIGEST, None, Usage(3, 4))
    assert digest_in(result.line) == DIGEST
    assert (result.code, result.input_line, result.usage) == (None, 9, Usage(3, 4))


@pytest.mark.parametrize(
    "custom_id",
    [
        "",
        '"',
        "\\",
        "\n",
        "\r\n",
        "\x00",
        "\u2028\u2029\x85",
        '","index":9,"x":"',
        "é" * 1000,
        "\U0001f600",
        "\x7f",
        "%s%d",
    ],
)
def test_hostile_custom_ids(custom_id):
    """None of them breaks the line or changes another value."""
    result = unsent(job(custom_id=custom_id), "code", "m")
    assert result.line.count(b"\n") == 1
    doc = json.loads(result.line)
    assert (doc["custom_id"], doc["index"], list(doc)) == (custom_id, 3, KEYS)


@given(TEXT, st.binary(max_size=200), st.sampled_from([0, 400, 500]))
def test_a_failed_line_and_back(message, body, status):
    """The error is never null, the response is the last answer or null; any bytes can be a body."""
    result = failed(job(), fault(status, body, message), 2)
    doc = json.loads(result.line)
    assert doc["error"] == {"code": "code", "message": message}
    assert (doc["response"] is None) == (status == 0)
    assert result.line.count(b"\n") == 1
    seen = read_line(result.line)
    assert seen is not None
    assert (seen.index, seen.code, seen.message, seen.usage) == (3, "code", message, NO_USAGE)


@pytest.mark.parametrize(
    ("body", "kept", "why"),
    [
        (b'{\n  "error": 1.0\n}', b'{"error": 1.0}', "JSON: every token, on one line"),
        (b"<html>\n\xff", '"<html>\\n\ufffd"'.encode(), "not JSON: a string"),
        (b"", b'""', "empty: an empty string"),
        (b"[NaN]", b'"[NaN]"', "NaN is not JSON"),
        (b"x" * 100_000, b'"' + b"x" * 64_000 + b'"', "the first 64 kB"),
        (b'"' + b"y" * (1 << 20) + b'"', b'"\\"' + b"y" * 63_999 + b'"', "JSON over a megabyte: the first 64 kB too"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_bodies_of_failed_lines(body, kept, why):
    """A body that is JSON stays JSON, another becomes a string."""
    line = failed(job(), fault(500, body), 1).line
    assert b'"body": ' + kept + b"}" in line, why


def test_our_own_code_and_message_replace_the_fault_s():
    """Given up after many attempts: said in our words, the answer is kept."""
    result = failed(job(), fault(500, b"{}"), 8, code="attempts_exhausted", message="given up")
    assert json.loads(result.line)["error"] == {"code": "attempts_exhausted", "message": "given up"}
    assert (result.code, result.message) == ("attempts_exhausted", "given up")


def test_a_bad_line_says_where_it_is():
    """The physical line is named in its message; its metadata stays."""
    result = refused(BadJob(3, 17, DIGEST, "c", "invalid_json", "no", b"[1]"))
    doc = json.loads(result.line)
    assert doc["error"] == {"code": "invalid_json", "message": "line 17: no"}
    assert (doc["attempts"], doc["response"], doc["metadata"]) == (0, None, [1])


def test_ids_depend_on_job_and_index_only():
    """The same after a resume, another for another index."""
    assert request_id(3, DIGEST) == "batch_req_000102030405060700000003"
    assert request_id(4, DIGEST) != request_id(3, DIGEST)


GOOD = unsent(job(), "code", "m").line


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "empty"),
        (GOOD[:-10], "torn"),
        (b"\x00" * 50, "zeros"),
        (GOOD + GOOD, "two lines"),
        (b"[]", "a list"),
        (b'{"id":"x"}', "keys are missing"),
        (GOOD.replace(b'"index": 3', b'"index": 4'), "the id says another index"),
        (GOOD.replace(b'"index": 3', b'"index": "3"'), "an index that is no number"),
    ],
)
def test_what_is_no_output_line(line, why):
    """None of these is taken for a result."""
    assert read_line(line) is None, why


def test_a_line_of_somebody_else_has_no_digest():
    """The Batch API's own ids say nothing of our input; odd usage counts as none."""
    line = b'{"id":"batch_req_abc","custom_id":"c","index":0,"response":{"body":%s},"error":null}'
    for body in (b"1", b"[]", b'{"usage":[]}', b'{"usage":{"prompt_tokens":"x"}}', b"null"):
        seen = read_line(line % body)
        assert seen is not None
        assert (seen.digest, seen.usage) == (None, NO_USAGE)
    assert read_line(line.replace(b'{"body":%s}', b"null")) is not None
    assert digest_in(line) is None


def test_cached_tokens_are_read_where_the_apis_put_them() -> None:
    """Chat and responses name them differently; more than the input, or of a wrong type, is not believed."""
    for usage, cached in (
        (b'{"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}', 4),
        (b'{"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}}', 4),
        (b'{"input_tokens": 2, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4}', 4),
        (b'{"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 99}}', 9),
        (b'{"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": true}}', 0),
        (b'{"prompt_tokens": 9, "prompt_tokens_details": [4]}', 0),
        (b'{"prompt_tokens": 9, "prompt_tokens_details": null}', 0),
    ):
        assert usage_in(usage) == Usage(9, 0, cached)


@given(TEXT, st.integers(0, 2**33), st.integers(0, 2**33), st.integers(1, 10**9), st.booleans(), TEXT)
@example("request-7", 7, 9, 1, False, "")  # a name that somebody gave, or one made of the index: the job tells
@example("request-7", 7, 9, 1, True, "line 9: line 9: ")
@example('a", "index": 7, "x": "', 7, 9, 1, True, "x")
def test_a_line_at_another_index_reads_as_if_it_had_been_written_there(name, index, new, line, made, message):
    """Answers, failures, and lines that could not be sent, whose message names a physical line."""
    there, here = (
        Job(i, n, DIGEST, f"request-{i}" if made else name, "/x", "m", b"{}") for i, n in ((index, 9), (new, line))
    )
    bad_there, bad_here = (BadJob(j.index, j.line, DIGEST, j.custom_id, "invalid_json", message) for j in (there, here))
    for before, after in (
        (
            answered(there, Answer(200, "r", b'{"index": 7}', NO_USAGE), 2),
            answered(here, Answer(200, "r", b'{"index": 7}', NO_USAGE), 2),
        ),
        (
            failed(there, fault(400, b"{}", f"line 9: {message}"), 1),
            failed(here, fault(400, b"{}", f"line 9: {message}"), 1),
        ),
        (
            unsent(there, "request_too_large", f"line 9: {message}"),
            unsent(here, "request_too_large", f"line 9: {message}"),
        ),
        (refused(bad_there, 3), refused(bad_here, 3)),
    ):
        assert renumbered(before.line[:-1], new, DIGEST, line, lambda: here.custom_id) == after.line[:-1]


def test_only_what_batchproc_wrote_is_renumbered():
    """Anything else is said, not guessed at."""
    for line in (b"", b"{}", b'{"id": "x", "custom_id": 3, "index": 1, "response": null}'):
        with pytest.raises(ValueError, match="not an output line"):
            renumbered(line, 1, DIGEST, 1, str)
