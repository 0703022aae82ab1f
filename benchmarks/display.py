"""What showing and recording a run cost: CPU of the live display and of the time line at 5,000 results a second.

    python benchmarks/display.py

The display is given a pseudo-terminal to draw on, five snapshots a second, and the events of the run; the time line the
same events and looks. Printed is the CPU time of a second of such a run, as a share of one core.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import termios
import threading
import time

from msgspec import structs

from batchproc.core.recorder import Recorder
from batchproc.events import Event, JobEnded, JobRequeued, RequestEnded, RequestSent
from batchproc.model import FaultKind, Usage
from batchproc.snapshot import ModelRate, Snapshot
from batchproc.store.timeline import time_record
from batchproc.ui.bar import Bar
from batchproc.ui.console import Console, audience

RATE, LOOKS, SECONDS = 5000, 5, 10
MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "o4-mini")


def events_of(second: int) -> list[Event]:
    """What happens in a second: every hundredth request fails and is sent again, every fiftieth job fails."""
    events: list[Event] = []
    for k in range(RATE):
        at, model, index = second + k / RATE, MODELS[k % len(MODELS)], second * RATE + k
        events.append(RequestSent(at, model, index, 500))
        if k % 100 == 0:
            events.append(RequestEnded(at, model, index, 0.3, FaultKind.SERVER, Usage()))
            events.append(JobRequeued(at, model, index, index + 1, FaultKind.SERVER, "the server had an error", 1.0))
            events.append(RequestSent(at, model, index, 500))
        events.append(RequestEnded(at, model, index, 0.2 + k / RATE, None, Usage(400, 100)))
        code = "content_filter" if k % 50 == 0 else None
        events.append(JobEnded(at, index, index + 1, code, "filtered" if code else "", 1))
    return events


def snapshot(at: float) -> Snapshot:
    """A busy run at an instant."""
    done = int(at * RATE)
    rates = tuple(ModelRate(m, done // 4 % 300_000, done * 100 % 10**8, 300_000, 10**8) for m in MODELS)
    return Snapshot(
        at, 10**6, None, done, done // 50, 0, 1000, 4096, 12, 800, done, 0, done // 100, done * 400, done * 100, rates,
        "tokens per minute of gpt-4o", (10**6 - done) / RATE, None, "",
    )  # fmt: skip


def display_s(events: list[list[Event]], columns: int) -> float:
    """CPU seconds that a second of the run costs."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    reader = threading.Thread(target=_drain, args=(leader,), daemon=True)
    reader.start()
    os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES="40")
    with os.fdopen(follower, "w") as stream:
        bar = Bar(Console(stream, audience(isatty=True, environ={"TERM": "xterm-256color"})))
        bar.update(snapshot(0.0))
        start = time.thread_time()
        for second, happened in enumerate(events):
            for event in happened:
                bar.event(event)
            for k in range(LOOKS):
                bar.update(snapshot(second + k / LOOKS))
        spent = time.thread_time() - start
        bar.stop()
    return spent / len(events)


def _drain(leader: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(leader, 1 << 16):
            pass


def recording_s(events: list[list[Event]]) -> tuple[float, float]:
    """CPU seconds, and bytes, that a second of the run costs."""
    recorder = Recorder(0.0, 1.7e9)
    limits = {m: {"requests per minute": 3e5, "tokens per minute": 1e8} for m in MODELS}
    start, size = time.thread_time(), 0
    for second, happened in enumerate(events):
        for event in happened:
            recorder.on(event)
        for k in range(LOOKS):
            recorder.look(second + k / LOOKS, "tokens per minute of gpt-4o", 1000, limits)
            width, buckets = recorder.take(second + k / LOOKS)
            if buckets:
                size += len(time_record(width, buckets))
    return (time.thread_time() - start) / len(events), size / len(events)


def day_bytes() -> int:
    """What the time line of a day of such a run takes in the checkpoint: buckets become wider as it gets longer."""
    recorder, size = Recorder(0.0, 1.7e9), 0
    limits = {m: {"requests per minute": 3e5, "tokens per minute": 1e8} for m in MODELS}
    happened = events_of(0)[:: RATE // 50]  # as many kinds of events; how many there are changes digits only
    for second in range(86_400):
        for event in happened:
            recorder.on(structs.replace(event, at=second + 0.5))
        recorder.look(second + 0.9, "tokens per minute of gpt-4o", 1000, limits)
        width, buckets = recorder.take(second + 1.0)
        if buckets:
            size += len(time_record(width, buckets))
    return size


def main() -> None:
    events = [events_of(second) for second in range(SECONDS)]
    print(f"{RATE:,} results a second; share of one core")
    for columns in (40, 80, 160):
        print(f"live display, {columns:3} columns   {display_s(events, columns):7.2%}")
    spent, size = recording_s(events)
    print(f"time line                   {spent:7.2%}   {size:,.0f} bytes a second at first")
    print(f"time line of a day          {day_bytes() / 1e6:7.1f} MB")


if __name__ == "__main__":
    main()
