"""Budgets with the real program: never overshot by what was answered, over all runs; exit 5, resumable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Program, chat, check_chats, results, wait_until, write_jobs
from servers import Reply, Request, Scripted, Simulator, chat_answer, error_answer


def spent(output: Path) -> tuple[int, float]:
    """Tokens and dollars of the answers, at the list price of gpt-4o-mini."""
    usages = [line["response"]["body"]["usage"] for line in results(output) if line["error"] is None]
    tokens_in = sum(u["prompt_tokens"] for u in usages)
    tokens_out = sum(u["completion_tokens"] for u in usages)
    return tokens_in + tokens_out, (tokens_in * 0.15 + tokens_out * 0.6) / 1e6


def capped(path: Path, count: int, **more: Any) -> Path:
    return write_jobs(path, (chat(f"job {k}", **({"max_tokens": 40} | more)) for k in range(count)))


def test_money(program: Program, folder: Path) -> None:
    """Stops within the budget with exit 5; the printed command goes on within twice as much, and then to the end."""
    capped(folder / "jobs.jsonl", 200)
    output = folder / "jobs.results.jsonl"
    budget, before = 0.0004, 0
    for _ in range(3):
        done = program.run("run", "jobs.jsonl", "--simulate", "--max-cost", f"{budget:.4f}", "--json")
        answered = len(results(output))
        _, cost = spent(output)
        assert cost <= budget
        assert done.summary()["cost_usd"] == pytest.approx(cost)
        if done.code == 0:
            break
        assert done.code == 5, done.err
        assert answered > before, "the raised budget was not used"
        assert cost > budget * 0.7, "stopped although much was left"
        budget, before = 2 * budget, answered
        assert f"--max-cost {budget:.4f}".rstrip("0") in done.summary()["next_command"]
    assert program.run("run", "jobs.jsonl", "--simulate", "--max-cost", "$1").code == 0
    check_chats(output, 200)


def test_tokens_with_faults(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A quarter of the answers are faults: what is lost is charged, what was answered stays within the budget."""
    server = simulator(faults=("reset=10%", "500=10%", "empty=5%"), latency="0.02")
    capped(folder / "jobs.jsonl", 150)
    args = ("run", "jobs.jsonl", "--base-url", server.url, "--max-total-tokens", "1500", "--json")
    done = program.run(*args)
    assert done.code == 5, done.err
    assert spent(folder / "jobs.results.jsonl")[0] <= 1500
    again = program.run(*args)
    assert again.code == 5, again.err
    assert again.summary()["requests"] == 0, "what was lost before was forgotten"


@pytest.mark.parametrize(
    ("job", "args", "word"),
    [
        (chat("x", model="my-model", max_tokens=5), ("--max-cost", "1"), "my-model"),
        (chat("x", model="my-model"), ("--max-total-tokens", "1000"), "--assume-max-output"),
    ],
)
def test_what_cannot_be_bounded_is_not_begun(
    program: Program, folder: Path, job: dict[str, Any], args: tuple[str, ...], word: str
) -> None:
    """Exit 2 with the hint; nothing is written, nothing is sent."""
    write_jobs(folder / "jobs.jsonl", [job] * 3)
    done = program.run("run", "jobs.jsonl", "--simulate", *args)
    assert done.code == 2
    assert word in done.err
    assert [p.name for p in folder.iterdir()] == ["jobs.jsonl"]


def test_what_shows_late_stops_with_the_answers_saved(program: Program, folder: Path) -> None:
    """A job in the middle of the file names no maximum: exit 2, resumable once one is assumed."""
    jobs = [chat(f"job {k}", model="own", max_tokens=20) for k in range(60)]
    del jobs[40]["max_tokens"]
    write_jobs(folder / "jobs.jsonl", jobs)
    args = ("run", "jobs.jsonl", "--simulate", "--max-total-tokens", "100k")
    done = program.run(*args)
    assert done.code == 2
    assert "line 41" in done.err
    assert "--assume-max-output" in done.err
    assert 20 <= len(results(folder / "jobs.results.jsonl")) <= 40, "what was in flight is saved"
    assert program.run(*args, "--assume-max-output", "9").code == 0
    check_chats(folder / "jobs.results.jsonl", 60)


def test_a_price_list(program: Program, folder: Path) -> None:
    """A model of one's own with a price of one's own; also in `check`."""
    entry = {"own": {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-3}}
    (folder / "prices.json").write_text(json.dumps(entry))
    write_jobs(folder / "jobs.jsonl", [chat(f"job {k}", model="own", max_tokens=10) for k in range(100)])
    done = program.run("run", "jobs.jsonl", "--simulate", "--prices", "prices.json", "--max-cost", "1", "--json")
    assert done.code == 5, done.err
    tokens, _ = spent(folder / "jobs.results.jsonl")
    assert done.summary()["cost_usd"] == pytest.approx(tokens * 1e-3)
    assert tokens <= 1000
    checked = program.run("check", "jobs.jsonl", "--prices", "prices.json", "--json").summary()
    (model,) = checked["whole"]["models"]
    assert model["cost_usd"] == pytest.approx(model["tokens"]["total"] * 1e-3)


