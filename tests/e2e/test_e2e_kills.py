"""`kill -9` at random instants loses nothing that was saved, and asks nothing twice that was."""

from __future__ import annotations

import os
import random
from pathlib import Path

from kills import run_trials


def test_kills_at_random_instants(tmp_path: Path) -> None:
    """Three kills (thirty with BATCHPROC_LONG=1), resumes at other concurrencies, the same bytes at the end."""
    seed = int(os.environ.get("BATCHPROC_SEED", random.randrange(1_000_000)))
    times = 30 if os.environ.get("BATCHPROC_LONG") == "1" else 3
    print(f"BATCHPROC_SEED={seed}")
    trials = run_trials(tmp_path, seed, times)
    assert sum(trial.kills for trial in trials) >= times
