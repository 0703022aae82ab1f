"""Limits of single models, as the simulated provider enforces them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from batchproc.simulator.embedded import Embedded
from batchproc.simulator.provider import Provider
from batchproc.simulator.settings import SimulatorSettings

JSON = "application/json"
BY_MODEL = {"slow": {"rpm": 2}, "sl*": {"rpm": 9, "tpm": 500}, "s*": {"rpm": 4}}


@pytest.mark.parametrize(
    ("model", "rpm", "tpm"),
    [
        ("other", 5, None),  # what each has
        ("slow", 2, 500),  # its own name, and what a beginning says besides
        ("slower", 9, 500),  # the longest beginning
        ("sudden", 4, None),
    ],
)
def test_a_model_is_limited_by_its_own(model: str, rpm: int, tpm: int | None) -> None:
    """As many requests as the model may are admitted at one instant, and then none; the headers say so."""
    provider = Provider(SimulatorSettings(rpm=5, by_model=BY_MODEL, latency="0"))
    message = [{"role": "user", "content": "hello"}]
    body = json.dumps({"model": model, "messages": message, "max_tokens": 1}).encode()
    decisions = [provider.decide(0.0, "/v1/chat/completions", body) for _ in range(rpm + 2)]
    assert [d.status for d in decisions] == [200] * rpm + [429] * 2
    assert decisions[0].headers["x-ratelimit-limit-requests"] == str(rpm)
    assert decisions[0].headers.get("x-ratelimit-limit-tokens") == (None if tpm is None else str(tpm))


def test_they_reach_the_child_process() -> None:
    """The settings of the embedded provider survive their way to it."""
    with Embedded(SimulatorSettings(port=0, by_model=BY_MODEL, latency="0")) as embedded:
        body = json.dumps({"model": "slow", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}).encode()
        request = urllib.request.Request(f"{embedded.wait_url()}/chat/completions", body, {"Content-Type": JSON})
        for _ in range(2):
            urllib.request.urlopen(request, timeout=60).close()
        with pytest.raises(urllib.error.HTTPError, match="429") as refused:
            urllib.request.urlopen(request, timeout=60)
        refused.value.close()
