"""Every benchmark of the client's own cost, one after another, with the tables as they stand in README.md.

    python benchmarks/all.py --quick    some five minutes on a quiet machine
    python benchmarks/all.py            about an hour

Throttling and concurrency (throttle.py, concurrency.py) run in virtual time and have scripts of their own; peers.py
needs packages that are not ours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = (("start.py",), ("overhead.py",), ("overhead.py", "--stages"), ("memory.py",))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = ["--quick"] if parser.parse_args().quick else []
    worst = 0
    for script, *more in SCRIPTS:
        print(f"\n== {' '.join([script, *more, *quick])}", flush=True)
        worst = max(worst, subprocess.run([sys.executable, str(HERE / script), *more, *quick]).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
