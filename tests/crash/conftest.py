"""The crash laboratory shares the program, the simulator and the small stores of the other tests."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[1:1] = [str(HERE.parent / "e2e"), str(HERE.parent / "store")]

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]  # SIGKILL and resource limits are those of POSIX
