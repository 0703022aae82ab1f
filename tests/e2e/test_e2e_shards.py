"""Runs in shards: what `merge` makes is what one process would have made, whatever happened on the way."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Finished, Program, batch, chat, environment, results, wait_until, write_jobs
from servers import Simulator

DOCS = Path(__file__).parent.parent.parent / "docs" / "scaling.md"
MakeSimulator = Callable[..., Simulator]


def mixed(path: Path, count: int = 160) -> Path:
    """Jobs of all kinds, more than once where it is tempting to mistake them: names, blank and bad lines."""
    lines: list[Any] = []
    for k in range(count):
        lines.append(chat(f"job {k}"))
        if k % 13 == 4:
            lines += [b"", b" \t\r"]
        if k % 17 == 5:
            lines.append(b"not json")
        if k % 19 == 6:
            lines.append(chat(f"named {k}", custom_id=f"request-{k % 5}", metadata={"row": k}))
        if k % 23 == 7:
            lines.append(batch(f"batch {k}", f'é " {k}'))
        if k % 29 == 8:
            lines.append(json.dumps(chat(f"dos {k}")).encode() + b"\r")
        if k % 31 == 9:
            lines.append({"messages": []})
    path.write_bytes(b"\xef\xbb\xbf")
    with path.open("ab") as f:
        f.write(write_jobs(path.with_suffix(".tmp"), lines).read_bytes().rstrip(b"\n"))
    return path


def in_one(program: Program, jobs: Path, *options: str) -> bytes:
    """The output of one process."""
    assert program.run("run", jobs, "-o", "plain.jsonl", *options).code in (0, 3)
    return (program.folder / "plain.jsonl").read_bytes()


def in_shards(program: Program, jobs: Path, count: int, *options: str) -> list[Finished]:
    """Run all shards beside each other."""
    started = [program.start("run", jobs, "-o", "out.jsonl", "--shard", f"{i}/{count}", *options) for i in range(count)]
    return [run.wait() for run in started]


def test_shards_killed_and_resumed_make_the_output_of_one_process(
    program: Program, folder: Path, simulator: MakeSimulator
) -> None:
    """Four processes, two killed with SIGKILL; asked twice is at most what was in flight, or had just come, then."""
    jobs = mixed(folder / "jobs.jsonl")
    server = simulator(latency="0.1-0.3", faults=("500=5%",))
    at = ["--base-url", server.url, "--concurrency", "4"]
    runs = {
        i: program.start("run", jobs, "-o", "out.jsonl", "--shard", f"{i}/4", *at, "--header", f"X-Marker=s{i}")
        for i in range(4)
    }
    for i in (1, 3):
        wait_until("answers", lambda i=i: len([e for e in server.ledger(f"s{i}") if e["status"] == 200]) >= 12)  # type: ignore[misc]
        runs[i].kill()
        runs[i].wait()
    unfinished = program.run("merge", "out.jsonl", "--json")
    assert unfinished.code == 5
    assert "not done" in unfinished.err
    assert "--shard 1/4" in unfinished.err, "the first that no process is at"
    assert not (folder / "out.jsonl").exists()
    seen = json.loads(program.run("status", "out.jsonl", "--json").out)
    assert [s["exit_code"] == 5 for s in seen["shards"]][1::2] == [True, True]
    for i in (1, 3):
        again = program.run("run", jobs, "-o", "out.jsonl", "--shard", f"{i}/4", *at, "--header", f"X-Marker=s{i}")
        assert again.code == 3, again.err
    for i in (0, 2):
        assert runs[i].wait().code == 3
    merged = program.run("merge", "out.jsonl", "--json")
    assert merged.code == 3
    assert merged.summary()["paid_twice"] == 0
    server.at_rest()
    for i in range(4):
        answered = Counter(e["sha"] for e in server.ledger(f"s{i}") if e["status"] == 200)
        assert sum(answered.values()) - len(answered) <= (
            2 * 4 if i in (1, 3) else 0
        )  # saved within 50 ms, later where it is busy
    other = simulator(latency="0")
    plain = in_one(program, jobs, "--base-url", other.url)
    without = re.compile(rb'"attempts": \d+')  # those of the 500s, and of what was in flight
    assert without.sub(b"", (folder / "out.jsonl").read_bytes()) == without.sub(b"", plain)


@pytest.mark.parametrize("count", [1, 5])
def test_merged_it_is_byte_for_byte_the_output_of_one_process(
    program: Program, folder: Path, simulator: MakeSimulator, count: int
) -> None:
    """Ids, indices, names, line numbers of bad lines; and what comes after finds an ordinary run."""
    server = simulator()
    jobs = mixed(folder / "jobs.jsonl", 60)
    at = ("--base-url", server.url)
    plain = in_one(program, jobs, *at)
    assert {done.code for done in in_shards(program, jobs, count, *at)} <= {0, 3}
    before = json.loads(program.run("status", "out.jsonl", "--json").out)
    assert (before["total"], before["written"], before["command"]) == (
        plain.count(b"\n"),
        0,
        "batchproc merge out.jsonl",
    )
    assert program.run("merge", "out.jsonl").code == 3
    assert (folder / "out.jsonl").read_bytes() == plain
    states = [json.loads(program.run("status", name, "--json").out) for name in ("out.jsonl", "plain.jsonl")]
    for key in ("state", "exit_code", "total", "answered", "written", "totals", "errors", "jobs", "folder", "cost_usd"):
        assert states[0][key] == states[1][key], key
    asked = len(server.ledger())
    again = program.run("merge", "out.jsonl")
    assert again.code == 3
    assert "nothing to do" in again.err
    assert "nothing to do" in program.run("run", jobs, "-o", "out.jsonl", *at).err
    assert "nothing to do" in program.run("run", jobs, "-o", "out.jsonl", "--shard", f"0/{count}", *at).err
    assert len(server.ledger()) == asked
    text = jobs.read_bytes().replace(b"not json", json.dumps(chat("mended")).encode()) + b"\n"
    jobs.write_bytes(text + json.dumps(chat("added")).encode() + b"\n")
    retried = program.run("retry", "out.jsonl", *at)
    assert retried.code == 3, retried.err
    assert program.run("run", jobs, "-o", "out.jsonl", *at).code == 3
    lines = results(folder / "out.jsonl")
    assert len(lines) == plain.count(b"\n") + 1
    assert not [line for line in lines if line["error"] and line["error"]["code"] == "invalid_json"]


def test_two_copies_of_one_shard_do_no_harm(program: Program, folder: Path, simulator: MakeSimulator) -> None:
    """The second begins with what the first has; what both pay is counted; the output is right."""
    jobs = write_jobs(folder / "jobs.jsonl", (chat(f"job {k}") for k in range(120)))
    server = simulator(latency="0.1")
    options = ["run", jobs, "-o", "out.jsonl", "--shard", "0/2", "--base-url", server.url, "--concurrency", "3"]
    first = program.start(*options, "--header", "X-Marker=first")
    wait_until("answers", lambda: len(server.ledger("first")) >= 20)
    first.kill(signal.SIGSTOP)  # alive, and holding its lock, for as long as the test needs
    second = program.start(*options, "--header", "X-Marker=second")
    wait_until("requests of the second", lambda: len(server.ledger("second")) >= 5)
    first.kill(signal.SIGCONT)
    assert second.wait().code == 0
    assert first.wait().code == 0
    assert "another process is at shard 0/2" in second.err()
    assert {p.name for p in (folder / "out.jsonl.parts").glob("00000.*.jsonl")} == {"00000.1.jsonl", "00000.2.jsonl"}
    server.at_rest()
    twice = Counter(e["sha"] for e in server.ledger())
    repeated = sum(twice.values()) - len(twice)
    assert 0 < repeated <= 60 - 10
    assert program.run("run", jobs, "-o", "out.jsonl", "--shard", "1/2", "--base-url", server.url).code == 0
    merged = program.run("merge", "out.jsonl", "--json", "--remove-parts")
    assert merged.summary()["paid_twice"] == repeated
    assert f"paid twice: {repeated} jobs" in merged.err
    assert not (folder / "out.jsonl.parts").exists()
    assert (folder / "out.jsonl").read_bytes() == in_one(program, jobs, "--base-url", simulator().url)
    assert program.run("merge", "out.jsonl").code == 0  # without parts, too


def test_both_copies_killed_the_one_that_is_farther_goes_on(
    program: Program, folder: Path, simulator: MakeSimulator
) -> None:
    """No third attempt is begun, and nothing that it has is asked again."""
    jobs = write_jobs(folder / "jobs.jsonl", (chat(f"job {k}") for k in range(60)))
    server = simulator(latency="0.1")
    options = ["run", jobs, "-o", "out.jsonl", "--shard", "0/1", "--base-url", server.url, "--concurrency", "3"]
    runs = [program.start(*options)]
    wait_until("answers", lambda: len(server.ledger()) >= 10)
    runs[0].kill(signal.SIGSTOP)
    runs.append(program.start(*options))
    runs[1].said("another process")
    wait_until("answers of the second", lambda: len(server.ledger()) >= 25)
    for run in runs:
        run.kill()
        run.wait()
    server.at_rest()
    seen = json.loads(program.run("status", "out.jsonl", "--json").out)["shards"][0]
    assert (seen["state"], seen["attempts"]) == ("unfinished", 2)
    asked = len(server.ledger())
    assert program.run(*options).code == 0
    assert len(server.ledger()) - asked == 60 - seen["answered"]
    assert len(list((folder / "out.jsonl.parts").glob("00000.*.jsonl"))) == 2
    assert program.run("merge", "out.jsonl").code == 0
    assert [line["index"] for line in results(folder / "out.jsonl")] == list(range(60))


def test_a_partial_merge_is_an_unfinished_run_of_one_process(
    program: Program, folder: Path, simulator: MakeSimulator
) -> None:
    """Nothing that was paid is lost; an ordinary run sends the rest, and only that."""
    jobs = mixed(folder / "jobs.jsonl", 80)
    server = simulator(latency="0.05")
    at = ("--base-url", server.url)
    plain = in_one(program, jobs, *at)
    for i in (0, 3):
        program.run("run", jobs, "-o", "out.jsonl", "--shard", f"{i}/4", *at)
    killed = program.start(
        "run", jobs, "-o", "out.jsonl", "--shard", "1/4", *at, "--concurrency", "2", "--header", "X-Marker=k"
    )
    wait_until("answers", lambda: len(server.ledger("k")) >= 8)
    killed.kill(signal.SIGSTOP)
    busy = program.run("merge", "out.jsonl", "--partial")
    assert busy.code == 6, "a process is at work"
    killed.kill()
    killed.wait()
    server.at_rest()
    asked = len(server.ledger())
    partial = program.run("merge", "out.jsonl", "--partial", "--json")
    assert partial.code == 5
    assert partial.summary()["jobs"] + partial.summary()["missing"] == plain.count(b"\n")
    refused = program.run("run", jobs, "-o", "out.jsonl", "--shard", "2/4", *at)
    assert refused.code == 6
    assert "merged already" in refused.err
    assert program.run("run", jobs, "-o", "out.jsonl", *at).code == 3
    assert (folder / "out.jsonl").read_bytes() == plain
    assert len(server.ledger()) - asked == partial.summary()["missing"] - bad_in(
        plain, partial.summary(), results(folder / "out.jsonl")
    )


def bad_in(plain: bytes, merged: dict[str, Any], lines: list[dict[str, Any]]) -> int:
    """Bad lines, which cost no request, among the jobs that were missing."""
    assert plain.count(b"\n") == len(lines)
    return sum(line["error"] is not None for line in lines) - merged["failed"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--shard", "4/4"], 2, "the last of 4 is `3/4`"),  # Slurm's arrays may begin at 1
        (["--shard", "1"], 2, "is not a shard such as `0/8`"),
        (["--shard", "0/0"], 2, "is not a shard"),
        (["--shard", "-1/4"], 2, "is not a shard"),
        (["--shard", "0/4", "--fresh", "--yes"], 2, "move `out.jsonl.parts` away"),
        (["--shard", "0/4", "--adopt"], 2, "`--adopt` makes no sense"),
        (["--shard", "0/4", "--checkpoint", "c"], 2, "each shard has its own"),
        (["--shard", "0/4", "-o", "-"], 2, "shards need files"),
        (["--shard", "0/4", "-o", "none/out"], 2, "mkdir -p none"),
    ],
)
def test_what_makes_no_sense_is_said(program: Program, folder: Path, options: list[str], code: int, said: str) -> None:
    """And nothing is written."""
    jobs = write_jobs(folder / "jobs.jsonl", [chat("a")])
    done = program.run("run", jobs, "-o", "out.jsonl", "--simulate", *options)
    assert done.code == code
    assert said in done.err
    assert [p.name for p in folder.iterdir()] == ["jobs.jsonl"]


def test_what_cannot_be_cut_is_refused(program: Program, folder: Path) -> None:
    """A compressed file, standard input, and what is no job file at all."""
    import gzip

    (folder / "jobs.gz").write_bytes(gzip.compress(b"{}\n"))
    (folder / "table.csv").write_bytes(b"a,b\n1,2\n3,4\n")
    for jobs, said in (("jobs.gz", "zcat"), ("-", "standard input"), ("table.csv", "it looks like CSV")):
        done = program.run("run", jobs, "-o", "out.jsonl", "--simulate", "--shard", "1/4", stdin=subprocess.DEVNULL)
        assert done.code == 2
        assert said in done.err
    assert not (folder / "out.jsonl.parts").exists()


def test_shards_and_ordinary_runs_keep_off_each_other(program: Program, folder: Path) -> None:
    """Neither pays again for what the other has; `merge` overwrites nothing."""
    jobs = write_jobs(folder / "jobs.jsonl", (chat(f"job {k}") for k in range(8)))
    run = ["run", jobs, "--simulate", "-o"]
    assert program.run(*run, "plain.jsonl").code == 0
    assert program.run(*run, "plain.jsonl", "--shard", "0/2").code == 6
    assert program.run("merge", "plain.jsonl").code == 0  # nothing to do
    assert program.run("merge", "no.jsonl").code == 2
    assert (
        program.run(*run, "out.jsonl", "--shard", "0/2", "--max-total-tokens", "1m").err.count("2 times as much") == 1
    )
    for command in ([*run, "out.jsonl"], ["retry", "out.jsonl"]):
        done = program.run(*command)
        assert done.code in (2, 6)
        assert "batchproc merge out.jsonl" in done.err
    assert program.run("retry", "out.jsonl.parts/00000.1.jsonl", "--simulate").code == 2
    assert program.run("report", "out.jsonl.parts/00000.1.jsonl").code == 0
    assert program.run(*run, "out.jsonl", "--shard", "1/2").code == 0
    (folder / "out.jsonl").write_bytes(b"mine\n")
    assert program.run("merge", "out.jsonl").code == 6
    assert (folder / "out.jsonl").read_bytes() == b"mine\n"
    (folder / "out.jsonl").unlink()
    jobs.rename(folder / "moved.jsonl")
    lost = program.run("merge", "out.jsonl")
    assert lost.code == 2
    assert "--jobs FILE" in lost.err
    text = (folder / "moved.jsonl").read_bytes()
    (folder / "moved.jsonl").write_bytes(text.replace(b"job 5", b"job X"))
    changed = program.run("merge", "out.jsonl", "--jobs", "moved.jsonl")
    assert changed.code == 6
    assert "line 6 of the input (job 5)" in changed.err
    assert not list(folder.glob("*.merging"))
    (folder / "moved.jsonl").write_bytes(text)
    assert program.run("merge", "out.jsonl", "--jobs", "moved.jsonl").code == 0
    assert (folder / "out.jsonl").read_bytes() == (folder / "plain.jsonl").read_bytes()


def test_a_damaged_answer_is_not_merged(program: Program, folder: Path) -> None:
    """It is whole, and tells the right job, but not what was written: its shard finds it, and asks for it again."""
    jobs = write_jobs(folder / "jobs.jsonl", (chat(f"job {k}") for k in range(12)))
    shards = [["run", jobs, "-o", "out.jsonl", "--simulate", "--shard", f"{i}/2"] for i in range(2)]
    for shard in shards:
        assert program.run(*shard).code == 0
    part = folder / "out.jsonl.parts" / "00001.1.jsonl"
    part.write_bytes(part.read_bytes().replace(b'"chat.completion"', b'"chat.comqletion"', 1))
    damaged = program.run("merge", "out.jsonl")
    assert damaged.code == 6
    assert "00001.1.jsonl` is damaged at line 1" in damaged.err
    assert not (folder / "out.jsonl").exists()
    assert program.run(*shards[1]).code == 0
    assert program.run("merge", "out.jsonl").code == 0
    assert b"comqletion" not in (folder / "out.jsonl").read_bytes()


def test_a_shard_without_a_line_is_done(program: Program, folder: Path) -> None:
    """More shards than lines: those that hold none may run, and need not."""
    jobs = write_jobs(folder / "jobs.jsonl", [chat("a"), chat("b")])
    for done in in_shards(program, jobs, 5, "--simulate")[:4]:
        assert done.code == 0, done.err
    assert program.run("merge", "out.jsonl").code == 0
    assert len(results(folder / "out.jsonl")) == 2


def test_a_trial_and_a_stop_go_on_as_ever(program: Program, folder: Path) -> None:
    """`--limit` is one of the shard; its command goes on with that shard."""
    jobs = write_jobs(folder / "jobs.jsonl", (chat(f"job {k}") for k in range(40)))
    trial = program.run("run", jobs, "-o", "out.jsonl", "--simulate", "--shard", "1/2", "--limit", "5", "--json")
    assert trial.code == 0
    assert trial.summary()["succeeded"] == 5
    assert "--shard 1/2" in trial.summary()["next_command"]
    assert "--limit" not in trial.summary()["next_command"]
    assert program.run("merge", "out.jsonl").code == 5
    full = program.run("run", jobs, "-o", "out.jsonl", "--simulate", "--shard", "1/2", "--json")
    assert full.summary()["resumed"] == 5
    assert full.summary()["next_command"] == "batchproc merge out.jsonl"


def test_a_line_that_changed_in_the_middle_is_found_by_its_shard(program: Program, folder: Path) -> None:
    """Head and tail of the file are as they were; the line is named as the shard counts, and that is said."""
    jobs = write_jobs(folder / "jobs.jsonl", (chat(f"job {k:04}", metadata={"filler": "x" * 300}) for k in range(900)))
    shard = ["run", jobs, "-o", "out.jsonl", "--simulate", "--shard", "1/3"]
    assert program.run(*shard, "--limit", "5").code == 0
    jobs.write_bytes(jobs.read_bytes().replace(b"job 0302", b"job XXXX"))
    done = program.run(*shard)
    assert done.code == 6
    assert "lines and jobs of shard 1/3 are counted from byte" in done.err
    assert "move `out.jsonl.parts` away" in done.err


def test_the_recipe_with_xargs(program: Program, folder: Path, simulator: MakeSimulator) -> None:
    """As it stands in the documentation, with the address in the environment."""
    recipe = re.search(r"### One machine: xargs\n.*?```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert recipe is not None
    jobs = mixed(folder / "jobs.jsonl", 100)
    server = simulator()
    (folder / "batchproc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m batchproc "$@"\n')
    (folder / "batchproc").chmod(0o755)
    env = environment(folder) | {"BATCHPROC_BASE_URL": server.url}
    env["PATH"] = f"{folder}:{env['PATH']}"
    done = subprocess.run(
        ["sh", "-c", recipe[1]], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "merged 16 shards" in done.stderr
    assert len(server.ledger()) == len(Counter(e["sha"] for e in server.ledger()))
    assert (folder / "out.jsonl").read_bytes() == in_one(program, jobs, "--base-url", server.url)
