"""Token usage as the APIs spell it: `prompt_tokens`/`completion_tokens` or `input_tokens`/`output_tokens`.

The names are those of the OpenAI chat, completions, embeddings and responses APIs, of everything compatible with them,
and of Anthropic, whose `input_tokens` leave out what was written to its cache and read from it. Whatever is missing or
odd counts as zero: usage is for learning and for display.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from batchproc.model import NO_USAGE, Usage

_MOST = 1 << 53


class _Said(Struct, gc=False):
    """The members that count, of whatever type."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: Any = None
    input_tokens: Any = None
    output_tokens: Any = None
    input_tokens_details: Any = None
    cache_creation_input_tokens: Any = None
    cache_read_input_tokens: Any = None


_decode = msgspec.json.Decoder(_Said).decode


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
        said = _decode(usage)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return NO_USAGE  # a number out of range, say: nothing that makes an answer worse
    read, from_cache = _count(said.prompt_tokens), _count(said.cache_read_input_tokens)
    if not read:
        read = _count(said.input_tokens) + _count(said.cache_creation_input_tokens) + from_cache
    cached = _cached(said.prompt_tokens_details) or _cached(said.input_tokens_details) or from_cache
    return Usage(read, _count(said.completion_tokens, said.output_tokens), cached if cached < read else read)


def _cached(details: Any) -> int:
    """Input tokens that the provider read from its cache, at a lower price."""
    return _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
