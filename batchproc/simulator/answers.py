"""The body of an answer: a pure function of seed, path and request body, and recognisable as its answer.

Chat answers say "Simulated answer to: " and the last user message, so that a test can tell whose answer it
holds. Two runs over the same requests, interrupted or not, get the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable
from typing import Any

from msgspec import Raw, json

from batchproc.simulator.asked import (
    Asked,
    read_chat,
    read_completion,
    read_embedding,
    read_responses,
)

_ECHOED = 200  # characters of the request an answer repeats
_FIRST_CREATED = 1_767_225_600  # answers are dated in the year 2026, in seconds since 1970
_YEAR_S = 31_536_000
_PROMPT_DETAILS = b'{"cached_tokens":0,"audio_tokens":0}'
_COMPLETION_DETAILS = (
    b'{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}'
)

#: A finished answer: its body and the total of its usage, in tokens.
Made = tuple[bytes, int]

#: What answers a request, given its digest.
Maker = Callable[[Asked, str], Made]


def digest_of(seed: int, path: str, body: bytes) -> str:
    """64 hex digits that stand for a request: ids, dates, faults and latencies all derive from them."""
    keyed = hashlib.blake2b(f"{seed}\0{path}\0".encode(), digest_size=32)
    keyed.update(body)
    return keyed.hexdigest()


def request_id_of(digest: str) -> str:
    """The x-request-id of a request, the same however often it is sent."""
    return f"req_{digest[32:]}"


def echo(text: str) -> str:
    """The sentence that answers a text; long ones keep their beginning and their end."""
    if len(text) > _ECHOED:
        text = f"{text[:140]}…{text[-59:]}"
    return f"Simulated answer to: {text}"


def _created(digest: str) -> int:
    return _FIRST_CREATED + int(digest[:8], 16) % _YEAR_S


def _output(asked: Asked, text: str) -> tuple[int, str]:
    """Output tokens and finish reason. A text over the maximum stays whole, for it must be recognisable."""
    tokens = len(text) // 4 + 1
    if asked.cap is not None and asked.cap < tokens:
        return max(asked.cap, 0), "length"
    return tokens, "stop"


def _usage(asked: Asked, output: int) -> tuple[dict[str, Any], int]:
    total = asked.prompt_tokens + output
    usage = {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": output,
        "total_tokens": total,
        "prompt_tokens_details": Raw(_PROMPT_DETAILS),
        "completion_tokens_details": Raw(_COMPLETION_DETAILS),
    }
    return usage, total


# Most requests are chats: a template costs half of what encoding nested dicts does.
_CHOICE = (
    b'{"index":%d,"message":{"role":"assistant","content":%b,"refusal":null,"annotations":[]},'
    b'"logprobs":null,"finish_reason":"%b"}'
)
_CHAT = (
    b'{"id":"chatcmpl-%b","object":"chat.completion","created":%d,"model":%b,"choices":[%b],'
    b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":%b,'
    b'"completion_tokens_details":%b},"service_tier":"default","system_fingerprint":"fp_%b"}'
)


def chat(asked: Asked, digest: str) -> Made:
    """Answer /chat/completions."""
    text = echo(asked.texts[0])
    output, reason = _output(asked, text)
    output *= asked.n
    total = asked.prompt_tokens + output
    content, why = json.encode(text), reason.encode()
    body = _CHAT % (
        digest[:29].encode(),
        _created(digest),
        json.encode(asked.model),
        b",".join([_CHOICE % (index, content, why) for index in range(asked.n)]),
        asked.prompt_tokens,
        output,
        total,
        _PROMPT_DETAILS,
        _COMPLETION_DETAILS,
        digest[:10].encode(),
    )
    return body, total


def completion(asked: Asked, digest: str) -> Made:
    """Answer /completions: `n` choices for every prompt."""
    choices: list[dict[str, Any]] = []
    total_output = 0
    for prompt in asked.texts:
        text = echo(prompt)
        output, reason = _output(asked, text)
        for _ in range(asked.n):
            choices.append({"text": text, "index": len(choices), "logprobs": None, "finish_reason": reason})
        total_output += output * asked.n
    usage, total = _usage(asked, total_output)
    body = {
        "id": f"cmpl-{digest[:29]}",
        "object": "text_completion",
        "created": _created(digest),
        "model": asked.model,
        "choices": choices,
        "usage": usage,
    }
    return json.encode(body), total


def vector(digest: str, text: str, dimensions: int) -> list[float]:
    """The embedding of a text: numbers from -1 to 1, six decimals, the same for the same text and request."""
    noise = hashlib.shake_256(f"{digest}\0{text}".encode()).digest(4 * dimensions)
    return [round(value / 2**31, 6) for value in struct.unpack(f"<{dimensions}i", noise)]


def embedding(asked: Asked, digest: str) -> Made:
    """Answer /embeddings: one short vector for every input."""
    data = []
    for index, text in enumerate(asked.texts):
        floats: Any = vector(digest, text, asked.dimensions)
        if asked.base64:
            floats = base64.b64encode(struct.pack(f"<{asked.dimensions}f", *floats)).decode()
        data.append({"object": "embedding", "index": index, "embedding": floats})
    usage = {"prompt_tokens": asked.prompt_tokens, "total_tokens": asked.prompt_tokens}
    body = {"object": "list", "data": data, "model": asked.model, "usage": usage}
    return json.encode(body), asked.prompt_tokens


def responses(asked: Asked, digest: str) -> Made:
    """Answer /responses with one message."""
    text = echo(asked.texts[0])
    output, reason = _output(asked, text)
    total = asked.prompt_tokens + output
    status = "completed" if reason == "stop" else "incomplete"
    content = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    body = {
        "id": f"resp_{digest[:48]}",
        "object": "response",
        "created_at": _created(digest),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None if reason == "stop" else {"reason": "max_output_tokens"},
        "instructions": asked.instructions,
        "max_output_tokens": asked.cap,
        "model": asked.model,
        "output": [
            {
                "id": f"msg_{digest[16:]}",
                "type": "message",
                "status": status,
                "role": "assistant",
                "content": [content],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "usage": {
            "input_tokens": asked.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": total,
        },
        "metadata": {},
    }
    return json.encode(body), total


def with_usage(make: Maker, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Maker:
    """Answer as `make` does, but with a changed usage; its total must stay the same."""

    def changed(asked: Asked, digest: str) -> Made:
        body, total = make(asked, digest)
        document = json.decode(body)
        document["usage"] = change(document["usage"])
        return json.encode(document), total

    return changed


def plain_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """The counts of a usage without their details."""
    return {name: value for name, value in usage.items() if not isinstance(value, dict)}


def models(names: tuple[str, ...]) -> bytes:
    """Answer GET /models."""
    data = [{"id": name, "object": "model", "created": _FIRST_CREATED, "owned_by": "simulator"} for name in names]
    return json.encode({"object": "list", "data": data})


#: How each path is read and answered.
ENDPOINTS: dict[str, tuple[Callable[[bytes], Asked], Maker]] = {
    "/v1/chat/completions": (read_chat, chat),
    "/v1/completions": (read_completion, completion),
    "/v1/embeddings": (read_embedding, embedding),
    "/v1/responses": (read_responses, responses),
}
