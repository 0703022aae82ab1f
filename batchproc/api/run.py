"""`batchproc.run_jobs`: jobs in, results out, under the limits of the provider."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal

from batchproc.api.jobs import check_iterable
from batchproc.api.options import access_of, ahead_of, look_ahead_of, settings_of
from batchproc.api.result import Result
from batchproc.api.session import Session
from batchproc.api.wording import reworded
from batchproc.errors import BatchprocError
from batchproc.settings import Limits


def run_jobs(
    jobs: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
    *,
    limits: Limits | None = None,
    models: Mapping[str, Limits] | None = None,
    rpm: int | None = None,
    tpm: int | None = None,
    rpd: int | None = None,
    tpd: int | None = None,
    itpm: int | None = None,
    otpm: int | None = None,
    concurrency: int | None = None,
    max_attempts: int = 8,
    timeout: float = 600.0,
    max_wait: float = 600.0,
    on_daily_limit: Literal["stop", "wait"] = "stop",
    stop_after: float | None = None,
    drain: float = 30.0,
    fail_over: float | None = None,
    max_cost: float | Decimal | str | None = None,
    max_total_tokens: int | None = None,
    assume_max_output: int | None = None,
    prices: str | os.PathLike[str] | None = None,
    provider: str | None = None,
    base_url: str | None = None,
    endpoint: str | None = None,
    model: str | None = None,
    headers: Mapping[str, str] | None = None,
    api_key: str | None = None,
    simulate: bool = False,
    ordered: bool = True,
    look_ahead: int | None = None,
    output: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> AsyncGenerator[Result, None]:
    """Send every job under the limits and yield one Result for each, in the order of the jobs or as they come.

    A job is a dict: a request body, or an object of the Batch API's form. A job that fails is a Result with its
    `error` set. What ends the run is raised, after all that was answered: ProviderRefused (key, quota), RunStopped (a
    guard or a budget), UsageError, with files FilesDoNotFit and DiskFailed, and whatever `jobs` raises itself. A wrong
    argument is a TypeError or a UsageError of the call.

    The arguments are the options of `batchproc run`, with the same defaults: limits per minute (rpm, tpm, itpm, otpm)
    or per day (rpd, tpd) of each model, times in seconds, `max_cost` in US dollars, `fail_over` a share from 0 to 1.
    `look_ahead` is how many jobs may have been taken whose results have not (10 times `concurrency`, at least 1,000);
    then it waits for whoever takes the results. With `output` the run keeps files and can be resumed.
    """
    given = dict(locals())
    check_iterable(given.pop("jobs"))
    try:
        settings = settings_of(given)
        access = access_of(given, settings)
        ahead, look_ahead = ahead_of(given), look_ahead_of(given)
        session = Session(jobs, settings, access, ordered=ordered, look_ahead=look_ahead, ahead=min(ahead, look_ahead))
    except BatchprocError as e:
        raise reworded(e) from e.__cause__
    return session.results()
