"""The key and secret headers go to the server, and appear nowhere else."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, chats, check_chats, results, wait_until
from servers import Reply, Request, Scripted, Simulator, answer, chat_answer, error_answer


@pytest.fixture
def key() -> str:
    """A key nobody has ever seen."""
    return f"sk-proj-{secrets.token_hex(24)}"


def where(secret: str, program: Program) -> list[str]:
    """Files of the run, and `streams`, that contain a secret."""
    found = [p.name for p in program.folder.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
    return [*found, "streams"] if secret in program.said_so_far() else found


@pytest.mark.parametrize("show", ["plain", "json"])
def test_a_key_appears_nowhere(
    program: Program, folder: Path, simulator: Callable[..., Simulator], key: str, show: str
) -> None:
    """With -vv, retries, failures, an interruption and a resume, the key is in no file and on no stream."""
    other = secrets.token_hex(20)
    server = simulator(latency="0.1", key=key, faults=("500=10%", "cut=10%", "400=10%"))
    chats(folder / "jobs.jsonl", 30)
    (folder.parent / "header").write_text(other)
    command = ["run", "jobs.jsonl", "--base-url", server.url, "-vv", "--progress", show, "--json", "--concurrency", "6"]
    command += ["--header", f"x-secret={other}", "--header", f"x-more=@{folder.parent / 'header'}"]
    env = {"OPENAI_API_KEY": key, "OPENAI_ORG_ID": "org-made-up"}
    running = program.start(*command, env=env)
    server.received(10)
    running.kill(signal.SIGINT)
    assert running.wait().code == 130
    assert where(key, program) == []
    done = program.run(*command, env=env)
    assert done.code == 3, done.err
    assert where(key, program) == []
    assert where(other, program) == [], "the value of --header was printed or written"


def test_a_key_from_a_file(program: Program, folder: Path, scripted: Callable[[Reply], Scripted], key: str) -> None:
    """--api-key-file goes before the environment, and reaches the server as a bearer token."""
    (folder.parent / "key").write_text(key + "\n")

    async def reply(request: Request) -> bytes:
        return chat_answer(f"Simulated answer to: {request.text}")

    server = scripted(reply)
    chats(folder / "jobs.jsonl", 3)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--api-key-file", folder.parent / "key")
    done = program.run(*command, env={"OPENAI_API_KEY": "sk-another"})
    assert done.code == 0, done.err
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {key}"}
    assert where(key, program) == []


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "schlüssel", ""])
def test_a_key_that_no_header_can_carry(program: Program, folder: Path, text: str) -> None:
    """A key that cannot be one is exit 2, and is not shown."""
    chats(folder / "jobs.jsonl", 3)
    (folder.parent / "key").write_text(text)
    done = program.run(
        "run", "jobs.jsonl", "--api-key-file", folder.parent / "key", "--base-url", "http://127.0.0.1/v1"
    )
    assert done.code == 2, done.err
    assert not text or text not in done.err
    assert not (folder / "jobs.results.jsonl").exists()


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_server_that_echoes_the_key(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted], key: str, status: int
) -> None:
    """Where a server repeats its Authorization header, the key is on no stream: at most in that answer."""

    async def reply(request: Request) -> bytes:
        message = f"cannot use {request.headers['authorization']} for this"
        return error_answer(status, message, "bad_thing")

    server = scripted(reply)
    chats(folder / "jobs.jsonl", 3)
    done = program.run(
        "run", "jobs.jsonl", "--base-url", server.url, "-vv", "--max-attempts", "2", env={"OPENAI_API_KEY": key}
    )
    assert done.code in (3, 4, 5), done.err
    assert "cannot use" in program.said_so_far()
    assert "streams" not in where(key, program)


def test_echoes_and_kills(program: Program, folder: Path, scripted: Callable[[Reply], Scripted], key: str) -> None:
    """A server that puts the key into everything, a kill, and every command that looks: it is in no file, and not in
    the command line."""

    async def reply(request: Request) -> bytes:
        said = request.headers["authorization"]
        message = {"role": "assistant", "content": said}
        return [
            answer(200, {"id": said, "choices": [{"message": message}], "model": said}, x_request_id=said),
            error_answer(500, f"no {said}", said, x_request_id=said),
            error_answer(429, f"Rate limit for {said}: Limit 900. Please try again in 10ms.", said),
            answer(400, f"<html>{said}".encode()),
            answer(200, {"error": {"message": said, "code": said}}),
            f"HTTP/1.1 {said}\r\n\r\n".encode(),
        ][request.number % 6]

    server = scripted(reply)
    chats(folder / "jobs.jsonl", 60)
    (folder.parent / "key").write_text(key)
    (folder / "c.toml").write_text(f'base-url = "{server.url}"\napi-key-file = "../key"\nmax-attempts = 2\n')
    words = ["run", "jobs.jsonl", "--config", "c.toml", "-vv", "--progress", "json", "--concurrency", "2"]
    running = program.start(*words)
    wait_until("requests", lambda: len(server.requests) > 12)
    if sys.platform == "linux":
        assert key not in Path(f"/proc/{running.child.pid}/cmdline").read_text()
    running.kill()
    running.wait()
    assert where(key, program) == []
    assert program.run(*words).code == 3
    for more in (
        ["status", "jobs.results.jsonl"],
        ["report", "jobs.results.jsonl", "--html", "report.html"],
        [*words, "--print-config"],
        ["retry", "jobs.results.jsonl", "--config", "c.toml", "-vv"],
    ):
        program.run(*more)
        assert where(key, program) == [], more[0]


def test_an_invalid_key_is_not_shown(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted], key: str
) -> None:
    """A provider that names the wrong key in full in its refusal does not make the program print it."""

    async def reply(request: Request) -> bytes:
        return error_answer(401, f"Incorrect API key provided: {key}.", "invalid_api_key")

    server = scripted(reply)
    chats(folder / "jobs.jsonl", 3)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, env={"OPENAI_API_KEY": key})
    assert done.code == 4, done.err
    assert "Incorrect API key provided" in done.err
    assert where(key, program) == [], "the refused job left the key behind"


def test_proxies_and_cookies(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """Cookies of a server are not sent back, and HTTP_PROXY is used where NO_PROXY does not say otherwise."""

    async def reply(request: Request) -> bytes:
        answer = chat_answer(f"Simulated answer to: {request.text}")
        return answer.replace(b"\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n", 1)

    server, proxy = scripted(reply), scripted(reply)
    chats(folder / "jobs.jsonl", 4)
    through = {"http_proxy": proxy.url.removesuffix("/v1")}
    assert program.run("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "1", env=through).code == 0
    check_chats(folder / "jobs.results.jsonl", 4)
    assert (len(server.requests), len(proxy.requests)) == (0, 4)
    assert all("cookie" not in request.headers for request in proxy.requests)
    direct = ("run", "jobs.jsonl", "-o", "direct.jsonl", "--base-url", server.url)
    assert program.run(*direct, env=through | {"no_proxy": "127.0.0.1"}).code == 0
    assert (len(server.requests), len(proxy.requests)) == (4, 4)


def test_nothing_is_left_in_the_temporary_folder(
    program: Program, folder: Path, simulator: Callable[..., Simulator]
) -> None:
    """A run leaves output and checkpoint, and nothing else, anywhere."""
    server = simulator()
    chats(folder / "jobs.jsonl", 10)
    assert program.run("run", "jobs.jsonl", "--base-url", server.url).code == 0
    assert sorted(os.listdir(folder)) == ["jobs.jsonl", "jobs.results.jsonl", "jobs.results.jsonl.ckpt"]
    assert len(results(folder / "jobs.results.jsonl")) == 10
