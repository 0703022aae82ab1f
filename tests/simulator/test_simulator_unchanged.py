"""The openai dialect is what it was before there were others: the same bytes, header for header.

The digest was taken from the version before the dialects. It changes only when an answer of that dialect is
changed on purpose.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from batchproc.simulator.faults import FAULTS
from batchproc.simulator.provider import Provider
from batchproc.simulator.settings import SimulatorSettings

DIGEST = "c27ac7bcf0fb68997b8731221654e019de35f284ab64f7a7b9ede86c1eb35db3"
CHAT = "/v1/chat/completions"
REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", CHAT, {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 340}], "max_tokens": 40}),
    ("POST", CHAT, {"model": "b", "messages": [{"role": "user", "content": "ü"}], "n": 3}),
    ("POST", "/v1/completions", {"model": "gpt-4o", "prompt": ["a", "b"], "n": 2}),
    ("POST", "/v1/embeddings", {"model": "e", "input": ["a", [1, 2, 3]], "encoding_format": "base64"}),
    ("POST", "/v1/responses", {"model": "gpt-4o", "input": "hello", "max_output_tokens": 2}),
    ("POST", "/v1/responses", {"model": "unknown", "input": "hello"}),
    ("GET", "/v1/models", None),
    ("POST", "/v1/models", None),
    ("GET", CHAT, None),
    ("POST", CHAT, {"messages": []}),
    ("POST", CHAT, {"model": "m", "stream": True, "messages": []}),
    ("POST", "/v1/audio/speech", {}),
]
OLD_FAULTS = (
    "429", "500", "502", "503", "529", "408", "409", "reset", "cut", "hang", "drip", "empty", "null", "list",
    "html200", "truncated", "error200", "nochoices", "slow", "quota", "401", "400", "context", "redirect",
)  # fmt: skip
SERVERS: list[dict[str, Any]] = [
    {},
    {"rpm": 20, "tpm": 900, "seed": 3},
    {"rpm": 20, "tpm": 900, "rpd": 50, "tpd": 3000, "window": "fixed", "phase_s": 7.0},
    {"rpm": 60, "tpm": 600, "window": "azure", "charge": "sum"},
    {"rpm": 60, "tpm": 600, "window": "sliding", "charge": "actual", "charge_refused": False},
    {"rpm": 60, "tpm": 40, "window": "quantized", "charge": "prompt", "headers": False, "retry_after": False},
    {"rpm": 90, "faults": ("any=40%", "context=10%", "slow=5%"), "latency": "0.1-0.3", "pretty": True},
    {"key": "sk-simulated-key"},
    {"slots": 2, "models": ("gpt-4o", "b", "e"), "context_length": 30, "quota_after": 40},
    *({"faults": (f"{kind}=1",), "latency": "0"} for kind in OLD_FAULTS),
]


def trace() -> Iterator[bytes]:
    for fields in SERVERS:
        provider = Provider(SimulatorSettings(**fields))
        for step in range(60):
            method, path, sent = REQUESTS[step * 5 % len(REQUESTS)]
            if sent and "model" in sent and step % 4 == 3:
                sent = {**sent, "user": str(step)}
            decision = provider.decide(
                step * step / 40,
                path,
                json.dumps(sent).encode(),
                method=method,
                authorization=(None, "Bearer sk-simulated-key", "Bearer sk-another-key")[step % 3],
                in_flight=step % 4,
            )
            told = (
                decision.model,
                decision.status,
                list(decision.headers.items()),
                round(decision.latency_s, 6),
                decision.wire,
            )
            judged = (decision.charged, decision.usage, decision.refused, decision.fault, decision.attempt)
            yield repr((told, judged, decision.admitted, decision.digest)).encode() + decision.body


def test_openai_is_unchanged_byte_for_byte() -> None:
    """Every endpoint, refusal, window, charge and fault of the first version, in one digest."""
    assert set(OLD_FAULTS) <= set(FAULTS)
    assert hashlib.sha256(b"\n".join(trace())).hexdigest() == DIGEST
