"""Job lines: bad ones fail alone, hostile ones send the key nowhere, and good ones go out as they were written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Program, batch, chat, check_chats, echoes, results, write_jobs
from servers import Reply, Request, Scripted, Simulator, chat_answer

DEEP = b'{"model": "m", "messages": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"

#: A line, and the code its result must have.
BAD: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"hello", "invalid_json"),
    "torn": (b'{"model": "m", "messages": [{"role": "us', "invalid_json"),
    "two objects": (b'{"model": "m", "input": "x"} {"model": "m", "input": "x"}', "invalid_json"),
    "NaN": (b'{"model": "m", "input": "x", "temperature": NaN}', "invalid_json"),
    "Infinity": (b'{"model": "m", "input": "x", "temperature": -Infinity}', "invalid_json"),
    "single quotes": (b"{'model': 'm', 'input': 'x'}", "invalid_json"),
    "not UTF-8": (b'{"model": "m", "input": "\xff\xfe"}', "invalid_json"),
    "too deep": (DEEP, "invalid_json"),
    "array": (b'[{"model": "m", "input": "x"}]', "invalid_job"),
    "number": (b"17", "invalid_job"),
    "null": (b"null", "invalid_job"),
    "string": (b'"job"', "invalid_job"),
    "empty object": (b"{}", "invalid_job"),
    "no model": (b'{"messages": [{"role": "user", "content": "x"}]}', "invalid_job"),
    "model is a number": (b'{"model": 4, "input": "x"}', "invalid_job"),
    "model is null": (b'{"model": null, "input": "x"}', "invalid_job"),
    "nothing to send": (b'{"model": "m"}', "invalid_job"),
    "body is a list": (b'{"custom_id": "a", "url": "/v1/responses", "body": [1]}', "invalid_job"),
    "body is missing": (b'{"custom_id": "a", "method": "POST", "url": "/v1/responses"}', "invalid_job"),
    "method is GET": (
        b'{"custom_id": "a", "method": "GET", "url": "/v1/responses", "body": {"model": "m", "input": "x"}}',
        "invalid_job",
    ),
    "id is a number": (b'{"custom_id": 7, "model": "m", "input": "x"}', "invalid_job"),
    "stream": (b'{"model": "m", "input": "x", "stream": true}', "invalid_job"),
    "background": (b'{"model": "m", "input": "x", "background": true}', "invalid_job"),
    "over 64 MiB": (b'{"model": "m", "input": "' + b"x" * (64 << 20) + b'"}', "invalid_job"),
}


def test_bad_lines_fail_alone(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Each bad line is a failed result at its index, naming its physical line; the rest is sent; exit 3."""
    server = simulator()
    lines: list[bytes] = []
    for data, _ in BAD.values():
        lines += [json.dumps(chat(f"job {len(lines)}")).encode(), b"", data]
    lines.append(json.dumps(chat("the last one")).encode())
    (folder / "jobs.jsonl").write_bytes(b"\n".join(lines))
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--json")
    assert done.code == 3, done.err
    found = results(folder / "jobs.results.jsonl")
    assert len(found) == 2 * len(BAD) + 1
    for n, (name, (_, code)) in enumerate(BAD.items()):
        good, bad = found[2 * n], found[2 * n + 1]
        assert good["error"] is None
        assert echoes(good) == f"job {3 * n}"
        assert bad["error"]["code"] == code, (name, bad)
        assert f"line {3 * n + 3}" in bad["error"]["message"], (name, bad)
        assert bad["attempts"] == 0
        assert bad["response"] is None
    assert echoes(found[-1]) == "the last one"
    assert len(server.ledger()) == len(BAD) + 1, "a bad line cost a request"
    summary = done.summary()
    assert (summary["succeeded"], summary["failed"], summary["total"]) == (len(BAD) + 1, len(BAD), len(found))


URLS = [
    "http://{evil}/v1/chat/completions",
    "https://{evil}/v1/chat/completions",
    "HTTP://{evil}/v1",
    "//{evil}/v1/chat/completions",
    "///{evil}/v1/chat/completions",
    "/\\{evil}/v1/chat/completions",
    "\\\\{evil}\\v1",
    "@{evil}/v1/chat/completions",
    ":80@{evil}/v1",
    "/@{evil}",
    "/v1/../../chat/completions",
    "/v1/%2e%2e/chat/completions",
    "/v1/./chat/completions",
    "/v1//chat/completions",
    "/v1/chat/completions?target={evil}",
    "/v1/chat/completions#x",
    "/v1/chat/completions\r\nHost: {evil}",
    "/v1/chat/completions\x00",
    "/v1/chat completions",
    "/v1/chat/completions\t",
    "/v1/chat/％2e/x",
    "v1/chat/completions",
    "",
    "/",
    " /v1/chat/completions",
]


