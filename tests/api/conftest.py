"""The simulated provider on the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from batchproc.simulator.server import Server
from batchproc.simulator.settings import SimulatorSettings


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def serving() -> AsyncIterator[Callable[..., Any]]:
    """Starts simulated providers: `await serving(latency="0.1")`. When the test ends, no task but its own is left."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Server:
            return await stack.enter_async_context(Server(SimulatorSettings(port=0, **{"latency": "0"} | settings)))

        yield start
