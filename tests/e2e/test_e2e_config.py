"""--config and --print-config of the real program."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, chat, chats, check_chats, environment, results, write_jobs
from servers import Reply, Request, Scripted, Simulator, chat_answer


def test_a_run_by_its_file(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """A file gives address, header, model and trial; a flag and a variable go before it; the next command keeps it."""

    async def reply(request: Request) -> bytes:
        return chat_answer(f"Simulated answer to: {request.text}")

    server = scripted(reply)
    jobs = [{"messages": chat(f"job {k}")["messages"]} for k in range(9)]
    write_jobs(folder / "jobs.jsonl", jobs)
    (folder / "c.toml").write_text(
        f'base-url = "{server.url}"\nmodel = "of-file"\nlimit = 3\nheader = ["X-Team=7"]\nquiet = true\n'
    )
    done = program.run("run", "jobs.jsonl", "--config", "c.toml")
    assert (done.code, done.err) == (0, "")
    check_chats(folder / "jobs.results.jsonl", 3)
    assert {json.loads(r.body)["model"] for r in server.requests} == {"of-file"}
    assert {r.headers["x-team"] for r in server.requests} == {"7"}
    env = {"BATCHPROC_CONFIG": "c.toml", "BATCHPROC_QUIET": "false", "BATCHPROC_LIMIT": "5"}
    other = program.run("run", "jobs.jsonl", "-o", "other.jsonl", "--model", "of-flag", env=env)
    assert other.code == 0
    check_chats(folder / "other.jsonl", 5)
    assert json.loads(server.requests[-1].body)["model"] == "of-flag"
    assert "5 jobs" in other.err
    assert "next:" not in other.err, "the same command would be the same trial again"


@pytest.mark.parametrize("action", [(), ("--print-config",)], ids=["run", "print"])
def test_an_unknown_key(program: Program, folder: Path, action: tuple[str, ...]) -> None:
    """A key that is none is exit 2 with the nearest one, before anything is sent or made."""
    chats(folder / "jobs.jsonl", 3)
    (folder / "c.toml").write_text('# limits\nrpm = 5\nconcurency = 5\nbase-url = "http://127.0.0.1:1/v1"\n')
    done = program.run("run", "jobs.jsonl", "--config", "c.toml", *action)
    assert done.code == 2
    assert done.out == ""
    assert done.err == ("error: c.toml, line 3: there is no setting `concurency`\nhint: did you mean `concurrency`?\n")
    assert sorted(os.listdir(folder)) == ["c.toml", "jobs.jsonl"]


def test_print_config_opens_and_sends_nothing(program: Program, folder: Path) -> None:
    """Jobs, key file and header file need not exist, nothing is made, and no secret is on a stream."""
    key, header = (secrets.token_hex(20) for _ in range(2))
    (folder / "c.toml").write_text(f'rpm = "3.5k"\nheader = ["X-Secret={header}", "X-More=@nowhere"]\n')
    command = ["run", "nowhere.jsonl", "--config", "c.toml", "--print-config", "--api-key-file", "no-key", "-v"]
    env = {"OPENAI_API_KEY": key, "BATCHPROC_TPM": "2m"}
    done = program.run(*command, env=env)
    assert (done.code, done.err) == (0, "")
    assert tomllib.loads(done.out) == {"rpm": 3500, "tpm": 2_000_000, "api-key-file": "no-key", "verbose": 1}
    document = json.loads(program.run(*command, "--json", env=env).out)
    assert document["rpm"] == {"value": 3500, "source": "file c.toml, line 1"}
    assert document["tpm"] == {"value": 2_000_000, "source": "environment BATCHPROC_TPM"}
    assert document["verbose"] == {"value": 1, "source": "flag"}
    assert document["output"] == {"value": "nowhere.results.jsonl", "source": "default"}
    assert document["drain"] == {"value": None, "source": "default"}
    assert not any(secret in program.said_so_far() for secret in (key, header))
    assert os.listdir(folder) == ["c.toml"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rpm", "0"], "too small"),
        (["--endpoint", "http://elsewhere/"], "not a plain absolute path"),
        (["--base-url", "nowhere"], "not an http or https address"),
        (["--simulate", "--provider", "openai"], "contradict"),
        (["--header", "no equals sign"], "NAME=VALUE"),
        (["--config", "nowhere.toml"], "cannot be read"),
    ],
)
def test_print_config_of_wrong_settings(program: Program, options: list[str], message: str) -> None:
    """What a run would refuse is refused here too: exit 2 and nothing on standard output."""
    done = program.run("run", "jobs.jsonl", "--print-config", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_print_config_on_a_full_disk(program: Program, folder: Path) -> None:
    """A listing that could not be written is exit 7, without a traceback."""
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "batchproc", "run", "jobs.jsonl", "--print-config"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment(folder), check=False)
    assert done.returncode == 7
    assert b"error: writing to standard output failed" in done.stderr
    assert b"Traceback" not in done.stderr


MODELS = 'rpm = 6000\n[models."slow"]\nrpm = 60\n[models."sl*"]\nrpm = 600\n'


def two_models(folder: Path) -> None:
    """100 jobs for `slow`, 100 for `quick`, 10 for `sly`, mixed."""
    names = ["slow", "quick"] * 100 + ["sly"] * 10
    write_jobs(folder / "jobs.jsonl", ({**chat(f"job {k}"), "model": name} for k, name in enumerate(names)))
    (folder / "c.toml").write_text(MODELS)


def test_each_model_keeps_to_its_own_limit(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Against a server that says and refuses nothing, one model is sent slowly while the others go on."""
    server = simulator(headers=False)
    two_models(folder)
    options = ["--base-url", server.url, "--config", "c.toml", "--burst", "2", "--stop-after", "7", "--json"]
    done = program.run("run", "jobs.jsonl", *options)
    assert done.code == 5, done.err
    times = [e["time"] for e in server.ledger() if e["model"] == "slow"]
    sent = Counter(e["model"] for e in server.ledger())
    assert (sent["quick"], sent["sly"]) == (100, 10)
    assert 2 <= len(times) <= 2 + 1 + (max(times) - min(times)), "60 a minute, and a burst of two seconds"
    limits = {m["model"]: m["request_limit"] for m in done.summary()["models"]}
    assert limits == {"slow": 60, "quick": 6000, "sly": 600}


