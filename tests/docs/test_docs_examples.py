"""What the README and the recipes tell people to type is typed, against the simulated provider."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blocks import ALL, CODES, INSTEAD, NEEDS_MODULE, NEEDS_PROGRAM, NOT_RUN, PYTHON, Block, script

from batchproc.simulator.embedded import Embedded
from batchproc.simulator.settings import SimulatorSettings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the blocks are written for a POSIX shell")
TYPED = [b for b in ALL if b.language in ("sh", "console") and (b.page, b.section) not in NOT_RUN]
ASK = '"messages": [{"role": "user", "content": "Job %d"}]'
GOOD = '{"custom_id": "%d", "model": "gpt-4o-mini", "max_tokens": 50, ' + ASK + "}\n"


@pytest.fixture(scope="session")
def provider() -> Iterator[dict[str, str]]:
    """The environment of the blocks: simulated providers in the place of the real ones."""
    with (
        Embedded(SimulatorSettings(port=0, latency="0")) as plain,
        Embedded(SimulatorSettings(port=0, latency="0", dialect="azure")) as azure,
        Embedded(SimulatorSettings(port=0, latency="0", dialect="anthropic")) as anthropic,
    ):
        yield {
            "SIMULATED": plain.wait_url(),
            "OPENAI_BASE_URL": plain.wait_url(),
            "OPENAI_API_KEY": "sk-made-up",
            "SIMULATED_AZURE": azure.wait_url(),
            "ANTHROPIC_BASE_URL": anthropic.wait_url(),
        }


@pytest.fixture(scope="session")
def bash(provider: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment: nothing of the surroundings, `batchproc` and `python3` those of the tests."""
    programs = tmp_path_factory.mktemp("programs")
    for name, line in {"batchproc": '-m batchproc "$@"', "python3": '"$@"'}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {line}\n')
        (programs / name).chmod(0o755)
    kept = {n: os.environ[n] for n in ("LD_LIBRARY_PATH", "PYTHONPATH", "COVERAGE_PROCESS_START") if n in os.environ}
    return {"PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "HOME": str(programs)} | kept | provider


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each page: what one block leaves the next one finds, as for somebody who reads on."""
    return {page: tmp_path_factory.mktemp("page") for page in {b.page for b in ALL}}


def prepare(block: Block, folder: Path, env: dict[str, str]) -> None:
    """What a reader would have: jobs, the files of settings, an output with a failure where one is retried."""
    if not (folder / "jobs.jsonl").exists():
        (folder / "jobs.jsonl").write_text("".join(GOOD % (k, k) for k in range(12)))
    for other in ALL:
        if other.page == block.page and other.language == "toml":
            name = other.text.split("--config ", 1)[1].split()[0]
            (folder / name).write_text(other.text)
    if block.section == "What will it take?":
        (folder / "mails.jsonl").write_text(GOOD % (1, 1) + '{"messages": []}\n' + GOOD % (1, 1))
    if block.section == "One machine: xargs":
        shutil.rmtree(folder / "out.jsonl.parts")
        for old in folder.glob("out.jsonl*"):  # a run in four shards, merged: this is another one
            old.unlink()
    if "batchproc retry jobs.results.jsonl" in block.text:
        for old in folder.glob("jobs.results.jsonl*"):
            old.unlink()
        whole = (folder / "jobs.jsonl").read_text()
        (folder / "jobs.jsonl").write_text("{not JSON\n" + whole.split("\n", 1)[1])
        assert run("batchproc run jobs.jsonl -q", folder, env).returncode == 3
        (folder / "jobs.jsonl").write_text(whole)  # the failed job was corrected


def run(text: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Type a block; it ends at the first command that fails."""
    command = ["bash", "-e", "-u", "-o", "pipefail", "-c", text]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("page", sorted({b.page for b in TYPED}))
def test_every_block_runs(page: str, bash: dict[str, str], page_folder: dict[str, Path]) -> None:
    """Each with the exit code that it should have, in the order in which they stand, in one folder."""
    folder = page_folder[page]
    skipped = []
    for block in (b for b in TYPED if b.page == page):
        lacking = [p for p, used in NEEDS_PROGRAM.items() if used.search(block.text) and shutil.which(p) is None]
        lacking += [
            m for m, used in NEEDS_MODULE.items() if used.search(block.text) and importlib.util.find_spec(m) is None
        ]
        if lacking:
            skipped.append(f"{block.name}: {', '.join(lacking)} not here")
            continue
        prepare(block, folder, bash)
        done = run(script(block), folder, bash)
        said = f"{block.name}\n{script(block)}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == CODES.get((block.page, block.section), 0), said
        assert "Traceback" not in done.stderr, said
        check(block, folder, done)
    if skipped:
        print("not run:", *skipped, sep="\n  ")  # shown by pytest -rP


def check(block: Block, folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    """That it did what the page says, where that can be seen."""
    if block.language == "console":
        for line in block.text.splitlines():
            label = line.partition(":")[0] + ":"
            if block.section == "What will it take?" and not line.startswith(("$", "mails.jsonl")):
                assert label in done.stdout, f"{label} is not what `check` says:\n{done.stdout}"
            if block.section == "A file of settings" and not line.startswith(("$", "…")):
                words = " ".join(line.split())
                assert words in " ".join(done.stdout.split()), f"{words}\n{done.stdout}"
    if "answers.csv" in block.text:
        assert len((folder / "answers.csv").read_text().splitlines()) in (2, 60)
        assert "Simulated answer to:" in (folder / "answers.csv").read_text()
    if block.section == "Send the failed lines again: `retry`" or block.section == "Retrying failed lines":
        lines = [json.loads(line) for line in (folder / "jobs.results.jsonl").read_text().splitlines()]
        assert [line["error"] for line in lines] == [None] * 12
    if block.section == "Coming from the cookbook's script" and "python3" in block.text:
        pairs = [json.loads(line) for line in done.stdout.splitlines()]
        assert [pair[0]["messages"][0]["content"] for pair in pairs] == [f"Job {k}" for k in range(12)]
        assert all(f"Job {k}" in pair[1]["choices"][0]["message"]["content"] for k, pair in enumerate(pairs))
    if block.section == "Reading the results" and "import json" in block.text:
        assert len(done.stdout.splitlines()) == 12
    if block.section == "In a script":
        assert done.stdout.splitlines()[:2] == ["all answered", "12 0 " + done.stdout.split()[-1]]


def test_every_block_says_what_it_is() -> None:
    """A block without a language could be a command that nobody runs."""
    assert {b.language for b in ALL} <= {"sh", "console", "json", "toml", "python", "yaml"}, [
        b.name for b in ALL if not b.language
    ]
    for block in ALL:
        if block.language == "python":
            assert block.section in PYTHON, "say in blocks.py who runs it, or why nobody does"
            compile(block.text, block.name, "exec")
        if block.language == "yaml":
            assert block.section == "Kubernetes: an indexed job", "for a cluster; the page says that it is not run"
        if block.language in ("json", "toml"):
            assert "batchproc run" not in block.text.replace("# batchproc run jobs.jsonl --config nightly.toml", "")


def test_no_reason_is_idle() -> None:
    """What is not run, or not as it stands, is there."""
    places = {(b.page, b.section) for b in ALL}
    assert set(NOT_RUN) | set(CODES) <= places
    assert set(PYTHON) == {b.section for b in ALL if b.language == "python"}
    text = "".join(b.text for b in ALL)
    assert all(written in text for written in INSTEAD)


def test_examples_of_help_name_real_options() -> None:
    """Every option in the examples of `--help` is one of that command."""
    from batchproc.cli.main import _COMMANDS, cli

    for name in _COMMANDS:
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        examples = (command.epilog or "").split("\n\n")[0].splitlines()
        for line in (e for e in examples if f"batchproc {name} " in e):
            words = line.split(f"batchproc {name} ", 1)[1].split("   ")[0].split("|")[0].split()
            known = {o for p in command.params for o in p.opts}
            assert {w.split("=")[0] for w in words if w.startswith("-") and len(w) > 1} <= known, line
