"""Merges the shards in their order while later ones are still at work, in a thread of the driver."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

from batchproc.errors import BatchprocError
from batchproc.store.attempts import Attempt, attempts_at
from batchproc.store.merge import Together, merge
from batchproc.store.parts import Manifest

_LOOK_S = 0.05


class _GivenUpError(Exception):
    """The run stops before its end: nothing is merged."""


class Merging:
    """`made` is what came together; `error` why it did not."""

    def __init__(self, output: str, manifest: Manifest, jobs: str, command: str, folder: str) -> None:
        self._output = output
        self._manifest = manifest
        self._jobs = jobs
        self._command = command
        self._folder = folder
        self._done: set[int] = set()
        self._given_up = False
        self._attempts: dict[int, list[Attempt]] = {}
        self.made: Together | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="batchproc-merge", daemon=True)

    def start(self, done: Iterable[int]) -> None:
        """Begin with the shards that are done."""
        self._done.update(done)
        self._thread.start()

    def done(self, shard: int) -> None:
        """One more."""
        self._done.add(shard)

    def wait(self, within_s: float) -> bool:
        """Whether it ends within so many seconds."""
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Leave nothing behind."""
        self._given_up = True
        self._thread.join()

    def _run(self) -> None:
        try:
            self.made = asyncio.run(self._merge())
        except _GivenUpError:
            pass
        except (BatchprocError, OSError, MemoryError) as e:
            self.error = e
        except Exception as e:
            self.error = e

    async def _merge(self) -> Together:
        return await merge(
            self._output,
            self._manifest,
            self._jobs,
            self._attempts,
            command=self._command,
            folder=self._folder,
            tick=self._tick,
            until_done=self._until_done,
        )

    def _tick(self) -> None:
        if self._given_up:
            raise _GivenUpError

    async def _until_done(self, shard: int) -> None:
        while shard not in self._done:
            self._tick()
            await asyncio.sleep(_LOOK_S)
        self._attempts[shard] = attempts_at(self._output, shard)
