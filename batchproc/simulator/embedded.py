"""The simulated provider as a child process of the program that talks to it.

A process of its own, because a server on the client's loop would share its processor and distort both. It is
out of reach of the terminal's Ctrl-C, and ends by itself when its parent does, however that ends.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from types import TracebackType

import msgspec

from batchproc.errors import BatchprocError, UsageError
from batchproc.simulator.settings import SimulatorSettings

_NO_START = "run the same command again; `batchproc simulate` shows what it says"
_STOP_S = 2.0  # what the child gets to end by itself


class Embedded:
    """A simulated provider in a child process; a context manager that spawns it and waits for it.

    Starting takes as long as importing aiohttp does, so `spawn` early and `wait_url` late. `settings.port` 0
    takes any free port.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._child: subprocess.Popen[bytes] | None = None
        self._url: str | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, None before `spawn` and after `stop`."""
        return None if self._child is None else self._child.pid

    def spawn(self) -> None:
        """Start the child and return at once; does nothing when it runs."""
        if self._child is not None:
            return
        settings = msgspec.json.encode(dataclasses.asdict(self._settings)).decode()
        self._url = None
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, "-m", "batchproc.simulator", settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                # aiohttp reads all certificates of the system on import, a good part of the start; the child
                # makes no connections at all.
                env={**os.environ, "SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull},
            )
        except OSError as e:
            raise UsageError(
                f"the simulated provider cannot be started: {e.strerror or e}",
                "it is a process of its own: is a limit of processes in the way (`ulimit -u`)?",
            ) from e

    def wait_url(self, timeout_s: float = 30.0) -> str:
        """Wait until the child serves; returns its base URL, such as `http://127.0.0.1:40123/v1`.

        Raises `UsageError` with the child's own words when it cannot serve, `BatchprocError` when it says
        nothing within `timeout_s`.
        """
        if self._url is not None:
            return self._url
        if self._child is None:
            self.spawn()
        line = self._first_line(timeout_s)
        try:
            said = msgspec.json.decode(line, type=dict[str, str | None])
        except msgspec.MsgspecError:
            self.stop()
            raise BatchprocError("the simulated provider did not start", _NO_START) from None
        url = said.get("url")
        if url is None:
            self.stop()
            raise UsageError(said.get("error") or "the simulated provider did not start", said.get("hint") or _NO_START)
        self._url = url
        return url

    def _first_line(self, timeout_s: float) -> bytes:
        """What the child says first, empty when it says nothing in time. A killed child ends the reading."""
        child = self._child
        assert child is not None  # noqa: S101 - spawned just now
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        alarm = threading.Timer(timeout_s, child.kill)
        alarm.start()
        try:
            return child.stdout.readline()
        finally:
            alarm.cancel()

    def start(self) -> str:
        """Spawn the child and wait for its base URL."""
        self.spawn()
        return self.wait_url()

    def stop(self) -> None:
        """End the child: asked to, and killed if it has not after two seconds, or serves nobody yet. Safe to repeat."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None  # noqa: S101 - both are pipes
        assert child.stdout is not None  # noqa: S101
        child.stdin.close()
        try:
            child.wait(_STOP_S if self._url is not None else 0.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()

    def __enter__(self) -> Embedded:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
