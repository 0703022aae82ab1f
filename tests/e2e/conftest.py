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
    from program import Program
    from servers import Reply, Scripted, Simulator

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
