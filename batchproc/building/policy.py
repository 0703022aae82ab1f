"""What the scheduler must know of the settings."""

from __future__ import annotations

from batchproc.core.modelqueue import Policy
from batchproc.settings import RunSettings


def policy_of(s: RunSettings, *, settles: bool) -> Policy:
    """The user's decisions about retries and waiting; `settles` is the provider's way."""
    return Policy(
        max_attempts=s.max_attempts,
        max_wait_s=s.max_wait_s,
        wait_for_daily=s.wait_for_daily,
        concurrency=s.concurrency,
        fail_over=s.fail_over,
        settles=settles,
    )
