"""`batchproc check` on real files: what it finds, what it leaves alone, and its exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from program import Program, batch, chat, chats, write_jobs

from batchproc.cli import chunks
from batchproc.cli.examine import How
from batchproc.store.lines import MAX_LINE


def test_bad_lines_duplicates_tokens_and_time(program: Program, folder: Path) -> None:
    """A file with a bit of everything: exit 3, every count as it was written down here."""
    jobs: list[object] = [batch(f"job {k}", f"id-{k}", "/v1/chat/completions") for k in range(30)]
    jobs += ["", "not json", batch("again", "id-3"), batch("job 5", "other"), chat("bare", max_tokens=10), '{"x": 1}']
    write_jobs(folder / "jobs.jsonl", jobs)
    done = program.run("check", "jobs.jsonl", "--rpm", "10", "--assume-max-output", "100", "--json")
    assert done.code == 3, done.err
    found = done.summary()
    assert (found["lines"], found["jobs"], found["bad"]) == (36, 35, 2)
    assert {b["code"]: b["lines"] for b in found["bad_lines"]} == {"invalid_json": [32], "invalid_job": [36]}
    assert found["duplicate_ids"] == {"count": 1, "lines": [[4, 33]]}
    assert found["duplicate_bodies"] == {"count": 1, "lines": [[6, 34]]}
    (model,) = found["whole"]["models"]
    assert (model["model"], model["jobs"], model["estimated_jobs"]) == ("gpt-4o-mini", 33, 32)
    assert model["output_tokens"] == 32 * 100 + 10
    assert model["tokens"]["total"] == model["input_tokens"] + model["output_tokens"]
    assert (model["binding"], model["minutes"]) == ("rpm", 3.3)
    assert model["cost_usd"] == pytest.approx((model["input_tokens"] * 0.15 + model["output_tokens"] * 0.6) / 1e6)
    assert found["remaining"] is None
    said = program.run("check", "jobs.jsonl", "-v")
    assert said.code == 3
    assert "line 32: invalid_json" in said.out
    assert "line 36: invalid_job" in said.out
    assert sorted(p.name for p in folder.iterdir()) == ["jobs.jsonl"], "check wrote something"


def test_a_file_of_settings_and_limits_of_single_models(program: Program, folder: Path) -> None:
    """The file of a run serves `check`: its limits, those of single models too; what a run alone has is passed over."""
    jobs = [chat(f"job {k}", model="gpt-4o", max_tokens=10) for k in range(20)]
    jobs += [chat(f"job {k}", model="gpt-4o-mini", max_tokens=10) for k in range(40)]
    write_jobs(folder / "jobs.jsonl", jobs)
    (folder / "c.toml").write_text('rpm = 40\nmax-wait = 9\n[models."gpt-4o"]\notpm = 20\n')
    done = program.run("check", "jobs.jsonl", "--config", "c.toml", "--json")
    assert done.code == 0, done.err
    found = done.summary()["whole"]
    assert [(m["model"], m["binding"], m["minutes"]) for m in found["models"]] == [
        ("gpt-4o-mini", "rpm", 1.0),
        ("gpt-4o", "otpm", 10.0),
    ]
    assert (found["binding"], found["minutes"]) == ("otpm", 10.0)
    assert "output tokens per minute binds: 10 min" in program.run("check", "jobs.jsonl", "--config", "c.toml").out
    (folder / "c.toml").write_text("rmp = 40\n")
    done = program.run("check", "jobs.jsonl", "--config", "c.toml")
    assert (done.code, "did you mean `rpm`" in done.err) == (2, True), done.err


def test_jobs_for_anthropic(program: Program, folder: Path) -> None:
    """Its own paths and maxima; input and output tokens apart; its list prices."""
    write_jobs(folder / "jobs.jsonl", [chat(f"job {k}", model="claude-haiku-4-5", max_tokens=100) for k in range(10)])
    done = program.run("check", "jobs.jsonl", "--provider", "anthropic", "--itpm", "1m", "--otpm", "100", "--json")
    assert done.code == 0, done.err
    (model,) = done.summary()["whole"]["models"]
    assert (model["output_tokens"], model["binding"], model["minutes"]) == (1000, "otpm", 10.0)
    assert model["cost_usd"] > 0


def test_good_files_of_every_kind(program: Program, folder: Path) -> None:
    """Plain, gzip, and a pipe say the same, with exit 0; the environment gives options as for `run`."""
    chats(folder / "jobs.jsonl", 50)
    (folder / "jobs.gz").write_bytes(gzip.compress((folder / "jobs.jsonl").read_bytes()))
    found = []
    for name in ("jobs.jsonl", "jobs.gz", "-"):
        with (folder / "jobs.jsonl").open("rb") as stdin:
            done = program.run("check", name, "--json", env={"BATCHPROC_TPM": "1k"}, stdin=stdin)
        assert done.code == 0, done.err
        found.append(done.summary()["whole"])
    assert found[0] == found[1] == found[2]
    assert found[0]["binding"] == "tpm"


def test_what_remains_of_a_run(program: Program, folder: Path) -> None:
    """After a trial of 20 of 50 jobs, 30 remain; no file is touched, and a finished run has none left."""
    chats(folder / "jobs.jsonl", 50)
    assert program.run("run", "jobs.jsonl", "--simulate", "--limit", "20").code == 0
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}
    done = program.run("check", "jobs.jsonl", "--json")
    assert done.code == 0, done.err
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()} == before
    found = done.summary()
    assert (found["whole"]["jobs"], found["remaining"]["jobs"], found["succeeded"]) == (50, 30, 20)
    answers = [json.loads(line) for line in (folder / "jobs.results.jsonl").read_bytes().splitlines()]
    tokens = sum(a["response"]["body"]["usage"]["completion_tokens"] for a in answers)
    (model,) = found["remaining"]["models"]
    assert model["estimated_output_tokens"] == 30 * -(-tokens // 20), "twenty answers tell what others will have"
    assert program.run("run", "jobs.jsonl", "--simulate").code == 0
    assert program.run("check", "jobs.jsonl", "--json").summary()["remaining"]["jobs"] == 0
    assert "50 jobs have their result" in program.run("check", "jobs.jsonl").out


def test_a_foreign_output_is_said(program: Program, folder: Path) -> None:
    """`run` would refuse it; check says so and counts on."""
    chats(folder / "jobs.jsonl", 3)
    (folder / "jobs.results.jsonl").write_text("mine\n")
    done = program.run("check", "jobs.jsonl")
    assert done.code == 0, done.err
    assert "jobs.results.jsonl" in done.out


@pytest.mark.parametrize(
    ("text", "args", "word"),
    [
        ("a,b\n" * 30, (), "CSV"),
        (None, (), "no file"),
        ('{"model":"m","input":"x"}\n', ("--prices", "nothing.json"), "nothing.json"),
        ('{"model":"m","input":"x"}\n', ("--endpoint", "http://x"), "--endpoint"),
    ],
)
def test_what_cannot_be_checked(
    program: Program, folder: Path, text: str | None, args: tuple[str, ...], word: str
) -> None:
    """Exit 2 with what it looks like, or what is wrong."""
    if text is not None:
        (folder / "jobs.jsonl").write_text(text)
    done = program.run("check", "jobs.jsonl", *args)
    assert done.code == 2
    assert word in done.err
    assert not done.out


def test_an_empty_file(program: Program, folder: Path) -> None:
    """No jobs, nothing bad."""
    (folder / "jobs.jsonl").write_text("\n\n")
    done = program.run("check", "jobs.jsonl")
    assert (done.code, "no jobs" in done.out) == (0, True), done.err


class _Blocks:
    def __init__(self, blocks: list[bytes]) -> None:
        self.blocks = blocks

    async def read(self) -> bytes:
        return self.blocks.pop(0) if self.blocks else b""

    async def close(self) -> None: ...


async def test_chunks_are_whole_lines_wherever_blocks_end() -> None:
    """Cut at every length, the text is the same and every piece but the last ends a line."""
    text = b'{"a": 1}\n\n{"b": 2}\n  \nlast'
    for size in range(1, len(text) + 1):
        blocks = _Blocks([text[k : k + size] for k in range(0, len(text), size)])
        pieces = [piece async for piece in chunks.chunks_of(blocks)]
        assert b"".join(piece or b"?" for piece in pieces) == text
        assert all(piece is not None and piece.endswith(b"\n") for piece in pieces[:-1])


async def test_a_line_that_is_too_long_is_one_bad_line() -> None:
    """It is passed over, and what follows is read."""
    blocks = _Blocks([b"x" * (MAX_LINE // 2)] * 3 + [b'rest\n{"b": 2}\n'])
    assert [piece async for piece in chunks.chunks_of(blocks)] == [None, b'{"b": 2}\n']


async def test_several_processes_find_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does alone."""
    lines = [json.dumps(chat(f"job {k}", max_tokens=k + 1)).encode() + b"\n" for k in range(40)]
    how = How(None, None, True)

    async def outputs() -> list[int]:
        found = chunks.examined(_Blocks(list(lines)), how)
        return [n async for chunk, _ in found for n in chunk.output]

    monkeypatch.setattr(chunks, "processes", lambda: 1)
    alone = await outputs()
    monkeypatch.setattr(chunks, "processes", lambda: 2)
    assert await outputs() == alone == list(range(1, 41))
