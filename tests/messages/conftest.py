"""The program called in this process, and what it says; a simulated provider for those rows that need a run."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rows import JOB

from batchproc.cli.main import run_cli
from batchproc.simulator.embedded import Embedded
from batchproc.simulator.settings import SimulatorSettings

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]  # permissions, locks and /dev are those of POSIX


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the program runs: a folder with three jobs, no keys and no settings in the environment."""
    for name in list(os.environ):
        if name.startswith(("BATCHPROC_", "OPENAI_", "ANTHROPIC_", "AZURE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    (tmp_path / "jobs.jsonl").write_text(JOB * 3)
    monkeypatch.chdir(tmp_path)
    thresholds = gc.get_threshold()
    yield tmp_path
    gc.set_threshold(*thresholds)


@pytest.fixture
def call(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str]]:
    """Types a command; returns its exit code and stderr."""

    def typed(command: str) -> tuple[int, str]:
        words = shlex.split(command)
        monkeypatch.setattr(sys, "argv", ["batchproc", *words])
        capfd.readouterr()
        code = run_cli(words)
        return code, capfd.readouterr().err

    return typed


@pytest.fixture(scope="session")
def simulators() -> Iterator[Callable[..., str]]:
    """Base URLs of simulated providers, one for each kind of settings."""
    made: dict[str, tuple[Embedded, str]] = {}

    def url(**settings: Any) -> str:
        key = repr(sorted(settings.items()))
        if key not in made:
            server = Embedded(SimulatorSettings(**{"port": 0, "latency": "0"} | settings))
            made[key] = server, server.start()
        return made[key][1]

    yield url
    for server, _ in made.values():
        server.stop()
