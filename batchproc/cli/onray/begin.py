"""`batchproc run --engine ray`: from the options to the exit code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from msgspec import structs

from batchproc.cli.begin import is_terminal
from batchproc.cli.closing import typed
from batchproc.cli.going import access_of, go
from batchproc.cli.onray.cluster import Cluster, check_address
from batchproc.cli.onray.driver import Driver
from batchproc.cli.onray.ending import last_words
from batchproc.cli.onray.orders import QUOTA_NAME, Order
from batchproc.cli.onray.signals import Signals
from batchproc.cli.onray.summing import Sums
from batchproc.cli.onray.together import Merging
from batchproc.cli.onray.worker import QuotaActor, Worker
from batchproc.cli.partlook import not_done
from batchproc.cli.place import folder
from batchproc.cli.shard import manifest_of
from batchproc.cli.stdout import write_document
from batchproc.errors import FilesDoNotFit, UsageError
from batchproc.events import Note
from batchproc.settings import Limits, RunSettings, Shard
from batchproc.snapshot import Summary
from batchproc.store.attempts import attempts_of
from batchproc.store.lock import OutputLock
from batchproc.store.parts import Manifest, folder_of, is_merged, read_manifest
from batchproc.ui.console import Console, audience
from batchproc.ui.progress import Progress, progress_for
from batchproc.ui.summary import summary_json

SHARDS_A_WORKER = 4
SHARD_BYTES = 64_000_000
_MOST_SHARDS = 100_000
_TURN_S = 0.2
_FOR_ONE = "leave it out, or run in one process: without `--engine ray`"


def run_on_ray(settings: RunSettings, options: dict[str, Any]) -> int:
    """Run all shards in a Ray cluster, and merge them; returns the exit code. Raises BatchprocError."""
    _refuse(settings, options)
    if is_merged(settings.output):
        return go(settings, options)  # for what was added since; mostly nothing
    if options["ray_address"] is None:
        access_of(settings, options)  # a key that is missing here will be missing in the workers, too
    manifest = manifest_of(settings, _number(settings, options), "--engine ray")
    who = audience(
        isatty=is_terminal(sys.stderr),
        environ=os.environ,
        progress=options["progress"],
        no_color=options["no_color"],
        quiet=options["quiet"],
        results_on_terminal=False,
    )
    progress = progress_for(Console(sys.stderr, who), -1 if options["quiet"] else options["verbose"])
    lock = OutputLock(settings.output)
    lock.acquire(break_lock=settings.break_lock)
    try:
        summary = _OnRay(settings, options, manifest, progress, lock).run()
    finally:
        lock.release()
    progress.summary(summary)
    if options["as_json"]:
        write_document(summary_json(summary))
    return summary.exit_code


def _refuse(settings: RunSettings, options: dict[str, Any]) -> None:
    """Raise UsageError for what makes no sense over many workers, or cannot be kept there."""
    if options["engine"] != "ray":
        given = next(name for name in ("workers", "shards", "ray_address") if options[name] is not None)
        raise UsageError(f"`--{given.replace('_', '-')}` is for `--engine ray`", "add `--engine ray`, or leave it out")
    if settings.shard is not None:
        raise UsageError("`--shard` and `--engine ray` contradict each other", "`--engine ray` runs all shards itself")
    for option, value in (("--max-cost", settings.max_cost), ("--max-total-tokens", settings.max_total_tokens)):
        if value is not None:
            raise UsageError(f"`{option}` cannot be kept over many workers: each would spend it", _FOR_ONE)
    if settings.limit is not None:
        trial = "for a trial, leave `--engine ray` out and name another output: `-o trial.jsonl`"
        raise UsageError(
            "`--limit` makes no sense with `--engine ray`, whose shards begin everywhere in the jobs", trial
        )
    address = options["ray_address"]
    check_address(address)
    if address is not None and options["workers"] is None:
        raise UsageError("how many workers the cluster shall give is not said", "add `--workers N`")
    if address is not None and settings.provider == "simulated":
        raise UsageError(
            "the embedded provider is not reached from other nodes",
            "leave `--ray-address` out; or serve one with `batchproc simulate`, and name it with `--base-url`",
        )


def _number(settings: RunSettings, options: dict[str, Any]) -> int:
    """How many shards: as begun, as asked for, or by workers and size. Raises FilesDoNotFit."""
    had, asked = read_manifest(settings.output), options["shards"]
    if had is not None:
        if asked not in (None, had.count):
            raise FilesDoNotFit(
                f"`{settings.output}` is made in {had.count} shards, not in {asked}",
                f"leave `--shards` out to go on; or move `{folder_of(settings.output)}` away to cut anew: "
                "its answers are asked again then",
            )
        return had.count
    size = os.path.getsize(settings.jobs) if os.path.isfile(settings.jobs) else 0
    workers = options["workers"] or os.cpu_count() or 1
    return int(min(_MOST_SHARDS, asked or max(SHARDS_A_WORKER * workers, -(-size // SHARD_BYTES))))


class _OnRay:
    """One run; the caller holds the lock of its output."""

    def __init__(
        self, settings: RunSettings, options: dict[str, Any], manifest: Manifest, progress: Progress, lock: OutputLock
    ) -> None:
        self._settings = settings
        self._options = options
        self._manifest = manifest
        self._progress = progress
        self._command = _command_typed()
        self._beat = lock.beat

    def run(self) -> Summary:
        """To the end."""
        manifest, settings = self._manifest, self._settings
        attempts = attempts_of(settings.output)
        todo = not_done(manifest, attempts)
        sums = Sums(manifest, attempts, time.monotonic())
        merging = Merging(settings.output, manifest, settings.jobs, typed(self._command), folder())
        merging.start(set(range(manifest.count)) - set(todo))
        driver = None
        with Signals() as signals:
            try:
                if todo:
                    driver = self._drive(sums, merging, signals, todo)
                self._merged(merging, signals, driver)
                summary = last_words(settings, manifest, sums, driver, signals, merging, self._command)
            finally:
                self._progress.stop()
                merging.give_up()
        return summary

    def _drive(self, sums: Sums, merging: Merging, signals: Signals, todo: list[int]) -> Driver:
        settings, options = self._settings, self._options
        workers = options["workers"] or os.cpu_count() or 1
        workers = min(workers, len(todo))
        self._say(f"{len(todo)} of {self._manifest.count} shards to do by {workers} workers; waiting for Ray")
        cluster = Cluster(options["ray_address"], workers)
        signals.listen()  # again: Ray has handlers of its own
        actors: list[Any] = []
        try:
            self._progress.start()
            part = settings_of_shards(settings)
            if part.quota != settings.quota:
                actors.append(cluster.quota(QuotaActor))
            here = folder() or "/"
            beside = os.path.abspath(os.path.dirname(settings.output) or ".")
            hands = [cluster.worker(Worker, here, beside) for _ in range(workers)]
            actors += hands
            driver = Driver(
                settings,
                cluster,
                sums,
                self._progress,
                signals,
                order=self._orders(part),
                done=merging.done,
                beat=self._beat,
            )
            driver.run(todo, hands, lambda: merging.error)
            return driver
        finally:
            cluster.end(actors)
            cluster.close()

    def _orders(self, settings: RunSettings) -> Callable[[int], Order]:
        """What a worker is told. Values of `--header` go with it, the key does not."""
        names = {"header": self._options["header"], "api_key_file": self._options["api_key_file"]}
        shown = {"progress": "none", "quiet": True, "verbose": 0, "no_color": True, "as_json": False}
        count = self._manifest.count

        def order(shard: int) -> Order:
            own = structs.replace(settings, shard=Shard(shard, count))
            return Order(shard, own, names | shown, self._command)

        return order

    def _merged(self, merging: Merging, signals: Signals, driver: Driver | None) -> None:
        """Wait for what is left to merge, unless the run stopped."""
        while not merging.wait(_TURN_S):
            self._beat()
            stopped = driver is not None and (driver.halt is not None or not driver.all_done)
            if stopped or signals.count:
                merging.give_up()
                return

    def _say(self, text: str) -> None:
        self._progress.event(Note(time.monotonic(), text))


def settings_of_shards(settings: RunSettings) -> RunSettings:
    """The settings of each shard: what counts all shards is the driver's, and limits are leased."""
    quota = settings.quota
    if quota is None and any(map(_limited, (settings.limits, *settings.models.values()))):
        quota = "actor:" + QUOTA_NAME
    return structs.replace(settings, fail_over=None, stop_after_s=None, quota=quota)


def _limited(limits: Limits) -> bool:
    return any(getattr(limits, f) is not None for f in Limits.__struct_fields__ if f != "burst_s")


def _command_typed() -> list[str]:
    """What was typed; with the engine, where that came from elsewhere: `status` shows it."""
    words = list(sys.argv)
    if any(word == "--engine" or word.startswith("--engine=") for word in words):
        return words
    return [*words, "--engine", "ray"]
