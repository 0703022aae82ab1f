"""What OpenAI's own limiter estimates an input at: a quarter of its bytes, not its tokens.

Recorded traffic (limit less remaining on the first request of a full bucket, 2024 to 2026): chat is charged
1 + sum over messages of (1 + ceil(bytes / 4)), completions ceil(bytes / 4), embeddings the sum of that over the inputs;
tools add nothing. The Responses API is charged by true tokens, so it is not estimated here.
"""

from __future__ import annotations

from typing import Any

from batchproc.tokens.body import Body


def limiter_tokens(path: str, body: Body) -> int:
    """The estimate in tokens; 0 where there is no rule. Never raises for what a body can contain."""
    path = path.removeprefix("/v1")
    if path == "/chat/completions" and isinstance(body.messages, list):
        total = 1
        for message in body.messages:
            if isinstance(message, dict):
                total += 1 + _content(message.get("content"))
        return total
    if path == "/completions":
        return _several(body.prompt)
    if path == "/embeddings":
        return _several(body.input)
    return 0


def _content(value: Any) -> int:
    if type(value) is list:
        return sum(_quarter(part.get("text")) for part in value if isinstance(part, dict))
    return _quarter(value)


def _several(value: Any) -> int:
    if isinstance(value, list) and value and isinstance(value[0], str):
        return sum(map(_quarter, value))
    return _quarter(value)


def _quarter(text: Any) -> int:
    if not isinstance(text, str):
        return 0
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return -(-size // 4)
