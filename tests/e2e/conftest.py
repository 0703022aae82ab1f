"""Fixtures of the end-to-end tests: the real program, the simulated provider, hostile servers, all on loopback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]  # signals, resource limits and pipes here are those of POSIX
else:
    from program import WINDOW_JOBS, Program, Running, chats
    from servers import Reply, Scripted, Simulator

    @pytest.fixture(scope="session")
    def window_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Running, Simulator, Path]]]:
        """A run under 600 RPM on each kind of window: (run, server, output). They take half a minute by nature."""
        folder = tmp_path_factory.mktemp("windows")
        (folder / "log").mkdir()
        made = Program(folder, folder / "log")
        jobs = chats(folder / "jobs.jsonl", WINDOW_JOBS)
        runs: dict[str, tuple[Running, Simulator, Path]] = {}
        with ExitStack() as stack:
            stack.callback(made.stop_all)
            for kind in ("bucket", "fixed", "sliding", "quantized"):
                server = Simulator(folder / f"{kind}.ledger", rpm=600, window=kind, latency="0.02-0.1")
                stack.callback(server.stop)
                output = folder / f"{kind}.jsonl"
                options = ["--base-url", server.url, "--rpm", "600", "--json"]
                runs[kind] = made.start("run", jobs, "-o", output, *options), server, output
            yield runs

    @pytest.fixture(scope="session", autouse=True)
    def _start_early(request: pytest.FixtureRequest) -> None:
        """Start the long runs first, so that they go on beside the other tests."""
        if any("window_runs" in getattr(item, "fixturenames", ()) for item in request.session.items):
            request.getfixturevalue("window_runs")

    @pytest.fixture
    def program(tmp_path: Path) -> Iterator[Program]:
        """The program, run in the test's folder `work`."""
        (tmp_path / "work").mkdir()
        (tmp_path / "log").mkdir()
        made = Program(tmp_path / "work", tmp_path / "log")
        yield made
        made.stop_all()

    @pytest.fixture
    def folder(program: Program) -> Path:
        """The folder that the program runs in."""
        return program.folder

    @pytest.fixture
    def simulator(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
        """Makes simulated providers: `simulator(latency="0.1", faults=("any=25%",))`; a ledger each."""
        made: list[Simulator] = []

        def make(**settings: Any) -> Simulator:
            made.append(Simulator(tmp_path / f"ledger-{len(made)}.jsonl", **settings))
            return made[-1]

        yield make
        for one in made:
            one.stop()

    @pytest.fixture
    def scripted() -> Iterator[Callable[[Reply], Scripted]]:
        """Makes servers whose every answer the test decides."""
        with ExitStack() as stack:
            yield lambda reply: stack.enter_context(Scripted(reply))
