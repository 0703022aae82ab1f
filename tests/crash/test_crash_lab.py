"""The crash laboratory in short: a few random histories. Its long form is `python tests/crash/lab.py`."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from history import History


def test_random_histories(tmp_path: Path) -> None:
    """Kills, torn tails and damage at random; the seeds are printed, BATCHPROC_SEED repeats them."""
    seed = int(os.environ.get("BATCHPROC_SEED", random.randrange(1_000_000)))
    count = 30 if os.environ.get("BATCHPROC_LONG") == "1" else 4
    print(f"BATCHPROC_SEED={seed}")
    with ThreadPoolExecutor(2) as pool:
        for told in pool.map(lambda n: History(tmp_path / str(n), n).run(), range(seed, seed + count)):
            print(told)
            assert told.jobs > 0
