"""Every benchmark that needs no other packages than our own, one after another, with the tables as README.md has them.

    python benchmarks/all.py --quick             about five minutes: a short form of each
    python benchmarks/all.py                     about three hours
    python benchmarks/all.py --only memory       scripts whose name contains this
    python benchmarks/all.py --peers PYTHON      also peers.py, with the packages that this interpreter has

`scaleray.py` is not among them: it needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from machine import machine

HERE = Path(__file__).parent
RUNS = {  # script: what is added for all of it, and for a short form
    "start.py": ("", "--quick"),
    "overhead.py": ("", "--quick"),
    "stages.py": ("", ""),
    "memory.py": ("--full", "--quick"),
    "resume.py": ("", "--lines 100000"),
    "merge.py": ("", "--lines 100000"),
    "display.py": ("", ""),
    "scale.py": ("", "--only sqlite --seconds 8"),
    "concurrency.py": ("", "--only 503"),
    "throttle.py": ("", "--only both --minutes 2"),
    "throttle_http.py": ("", "--only bucket --jobs 1500"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--peers", metavar="PYTHON")
    given = parser.parse_args()
    runs = {script: both[given.quick].split() for script, both in RUNS.items()}
    if given.peers:
        runs["peers.py"] = ["--python", given.peers, *["--quick"] * given.quick]
    print(machine(), flush=True)
    failed = []
    for script, words in runs.items():
        if given.only not in script:
            continue
        print(f"\n== {' '.join([script, *words])}", flush=True)
        began = time.monotonic()
        if subprocess.run([sys.executable, str(HERE / script), *words]).returncode:
            failed.append(script)
        print(f"-- {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
