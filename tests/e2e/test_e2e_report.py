"""`batchproc report`: of a run with faults it adds up with the summary; while it runs, after a kill, of old files."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Program, chat, chats, wait_until, write_jobs
from servers import Simulator

OUTPUT = "jobs.results.jsonl"


def document(program: Program, *options: str) -> dict[str, Any]:
    """The document of `report --json`, after checking that nothing was written and no lock was taken."""
    before = {p.name: p.read_bytes() for p in program.folder.iterdir() if not p.name.endswith(".lock")}
    done = program.run("report", OUTPUT, "--json", *options)
    assert done.code == 0, done.err
    assert {p.name for p in program.folder.iterdir() if not p.name.endswith(".lock")} == before.keys()
    return done.summary()


def test_it_adds_up_with_the_summary(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Requests, retries, 429s, failures and attempts are those that the run itself told, also as text and as a page."""
    server = simulator(faults=("500=10%", "400=5%"), latency="0.001-0.02", rpm=3000)
    chats(folder / "jobs.jsonl", 400)
    run = program.run("run", "jobs.jsonl", "--base-url", server.url, "--json")
    assert run.code == 3, run.err
    told, seen = run.summary(), document(program)
    for name in ("requests", "retries", "rate_limited", "succeeded", "failed"):
        assert seen[name] == told[name], name
    assert (seen["jobs"], seen["answered"], seen["state"], seen["processes"]) == (400, 400, "finished", 1)
    assert sum(seen["attempts"].values()) == 400
    assert sum(int(n) * jobs for n, jobs in seen["attempts"].items()) == told["requests"]
    assert sum(seen["faults"].values()) == told["requests"] - told["succeeded"]
    (model,) = seen["models"]
    assert (model["requests"], model["answers"]) == (told["requests"], told["succeeded"])
    assert model["input_tokens"] + model["output_tokens"] == told["input_tokens"] + told["output_tokens"]
    assert model["requests_per_minute"]["limit"] == 3000
    assert model["requests_per_minute"]["peak"] == told["requests"]
    assert sum(n or 0 for n in seen["series"]["answers"]) == told["succeeded"]
    assert sum(n or 0 for n in seen["series"]["failed"]) == told["failed"]
    assert seen["duration_s"] == pytest.approx(told["elapsed_s"], abs=2.0)
    assert seen["errors"] == told["errors"]
    assert 0 < seen["latency_s"]["p50"] <= seen["latency_s"]["p99"] <= seen["latency_s"]["max"]
    text = program.run("report", OUTPUT).out
    assert f"{told['requests']:,} requests, {told['retries']:,} retries" in text
    made = program.run("report", OUTPUT, "--html", "r.html")
    assert (made.code, made.out) == (0, "")
    assert f"<b>{told['requests']:,}</b>" in (folder / "r.html").read_text(encoding="utf-8")


