"""Results in input order, each the answer to its own job, whatever goes wrong on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Program, batch, chat, chats, check_chats, results, write_jobs
from servers import Simulator


def test_order_and_attempts_under_faults(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """With random latency and a quarter of all answers bad, every line is right and every request is accounted for."""
    server = simulator(latency="0.001-0.15", faults=("any=25%",), seed=5)
    chats(folder / "jobs.jsonl", 80)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--json")
    assert done.code == 0, done.err
    lines = check_chats(folder / "jobs.results.jsonl", 80)
    ledger = server.ledger()
    assert sum(line["attempts"] for line in lines) == len(ledger)
    assert max(line["attempts"] for line in lines) > 1
    per_job = Counter(entry["sha"] for entry in ledger)
    assert sorted(per_job.values()) == sorted(line["attempts"] for line in lines)
    good = Counter(entry["sha"] for entry in ledger if entry["status"] == 200 and entry["fault"] is None)
    assert set(good.values()) == {1}, "an answer was paid for twice"
    summary = done.summary()
    assert summary["requests"] == len(ledger)
    assert summary["retries"] == len(ledger) - 80


def test_a_slow_first_job_holds_up_the_file_only(
    program: Program, folder: Path, simulator: Callable[..., Simulator]
) -> None:
    """Stragglers of twenty times the latency change neither order nor content."""
    server = simulator(latency="0.01-0.05", faults=("slow=5%",), seed=2)
    chats(folder / "jobs.jsonl", 200)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "50")
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 200)


def test_every_form_and_endpoint(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Batch and bare jobs of all endpoints and several models keep their ids, metadata and order."""
    server = simulator(latency="0-0.05")
    jobs: list[Any] = [
        batch("one", "first"),
        chat("two", metadata={"row": 2, "é": [1.50]}),
        {"model": "text-embedding-3-small", "input": "three"},
        {"model": "gpt-4o", "input": "four", "custom_id": "fourth"},
        {"model": "gpt-3.5-turbo-instruct", "prompt": "five"},
        chat("six", custom_id="same"),
        chat("seven", custom_id="same"),
    ]
    write_jobs(folder / "jobs.jsonl", jobs)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url)
    assert done.code == 0, done.err
    lines = results(folder / "jobs.results.jsonl")
    ids = ["first", "request-1", "request-2", "fourth", "request-4", "same", "same"]
    assert [line["custom_id"] for line in lines] == ids
    assert lines[1]["metadata"] == {"row": 2, "é": [1.50]}
    assert [k for k, line in enumerate(lines) if "metadata" in line] == [1]
    assert len({line["id"] for line in lines}) == len(lines)
    assert all(line["id"].startswith("batch_req_") for line in lines)
    kinds = ["chat.completion", "chat.completion", "list", "response", "text_completion"]
    assert [line["response"]["body"]["object"] for line in lines[:5]] == kinds
    assert all(line["response"]["status_code"] == 200 for line in lines)
    assert all(line["response"]["request_id"].startswith("req_") for line in lines)
    paths = sorted(entry["path"] for entry in server.ledger())
    assert paths == sorted(["/v1/chat/completions"] * 4 + ["/v1/embeddings", "/v1/responses", "/v1/completions"])


def test_pretty_answers_become_one_line(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A body indented over many lines, as the real API sends it, is one line with the same tokens."""
    server = simulator(pretty=True)
    chats(folder / "jobs.jsonl", 5)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 5)


@pytest.mark.parametrize("env", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_results_on_stdout(
    program: Program, folder: Path, simulator: Callable[..., Simulator], env: dict[str, str]
) -> None:
    """`-o -` writes the ordered results to stdout and leaves no file behind, however Python buffers."""
    server = simulator(latency="0-0.1", faults=("500=5%", "cut=5%"))
    chats(folder / "jobs.jsonl", 60)
    done = program.run("run", "jobs.jsonl", "-o", "-", "--base-url", server.url, env=env)
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in done.out.split("\n")[:-1]]
    assert [line["index"] for line in lines] == list(range(60))
    assert [p.name for p in folder.iterdir()] == ["jobs.jsonl"]


def test_the_embedded_provider_needs_nothing(program: Program, folder: Path) -> None:
    """`--simulate` works without key, network or server, and the second run has nothing to do."""
    chats(folder / "jobs.jsonl", 20)
    first = program.run("run", "jobs.jsonl", "--simulate", "--rpm", "6k", "--tpm", "1m")
    assert first.code == 0, first.err
    check_chats(folder / "jobs.results.jsonl", 20)
    again = program.run("run", "jobs.jsonl", "--simulate")
    assert again.code == 0
    assert "nothing to do" in again.err
