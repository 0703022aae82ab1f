"""Job files: every kind that works, and every kind that is refused before anything is written."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from program import Program, chat, chats, check_chats, results, write_jobs
from servers import Reply, Request, Scripted, Simulator, chat_answer

LINES = b"".join(json.dumps(chat(f"job {k}")).encode() + b"\n" for k in range(30))


def csv_text(folder: Path) -> bytes:
    """Prompts as CSV."""
    with (folder / "rows").open("w", newline="") as f:
        csv.writer(f).writerows([("id", "prompt", "model"), *((k, f"say {k}", "gpt-4o") for k in range(30))])
    return (folder / "rows").read_bytes()


NOT_JOBS = {
    "CSV": csv_text,
    "JSON array": lambda _: json.dumps([chat("one"), chat("two")], indent=2).encode(),
    "array on one line": lambda _: json.dumps([chat("one"), chat("two")]).encode(),
    "UTF-16": lambda _: LINES.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda _: LINES.decode().encode("utf-16-le"),
    "Parquet": lambda _: b"PAR1\x15\x04\x15\x10" + bytes(range(256)) * 20 + b"PAR1",
    "one object over lines": lambda _: json.dumps(chat("one"), indent=2).encode(),
    "prose": lambda _: b"please answer my question\n" * 30,
}
SAYS = {
    "CSV": "CSV", "JSON array": "array", "array on one line": "array", "UTF-16": "UTF-16",
    "UTF-16 without a mark": "UTF-16", "Parquet": "Parquet", "one object over lines": "lines", "prose": "JSON",
}  # fmt: skip


def test_what_is_no_job_file_is_refused(
    program: Program, folder: Path, tmp_path: Path, simulator: Callable[..., Simulator]
) -> None:
    """Another format is exit 2, named, with nothing written and nothing sent."""
    server = simulator()
    runs = {}
    for n, (kind, make) in enumerate(NOT_JOBS.items()):
        (folder / f"{n}.jsonl").write_bytes(make(tmp_path))
        runs[kind] = program.start("run", f"{n}.jsonl", "--base-url", server.url)
    for kind, run in runs.items():
        done = run.wait()
        assert done.code == 2, (kind, done.err)
        assert SAYS[kind] in done.err, kind
        assert "hint:" in done.err, kind
    assert sorted(p.name for p in folder.iterdir()) == [f"{n}.jsonl" for n in range(len(runs))], "something was written"
    assert server.ledger() == []


def test_an_empty_file_is_done_at_once(program: Program, folder: Path) -> None:
    """No jobs: an empty output, exit 0, and the same the second time."""
    for n, empty in enumerate((b"", b"\n\n  \n", b"\xef\xbb\xbf", b"\r\n")):
        (folder / f"{n}.jsonl").write_bytes(empty)
    for _ in range(2):
        for n, run in enumerate([program.start("run", f"{n}.jsonl", "--simulate", "--json") for n in range(4)]):
            done = run.wait()
            assert done.code == 0, done.err
            assert done.summary()["total"] == 0
            assert (folder / f"{n}.results.jsonl").read_bytes() == b""


USAGE: list[tuple[list[str], list[str]]] = [
    (["absent.jsonl"], ["absent.jsonl"]),
    (["."], ["directory"]),
    (["jobs.jsonl", "-o", "absent/out.jsonl"], ["absent", "mkdir"]),
    (["jobs.jsonl", "-o", "."], ["directory"]),
    (["jobs.jsonl", "-o", "jobs.jsonl"], ["different files"]),
    (["jobs.jsonl", "-o", "./x/../jobs.jsonl"], ["folder"]),
    (["jobs.jsonl", "-o", "o.jsonl", "--checkpoint", "o.jsonl"], ["different files"]),
    (["jobs.jsonl", "-o", "o.jsonl", "--checkpoint", "jobs.jsonl"], ["different files"]),
    (["-"], ["-o"]),
    (["jobs.jsonl", "--rpm", "0"], ["--rpm", "`0`"]),
    (["jobs.jsonl", "--rpm", "abc"], ["--rpm", "`abc`"]),
    (["jobs.jsonl", "--rpm", "-5"], ["--rpm"]),
    (["jobs.jsonl", "--rpm", "1.5"], ["--rpm"]),
    (["jobs.jsonl", "--tpm", "nan"], ["--tpm"]),
    (["jobs.jsonl", "--concurrency", "0"], ["--concurrency"]),
    (["jobs.jsonl", "--timeout", "0"], ["--timeout"]),
    (["jobs.jsonl", "--timeout", "soon"], ["--timeout", "soon"]),
    (["jobs.jsonl", "--fail-over", "150%"], ["--fail-over"]),
    (["jobs.jsonl", "--limit", "0"], ["--limit"]),
    (["jobs.jsonl", "--endpoint", "http://127.0.0.1/x"], ["--endpoint"]),
    (["jobs.jsonl", "--no-such-option"], ["--no-such-option", "--help"]),
    (["jobs.jsonl", "more.jsonl"], ["more.jsonl"]),
    ([], ["JOBS"]),
]


def test_usage_errors(program: Program, folder: Path) -> None:
    """What cannot be meant is exit 2 in words, and writes nothing."""
    chats(folder / "jobs.jsonl", 3)
    for half in (USAGE[::2], USAGE[1::2]):
        for (_, words), run in [(case, program.start("run", *case[0], "--simulate")) for case in half]:
            done = run.wait()
            assert done.code == 2, done.err
            assert done.err.startswith("error: ")
            for word in words:
                assert word in done.err
            assert "Traceback" not in done.err
    assert [p.name for p in folder.iterdir()] == ["jobs.jsonl"]


@pytest.mark.parametrize(
    ("url", "word"),
    [("ftp://127.0.0.1/v1", "http"), ("127.0.0.1:8000", "http"), ("http://u:p@127.0.0.1/v1", "password"), ("", "key")],
)
def test_base_urls_that_cannot_be_used(program: Program, folder: Path, url: str, word: str) -> None:
    """A base URL that is no address, or carries secrets, is exit 2."""
    chats(folder / "jobs.jsonl", 3)
    done = program.run("run", "jobs.jsonl", "--base-url", url)
    assert done.code == 2, done.err
    assert word in done.err
    assert [p.name for p in folder.iterdir()] == ["jobs.jsonl"]


def test_openai_needs_a_key(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """Without a key OpenAI is not even asked: exit 2 naming the variable and the way to try without one."""

    async def reply(request: Request) -> bytes:
        return chat_answer("never")

    proxy = scripted(reply)
    chats(folder / "jobs.jsonl", 3)
    through = {name: proxy.url.removesuffix("/v1") for name in ("HTTPS_PROXY", "https_proxy")}
    done = program.run("run", "jobs.jsonl", env=through)
    assert done.code == 2, done.err
    assert "OPENAI_API_KEY" in done.err
    assert "--simulate" in done.err
    assert proxy.connections == 0
    assert [p.name for p in folder.iterdir()] == ["jobs.jsonl"]


def test_compressed_files(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """.gz (of several members) and .zst are read as they are, also under a wrong name."""
    server = simulator()
    half = LINES.index(b"\n", len(LINES) // 2) + 1
    two = gzip.compress(LINES[:half]) + gzip.compress(LINES[half:])
    files = {"a.jsonl.gz": two, "b.jsonl.zst": zstandard.compress(LINES), "c.jsonl": gzip.compress(LINES)}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name, run in [(name, program.start("run", name, "--base-url", server.url)) for name in files]:
        done = run.wait()
        assert done.code == 0, done.err
        check_chats(folder / f"{name[0]}.results.jsonl", 30)


def test_a_damaged_archive(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A .gz that is cut short is said in words, exit 2, and never reads as a whole file."""
    server = simulator()
    data = b"".join(json.dumps(chat(f"{os.urandom(40).hex()}")).encode() + b"\n" for k in range(3000))
    whole = gzip.compress(data)
    (folder / "jobs.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    done = program.run("run", "jobs.jsonl.gz", "--base-url", server.url, timeout_s=90)
    assert done.code == 2, done.err
    assert "damaged or cut short" in done.err
    assert "Traceback" not in done.err


def test_standard_input(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Jobs come through a pipe, plain or compressed, and from a redirected file."""
    server = simulator()
    command = ("run", "-", "--base-url", server.url, "-o")
    for name, data in (("plain", LINES), ("zipped", gzip.compress(LINES)), ("zstd", zstandard.compress(LINES))):
        running = program.start(*command, f"{name}.jsonl", stdin=subprocess.PIPE)
        assert running.child.stdin is not None
        running.child.stdin.write(data)
        running.child.stdin.close()
        done = running.wait()
        assert done.code == 0, done.err
        check_chats(folder / f"{name}.jsonl", 30)
    (folder / "jobs.jsonl").write_bytes(LINES)
    with (folder / "jobs.jsonl").open("rb") as f:
        assert program.run(*command, "file.jsonl", stdin=f).code == 0
    check_chats(folder / "file.jsonl", 30)


@pytest.mark.skipif(sys.platform == "win32", reason="needs FIFOs")
def test_a_fifo(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A job file may be a FIFO whose writer takes its time; the first jobs do not wait for the last."""
    server = simulator()
    os.mkfifo(folder / "jobs.jsonl")
    rest = threading.Event()

    def write() -> None:
        with (folder / "jobs.jsonl").open("wb") as f:
            lines = LINES.splitlines(keepends=True)
            f.write(b"".join(lines[:25]))
            f.flush()
            rest.wait(60)
            f.write(b"".join(lines[25:]))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    running = program.start("run", "jobs.jsonl", "--base-url", server.url)
    server.received(25)
    rest.set()
    done = running.wait()
    writer.join()
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 30)


def test_the_environment_sets_options(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """BATCHPROC_… and OPENAI_BASE_URL stand in for options, and a flag goes before them."""
    server = simulator()
    write_jobs(folder / "jobs.jsonl", [{"messages": [{"role": "user", "content": "job 0"}]}])
    env = {"OPENAI_BASE_URL": server.url, "BATCHPROC_MODEL": "one", "BATCHPROC_OUTPUT": "there.jsonl"}
    done = program.run("run", "jobs.jsonl", "--model", "two", env=env)
    assert done.code == 0, done.err
    assert len(results(folder / "there.jsonl")) == 1
    assert [entry["model"] for entry in server.ledger()] == ["two"]
