"""Ctrl-C in the first moments of a command: an exit code, and never a traceback.

What Python does before the first line of batchproc is not ours: the child says when it has come to that line.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from program import chats

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
# The lines of `batchproc/__main__.py`, with a sign of life after the first ones.
PROGRAM = """
from batchproc.interrupt import quiet
quiet()
print(flush=True)
from batchproc.__main__ import main
main()
"""


def interrupted(folder: Path, delay_s: float, *words: str) -> tuple[int, str]:
    """Exit code and stderr of a command that gets SIGINT so long after its first line."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    child.stdout.readline()
    try:
        child.wait(delay_s)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    return child.returncode, err


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (("run", "jobs.jsonl", "--simulate", "-q", "-o"), 16),
        (("run", "jobs.jsonl", "--simulate", "-q", "--shard", "0/2", "-o"), 4),
        (("check", "jobs.jsonl", "-o"), 5),
        (("status",), 4),
    ],
)
def test_ctrl_c_at_any_time_of_the_start(words: tuple[str, ...], steps: int, tmp_path: Path) -> None:
    """From at once to 0.3 s: interrupted, or done before."""
    chats(tmp_path / "jobs.jsonl", 3)
    delays = [0.3 * k / (steps - 1) for k in range(steps)]
    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(lambda k: interrupted(tmp_path, delays[k], *words, f"{k}.jsonl"), range(steps)))
    for delay_s, (code, err) in zip(delays, seen, strict=True):
        assert "Traceback" not in err, (delay_s, err)
        assert "Exception ignored" not in err, (delay_s, err)
        assert code in ((130, 2) if words[0] == "status" else (130, 0, 3)), (delay_s, code, err)
    assert seen[0][0] == 130, "at once, nothing can be done yet"


def test_who_ignores_it_goes_on(tmp_path: Path) -> None:
    """A command in the background of a script, or under nohup, is not interrupted."""
    chats(tmp_path / "jobs.jsonl", 3)
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + PROGRAM + "\n"
    done = subprocess.run(
        [sys.executable, "-c", ignoring.replace("print(flush=True)", "signal.raise_signal(2)"), "check", "jobs.jsonl"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_at_the_very_end(tmp_path: Path) -> None:
    """In its last moments Python gives signals back to the system, unless they are ignored."""
    late = "import atexit, signal; atexit.register(lambda: print(repr(signal.getsignal(signal.SIGINT))));"
    child = subprocess.run(
        [sys.executable, "-c", late + PROGRAM, "status"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (child.returncode, child.stdout.split("\n")[-2]) == (2, repr(signal.SIG_IGN))
