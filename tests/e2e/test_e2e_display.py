"""The live display on real terminals: narrow ones, such that become narrower, such that understand little, and none."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from program import PATIENCE_S, Program, chats, environment
from servers import Simulator

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal of some width with a run on it; what is written to it is kept."""

    def __init__(self, folder: Path, url: str, columns: int, *options: str, **env: str) -> None:
        self._end, follower = pty.openpty()
        self.resize(columns)
        command = [sys.executable, "-m", "batchproc", "run", "jobs.jsonl", "--base-url", url, *options]
        self._child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder) | {"TERM": "xterm-256color"} | env,
            stdin=follower,
            stdout=subprocess.DEVNULL,
            stderr=follower,
            start_new_session=True,
        )
        os.close(follower)
        self.said = b""

    def resize(self, columns: int) -> None:
        """Give the terminal another width."""
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read_until(self, text: bytes | None) -> None:
        """Read until a text has come, or to the end."""
        begins, deadline = len(self.said), time.monotonic() + PATIENCE_S
        while text is None or text not in self.said[begins:]:
            assert time.monotonic() < deadline, self.said
            if select.select([self._end], [], [], 0.2)[0]:
                try:
                    self.said += os.read(self._end, 65_536)
                except OSError:  # the other end is closed
                    assert text is None, self.said
                    return
            elif text is None and self._child.poll() is not None:
                return

    def ends(self) -> int:
        """Read to the end; the exit code."""
        try:
            self.read_until(None)
            return self._child.wait(PATIENCE_S)
        finally:
            self._child.kill()
            self._child.wait()
            os.close(self._end)


def frames(said: bytes) -> list[str]:
    """The lines drawn before the closing words, without what moves the cursor."""
    drawn = said.split(b"done: ")[0]
    return [line.strip("\r") for line in ESCAPES.sub(b"\n", drawn).decode().split("\n") if line.strip("\r")]


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_no_line_is_wider_than_the_terminal(folder: Path, simulator: Callable[..., Simulator], columns: int) -> None:
    """A wrapped line would stay behind as litter when the display is drawn over."""
    server = simulator(latency="0.05")
    chats(folder / "jobs.jsonl", 40)
    terminal = Terminal(folder, server.url, columns, "--concurrency", "4", "--tpm", "9m")
    assert terminal.ends() == 0
    lines = frames(terminal.said)
    assert any(" ok" in line for line in lines), lines
    assert max(map(len, lines)) <= max(columns, 27), lines  # 27: the longest number with its noun is not cut


def test_a_terminal_that_becomes_narrower(folder: Path, simulator: Callable[..., Simulator]) -> None:
    """The next frame has the new width."""
    server = simulator(latency="0.1")
    chats(folder / "jobs.jsonl", 120)
    terminal = Terminal(folder, server.url, 120, "--concurrency", "4")
    terminal.read_until(b" in flight")
    wide = len(terminal.said)
    terminal.resize(40)
    terminal.read_until(b" in flight")
    narrow = len(terminal.said)  # a frame that was begun before may still have been wide
    assert terminal.ends() == 0
    assert max(map(len, frames(terminal.said[:wide]))) > 60
    assert max(map(len, frames(terminal.said[narrow:]))) <= 40


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=["dumb", "no-color"])
def test_terminals_that_get_lines(folder: Path, simulator: Callable[..., Simulator], env: dict[str, str]) -> None:
    """No escape, nothing drawn over: as in a pipe."""
    server = simulator(latency="0.05")
    chats(folder / "jobs.jsonl", 20)
    terminal = Terminal(folder, server.url, 40, **env)
    assert terminal.ends() == 0
    assert b"\x1b" not in terminal.said
    assert b"20 jobs = 20 succeeded" in terminal.said
    assert re.search(rb"(?<!\r)\r(?!\r?\n)", terminal.said) is None


def test_a_pipe(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Lines with the time in front, also where a bar is asked for."""
    server = simulator(latency="0.05")
    chats(folder / "jobs.jsonl", 20)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--progress", "bar", env={"TERM": "xterm"})
    assert done.code == 0
    assert "\x1b" not in done.err
    assert done.err.startswith("[00:00] ")
