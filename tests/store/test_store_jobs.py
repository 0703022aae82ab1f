"""From a line to a job: what is refused and why, and that a body goes out as it was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.model import BadJob, Job, RawLine
from batchproc.store.jobs import JobParser, is_plain_path
from batchproc.store.lines import digest_of

CHAT = b'{"model":"m","messages":[]}'


def parse(
    line: bytes, *, endpoint: str | None = None, model: str | None = None, strip_v1: bool = True, too_long: bool = False
) -> Job | BadJob:
    """Parse a line that stands as the fifth in its file, the third that is not blank."""
    parser = JobParser(endpoint=endpoint, model=model, strip_v1=strip_v1)
    return parser.parse(RawLine(2, 5, 100, b"" if too_long else line, digest_of(line), too_long))


def job(line: bytes, **options: object) -> Job:
    """The same, for a line that is good."""
    found = parse(line, **options)  # type: ignore[arg-type]
    assert isinstance(found, Job), found
    return found


def batch(body: bytes = CHAT, rest: bytes = b"") -> bytes:
    return b'{"custom_id":"c","method":"POST","url":"/v1/chat/completions","body":' + body + rest + b"}"


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        pytest.param(b"{", "invalid_json", "truncated", id="cut off"),
        pytest.param(b"model: m", "invalid_json", "not JSON", id="no JSON at all"),
        pytest.param(b"\xff\xfe{\x00", "invalid_json", "not", id="UTF-16"),
        pytest.param(b'{"model":"m","messages":["\xff"]}', "invalid_json", "UTF-8", id="bytes that are not UTF-8"),
        pytest.param(b'{"model":"m","messages":[NaN]}', "invalid_json", "not JSON", id="NaN is not JSON"),
        pytest.param(b'{"model":"m","messages":[Infinity]}', "invalid_json", "not JSON", id="nor is Infinity"),
        pytest.param(b'{"model":"m","messages":[1,]}', "invalid_json", "not JSON", id="a comma too many"),
        pytest.param(b"{'model':'m'}", "invalid_json", "not JSON", id="single quotes"),
        pytest.param(CHAT + CHAT, "invalid_json", "trailing", id="two objects on a line"),
        pytest.param(b'{"model":"m","messages":' + b"[" * 100_000, "invalid_json", "deep", id="nested too deep"),
        pytest.param(b"[1,2]", "invalid_job", "not a JSON object", id="an array"),
        pytest.param(b'"text"', "invalid_job", "not a JSON object", id="a string"),
        pytest.param(b"null", "invalid_job", "not a JSON object", id="null"),
        pytest.param(b'{"messages":[]}', "invalid_job", "--model", id="no model anywhere"),
        pytest.param(b'{"model":null,"messages":[]}', "invalid_job", "--model", id="a null model"),
        pytest.param(b'{"model":7,"messages":[]}', "invalid_job", "`model`", id="a model that is a number"),
        pytest.param(b'{"model":"","messages":[]}', "invalid_job", "`model`", id="an empty model"),
        pytest.param(b'{"custom_id":7,"model":"m","messages":[]}', "invalid_job", "`custom_id`", id="a number as id"),
        pytest.param(b'{"model":"m"}', "invalid_job", "--endpoint", id="nothing to infer the endpoint from"),
        pytest.param(b'{"url":"/v1/x"}', "invalid_job", "no `body`", id="batch form without a body"),
        pytest.param(b'{"body":7}', "invalid_job", "`body`", id="a body that is a number"),
        pytest.param(b'{"body":null}', "invalid_job", "`body`", id="a null body"),
        pytest.param(b'{"body":"{}"}', "invalid_job", "`body`", id="a body in a string"),
        pytest.param(b'{"url":7,"body":{"model":"m"}}', "invalid_job", "`url`", id="a url that is a number"),
        pytest.param(
            b'{"method":"GET","body":{"model":"m"}}', "invalid_job", "`method`", id="a method that is not POST"
        ),
        pytest.param(batch(b'{"messages":[]}'), "invalid_job", "--model", id="no model in the body"),
        pytest.param(batch(b'{"model":"m","stream":true}'), "invalid_job", "`stream", id="streaming"),
        pytest.param(b'{"model":"m","input":"","stream":true}', "invalid_job", "`stream", id="streaming, bare"),
        pytest.param(b'{"model":"m","input":"","background":true}', "invalid_job", "`background", id="background"),
    ],
)
def test_bad_lines(line: bytes, code: str, says: str) -> None:
    """A bad line has its index, its physical line, and a reason."""
    bad = parse(line)
    assert isinstance(bad, BadJob), bad
    assert (bad.index, bad.line, bad.code, bad.digest) == (2, 5, code, digest_of(line))
    assert says in bad.message


def test_too_long() -> None:
    """A line that was too long to be kept is a bad job that names the limit."""
    bad = parse(b"x", too_long=True)
    assert isinstance(bad, BadJob)
    assert "64 MiB" in bad.message


def test_a_bad_job_keeps_its_names() -> None:
    """`custom_id` and `metadata` are carried to the output of a bad job too, where they can be read."""
    bad = parse(b'{"custom_id":"c","metadata":{"a": 1},"model":7,"messages":[]}')
    assert isinstance(bad, BadJob)
    assert (bad.custom_id, bad.metadata) == ("c", b'{"a": 1}')
    assert parse(b"{").custom_id == "request-2"


@pytest.mark.parametrize("value", ["false", "null", "0"])
def test_not_streaming(value: str) -> None:
    """`stream: false` says nothing new."""
    line = b'{"model":"m","messages":[],"stream":%s}' % value.encode()
    assert job(line).body == line


SAFE = ["/v1/chat/completions", "/x", "/openai/deployments/d-1/chat/completions", "/v1/models/m:generate", "/v1/a.b"]


@pytest.mark.parametrize("url", SAFE)
def test_safe_urls(url: str) -> None:
    """Plain absolute paths."""
    assert is_plain_path(url)
    assert job(b'{"url":%s,"body":{"model":"m"}}' % json.dumps(url).encode(), strip_v1=False).path == url


HOSTILE = [
    pytest.param("http://evil.example/v1/x", id="a scheme and a host"),
    pytest.param("HTTPS://evil.example/", id="the same in capitals"),
    pytest.param("//evil.example/x", id="a host without a scheme"),
    pytest.param("///evil.example/x", id="three slashes"),
    pytest.param("/\\evil.example/x", id="a backslash that browsers take for a slash"),
    pytest.param("\\\\evil.example\\x", id="backslashes only"),
    pytest.param("/v1//evil.example", id="an empty segment"),
    pytest.param("@evil.example/x", id="turns the base URL's host into a user name"),
    pytest.param("/@evil.example", id="at sign in the path"),
    pytest.param("/user:pw@evil.example/", id="user and password"),
    pytest.param(".evil.example/x", id="goes on with the base URL's host name"),
    pytest.param(":8080/x", id="a port"),
    pytest.param("v1/chat", id="not absolute"),
    pytest.param("", id="empty"),
    pytest.param("/", id="only a slash"),
    pytest.param("/v1/../admin", id="leaves the base"),
    pytest.param("/..", id="leaves the base at once"),
    pytest.param("/v1/..;/admin", id="leaves it on some servers"),
    pytest.param("/v1/a..b", id="two dots anywhere"),
    pytest.param("/./x", id="one dot"),
    pytest.param("/v1/%2e%2e/admin", id="encoded dots"),
    pytest.param("/v1/%252e", id="encoded twice"),
    pytest.param("/v1%2f..", id="an encoded slash"),
    pytest.param("/v1/x?key=1", id="a query"),
    pytest.param("/v1/x#f", id="a fragment"),
    pytest.param("/v1/x y", id="a space"),
    pytest.param("/v1/x\n", id="a newline at the end"),
    pytest.param("/v1/x\r\nHost: evil", id="a header"),
    pytest.param("/v1/\tx", id="a tab, which URL parsers drop"),
    pytest.param("/\t/evil.example", id="a tab between slashes"),
    pytest.param("/v1/\x00", id="a zero byte"),
    pytest.param("/v1/\x7f", id="delete"),
    pytest.param("/v1/\u2215x", id="a division slash"),
    pytest.param("/\uff0fevil.example", id="a fullwidth slash"),
    pytest.param("/\uff0e\uff0e/x", id="fullwidth dots"),
    pytest.param("/v1/\u202ex", id="right-to-left override"),
    pytest.param("/v1/caf\u00e9", id="a letter beyond ASCII"),
    pytest.param("/v1/\u0661", id="a digit beyond ASCII"),
    pytest.param(" /v1/x", id="a space in front"),
    pytest.param("/" + "x" * 5000, id="very long"),
]


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_urls(url: str) -> None:
    """The key goes nowhere but to the base URL."""
    assert not is_plain_path(url)
    bad = parse(b'{"url":%s,"body":{"model":"m","messages":[]}}' % json.dumps(url).encode())
    assert isinstance(bad, BadJob)
    assert bad.code == "invalid_job"
    assert len(bad.message) < 400


@pytest.mark.parametrize(
    ("body", "endpoint", "path"),
    [
        pytest.param(b'{"model":"m","messages":[]}', None, "/chat/completions", id="messages"),
        pytest.param(b'{"model":"m","prompt":"p"}', None, "/completions", id="prompt"),
        pytest.param(b'{"model":"m","input":"p"}', None, "/responses", id="input"),
        pytest.param(
            b'{"model":"Text-Embedding-3","input":"p"}', None, "/embeddings", id="input of an embedding model"
        ),
        pytest.param(b'{"model":"m","messages":[]}', "/v1/other", "/other", id="--endpoint wins"),
        pytest.param(
            b'{"body":{"model":"m","messages":[]}}', "/v1/other", "/other", id="for batch form without url too"
        ),
        pytest.param(batch(), "/v1/other", "/chat/completions", id="a job's own url wins over --endpoint"),
    ],
)
def test_endpoints(body: bytes, endpoint: str | None, path: str) -> None:
    """Where a job goes, below a base URL that ends in /v1."""
    assert job(body, endpoint=endpoint).path == path


def test_v1_is_kept_where_the_base_has_none() -> None:
    """A base URL without /v1 gets the path as it is; /v1x is another path."""
    assert job(batch(), strip_v1=False).path == "/v1/chat/completions"
    assert job(b'{"url":"/v1x/y","body":{"model":"m"}}').path == "/v1x/y"


@pytest.mark.parametrize(
    ("line", "body"),
    [
        pytest.param(b'{"messages":[]}', b'{"model":"d","messages":[]}', id="put in where there is none"),
        pytest.param(b'{ "messages": [] }', b'{"model":"d","messages": [] }', id="the rest stays"),
        pytest.param(b'{"a":1,"model":null,"messages":[]}', b'{"model":"d","a":1,"messages":[]}', id="instead of null"),
        pytest.param(b'{"model":"m","messages":[]}', b'{"model":"m","messages":[]}', id="a job's own wins"),
        pytest.param(batch(b'{"messages":[1e2]}'), b'{"model":"d","messages":[1e2]}', id="in the batch form"),
    ],
)
def test_default_model(line: bytes, body: bytes) -> None:
    """`--model` is for jobs that name none."""
    found = job(line, model="d")
    assert found.body == body
    assert found.model == json.loads(body)["model"]


SPACE = st.sampled_from(["", "", " ", "\t", "\r", "  "])
NUMBER = st.sampled_from(["0", "-0", "1.0", "1.50", "1e5", "1E+05", "0.1e-10", "12345678901234567890123", "1" * 400])
STRING = st.sampled_from(
    ['""', '"a"', '"\\u0041"', '"\\/"', '"\\ud800"', '"\\ufffd"', '"\u2028\u00e9"', '"\\"},{"', '"\\\\"']
)


def spaced(separator: str, opening: str, closing: str, parts: list[str], spaces: list[str]) -> str:
    inner = separator.join(
        spaces[n % len(spaces)] + part + spaces[(n + 1) % len(spaces)] for n, part in enumerate(parts)
    )
    return opening + inner + closing


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    spaces = st.lists(SPACE, min_size=1, max_size=4)
    arrays = st.builds(lambda p, s: spaced(",", "[", "]", p, s), st.lists(inner, max_size=4), spaces)
    pairs = st.tuples(STRING, inner).map(":".join)
    return arrays | st.builds(lambda p, s: spaced(",", "{", "}", p, s), st.lists(pairs, max_size=4), spaces)


VALUE = st.recursive(NUMBER | STRING | st.sampled_from(["true", "false", "null"]), containers, max_leaves=8)
MEMBER = st.tuples(st.sampled_from(['"x"', '"temperature"', '"n\\u0061me"', '"x"']), VALUE).map(" : ".join)
MEMBERS = st.lists(MEMBER, max_size=5)
MODEL = ['"model" :"m"', '"messages":[]']


@settings(deadline=None, max_examples=120)
@given(MEMBERS, st.integers(0, 5), SPACE, VALUE)
def test_a_batch_body_goes_out_as_it_was_written(members: list[str], at: int, space: str, metadata: str) -> None:
    """Odd spacing, number spellings, duplicate keys, lone surrogates: not one byte of the body is changed."""
    body = spaced(",", "{", "}", [*members[:at], *MODEL, *members[at:]], [space, " "])
    line = f'{{"custom_id":"c","metadata":{metadata},"url" : "/v1/x",{space}"body":{body}{space}, "z":{metadata}}}'
    found = job(line.encode())
    assert found.body == body.encode()
    assert found.metadata == (None if metadata == "null" else metadata.encode())


@settings(deadline=None, max_examples=120)
@given(MEMBERS, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), VALUE)
def test_a_bare_body_goes_out_as_it_was_written(
    members: list[str], at: int, id_at: int, metadata_at: int, metadata: str
) -> None:
    """`custom_id` and `metadata` may stand anywhere and are not sent; every other member is, as it was spelt."""
    parts = [*members[:at], *MODEL, *members[at:]]
    plain = "{" + ",".join(parts) + "}"
    assert job(plain.encode()).body == plain.encode()
    parts.insert(id_at, '"custom_id": "c"')
    parts.insert(metadata_at, f'"metadata" :{metadata}')
    found = job(("{" + ",".join(parts) + "}").encode())
    assert found.body == plain.encode()
    assert found.custom_id == "c"
    assert found.metadata == (None if metadata == "null" else metadata.encode())


def test_a_lone_surrogate_beside_its_replacement() -> None:
    """A body with a lone surrogate stays itself although the same text with U+FFFD stands elsewhere in the line."""
    line = b'{"metadata":{"model":"m","a":"\\ufffd"},"url":"/v1/x","body":{"model":"m","a":"\\ud800"}}'
    found = job(line)
    assert found.body == b'{"model":"m","a":"\\ud800"}'
    assert found.metadata == b'{"model":"m","a":"\\ufffd"}'
