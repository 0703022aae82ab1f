"""Threads for files and other waits, also where the system gives few of them (`ulimit -u`, a container's limit)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from batchproc.errors import UsageError

FEW = 8  # enough for names, counting, and the event loop's own


class Threads(ThreadPoolExecutor):
    """A pool that makes do with the threads it has where no more can be started. The first is started here.

    Raises UsageError where not even that one can be.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(max_workers=most, thread_name_prefix=name)
        try:
            self.submit(int)
        except RuntimeError as e:
            raise no_threads() from e

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def no_threads() -> UsageError:
    """What to say where a thread cannot be started."""
    return UsageError(
        "the system gives this process no more threads",
        "raise the limit of processes (`ulimit -u`), of memory (`ulimit -v`), or that of the container; what is "
        "answered is saved: run the same command again",
    )


def can_start(count: int) -> bool:
    """Whether so many threads can be at work at once."""
    over = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        pass
    finally:
        over.set()
        for thread in started:
            thread.join()
    return len(started) == count
