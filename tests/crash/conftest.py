"""The crash laboratory shares the program, the simulator and the small stores of the other tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[1:1] = [str(HERE.parent / "e2e"), str(HERE.parent / "store")]

from program import Program  # noqa: E402 - it is in one of these folders

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]  # SIGKILL and resource limits are those of POSIX


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program in a folder of its own."""
    (tmp_path / "work").mkdir()
    (tmp_path / "log").mkdir()
    made = Program(tmp_path / "work", tmp_path / "log")
    yield made
    made.stop_all()
