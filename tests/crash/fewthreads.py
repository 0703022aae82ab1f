"""Runs batchproc where the system gives it only so many threads: `python fewthreads.py 2 run …`."""

from __future__ import annotations

import sys
import threading
from typing import Any


def main() -> None:
    """Count threads from here on, then be batchproc."""
    most = int(sys.argv[1])
    real = threading._start_new_thread  # type: ignore[attr-defined]
    alive = [0]

    def start(run: Any, args: Any, *more: Any) -> Any:
        if alive[0] >= most:
            raise RuntimeError("can't start new thread")
        alive[0] += 1

        def counted(*a: Any) -> None:
            try:
                run(*a)
            finally:
                alive[0] -= 1

        return real(counted, args, *more)

    threading._start_new_thread = start  # type: ignore[attr-defined]
    from batchproc.cli.main import main as batchproc

    sys.argv = ["batchproc", *sys.argv[2:]]
    batchproc()


if __name__ == "__main__":
    main()