def test_the_embedded_provider_has_the_same_limits(program: Program, folder: Path) -> None:
    """--simulate: client and provider limit each model alike, and the rest is done.

    Hardly anything is refused: a request sent at the instant of the refill may come a millisecond too early.
    """
    two_models(folder)
    options = ["--simulate", "--config", "c.toml", "--stop-after", "6", "--json"]
    done = program.run("run", "jobs.jsonl", *options)
    assert done.code == 5, done.err
    summary = done.summary()
    assert summary["rate_limited"] <= 4
    requests = {m["model"]: m["requests"] for m in summary["models"]}
    assert (requests["quick"], requests["sly"]) == (100, 10)
    assert requests["slow"] < 60 + summary["elapsed_s"] + 6
    assert results(folder / "jobs.results.jsonl")


def test_tokens_are_counted_where_one_model_limits_them(
    program: Program, folder: Path, simulator: Callable[..., Simulator]
) -> None:
    """A token limit in one model's table is kept by counting, not by guessing: nothing is refused."""
    server = simulator(by_model={"slow": {"tpm": 6000}}, headers=False)
    write_jobs(folder / "jobs.jsonl", ({**chat(f"job {k}", max_tokens=500), "model": "slow"} for k in range(40)))
    (folder / "c.toml").write_text("[models.slow]\ntpm = 6000\n")
    done = program.run(
        "run", "jobs.jsonl", "--base-url", server.url, "--config", "c.toml", "--burst", "60", "--stop-after", "4"
    )
    assert done.code == 5, done.err
    statuses = Counter(e["status"] for e in server.ledger())
    assert set(statuses) == {200}
    assert 1 <= statuses[200] <= 12
