"""batchproc: send LLM requests under rate limits, in order, resumable.

    async for result in batchproc.run_jobs(jobs, rpm=3500, tpm=90_000):
        ...

What is here is the public Python API; everything else may change. Nothing is imported before it is used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know it by its name; the module typing takes a while to import
if TYPE_CHECKING:
    from typing import Any

    from batchproc.api.result import Error, Result
    from batchproc.api.run import run_jobs
    from batchproc.errors import BatchprocError, DiskFailed, FilesDoNotFit, ProviderRefused, RunStopped, UsageError
    from batchproc.model import Usage
    from batchproc.settings import Limits

__version__ = "0.1.0"
__all__ = [
    "BatchprocError",
    "DiskFailed",
    "Error",
    "FilesDoNotFit",
    "Limits",
    "ProviderRefused",
    "Result",
    "RunStopped",
    "Usage",
    "UsageError",
    "__version__",
    "run_jobs",
]

_WHERE = {
    "run_jobs": "api.run",
    "Error": "api.result",
    "Result": "api.result",
    "Limits": "settings",
    "Usage": "model",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `batchproc` has no attribute `{name}`")
    from importlib import import_module

    value = getattr(import_module(f"batchproc.{_WHERE.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
