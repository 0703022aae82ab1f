"""Exit codes 0, 3 and 4: what the jobs came to, and what happens when the provider refuses the whole run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, chat, chats, check_chats, results, saved_on_disk, write_jobs
from servers import Reply, Request, Scripted, Simulator, answer, chat_answer, error_answer

MONEY = "You exceeded your current quota, please check your plan and billing details."


def test_failures_make_exit_3(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Jobs the provider rejects are failed lines with its code and answer; the run is finished, exit 3."""
    server = simulator(faults=("context=30%",), seed=3)
    chats(folder / "jobs.jsonl", 40)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--json")
    assert done.code == 3, done.err
    lines = results(folder / "jobs.results.jsonl")
    failed = [line for line in lines if line["error"]]
    assert 0 < len(failed) < 40
    for line in failed:
        assert line["error"]["code"] == "context_length_exceeded"
        assert line["response"]["status_code"] == 400
        assert line["response"]["body"]["error"]["code"] == "context_length_exceeded"
        assert line["attempts"] == 1, "what cannot pass is not tried again"
    assert len(server.ledger()) == 40
    summary = done.summary()
    assert summary["exit_code"] == 3
    assert (summary["succeeded"], summary["failed"], summary["not_run"]) == (40 - len(failed), len(failed), 0)
    assert f"{len(failed)} × context_length_exceeded, first at line {failed[0]['index'] + 1}" in done.err


def test_attempts_exhausted(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A job that never gets a whole answer is given up after --max-attempts, with a code, not retried for ever."""
    server = simulator(faults=("nochoices=1",))
    chats(folder / "jobs.jsonl", 3)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--max-attempts", "2")
    assert done.code == 3, done.err
    lines = results(folder / "jobs.results.jsonl")
    assert [line["attempts"] for line in lines] == [2, 2, 2]
    assert {line["error"]["code"] for line in lines} == {"invalid_response"}
    assert len(server.ledger()) == 6


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (429, "insufficient_quota", MONEY),
        (429, "credit_balance_exhausted", "There is no credit left."),
        (401, "invalid_api_key", "Incorrect API key provided: abc."),
        (402, "billing_error", "Payment required."),
        (403, "account_deactivated", "The OpenAI account associated with this API key has been deactivated."),
    ],
)
def test_nothing_is_sent_after_a_refusal_of_the_run(
    program: Program,
    folder: Path,
    scripted: Callable[[Reply], Scripted],
    simulator: Callable[..., Simulator],
    status: int,
    code: str,
    message: str,
) -> None:
    """After the first such answer no request goes out, what is in flight is saved, and a mended run completes."""

    async def reply(request: Request) -> bytes:
        if request.number == 10:
            return error_answer(status, message, code)
        if request.number > 10:
            await asyncio.sleep(0.5)
        return chat_answer(f"Simulated answer to: {request.text}")

    bad = scripted(reply)
    chats(folder / "jobs.jsonl", 60)
    env = {"OPENAI_API_KEY": "sk-made-up"}
    stopped = program.run("run", "jobs.jsonl", "--base-url", bad.url, "--concurrency", "8", "--json", env=env)
    assert stopped.code == 4, stopped.err
    assert len(bad.requests) <= 11 + 8, "requests were sent after the refusal"
    assert message in stopped.err
    assert "hint:" in stopped.err
    output = folder / "jobs.results.jsonl"
    saved = saved_on_disk(output, folder / "jobs.results.jsonl.ckpt")
    assert len(saved) == len(bad.requests) - 1, "an answer in flight at the refusal was not saved"
    assert stopped.summary()["failed"] == 0, "a job was burnt"
    assert stopped.summary()["succeeded"] == len(saved)
    good = simulator()
    done = program.run("run", "jobs.jsonl", "--base-url", good.url, "--accept-changes", env=env)
    assert done.code == 0, done.err
    check_chats(output, 60)
    assert len(good.ledger()) == 60 - len(saved)


def test_money_gone_and_back(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """The very same command finishes the run once the provider's account is mended."""
    server = simulator(latency="0.02", quota_after=25)
    chats(folder / "jobs.jsonl", 50)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "5")
    assert program.run(*command).code == 4
    assert program.run(*command).code == 4
    refused = [entry for entry in server.ledger() if entry["refused"] == "quota"]
    assert len(refused) <= 2 * 8
    server.kill()
    server.start_again(quota_after=None)
    done = program.run(*command)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 50)
    answered = [entry["sha"] for entry in server.ledger() if entry["status"] == 200]
    assert len(answered) == len(set(answered)) == 50


def test_a_wrong_key_costs_one_round(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A bad key ends the run with exit 4 and an empty output, which the right key then fills."""
    server = simulator(key="right-made-up-key")
    chats(folder / "jobs.jsonl", 100)
    command = ("run", "jobs.jsonl", "--base-url", server.url)
    stopped = program.run(*command, env={"OPENAI_API_KEY": "wrong-made-up-key"})
    assert stopped.code == 4, stopped.err
    assert len(server.ledger()) <= 8
    assert (folder / "jobs.results.jsonl").read_bytes() == b""
    done = program.run(*command, env={"OPENAI_API_KEY": "right-made-up-key"})
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 100)


def test_a_redirect_is_not_followed(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """A redirect is a failed job at once, and its target never hears of it."""

    async def trap(request: Request) -> bytes:
        return chat_answer("caught")

    target = scripted(trap)

    async def redirect(request: Request) -> bytes:
        status = (301, 302, 303, 307, 308)[request.number % 5]
        return answer(status, {}, Location=f"{target.url}/chat/completions")

    server = scripted(redirect)
    chats(folder / "jobs.jsonl", 5)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, env={"OPENAI_API_KEY": "sk-made-up"})
    assert done.code == 3, done.err
    lines = results(folder / "jobs.results.jsonl")
    assert sorted(line["response"]["status_code"] for line in lines) == [301, 302, 303, 307, 308]
    assert all(line["error"]["code"] and line["attempts"] == 1 for line in lines)
    assert target.connections == 0


def test_a_body_that_is_no_json_is_kept_as_a_string(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted]
) -> None:
    """The last answer of a failed job is in its line: as a string of at most 64 kB where it is not JSON."""
    page = b"<html>" + b"x" * 200_000

    async def reply(request: Request) -> bytes:
        return answer(400, page)

    server = scripted(reply)
    write_jobs(folder / "jobs.jsonl", [chat("one")])
    assert program.run("run", "jobs.jsonl", "--base-url", server.url).code == 3
    (line,) = results(folder / "jobs.results.jsonl")
    assert line["response"]["body"].startswith("<html>xxx")
    assert len(line["response"]["body"]) <= 65_536
    assert json.dumps(line["error"]["code"])
