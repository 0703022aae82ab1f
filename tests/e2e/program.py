"""Running the real program: as a subprocess, with nothing of the surrounding environment that could colour it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nursery

PATIENCE_S = 180.0  # for what should take a second; a loaded machine may need longer
WINDOW_JOBS = 300  # of the runs that `window_runs` starts
LINE_KEYS = ["id", "custom_id", "index", "response", "error", "attempts"]


def wait_until(what: str, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """Poll until a condition holds and return its value; fail with `what` after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.01)
    return value


def busy() -> float:
    """How many times longer than on an idle machine things may take now: processes that want a core, for each core."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass(frozen=True)
class Finished:
    """An ended run: exit code, both streams as text."""

    code: int
    out: str
    err: str

    def summary(self) -> dict[str, Any]:
        """The document of `--json`."""
        document: dict[str, Any] = json.loads(self.out)
        return document


class Running:
    """A started run. Its streams go to files, so that nothing can block on a full pipe."""

    def __init__(self, child: subprocess.Popen[bytes] | nursery.Child, out: Path, err: Path) -> None:
        self.child = child
        self._out, self._err = out, err

    def err(self) -> str:
        """What it has said so far on stderr."""
        return self._err.read_text(encoding="utf-8")

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal."""
        self.child.send_signal(signum)

    def wait(self, timeout_s: float = PATIENCE_S) -> Finished:
        """Wait for the end; a run that takes too long is killed and fails the test."""
        try:
            code = self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError(f"the run did not end within {timeout_s:g} s; it said:\n{self.err()}") from None
        finally:
            if self.child.stdin is not None:
                self.child.stdin.close()
        return Finished(code, self._out.read_text(encoding="utf-8"), self.err())

    def said(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until a text is on stderr."""
        wait_until(f"{text!r} on stderr", lambda: text in self.err() or self._early(text), timeout_s)

    def _early(self, text: str) -> bool:
        assert self.child.poll() is None or text in self.err(), f"ended without {text!r}:\n{self.err()}"
        return False


class Program:
    """Starts `python -m batchproc` in a folder of its own. `log` is where the streams' files go.

    Where nothing speaks against it a fork of the nursery does instead, which needs a tenth of the time; `real` does.
    """

    def __init__(self, folder: Path, log: Path, *, real: bool = False) -> None:
        self.folder = folder
        self._log = log
        self._real = real or not nursery.usable()
        self._count = 0
        self._started: list[Running] = []

    def start(
        self,
        *args: str | Path,
        env: dict[str, str] | None = None,
        stdin: Any = subprocess.DEVNULL,
        before: Callable[[], None] | None = None,
        script: Path | None = None,
    ) -> Running:
        """Start the program, or a script in its place; `before` runs in the child before it."""
        self._count += 1
        out, err = self._log / f"{self._count}.out", self._log / f"{self._count}.err"
        words = list(map(str, args))
        child: subprocess.Popen[bytes] | nursery.Child
        with out.open("wb") as o, err.open("wb") as e, open(os.devnull, "rb") as nothing:
            if self._real or env or before or stdin != subprocess.DEVNULL:
                child = subprocess.Popen(
                    [sys.executable, *(["-m", "batchproc"] if script is None else [str(script)]), *words],
                    cwd=self.folder,
                    env=environment(self.folder) | (env or {}),
                    stdin=stdin,
                    stdout=o,
                    stderr=e,
                    preexec_fn=before,
                )
            else:
                streams = (nothing.fileno(), o.fileno(), e.fileno())
                what = "batchproc" if script is None else str(script)
                child = nursery.start(what, words, str(self.folder), environment(self.folder), streams)
        running = Running(child, out, err)
        self._started.append(running)
        return running

    def run(self, *args: str | Path, timeout_s: float = PATIENCE_S, **options: Any) -> Finished:
        """Start the program and wait for its end."""
        return self.start(*args, **options).wait(timeout_s)

    def stop_all(self) -> None:
        """End what a failed test left running."""
        for running in self._started:
            if running.child.poll() is None:
                running.child.kill()
                running.child.wait()
            if running.child.stdin is not None:
                running.child.stdin.close()

    def said_so_far(self) -> str:
        """Everything that any run printed."""
        return "".join(p.read_text(encoding="utf-8", errors="replace") for p in sorted(self._log.iterdir()))


def environment(home: Path) -> dict[str, str]:
    """The environment of a run: no keys, no settings, no proxies; no certificates, as all servers speak plain HTTP."""
    kept = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT", "COVERAGE_PROCESS_START")
    ours = {name: os.environ[name] for name in kept if name in os.environ}
    return ours | nursery.NO_CERTIFICATES | {"HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8"}


# --- jobs and results ---------------------------------------------------------------------------------------


def chat(text: str, **more: Any) -> dict[str, Any]:
    """A bare chat job."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}


def batch(text: str, custom_id: str, url: str = "/v1/chat/completions") -> dict[str, Any]:
    """A job in the form of the Batch API."""
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": chat(text)}


def write_jobs(path: Path, jobs: Iterable[Any]) -> Path:
    """Write a job file; strings and bytes are lines as they are."""
    with path.open("wb") as f:
        for job in jobs:
            line = job if isinstance(job, bytes) else (job if isinstance(job, str) else json.dumps(job)).encode()
            f.write(line + b"\n")
    return path


def chats(path: Path, count: int, word: str = "job") -> Path:
    """A file of numbered chat jobs."""
    return write_jobs(path, (chat(f"{word} {k}") for k in range(count)))


def results(path: Path) -> list[dict[str, Any]]:
    """The lines of an output, each checked: whole, in order, the keys in theirs."""
    data = path.read_bytes()
    assert not data or data.endswith(b"\n"), "the output ends in a torn line"
    lines = [json.loads(line) for line in data.split(b"\n")[:-1]]
    for k, line in enumerate(lines):
        keys = list(line)
        assert keys == LINE_KEYS or keys == [*LINE_KEYS, "metadata"], keys
        assert line["index"] == k
        assert (line["error"] is None) != (line["error"] is not None and bool(line["error"]["code"]))
    return lines


def echoes(line: dict[str, Any]) -> str:
    """The user's text that a simulated chat answer repeats."""
    content: str = line["response"]["body"]["choices"][0]["message"]["content"]
    return content.removeprefix("Simulated answer to: ")


def check_chats(path: Path, count: int, word: str = "job") -> list[dict[str, Any]]:
    """Every one of `count` numbered chat jobs has its own answer, in order."""
    lines = results(path)
    assert len(lines) == count
    for k, line in enumerate(lines):
        assert line["error"] is None, line
        assert echoes(line) == f"{word} {k}"
    return lines


def noted(checkpoint: Path) -> int:
    """How many requests a checkpoint says were sent."""
    lines = checkpoint.read_bytes().split(b"\n")[:-1] if checkpoint.exists() else []
    return sum(json.loads(line)["requests"] for line in lines if b'"kind":"sent"' in line)


def saved_on_disk(output: Path, checkpoint: Path) -> set[int]:
    """Indices of the results that are on disk: whole lines of the output, whole records of the checkpoint."""
    found: set[int] = set()
    if output.exists():
        found |= {json.loads(line)["index"] for line in output.read_bytes().split(b"\n")[:-1]}
    if checkpoint.exists():
        for line in checkpoint.read_bytes().split(b"\n")[:-1]:
            rest = line[len(b'{"crc":"00000000",') :]
            if line.startswith(b'{"crc":"') and line[8:16] == b"%08x" % zlib.crc32(rest):
                record = json.loads(line)
                if record["kind"] == "result":
                    found.add(record["index"])
    return found
