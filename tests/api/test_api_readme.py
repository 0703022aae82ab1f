"""What the README says of the Python API is so."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import batchproc

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## From Python\n", 1)[1].split("\n## ", 1)[0]


def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    """In a folder of its own, without a key; it leaves nothing there, and warns of nothing."""
    (example,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    args = [sys.executable, "-W", "error", "-c", example]
    done = subprocess.run(args, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{n} Simulated answer to: Say {n}" for n in range(100)]
    assert list(tmp_path.iterdir()) == []


def test_every_argument_and_every_name_is_there() -> None:
    """Those of the function, of a Result, and the exceptions."""
    said = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", SECTION))))
    assert set(inspect.signature(batchproc.run_jobs).parameters) - {"jobs"} <= said
    assert {name for name in vars(batchproc.Result) if not name.startswith("_")} <= said
    assert {n for n in batchproc.__all__ if n not in ("__version__", "Error", "Usage")} <= said | {"run_jobs"}
    assert set(batchproc.Usage.__struct_fields__) <= said
