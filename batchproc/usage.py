"""Token usage as the APIs spell it: `prompt_tokens`/`completion_tokens` or `input_tokens`/`output_tokens`.

The names are those of the OpenAI chat, completions, embeddings and responses APIs, of everything compatible with them,
and of Anthropic, whose `input_tokens` leave out what was written to its cache and read from it. Whatever is missing or
odd counts as zero: usage is for learning and for display.
"""

from __future__ import annotations

from typing import Any

import msgspec

from batchproc.model import NO_USAGE, Usage

_MOST = 1 << 53
_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def _count(*values: Any) -> int:
    for value in values:
        if type(value) is int and 0 <= value < _MOST:
            return value
    return 0


def usage_in(usage: bytes) -> Usage:
    """The usage in tokens of a `usage` member as it stands in an answer, whatever that is."""
    if not usage.startswith(b"{"):
        return NO_USAGE
    try:
        value = msgspec.json.decode(usage)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return NO_USAGE  # a number out of range, say: nothing that makes an answer worse
    read = _count(value.get("prompt_tokens"))
    if not read:
        read = sum(_count(value.get(name)) for name in _INPUT)
    cached = (
        _cached(value.get("prompt_tokens_details")),
        _cached(value.get("input_tokens_details")),
        _count(value.get("cache_read_input_tokens")),
    )
    return Usage(
        read,
        _count(value.get("completion_tokens"), value.get("output_tokens")),
        min(read, next(filter(None, cached), 0)),
    )


def _cached(details: Any) -> int:
    """Input tokens that the provider read from its cache, at a lower price."""
    return _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
