"""Errors that need a machine that fails, or files that change under a run: made to happen where they arise."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import SEEN, Said, fits, said_in
from rows import JOB, OUT

from batchproc.cli.bug import bug_found
from batchproc.errors import BatchprocError
from batchproc.model import RawLine
from batchproc.simulator.embedded import Embedded
from batchproc.simulator.settings import SimulatorSettings
from batchproc.store import input as input_
from batchproc.store.files import AppendFile, disk_failed
from batchproc.store.lines import digest_of
from batchproc.store.shelf import Shelf
from batchproc.tokens import encodings

GO_ON = "run the same command again: it goes on where it stopped"
LET_BE = "let nothing write to it during a run; what is answered is saved: run the same command again"


def raised(make: Callable[[], Any], code: int, error: str, hint: str) -> None:
    """The error that a call raises, as the program would say it."""
    with pytest.raises(BatchprocError) as caught:
        make()
    told = caught.value
    SEEN.append(Said(told.exit_code, told.message, told.hint, ""))
    assert fits(error, told.message), told.message
    assert fits(hint, told.hint), told.hint
    assert told.exit_code == code


@pytest.mark.parametrize(
    ("number", "hint", "reason"),
    [
        (errno.ENOSPC, f"free some space, then {GO_ON}", "full"),
        (errno.EDQUOT, "the quota is used up: free some space, then run the same command again", "a quota"),
        (errno.EROFS, "the file system is read-only: choose another place with `-o`", "read-only"),
        (errno.EACCES, "choose a folder you may write to with `-o`", "not ours"),
        (errno.EIO, "the disk reports errors: check it, then run the same command again", "failing"),
        (errno.EFBIG, f"mend it, then {GO_ON}", "anything else"),
    ],
)
def test_disks(number: int, hint: str, reason: str) -> None:
    """Exit 7: what was done, to which file, why, and what helps."""
    failed = OSError(number, os.strerror(number))
    raised(
        lambda: disk_failed("writing", "o.jsonl", failed), 7, f"writing `o.jsonl` failed: {os.strerror(number)}", hint
    )


def test_standard_output_fails() -> None:
    """Results that go nowhere cannot be resumed; a document that went nowhere can be asked for again."""
    raised(
        lambda: disk_failed("writing", "standard output", OSError(errno.EPIPE, "Broken pipe"), resumable=False),
        7,
        "writing `standard output` failed: Broken pipe",
        "a run to standard output cannot be resumed: write to a file with `-o FILE`",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_document_that_cannot_be_written(folder: Path) -> None:
    """Exit 7, by the program itself."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "batchproc", "run", "jobs.jsonl", "--simulate", "--print-config"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    said = said_in(done.returncode, done.stderr.decode())
    assert (said.code, said.error) == (7, "writing to standard output failed: No space left on device")
    assert said.hint == "nothing but this document is lost: type the same command again with another standard output"


def test_the_output_is_removed_meanwhile(tmp_path: Path) -> None:
    """Exit 7: what is written to a file without a name is lost, so the run stops."""

    async def remove() -> None:
        with ThreadPoolExecutor(1) as executor:
            file = await AppendFile.open(str(tmp_path / "o"), executor)
            try:
                await file.append(b"x\n")
                (tmp_path / "o").unlink()
                await file.sync()
            finally:
                await file.close()

    raised(
        lambda: asyncio.run(remove()),
        7,
        "`<…>` was removed or replaced while the run was writing it",
        "let nothing touch output and checkpoint during a run; then run the same command again",
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (JOB, "the input became shorter while the run was reading it"),
        (JOB * 2 + "{", "the input grows while the run is reading it, and its last line is not whole"),
    ],
)
def test_the_input_changes_its_length(tmp_path: Path, text: str, error: str) -> None:
    """Exit 2: a file that is being written is no job file yet."""
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(JOB * 2)

    async def read() -> None:
        opened = await input_.open_input(str(jobs))
        try:
            jobs.write_text(text)
            while await opened.blocks.read():
                pass
        finally:
            await opened.blocks.close()

    raised(lambda: asyncio.run(read()), 2, error, LET_BE)


def test_a_line_changes_while_it_waits(tmp_path: Path) -> None:
    """Exit 6: a line that was put aside is read again, and is not what it was."""
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(JOB)
    data = JOB.strip().encode()
    with jobs.open("rb") as f:
        shelf = Shelf(f.fileno())
        shelf.put(RawLine(0, 1, 0, data, digest_of(data)))
        jobs.write_text(JOB.replace("Hello", "Howdy"))
        raised(
            lambda: shelf.take(1),
            6,
            "line 1 of the input (job 0) changed while the run was reading it",
            "let nothing write to the input during a run; put it back, then run the same command again",
        )


