"""Starts modules as `python -m` does, and scripts, from a process that has the imports behind it: 0.02 s, not 0.5 s.

One such process, the nursery, belongs to each process of the tests, and forks a child for each start. A child has its
own arguments, environment, folder and streams, and runs the module from its first line as `__main__`; only what is
in `PRELOADED` is imported already. `BATCHPROC_TESTS_FORK=0` starts everything by the real command instead.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from typing import IO, Any, NoReturn

PRELOADED = (
    "asyncio.staggered",
    "batchproc.cli.begin",
    "batchproc.cli.check",
    "batchproc.cli.finish",
    "batchproc.cli.main",
    "batchproc.cli.report",
    "batchproc.cli.retry",
    "batchproc.cli.run",
    "batchproc.cli.status",
    "batchproc.engine.run",
    "batchproc.providers.choose",
    "batchproc.simulator.serving",
    "rich.live",
    "rich.progress",
    "tiktoken.model",
    "uvloop",
)
NO_CERTIFICATES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}  # aiohttp reads all of them on import
STREAMS = 3
_one_at_a_time = threading.Lock()
_LENGTH = struct.Struct("!I")


def usable() -> bool:
    """Whether children may be forked: not where each process is to be measured, or to be the real command."""
    off = os.environ.get("BATCHPROC_TESTS_FORK") == "0" or "COVERAGE_PROCESS_START" in os.environ
    return not off and sys.platform != "win32"


class Child:
    """A child of the nursery; what `subprocess.Popen` would be for the real command, as far as tests use it."""

    def __init__(self, args: list[str], pid: int, status: int) -> None:
        self.args, self.pid = args, pid
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self._status = status

    def poll(self) -> int | None:
        """The exit code, minus the signal's number where one ended it; None while it runs."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            said = os.read(self._status, 16)
            os.close(self._status)
            self.returncode = int(said) if said else -signal.SIGKILL  # the nursery itself is gone
        return self.returncode


def start(what: str, args: list[str], cwd: str, env: dict[str, str], streams: tuple[int, int, int]) -> Child:
    """Start a module, or the script of a path that ends in `.py`, with these arguments.

    `streams` are descriptors for its stdin, stdout and stderr.
    """
    reader, writer = os.pipe()
    job = json.dumps({"what": what, "args": args, "cwd": cwd, "env": env}).encode()
    with _one_at_a_time:
        sock = _nursery()
        socket.send_fds(sock, [_LENGTH.pack(len(job))], [*streams, writer])
        sock.sendall(job)
        os.close(writer)
        pid = _LENGTH.unpack(_exactly(sock, _LENGTH.size))[0]
    return Child(args, pid, reader)


def start_with_pipes(module: str, args: list[str]) -> Child:
    """The same in this folder and environment, its stdin and stdout being pipes."""
    (asked, write), (read, answered) = os.pipe(), os.pipe()
    try:
        child = start(module, args, os.getcwd(), {**os.environ, **NO_CERTIFICATES}, (asked, answered, 2))
    finally:
        os.close(asked)
        os.close(answered)
    child.stdin, child.stdout = os.fdopen(write, "wb", buffering=0), os.fdopen(read, "rb")
    return child


@functools.cache
def _nursery() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env={**os.environ, **NO_CERTIFICATES, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError("the other side of the nursery is gone")
        data += more
    return data


# --- in the nursery -----------------------------------------------------------------------------------------------


def serve(sock: socket.socket) -> dict[str, Any] | None:
    """Fork a child for each job; returns the job in the child, None in the nursery at its end."""
    statuses: dict[int, int] = {}
    wake, woken = os.pipe()
    for fd in (wake, woken):
        os.set_blocking(fd, False)
    default = signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    while True:
        ready, _, _ = select.select([sock, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            _reap(statuses)
        if sock not in ready:
            continue
        head, fds, _, _ = socket.recv_fds(sock, _LENGTH.size, STREAMS + 1)
        if not head:
            return None
        job: dict[str, Any] = json.loads(_exactly(sock, _LENGTH.unpack(head)[0]))
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, default)
            for stream, fd in enumerate(fds[:STREAMS]):
                os.dup2(fd, stream)
            for fd in {*fds, *statuses.values(), wake, woken, sock.fileno()}:
                os.close(fd)
            sock.detach()
            return job
        statuses[pid] = fds.pop()
        for fd in fds:
            os.close(fd)
        sock.sendall(_LENGTH.pack(pid))


def _reap(statuses: dict[int, int]) -> None:
    for pid in list(statuses):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            fd = statuses.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                os.write(fd, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(fd)


def main() -> NoReturn:
    """Be a nursery; in each child, be the module."""
    sys.path.pop(0)  # the folder of this file
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    job = serve(socket.socket(fileno=int(sys.argv[1])))
    if job is None:
        sys.exit(0)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    what: str = job["what"]
    sys.argv = [what, *job["args"]]
    if what.endswith(".py"):
        sys.path.insert(0, os.path.dirname(what))
        runpy.run_path(what, run_name="__main__")
    else:
        sys.path.insert(0, job["cwd"])
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