def test_a_hostile_url_sends_the_key_nowhere(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted]
) -> None:
    """Whatever a job's `url` says, it is refused as a bad job, and neither server hears of it."""

    async def reply(request: Request) -> bytes:
        return chat_answer(f"Simulated answer to: {request.text}")

    good, evil = scripted(reply), scripted(reply)
    host = evil.url.removeprefix("http://").removesuffix("/v1")
    jobs: list[Any] = [batch("job 0", "good")]
    jobs += [batch("never", f"bad-{k}", url.format(evil=host)) for k, url in enumerate(URLS)]
    jobs += [{**batch("never", "bad-type"), "url": 7}, {**batch("never", "list"), "url": ["/v1/responses"]}]
    write_jobs(folder / "jobs.jsonl", jobs)
    done = program.run("run", "jobs.jsonl", "--base-url", good.url, env={"OPENAI_API_KEY": "sk-made-up"})
    assert done.code == 3, done.err
    found = results(folder / "jobs.results.jsonl")
    assert [(line["custom_id"], line["error"]["code"]) for line in found[1:]] == [
        (job["custom_id"], "invalid_job") for job in jobs[1:]
    ]
    assert evil.connections == 0
    assert [request.line for request in good.requests] == ["POST /v1/chat/completions HTTP/1.1"]


def test_an_at_sign_inside_a_path_stays_on_the_host(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted]
) -> None:
    """A path that is unusual but plain goes to the base URL, and only there."""

    async def reply(request: Request) -> bytes:
        return chat_answer("here")

    good = scripted(reply)
    write_jobs(folder / "jobs.jsonl", [batch("x", "a", "/v1/models/my-model:predict"), batch("x", "b", "/v2/other")])
    done = program.run("run", "jobs.jsonl", "--base-url", good.url)
    assert done.code == 0, done.err
    assert sorted(r.line.split()[1] for r in good.requests) == ["/v1/models/my-model:predict", "/v1/v2/other"]


def test_bodies_go_out_as_written(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """Unknown fields, number spellings, escapes and key order reach the server untouched; U+2028 splits nothing."""
    sent: list[bytes] = []

    async def reply(request: Request) -> bytes:
        sent.append(request.body)
        return chat_answer("yes")

    server = scripted(reply)
    bodies = [
        '{"zeta": 1.50, "model": "m", "big": 12345678901234567890123, "e": 1E+2, "messages": [{"a": "a\u2028b"}]}',
        '{"model":"m","messages":[{"role":"user","content":"\\ud83d\\u00e9\\/ \x85 \u2029"}],"x":{"b":1,"a":null}}',
        '{ "messages" : [ ] , "model" : "m" , "temperature" : 0.10 , "stream": false, "top_p": -0.0 }',
    ]
    data = "\ufeff" + "\r\n\r\n".join([bodies[0], f'{{"custom_id":"b","body":{bodies[1]}}}', f"{bodies[2]}"])
    (folder / "jobs.jsonl").write_bytes(data.encode())
    done = program.run(
        "run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "1", "--endpoint", "/v1/chat/completions"
    )
    assert done.code == 0, done.err
    assert [body.strip() for body in sent] == [body.encode() for body in bodies]
    assert [line["custom_id"] for line in results(folder / "jobs.results.jsonl")] == ["request-0", "b", "request-2"]


ANSWERS = [
    b'{"choices": [{"n": NaN}]}',
    b'{"choices": []}',
    b'{"choices": null}',
    b'[{"choices": [1]}]',
    b"null",
    b"",
    b"<html>",
    b'{"error": {"message": "upstream"}}',
]


@pytest.mark.parametrize("body", ANSWERS)
def test_a_200_that_is_no_answer_is_asked_again(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted], body: bytes
) -> None:
    """What comes with status 200 and answers nothing is retried, and never becomes a result."""

    async def reply(request: Request) -> bytes:
        if request.number == 0:
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        return chat_answer(f"Simulated answer to: {request.text}")

    server = scripted(reply)
    write_jobs(folder / "jobs.jsonl", [chat("job 0")])
    done = program.run("run", "jobs.jsonl", "--base-url", server.url)
    assert done.code == 0, done.err
    (line,) = check_chats(folder / "jobs.results.jsonl", 1)
    assert line["attempts"] == 2


def test_tokens_of_an_answer_are_kept(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """In a response body every token stays as the provider spelt it; only white space may change."""
    body = (
        b'{\n "choices": [ {"a": 1.50, "s": "x \\ud800 \\u00e9 \xe2\x80\xa8 \\n  y"} ],\n "big": 12345678901234567\n}'
    )
    tokens = body.replace(b"\n ", b"").replace(b"\n}", b"}").replace(b"[ {", b"[{").replace(b"} ]", b"}]")

    async def reply(request: Request) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    server = scripted(reply)
    write_jobs(folder / "jobs.jsonl", [chat("job 0")])
    done = program.run("run", "jobs.jsonl", "--base-url", server.url)
    assert done.code == 0, done.err
    line = (folder / "jobs.results.jsonl").read_bytes()
    assert line.count(b"\n") == 1
    for token in (b"1.50", b'"x \\ud800 \\u00e9 \xe2\x80\xa8 \\n  y"', b"12345678901234567"):
        assert token in line
    assert tokens.replace(b" ", b"") in line.replace(b" ", b"")