def test_while_it_runs_and_over_a_kill(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A report needs no lock; what two processes did adds up."""
    server = simulator(faults=("hang=10%",))  # each of the twenty will wait for an answer that never comes
    chats(folder / "jobs.jsonl", 600)
    running = program.start("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "20")
    asked = wait_until("twenty that hang", lambda: all_in_flight(server, 20))
    first = wait_until("all of them in the time line", lambda: everything(program, asked))
    assert running.child.poll() is None
    assert (first["state"], first["processes"]) == ("running", 1)
    assert first["requests"] == asked < 600
    running.kill(signal.SIGKILL)
    running.wait()
    server.kill()
    server.start_again(faults=())
    assert program.run("run", "jobs.jsonl", "--base-url", server.url).code == 0
    seen = document(program)
    assert (seen["state"], seen["processes"], seen["answered"]) == ("finished", 2, 600)
    assert seen["requests"] == len(server.ledger()) == 600 + 20


def all_in_flight(server: Simulator, most: int) -> int | None:
    """How many requests there were in all, once so many are under way and none of them is answered any more."""
    asked = len(server.ledger())
    time.sleep(0.3)
    return asked if server.stats()["in_flight"] == most and len(server.ledger()) == asked else None


def everything(program: Program, requests: int) -> dict[str, Any] | None:
    """The document of `report --json` once it knows of so many requests."""
    seen = program.run("report", OUTPUT, "--json").summary()
    return seen if seen["requests"] >= requests else None


def test_what_it_cost(program: Program, folder: Path) -> None:
    """As `status` says it, by the same prices, and model by model; also on a page, and without a time line."""
    entry = {"own": {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-3}}
    (folder / "prices.json").write_text(json.dumps(entry))
    write_jobs(folder / "jobs.jsonl", [chat(f"job {k}", model=("own", "gpt-4o-mini")[k % 2]) for k in range(30)])
    assert program.run("run", "jobs.jsonl", "--simulate", "--rpm", "6000").code == 0
    told = program.run("status", OUTPUT, "--json", "--prices", "prices.json").summary()
    seen = document(program, "--prices", "prices.json")
    assert seen["cost_usd"] == told["cost_usd"] > 0
    assert (seen["cost_lost_usd"], seen["unpriced"]) == (None, [])
    models = {m["model"]: m for m in seen["models"]}
    assert sum(m["cost_usd"] for m in models.values()) == pytest.approx(seen["cost_usd"])
    own = models["own"]
    assert own["cost_usd"] == pytest.approx((own["input_tokens"] + own["output_tokens"]) * 1e-3)
    assert own["cost_per_hour_at_limit"] == pytest.approx(own["cost_usd"] / 15 * 6000 * 60)
    without = document(program)
    assert (without["unpriced"], 0 < without["cost_usd"] < seen["cost_usd"]) == (["own"], True)
    assert program.run("report", OUTPUT, "--html", "r.html", "--prices", "prices.json").code == 0
    assert "<h2>Cost</h2>" in (folder / "r.html").read_text(encoding="utf-8")
    ckpt = folder / f"{OUTPUT}.ckpt"
    kept = [line for line in ckpt.read_bytes().splitlines(keepends=True) if b'"kind":"time"' not in line]
    ckpt.write_bytes(b"".join(kept))
    assert document(program, "--prices", "prices.json")["cost_usd"] == told["cost_usd"]
    assert "no price is known for own" in program.run("report", OUTPUT).out


def test_an_old_checkpoint(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Without a time line it says so, and shows what is there."""
    chats(folder / "jobs.jsonl", 5)
    program.run("run", "jobs.jsonl", "--base-url", simulator().url)
    ckpt = folder / f"{OUTPUT}.ckpt"
    lines = ckpt.read_bytes().splitlines(keepends=True)
    assert any(b'"kind":"time"' in line for line in lines)
    ckpt.write_bytes(b"".join(line for line in lines if b'"kind":"time"' not in line))
    assert "has no time line" in program.run("report", OUTPUT).out
    seen = document(program)
    assert (seen["recorded"], seen["succeeded"], seen["series"]) == (False, 5, None)
    assert program.run("run", "jobs.jsonl", "--simulate").code == 6  # the files are as they were: another base URL


def test_exit_codes(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """2 where there is no such file or the page cannot go there, 6 where no run of ours made it."""
    missing = program.run("report", OUTPUT)
    assert (missing.code, missing.out) == (2, "")
    assert missing.err.startswith("error: there is no file")
    (folder / OUTPUT).write_text('{"not": "ours"}\n')
    assert program.run("report", OUTPUT).code == 6
    (folder / OUTPUT).unlink()
    chats(folder / "jobs.jsonl", 2)
    program.run("run", "jobs.jsonl", "--base-url", simulator().url)
    for place in (OUTPUT, f"{OUTPUT}.ckpt", "."):
        refused = program.run("report", OUTPUT, "--html", place)
        assert (refused.code, refused.out) == (2, ""), refused.err
    assert len((folder / OUTPUT).read_bytes().splitlines()) == 2
    assert program.run("report", OUTPUT, "--html", "no/such/folder.html").code == 7