def test_what_was_in_flight_at_a_kill_counts(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted]
) -> None:
    """Requests whose answers nobody read may have been billed: after the kill they are charged at their worst case."""
    hold = True

    async def reply(request: Request) -> bytes:
        if hold:
            await asyncio.sleep(3600)
        return chat_answer(f"Simulated answer to: {request.text}")

    server = scripted(reply)
    capped(folder / "jobs.jsonl", 8)
    args = ("run", "jobs.jsonl", "--base-url", server.url, "--max-total-tokens", "2700", "--json")
    running = program.start(*args)
    wait_until("eight requests", lambda: len(server.requests) >= 8)
    checkpoint = folder / "jobs.results.jsonl.ckpt"
    wait_until("their notes", lambda: sum(line.count(b'"sent"') for line in checkpoint.read_bytes().split(b"\n")) > 0)
    running.kill()
    running.wait()
    hold = False
    for _ in range(2):  # 8 lost ones of some 300 tokens each: no room for a ninth, now or later
        done = program.run(*args)
        assert done.code == 5, done.err
        assert done.summary()["requests"] == 0
        assert done.summary()["cost_lost_usd"] > 0


BIG = b'"prompt_tokens":100,"completion_tokens":40,"total_tokens":140'  # as many bytes: a header says how many


def failing(text: str) -> bool:
    """Whether this job of the tests below fails at first."""
    return int(text.split()[-1]) % 2 == 0


def test_a_retry_counts_what_the_run_spent(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted]
) -> None:
    """Half of the jobs fail; in the retry the budget holds for both together; a higher one ends it."""
    mended = False

    async def reply(request: Request) -> bytes:
        if failing(request.text) and not mended:
            return error_answer(400, "no", "no")
        return chat_answer("yes").replace(b'"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2', BIG)

    server = scripted(reply)
    capped(folder / "jobs.jsonl", 40)
    output = folder / "jobs.results.jsonl"
    args = ("--base-url", server.url, "--json")
    first = program.run("run", "jobs.jsonl", *args)
    assert first.code == 3, first.err
    run_tokens, run_cost = spent(output)
    mended, asked = True, len(server.requests)
    before = output.read_bytes()
    budget = str(run_tokens + 1000)
    done = program.run("retry", output.name, *args, "--max-total-tokens", budget)
    assert done.code == 5, done.err
    answered = len(server.requests) - asked
    assert 0 < answered < 20
    assert output.read_bytes() == before
    status = program.run("status", output.name, "--json").summary()
    assert done.summary()["cost_usd"] == pytest.approx(status["cost_usd"])
    assert status["cost_usd"] == pytest.approx(run_cost * (20 + answered) / 20), "all answers cost the same here"
    assert status["command"].endswith(f"--max-total-tokens {2 * int(budget)}"), "the same one would stop at once"
    again = program.run("retry", output.name, *args, "--max-total-tokens", budget)
    assert (again.code, again.summary()["requests"]) == (5, 0), "what the retry spent was forgotten"
    end = program.run("retry", output.name, *args, "--max-total-tokens", "100k")
    assert end.code == 0, end.err
    _, cost = spent(output)
    assert end.summary()["cost_usd"] == pytest.approx(cost)
    assert program.run("status", output.name, "--json").summary()["cost_usd"] == pytest.approx(cost)


def test_money_in_a_file_and_in_the_environment(program: Program, folder: Path) -> None:
    """As typed; --print-config shows it so, with where it came from; `check` and `finish` pass over it."""
    capped(folder / "jobs.jsonl", 200)
    (folder / "c.toml").write_text('max-cost = "$0.0004"\nassume-max-output = "1k"\nmax-total-tokens = 1_000_000\n')
    shown = program.run(
        "run", "jobs.jsonl", "--config", "c.toml", "--print-config", env={"BATCHPROC_MAX_TOTAL_TOKENS": "2m"}
    )
    words = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert 'max-cost = "$0.0004" # file c.toml, line 1' in words
    assert "assume-max-output = 1000 # file c.toml, line 2" in words
    assert "max-total-tokens = 2000000 # environment BATCHPROC_MAX_TOTAL_TOKENS" in words
    done = program.run("run", "jobs.jsonl", "--simulate", "--config", "c.toml")
    assert done.code == 5, done.err
    assert "--max-cost 0.0008" in done.err
    assert spent(folder / "jobs.results.jsonl")[1] <= 0.0004
    assert program.run("check", "jobs.jsonl", "--config", "c.toml").code == 0
    assert program.run("finish", "jobs.results.jsonl", "--yes", env={"BATCHPROC_MAX_COST": "0.0001"}).code == 3
