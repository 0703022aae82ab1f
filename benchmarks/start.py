"""How long until something happens: `--help`, and from the command to the first request that a server receives.

The clock starts before the process does and stops when a loopback server has read the first request. Best and median
of several rounds, ways interleaved.

    python start.py            nine rounds
    python start.py --quick    three
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from machine import machine
from overhead import write_jobs

PROGRAM = str(Path(sys.executable).parent / "batchproc")
WAYS = {
    "batchproc --help": ["--help"],
    "batchproc run --help": ["run", "--help"],
    "first request": [],
    "first request, --rpm": ["--rpm", "60m"],
    "first request, --tpm": ["--tpm", "60g"],
}


class Listener:
    """Accepts connections, notes when the first request is there, and hangs up. For one run only."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self.first: float | None = None
        self.seen = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with connection:
            if connection.recv(65536) and self.first is None:
                self.first = time.perf_counter()
                self.seen.set()


def help_s(args: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([PROGRAM, *args], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_request_s(args: list[str], jobs: str) -> float:
    for old in Path(jobs).parent.glob("few.results*"):
        old.unlink()
    listener = Listener()
    began = time.perf_counter()
    run = subprocess.Popen([PROGRAM, "run", jobs, "--base-url", listener.url, "-q", *args])
    if not listener.seen.wait(30) or listener.first is None:
        raise SystemExit("no request within 30 s")
    took = listener.first - began
    run.kill()
    run.wait()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    given = parser.parse_args()
    rounds = given.rounds or (3 if given.quick else 9)
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        jobs = write_jobs(Path(folder, "few.jsonl"), 20)
        for _ in range(rounds):
            for way, args in WAYS.items():
                took[way].append(help_s(args) if "--help" in args else first_request_s(args, jobs))
    print(f"{machine()}; {rounds} rounds")
    print(f"{'':<24}{'best':>8}{'median':>8}")
    for way, times in took.items():
        print(f"{way:<24}{min(times):>6.2f} s{statistics.median(times):>6.2f} s")


if __name__ == "__main__":
    main()
