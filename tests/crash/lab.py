"""The crash laboratory: random workloads × kills × damage × resumes, each judged by the simulated provider's ledger.

    python tests/crash/lab.py --histories 500 --seed 1      500 histories, seeds 1 to 500, two at a time
    python tests/crash/lab.py --histories 1 --seed 137      seed 137 again

Prints a line for each history; the files of one that fails are kept, and the command to run it again is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

if __name__ == "__main__":
    sys.path[1:1] = [os.path.join(os.path.dirname(sys.path[0]), name) for name in ("e2e", "store")]

from history import History


def live(seed: int, folder: str) -> tuple[int, str, bool]:
    """Live one history; (seed, what was seen, whether all was right). Files of a good one are removed."""
    home = Path(folder) / f"seed-{seed}"
    try:
        told = str(History(home, seed).run())
    except Exception as e:
        return seed, f"{e}\n{traceback.format_exc()}files: {home}", False
    shutil.rmtree(home)
    return seed, told, True


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the first history; the others count up")
    parser.add_argument("--at-once", type=int, default=2, help="histories lived at the same time")
    options = parser.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started with `&` by a script: the runs would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tempfile.mkdtemp(prefix="batchproc-lab-")
    began = time.monotonic()
    failed: list[int] = []
    with ProcessPoolExecutor(options.at_once) as pool:
        seeds = range(options.seed, options.seed + options.histories)
        for seed, text, good in pool.map(live, seeds, [folder] * len(seeds)):
            print(text, flush=True)
            if not good:
                failed.append(seed)
                print(f"again: python tests/crash/lab.py --histories 1 --seed {seed}", flush=True)
    print(f"{options.histories} histories in {time.monotonic() - began:.0f} s, {len(failed)} failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