def test_a_job_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2: permissions, also those that show only when it is opened."""

    def refuse(name: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(input_, "_open", refuse)
    raised(
        lambda: asyncio.run(input_.open_input("jobs.jsonl")),
        2,
        "`jobs.jsonl` cannot be opened: Permission denied",
        "name a file that can be read, or `-` for standard input",
    )
    monkeypatch.setattr(os, "access", lambda *_: False)
    raised(
        lambda: input_.check_input("jobs.jsonl"),
        2,
        "`jobs.jsonl` cannot be read: permission denied",
        "allow yourself to read it: `chmod u+r jobs.jsonl`",
    )


def test_the_input_cannot_be_read_on() -> None:
    """Exit 2: the medium with the job file fails in the middle."""
    from batchproc.engine.run import _feed

    class Fed:
        line, read = 7, 7

        async def run(self) -> None:
            raise OSError(errno.EIO, "Input/output error")

    class Halted:
        def halt(self, halt: object) -> None: ...

    errors: list[BatchprocError] = []
    asyncio.run(_feed(Fed(), Halted(), errors))  # type: ignore[arg-type]

    def again() -> None:
        raise errors[0]

    raised(
        again,
        2,
        "the input cannot be read on: Input/output error (after line 7, job 6)",
        "mend it, then run the same command again: what is answered is saved",
    )


def test_a_retry_whose_jobs_became_fewer(folder: Path, call: Callable[[str], tuple[int, str]]) -> None:
    """Exit 2: jobs of a pipe must come again, and a run must be told where they are."""
    command = [sys.executable, "-m", "batchproc", "run", "-", "-o", OUT, "--simulate", "--model", "none", "-q"]
    done = subprocess.run(command, input=b'{"messages": 5}\n' + JOB.encode(), capture_output=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    for typed in (f"retry {OUT} --simulate --model none", f"retry {OUT} --simulate --jobs no.jsonl"):
        code, err = call(typed)
        said = said_in(code, err)
        assert said.code == 2
        if "no.jsonl" not in typed:
            assert said.error == f"the jobs of `{OUT}` came from standard input, and must come again"
            assert said.hint is not None
            assert said.hint.startswith("add `--jobs -`, or name the job file with `--jobs FILE`")


@pytest.mark.parametrize("said", [b"", b'{"error": "it cannot"}'])
def test_the_simulated_provider_does_not_start(said: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says nothing, or why: exit 1 or 2."""
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\necho '{said.decode()}'\n")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    raised(
        lambda: Embedded(SimulatorSettings(port=0)).start(),
        2 if said else 1,
        "it cannot" if said else "the simulated provider did not start",
        "run the same command again; `batchproc simulate` shows what it says",
    )


@pytest.mark.parametrize(
    ("settings", "error", "hint"),
    [
        ({"dialect": "klingon"}, "`klingon` is not a dialect", "use openai, <…>"),
        ({"rpm": 0}, "`rpm` must be at least 1, not 0", "leave it out for no limit"),
        ({"queue": -1}, "`queue` must not be negative, as -1 is", "use 0 for no queue"),
        ({"window": "bay"}, "`bay` is not a kind of window", "use bucket, <…>"),
        ({"charge": "more"}, "`more` is not a way to charge", "use documented, <…>"),
    ],
)
def test_settings_of_the_simulated_provider(settings: dict[str, Any], error: str, hint: str) -> None:
    """What the options refuse by themselves is refused in Python, too."""
    raised(lambda: SimulatorSettings(**settings), 2, error, hint)


def test_a_damaged_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1: it is not the user's fault, but only a new installation helps."""
    monkeypatch.setattr(encodings, "read_ranks", lambda name: b"")
    raised(
        lambda: encodings._build("o200k_base"),
        1,
        "the token ranks of `o200k_base` in the installed package are missing or damaged",
        "install batchproc again: `pip install --force-reinstall --no-deps batchproc`",
    )


def test_a_bug(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1: the traceback is in a file, which is named and holds no secret; with no room for it, on stderr."""
    code = (
        "import sys, batchproc.store.look as look\n"
        "def broken(*_): raise KeyError('sk-made-up-0123456789')\n"
        "look.looked = broken\n"
        "from batchproc.cli.main import main\n"
        f"sys.argv = ['batchproc', 'status', '{OUT}']\n"
        "main()\n"
    )
    env = os.environ | {"OPENAI_API_KEY": "sk-made-up-0123456789", "TMPDIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = said_in(1, done.stderr)
    assert said.error == "a bug in batchproc: KeyError: '(OPENAI_API_KEY)'"
    assert said.hint is not None
    told = re.fullmatch(
        "please report it with the file `(.*)`; what was answered is saved: the same command goes on where it stopped",
        said.hint,
    )
    assert told is not None, said.hint
    left = Path(told[1])
    text = left.read_text()
    assert left.parent == folder
    assert left.stat().st_mode & 0o077 == 0
    assert "Traceback (most recent call last)" in text
    assert f"batchproc status {OUT}" in text
    assert "sk-made-up" not in text
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (folder / "k").write_text("from-a-file-0123456789\n")
    words = ["run", "--api-key-file", "k", "--header", "X-A=in-a-header-0123", "--header=X-B=@k"]
    masked = bug_found(RuntimeError("from-a-file-0123456789, in-a-header-0123"), ["batchproc", *words])
    assert masked.message == "a bug in batchproc: RuntimeError: (a key), (a header)"
    assert masked.hint is not None
    text = Path(masked.hint.split("`")[1]).read_text()
    assert "0123" not in text
    assert "X-A=…" in text
    nowhere = code.replace("import sys,", "import sys, tempfile; tempfile.tempdir = '/no/such/folder'; import")
    done = subprocess.run([sys.executable, "-c", nowhere], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "hint: please report it with the text above" in done.stderr
