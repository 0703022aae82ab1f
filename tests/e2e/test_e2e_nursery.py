"""What the nursery starts is as good as the real command: the same words, codes, folder, environment and signals."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import nursery
import pytest
from program import Finished, Program, chats
from servers import Simulator

pytestmark = pytest.mark.skipif(not nursery.usable(), reason="everything is the real command")


@pytest.fixture(params=[False, True], ids=["forked", "real"])
def either(tmp_path: Path, request: pytest.FixtureRequest) -> Program:
    """The program, started in one way and in the other."""
    (tmp_path / "work").mkdir()
    (tmp_path / "log").mkdir()
    return Program(tmp_path / "work", tmp_path / "log", real=request.param)


SAYS = """
import os, sys
print(__name__, [os.path.basename(sys.argv[0]), *sys.argv[1:]], os.getcwd() == os.environ["HOME"])
print(os.path.basename(sys.path[0]), sorted(os.environ.keys() & {"OPENAI_API_KEY", "PYTEST_CURRENT_TEST"}))
print(sys.stdin.read() == "", sys.stdout.encoding, sys.stdout.line_buffering, sys.flags.utf8_mode, file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


def test_a_script(either: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, arguments, folder, environment, streams and exit code."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-it")
    script = either.folder.parent / "says.py"
    script.write_text(SAYS)
    done = either.run("7", "two words", script=script)
    where = either.folder.parent.name
    assert done == Finished(7, f"__main__ ['says.py', '7', 'two words'] True\n{where} []\n", "True utf-8 False 0\n")


def test_the_program(either: Program) -> None:
    """Its words for a wrong option, by the name it was called by; nothing of one run is left in the next."""
    for _ in range(2):
        done = either.run("run", "--rmp", "3")
        assert (done.code, done.out) == (2, "")
        assert "`python -m batchproc run --help`" in done.err
    assert either.run("--version").code == 0


def test_signals(either: Program, tmp_path: Path) -> None:
    """It can be waited for, interrupted and killed; who kills it sees it in the exit code."""
    server = Simulator(tmp_path / "ledger", faults=("hang=1",))
    try:
        for signum, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
            before = len(server.ledger())
            jobs = chats(either.folder / f"{signum}.jsonl", 3)
            running = either.start("run", jobs, "--base-url", server.url, "--drain", "0.1")
            server.received(before + 1)
            assert running.child.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                running.child.wait(0.01)
            running.kill(signum)
            assert running.wait().code == code
            running.kill()  # it is gone: nothing is hit
            assert running.child.poll() == code
    finally:
        either.stop_all()
        server.stop()
