"""The quota in an actor of Ray: how long it is waited for. The actor is a fake: Ray need not be installed."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from batchproc.lease import Granted, QuotaLost
from batchproc.quota import actorstore
from batchproc.quota.actorstore import ActorStore


async def test_its_process_may_be_slow_to_start_but_not_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a new process of Ray takes seconds; a run whose quota never answered would stop at once."""
    answers: list[Future[list[Granted]]] = []

    def ask(asks: object, worker: str) -> SimpleNamespace:
        answers.append(Future())
        return SimpleNamespace(future=lambda: answers[-1])

    actor = SimpleNamespace(exchange=SimpleNamespace(remote=ask))
    kinds = SimpleNamespace(RayError=ConnectionError)
    fake = SimpleNamespace(get_actor=lambda name: actor, exceptions=kinds)
    monkeypatch.setitem(sys.modules, "ray", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(actorstore, "TIMEOUT_S", 0.01)
    store = ActorStore("quota", "a worker")
    await store.open()
    asyncio.get_running_loop().call_later(0.05, lambda: answers[0].set_result([]))
    assert await store.exchange([]) == []
    with pytest.raises(QuotaLost, match=r"no answer within 0\.01 s"):
        await store.exchange([])
    await store.close()
