"""The Ray cluster of a run: started for it on this machine, or joined. All that is known of Ray's own API is here."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

from batchproc.cli.onray.orders import QUOTA_NAME
from batchproc.errors import UsageError

_THREADS = 8  # of a worker: two shards, one look, one stop, and what is given back
_STORE_BYTES = 80 << 20  # of shared memory; next to nothing goes through it
_LONGEST = 40  # characters of a folder in which Ray can make its sockets
_SHARE = 0.5  # of a core: a worker waits for answers most of the time


class Lost(Exception):
    """A worker is gone, or cannot be reached; what it was asked is not known to be done."""


class Cluster:
    """Ray while a run lasts. `address` None: one of its own on this machine, for so many workers."""

    def __init__(self, address: str | None, workers: int | None) -> None:
        self.workers = workers or 1
        self._own = address is None
        self._folder = ""
        ray: Any
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of its own future
        try:
            ray = importlib.import_module("ray")
        except ImportError:
            raise UsageError("`--engine ray` needs the package ray", "type: pip install 'batchproc[ray]'") from None
        self._ray = ray
        cores = os.cpu_count() or 1
        if self._own:
            self.workers = workers or cores
            self._folder = tempfile.mkdtemp(prefix="bpray-", dir=_short_folder())
            where = {
                "address": "local",
                "num_cpus": max(cores, int(self.workers * _SHARE) + 1),
                "object_store_memory": _STORE_BYTES,
                "include_dashboard": False,
                "_temp_dir": self._folder,
            }
        else:
            where = {"address": address}
        try:
            ray.init(**where, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=True)
        except Exception as e:  # it raises all kinds: ConnectionError, RuntimeError, ValueError, OSError
            self.close()
            raise _not_begun(address, e) from None
        _keep_quiet()
        if not self._own:
            self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))

    # --- actors ----------------------------------------------------------------------------------------------

    def worker(self, kind: type, *args: Any) -> Any:
        """A worker, which Ray starts again whenever its process ends. Asked `run`, it is asked once."""
        made = self._ray.remote(kind)
        return made.options(num_cpus=_SHARE, max_restarts=-1, max_task_retries=-1, max_concurrency=_THREADS).remote(
            *args
        )

    def quota(self, kind: type) -> Any:
        """The actor that keeps the quota of this run, under a name in the run's own namespace."""
        return (
            self._ray.remote(kind).options(name=QUOTA_NAME, num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
        )

    def once(self, method: Any, *args: Any) -> Any:
        """Ask without asking again where the process ends meanwhile: whoever asked decides what then."""
        return method.options(max_task_retries=0).remote(*args)

    def finished(self, asked: Iterable[Any], within_s: float) -> list[Any]:
        """Those of what was asked that have their answer, or never will."""
        refs = list(asked)
        if not refs:
            return []
        ready: list[Any] = self._ray.wait(refs, num_returns=len(refs), timeout=within_s, fetch_local=False)[0]
        return ready

    def answer(self, ref: Any) -> Any:
        """The answer. Raises Lost."""
        try:
            return self._ray.get(ref, timeout=30)
        except self._ray.exceptions.RayTaskError as e:
            raise UsageError(
                f"a worker cannot work: {_last_line(e)}",
                "is the same batchproc installed on every node of the cluster?",
            ) from None
        except (self._ray.exceptions.ActorDiedError, self._ray.exceptions.RuntimeEnvSetupError) as e:
            text = str(e)
            if "creation task" in text or "ModuleNotFoundError" in text:
                raise UsageError(
                    f"a worker cannot begin: {_last_line(e)}",
                    "is the same batchproc installed on every node of the cluster?",
                ) from None
            raise Lost(_last_line(e)) from None
        except self._ray.exceptions.RayError as e:
            raise Lost(_last_line(e)) from None

    def end(self, actors: Sequence[Any]) -> None:
        """End these actors for good."""
        for actor in actors:
            try:
                self._ray.kill(actor)
            except Exception:
                pass  # it is gone already

    def close(self) -> None:
        """Leave the cluster; end it where it was started for this run."""
        try:
            self._ray.shutdown()
        finally:
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)


def _short_folder() -> str | None:
    """Where Ray's own files go: its sockets have names of some sixty characters below, and may have no hundred."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= _LONGEST or not os.path.isdir("/tmp") else "/tmp"  # noqa: S108 - its folder is 0700


def _keep_quiet() -> None:
    """Ray prints the death of a worker on stderr, into the display; the driver says it itself."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        module: Any = importlib.import_module("ray._private.worker")
        module.print_to_stdstream = lambda *_, **__: None
    except Exception:
        pass  # another version: a line more


def _not_begun(address: str | None, e: Exception) -> UsageError:
    if address is None:
        hint = "is there room in the folder for temporary files, and in /dev/shm? `--ray-address` joins a cluster"
        return UsageError(f"Ray cannot be started here: {_last_line(e)}", hint)
    hint = "`ray status --address ADDRESS` tells whether it is there; Python and Ray must be of the cluster's versions"
    return UsageError(f"the Ray cluster at `{address}` cannot be joined: {_last_line(e)}", hint)


def _last_line(e: Exception) -> str:
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return (lines[-1] if lines else type(e).__name__)[:300]


def check_address(address: str | None) -> None:
    """Refuse what is no address of a cluster. Raises UsageError."""
    if address is not None and "://" in address:
        raise UsageError(
            f"`--ray-address {address}` is not the address of a cluster's head",
            "give `head:6379`, or `auto` on a node of the cluster; `ray job submit -- batchproc run …` runs it there",
        )
    if sys.platform == "win32" and address is None:
        raise UsageError("Ray is not started on Windows by batchproc", "join a cluster with `--ray-address`")
