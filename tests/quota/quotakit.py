"""What the tests of stores share: the same asks for every kind of store, and what they should answer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))

from scale import RedisServer

from batchproc.lease import Ask, Want


def need_redis() -> None:
    """A real server: on a developer's machine it may be missing, in CI it may not."""
    if RedisServer.there():
        return
    text = "redis-server is not on the path: apt-get install redis-server"
    if os.environ.get("CI") or os.environ.get("BATCHPROC_CI"):
        pytest.fail(text)
    pytest.skip(text)


def ask(cost: float, name: str = "batchproc:{q}", **more: object) -> Ask:
    """For tokens, of ten a second."""
    return Ask(name, (Want("tokens", 60.0, 600.0, cost),), **more)  # type: ignore[arg-type]
